# SPDX-License-Identifier: Apache-2.0
"""Policies that left an intent: told for as long as they are enforced, removed by name, kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.conftest import GROUP, PUBLIC_KEY, Cluster
from tests.kubernetes.test_lockout import Site, codes, notes
from tests.kubernetes.test_promises import an_intent, holds, lets

OLD = f"{GROUP}/namespaces/old/imagepolicies/p"
NEW = f"{GROUP}/namespaces/new/imagepolicies/p"


@pytest.fixture
def site(cluster: Cluster, tmp_path: Path) -> Site:
    """A cluster where an intent was for one namespace and is for another now."""
    site = Site(cluster, tmp_path)
    for namespace in ("old", "new"):
        cluster.publishes(PUBLIC_KEY.read_text(), "release", namespace)
    assert site.publish("--intent", an_intent(tmp_path, ("p", ["old"])))[0] == 0
    an_intent(tmp_path, ("p", ["new"]))
    return site


@pytest.fixture
def intent(tmp_path: Path) -> tuple[str, str]:
    return "--intent", str(tmp_path / "intent.yaml")


def test_what_left_the_intent_is_told_and_stays(site: Site, intent: tuple[str, str]) -> None:
    code, report = site.publish(*intent)
    (text,) = (one["text"] for one in report["notes"] if one["code"] == "left-behind")
    assert code == 0
    assert "ImagePolicy old/p" in text
    assert "--prune old/p" in text
    assert {OLD, NEW} <= site.cluster.objects.keys()


@pytest.mark.parametrize("word", ["old/p", "*"])
def test_it_is_removed_by_name_and_comes_back(
    site: Site, intent: tuple[str, str], word: str
) -> None:
    theirs = holds(site, "p", lets("x.example/*"), namespace="theirs")
    before = site.cluster.objects[OLD]["spec"]
    rehearsed = site.publish(*intent, "--prune", word, "--dry-run")
    assert rehearsed[0] == 0
    assert OLD in site.cluster.objects
    code, report = site.publish(*intent, "--prune", word)
    assert (code, [one["state"] for one in report["changes"]]) == (0, ["created", "removed"])
    assert "pruned" in notes(report)
    assert OLD not in site.cluster.objects
    assert theirs in site.cluster.objects
    code, report = site.publish(*intent, "--prune", word)
    assert (code, [one["state"] for one in report["changes"]]) == (0, ["unchanged"])
    words = ("policy", "rollback", "p", "--namespace", "old", "--offline")
    assert site.run(*words)[0] == 0
    assert site.cluster.objects[OLD]["spec"] == before


def test_what_somebody_else_made_is_never_removed(site: Site, intent: tuple[str, str]) -> None:
    theirs = holds(site, "p", lets("x.example/*"), namespace="theirs")
    applied = len(site.cluster.applied)
    code, report = site.publish(*intent, "--prune", "theirs/p")
    assert (code, codes(report)) == (1, ["foreign-object"])
    code, report = site.publish(*intent, "--prune", "theirs/p", "--adopt")
    assert (code, codes(report)) == (1, ["foreign-object"])
    assert theirs in site.cluster.objects
    assert len(site.cluster.applied) == applied


def test_what_is_made_is_not_removed_by_the_same_run(site: Site, intent: tuple[str, str]) -> None:
    code, report = site.publish(*intent, "--prune", "new/p")
    assert (code, codes(report)) == (2, ["invalid-option"])


def test_pods_that_only_the_removed_policy_let_in_stop_the_removal(
    site: Site, intent: tuple[str, str]
) -> None:
    site.publish("--repository", "r.example/team/*", "--namespace", "old", "--policy-name", "q",
                 "--allow-unchecked", "x.example/*", "--accept-laxer")  # fmt: skip
    site.runs("x.example/app:1", namespace="old")
    code, report = site.publish(*intent, "--prune", "*")
    assert (code, codes(report)[0]) == (1, "running-images-refused")
    assert OLD in site.cluster.objects


def told(report: dict[str, Any], code: str) -> str:
    return "\n".join(one["text"] for one in report["notes"] if one["code"] == code)


def test_what_a_rollback_would_put_back_is_listed(
    site: Site, intent: tuple[str, str], tmp_path: Path
) -> None:
    site.publish(*intent, "--prune", "*")
    site.publish("--repository", "r.example/team/*", "--accept-laxer")
    words = ("--repository", "r.example/other/*", "--allow-unchecked", "icr.io/*")
    site.publish(*words, "--accept-laxer")
    before = dict(site.cluster.objects)
    code, report = site.run("policy", "rollback")
    text = told(report, "can-be-put-back")
    assert code == 0
    assert "ImagePolicy old/p was removed: it is made again" in text
    assert "ImagePolicy new/p was not there before: it is removed" in text
    assert "'r.example/team/*' comes back: needs a signature" in text
    assert "'icr.io/*' goes: let through unchecked" in text
    _, report = site.run("policy", "rollback", "--namespace", "new")
    assert "old/p" not in told(report, "can-be-put-back")
    code, report = site.run("policy", "rollback", "imgsec-signed-images", "--offline", "--dry-run")
    assert code == 0
    assert "'icr.io/*' goes: let through unchecked" in told(report, "put-back")
    assert "kept nothing" in told(report, "dry-run")
    assert site.cluster.objects == before
