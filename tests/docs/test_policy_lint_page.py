# SPDX-License-Identifier: Apache-2.0
"""docs/policy-lint.md names every finding, and each of its examples is one."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from imgsec.adapters.manifest_files import parse_documents
from imgsec.domain.engines import NEWEST, Engine
from imgsec.domain.lint_catalogue import LINT_KINDS, Level
from imgsec.domain.report import Report
from imgsec.operations.lint_policies import LintRules, lint_policies
from imgsec.render.document import report_document

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "policy-lint.md").read_text(encoding="utf-8")
SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas" / "report.schema.json").read_text())
ROWS = re.findall(r"^\| `([a-z0-9-]+)` \| (error|warning|note) \| (.*?) \| (.*) \|$", PAGE, re.M)
EXAMPLES = [
    (code, Level(level), found[1], found[2] or NEWEST.name)
    for code, level, _, cell in ROWS
    if (found := re.match(r"`([\[{].*[\]}])`(?: with `--engine (\S+)`)?", cell))
]


def documents_of(text: str, engine: Engine) -> bytes:
    """What an example stands for: documents, or the rules of one."""
    found = yaml.safe_load(text)
    listed = found if isinstance(found, list) else [found]
    if "kind" not in listed[0]:
        policy = {"kind": "ClusterImagePolicy", "metadata": {"name": "default"}}
        listed = [policy | {"apiVersion": engine.api, "spec": {"repositories": listed}}]
    return "\n---\n".join(json.dumps(one, indent=1) for one in listed).encode()


def test_page_names_every_finding_as_the_table_has_it() -> None:
    assert [row[:3] for row in ROWS] == [
        (kind.code, kind.level.value, f"{kind.meaning} {kind.hint}") for kind in LINT_KINDS.values()
    ]


def test_every_finding_has_an_example_but_those_of_a_day() -> None:
    assert set(LINT_KINDS) - {code for code, *_ in EXAMPLES} == {"key-spent", "key-expiring"}


@pytest.mark.parametrize(("code", "level", "example", "version"), EXAMPLES)
def test_example_is_found(code: str, level: Level, example: str, version: str) -> None:
    engine = Engine.parse(version)

    def no_gpg() -> Any:
        raise AssertionError("the example needs no gpg")

    lint, verdict = lint_policies(
        parse_documents(documents_of(example, engine), "example.yaml"),
        LintRules(engine, images=["icr.io/ns/app:1"]),
        open_keyring=no_gpg,
        now=datetime(2026, 1, 2, tzinfo=UTC),
    )
    found = {one.level for one in lint.findings if one.kind.code == code}
    assert found == {level}, [one.kind.code for one in lint.findings]
    report = Report("policy lint", verdict, lint=lint)
    code_of = {"pass": 0, "refused": 1, "usage": 2, "undecided": 3}
    document = report_document(report, code_of[verdict.outcome.word])
    jsonschema.validate(json.loads(json.dumps(document)), SCHEMA)
