# SPDX-License-Identifier: Apache-2.0
"""SARIF as the specification has it, and within what GitHub's code scanning takes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from imgsec.domain.reference import Digest
from imgsec.domain.report import Report
from imgsec.domain.verdict import all_of
from imgsec.domain.vulnerability import (
    AffectedPackage,
    Finding,
    Notice,
    ScanReport,
    ScanStatus,
    Severity,
)
from imgsec.render.sarif import report_sarif
from tests.unit.render.gate_reports import (
    FINDINGS,
    IMAGE,
    SCANNER,
    hostile_report,
    judged,
    report,
    report_of_all,
    reports,
    warning_report,
)

TEXT = {"type": "string", "minLength": 1}
INDEX = {"type": "integer", "minimum": 0}
LINE = {"type": "integer", "minimum": 1}


def closed(required: str, **members: Any) -> dict[str, Any]:
    """An object that has these members and no others."""
    return {
        "type": "object",
        "properties": members,
        "required": required.split(),
        "additionalProperties": False,
    }


def some(items: Any, least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least}


MESSAGE = closed("text", text=TEXT)
LEVEL = {"enum": ["none", "note", "warning", "error"]}  # 3.27.10
URI = {"type": "string", "pattern": r"^[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+$"}  # RFC 3986
# What the OASIS standard (SARIF 2.1.0, the sections named here) says of the parts that we write,
# with what GitHub asks for besides made required: a result without a location is not shown there.
SCHEMA = closed(
    "$schema version runs",
    **{"$schema": URI},
    version={"const": "2.1.0"},  # 3.13.2
    runs={
        **some(
            closed(
                "tool automationDetails invocations results",
                tool=closed(  # 3.18
                    "driver",
                    driver=closed(  # 3.19
                        "name semanticVersion rules",
                        name=TEXT,
                        semanticVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+"},
                        informationUri={**URI, "pattern": "^https://"},
                        rules={
                            **some(
                                closed(  # 3.49
                                    "id shortDescription fullDescription help properties",
                                    id=TEXT,
                                    name={"type": "string", "pattern": "^[A-Za-z]+$"},
                                    shortDescription=MESSAGE,
                                    fullDescription=MESSAGE,
                                    help=MESSAGE,
                                    helpUri=URI,
                                    properties={
                                        "type": "object",
                                        "properties": {
                                            "tags": {**some(TEXT), "uniqueItems": True},
                                            "security-severity": {"type": "string"},
                                        },
                                        "required": ["tags"],
                                    },
                                )
                            ),
                        },
                    ),
                ),
                automationDetails=closed("id", id={**TEXT, "pattern": "/$"}),  # 3.17
                invocations=some(  # 3.20
                    closed(
                        "executionSuccessful",
                        executionSuccessful={"type": "boolean"},
                        toolExecutionNotifications=some(  # 3.58
                            closed(
                                "message",
                                level=LEVEL,
                                message=MESSAGE,
                                descriptor=closed("id", id=TEXT),
                            )
                        ),
                    )
                ),
                results=some(  # 3.27
                    closed(
                        "ruleId ruleIndex level message locations partialFingerprints",
                        ruleId=TEXT,
                        ruleIndex=INDEX,
                        level=LEVEL,
                        message=MESSAGE,
                        locations=some(  # 3.28
                            closed(
                                "physicalLocation",
                                physicalLocation=closed(  # 3.29
                                    "artifactLocation region",
                                    artifactLocation=closed("uri", uri=URI),
                                    region=closed(  # 3.30
                                        "startLine",
                                        startLine=LINE,
                                        startColumn=LINE,
                                        endLine=LINE,
                                        endColumn=LINE,
                                    ),
                                ),
                                message=MESSAGE,
                            ),
                            least=1,
                        ),
                        partialFingerprints={
                            "type": "object",
                            "additionalProperties": TEXT,
                            "required": ["primaryLocationLineHash"],
                        },
                        suppressions=some(  # 3.35
                            closed(
                                "kind",
                                kind={"enum": ["inSource", "external"]},
                                status={"enum": ["accepted", "underReview", "rejected"]},
                                justification=TEXT,
                            )
                        ),
                    )
                ),
                properties={"type": "object"},
            ),
            least=1,
        ),
        "maxItems": 20,  # GitHub
    },
)


def document_of(shown: Report) -> Any:
    """The document, which always is what the standard and GitHub want."""
    document = json.loads(report_sarif(shown))
    jsonschema.validate(document, SCHEMA)
    names = [run["automationDetails"]["id"] for run in document["runs"]]
    assert len(names) == len(set(names))  # a second upload of one category fails
    for run in document["runs"]:
        rules = run["tool"]["driver"]["rules"]
        assert len({rule["id"] for rule in rules}) == len(rules)
        assert len(rules) <= 25_000
        assert len(run["results"]) <= 25_000
        for result in run["results"]:
            assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        for rule in rules:
            score = rule["properties"].get("security-severity")
            assert score is None or 0 < float(score) <= 10
            assert len(rule["properties"]["tags"]) <= 10
    return document


def results_of(shown: Report) -> dict[str, Any]:
    return {
        result["ruleId"]: result for run in document_of(shown)["runs"] for result in run["results"]
    }


@pytest.mark.parametrize(
    "shown",
    [
        report_of_all(),
        warning_report(),
        report(judged(reports())),
        report(judged([])),
        report(judged([ScanReport(SCANNER, ScanStatus.INCOMPLETE)])),
        hostile_report("x\x00\x1b[31m\u202e\ud800</script> \"'", "\n\r\t", "%2e%2e/"),
        Report("scan-gate", all_of([])),
    ],
)
def test_document_is_what_the_standard_says(shown: Report) -> None:
    assert report_sarif(shown).isascii()
    document_of(shown)


def test_a_run_is_a_manifest_with_a_category_that_stays_the_same() -> None:
    names = [run["automationDetails"]["id"] for run in document_of(report_of_all())["runs"]]
    assert names[:3] == [
        "imgsec/us.icr.io/team/app/linux/amd64/",
        "imgsec/us.icr.io/team/app/linux/arm64/",
        "imgsec/us.icr.io/team/worker/",
    ]
    newer = judged(reports(), IMAGE.at(Digest.of(b"newer")))
    older = judged(reports(), IMAGE.at(Digest.of(b"older")))
    first, second = (document_of(report(scan))["runs"][0] for scan in (newer, older))
    assert first["automationDetails"] == second["automationDetails"]
    marks = [[one["partialFingerprints"] for one in run["results"]] for run in (first, second)]
    assert marks[0] == marks[1]
    assert len({json.dumps(one) for one in marks[0]}) == len(marks[0])


def test_same_image_twice_has_two_categories() -> None:
    scans = [judged(reports(), IMAGE.at(Digest.of(text))) for text in (b"1", b"2")]
    same = judged(reports(), IMAGE.at(Digest.of(b"1")))
    document_of(report(*scans, same, same))


def test_more_manifests_than_runs_share_one() -> None:
    scans = [judged(reports(), IMAGE.at(Digest.of(str(one).encode()))) for one in range(21)]
    (run,) = document_of(report(*scans))["runs"]
    assert len(run["results"]) == 21 * 9


def test_what_refuses_comes_before_what_github_cuts_off() -> None:
    findings = [
        Finding(f"CVE-2026-{one:05}", severity=Severity.CRITICAL, packages=(AffectedPackage("x"),))
        for one in range(25_000)
    ]
    gated = Finding(
        "CVE-2026-99999", severity=Severity.MEDIUM, packages=(AffectedPackage("y", "1", "2"),)
    )
    shown = report(judged([ScanReport(SCANNER, ScanStatus.FAIL, (*findings, gated))]))
    (run,) = json.loads(report_sarif(shown))["runs"]
    assert len(run["results"]) == 25_000
    assert run["results"][0]["ruleId"] == "CVE-2026-99999"


def test_severity_is_in_the_band_that_github_draws() -> None:
    (run, *_) = document_of(report(judged(reports())))["runs"]
    scores = {
        rule["id"]: rule["properties"].get("security-severity")
        for rule in run["tool"]["driver"]["rules"]
    }
    assert float(scores["CVE-2026-1042"]) > 9.0
    assert 7.0 <= float(scores["CVE-2026-2203"]) < 9.0
    assert 4.0 <= float(scores["CVE-2024-7001"]) < 7.0
    assert float(scores["CVE-2022-1"]) < 4.0
    assert scores["GHSA-abcd-efgh-ijkl"] is None


def test_level_and_suppression_follow_the_gate() -> None:
    found = results_of(report(judged(reports())))
    assert found["CVE-2026-1042"]["level"] == "error"
    assert found["CVE-2024-7001"]["level"] == "note"
    assert "suppressions" not in found["CVE-2026-1042"]
    (by_ledger,) = found["CVE-2025-88410"]["suppressions"]
    assert "platform-team" in by_ledger["justification"]
    (ownerless,) = found["CVE-2023-4911"]["suppressions"]
    assert "nobody's word" in ownerless["justification"]


def test_findings_that_only_warn_are_no_errors() -> None:
    found = results_of(warning_report())
    assert found["CVE-2026-1042"]["level"] == "warning"
    assert "(would refuse)" in found["CVE-2026-1042"]["message"]["text"]


def test_undecided_scan_is_no_success_even_with_findings_in_force() -> None:
    """Findings of one source do not hide that another one has not finished."""
    unfinished = ScanReport(SCANNER, ScanStatus.INCOMPLETE)
    (run,) = document_of(report(judged([*reports(), unfinished])))["runs"]
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    codes = [one["descriptor"]["id"] for one in invocation["toolExecutionNotifications"]]
    assert codes == ["scan-incomplete"]


def test_refusal_is_a_success_of_the_tool() -> None:
    (run,) = document_of(report(judged(reports())))["runs"]
    assert run["invocations"] == [{"executionSuccessful": True, "toolExecutionNotifications": []}]


def test_image_that_was_not_scanned_is_told() -> None:
    """A document without a word of it would say that all is well."""
    notified = [
        one["message"]["text"]
        for run in document_of(report_of_all())["runs"]
        for one in run["invocations"][0]["toolExecutionNotifications"]
    ]
    assert any("us.icr.io/team/gone:1" in text for text in notified)


@pytest.mark.parametrize(
    "link", ["https://a.example/ b", 'https://a.example/"><b>', "http://a.example/", "javascript:x"]
)
def test_what_is_no_address_is_no_help_uri(link: str) -> None:
    found = Finding("CVE-2026-1", link=link, notices=(Notice("n", link),))
    (run,) = document_of(report(judged([ScanReport(SCANNER, ScanStatus.FAIL, (found,))])))["runs"]
    assert "helpUri" not in run["tool"]["driver"]["rules"][0]


def test_link_of_a_finding_is_its_help_uri() -> None:
    (run, *_) = document_of(report(judged(reports())))["runs"]
    assert run["tool"]["driver"]["rules"][0]["helpUri"] == FINDINGS[0].link


def test_texts_of_others_are_no_links_in_a_message() -> None:
    """In a message, ``[text](target)`` is a link (SARIF 2.1.0, 3.11.6)."""
    text = "[click](https://evil.example)"
    found = Finding("CVE-2026-1", packages=(AffectedPackage(text, "1", "", text),))
    (run,) = document_of(report(judged([ScanReport(SCANNER, ScanStatus.FAIL, (found,))])))["runs"]
    (result,) = run["results"]
    assert "\\[click\\](" in result["message"]["text"]


def test_long_texts_are_cut() -> None:
    found = replace(FINDINGS[0], summary="x" * 10_000, packages=())
    for shown in results_of(
        report(judged([ScanReport(SCANNER, ScanStatus.FAIL, (found,))]))
    ).values():
        assert len(shown["message"]["text"]) <= 1000
