# SPDX-License-Identifier: Apache-2.0
"""What tests of policies come to: met, missed, or left undecided by a service that is away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from imgsec.domain.admission_suite import AdmissionSuite
from imgsec.domain.admission_suite import TestResult as Result
from imgsec.domain.engines import Engine
from imgsec.domain.report import Report
from imgsec.domain.webhook import CONFIGURATION_NAME, WEBHOOK_NAME
from imgsec.domain.workload import read_workload
from imgsec.errors import ImgsecError
from imgsec.operations.run_suite import assumed, pod_of, run_suite
from imgsec.reasons import NOT_ASSESSED, SERVICE_UNREACHABLE, Outcome
from imgsec.render.junit import report_junit
from imgsec.render.prediction import prediction_lines
from tests.support import short_folder
from tests.unit.operations.admission_town import (
    ACCEPTS,
    CISE_API,
    IMAGE,
    NAMESPACE,
    Town,
    deployment,
    open_town,
    pod,
    policy,
    rule,
)

ADVISED = {"vulnerability": {"ICCRVA": {"enabled": True}}}
BROKEN = f"{IMAGE.partition(':')[0]}@sha512:{'0' * 128}"
EXPECTATIONS = ("admitted", "denied", "open")


def registered(failure_policy: str) -> dict[str, Any]:
    every = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}
    hook = {"name": WEBHOOK_NAME, "failurePolicy": failure_policy, "rules": [every]}
    return {"metadata": {"name": CONFIGURATION_NAME}, "webhooks": [hook]}


@pytest.fixture
def town() -> Iterator[Town]:
    with short_folder() as folder, open_town(folder) as opened:
        yield opened


def run(town: Town, *documents: dict[str, Any], offline: bool = False, **test: Any) -> Result:
    """documents: the workloads of the test, in place of its image."""
    named = {"image": test.pop("image", IMAGE)} if not documents else {"workload": "w"}
    suite = AdmissionSuite.parse({"version": 1, "tests": [{"name": "t", **named, **test}]})
    (result,) = run_suite(
        suite,
        lambda one: town.predictor(
            one.engine or Engine.parse("0.14.3"),
            offline=offline,
            settle=lambda trace, deployed: assumed(trace, deployed, one),
        ),
        lambda one: (
            [
                found
                for document in documents
                if (found := read_workload(document, namespace=NAMESPACE)) is not None
            ]
            or [pod_of(one.image or "", NAMESPACE)]
        ),
    )
    return result


def text_of(result: Result) -> str:
    return " ".join(one.text for one in result.verdict.reasons)


@pytest.mark.parametrize("expect", EXPECTATIONS)
def test_service_that_is_asked_in_vain_leaves_a_test_undecided(town: Town, expect: str) -> None:
    town.policies = [policy(rule("*", simple=ACCEPTS))]
    town.images.manifests[IMAGE] = ImgsecError(SERVICE_UNREACHABLE("it is away"))
    result = run(town, expect=expect, assume={"simple": "passes"}, rule="other", message="other")
    assert result.verdict.outcome is Outcome.UNDECIDED
    assert [one.code for one in result.verdict.reasons] == ["service-unreachable"]
    report = Report("admit", result.verdict, tests=(result,))
    assert next(prediction_lines(report, verbose=False)) == "undecided: t"
    assert 'errors="1"' in report_junit(report)
    assert 'failures="0"' in report_junit(report)


def test_object_that_is_decided_otherwise_fails_a_test_whatever_else_is_away(town: Town) -> None:
    town.policies = [policy(rule("*", simple=ACCEPTS))]
    town.images.manifests[IMAGE] = ImgsecError(SERVICE_UNREACHABLE("it is away"))
    missing = {**pod("quay.io/a/b:1"), "metadata": {"name": "b"}}
    result = run(town, pod(IMAGE), missing, expect="admitted")
    assert result.verdict.outcome is Outcome.REFUSED
    assert [one.code for one in result.verdict.reasons] == [
        *("expectation-missed", "service-unreachable"),
    ]


def test_what_nobody_was_asked_about_is_open(town: Town) -> None:
    town.policies = [policy(rule("*", simple=ACCEPTS))]
    assert run(town, offline=True, expect="open").verdict.passed
    assert "predicted open" in text_of(run(town, offline=True, expect="denied"))


def test_image_that_the_advisor_does_not_know_by_nature_is_open(town: Town) -> None:
    town.policies = [policy(rule("*", **ADVISED))]
    town.pull_secret("p", "xicr.io", "u:p")
    town.images.push("xicr.io/a:1")
    town.advisor.says = ImgsecError(NOT_ASSESSED("xicr.io is foreign"))
    foreign = pod("xicr.io/a:1", imagePullSecrets=[{"name": "p"}])
    assert run(town, foreign, expect="open").verdict.passed
    assert run(town, foreign, expect="admitted", assume={"advisor": "passes"}).verdict.passed
    town.advisor.says = ImgsecError(SERVICE_UNREACHABLE("it is away"))
    away = run(town, foreign, expect="open", assume={"advisor": "passes"})
    assert away.verdict.outcome is Outcome.UNDECIDED


@pytest.mark.parametrize(("failure_policy", "met"), [("Ignore", "open"), ("Fail", "denied")])
def test_what_breaks_the_engine_and_is_let_in_is_neither_admitted_nor_denied(
    town: Town, failure_policy: str, met: str
) -> None:
    town.policies = [policy(rule("*"))]
    town.webhooks = [registered(failure_policy)]
    for expect in EXPECTATIONS:
        result = run(town, image=BROKEN, expect=expect)
        assert result.verdict.passed is (expect == met)
        if expect != met:
            assert f"expected {expect}, predicted {met}" in text_of(result)
            assert ("failurePolicy is Ignore" in text_of(result)) is (met == "open")


@pytest.mark.parametrize(("failure_policy", "met"), [("Ignore", "open"), ("Fail", "denied")])
def test_pods_that_break_the_engine_are_told_of_as_they_are(
    town: Town, failure_policy: str, met: str
) -> None:
    """The older add-on is sent the pods of a Deployment, and not the Deployment."""
    cise = {"api": CISE_API}
    town.policies = [policy(rule("*"), **cise)]
    town.webhooks = [registered(failure_policy)]
    for expect in EXPECTATIONS:
        result = run(town, deployment(BROKEN), engine="cise", expect=expect)
        assert result.verdict.passed is (expect == met)
        if expect != met:
            assert "the webhook breaks" in text_of(result)


def test_containers_without_an_image_are_held_against_no_rule(town: Town) -> None:
    town.policies = [policy(rule("us.icr.io/team/*"))]
    assert run(town, pod(IMAGE, "", " "), expect="admitted", rule="us.icr.io/team/*").verdict.passed
    none = run(town, pod(""), expect="admitted", rule="")
    assert "no container was held against rules" in text_of(none)
