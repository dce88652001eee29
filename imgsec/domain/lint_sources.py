# SPDX-License-Identifier: Apache-2.0
"""What a lint looks at: the policies among documents, and the Secrets and workloads beside them.

Policies are read as a cluster keeps them, without what it drops; a rule that it refuses keeps its
name, since that still decides about others, and nothing is said about what it demands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from imgsec.domain.engines import Engine
from imgsec.domain.lint_catalogue import (
    FOREIGN_POLICY,
    MISSING_FIELD,
    NAMESPACE_UNSAID,
    OBJECT_TWICE,
    OTHER_API,
    REFUSED_VALUE,
    UNKNOWN_API,
    UNKNOWN_FIELD,
    UNNAMED_OBJECT,
    WRONG_TYPE,
    Level,
    LintFinding,
    LintKind,
)
from imgsec.domain.near_names import METADATA_FIELDS, misspelt, near_field
from imgsec.domain.policy_fields import FieldFlaw, FlawKind, Path, flaws_of, path_text, pruned
from imgsec.domain.policy_rules import (
    CLUSTER_KIND,
    FIELDS_OF_API,
    NAMESAKES,
    NAMESPACED_KIND,
    POLICY_GROUPS,
    POLICY_KINDS,
    Demand,
    PolicyId,
    PolicyRule,
    demand_of,
)
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError

_USUAL_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# Kinds that become a Secret in the cluster, by which names it.
_VEILED_KINDS = ("SealedSecret", "ExternalSecret", "SopsSecret")
_TEMPLATES = {
    "Pod": ("spec",),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    **dict.fromkeys(
        (
            *("ReplicationController", "Deployment", "ReplicaSet"),
            *("DaemonSet", "StatefulSet", "Job"),
        ),
        ("spec", "template", "spec"),
    ),
}
_FLAWS = {
    FlawKind.UNKNOWN: UNKNOWN_FIELD,
    FlawKind.TYPE: WRONG_TYPE,
    FlawKind.VALUE: REFUSED_VALUE,
    FlawKind.MISSING: MISSING_FIELD,
}
_RULE_DEPTH = 3  # spec, repositories, the place
_LAYERS = ("simple", "trust", "vulnerability", "va", "mutateImage")
_TITLE_MAX_CHARS = 320  # a namespace and a name, as long as a cluster takes them


class Located(Protocol):
    """A document with its place."""

    @property
    def content(self) -> dict[str, Any]:
        """The object."""

    @property
    def where(self) -> str:
        """The file; standard input is ``-``."""

    def line_of(self, path: Path) -> int:
        """The line of a field, or of its nearest parent, from 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A document that findings are about. about: the object, for people."""

    document: Located
    about: str

    def tell(
        self,
        kind: LintKind,
        path: Path,
        text: str,
        *,
        hint: str | None = None,
        image: str = "",
        level: Level | None = None,
    ) -> LintFinding:
        """A finding at a field."""
        return LintFinding(
            kind,
            level or kind.level,
            self.document.where,
            self.document.line_of(path),
            self.about,
            text,
            hint or kind.hint,
            image,
        )


@dataclass(frozen=True, slots=True, eq=False)
class LintRule:
    """One rule. content: its policy as a cluster keeps it; demand: None where it refuses that."""

    rule: PolicyRule
    source: Source
    content: Mapping[str, Any]
    demand: Demand | None

    @property
    def name(self) -> str:
        return self.rule.repository

    @property
    def path(self) -> Path:
        return ("spec", "repositories", self.rule.place)

    def tell(
        self,
        kind: LintKind,
        text: str,
        *,
        path: Path = ("name",),
        hint: str | None = None,
        image: str = "",
        level: Level | None = None,
    ) -> LintFinding:
        """A finding about the rule; path: within it."""
        where = (*self.path, *path)
        return self.source.tell(kind, where, text, hint=hint, image=image, level=level)

    def __str__(self) -> str:
        return f"{shown(self.name)} of {self.source.about}"


@dataclass(frozen=True, slots=True, eq=False)
class LintPolicy:
    """One policy object of the engine's API. is_refused: a cluster takes no such object."""

    id: PolicyId
    source: Source
    rules: tuple[LintRule, ...]
    is_refused: bool


@dataclass(frozen=True, slots=True)
class WorkloadImage:
    """An image of a workload. path: of its field."""

    text: str
    path: Path
    source: Source
    namespace: str


