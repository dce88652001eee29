# SPDX-License-Identifier: Apache-2.0
"""Exemptions as other tools keep them: a format is one file and one line in `FORMATS`.

Each says less than the ledger, or something else. What an entry says that the ledger cannot say
is never left out to make it fit, since it would exempt more: the entry is told and not taken over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from imgsec.domain.exemption import Exemption, ExemptionScope, IssueType, is_cve
from imgsec.domain.vulnerability import ScanSubject

MAKER = "imgsec exemptions export"  # in every file that is written


@dataclass(frozen=True, slots=True)
class Defaults:
    """What foreign entries lack. reason, expires: for those that have none of their own.

    scope: None for a format that names its images. author: of a VEX document, who must have
    written it.
    """

    owner: str
    scope: ExemptionScope | None
    expires: date | None
    reason: str | None
    today: date
    author: str | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """The entries that could be taken over, and why the others could not."""

    entries: tuple[Exemption, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Export:
    """What is to be written: the entries that hold for one image. author: who vouches for them."""

    entries: tuple[Exemption, ...]
    subject: ScanSubject
    now: datetime
    author: str

    def sayable(self, cannot_say: Callable[[Exemption], str | None]) -> Exported:
        """The entries that a format can say, and the sentences about the others."""
        told = [(entry, _unclear(entry) or cannot_say(entry)) for entry in self.entries]
        return Exported(
            "",
            tuple(entry for entry, why in told if why is None),
            tuple(f"{entry.issue} for {entry.scope}: {why}" for entry, why in told if why),
        )


@dataclass(frozen=True, slots=True)
class Exported:
    """A file's text, the entries that are in it, and why others are not."""

    text: str
    entries: tuple[Exemption, ...]
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExemptionFormat:
    """One format. read: raises `ValueError` with a sentence for a document of another form.

    caution: what it cannot say of any entry, which whoever uses a written file must know.
    is_json: read as JSON, and not as YAML. names_images: it says itself where an entry holds.
    moments: what differs in a file that is written a second later.
    """

    read: Callable[[Any, Defaults], Imported]
    write: Callable[[Export], Exported]
    caution: str
    is_json: bool = False
    names_images: bool = False
    moments: re.Pattern[bytes] | None = None

    def is_ours(self, content: bytes) -> bool:
        """Whether it was written by us, and by nobody's hand."""
        return MAKER.encode() in content

    def is_same(self, one: bytes, other: bytes) -> bool:
        """Whether two files say the same, be it at different times."""
        if self.moments is None:
            return one == other
        return self.moments.sub(b"", one) == self.moments.sub(b"", other)


def _unclear(entry: Exemption) -> str | None:
    if entry.type is IssueType.NOTICE and is_cve(entry.issue):
        return "it is for a notice that has the name of a CVE, and not for the CVE"
    return None


def scope(defaults: Defaults) -> str:
    """Where it holds. Raises `ValueError` where the caller does not say it."""
    if defaults.scope is None:
        raise ValueError("it says no scope; give --scope")
    return str(defaults.scope)


def ends(entry_end: date | None, defaults: Defaults) -> date:
    """The last day. Raises `ValueError` where neither the entry nor the caller says one."""
    found = entry_end or defaults.expires
    if found is None:
        raise ValueError("it has no end; give --expires")
    return found


def reason(text: object, defaults: Defaults) -> str:
    """Why it is exempt. Raises `ValueError` where neither the entry nor the caller says it."""
    if isinstance(text, str) and text.strip():
        return text.strip()
    if defaults.reason is None:
        raise ValueError("it says no reason; give --reason")
    return defaults.reason


def require_fields(item: dict[str, Any], known: frozenset[str]) -> None:
    """Raises `ValueError` for what narrows an entry in a way that the ledger does not know."""
    for name, value in item.items():
        if name not in known and value not in (None, "", [], {}):
            raise ValueError(f"it is narrowed by {name}, which the ledger cannot say")


def package_of(purl: object) -> str:
    """The name of a package in a package URL. Raises `ValueError`.

    One that says more, such as a version or an architecture, is about fewer packages than a name.

    >>> package_of("pkg:deb/debian/openssl"), package_of("pkg:npm/%40a/b")
    ('openssl', '@a/b')
    """
    from urllib.parse import unquote

    if not isinstance(purl, str):
        raise ValueError("a package is not a text")
    scheme, colon, rest = purl.partition(":")
    kind, slash, path = rest.lstrip("/").partition("/")
    if "?" in path or "#" in path:
        raise ValueError("it is narrowed to a form of a package, which the ledger cannot say")
    if "@" in path[1:]:  # an npm scope in front is written %40, and by some as it is
        raise ValueError("it is narrowed to a version of a package, which the ledger cannot say")
    parts = [unquote(part) for part in path.split("/") if part]
    if scheme != "pkg" or not colon or not slash or not parts:
        raise ValueError(f"{purl[:100]!r} is no package URL")
    # Distributions put their own name in front; a language's namespace is part of the name.
    if kind in ("deb", "rpm", "apk", "alpm", "bitnami"):
        return parts[-1]
    return (":" if kind == "maven" else "/").join(parts)
