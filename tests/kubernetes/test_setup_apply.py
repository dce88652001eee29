# SPDX-License-Identifier: Apache-2.0
"""``setup-signing-keys --apply``: the Secrets, and the policy only after a look at what runs."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Bench, SigningKey
from tests.kubernetes.conftest import GROUP, POLICY, RBAC, Cluster
from tests.support import Ended

PUBLIC = "/api/v1/namespaces/portieris/secrets/portieris-image-signing-public-key"
REFERENCE = "/api/v1/namespaces/portieris/secrets/portieris-keys"
BINDINGS = f"{RBAC}/namespaces/portieris/rolebindings"


@pytest.fixture(autouse=True)
def empty_lists(cluster: Cluster) -> None:
    for path in ("/api/v1/pods", f"{GROUP}/clusterimagepolicies", f"{GROUP}/imagepolicies"):
        cluster.lists[path] = []
    cluster.lists[BINDINGS] = []


def pod(namespace: str, *images: str, first: str | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": [{"name": "c", "image": image} for image in images]}
    if first:
        spec["initContainers"] = [{"name": "i", "image": first}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": namespace},
        "spec": spec,
    }


class SetUp:
    """The command against both: the sandbox's KMS and registry, and the cluster."""

    def __init__(self, bench: Bench, kubeconfig: Path, alias: str) -> None:
        self.bench, self.kubeconfig, self.alias = bench, kubeconfig, alias

    def __call__(self, *words: str) -> Ended:
        return self.bench.imgsec(
            *("setup-signing-keys", "--alias", self.alias, "--apply", *words),
            *("--repository", f"{self.bench.sandbox.registry}/*"),
            *("--kubeconfig", self.kubeconfig),
        )


@pytest.fixture
def set_up(bench: Bench, kubeconfig: Path, key: SigningKey) -> SetUp:
    return SetUp(bench, kubeconfig, key.alias)


def test_secrets_are_applied_and_the_policy_is_not(
    set_up: SetUp, cluster: Cluster, key: SigningKey
) -> None:
    done = set_up().expect(0)
    assert set(cluster.objects) == {PUBLIC, REFERENCE}
    data = cluster.objects[REFERENCE]["data"]
    fingerprint = base64.b64decode(data["portieris-signature-fingerprint"]).decode()
    assert fingerprint == key.fingerprint
    assert done.json["key"]["fingerprint"] == key.fingerprint
    assert [one["state"] for one in done.json["changes"]][-2:] == ["created", "created"]
    again = set_up().expect(0)
    assert {one["state"] for one in again.json["changes"]} == {"unchanged"}
    assert "nothing-to-do" in [note["code"] for note in again.json["notes"]]


def test_rehearsal_keeps_nothing_anywhere(bench: Bench, cluster: Cluster, kubeconfig: Path) -> None:
    alias = bench.alias()
    done = SetUp(bench, kubeconfig, alias)("--dry-run", "--enforce").expect(0)
    assert {one["state"] for one in done.json["changes"]} == {"created"}
    assert len(done.json["changes"]) == 6
    assert "dry-run" in [note["code"] for note in done.json["notes"]]
    assert cluster.objects == {}
    assert bench.keys(alias) == {}
    assert all("dryRun" in query for _, query in cluster.applied)


def test_policy_is_applied_when_nothing_that_runs_is_refused(
    set_up: SetUp, cluster: Cluster, bench: Bench, key: SigningKey
) -> None:
    name, digest = bench.push(bench.repository())
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    at = f"{name.rpartition(':')[0]}@{digest}"
    cluster.lists["/api/v1/pods"] = [pod("a", name, first=at), pod("b", name)]
    done = set_up("--enforce").expect(0)
    assert POLICY in cluster.objects
    running = {one["image"]: one for one in done.json["running"]}
    assert set(running) == {name, at}
    assert running[name]["namespaces"] == ["a", "b"]


def test_policy_is_not_applied_when_something_that_runs_is_refused(
    set_up: SetUp, cluster: Cluster, bench: Bench
) -> None:
    unsigned, _ = bench.push(bench.repository())
    odd = 'x"y\\z \u00e9'
    cluster.lists["/api/v1/pods"] = [pod("a", unsigned), pod("kube-system", "nginx", odd)]
    done = set_up("--enforce").expect(1, "running-images-refused", "signature-missing", "no-rule")
    assert POLICY not in cluster.objects
    assert {PUBLIC, REFERENCE} <= set(cluster.objects)  # they stop nothing
    assert {one["image"] for one in done.json["running"]} >= {unsigned, "nginx"}
    assert len(done.json["running"]) == 3
    done = set_up("--enforce", "--accept-lockout").expect(0)
    assert POLICY in cluster.objects
    assert "accepted-lockout" in [note["code"] for note in done.json["notes"]]


