# SPDX-License-Identifier: Apache-2.0
"""What policies promise is held against the cluster: its other rules, and the keys that it has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kubernetes.conftest import GROUP, KEY_SECRET, POLICY, PUBLIC_KEY, Cluster
from tests.kubernetes.test_lockout import Site, codes, notes
from tests.support import Gpg, short_folder

POLICIES = {"ClusterImagePolicy": "clusterimagepolicies", "ImagePolicy": "imagepolicies"}
TEAM = ("--repository", "r.example/team/*")


@pytest.fixture
def site(cluster: Cluster, tmp_path: Path) -> Site:
    return Site(cluster, tmp_path)


@pytest.fixture
def gpg() -> Iterator[Gpg]:
    with short_folder() as folder:
        home = folder / "operator"
        home.mkdir(mode=0o700)
        yield Gpg(home)


def holds(site: Site, name: str, *rules: dict[str, Any], namespace: str = "") -> str:
    """A policy of somebody else is there; gives its path."""
    kind = "ImagePolicy" if namespace else "ClusterImagePolicy"
    folder = f"{GROUP}/namespaces/{namespace}" if namespace else GROUP
    place = {"namespace": namespace} if namespace else {}
    path = f"{folder}/{POLICIES[kind]}/{name}"
    site.cluster.objects[path] = {
        **{"apiVersion": GROUP[6:], "kind": kind, "metadata": {"name": name, **place}},
        "spec": {"repositories": list(rules)},
    }
    return path


def lets(name: str) -> dict[str, Any]:
    return {"name": name, "policy": {}}


def texts(report: dict[str, Any]) -> str:
    return "\n".join(one["text"] for one in report["reasons"])


@pytest.mark.parametrize("rule", ["r.example/team/*", "r.example/team/app*", "*.example/team/app*"])
def test_rule_of_others_that_lets_in_what_is_to_be_signed_stops_the_policy(
    site: Site, rule: str
) -> None:
    holds(site, "allow-all", lets(rule), lets("*"))
    code, report = site.publish(*TEAM)
    assert (code, codes(report)) == (1, ["laxer-rule"])
    assert "ClusterImagePolicy allow-all" in texts(report)
    assert "'r.example/team/app" in texts(report)
    assert POLICY not in site.cluster.objects
    code, report = site.publish(*TEAM, "--accept-laxer")
    assert code == 0
    assert {"accepted-laxer", "laxer-rule"} <= set(notes(report))
    assert POLICY in site.cluster.objects


def test_other_spellings_of_an_image_are_held_against_the_rest_of_the_cluster(site: Site) -> None:
    holds(site, "default", lets("*"), namespace="kube-system")
    holds(site, "default", lets("*"))
    code, report = site.publish(*TEAM)
    assert (code, codes(report)) == (1, ["laxer-rule"] * 2)
    first = report["reasons"][0]["text"]
    assert "'r.example:443/team/app:1.0', the same image as 'r.example/team/app:1.0'" in first
    assert "by ClusterImagePolicy default '*'" in first
    assert "a cluster-wide * first" in report["reasons"][0]["hint"]
    assert site.publish(*TEAM, "--accept-laxer")[0] == 0


def test_rule_that_never_wins_is_nobodys_news(site: Site) -> None:
    holds(site, "allow-all", lets("r.example/*"), lets("r.example/other/app"))
    assert site.publish(*TEAM)[0] == 0


def test_another_key_is_not_what_was_meant(site: Site) -> None:
    signed = {"type": "signedBy", "keySecret": "theirs", "keySecretNamespace": "portieris"}
    holds(site, "a", {"name": "r.example/team/*", "policy": {"simple": {"requirements": [signed]}}})
    code, report = site.publish(*TEAM)
    assert (code, codes(report)) == (1, ["laxer-rule"])
    assert "portieris/theirs" in texts(report)


def test_rule_that_denies_everything_is_not_laxer(site: Site) -> None:
    simple = {"simple": {"requirements": [{"type": "reject"}]}}
    holds(site, "a", {"name": "r.example/team/*", "policy": simple})
    assert site.publish(*TEAM)[0] == 0


def test_namespace_with_policies_of_its_own_is_told(site: Site) -> None:
    holds(site, "default", lets("*"), namespace="kube-system")
    holds(site, "default", namespace="denies-everything")
    code, report = site.publish(*TEAM)
    assert (code, codes(report)) == (1, ["laxer-rule"])
    assert "in the namespace kube-system" in texts(report)
    assert "ImagePolicy kube-system/default" in texts(report)


def test_policy_of_a_namespace_is_held_against_that_namespace_alone(site: Site) -> None:
    holds(site, "default", lets("*"), namespace="kube-system")
    holds(site, "allow-all", lets("r.example/team/*"))
    assert site.publish(*TEAM, "--namespace", "team")[0] == 0
    holds(site, "a", lets("r.example/team/*"), namespace="team")
    code, report = site.publish(*TEAM, "--namespace", "team")
    assert (code, codes(report)) == (1, ["laxer-rule"])


def test_key_that_is_not_there_stops_the_policy(site: Site) -> None:
    site.cluster.standing.clear()
    code, report = site.publish(*TEAM)
    assert (code, codes(report)) == (1, ["key-secret-missing"])
    assert f"portieris/{KEY_SECRET}" in texts(report)
    code, report = site.publish(*TEAM, "--accept-lockout")
    assert code == 0
    assert "key-secret-missing" in notes(report)


def test_keys_that_the_engine_cannot_read_stop_the_policy(site: Site, gpg: Gpg) -> None:
    gpg.make_key("release", "ed25519")
    edwards = gpg.public("release", armour=True).decode()
    for content in (edwards, PUBLIC_KEY.read_text() + edwards, "no key"):
        site.cluster.publishes(content)
        code, report = site.publish(*TEAM)
        assert (code, set(codes(report))) == (1, {"key-unreadable"})
        assert POLICY not in site.cluster.objects
    del site.cluster.standing[next(iter(site.cluster.standing))]["stringData"]
    assert codes(site.publish(*TEAM)[1]) == ["key-unreadable"]


def an_intent(folder: Path, *documents: tuple[str, list[str]], secret: str = "release") -> str:
    """An intent file that wants all of r.example signed. documents: name and namespaces."""
    parts = []
    for name, namespaces in documents:
        document = {
            **{"apiVersion": "imgsec/v1", "kind": "PolicyIntent", "name": name},
            "keys": {"release": {"secret": secret}},
            "rules": [{"images": ["r.example/*"], "signedBy": ["release"]}],
        }
        parts.append(document | ({"namespaces": namespaces} if namespaces else {}))
    path = folder / "intent.yaml"
    path.write_text(yaml.safe_dump_all(parts))
    return str(path)


def test_keys_of_an_intent_are_those_of_its_namespaces(site: Site, tmp_path: Path) -> None:
    intent = an_intent(tmp_path, ("p", ["one", "two"]))
    site.cluster.publishes(PUBLIC_KEY.read_text(), "release", "one")
    code, report = site.publish("--intent", intent)
    assert (code, codes(report)) == (1, ["key-secret-missing"])
    assert "two/release" in texts(report)
    site.cluster.publishes(PUBLIC_KEY.read_text(), "release", "two")
    assert site.publish("--intent", intent)[0] == 0
