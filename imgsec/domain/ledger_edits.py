# SPDX-License-Identifier: Apache-2.0
"""What goes out of a ledger and what comes in, decided before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date

from imgsec.domain.exemption import Exemption, Ledger
from imgsec.domain.report import Change


@dataclass(frozen=True, slots=True)
class LedgerEdit:
    """gone: numbers of entries, from 1. new: at the end. changes: what it comes to, told."""

    gone: frozenset[int] = frozenset()
    new: tuple[Exemption, ...] = ()
    changes: tuple[Change, ...] = ()


def add_entries(ledger: Ledger, entries: Iterable[Exemption], *, replaces: bool) -> LedgerEdit:
    """Add what the ledger does not say yet; of two about one thing the first counts.

    replaces: an entry about the same thing that says otherwise goes out; else it stays.
    """
    held: dict[object, list[tuple[int, Exemption]]] = {}
    for number, entry in zip(ledger.numbers, ledger.entries, strict=True):
        held.setdefault(entry.about, []).append((number, entry))
    gone: set[int] = set()
    new: list[Exemption] = []
    changes: list[Change] = []
    once: dict[object, Exemption] = {}
    for entry in entries:
        once.setdefault(entry.about, entry)
    for entry in once.values():
        same = held.get(entry.about, [])
        if same and (not replaces or any(_word(entry) == _word(one) for _, one in same)):
            changes.append(_change(entry, "unchanged"))
            continue
        gone.update(number for number, _ in same)
        new.append(entry)
        changes.append(_change(entry, "updated" if same else "added"))
    return LedgerEdit(frozenset(gone), tuple(new), tuple(changes))


def remove_expired(ledger: Ledger, today: date) -> LedgerEdit:
    """Take out every entry whose last day is over."""
    return _without(ledger, lambda entry: not entry.holds_on(today))


def remove_entry(ledger: Ledger, issue: str, scope: str | None) -> LedgerEdit:
    """Take out the entries for an issue, in one scope where that is given.

    Raises `ValueError` where the issue has entries in several scopes, and none is given.
    """
    of_issue = [entry for entry in ledger.entries if entry.issue == issue]
    scopes = list(dict.fromkeys(str(entry.scope) for entry in of_issue))
    if scope is None and len(scopes) > 1:
        raise ValueError(f"{issue} has entries for {', '.join(scopes[:5])}")
    return _without(
        ledger, lambda entry: entry.issue == issue and scope in (None, str(entry.scope))
    )


def _without(ledger: Ledger, is_chosen: Callable[[Exemption], bool]) -> LedgerEdit:
    chosen = [
        (number, entry)
        for number, entry in zip(ledger.numbers, ledger.entries, strict=True)
        if is_chosen(entry)
    ]
    changes = tuple(_change(entry, "removed") for _, entry in chosen)
    return LedgerEdit(frozenset(number for number, _ in chosen), changes=changes)


def _word(entry: Exemption) -> object:
    """What is said about it, whenever it was written."""
    return entry.owner, entry.reason, entry.expires


def _change(entry: Exemption, state: str) -> Change:
    return Change(f"{entry.issue} for {entry.scope}", state)
