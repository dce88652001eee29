# SPDX-License-Identifier: Apache-2.0
"""What goes out of a ledger and what comes in, before anything is written."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from imgsec.domain.exemption import Exemption, Ledger
from imgsec.domain.ledger_edits import LedgerEdit, add_entries, remove_entry, remove_expired

TODAY = date(2026, 5, 1)


def document(issue: str, scope: str = "team/app", **rest: Any) -> dict[str, Any]:
    said = {"owner": "jane", "reason": "not reachable", "expires": "2026-12-31"}
    return {"id": issue, "scope": scope, **said, **rest}


def entry(issue: str, scope: str = "team/app", **rest: Any) -> Exemption:
    return Exemption.parse(document(issue, scope, **rest))


LEDGER = Ledger.parse(
    {
        "version": 1,
        "exemptions": [
            {"id": "no entry"},  # so that numbers and positions differ
            document("CVE-2026-1000"),
            document("CVE-2026-1000", "team/other"),
            document("CVE-2026-1001", expires=(TODAY - timedelta(1)).isoformat()),
            document("CVE-2026-1002", expires=TODAY.isoformat()),
        ],
    }
)


def told(edit: LedgerEdit) -> list[str]:
    return [f"{change.target}: {change.state}" for change in edit.changes]


@pytest.mark.parametrize("replaces", [True, False])
def test_what_the_ledger_says_already_stays(replaces: bool) -> None:
    again = entry("CVE-2026-1000", created="2026-04-01")  # said on another day
    edit = add_entries(LEDGER, [again], replaces=replaces)
    assert (edit.gone, edit.new) == (frozenset(), ())
    assert told(edit) == ["CVE-2026-1000 for team/app: unchanged"]


def test_another_word_about_the_same_replaces_it_where_that_is_meant() -> None:
    other = entry("CVE-2026-1000", owner="joe")
    edit = add_entries(LEDGER, [other], replaces=True)
    assert (edit.gone, edit.new) == ({2}, (other,))
    assert told(edit) == ["CVE-2026-1000 for team/app: updated"]
    assert add_entries(LEDGER, [other], replaces=False).new == ()


def test_new_entries_keep_their_order_and_come_once() -> None:
    new = [entry("CVE-2026-3000"), entry("CVE-2026-2000"), entry("CVE-2026-3000", owner="joe")]
    edit = add_entries(LEDGER, new, replaces=True)
    assert (edit.gone, edit.new) == (frozenset(), tuple(new[:2]))


def test_entry_for_other_packages_or_another_scope_is_another_one() -> None:
    new = [entry("CVE-2026-1000", packages=["openssl"]), entry("CVE-2026-1000", "team/app:1")]
    assert add_entries(LEDGER, new, replaces=True).new == tuple(new)


def test_what_is_over_goes_and_the_last_day_is_not_over() -> None:
    edit = remove_expired(LEDGER, TODAY)
    assert (edit.gone, told(edit)) == ({4}, ["CVE-2026-1001 for team/app: removed"])


def test_an_issue_with_several_scopes_is_removed_in_one_that_is_named() -> None:
    assert remove_entry(LEDGER, "CVE-2026-1000", "team/other").gone == {3}
    assert remove_entry(LEDGER, "CVE-2026-1002", None).gone == {5}
    assert remove_entry(LEDGER, "CVE-2026-9999", None) == LedgerEdit()
    with pytest.raises(ValueError, match="team/app, team/other"):
        remove_entry(LEDGER, "CVE-2026-1000", None)
