# SPDX-License-Identifier: Apache-2.0
"""A change of policies is foreseen on the pods that run, and can be taken back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kubernetes.conftest import (
    APPS,
    GROUP,
    POLICY,
    PUBLIC_KEY,
    WEBHOOKS,
    Cluster,
    write_kubeconfig,
)

ANNOTATION = "imgsec/previous"
FOREIGN = {
    **{"apiVersion": GROUP[6:], "kind": "ClusterImagePolicy"},
    "metadata": {"name": "foreign"},
}


class Site:
    """imgsec beside a cluster that runs pods."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.config = str(write_kubeconfig(cluster, folder))
        cluster.publishes(PUBLIC_KEY.read_text())

    def run(self, *words: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "imgsec", *words),
                *("--kubeconfig", self.config, "--output", "json"),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout)

    def publish(self, *words: str) -> tuple[int, dict[str, Any]]:
        return self.run("publish-policy", "--apply", "--offline", *words)

    def runs(self, *images: str, namespace: str = "shop") -> None:
        pods = [
            {
                **{"apiVersion": "v1", "kind": "Pod"},
                "metadata": {"namespace": namespace, "name": f"pod-{place}"},
                "spec": {"containers": [{"name": "app", "image": image}]},
            }
            for place, image in enumerate(images)
        ]
        self.cluster.lists["/api/v1/pods"] = pods

    def installs(self, version: str) -> None:
        """Portieris of this version, and its webhook."""
        service = {"namespace": "portieris", "name": "portieris"}
        rule = {
            **{"operations": ["CREATE", "UPDATE"], "apiGroups": ["*"], "apiVersions": ["*"]},
            "resources": ["pods", "deployments"],
        }
        webhook = {
            "name": "trust.hooks.securityenforcement.admission.cloud.ibm.com",
            **{"clientConfig": {"service": service}, "rules": [rule], "failurePolicy": "Fail"},
        }
        configuration = {
            **{"apiVersion": WEBHOOKS[6:], "kind": "MutatingWebhookConfiguration"},
            **{"metadata": {"name": "image-admission-config"}, "webhooks": [webhook]},
        }
        self.cluster.lists[f"{WEBHOOKS}/mutatingwebhookconfigurations"] = [configuration]
        image = f"icr.io/portieris/portieris:v{version}"
        spec = {"template": {"spec": {"containers": [{"name": "portieris", "image": image}]}}}
        deployment = {
            **{"apiVersion": APPS[6:], "kind": "Deployment", "spec": spec},
            "metadata": {"name": "portieris", "namespace": "portieris"},
        }
        self.cluster.lists[f"{APPS}/namespaces/portieris/deployments"] = [deployment]

    @property
    def webhook(self) -> dict[str, Any]:
        """The engine's, as it is registered."""
        (configuration,) = self.cluster.lists[f"{WEBHOOKS}/mutatingwebhookconfigurations"]
        hook: dict[str, Any] = configuration["webhooks"][0]
        return hook

    @property
    def rules(self) -> list[str]:
        document = self.cluster.objects[POLICY]
        return [one["name"] for one in document["spec"]["repositories"]]


@pytest.fixture
def site(cluster: Cluster, tmp_path: Path) -> Site:
    return Site(cluster, tmp_path)


def codes(report: dict[str, Any]) -> list[str]:
    return [one["code"] for one in report["reasons"]]


def notes(report: dict[str, Any]) -> list[str]:
    return [one["code"] for one in report["notes"]]


def test_pod_that_no_rule_would_name_stops_the_policy(site: Site) -> None:
    site.publish("--repository", "r.example/team/*", "--allow-unchecked", "icr.io/*")
    site.runs("icr.io/free/app:1")
    code, report = site.publish("--repository", "r.example/team/*")
    assert (code, codes(report)[0]) == (1, "running-images-refused")
    (workload, *_) = report["workloads"]
    assert (workload["namespace"], workload["name"]) == ("shop", "pod-0")
    assert "no matching repositories in ClusterImagePolicy" in workload["messages"][0]
    assert site.rules == ["r.example/team/*", "icr.io/*"]


def test_pod_that_is_decided_as_before_is_no_news(site: Site) -> None:
    """It could not be made again before either: that is not this change's doing."""
    site.publish("--repository", "r.example/team/*")
    site.runs("icr.io/free/app:1")
    code, report = site.publish("--repository", "r.example/team/* r.example/other/*")
    assert code == 0
    assert "running-pods-judged" in notes(report)


def test_pod_that_the_webhook_leaves_out_is_not_locked_out(site: Site) -> None:
    words = ("--repository", "r.example/team/*")
    site.publish(*words, "--allow-unchecked", "icr.io/*")
    site.runs("icr.io/free/app:1")
    site.installs("0.14.3")
    named = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}
    site.webhook["namespaceSelector"] = {"matchExpressions": [named]}
    assert site.publish(*words)[0] == 1
    named["values"] = ["shop"]
    assert site.publish(*words)[0] == 0