@dataclass(slots=True)
class Inventory:
    """What there is to look at. policies: each object once; documents: how many were policies.

    veiled: namespace and name of Secrets that are there in a form that nobody reads here.
    """

    engine: Engine
    policies: list[LintPolicy] = field(default_factory=list)
    documents: int = 0
    secrets: dict[tuple[str, str], Source] = field(default_factory=dict)
    veiled: set[tuple[str, str]] = field(default_factory=set)
    images: list[WorkloadImage] = field(default_factory=list)
    namespaces: set[str] = field(default_factory=set)
    findings: list[LintFinding] = field(default_factory=list)
    files: dict[str, None] = field(default_factory=dict)

    @property
    def rules(self) -> Iterator[LintRule]:
        return (rule for policy in self.policies for rule in policy.rules)


class _Reader:
    def __init__(self, engine: Engine) -> None:
        self.found = Inventory(engine)
        self._seen: dict[tuple[str, str, str, str], Source] = {}

    def read(self, document: Located) -> None:
        content, found = document.content, self.found
        found.files[document.where] = None
        kind, group = str(content.get("kind")), str(content.get("apiVersion", "")).partition("/")[0]
        if kind in POLICY_KINDS or group in POLICY_GROUPS:
            self._policy(document, kind, group)
        elif kind == "Secret" and content.get("apiVersion") == "v1":
            named = _named(content)
            found.secrets.setdefault(named, Source(document, _title(kind, *named)))
        elif kind in _VEILED_KINDS:
            found.veiled |= set(_veiled_names(content))
        elif kind in _TEMPLATES:
            namespace, name = _named(content)
            found.namespaces.add(namespace)
            source = Source(document, _title(kind, namespace, name))
            found.images += _images(content, _TEMPLATES[kind], source, namespace)

    def _policy(self, document: Located, kind: str, group: str) -> None:
        content, found = document.content, self.found
        namespace, name = _named(content)
        if kind == CLUSTER_KIND:
            namespace = ""
        source = Source(document, _title(kind, namespace, name))
        tell = source.tell
        api = content.get("apiVersion")
        if whose := NAMESAKES.get(group):
            text = f"{source.about} is {whose}'s; no engine that is asked here reads it"
            found.findings.append(tell(FOREIGN_POLICY, ("apiVersion",), text))
            return
        if api not in FIELDS_OF_API or kind not in POLICY_KINDS:
            what = "kind" if api in FIELDS_OF_API else "apiVersion"
            text = f"no engine reads {shown(str(content.get(what)))} of {source.about}"
            found.findings.append(tell(UNKNOWN_API, (what,), text))
            return
        found.documents += 1
        if api != found.engine.api:
            text = f"{source.about} is of {api}, and {found.engine} reads {found.engine.api}"
            found.findings.append(tell(OTHER_API, ("apiVersion",), text))
            return
        found.findings += _name_flaws(source, kind, namespace, name)
        policy = _read_policy(source, PolicyId(kind, name, namespace), found)
        key = (str(api), kind, namespace, name)
        first = self._seen.setdefault(key, source)
        if first is not source:
            place = f"{first.document.where}, line {first.document.line_of(())}"
            text = f"{source.about} is in {place} already"
            found.findings.append(tell(OBJECT_TWICE, ("metadata", "name"), text))
            return
        found.policies.append(policy)


def take_inventory(documents: Iterable[Located], engine: Engine) -> Inventory:
    """What is among the documents, and what is wrong with single objects and their fields."""
    reader = _Reader(engine)
    for document in documents:
        reader.read(document)
    return reader.found


def _read_policy(source: Source, identity: PolicyId, found: Inventory) -> LintPolicy:
    """The object's rules; the flaws of its fields are told."""
    content = source.document.content
    schema = FIELDS_OF_API[found.engine.api]
    flaws = tuple(flaws_of(content, schema))
    refused = {_place(flaw.path) for flaw in flaws if flaw.kind is not FlawKind.UNKNOWN}
    is_whole = all(flaw.kind is not FlawKind.UNKNOWN for flaw in flaws)
    kept = _entries(content if is_whole else pruned(content, schema))
    rules = []
    for place, entry in enumerate(kept):
        name = entry.get("name") or "" if isinstance(entry, dict) else None
        if not isinstance(name, str):
            continue
        demand = None if place in refused else demand_of(entry.get("policy") or {})
        rule = PolicyRule(name, demand or Demand(), identity, place)
        policy = entry.get("policy")
        rules.append(LintRule(rule, source, policy if isinstance(policy, dict) else {}, demand))
    idle = {rule.rule.place for rule in rules if rule.demand and rule.demand.is_nothing}
    for flaw in flaws:
        is_idle = flaw.kind is FlawKind.UNKNOWN and _place(flaw.path) in idle
        found.findings.append(_flaw_finding(source, flaw, found.engine, is_idle=is_idle))
    return LintPolicy(identity, source, tuple(rules), bool(refused))


