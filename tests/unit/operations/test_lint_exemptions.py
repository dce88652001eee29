# SPDX-License-Identifier: Apache-2.0
"""A review sees what changed beside the ledger, and believes no report that looked at nothing."""

from __future__ import annotations

from imgsec.domain.exemption_review import ChangedPlace
from imgsec.domain.gate_report import GateReport, ReportedFinding
from imgsec.operations.lint_exemptions import change_since, used_in
from tests.unit.operations.ledgers import FakeLedger, entry
from tests.unit.refusals import refused

PLACE = ChangedPlace(("image: us.icr.io/team/app:1",))


class FakeHistory:
    """In which the ledger is new, or not, and these files changed."""

    def __init__(self, *files: str, is_new: bool = False) -> None:
        self._files = list(files)
        self._is_new = is_new

    def parted_from(self, revision: str) -> str:
        return f"commit of {revision}"

    def content_at(self, commit: str) -> bytes | None:
        assert commit == "commit of main"
        return None if self._is_new else b"content"

    def changed_files(self, _: str) -> list[str]:
        return self._files

    def changed_places(self, _: str) -> list[ChangedPlace]:
        return [PLACE]


def test_change_is_the_earlier_ledger_and_what_images_come_from() -> None:
    ledger = FakeLedger(entry())
    found = change_since("main", ledger, FakeHistory("a/Dockerfile", "values.yaml"))
    assert (found.before, found.places) == (ledger.read(), (PLACE,))
    assert (found.sources, found.is_alone) == (("a/Dockerfile",), False)
    assert change_since("main", ledger, FakeHistory()).is_alone
    assert change_since("main", ledger, FakeHistory(is_new=True)).before.entries == ()


def test_use_is_read_from_reports_that_looked_at_something() -> None:
    used = ("CVE-2026-1000", "team/app")
    finding = ReportedFinding("", "", frozenset(), frozenset(), frozenset((used,)))
    empty, full = GateReport("a", 0, ()), GateReport("b", 1, (finding,))
    assert used_in([empty, full]) == {used}
    with refused("input-malformed"):
        used_in([empty])
