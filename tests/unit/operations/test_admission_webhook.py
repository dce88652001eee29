# SPDX-License-Identifier: Apache-2.0
"""What the webhook is sent at all, by its registration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from imgsec.domain.engines import CISE
from imgsec.reasons import CHILD_DENIED, Outcome
from tests.support import short_folder
from tests.unit.operations.admission_town import (
    IMAGE,
    NAMESPACE,
    REPOSITORY,
    Town,
    deployment,
    is_denied,
    notes,
    open_town,
    pod,
    policy,
    rule,
)

HOOK = "trust.hooks.securityenforcement.admission.cloud.ibm.com"


@pytest.fixture
def town() -> Iterator[Town]:
    with short_folder() as folder, open_town(folder) as opened:
        yield opened


def webhook(**changes: Any) -> dict[str, Any]:
    every = {"operations": ["CREATE", "UPDATE"], "apiGroups": ["*"], "apiVersions": ["*"]}
    one = {
        **{"name": HOOK, "failurePolicy": "Fail", "clientConfig": {}},
        "rules": [{**every, "resources": ["pods", "deployments"]}],
        **changes,
    }
    return {"metadata": {"name": "image-admission-config"}, "webhooks": [one]}


def namespace(town: Town, **labels: str) -> None:
    town.objects["Namespace", "", NAMESPACE] = {"metadata": {"labels": labels}}


NOT_SKIPPED = {"matchExpressions": [{"key": "skip", "operator": "NotIn", "values": ["yes"]}]}


def test_namespace_selector_leaves_out_what_it_says(town: Town) -> None:
    town.webhooks = [webhook(namespaceSelector=NOT_SKIPPED)]
    namespace(town, skip="yes")
    admission = town.predict(pod(IMAGE))
    assert admission.verdict.passed
    assert "namespace-skipped" in notes(admission)
    namespace(town)
    assert is_denied(town.predict(pod(IMAGE)))


def test_namespace_that_nobody_told_of_is_taken_for_sent(town: Town) -> None:
    town.webhooks = [webhook(namespaceSelector={"matchLabels": {"enforce": "yes"}})]
    assert is_denied(town.predict(pod(IMAGE)))
    own = {"matchLabels": {"kubernetes.io/metadata.name": "other"}}
    town.webhooks = [webhook(namespaceSelector=own)]
    assert town.predict(pod(IMAGE)).verdict.passed


def test_object_selector_looks_at_each_object_by_itself(town: Town) -> None:
    town.webhooks = [webhook(objectSelector=NOT_SKIPPED)]
    skipped = {"labels": {"skip": "yes"}}
    assert town.predict({**pod(IMAGE), "metadata": skipped}).verdict.passed
    outer = town.predict(deployment(IMAGE, metadata=skipped))
    assert [reason.code for reason in outer.verdict.reasons] == [CHILD_DENIED.code]
    both = town.predict(deployment(IMAGE, metadata=skipped, template_metadata=skipped))
    assert both.verdict.passed
    assert "object-skipped" in notes(both)


def test_what_is_not_registered_is_judged_by_its_pods(town: Town) -> None:
    town.webhooks = [webhook()]
    admission = town.predict(deployment(IMAGE, kind="DaemonSet"))
    assert [reason.code for reason in admission.verdict.reasons] == [CHILD_DENIED.code]
    assert "kind-not-registered" in notes(admission)


@pytest.mark.parametrize(
    ("resources", "is_judged"), [(["replicasets"], True), (["statefulsets"], False)]
)
def test_what_is_made_in_between_is_judged_as_well(
    town: Town, resources: list[str], is_judged: bool
) -> None:
    hook = webhook()
    hook["webhooks"][0]["rules"][0]["resources"] = resources
    town.webhooks = [hook]
    admission = town.predict(deployment(IMAGE))
    assert is_denied(admission) is is_judged
    assert "kind-not-registered" in notes(admission)


@pytest.mark.parametrize("resources", [["*"], ["*/*"], ["pods"]])
def test_resources_may_be_all(town: Town, resources: list[str]) -> None:
    hook = webhook()
    hook["webhooks"][0]["rules"][0]["resources"] = resources
    town.webhooks = [hook]
    assert is_denied(town.predict(pod(IMAGE)))


def test_other_versions_are_converted_unless_the_match_is_exact(town: Town) -> None:
    hook = webhook()
    hook["webhooks"][0]["rules"][0] |= {"apiGroups": ["apps"], "apiVersions": ["v1"]}
    town.webhooks = [hook]
    old = deployment(IMAGE, api="apps/v1beta1")
    assert is_denied(town.predict(old))
    hook["webhooks"][0]["matchPolicy"] = "Exact"
    assert "kind-not-registered" in notes(town.predict(old))


def test_failure_policy_and_conditions_are_told(town: Town) -> None:
    town.policies = [policy(rule("*"))]
    town.webhooks = [webhook(failurePolicy="Ignore", matchConditions=[{"name": "x"}])]
    assert {"failure-policy-ignore", "match-conditions"} <= notes(town.predict(pod(IMAGE)))
    broken = town.predict(pod(f"{REPOSITORY}@sha512:{'0' * 128}"))
    assert "admitted unseen" in broken.verdict.reasons[0].text
    assert not broken.verdict.passed


def test_updates_that_are_not_sent_are_told(town: Town) -> None:
    town.policies = [policy(rule("*"))]
    hook = webhook()
    hook["webhooks"][0]["rules"][0]["operations"] = ["CREATE"]
    town.webhooks = [hook]
    assert "updates-unseen" in notes(town.predict(pod(IMAGE)))


def test_request_was_sent_whatever_the_registration_says(town: Town) -> None:
    town.webhooks = [webhook(objectSelector={"matchLabels": {"never": "there"}})]
    assert is_denied(town.predict(pod(IMAGE), request=("v1", "pods")))


@pytest.mark.parametrize(
    "odd",
    [
        {"metadata": {"name": "image-admission-config"}, "webhooks": 1},
        webhook(rules=3),
        webhook(rules=[{"resources": "pods"}]),
        webhook(objectSelector={"matchExpressions": {"key": "a"}}),
        webhook(objectSelector={"matchExpressions": [{"key": "a", "operator": "Likes"}]}),
        webhook(clientConfig="x"),
    ],
)
def test_odd_registration_is_not_guessed_at(town: Town, odd: dict[str, Any]) -> None:
    town.webhooks = [odd]
    with pytest.raises(ValueError, match=r"registration|operator"):
        town.predict(pod(IMAGE))


def test_reserved_namespace_is_not_judged_and_told(town: Town) -> None:
    admission = town.predict(pod(IMAGE), reserved=frozenset([NAMESPACE]))
    assert admission.verdict.passed
    assert "namespace-reserved" in notes(admission)
    assert not admission.containers[0].is_reached


def test_labels_that_nobody_told_of_are_not_checked(town: Town) -> None:
    town.policies = [policy(rule("*"))]
    town.webhooks = [webhook(namespaceSelector=NOT_SKIPPED)]
    assert "namespace-labels-unknown" in notes(town.predict(pod(IMAGE)))
    namespace(town)
    assert "namespace-labels-unknown" not in notes(town.predict(pod(IMAGE)))


def test_each_rule_is_one(town: Town) -> None:
    """What one names, and what another is about, is not put together."""
    versions = {"apiVersions": ["*"]}
    town.webhooks = [
        webhook(
            rules=[
                {
                    **versions,
                    "operations": ["CREATE"],
                    "apiGroups": [""],
                    "resources": ["deployments"],
                },
                {
                    **versions,
                    "operations": ["CREATE"],
                    "apiGroups": ["apps"],
                    "resources": ["pods"],
                },
                {**versions, "operations": ["UPDATE"], "apiGroups": ["*"], "resources": ["*"]},
            ]
        )
    ]
    for one in (pod(IMAGE), deployment(IMAGE)):
        admission = town.predict(one)
        assert admission.verdict.passed
        assert "operation-not-registered" in notes(admission)


def test_webhook_of_the_engines_own_name_is_its(town: Town) -> None:
    selector = {"matchLabels": {"check": "yes"}}
    both = [*webhook()["webhooks"], *webhook(objectSelector=selector)["webhooks"]]
    both[0]["name"] = "va.hooks.securityenforcement.admission.cloud.ibm.com"
    town.webhooks = [{"metadata": {"name": "image-admission-config"}, "webhooks": both}]
    assert "object-skipped" in notes(town.predict(pod(IMAGE)))


@pytest.mark.parametrize(("version", "is_ignored"), [("v1", False), ("v1beta1", True)])
def test_what_a_registration_leaves_out_is_its_versions_default(
    town: Town, version: str, is_ignored: bool
) -> None:
    town.policies = [policy(rule("*"))]
    registration = webhook(failurePolicy=None)
    town.webhooks = [{**registration, "apiVersion": f"admissionregistration.k8s.io/{version}"}]
    assert ("failure-policy-ignore" in notes(town.predict(pod(IMAGE)))) is is_ignored


def test_object_whose_pods_nobody_knows_is_open(town: Town) -> None:
    job = {
        "apiVersion": "foo.io/v1",
        "kind": "Job",
        "metadata": {"name": "j"},
        "spec": {"image": "x"},
    }
    admission = town.predict(job, CISE)
    assert admission.verdict.outcome is Outcome.UNDECIDED
    assert is_denied(town.predict(job))  # Portieris is sent it, and knows no such resource


def test_invalid_name_is_near_no_rule(town: Town) -> None:
    town.policies = [policy(rule("*"))]
    (trace,) = town.predict(pod("icr.io/ns/app:")).containers
    assert trace.near == ()