def test_labels_say_which_pods_the_webhook_is_sent(site: Site) -> None:
    words = ("--repository", "r.example/team/*")
    site.publish(*words, "--allow-unchecked", "icr.io/*")
    site.runs("icr.io/free/app:1", "icr.io/free/app:1")
    site.installs("0.14.3")
    site.webhook["objectSelector"] = {"matchLabels": {"check": "yes"}}
    assert site.publish(*words)[0] == 0
    site.publish(*words, "--allow-unchecked", "icr.io/*")
    pods = site.cluster.lists["/api/v1/pods"]
    pods[1]["metadata"]["labels"] = {"check": "yes", 'odd"': "x\ny"}
    code, report = site.publish(*words)
    assert (code, codes(report)[0]) == (1, "running-images-refused")
    assert [one["name"] for one in report["workloads"]] == ["pod-1"]


def test_labels_of_a_template_are_those_of_its_pods(site: Site) -> None:
    words = ("--repository", "r.example/team/*")
    site.publish(*words, "--allow-unchecked", "icr.io/*")
    site.runs("icr.io/free/app:1")
    site.installs("0.14.3")
    site.webhook["objectSelector"] = {"matchLabels": {"check": "yes"}}
    template: dict[str, Any] = {
        "spec": {"containers": [{"name": "a", "image": "icr.io/free/app:1"}]}
    }
    job = {"spec": {"template": template}}
    cron_job = {
        **{"apiVersion": "batch/v1", "kind": "CronJob", "spec": {"jobTemplate": job}},
        "metadata": {"name": "nightly", "namespace": "shop"},
    }
    site.cluster.lists["/apis/batch/v1/cronjobs"] = [cron_job]
    assert site.publish(*words)[0] == 0
    site.publish(*words, "--allow-unchecked", "icr.io/*")
    template["metadata"] = {"labels": {"check": "yes"}}
    code, report = site.publish(*words)
    assert (code, [one["kind"] for one in report["workloads"]]) == (1, ["CronJob", "Pod"])


def test_which_of_several_versions_answers_stops_the_policy(site: Site) -> None:
    words = ("--repository", "r.example/team/*")
    site.installs("0.13.38")
    (old,) = site.cluster.lists[f"{APPS}/namespaces/portieris/deployments"]
    site.installs("0.14.3")
    site.cluster.lists[f"{APPS}/namespaces/portieris/deployments"].append(old)
    code, report = site.publish(*words)
    assert (code, codes(report)) == (3, ["engine-ambiguous"])
    assert POLICY not in site.cluster.objects
    code, report = site.publish(*words, "--engine", "0.14.3")
    assert (code, "engine-differs" in notes(report)) == (0, True)
    old["spec"]["replicas"] = 0
    code, report = site.publish(*words)
    assert (code, notes(report).count("engine-assumed")) == (0, 0)


def test_registration_that_is_not_understood_stops_the_policy(site: Site) -> None:
    words = ("--repository", "r.example/team/*")
    site.publish(*words, "--allow-unchecked", "icr.io/*")
    site.runs("icr.io/free/app:1")
    site.installs("0.14.3")
    site.webhook["rules"][0]["resources"] = ["Pods"]
    code, report = site.publish(*words)
    assert (code, codes(report)) == (3, ["admission-open"])
    code, report = site.publish(*words, "--engine", "0.14.3")
    assert (code, codes(report)[0]) == (1, "running-images-refused")


def test_what_is_not_known_stops_the_policy_too(site: Site) -> None:
    """Without a registry, nobody knows whether the image is signed."""
    site.runs("r.example/team/app:1")
    words = ("--repository", "r.example/team/*")
    code, report = site.publish(*words)
    assert (code, codes(report)[0]) == (3, "admission-open")
    assert POLICY not in site.cluster.objects
    code, report = site.publish(*words, "--accept-lockout")
    assert code == 0
    assert "accepted-lockout" in notes(report)
    assert site.rules[0] == "r.example/team/*"


def test_engine_is_the_one_that_runs(site: Site) -> None:
    """0.14.1 lets a foreign host meet a rule with an open host, and 0.14.2 does not."""
    words = ("--repository", "*.icr.io/team/*")
    site.runs("evil.example/x.icr.io/team/app:1")
    site.installs("0.14.1")
    code, report = site.publish(*words)
    assert (code, "engine-assumed" in notes(report)) == (3, False)
    site.installs("0.14.2")
    code, report = site.publish(*words)
    assert (code, "running-pods-unnamed" in notes(report)) == (0, True)


