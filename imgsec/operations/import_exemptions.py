# SPDX-License-Identifier: Apache-2.0
"""Take the exemptions of another tool into the ledger, with what they lack there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from imgsec.domain.exemption import ExemptionScope
from imgsec.domain.exemption_exchange import Defaults
from imgsec.domain.ledger_edits import LedgerEdit, add_entries
from imgsec.domain.verdict import Note
from imgsec.errors import ImgsecError
from imgsec.operations.change_exemptions import last_day
from imgsec.ports import ForeignExemptions, LedgerEditor
from imgsec.reasons import INVALID_OPTION


@dataclass(frozen=True, slots=True)
class Terms:
    """What the other tool's entries lack, as given. author: who must have written a VEX document.

    expires: a day, or a time from today. reason, expires: for entries without one of their own.
    """

    owner: str
    scope: str | None = None
    reason: str | None = None
    expires: str | None = None
    author: str | None = None


def import_exemptions(
    ledger: LedgerEditor, other: ForeignExemptions, terms: Terms, today: date
) -> tuple[LedgerEdit, tuple[Note, ...]]:
    """Add those that the ledger does not have; the notes tell of the others, and why.

    Raises `ImgsecError` (invalid-option, input-unreadable, input-malformed).
    """
    imported = other.read(_defaults(terms, other, today))
    over = [entry for entry in imported.entries if not entry.holds_on(today)]
    skipped = (*imported.skipped, *(f"{entry.issue} ended on {entry.expires}" for entry in over))
    entries = [entry for entry in imported.entries if entry not in over]
    # Importing again tomorrow must not move anybody's last day: what is there stays.
    edit = ledger.change(lambda before: add_entries(before, entries, replaces=False))
    return edit, tuple(Note("exemption-skipped", text) for text in skipped)


def _defaults(terms: Terms, other: ForeignExemptions, today: date) -> Defaults:
    if other.names_images and terms.scope is not None:
        text = f"--scope is not for {other.format}, which names its images"
        raise ImgsecError(INVALID_OPTION(text))
    if not other.names_images and terms.scope is None:
        text = f"{other.format} does not say where its entries hold; --scope"
        raise ImgsecError(INVALID_OPTION(text))
    try:
        scope = None if terms.scope is None else ExemptionScope.parse(terms.scope)
    except ValueError as error:
        raise ImgsecError(INVALID_OPTION(str(error))) from None
    return Defaults(
        owner=terms.owner,
        scope=scope,
        expires=last_day("--expires", terms.expires, today) if terms.expires else None,
        reason=terms.reason,
        today=today,
        author=terms.author,
    )
