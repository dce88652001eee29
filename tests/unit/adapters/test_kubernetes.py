# SPDX-License-Identifier: Apache-2.0
"""The cluster through kubectl, with a script that keeps one object in its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imgsec.adapters._process import Tools
from imgsec.adapters.kubernetes import Kubectl
from imgsec.adapters.private_dir import PrivateDir
from tests.unit.refusals import refused

POLICY = {
    "apiVersion": "portieris.cloud.ibm.com/v1",
    "kind": "ImagePolicy",
    "metadata": {
        "name": "signed",
        "namespace": "prod",
        "labels": {"app.kubernetes.io/managed-by": "imgsec"},
    },
    "spec": {"repositories": [{"name": "r.example/*", "policy": {"simple": {"a": 1}}}]},
}
KEEPS = """
printf '%s\\n' "$*" >>{folder}/asked
case "$*" in
  *get*) cat {folder}/object 2>/dev/null; exit 0 ;;
  *--dry-run=server*) exec cat ;;
  *apply*) exec tee {folder}/object ;;
esac
exit 9
"""


class Cluster:
    """A folder with a kubectl and the object that it keeps."""

    def __init__(self, folder: Path, script: str = KEEPS) -> None:
        self.folder = folder
        (folder / "kubectl").write_text("#!/bin/sh\n" + script.replace("{folder}", str(folder)))
        (folder / "kubectl").chmod(0o755)

    def sink(self, *, dry_run: bool = False) -> Kubectl:
        private = self.folder / "private"
        private.mkdir(exist_ok=True)
        return Kubectl(
            Tools(self.folder),
            PrivateDir(private, in_memory=True),
            kubeconfig="/etc/kube",
            context="prod",
            dry_run=dry_run,
        )

    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()


def test_object_is_created_then_unchanged_then_updated(tmp_path: Path) -> None:
    sink = Cluster(tmp_path).sink()
    assert sink.publish(POLICY).state == "created"
    assert sink.publish(POLICY).state == "unchanged"
    changed = {**POLICY, "spec": {"repositories": []}}
    assert sink.publish(changed).state == "updated"
    held = json.loads((tmp_path / "object").read_text())
    (previous,) = held["metadata"].pop("annotations").values()
    assert held == changed
    assert json.loads(previous) == {"spec": POLICY["spec"]}


def test_server_side_apply_as_our_own_field_manager_names_the_resource_in_full(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path)
    change = cluster.sink().publish(POLICY)
    assert change.target == "prod/imagepolicies.portieris.cloud.ibm.com/signed"
    get, *applies = cluster.asked()
    assert "imagepolicies.portieris.cloud.ibm.com/signed" in get
    assert "--namespace prod" in get
    for words in applies:
        assert "--kubeconfig /etc/kube --context prod" in words
        assert "--server-side" in words
        assert "--field-manager=imgsec" in words
        assert "--force-conflicts" not in words


def test_kubectl_reaches_the_cluster_as_we_reach_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "internal.example")
    monkeypatch.setenv("IBM_CLOUD_APIKEY", "secret")
    Cluster(tmp_path, f"env >{tmp_path}/seen\n{KEEPS}").sink().publish(POLICY)
    seen = (tmp_path / "seen").read_text().splitlines()
    assert "HTTPS_PROXY=http://proxy.example:3128" in seen
    assert "NO_PROXY=internal.example,127.0.0.1,localhost" in seen
    assert "secret" not in "".join(seen)


def test_dry_run_keeps_nothing(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    assert cluster.sink(dry_run=True).publish(POLICY).state == "created"
    assert not (tmp_path / "object").exists()
    assert all("--dry-run=server" in words for words in cluster.asked() if "apply" in words)


@pytest.mark.parametrize("content", ['{"kind": "ImagePolicy"}', '{"metadata": "text"}'])
def test_object_of_another_author_is_left_alone(tmp_path: Path, content: str) -> None:
    cluster = Cluster(tmp_path)
    (tmp_path / "object").write_text(content)
    with refused("foreign-object"):
        cluster.sink().publish(POLICY)
    assert (tmp_path / "object").read_text() == content


def test_field_that_the_cluster_would_drop_is_named(tmp_path: Path) -> None:
    script = 'case "$*" in *apply*) sed s/simple/simpel/ ;; esac'
    with refused("field-dropped") as reasons:
        Cluster(tmp_path, script).sink().publish(POLICY)
    assert "spec.repositories[0].policy.simple" in reasons[0].text


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("echo 'Error from server (Forbidden): x is forbidden' >&2; exit 1", "permission-denied"),
        ("echo 'Unable to connect to the server' >&2; exit 1", "cluster-unreachable"),
        (
            "echo \"the server doesn't have a resource type 'imagepolicies'\" >&2; exit 1",
            "policy-engine-missing",
        ),
        (
            "echo 'resource mapping not found: no matches for kind \"ImagePolicy\"' >&2; exit 1",
            "policy-engine-missing",
        ),
        ("echo 'not JSON'", "cluster-unreachable"),
        ("echo '[]'", "field-dropped"),
        ("exit 1", "cluster-unreachable"),
        ("kill -KILL $$", "cluster-unreachable"),
    ],
)
def test_trouble_is_undecided(tmp_path: Path, script: str, code: str) -> None:
    with refused(code):
        Cluster(tmp_path, script).sink().publish(POLICY)