def test_what_is_meant_is_held_against_the_engine_that_runs(site: Site, tmp_path: Path) -> None:
    """Up to 0.14.1, evil.example/us.icr.io/shop/any meets *.icr.io/shop/*, too."""
    rule = "{images: ['*.icr.io/shop/*'], unchecked: {reason: r}}"
    intent = tmp_path / "intent.yaml"
    intent.write_text(f"apiVersion: imgsec/v1\nkind: PolicyIntent\nrules: [{rule}]\n")
    words = ("--intent", str(intent))
    site.installs("0.14.1")
    code, report = site.publish(*words)
    assert (code, codes(report)) == (1, ["intent-misread"])
    code, report = site.publish(*words, "--engine", "0.14.2")
    assert (code, "engine-differs" in notes(report)) == (0, True)
    site.installs("0.14.2")
    code, report = site.publish(*words, "--engine", "0.14.2")
    assert (code, "engine-differs" in notes(report)) == (0, False)
    assert site.publish(*words)[0] == 0


def test_engine_that_nobody_knows_is_taken_for_the_newest(site: Site) -> None:
    site.installs("0.99.0")
    code, report = site.publish("--repository", "r.example/team/*")
    assert (code, "engine-assumed" in notes(report)) == (0, True)


def test_what_is_assumed_of_the_engine_is_told_however_it_ends(site: Site, tmp_path: Path) -> None:
    words = ("--repository", "r.example/team/*")
    site.installs("0.14.2")
    site.cluster.hidden = ("pods",)
    other = (*words, "--engine", "0.14.3")
    code, report = site.publish(*other)
    assert (code, codes(report)) == (3, ["permission-denied"])
    assert "engine-differs" in notes(report)
    code, report = site.publish(*other, "--accept-lockout")
    assert (code, {"engine-differs", "running-pods-not-judged"} - set(notes(report))) == (0, set())
    back = ("policy", "rollback", "imgsec-signed-images", "--offline", "--engine", "0.14.3")
    code, report = site.run(*back)
    assert (code, "engine-differs" in notes(report)) == (3, True)
    code, report = site.run(*back, "--accept-lockout")
    assert (code, "engine-differs" in notes(report)) == (0, True)
    site.installs("0.15.0")
    intent = tmp_path / "intent.yaml"
    rules = [
        "{images: [a.io/b/*], denied: {reason: r}}",
        "{wide: ['*'], unchecked: {reason: r}}",
    ]
    intent.write_text(f"apiVersion: imgsec/v1\nkind: PolicyIntent\nrules: [{', '.join(rules)}]\n")
    code, report = site.publish("--intent", str(intent))
    assert (code, codes(report)) == (1, ["intent-misread"])
    assert "engine-assumed" in notes(report)


def test_what_may_not_be_listed_is_told_however_it_ends(site: Site) -> None:
    """A policy that nobody can read is found after it."""
    bad = {"name": "a.io/*", "policy": {"simple": 5}}
    path = f"{GROUP}/clusterimagepolicies"
    site.cluster.lists[path] = [{**FOREIGN, "spec": {"repositories": [bad]}}]
    site.cluster.hidden = ("cronjobs",)
    words = ("--repository", "r.example/team/*", "--accept-laxer", "--accept-lockout")
    code, report = site.publish(*words)
    assert code == 0
    assert {"idle-not-judged", "running-pods-not-judged"} <= set(notes(report))


def test_a_registration_that_nobody_can_read_is_no_end_of_it(site: Site) -> None:
    words = ("--repository", "r.example/team/*")
    site.installs("0.14.2")
    registration = site.cluster.lists[f"{WEBHOOKS}/mutatingwebhookconfigurations"][0]
    registration["webhooks"][0]["rules"] = "x"
    code, report = site.publish(*words)
    assert (code, codes(report)) == (3, ["admission-open"])
    assert "--accept-lockout" in report["reasons"][0]["hint"]
    code, report = site.publish(*words, "--engine", "0.14.2")
    assert (code, notes(report)[-1]) == (0, "engine-assumed")
    code, report = site.publish(*words, "--accept-lockout")
    assert code == 0
    assumed = [one["text"] for one in report["notes"] if one["code"] == "engine-assumed"]
    assert "its registration" in assumed[0]
    back = ("policy", "rollback", "imgsec-signed-images", "--offline")
    assert site.run(*back)[0] == 3
    assert site.run(*back, "--accept-lockout")[0] == 0


def test_last_change_is_rolled_back_and_again(site: Site) -> None:
    site.publish("--repository", "r.example/one/*")
    site.publish("--repository", "r.example/two/*")
    assert json.loads(site.cluster.objects[POLICY]["metadata"]["annotations"][ANNOTATION])["spec"]
    code, report = site.run("policy", "rollback", "imgsec-signed-images", "--offline")
    assert (code, report["changes"][0]["state"]) == (0, "updated")
    assert site.rules == ["r.example/one/*"]
    site.run("policy", "rollback", "imgsec-signed-images", "--offline")
    assert site.rules == ["r.example/two/*"]


