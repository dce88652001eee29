# SPDX-License-Identifier: Apache-2.0
"""An entry is added with what a finding says and nobody else did; what is over is never added."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from imgsec.domain.exemption import ACCOUNT, ExemptionScope
from imgsec.domain.gate_report import GateReport, ReportedFinding
from imgsec.operations.change_exemptions import add_exemption, last_day, remove_exemptions
from tests.unit.operations.ledgers import TODAY, FakeLedger, entry
from tests.unit.refusals import refused

GIVEN = {"id": "CVE-2026-1000", "owner": "jane", "reason": "why", "expires": "30d"}
APP = "us.icr.io/team/app@sha256:" + "1a" * 32


def finding(image: str = APP, kind: str = "vulnerability", *packages: str) -> ReportedFinding:
    names = frozenset((GIVEN["id"], "DSA-1-1"))
    return ReportedFinding(image, kind, names, frozenset(packages), frozenset())


def report(*findings: ReportedFinding) -> GateReport:
    return GateReport("gate.json", 1, findings)


def added(found: GateReport | None = None, **given: Any) -> Any:
    ledger = FakeLedger()
    edit = add_exemption(ledger, {**GIVEN, **given}, found, TODAY)
    assert ledger.edits == [edit]
    return edit.new[0]


def test_entry_holds_for_the_time_that_was_given() -> None:
    made = added(scope="team/app")
    assert (made.created, made.expires) == (TODAY, date(2026, 5, 31))
    assert last_day("--expires", "2026-05-31", TODAY) == date(2026, 5, 31)


def test_finding_says_where_an_entry_holds_unless_somebody_does() -> None:
    found = report(finding(APP, "vulnerability", "b", "a"))
    made = added(found)
    assert (made.scope, made.packages) == (ExemptionScope.parse(APP), ("a", "b"))
    assert added(found, scope="team").scope == ExemptionScope.parse("team")
    assert added(found, packages=["c"]).packages == ("c",)
    wide: dict[str, Any] = {"account-wide": True}
    assert added(found, **wide).scope == ACCOUNT


def test_configuration_issue_is_exempt_as_such() -> None:
    assert added(report(finding(APP, "configuration", "a"))).type == "configuration"


def test_finding_in_several_images_needs_a_scope() -> None:
    found = report(finding(), finding(APP.replace("app@", "web@")))
    with refused("input-malformed") as reasons:
        added(found)
    assert "in 2 images; give --scope" in reasons[0].text
    assert added(found, scope="team").scope.path == "team"


def test_finding_that_is_not_there_is_told() -> None:
    with refused("input-malformed") as reasons:
        added(report(), scope="team")
    assert "'gate.json' has no finding 'CVE-2026-1000'" in reasons[0].text


@pytest.mark.parametrize(
    "given",
    [
        {"expires": "2026-04-30"},
        {"expires": "soon"},
        {"expires": "99999999999d"},
        {"scope": "*"},
        {"scope": "team", "account-wide": True},
        {"id": "nonsense"},
    ],
)
def test_entry_without_sense_changes_nothing(given: dict[str, Any]) -> None:
    ledger = FakeLedger()
    with refused("invalid-option"):
        add_exemption(ledger, {**GIVEN, "scope": "team/app", **given}, None, TODAY)
    assert ledger.edits == []


def test_entry_of_one_scope_is_removed_and_the_other_stays() -> None:
    ledger = FakeLedger(entry(scope="team/app"), entry(scope="team/web"))
    with refused("invalid-option") as reasons:
        remove_exemptions(ledger, "CVE-2026-1000", None, TODAY)
    assert reasons[0].text.endswith("; give --scope")
    assert remove_exemptions(ledger, "CVE-2026-1000", "team/web", TODAY).gone == {2}


def test_without_an_issue_what_is_over_is_removed() -> None:
    ledger = FakeLedger(entry(), entry("CVE-2026-1001", expires=date(2026, 4, 30)))
    assert remove_exemptions(ledger, None, None, TODAY).gone == {2}
