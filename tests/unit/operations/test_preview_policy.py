# SPDX-License-Identifier: Apache-2.0
"""A policy is applied only after a look at what it would stop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from imgsec.domain.policy import ImagePolicy, KeySecret, Namespace, ObjectName, PolicyKind
from imgsec.domain.reference import RepositoryPattern
from imgsec.operations.preview_policy import Enforcement, enforce_policy
from imgsec.reasons import Outcome
from tests.unit.operations.fakes import (
    NOW,
    OTHER_SIGNER,
    FakeKeyring,
    FakeRegistry,
    FakeSink,
    message,
    public_key,
)

POLICY = ImagePolicy(
    ObjectName("signed"),
    PolicyKind.CLUSTER,
    (RepositoryPattern("r.example/team/*"),),
    KeySecret(ObjectName("public"), Namespace("portieris")),
    unchecked=(RepositoryPattern("r.example/free/*"),),
)


@dataclass
class FakeCluster:
    """Pods and policies."""

    running: list[tuple[str, str]]
    policies: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def list_policies(self, kind: str) -> tuple[dict[str, Any], ...]:
        return tuple(self.policies.get(kind, []))

    def list_running_images(self) -> tuple[tuple[str, str], ...]:
        return tuple(self.running)

    def list_secret_editors(self, _: str) -> tuple[str, ...]:
        return ()


@pytest.fixture
def registry() -> FakeRegistry:
    held = FakeRegistry()
    for name in ("signed", "unsigned", "foreign"):
        image = held.push(f"r.example/team/{name}:1")
        assert image.digest
        if name != "unsigned":
            signer = {} if name == "signed" else {"signer": OTHER_SIGNER}
            signature = message(image.tagged_name, image.digest, **signer)
            held.signatures[image.canonical_name] = [signature]
    return held


def enforce(
    registry: FakeRegistry, *running: tuple[str, str], sink: FakeSink | None = None, **more: Any
) -> Enforcement:
    cluster = FakeCluster(list(running), more.pop("policies", {}))
    return enforce_policy(
        POLICY,
        public_key(),
        cluster=cluster,
        sink=sink or FakeSink(),
        registry=registry,
        keyring=FakeKeyring(),
        now=NOW,
        **more,
    )


def outcomes(done: Enforcement) -> dict[str, list[str]]:
    return {one.image: [reason.code for reason in one.verdict.reasons] for one in done.running}


def test_policy_that_stops_nothing_is_applied(registry: FakeRegistry) -> None:
    sink = FakeSink()
    running = (("a", "r.example/team/signed:1"), ("b", "r.example/free/x"))
    done = enforce(registry, *running, ("b", "r.example/team/signed:1"), sink=sink)
    assert done.verdict.passed
    assert [change.state for change in done.changes] == ["created"]
    assert "ClusterImagePolicy/signed" in sink.documents
    assert {one.image: one.namespaces for one in done.running} == {
        "r.example/free/x": ("b",),
        "r.example/team/signed:1": ("a", "b"),
    }


def test_cluster_that_runs_nothing_has_nothing_to_lose(registry: FakeRegistry) -> None:
    assert enforce(registry).verdict.passed


@pytest.mark.parametrize(
    ("image", "code"),
    [
        ("r.example/team/unsigned:1", "signature-missing"),
        ("r.example/team/foreign:1", "signature-untrusted"),
        ("nginx", "no-rule"),
        ("other.example/x:1", "no-rule"),
    ],
)
def test_image_that_would_be_refused_stops_the_policy(
    registry: FakeRegistry, image: str, code: str
) -> None:
    sink = FakeSink()
    running = (("a", "r.example/team/signed:1"), ("a", image))
    done = enforce(registry, *running, sink=sink)
    assert done.verdict.outcome is Outcome.REFUSED
    assert [reason.code for reason in done.verdict.reasons] == ["running-images-refused", code]
    assert "1 of 2" in done.verdict.reasons[0].text
    assert outcomes(done)[image] == [code]
    assert sink.documents == {}
    assert done.changes == ()
    assert enforce(registry, *running, sink=sink, accept_lockout=True).verdict.passed
    assert "ClusterImagePolicy/signed" in sink.documents


@pytest.mark.parametrize(
    ("image", "code"),
    [
        ("r.example/team/gone:1", "image-not-found"),
        ("r.example/team/UPPER:1", "invalid-reference"),
        ("r.example/team/untagged", "tag-required"),
    ],
)
def test_image_that_cannot_be_judged_stops_the_policy_too(
    registry: FakeRegistry, image: str, code: str
) -> None:
    sink = FakeSink()
    done = enforce(registry, ("a", image), sink=sink)
    assert not done.verdict.passed
    assert outcomes(done) == {image: [code]}
    assert sink.documents == {}


def other(
    name: str, rule: str, policy: Any = None, *, kind: str = "ClusterImagePolicy"
) -> dict[str, Any]:
    entry = {"name": rule, "policy": policy}
    return {
        "apiVersion": "portieris.cloud.ibm.com/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "own"},
        "spec": {"repositories": [entry]},
    }


def test_rules_of_other_policies_count(registry: FakeRegistry) -> None:
    running = (("a", "nginx"), ("a", "r.example/team/unsigned:1"))
    free = [other("z", "nginx"), other("y", "r.example/team/unsigned:1")]
    assert enforce(registry, *running, policies={"ClusterImagePolicy": free}).verdict.passed
    demanding = [other("z", "nginx", {"trust": {"enabled": True}})]
    done = enforce(registry, running[0], policies={"ClusterImagePolicy": demanding})
    assert done.verdict.passed
    assert [note.code for note in done.running[0].verdict.notes] == ["decided-elsewhere"]


def test_earlier_form_of_the_policy_does_not_count(registry: FakeRegistry) -> None:
    before = {"ClusterImagePolicy": [other("signed", "*")]}
    assert not enforce(registry, ("a", "nginx"), policies=before).verdict.passed


def test_namespace_with_a_policy_of_its_own_is_left_out(registry: FakeRegistry) -> None:
    own = {"ImagePolicy": [other("mine", "*", kind="ImagePolicy")]}
    done = enforce(registry, ("own", "nginx"), policies=own)
    assert done.verdict.passed
    assert done.running == ()
