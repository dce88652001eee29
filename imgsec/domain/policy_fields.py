# SPDX-License-Identifier: Apache-2.0
"""Which fields a policy may have, and what in one is not as its API has it.

A cluster drops a field that it does not know without a word, and what is left demands nothing
(Portieris, `helm/portieris/crds/crds.yaml`; the older API has no schema at all, and its engines
drop such a field as they read it). So a field that is not listed here is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from imgsec.domain.reference import shown
from imgsec.domain.spelling import nearest

Path = tuple[str | int, ...]


class FlawKind(StrEnum):
    """What is wrong with a field: the cluster drops it, or refuses the object for it."""

    UNKNOWN = "unknown"  # dropped
    TYPE = "type"
    VALUE = "value"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class FieldFlaw:
    """One field that is not as the API has it. path: names and places of list entries."""

    path: Path
    kind: FlawKind
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A text; one of these where there are any."""

    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of the same."""

    of: Schema


@dataclass(frozen=True, slots=True)
class Fields:
    """An object with these fields and no others."""

    known: Mapping[str, Schema]
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Named:
    """An object with fields of whatever name, all of them the same."""

    of: Schema


@dataclass(frozen=True, slots=True)
class Anything:
    """What is no business of the engine's, as metadata is."""


Schema = Text | Flag | Listed | Fields | Named | Anything

_IDENTITY = Fields(
    {
        "type": Text(
            (
                "",
                "matchExact",
                "matchRepository",
                "matchExactReference",
                "matchExactRepository",
                "remapIdentity",
            )
        ),
        "dockerReference": Text(),
        "dockerRepository": Text(),
        "prefix": Text(),
        "signedPrefix": Text(),
    },
    required=("type",),
)
_REQUIREMENT = Fields(
    {
        "type": Text(("insecureAcceptAnything", "reject", "signedBy")),
        "keySecret": Text(),
        "keySecretNamespace": Text(),
        "signedIdentity": _IDENTITY,
    },
    required=("type",),
)
_SIMPLE = Fields(
    {"storeURL": Text(), "storeSecret": Text(), "requirements": Listed(_REQUIREMENT)},
)
_TRUST = Fields(
    {
        "enabled": Flag(),
        "trustServer": Text(),
        "signerSecrets": Listed(Fields({"name": Text()})),
    }
)
_VULNERABILITY = Fields({"ICCRVA": Fields({"enabled": Flag(), "account": Text()})})


def _policy(**fields: Schema) -> Fields:
    rule = Fields({"name": Text(), "policy": Fields(fields)})
    return Fields(
        {
            "apiVersion": Text(),
            "kind": Text(),
            "metadata": Anything(),
            "status": Anything(),
            "spec": Fields({"repositories": Listed(rule)}),
        }
    )


# What each reader of policies takes.
PORTIERIS_FIELDS = _policy(
    simple=_SIMPLE, trust=_TRUST, vulnerability=_VULNERABILITY, mutateImage=Flag()
)
CISE_FIELDS = _policy(trust=_TRUST, va=Fields({"enabled": Flag()}))
# Of Portieris up to 0.9, which took the older API, too; its 0.6 had a bare list of requirements.
OLDER_FIELDS = _policy(
    trust=_TRUST,
    va=Fields({"enabled": Flag()}),
    simple=_SIMPLE,
    vulnerability=_VULNERABILITY,
)


def older_fields(*, simple: bool, vulnerability: bool) -> Fields:
    """What an open-source Portieris up to 0.9 took of the older API."""
    newer: dict[str, Schema] = {"simple": _SIMPLE} if simple else {}
    if vulnerability:
        newer["vulnerability"] = _VULNERABILITY
    return _policy(trust=_TRUST, **newer)


def flaws_of(value: Any, schema: Schema, path: Path = ()) -> Iterator[FieldFlaw]:
    """What is not as the schema has it, in the document's order. A null is an absent field.

    >>> [one.path for one in flaws_of({"spec": {"repos": []}}, PORTIERIS_FIELDS)]
    [('spec', 'repos')]
    """
    match schema:
        case Fields():
            yield from _object_flaws(value, schema, path)
        case Listed():
            if not isinstance(value, list):
                yield _wrong(path, "a list")
                return
            for place, item in enumerate(value):
                yield from flaws_of(item, schema.of, (*path, place))
        case Named():
            if not isinstance(value, dict):
                yield _wrong(path, "an object")
                return
            for name, member in value.items():
                yield from flaws_of(member, schema.of, (*path, name))
        case Text(values=values):
            if not isinstance(value, str):
                yield _wrong(path, "a text")
            elif values and value not in values:
                known = ", ".join(one or '""' for one in values)
                text = f"{shown(value)} is not one of {known}"
                yield FieldFlaw(path, FlawKind.VALUE, text)
        case Flag():
            if not isinstance(value, bool):
                yield _wrong(path, "true or false")


def _object_flaws(value: Any, schema: Fields, path: Path) -> Iterator[FieldFlaw]:
    if not isinstance(value, dict):
        yield _wrong(path, "an object")
        return
    for name, member in value.items():
        if name not in schema.known:
            by_letters = {one.lower(): one for one in schema.known}
            meant = nearest(str(name), by_letters)
            hint = f"; {by_letters[meant]} is meant" if meant else ""
            text = f"the cluster does not know {shown(str(name))} there, and drops it{hint}"
            yield FieldFlaw((*path, str(name)), FlawKind.UNKNOWN, text)
        elif member is not None:
            yield from flaws_of(member, schema.known[name], (*path, name))
    for name in schema.required:
        if value.get(name) is None:
            yield FieldFlaw((*path, name), FlawKind.MISSING, f"{name} is missing")


def _wrong(path: Path, wanted: str) -> FieldFlaw:
    return FieldFlaw(path, FlawKind.TYPE, f"it is not {wanted}")


def pruned(value: Any, schema: Schema) -> Any:
    """The value as a cluster keeps it: without the fields that the schema does not have.

    >>> pruned({"spec": {"repos": []}}, PORTIERIS_FIELDS)
    {'spec': {}}
    """
    if isinstance(schema, Fields) and isinstance(value, dict):
        known = ((name, member) for name, member in value.items() if name in schema.known)
        return {name: pruned(member, schema.known[name]) for name, member in known}
    if isinstance(schema, Listed) and isinstance(value, list):
        return [pruned(item, schema.of) for item in value]
    return value


def path_text(path: Sequence[str | int]) -> str:
    """The path as people write it.

    >>> path_text(("spec", "repositories", 0, "name"))
    'spec.repositories[0].name'
    """
    text = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in path)
    return text.removeprefix(".")
