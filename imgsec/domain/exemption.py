# SPDX-License-Identifier: Apache-2.0
"""The ledger of exemptions: which issue does not count, where, why, until when, on whose word.

An advisor keeps no owner, reason or end for an exemption; the ledger has no entry without them. One
that lacks something, or whose time is over, exempts nothing and is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Self

from imgsec.domain.hosts import other_icr_host
from imgsec.domain.invisible import INVISIBLE
from imgsec.domain.package_url import SCHEME, any_version_of, parse_package_url
from imgsec.domain.reference import Digest, ImageReference, shown
from imgsec.domain.spelling import unknown_field
from imgsec.domain.vulnerability import (
    AffectedPackage,
    Finding,
    IssueKind,
    PolicyStatus,
    ScanSubject,
)
from imgsec.errors import ImgsecError

ENTRIES_MAX = 10_000  # ours; nobody reviews as many
_TEXT_MAX_CHARS = 2000
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{2,127}")
_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# Or a file with a secret, whose path may have spaces in it.
_PACKAGE = re.compile(
    r"[A-Za-z0-9@/_][A-Za-z0-9@._:/+~-]{0,254}|/[A-Za-z0-9@._:/+~ -]{0,253}[A-Za-z0-9@._:/+~-]"
)
# Security notices of distributions and languages: DSA-5514-1, RHSA-2026:1, ALAS2-2026-1, GHSA-...
_NOTICE = re.compile(r"[A-Z][A-Za-z0-9]+(?:-[A-Za-z0-9.:_]+)+")
_NAMESPACE = re.compile(r"[a-z0-9]+(?:[_-]+[a-z0-9]+)*")
_HIDDEN = re.compile(f"[{INVISIBLE}]")
_FIELDS = frozenset("id type scope account-wide packages owner reason expires created".split())
_LEDGER_FIELDS = frozenset(("version", "exemptions"))


class IssueType(StrEnum):
    """The words of Vulnerability Advisor for what can be exempt."""

    CVE = "cve"
    NOTICE = "sn"
    CONFIGURATION = "configuration"

    @property
    def label(self) -> str:
        return {
            IssueType.CVE: "CVE",
            IssueType.NOTICE: "Security Notice",
            IssueType.CONFIGURATION: "Configuration Issue",
        }[self]

    @classmethod
    def of(cls, issue: str) -> IssueType:
        """What an id looks like, where nobody says it: a CVE, or a security notice.

        Raises `ValueError` for what looks like neither.
        """
        if is_cve(issue):
            return cls.CVE
        if _NOTICE.fullmatch(issue) and not issue.startswith("CVE-"):
            return cls.NOTICE
        raise ValueError(f"{shown(issue)} is no CVE, and no security notice: say its type")


@dataclass(frozen=True, slots=True)
class ExemptionScope:
    """Where an exemption holds: everywhere, a namespace, a repository, one tag, or one digest.

    Written as the advisor does, with or without the registry's host in front.

    >>> str(ExemptionScope.parse("us.icr.io/team/app:1.0"))
    'us.icr.io/team/app:1.0'
    >>> ExemptionScope.parse("team").kind
    'namespace'
    """

    registry: str = ""
    path: str = ""
    tag: str = ""
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ValueError` with a sentence."""
        if text == "*":
            raise ValueError("the scope * is written as account-wide: true, if it is meant")
        head, slash, _ = text.partition("/")
        has_host = bool(slash) and bool(re.search(r"[.:]", head) or head == "localhost")
        try:
            image = ImageReference.parse(text if has_host else f"any.host/{text}")
        except ImgsecError as error:
            why = error.reason.text.rpartition("reference: ")[2].replace("any.host/", "")
            raise ValueError(f"{shown(text)} is not a scope: {why}") from None
        whole = "/" in image.repository or has_host
        if (image.tag and image.digest) or not (whole or _NAMESPACE.fullmatch(text)):
            raise ValueError(
                f"{shown(text)} is not a scope: namespace, namespace/repository, and of that one"
                " :tag or @sha256:digest, with or without the registry's host in front"
            )
        registry = image.registry if has_host else ""
        return cls(registry, image.repository, image.tag or "", image.digest)

    @property
    def kind(self) -> str:
        """account, namespace, repository, tag or digest: from the widest to the narrowest.

        A namespace can be a repository of that name as well, at registries that have no others.
        """
        if self.digest is not None:
            return "digest"
        if self.tag:
            return "tag"
        return "repository" if "/" in self.path else "namespace" if self.path else "account"

    def covers(self, subject: ScanSubject) -> bool:
        """Whether the image is in it, by any of its hosts; a digest is also that of its index."""
        image = subject.image
        if self.registry and self.registry not in (image.registry, other_icr_host(image.registry)):
            return False
        if self.kind == "namespace" and image.repository.startswith(f"{self.path}/"):
            return True
        if self.path and self.path != image.repository:
            return False
        if self.digest is not None:
            return self.digest in (subject.digest, subject.index)
        return not self.tag or self.tag == image.tag

    def without_host(self) -> str:
        """As the advisor's API takes it; ``*`` for the whole account."""
        if not self.path:
            return "*"
        at = f":{self.tag}" if self.tag else f"@{self.digest}" if self.digest else ""
        return f"{self.path}{at}"

    def __str__(self) -> str:
        return f"{self.registry}/{self.without_host()}" if self.registry else self.without_host()


