# SPDX-License-Identifier: Apache-2.0
"""``publish-policy --apply`` with the real kubectl, against an API server of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.kubernetes.conftest import GROUP, POLICY, PUBLIC_KEY, Cluster, write_kubeconfig


def apply(
    cluster: Cluster, tmp_path: Path, *arguments: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    config = write_kubeconfig(cluster, tmp_path)
    cluster.publishes(PUBLIC_KEY.read_text())
    done = subprocess.run(
        [
            *(sys.executable, "-m", "imgsec", "publish-policy", "--apply"),
            *("--repository", "us.icr.io/team/*", "--kubeconfig", str(config)),
            *("--output", "json", *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done, json.loads(done.stdout)


def test_policy_is_applied_server_side_under_our_field_manager(
    cluster: Cluster, tmp_path: Path
) -> None:
    done, report = apply(cluster, tmp_path)
    assert done.returncode == 0, done.stderr
    assert report["changes"] == [
        {
            "target": "clusterimagepolicies.portieris.cloud.ibm.com/imgsec-signed-images",
            "state": "created",
        }
    ]
    assert [kind for kind, _ in cluster.applied] == ["application/apply-patch+yaml"] * 2
    assert ["dryRun" in query for _, query in cluster.applied] == [True, False]
    assert cluster.applied[1][1]["fieldManager"] == ["imgsec"]
    rules = cluster.objects[POLICY]["spec"]["repositories"]
    assert rules[0]["name"] == "us.icr.io/team/*"


def test_second_run_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    apply(cluster, tmp_path)
    _, report = apply(cluster, tmp_path)
    assert report["changes"][0]["state"] == "unchanged"
    _, report = apply(cluster, tmp_path, "--repository", "icr.io/team/*")
    assert report["changes"][0]["state"] == "updated"


def test_dry_run_keeps_nothing(cluster: Cluster, tmp_path: Path) -> None:
    done, report = apply(cluster, tmp_path, "--dry-run")
    assert done.returncode == 0
    assert "dry-run" in [note["code"] for note in report["notes"]]
    assert not cluster.objects


def test_namespaced_policy_goes_to_its_namespace(cluster: Cluster, tmp_path: Path) -> None:
    done, _ = apply(cluster, tmp_path, "--namespace", "team")
    assert done.returncode == 0, done.stderr
    assert list(cluster.objects) == [f"{GROUP}/namespaces/team/imagepolicies/imgsec-signed-images"]


def test_policy_of_somebody_else_is_left_alone(cluster: Cluster, tmp_path: Path) -> None:
    theirs = {
        "apiVersion": GROUP[6:],
        "kind": "ClusterImagePolicy",
        "metadata": {"name": "imgsec-signed-images"},
        "spec": {},
    }
    cluster.objects[POLICY] = theirs
    done, report = apply(cluster, tmp_path)
    assert (done.returncode, report["reasons"][0]["code"]) == (1, "foreign-object")
    assert cluster.objects[POLICY] is theirs
    assert not cluster.applied


def test_field_that_the_cluster_would_drop_stops_the_apply(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.drops = "keySecretNamespace"
    done, report = apply(cluster, tmp_path)
    assert (done.returncode, report["reasons"][0]["code"]) == (1, "field-dropped")
    assert "spec.repositories[0].policy.simple.requirements[0].keySecretNamespace" in done.stderr
    assert not cluster.objects


def test_missing_right_is_named(cluster: Cluster, tmp_path: Path) -> None:
    cluster.forbidden = True
    done, report = apply(cluster, tmp_path)
    assert (done.returncode, report["reasons"][0]["code"]) == (3, "permission-denied")


def test_cluster_that_is_away_is_undecided(cluster: Cluster, tmp_path: Path) -> None:
    cluster.address = "http://127.0.0.1:1"
    done, report = apply(cluster, tmp_path)
    assert (done.returncode, report["reasons"][0]["code"]) == (3, "cluster-unreachable")
    assert "Traceback" not in done.stderr


def test_what_a_platform_needs_is_let_through_first(cluster: Cluster, tmp_path: Path) -> None:
    done, report = apply(cluster, tmp_path, "--allow-platform", "portieris")
    assert done.returncode == 0, done.stderr
    resource = "clusterimagepolicies.portieris.cloud.ibm.com"
    assert report["changes"] == [
        {"target": f"{resource}/imgsec-platform-portieris", "state": "created"},
        {"target": f"{resource}/imgsec-signed-images", "state": "created"},
    ]


def test_what_was_applied_before_a_failure_is_told(cluster: Cluster, tmp_path: Path) -> None:
    cluster.drops = "mutateImage"
    done, report = apply(cluster, tmp_path, "--allow-platform", "portieris", "--no-mutate-image")
    assert (done.returncode, report["reasons"][0]["code"]) == (1, "field-dropped")
    assert [one["state"] for one in report["changes"]] == ["created"]
