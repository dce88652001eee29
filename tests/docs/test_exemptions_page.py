# SPDX-License-Identifier: Apache-2.0
"""The page about exemptions shows a real ledger, and the schema knows what is said of them."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import jsonschema

from imgsec.adapters.exemption_files.formats import FORMATS
from imgsec.adapters.files import load_yaml
from imgsec.domain.exemption import Exemption, Ledger
from imgsec.domain.exemption_review import ReviewRules, review_ledger
from imgsec.domain.report import Change, ExemptionLine, ExemptionType, Report
from imgsec.domain.verdict import passed
from imgsec.render.document import report_document

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "exemptions.md").read_text(encoding="utf-8")
SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas" / "report.schema.json").read_text())


def shown_ledger() -> Ledger:
    (block,) = re.findall(r"<!-- ledger: .*?```yaml\n(.*?)```", PAGE, re.DOTALL)
    return Ledger.parse(load_yaml(block.encode(), "the page", keeps_dates=True))


def test_shown_ledger_is_whole() -> None:
    ledger = shown_ledger()
    assert (len(ledger.entries), ledger.problems) == (3, ())


def test_shown_ledger_lints_clean_for_as_long_as_the_page_says() -> None:
    """A reader tries it with the first command there is, on whichever day that is."""
    ledger = shown_ledger()
    (said,) = re.findall(r"good from (\S+) to ([0-9-]+);", PAGE)
    first, last = map(date.fromisoformat, said)
    assert last - first > timedelta(days=360)
    assert review_ledger(ledger, ReviewRules(first)).passed
    assert review_ledger(ledger, ReviewRules(last)).passed
    for outside in (first - timedelta(days=1), last + timedelta(days=1)):
        assert not review_ledger(ledger, ReviewRules(outside)).passed


def test_page_names_every_format() -> None:
    assert all(f"| `{name}` |" in PAGE for name in FORMATS)


def test_reports_about_exemptions_keep_the_published_schema() -> None:
    entries = shown_ledger().entries
    everywhere = Exemption.parse(
        {
            "id": "CVE-2026-0001",
            "account-wide": True,
            "owner": "a",
            "reason": "b",
            "expires": "2026-12-31",
        }
    )
    lines = [
        ExemptionLine(one.issue, str(one.type), str(one.scope), "in-force", one)
        for one in (*entries, everywhere)
    ]
    lines.append(ExemptionLine("x", "weather", "*", "advisor-only", kept=True))
    words = "added updated unchanged removed kept to-add to-remove".split()
    for report in (
        Report("c", passed(), exemptions=tuple(lines)),
        Report("c", passed(), exemption_types=(ExemptionType("cve", "CVE"),)),
        Report("c", passed(), changes=tuple(Change("cve x for y", word) for word in words)),
    ):
        jsonschema.validate(json.loads(json.dumps(report_document(report, 0))), SCHEMA)