ACCOUNT = ExemptionScope()
_NO_DIGEST = Digest("sha256", "0" * 64)  # of nothing that anybody could push


def subject_named(image: ImageReference) -> ScanSubject:
    """An image as it was named, for asking which scopes it is in; no digest is in none."""
    return ScanSubject(image if image.digest else image.at(_NO_DIGEST))


def narrowest_scope(image: ImageReference) -> ExemptionScope:
    """The scope of one image alone: its digest, else its tag."""
    tag = image.tag or "" if image.digest is None else ""
    return ExemptionScope(image.registry, image.repository, tag, image.digest)


@dataclass(frozen=True, slots=True)
class Exemption:
    """One entry of the ledger. packages: only in these, by name or package URL; none for whichever.

    expires: the last day on which it holds, in UTC. created: None where it does not say.
    """

    issue: str
    type: IssueType
    scope: ExemptionScope
    owner: str
    reason: str
    expires: date
    packages: tuple[str, ...] = ()
    created: date | None = None

    @classmethod
    def parse(cls, entry: Any) -> Self:
        """One entry of a ledger's document. Raises `ValueError` with a sentence."""
        if not isinstance(entry, Mapping):
            raise ValueError("it is not a mapping")
        if unknown := {str(name) for name in entry} - _FIELDS:
            raise unknown_field(min(unknown), _FIELDS)
        issue = _text(entry, "id")
        if not is_issue_id(issue):
            raise ValueError(f"{shown(issue)} is not the id of a CVE, notice or configuration")
        if issue != issue.upper() and _CVE.fullmatch(issue.upper()):
            raise ValueError(f"{shown(issue)} is written {issue.upper()}")
        kind = entry["type"] if "type" in entry else str(IssueType.of(issue))
        if kind not in tuple(IssueType):
            raise ValueError(f"type is one of {', '.join(IssueType)}")
        if kind == IssueType.CVE and not _CVE.fullmatch(issue):
            raise ValueError(f"{shown(issue)} is not the id of a CVE")
        created = entry.get("created")
        return cls(
            issue=issue,
            type=IssueType(kind),
            scope=_scope(entry),
            owner=_text(entry, "owner"),
            reason=_text(entry, "reason"),
            expires=parse_day(_text(entry, "expires")),
            packages=_packages(entry),
            created=None if created is None else parse_day(created),
        )

    def document(self) -> dict[str, Any]:
        """As it stands in a ledger."""
        where = {"scope": str(self.scope)} if self.scope.path else {"account-wide": True}
        document: dict[str, Any] = {"id": self.issue, "type": str(self.type), **where}
        if self.packages:
            document["packages"] = list(self.packages)
        document |= {"owner": self.owner, "reason": self.reason}
        if self.created is not None:
            document["created"] = self.created.isoformat()
        return {**document, "expires": self.expires.isoformat()}

    @property
    def about(self) -> object:
        """What it is about; two entries about one thing leave open which of them counts."""
        return self.issue, self.type, self.scope, frozenset(self.packages)

    def holds_on(self, day: date) -> bool:
        return day <= self.expires

    def names(self, finding: Finding) -> bool:
        """Whether it is about this finding as a whole, be it in other packages, too."""
        if (self.type is IssueType.CONFIGURATION) != (finding.kind is IssueKind.CONFIGURATION):
            return False
        if self.type is IssueType.NOTICE and _CVE.fullmatch(self.issue):
            return False  # a notice that is called as the CVE is: it is one of several, maybe
        return self.issue == finding.id

    def covers_packages(self, finding: Finding) -> bool:
        """Whether all packages of the finding are among its own: no two entries add up."""
        if not self.packages:
            return True
        is_known = bool(finding.packages) and not finding.is_elsewhere
        return is_known and all(map(self._covers_package, finding.packages))

    def _covers_package(self, package: AffectedPackage) -> bool:
        if package.name in self.packages:
            return True
        return self.names_kinds and any_version_of(package.url) in self.packages

    @property
    def names_kinds(self) -> bool:
        """It names a package by its package URL, which says of which kind it is."""
        return any(name.startswith(SCHEME) for name in self.packages)


