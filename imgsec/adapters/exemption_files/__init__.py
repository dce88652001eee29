# SPDX-License-Identifier: Apache-2.0
"""Exemptions as other tools keep them: a format is one file and one line in `FORMATS`.

Each says less than the ledger, or something else. What an entry says that the ledger cannot say
is never left out to make it fit, since it would exempt more: the entry is told and not taken over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from imgsec.domain.exemption_exchange import Defaults, Export, Exported, Imported

# Ids of databases with one vulnerability an entry; distributions' notices are about several.
_SINGLE = re.compile(r"(?:CVE|GHSA|PYSEC|GO|RUSTSEC|OSV|MAL|TEMP|NSWG-ECO|HSEC|CGA|BIT|EUVD)-")
MAKER = "imgsec exemptions export"  # in every file that is written


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


def single_issue(issue: object) -> object:
    """The id, if it is of one vulnerability. Raises `ValueError`.

    Other tools match the one finding that has a notice's id; here it frees all that it is about.
    """
    if isinstance(issue, str) and not _SINGLE.match(issue):
        raise ValueError("it is a notice, and would exempt every vulnerability that it is about")
    return issue


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
