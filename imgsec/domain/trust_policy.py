# SPDX-License-Identifier: Apache-2.0
"""A signature policy as containers tools read it: ``/etc/containers/policy.json`` and its like.

Format: containers-policy.json(5); parsed as strictly as containers/image does
(`signature/policy_config.go`): an unknown or repeated member, or an empty list, makes the
whole file invalid. What other transports call their scopes is not looked at. Which scope speaks
for an image follows `docker/policyconfiguration/naming.go`.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from imgsec.domain import strict_json
from imgsec.domain.encoding import decode_base64
from imgsec.domain.identity import ClaimedName, IdentityRule
from imgsec.domain.reference import ImageReference, shown
from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_MALFORMED, REQUIREMENT_UNSUPPORTED

_TRANSPORT = "docker"  # every image of a registry
_GPG_KEYS = "GPGKeys"
_KEY_TYPES = (_GPG_KEYS, "signedByGPGKeys", "X509Certificates", "signedByX509CAs")
_KEY_MEMBERS = ("keyPath", "keyPaths", "keyData")
# Known to containers/image, and not to us.
_UNSUPPORTED = ("sigstoreSigned", "signedBaseLayer")


class Blanket(StrEnum):
    """A requirement that looks at no signature."""

    ACCEPT = "insecureAcceptAnything"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class SignedBy:
    """A signature by one of these keys, for a name that the rule accepts.

    paths: files with public keys; data: or their content.
    """

    paths: tuple[str, ...]
    data: bytes | None
    rule: IdentityRule


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A requirement that imgsec cannot judge. what: its type as the file has it."""

    what: str


Requirement = Blanket | SignedBy | Unsupported


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """The requirements by default, and by scope for images of registries ("" for all of them)."""

    default: tuple[Requirement, ...]
    scopes: Mapping[str, tuple[Requirement, ...]]

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Raises `ImgsecError` (input-malformed)."""
        try:
            document = strict_json.parse(content, folds_case=False)
        except (ValueError, RecursionError) as error:
            raise _malformed("it is not strict JSON") from error
        top = _object(document, "the policy", required={"default"}, optional={"transports"})
        transports = _object(top.get("transports", {}), "transports", anything=True)
        read = {
            name: {
                scope: _requirements(value)
                for scope, value in _object(
                    scopes, f"transport {shown(name)}", anything=True
                ).items()
            }
            for name, scopes in transports.items()
        }
        return cls(_requirements(top["default"]), read.get(_TRANSPORT, {}))

    def requirements_for(self, image: ImageReference) -> tuple[Requirement, ...]:
        """What holds for the image as it is pulled; all of them must be met.

        Raises `ImgsecError` (requirement-unsupported) for one that cannot be judged.
        """
        found = next(
            (self.scopes[scope] for scope in scopes_of(image) if scope in self.scopes), self.default
        )
        for requirement in found:
            if isinstance(requirement, Unsupported):
                raise ImgsecError(
                    REQUIREMENT_UNSUPPORTED(
                        f"the policy wants {shown(requirement.what)} for {image}"
                    )
                )
        return found


def scopes_of(image: ImageReference) -> tuple[str, ...]:
    """The scopes that could speak for an image, the most specific first, "" last.

    >>> scopes_of(ImageReference.parse("r.example.com:5000/team/app:1"))[:3]
    ('r.example.com:5000/team/app:1', 'r.example.com:5000/team/app', 'r.example.com:5000/team')
    """
    pulled = ClaimedName.of(image)
    found, name = [str(pulled)], pulled.name
    while True:
        found.append(name)
        if "/" not in name:
            break
        name = name.rpartition("/")[0]
    host = name.partition(":")[0]
    while "." in host:
        host = host.partition(".")[2]
        found.append(f"*.{host}")
    return (*found, "")


def _requirements(value: object) -> tuple[Requirement, ...]:
    if not isinstance(value, list) or not value:
        raise _malformed("a list of requirements is empty or no list")
    return tuple(map(_requirement, value))


def _requirement(value: object) -> Requirement:
    document = _object(value, "a requirement", required={"type"}, anything=True)
    kind = document["type"]
    if kind in _UNSUPPORTED:
        return Unsupported(kind)
    if kind in tuple(Blanket):
        _object(document, kind, required={"type"})
        return Blanket(kind)
    if kind != "signedBy":
        raise _malformed(f"{shown(str(kind))} is no type of requirement")
    _object(
        document,
        kind,
        required={"type", "keyType"},
        optional={*_KEY_MEMBERS, "signedIdentity"},
    )
    if document["keyType"] not in _KEY_TYPES:
        raise _malformed(f"{shown(str(document['keyType']))} is no keyType")
    paths, data = _keys(document)
    rule = IdentityRule()
    if "signedIdentity" in document:
        rule = IdentityRule.parse(
            _object(document["signedIdentity"], "signedIdentity", anything=True)
        )
    if document["keyType"] != _GPG_KEYS:
        return Unsupported(f"{kind} with keyType {document['keyType']}")
    return SignedBy(paths, data, rule)


def _keys(document: Mapping[str, Any]) -> tuple[tuple[str, ...], bytes | None]:
    named = [member for member in _KEY_MEMBERS if member in document]
    if len(named) != 1:
        raise _malformed(f"signedBy takes exactly one of {', '.join(_KEY_MEMBERS)}")
    value = document[named[0]]
    if named == ["keyData"]:
        try:
            return (), decode_base64(value)
        except (TypeError, ValueError):
            raise _malformed("keyData is not base64") from None
    paths = value if named == ["keyPaths"] else [value]
    named_well = isinstance(paths, list) and all(isinstance(one, str) and one for one in paths)
    if not named_well or not paths:
        raise _malformed(f"{named[0]} is not what it should be")
    return tuple(paths), None


def _object(
    value: object,
    what: str,
    *,
    required: Set[str] = frozenset(),
    optional: Set[str] = frozenset(),
    anything: bool = False,
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _malformed(f"{what} is no object")
    missing = required - set(value)
    unknown = set() if anything else set(value) - required - optional
    if odd := sorted(missing | unknown):
        raise _malformed(f"{what} has missing or unknown members: {shown(', '.join(odd))}")
    return value


def _malformed(why: str) -> ImgsecError:
    return ImgsecError(INPUT_MALFORMED(f"the signature policy is malformed: {why}"))