def test_policy_that_was_new_is_taken_away(site: Site) -> None:
    site.publish("--repository", "r.example/one/*")
    dry = site.run("policy", "rollback", "imgsec-signed-images", "--offline", "--dry-run")
    assert dry[0] == 0
    assert POLICY in site.cluster.objects
    code, report = site.run("policy", "rollback", "imgsec-signed-images", "--offline")
    assert (code, report["changes"][0]["state"]) == (0, "removed")
    assert POLICY not in site.cluster.objects


def test_rollback_that_would_lock_a_pod_out_is_refused(site: Site) -> None:
    site.publish("--repository", "r.example/one/*")
    site.publish("--repository", "r.example/one/*", "--allow-unchecked", "icr.io/*")
    site.runs("icr.io/free/app:1")
    code, report = site.run("policy", "rollback", "imgsec-signed-images", "--offline")
    assert (code, codes(report)[0]) == (1, "running-images-refused")
    assert "icr.io/*" in site.rules
    words = ("policy", "rollback", "imgsec-signed-images", "--offline", "--accept-lockout")
    assert site.run(*words)[0] == 0
    assert site.rules == ["r.example/one/*"]


def test_same_policy_again_keeps_what_it_was_before(site: Site) -> None:
    site.publish("--repository", "r.example/one/*")
    site.publish("--repository", "r.example/two/*")
    site.publish("--repository", "r.example/two/*")
    site.run("policy", "rollback", "imgsec-signed-images", "--offline")
    assert site.rules == ["r.example/one/*"]


@pytest.mark.parametrize("held", [None, {"labels": {"app.kubernetes.io/managed-by": "imgsec"}}])
def test_nothing_to_roll_back_is_told(site: Site, held: dict[str, Any] | None) -> None:
    if held is not None:
        site.cluster.objects[POLICY] = {
            **{"apiVersion": GROUP[6:], "kind": "ClusterImagePolicy", "spec": {}},
            "metadata": {"name": "imgsec-signed-images", **held},
        }
    code, report = site.run("policy", "rollback", "imgsec-signed-images", "--offline")
    assert (code, codes(report)) == (1, ["no-history"])


def test_policy_of_somebody_else_is_not_rolled_back(site: Site) -> None:
    site.cluster.objects[POLICY] = {
        **{"apiVersion": GROUP[6:], "kind": "ClusterImagePolicy", "spec": {}},
        "metadata": {
            "name": "imgsec-signed-images",
            "annotations": {ANNOTATION: '{"absent":true}'},
        },
    }
    code, report = site.run("policy", "rollback", "imgsec-signed-images", "--offline")
    assert (code, codes(report)) == (1, ["foreign-object"])
    assert POLICY in site.cluster.objects


def test_admit_reads_the_cluster(site: Site, tmp_path: Path) -> None:
    site.publish("--repository", "r.example/team/*", "--allow-unchecked", "icr.io/*")
    workload = tmp_path / "pod.yaml"
    pod = {"containers": [{"name": "a", "image": "icr.io/x/y:1"}]}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod}
    workload.write_text(json.dumps(document))
    code, report = site.run("admit", str(workload), "--live", "--offline")
    assert (code, codes(report)) == (3, ["not-enforced"])
    site.installs("0.14.2")
    code, report = site.run("admit", str(workload), "--live", "--offline")
    assert (code, report["workloads"][0]["engine"]) == (0, "0.14.2")
    site.installs("0.99.0")
    code, report = site.run("admit", str(workload), "--live", "--offline")
    assert (code, codes(report)) == (2, ["engine-unknown"])
    assert "0.14.3" in report["reasons"][0]["hint"]


def test_registration_of_a_file_comes_over_the_clusters(site: Site, tmp_path: Path) -> None:
    site.publish("--repository", "r.example/team/*")
    site.installs("0.14.3")
    workload, hook = tmp_path / "pod.yaml", tmp_path / "hook.yaml"
    pod = {"containers": [{"name": "a", "image": "icr.io/x/y:1"}]}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod}
    workload.write_text(json.dumps(document))
    words = ("admit", str(workload), "--live", "--offline")
    assert site.run(*words)[0] == 1
    configuration = site.cluster.lists[f"{WEBHOOKS}/mutatingwebhookconfigurations"][0]
    changed = site.webhook | {"objectSelector": {"matchLabels": {"check": "yes"}}}
    hook.write_text(json.dumps(configuration | {"webhooks": [changed]}))
    code, report = site.run(*words, "--policies", str(hook))
    unchecked = [one["code"] for one in report["workloads"][0]["notChecked"]]
    assert (code, "object-skipped" in unchecked) == (0, True)
