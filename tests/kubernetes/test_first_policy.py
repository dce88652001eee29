# SPDX-License-Identifier: Apache-2.0
"""What a policy does to pods that no rule names, and to what has no pod at the moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.conftest import APPS, BATCH, POLICY, Cluster
from tests.kubernetes.test_lockout import Site, codes, notes

WORDS = ("--repository", "r.example/team/*")


@pytest.fixture
def site(cluster: Cluster, tmp_path: Path) -> Site:
    return Site(cluster, tmp_path)


def made(kind: str, image: str, *, init: str = "") -> dict[str, Any]:
    containers = {"containers": [{"name": "app", "image": image}]}
    if init:
        containers["initContainers"] = [{"name": "first", "image": init}]
    template: dict[str, Any] = {"template": {"spec": containers}}
    spec = {"jobTemplate": {"spec": template}} if kind == "CronJob" else template | {"replicas": 0}
    api = (BATCH if kind == "CronJob" else APPS)[6:]
    metadata = {"name": "idle", "namespace": "shop"}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}


def lists(site: Site, kind: str, *objects: dict[str, Any]) -> None:
    group = BATCH if kind == "CronJob" else APPS
    site.cluster.lists[f"{group}/{kind.lower()}s"] = list(objects)


def unnamed(report: dict[str, Any]) -> list[str]:
    return [one["text"] for one in report["notes"] if one["code"] == "running-pods-unnamed"]


def test_pods_that_no_rule_names_are_told_with_the_first_policy(site: Site) -> None:
    site.runs("icr.io/free/app:1")
    code, report = site.publish(*WORDS)
    (text,) = unnamed(report)
    assert code == 0
    assert "Pod shop/pod-0" in text
    assert "no engine asks about them yet" in text
    site.installs("0.14.3")
    (text,) = unnamed(site.publish(*WORDS)[1])
    assert "denies them as before" in text


def test_pods_that_are_named_or_that_nobody_asks_about_are_not(site: Site) -> None:
    site.runs("icr.io/free/app:1")
    allowed = (*WORDS, "--allow-unchecked", "icr.io/*")
    assert not unnamed(site.publish(*allowed)[1])
    site.runs("icr.io/free/app:1", namespace="kube-system")
    site.run("policy", "rollback", "imgsec-signed-images", "--accept-lockout")
    assert unnamed(site.publish(*WORDS, "--dry-run")[1])
    reserved = ("--reserved-namespace", "kube-system")
    assert not unnamed(site.publish(*WORDS, *reserved, "--dry-run")[1])


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "CronJob"])
def test_what_has_no_pod_now_is_judged_all_the_same(site: Site, kind: str) -> None:
    site.publish(*WORDS, "--allow-unchecked", "icr.io/*")
    lists(site, kind, made(kind, "r.example/none", init="icr.io/free/app:1"))
    code, report = site.publish(*WORDS)
    assert (code, codes(report)[0]) == (1, "running-images-refused")
    (workload,) = report["workloads"]
    assert (workload["kind"], workload["name"]) == (kind, "idle")
    assert "no matching repositories" in "".join(workload["messages"])


def test_what_has_pods_is_judged_once(site: Site) -> None:
    site.publish(*WORDS, "--allow-unchecked", "icr.io/*")
    site.runs("icr.io/free/app:1")
    lists(site, "Deployment", made("Deployment", "icr.io/free/app:1"))
    code, report = site.publish(*WORDS)
    assert (code, len(report["workloads"])) == (1, 1)


def test_what_may_not_be_listed_is_told(site: Site) -> None:
    site.cluster.hidden = ("cronjobs", "daemonsets")
    code, report = site.publish(*WORDS)
    texts = [one["text"] for one in report["notes"] if one["code"] == "idle-not-judged"]
    assert code == 0
    assert [text.split()[1] for text in texts] == ["DaemonSet", "CronJob"]


def test_pods_that_may_not_be_listed_stop_the_policy(site: Site) -> None:
    site.cluster.hidden = ("pods",)
    code, report = site.publish(*WORDS)
    assert (code, codes(report)) == (3, ["permission-denied"])
    assert POLICY not in site.cluster.objects
    code, report = site.publish(*WORDS, "--accept-lockout")
    assert code == 0
    assert "running-pods-not-judged" in notes(report)