@pytest.mark.once
def test_image_of_a_registry_that_is_away_is_undecided(
    set_up: SetUp, cluster: Cluster, bench: Bench
) -> None:
    name, _ = bench.push(bench.repository())
    cluster.lists["/api/v1/pods"] = [pod("a", name)]
    bench.fault("registry", "500")
    set_up("--enforce").expect(3, "service-unreachable")
    assert POLICY not in cluster.objects


@pytest.mark.once
def test_existing_secret_decides_before_a_key_is_made(
    bench: Bench, cluster: Cluster, kubeconfig: Path, key: SigningKey
) -> None:
    SetUp(bench, kubeconfig, key.alias)().expect(0)
    alias = bench.alias()
    refused = SetUp(bench, kubeconfig, alias)().expect(1, "existing-key-found")
    assert key.alias in refused.json["reasons"][0]["text"]
    assert bench.keys(alias) == {}


@pytest.mark.once
def test_foreign_secret_is_adopted_only_when_asked(set_up: SetUp, cluster: Cluster) -> None:
    cluster.objects[PUBLIC] = {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": {"name": "portieris-image-signing-public-key", "namespace": "portieris"},
        "data": {"key": "eA=="},
    }
    set_up().expect(1, "foreign-object")
    assert cluster.applied == []
    done = set_up("--adopt").expect(0)
    assert "updated" in [one["state"] for one in done.json["changes"]]
    assert any(query.get("force") == ["true"] for _, query in cluster.applied)
    assert "adopted" in [note["code"] for note in done.json["notes"]]


def binding(kind: str, role: str, subject: str, name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{role}-{name}"},
        "roleRef": {"kind": kind, "name": role},
        "subjects": [{"kind": subject, "name": name}],
    }


@pytest.mark.once
def test_who_may_edit_the_public_key_is_named(set_up: SetUp, cluster: Cluster) -> None:
    cluster.lists[BINDINGS] = [
        {
            "apiVersion": RBAC[6:],
            "kind": "RoleBinding",
            "metadata": {"name": "b", "namespace": "portieris"},
            "roleRef": {"kind": "ClusterRole", "name": "edit"},
            "subjects": [{"kind": "Group", "name": "app-team"}],
        }
    ]
    notes = {note["code"]: note["text"] for note in set_up().expect(0).json["notes"]}
    assert "Group app-team" in notes["key-secret-editable"]
    writes = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "update"]}]
    reads = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]
    cluster.lists[f"{RBAC}/namespaces/portieris/roles"] = [
        {"metadata": {"name": "writer"}, "rules": writes},
        {"metadata": {"name": "reader"}, "rules": reads},
    ]
    cluster.lists[f"{RBAC}/clusterroles"] = [{"metadata": {"name": "wide"}, "rules": writes}]
    cluster.lists[BINDINGS] = [
        binding("Role", "writer", "User", "ann"),
        binding("Role", "reader", "User", "bob"),
        binding("ClusterRole", "wide", "Group", "ops"),
        binding("ClusterRole", "gone", "User", "eve"),
    ]
    cluster.lists[f"{RBAC}/clusterrolebindings"] = [
        binding("ClusterRole", "cluster-admin", "Group", "system:masters"),
        binding("ClusterRole", "cluster-admin", "User", "boss"),
        binding("ClusterRole", "edit", "Group", "system:authenticated"),
        binding("ClusterRole", "wide", "ServiceAccount", "ci"),
        binding("ClusterRole", "wide", "User", "system:kube-controller-manager"),
    ]
    notes = {note["code"]: note["text"] for note in set_up().expect(0).json["notes"]}
    assert notes["key-secret-editable"].startswith(
        "Group ops, Group system:authenticated (in every namespace), ServiceAccount ci (in every"
        " namespace), User ann, User eve (by the ClusterRole gone?) may edit Secrets in portieris"
    )
    del cluster.lists[BINDINGS]
    notes = {note["code"]: note["text"] for note in set_up().expect(0).json["notes"]}
    assert "could not be read" in notes["key-secret-editable"]


@pytest.mark.once
@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--apply", "--render", "out"),
        ("--render", "out", "--enforce"),
        ("--render", "out", "--dry-run"),
        ("--apply", "--accept-lockout"),
        ("--apply", "--adopt-key", "0a1b2c3d-1234-4abc-8def-0123456789ab"),
        ("--apply", "--adopt", "--adopt-key", "x"),
    ],
)
def test_impossible_combinations_are_usage_errors(bench: Bench, words: tuple[str, ...]) -> None:
    given = ("setup-signing-keys", "--alias", "release", "--repository", "r.example/*")
    bench.imgsec(*given, *words).expect(2, "invalid-option")


@pytest.mark.once
def test_foreign_policy_is_noticed_before_there_is_a_key(
    cluster: Cluster, bench: Bench, kubeconfig: Path
) -> None:
    set_up = SetUp(bench, kubeconfig, bench.alias())
    cluster.objects[POLICY] = {"kind": "ClusterImagePolicy", "metadata": {"name": "x"}, "spec": {}}
    set_up("--enforce").expect(1, "foreign-object")
    assert cluster.applied == []
    assert bench.keys(set_up.alias) == {}
