# SPDX-License-Identifier: Apache-2.0
"""A lint of policies in every format, hostile names included."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import jsonschema
import pytest

from imgsec.adapters.manifest_files import parse_documents
from imgsec.domain.engines import NEWEST
from imgsec.domain.lint_sources import take_inventory
from imgsec.domain.policy_lint import judge_lint, lint_inventory
from imgsec.domain.report import Report
from imgsec.domain.verdict import because
from imgsec.reasons import NO_POLICY
from imgsec.render.junit import report_junit
from imgsec.render.lint_sarif import lint_sarif
from imgsec.render.markdown import report_markdown
from imgsec.render.sarif import report_sarif
from imgsec.render.text import report_lines
from tests.unit.render.test_sarif import SCHEMA

HOSTILE = "\x1b[31m\n::error::x|[a](https://b)<b>\u202e/*"


def report(*names: str, where: str = "a.yaml", strict: bool = False) -> Report:
    document = {
        "apiVersion": NEWEST.api,
        "kind": "ClusterImagePolicy",
        "metadata": {"name": "default"},
        "spec": {"repositories": [{"name": name} for name in names]},
    }
    content = json.dumps(document, indent=1).encode()
    found = take_inventory(parse_documents(content, where), NEWEST)
    lint = lint_inventory(found, images=names, strict=strict)
    return Report("policy lint", judge_lint(lint, documents=1), lint=lint)


@pytest.mark.parametrize("where", ["a.yaml", "-", "/a b/\n.yaml", "./../x#y?.yaml", "\udcff.yaml"])
def test_sarif_is_as_the_standard_has_it(where: str) -> None:
    told = report("*", "nginx", HOSTILE, where=where)
    assert told.lint is not None
    document = json.loads(lint_sarif(told, told.lint))
    jsonschema.validate(document, SCHEMA)
    (run,) = document["runs"]
    assert {
        one["locations"][0]["physicalLocation"]["region"]["startLine"] for one in run["results"]
    }
    hashes = [one["partialFingerprints"]["primaryLocationLineHash"] for one in run["results"]]
    assert len(set(hashes)) == len(hashes)


def test_sarif_of_what_could_not_be_read_says_so() -> None:
    from imgsec.domain.verdict import because
    from imgsec.reasons import TOOL_MISSING

    told = report("icr.io/ns/app")
    assert told.lint is not None
    open_report = Report("policy lint", because(TOOL_MISSING("gpg is not there")), lint=told.lint)
    (run,) = json.loads(lint_sarif(open_report, told.lint))["runs"]
    assert run["invocations"][0]["executionSuccessful"] is False


def test_strict_warnings_fail_in_junit() -> None:
    for strict, failures in ((False, "0"), (True, "1")):
        root = ElementTree.fromstring(report_junit(report("redis:6", strict=strict)))
        suite = root.find("testsuite[@name='a.yaml']")
        assert suite is not None
        assert suite.get("failures") == failures


def test_a_clean_file_is_a_passing_case() -> None:
    told = report("icr.io/ns/app", where="b.yaml")
    assert told.lint is not None
    root = ElementTree.fromstring(report_junit(told))
    suite = root.find("testsuite[@name='b.yaml']")
    assert suite is not None
    assert suite.get("failures") == "0"


def test_hostile_names_stay_in_their_cells_and_lines() -> None:
    told = report(HOSTILE)
    lines = list(report_lines(told, verbose=True))
    assert not [line for line in lines if line.startswith("::") or "\x1b" in line or "\n" in line]
    markdown = report_markdown(told)
    assert "\x1b" not in markdown
    assert "](https" not in markdown
    assert "<b>" not in markdown


def test_a_finding_is_the_same_wherever_its_lines_move() -> None:
    def hashes(*names: str) -> set[str]:
        told = report(*names)
        assert told.lint is not None
        results = json.loads(lint_sarif(told, told.lint))["runs"][0]["results"]
        return {
            one["partialFingerprints"]["primaryLocationLineHash"]
            for one in results
            if one["ruleId"] == "duplicate-rule"
        }

    assert hashes("icr.io/ns/a", "icr.io/ns/a") == hashes("icr.io/b", "icr.io/ns/a", "icr.io/ns/a")


def test_a_command_of_two_words_is_a_category() -> None:
    document = json.loads(report_sarif(Report("policy lint", because(NO_POLICY("none")))))
    assert document["runs"][0]["automationDetails"]["id"] == "imgsec/policy-lint/not-scanned/"
