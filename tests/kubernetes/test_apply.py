# SPDX-License-Identifier: Apache-2.0
"""``publish-policy --apply`` with the real kubectl, against an API server of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.conftest import (
    GROUP,
    POLICY,
    PUBLIC_KEY,
    Cluster,
    without,
    write_kubeconfig,
)
from tests.support import CommandLine


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


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_who_is_ended_half_way_says_what_the_cluster_has_already(
    cluster: Cluster, tmp_path: Path, words: tuple[str, ...]
) -> None:
    intent = tmp_path / "intent.yaml"
    rule = "{images: [a.io/b/*], denied: {reason: r}}"
    places = "name: p\nnamespaces: [one, two, three]"
    intent.write_text(f"apiVersion: imgsec/v1\nkind: PolicyIntent\n{places}\nrules: [{rule}]\n")
    config = write_kubeconfig(cluster, tmp_path)
    run = CommandLine(tmp_path).start(
        *("publish-policy", "--apply", "--offline", "--intent", intent, "--kubeconfig", config),
        *words,
    )
    rehearsed: list[str] = []

    def end_at_two(document: dict[str, Any], is_dry: bool) -> dict[str, Any]:
        namespace = document["metadata"]["namespace"]
        if namespace == "two" and (not is_dry or namespace in rehearsed):
            run.terminate()
            run.wait(30)
        rehearsed.append(namespace)
        return document

    cluster.alters = end_at_two
    _, said = run.communicate(timeout=60)
    assert run.returncode == 143
    told = [line for line in said.splitlines() if "until then" in line]
    if words:
        assert told == []
        return
    (line,) = told
    done, _, rest = line.partition("; ")
    assert done.endswith("one/imagepolicies.portieris.cloud.ibm.com/p (created)")
    assert rest == "whether ImagePolicy two/p is changed, too, is not known"


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


PLATFORM = ("--allow-platform", "portieris")


def test_nothing_is_applied_where_the_cluster_would_not_take_all_of_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.drops = "mutateImage"
    done, report = apply(cluster, tmp_path, *PLATFORM, "--no-mutate-image")
    assert (done.returncode, report["reasons"][0]["code"]) == (1, "field-dropped")
    assert not report.get("changes")
    assert not cluster.objects


def is_ours(document: dict[str, Any]) -> bool:
    return bool(document["metadata"]["name"] == POLICY.rpartition("/")[2])


def test_what_was_applied_before_a_failure_is_told(cluster: Cluster, tmp_path: Path) -> None:
    def lie(document: dict[str, Any], dry_run: bool) -> dict[str, Any]:
        return document if dry_run or not is_ours(document) else without(document, "simple")

    cluster.alters = lie
    done, report = apply(cluster, tmp_path, *PLATFORM)
    assert (done.returncode, report["reasons"][0]["code"]) == (1, "kept-otherwise")
    assert [one["state"] for one in report["changes"]] == ["created"]
    assert "policy.simple" in report["reasons"][0]["text"]


@pytest.mark.parametrize("rehearsed", [True, False])
def test_rules_that_the_cluster_adds_are_no_policy_of_ours(
    cluster: Cluster, tmp_path: Path, rehearsed: bool
) -> None:
    def add(document: dict[str, Any], dry_run: bool) -> dict[str, Any]:
        if dry_run is rehearsed:
            document["spec"]["repositories"].append({"name": "*", "policy": {}})
        return document

    cluster.alters = add
    done, report = apply(cluster, tmp_path)
    assert (done.returncode, report["reasons"][0]["code"]) == (1, "kept-otherwise")
    assert bool(cluster.objects) is not rehearsed


def test_policy_that_another_run_changed_meanwhile_is_left_to_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    apply(cluster, tmp_path)
    theirs = {**cluster.objects[POLICY], "spec": {"repositories": []}}
    theirs["metadata"] = {**theirs["metadata"], "resourceVersion": "99"}
    cluster.meanwhile = lambda: cluster.objects.update({POLICY: theirs})
    done, report = apply(cluster, tmp_path, "--allow-unchecked", "icr.io/*")
    assert (done.returncode, report["reasons"][0]["code"]) == (3, "object-changed"), done.stderr
    assert cluster.objects[POLICY] is theirs


def test_namespace_that_is_not_there_is_told(cluster: Cluster, tmp_path: Path) -> None:
    cluster.missing = ("taem",)
    done, report = apply(cluster, tmp_path, "--namespace", "taem")
    assert (done.returncode, report["reasons"][0]["code"]) == (3, "namespace-missing")
    assert not report.get("changes")


def test_fields_that_others_took_are_taken_back_by_adopt(cluster: Cluster, tmp_path: Path) -> None:
    apply(cluster, tmp_path)
    cluster.owner = "kubectl-edit"
    done, report = apply(cluster, tmp_path, "--allow-unchecked", "icr.io/*")
    assert (done.returncode, report["reasons"][0]["code"]) == (1, "foreign-object"), done.stderr
    assert "kubectl-edit" in report["reasons"][0]["text"]
    assert apply(cluster, tmp_path, "--adopt")[0].returncode == 0
    assert cluster.applied[-1][1]["force"] == ["true"]


def test_home_that_cannot_be_written_stops_nothing(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/proc/self/nowhere")
    done, _ = apply(cluster, tmp_path)
    assert done.returncode == 0, done.stderr


def test_end_in_the_middle_is_made_up_for_by_the_next_run(cluster: Cluster, tmp_path: Path) -> None:
    """The first object is there, as a run leaves it that is killed then."""
    apply(cluster, tmp_path, *PLATFORM)
    whole = dict(cluster.objects)
    del cluster.objects[POLICY]
    done, report = apply(cluster, tmp_path, *PLATFORM)
    assert done.returncode == 0, done.stderr
    assert [one["state"] for one in report["changes"]] == ["unchanged", "created"]
    assert cluster.objects.keys() == whole.keys()
