# SPDX-License-Identifier: Apache-2.0
"""What the webhook is sent at all, by its registration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from imgsec.domain.admission import Admission
from imgsec.domain.engines import CISE
from imgsec.reasons import CHILD_DENIED, Outcome
from tests.support import short_folder
from tests.unit.operations.admission_town import (
    ACCEPTS,
    CISE_API,
    IMAGE,
    NAMESPACE,
    REPOSITORY,
    Town,
    deployment,
    is_denied,
    notes,
    open_town,
    pod,
    pod_spec,
    policy,
    rule,
)
from tests.unit.refusals import refused

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


def registered(resources: list[str], **changes: Any) -> dict[str, Any]:
    """For these resources alone. changes: of the rule."""
    hook = webhook()
    hook["webhooks"][0]["rules"][0] |= {"resources": resources, **changes}
    return hook


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


@pytest.mark.parametrize("resources", [["*"], ["*/*"], ["pods"], ["pods/*"], ["pods", "pods/log"]])
def test_resources_may_be_all(town: Town, resources: list[str]) -> None:
    town.webhooks = [registered(resources)]
    assert is_denied(town.predict(pod(IMAGE)))


@pytest.mark.parametrize("resources", [["pods/log"], ["*/log"], ["jobs/*"]])
def test_subresources_are_not_the_pod(town: Town, resources: list[str]) -> None:
    town.webhooks = [registered(resources)]
    assert "kind-not-registered" in notes(town.predict(pod(IMAGE)))


@pytest.mark.parametrize(
    ("scope", "is_sent"), [("Cluster", False), ("Namespaced", True), ("*", True), (None, True)]
)
def test_rule_about_what_is_in_no_namespace_sends_no_pod(
    town: Town, scope: str | None, is_sent: bool
) -> None:
    town.webhooks = [registered(["pods", "deployments"], scope=scope)]
    for one in (pod(IMAGE), deployment(IMAGE)):
        admission = town.predict(one)
        assert is_denied(admission) is is_sent
        assert ("kind-not-registered" in notes(admission)) is not is_sent


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
    town.webhooks = [
        webhook(failurePolicy="Ignore", matchConditions=[{"name": "x", "expression": "true"}])
    ]
    assert {"failure-policy-ignore", "match-conditions"} <= notes(town.predict(pod(IMAGE)))
    broken = town.predict(pod(f"{REPOSITORY}@sha512:{'0' * 128}"))
    assert "admitted unseen" in broken.verdict.reasons[0].text
    assert not broken.verdict.passed


# --- What is made of an object ------------------------------------------------------------------

CRON_JOB: dict[str, Any] = {
    **{"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"}},
    "spec": {"jobTemplate": {"spec": {"template": {"spec": pod_spec(IMAGE)}}}},
}
OPENSHIFT = "apps.openshift.io/v1"


@pytest.mark.parametrize(
    ("document", "between"),
    [
        (deployment(IMAGE), ["replicasets"]),
        (deployment(IMAGE, kind="StatefulSet"), []),
        (deployment(IMAGE, kind="DaemonSet"), []),
        (deployment(IMAGE, kind="ReplicaSet"), []),
        (deployment(IMAGE, kind="ReplicationController", api="v1"), []),
        (deployment(IMAGE, kind="Job", api="batch/v1"), []),
        (CRON_JOB, ["jobs"]),
        (deployment(IMAGE, kind="DeploymentConfig", api=OPENSHIFT), ["replicationcontrollers"]),
        # Of a kind that nobody knows, anything may be made.
        (deployment(IMAGE, kind="Rollout", api="argoproj.io/v1"), ["replicasets", "jobs"]),
    ],
    ids=lambda one: one["kind"] if isinstance(one, dict) else "",
)
def test_what_is_made_hangs_on_the_kind(
    town: Town, document: dict[str, Any], between: list[str]
) -> None:
    own = f"{document['kind'].lower()}s"
    for resource in {"deployments", "cronjobs", "statefulsets"} - {own}:
        town.webhooks = [registered([resource])]
        assert not is_denied(town.predict(document)), resource
    for resource in {"pods", "replicasets", "replicationcontrollers", "jobs"} - {own}:
        if document["kind"] == "Rollout" and resource == "replicationcontrollers":
            continue
        town.webhooks = [registered([resource])]
        admission = town.predict(document)
        assert is_denied(admission) is (resource in ("pods", *between)), resource
        assert "kind-not-registered" in notes(admission)


def tag_only(town: Town) -> None:
    """A rule that names the tag, and not the digest that the engine writes into the object."""
    digest = town.images.push(IMAGE)
    assert digest
    town.policies = [policy(rule(IMAGE, simple=ACCEPTS))]


def test_pods_that_are_sent_are_held_against_the_digest(town: Town) -> None:
    tag_only(town)
    town.webhooks = [webhook()]
    admission = town.predict(deployment(IMAGE))
    assert [reason.code for reason in admission.verdict.reasons] == [CHILD_DENIED.code]
    assert "the pods that it makes are checked" in texts_of(admission)


@pytest.mark.parametrize(
    ("hook", "code"),
    [
        (registered(["deployments"]), "kind-not-registered"),
        (registered(["deployments", "jobs"]), "kind-not-registered"),
        (webhook(objectSelector=NOT_SKIPPED), "object-skipped"),
    ],
)
def test_pods_that_are_not_sent_are_not_judged(town: Town, hook: dict[str, Any], code: str) -> None:
    tag_only(town)
    town.webhooks = [hook]
    admission = town.predict(deployment(IMAGE, template_metadata={"labels": {"skip": "yes"}}))
    assert admission.verdict.passed
    assert admission.child is None
    assert code in notes(admission)
    assert "the pods that it makes are not checked either" in texts_of(admission)


def test_what_is_made_in_between_is_held_against_the_digest(town: Town) -> None:
    tag_only(town)
    town.webhooks = [registered(["deployments", "replicasets"])]
    admission = town.predict(deployment(IMAGE))
    assert [reason.code for reason in admission.verdict.reasons] == [CHILD_DENIED.code]
    assert admission.child is not None
    assert admission.child.workload.kind == "ReplicaSet"


def test_object_that_is_not_sent_when_it_is_made_is_judged_by_its_pods(town: Town) -> None:
    """What is only sent when it is changed."""
    every = {"apiGroups": ["*"], "apiVersions": ["*"]}
    updates = {**every, "operations": ["UPDATE"], "resources": ["deployments"]}
    creates = {**every, "operations": ["CREATE"], "resources": ["pods"]}
    town.webhooks = [webhook(rules=[updates, creates])]
    admission = town.predict(deployment(IMAGE))
    assert is_denied(admission)
    assert {"operation-not-registered", "updates-unseen"} <= notes(admission)


def test_jobs_have_labels_of_their_own(town: Town) -> None:
    town.webhooks = [registered(["jobs"])]
    town.webhooks[0]["webhooks"][0]["objectSelector"] = {"matchLabels": {"check": "yes"}}
    job = CRON_JOB["spec"]["jobTemplate"]
    assert town.predict(CRON_JOB).verdict.passed
    labelled = {**job, "metadata": {"labels": {"check": "yes"}}}
    assert is_denied(town.predict({**CRON_JOB, "spec": {"jobTemplate": labelled}}))
    template = {"metadata": {"labels": {"check": "yes"}}, "spec": pod_spec(IMAGE)}
    unlabelled = {"spec": {"template": template}}  # it gets those of its pods
    assert is_denied(town.predict({**CRON_JOB, "spec": {"jobTemplate": unlabelled}}))
    alone = deployment(IMAGE, kind="Job", api="batch/v1", template_metadata=template["metadata"])
    assert is_denied(town.predict(alone))


def test_labels_that_controllers_give_are_not_known_before(town: Town) -> None:
    of_controllers = {"matchExpressions": [{"key": "pod-template-hash", "operator": "Exists"}]}
    town.webhooks = [webhook(objectSelector=of_controllers)]
    assert is_denied(town.predict(deployment(IMAGE)))
    assert town.predict(pod(IMAGE)).verdict.passed


def test_resource_that_the_engine_cannot_read_is_denied_where_it_is_sent(town: Town) -> None:
    town.policies = [policy(rule("*"))]
    rollout = deployment(IMAGE, kind="Rollout", api="argoproj.io/v1alpha1")
    assert town.predict(rollout).verdict.passed
    town.webhooks = [registered(["*"])]
    (message,) = town.predict(rollout).messages
    assert "argoproj.io/v1alpha1/rollouts" in message
    town.webhooks = [registered(["pods"])]
    assert town.predict(rollout).verdict.passed


def test_pods_of_the_older_engine_are_asked_for_too(town: Town) -> None:
    town.policies = [policy(api=CISE_API)]
    assert is_denied(town.predict(deployment(IMAGE), CISE))
    town.webhooks = [registered(["deployments"])]
    admission = town.predict(deployment(IMAGE), CISE)
    assert admission.verdict.passed
    assert {"kind-not-intercepted", "kind-not-registered"} <= notes(admission)


def texts_of(admission: Admission) -> str:
    return "; ".join(note.text for note in admission.unchecked)


# --- What else is told --------------------------------------------------------------------------


def test_updates_that_are_not_sent_are_told(town: Town) -> None:
    town.policies = [policy(rule("*"))]
    hook = webhook()
    hook["webhooks"][0]["rules"][0]["operations"] = ["CREATE"]
    town.webhooks = [hook]
    assert "updates-unseen" in notes(town.predict(pod(IMAGE)))
    jobs = {**hook["webhooks"][0]["rules"][0], "resources": ["jobs"], "operations": ["UPDATE"]}
    hook["webhooks"][0]["rules"].append(jobs)
    assert "updates-unseen" in notes(town.predict(pod(IMAGE)))


def test_request_was_sent_whatever_the_registration_says(town: Town) -> None:
    town.webhooks = [webhook(objectSelector={"matchLabels": {"never": "there"}})]
    assert is_denied(town.predict(pod(IMAGE), request=("v1", "pods")))


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


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": ["enforce"]},
        {"labels": {"enforce": True}},
        {"labels": {True: "yes"}},
        {"lables": {"enforce": "yes"}},
        {"Labels": {"enforce": "yes"}},
    ],
)
def test_odd_labels_of_a_namespace_are_not_guessed_at(town: Town, metadata: dict[str, Any]) -> None:
    town.webhooks = [webhook(namespaceSelector={"matchLabels": {"enforce": "yes"}})]
    town.objects["Namespace", "", NAMESPACE] = {"metadata": metadata}
    with refused("input-malformed"):
        town.predict(pod(IMAGE))


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


@pytest.mark.parametrize(("version", "is_sent"), [("v1", True), ("v1beta1", False)])
def test_older_registrations_match_exactly_unless_they_say_else(
    town: Town, version: str, is_sent: bool
) -> None:
    hook = registered(["deployments"], apiGroups=["apps"], apiVersions=["v1"])
    town.webhooks = [{**hook, "apiVersion": f"admissionregistration.k8s.io/{version}"}]
    assert is_denied(town.predict(deployment(IMAGE, api="apps/v1beta1"))) is is_sent


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