@dataclass(frozen=True, slots=True)
class KeptExemption:
    """What an advisor keeps of an exemption: neither owner, reason nor end.

    type: the advisor's word, be it one that nobody knows. scope: without a host; ``*`` for all.
    """

    type: str
    issue: str
    scope: str

    def __str__(self) -> str:
        return f"{self.type} {self.issue} for {self.scope}"


@dataclass(frozen=True, slots=True)
class Ruling:
    """How far a finding is exempt, and by which entries; none where only the advisor says so."""

    status: PolicyStatus
    entries: tuple[Exemption, ...] = ()


@dataclass(frozen=True, slots=True)
class LedgerProblem:
    """An entry that exempts nothing: the number it has in the file, from 1, and why."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """The entries that are whole, and the others. numbers: where the former stand, from 1."""

    entries: tuple[Exemption, ...] = ()
    problems: tuple[LedgerProblem, ...] = ()
    numbers: tuple[int, ...] = ()

    @classmethod
    def parse(cls, document: Any) -> Self:
        """The document of a ledger file. Raises `ValueError` with a sentence for another one."""
        version = document.get("version") if isinstance(document, Mapping) else None
        if not isinstance(document, Mapping) or version != 1 or isinstance(version, bool):
            raise ValueError("it is not a mapping with version: 1")
        if unknown := {str(name) for name in document} - _LEDGER_FIELDS:
            raise unknown_field(min(unknown), _LEDGER_FIELDS)
        items = document.get("exemptions")
        if items is None:
            raise ValueError("exemptions is missing; for none, it is written exemptions: []")
        if not isinstance(items, list) or len(items) > ENTRIES_MAX:
            raise ValueError(f"exemptions is not a list of at most {ENTRIES_MAX} entries")
        entries, numbers, problems = [], [], []
        for number, item in enumerate(items, start=1):
            try:
                entries.append(Exemption.parse(item))
                numbers.append(number)
            except ValueError as error:
                named = item.get("id") if isinstance(item, Mapping) else None
                what = f" ({shown(named)})" if isinstance(named, str) else ""
                problems.append(LedgerProblem(number, f"entry {number}{what}: {error}"))
        return cls(tuple(entries), tuple(problems), tuple(numbers))

    def in_force(self, day: date) -> tuple[Exemption, ...]:
        return tuple(entry for entry in self.entries if entry.holds_on(day))

    def document(self) -> dict[str, Any]:
        return {"version": 1, "exemptions": [entry.document() for entry in self.entries]}


class Exempter:
    """The entries that hold for one image on one day, ready to be asked about many findings."""

    def __init__(self, entries: Iterable[Exemption], subject: ScanSubject, day: date) -> None:
        self._by_issue: dict[str, list[Exemption]] = {}
        for entry in entries:
            if entry.holds_on(day) and entry.scope.covers(subject):
                self._by_issue.setdefault(entry.issue, []).append(entry)

    def ruling(self, finding: Finding) -> Ruling:
        """One entry exempts the whole of a finding, or its notices are exempt one by one.

        That a CVE is exempt with every one of its notices is the advisor's own reading. No entries
        add up beyond that. A notice, and another name that one source has for it, free the packages
        that they are about. What the finding itself calls exempt is so: see `imgsec.domain.gate`.
        """
        for entry in self._by_issue.get(finding.id, ()):
            if entry.names(finding) and entry.covers_packages(finding):
                return Ruling(PolicyStatus.EXEMPT, (entry,))
        if finding.status is PolicyStatus.EXEMPT:
            return Ruling(PolicyStatus.EXEMPT)
        used = self._by_notices((*(one.id for one in finding.notices), *finding.aliases), finding)
        exempt = set(used) | {one.id for one in finding.notices if one.exempt}
        if not exempt:
            return Ruling(PolicyStatus.ACTIVE)
        names = exempt.intersection(finding.aliases)
        is_named = bool(names) and _are_about(names, finding)
        by_notices = all(notice.id in exempt for notice in finding.notices)
        whole = is_named or (by_notices and _are_about(exempt, finding))
        status = PolicyStatus.EXEMPT if whole else PolicyStatus.PARTIAL
        return Ruling(status, tuple(used.values()))

    def _by_notices(self, names: Iterable[str], finding: Finding) -> dict[str, Exemption]:
        """The entries for notices of these names, each with the first that covers the packages."""
        used: dict[str, Exemption] = {}
        for name in names:
            for entry in self._by_issue.get(name, ()):
                if entry.type is IssueType.NOTICE and entry.covers_packages(finding):
                    used.setdefault(name, entry)
        return used


def _are_about(notices: set[str], finding: Finding) -> bool:
    """Whether each package of the finding has one of these notices."""
    if finding.is_elsewhere:
        return False
    return all(notices.intersection(package.notices) for package in finding.packages)


def is_cve(text: str) -> bool:
    """Whether it is the id of a CVE."""
    return _CVE.fullmatch(text) is not None


def is_issue_id(text: str) -> bool:
    """Whether an entry can be about it."""
    return _ID.fullmatch(text) is not None


def is_package_name(text: str) -> bool:
    """Whether an entry can be for this package."""
    return _PACKAGE.fullmatch(text) is not None


def parse_day(text: object) -> date:
    """A day such as 2026-12-31. Raises `ValueError` with a sentence."""
    if not isinstance(text, str) or not _DAY.fullmatch(text):
        raise ValueError(f"{shown(str(text))} is not a date such as 2026-12-31")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"there is no day {text}") from None


def _scope(entry: Mapping[Any, Any]) -> ExemptionScope:
    wide = entry.get("account-wide", False)
    if not isinstance(wide, bool):
        raise ValueError("account-wide is true or false")
    if wide and "scope" in entry:
        raise ValueError("it has a scope and account-wide: true; leave one out")
    if not wide and "scope" not in entry:
        raise ValueError("scope is missing, or account-wide: true")
    return ACCOUNT if wide else ExemptionScope.parse(_text(entry, "scope"))


def _packages(entry: Mapping[Any, Any]) -> tuple[str, ...]:
    names = entry.get("packages", [])
    if not isinstance(names, Sequence) or isinstance(names, str):
        raise ValueError("packages is not a list of names")
    if "packages" in entry and not names:
        raise ValueError("packages is an empty list; leave it out for any package")
    for name in names:
        if isinstance(name, str) and name.startswith(SCHEME):
            if (written := parse_package_url(name)) != name:
                raise ValueError(f"{shown(name)} is written {written}")
        elif not isinstance(name, str) or not is_package_name(name):
            raise ValueError(f"{shown(str(name))} is not the name of a package")
    return tuple(names)


def _text(entry: Mapping[Any, Any], name: str) -> str:
    value = entry.get(name)
    if value is None:
        raise ValueError(f"{name} is missing")
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} is not a text")
    if _HIDDEN.search(value):
        raise ValueError(f"{name} has a character that nobody sees")
    if len(value) > _TEXT_MAX_CHARS:
        raise ValueError(f"{name} has more than {_TEXT_MAX_CHARS} characters")
    return value.strip()
