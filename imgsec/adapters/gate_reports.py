# SPDX-License-Identifier: Apache-2.0
"""The gate's own JSON report, read back for what it says about exemptions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from imgsec.adapters.files import read_file
from imgsec.domain import strict_json
from imgsec.domain.gate_report import GateReport, ReportedFinding
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_MALFORMED

_MAX_BYTES = 64 * 2**20  # ours; some thousand findings


def read_gate_report(path: str) -> GateReport:
    """Raises `ImgsecError` (input-unreadable, input-malformed)."""
    try:
        document = strict_json.parse(read_file(path, max_bytes=_MAX_BYTES))
        scans = [
            (image["canonical"], scan)
            for image in document["images"]
            for scan in image.get("scans", ())
        ]
        findings = tuple(found for image, scan in scans for found in _findings(image, scan))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        text = f"{shown(path)} is no JSON report of a gate"
        raise ImgsecError(INPUT_MALFORMED(text)) from None
    return GateReport(path, len(scans), findings)


def _findings(image: str, scan: dict[str, Any]) -> Iterator[ReportedFinding]:
    for finding in scan["findings"]:
        yield ReportedFinding(
            image=image,
            kind=finding["kind"],
            names=frozenset((finding["id"], *finding["aliases"], *finding["notices"])),
            packages=frozenset(fix["package"] for fix in finding["fixes"]),
            used=frozenset((one["id"], one["scope"]) for one in finding["exemptions"]),
        )
