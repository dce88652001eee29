# SPDX-License-Identifier: Apache-2.0
"""What a review of the ledger looks at besides: its own past, and what gates used of it."""

from __future__ import annotations

from collections.abc import Sequence

from imgsec.domain.exemption_review import LedgerChange, builds_an_image
from imgsec.domain.gate_report import GateReport
from imgsec.errors import ImgsecError
from imgsec.ports import LedgerHistory, LedgerReader
from imgsec.reasons import INPUT_MALFORMED


def change_since(revision: str, ledger: LedgerReader, history: LedgerHistory) -> LedgerChange:
    """What happened in the repository of the ledger. Raises `ImgsecError` (invalid-option)."""
    commit = history.parted_from(revision)
    content = history.content_at(commit)
    files = history.changed_files(commit)
    return LedgerChange(
        ledger.earlier(content),
        tuple(history.changed_places(commit)),
        tuple(name for name in files if builds_an_image(name)),
        is_alone=not files,
    )


def used_in(reports: Sequence[GateReport]) -> set[tuple[str, str]]:
    """Issue and scope of what gates used. Raises `ImgsecError` (input-malformed)."""
    if not any(report.scans for report in reports):  # every entry would seem to be unused
        raise ImgsecError(INPUT_MALFORMED("none of the reports has a scan in it"))
    return {one for report in reports for finding in report.findings for one in finding.used}
