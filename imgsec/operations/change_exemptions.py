# SPDX-License-Identifier: Apache-2.0
"""Put an entry into the ledger, or take entries out of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from imgsec.domain.exemption import Exemption, Ledger, parse_day
from imgsec.domain.gate_file import parse_age
from imgsec.domain.gate_report import GateReport
from imgsec.domain.ledger_edits import LedgerEdit, add_entries, remove_entry, remove_expired
from imgsec.domain.reference import shown
from imgsec.domain.vulnerability import IssueKind
from imgsec.errors import ImgsecError
from imgsec.ports import LedgerEditor
from imgsec.reasons import INPUT_MALFORMED, INVALID_OPTION


def add_exemption(
    ledger: LedgerEditor, given: Mapping[str, Any], report: GateReport | None, today: date
) -> LedgerEdit:
    """Add one, in place of another word about the same thing.

    given: fields of the entry; its end may be a time from today. report: whose finding says the
    fields that were not given. Raises `ImgsecError` (invalid-option, input-malformed).
    """
    is_scoped = "scope" in given or "account-wide" in given
    found = {} if report is None else _of_finding(report, given["id"], is_scoped=is_scoped)
    if is_scoped:
        found.pop("scope", None)
    last = last_day("--expires", given["expires"], today)
    dates = {"created": today.isoformat(), "expires": last.isoformat()}
    try:
        entry = Exemption.parse({**found, **given, **dates})
    except ValueError as error:
        raise ImgsecError(INVALID_OPTION(str(error))) from None
    if not entry.holds_on(today):
        raise ImgsecError(INVALID_OPTION(f"--expires {entry.expires} is over already"))
    return ledger.change(lambda before: add_entries(before, [entry], replaces=True))


def remove_exemptions(
    ledger: LedgerEditor, issue: str | None, scope: str | None, today: date
) -> LedgerEdit:
    """Take out the entries for an issue, in one scope where that is given; else all that are over.

    Raises `ImgsecError` (invalid-option) where the issue has entries in several scopes.
    """

    def choose(before: Ledger) -> LedgerEdit:
        if issue is None:
            return remove_expired(before, today)
        try:
            return remove_entry(before, issue, scope)
        except ValueError as error:
            raise ImgsecError(INVALID_OPTION(f"{error}; give --scope")) from None

    return ledger.change(choose)


def last_day(option: str, text: str, today: date) -> date:
    """A day, or a time from today. Raises `ImgsecError` (invalid-option)."""
    try:
        return today + parse_age(text) if text[-1:].isalpha() else parse_day(text)
    except (ValueError, OverflowError) as error:
        raise ImgsecError(INVALID_OPTION(f"{option}: {error}")) from None


def _of_finding(report: GateReport, issue: str, *, is_scoped: bool) -> dict[str, Any]:
    """What the finding says of an exemption for it. is_scoped: the caller says where it holds."""
    found = [one for one in report.findings if issue in one.names]
    if not found:
        raise ImgsecError(INPUT_MALFORMED(f"{shown(report.path)} has no finding {shown(issue)}"))
    images = {one.image for one in found}
    if len(images) > 1 and not is_scoped:
        text = f"{shown(report.path)} has {shown(issue)} in {len(images)} images; give --scope"
        raise ImgsecError(INPUT_MALFORMED(text))
    packages = sorted({name for one in found for name in one.packages})
    kind = {"type": "configuration"} if found[0].kind == IssueKind.CONFIGURATION else {}
    return {"scope": min(images), **kind, **({"packages": packages} if packages else {})}