def _entries(document: Mapping[str, Any]) -> list[Any]:
    spec = document.get("spec")
    entries = spec.get("repositories") if isinstance(spec, dict) else None
    return entries if isinstance(entries, list) else []


def _place(path: Path) -> str | int | None:
    """Which rule a field is in; None for one outside of them."""
    return path[_RULE_DEPTH - 1] if len(path) >= _RULE_DEPTH else None


def _flaw_finding(source: Source, flaw: FieldFlaw, engine: Engine, *, is_idle: bool) -> LintFinding:
    text = f"{shown(path_text(flaw.path))}: {flaw.text}"
    if is_idle:
        text += "; what is left lets the images through unseen"
    return source.tell(_FLAWS[flaw.kind], flaw.path, text, hint=_meant(flaw, engine))


def _meant(flaw: FieldFlaw, engine: Engine) -> str | None:
    """What to write instead of a field that people often get wrong."""
    name, depth = flaw.path[-1], len(flaw.path)
    if flaw.kind is not FlawKind.UNKNOWN:
        return None
    if depth == _RULE_DEPTH + 1:  # beside the rule's name
        if name in _LAYERS:
            return f"Put {name} below policy, not beside it."
        if name == "policies":
            return "Write policy."
    if name == "simpleStore":
        return "Write storeURL and storeSecret below simple."
    if engine.is_cise and name in _LAYERS:
        return "CISE enforces trust and va, and nothing else."
    if name == "va":
        return "Write vulnerability, below it ICCRVA, and there enabled: true."
    return None


def _name_flaws(source: Source, kind: str, namespace: str, name: str) -> Iterator[LintFinding]:
    if not (_USUAL_NAME.fullmatch(name) and _USUAL_NAME.fullmatch(namespace or "default")):
        yield from _odd_names(source, kind, namespace, name)
    if kind == NAMESPACED_KIND and not namespace:
        text = f"{source.about} names no namespace"
        yield source.tell(NAMESPACE_UNSAID, ("metadata",), text)
    metadata = source.document.content.get("metadata")
    given = metadata if isinstance(metadata, dict) else {}
    if (near := near_field(given, METADATA_FIELDS)) is not None:
        text = f"{source.about}: {misspelt([near], METADATA_FIELDS)}"
        yield source.tell(UNKNOWN_FIELD, ("metadata", near), text)


def _odd_names(source: Source, kind: str, namespace: str, name: str) -> Iterator[LintFinding]:
    from imgsec.domain.policy import Namespace, ObjectName

    try:
        ObjectName.parse(name)
        if kind == NAMESPACED_KIND and namespace:
            Namespace.parse(namespace)
    except ImgsecError as error:
        why = error.reason.text if name else f"an object of the kind {kind} has no name"
        yield source.tell(UNNAMED_OBJECT, ("metadata", "name"), why)


def _images(
    content: Mapping[str, Any], template: Path, source: Source, namespace: str
) -> Iterator[WorkloadImage]:
    spec: Any = content
    for step in template:
        spec = spec.get(step) if isinstance(spec, dict) else None
    for group in ("initContainers", "containers"):
        containers = spec.get(group) if isinstance(spec, dict) else None
        for place, container in enumerate(containers if isinstance(containers, list) else ()):
            image = container.get("image") if isinstance(container, dict) else None
            if isinstance(image, str) and image.strip():
                yield WorkloadImage(image, (*template, group, place, "image"), source, namespace)


def _named(content: Mapping[str, Any]) -> tuple[str, str]:
    """Namespace and name, as far as they are texts."""
    metadata = content.get("metadata")
    parts = [
        metadata.get(member) if isinstance(metadata, dict) else None
        for member in ("namespace", "name")
    ]
    namespace, name = (part if isinstance(part, str) else "" for part in parts)
    return namespace, name


def _veiled_names(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    namespace, name = _named(content)
    yield namespace, name
    spec = content.get("spec")
    target = spec.get("target") if isinstance(spec, dict) else None
    other = target.get("name") if isinstance(target, dict) else None
    if isinstance(other, str):
        yield namespace, other


def _title(kind: str, namespace: str, name: str) -> str:
    """The object, as people name it; bounded, since it stands in every sentence about it."""
    text = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}".rstrip()
    return text if text.isprintable() and len(text) <= _TITLE_MAX_CHARS else shown(text)
