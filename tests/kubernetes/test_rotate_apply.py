# SPDX-License-Identifier: Apache-2.0
"""``keys rotate --apply`` and its like: the cluster's Secrets, and what runs there."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.conftest import Bench
from tests.kubernetes.conftest import GROUP, POLICY, Cluster
from tests.kubernetes.test_setup_apply import BINDINGS, PUBLIC, REFERENCE, pod
from tests.support import Ended

pytestmark = pytest.mark.once


class Site:
    """A cluster in which set-up has applied everything, and an image that runs in it."""

    def __init__(self, bench: Bench, cluster: Cluster, kubeconfig: Path) -> None:
        self.bench, self.cluster, self.kubeconfig = bench, cluster, kubeconfig
        self.alias = bench.alias()
        pattern = f"{bench.sandbox.registry}/*"
        words = ("--alias", self.alias, "--repository", pattern, "--apply", "--enforce")
        done = self.run("setup-signing-keys", *words).expect(0)
        self.fingerprint = done.json["key"]["fingerprint"]
        self.image, _ = bench.push(bench.repository())
        bench.imgsec("sign-image", self.image, "--key", f"kms://{self.alias}").expect(0)
        cluster.lists["/api/v1/pods"] = [pod("apps", self.image), pod("apps", "nginx")]
        cluster.lists[f"{GROUP}/clusterimagepolicies"] = [cluster.objects[POLICY]]

    def run(self, *words: str) -> Ended:
        return self.bench.imgsec(*words, "--kubeconfig", self.kubeconfig)

    def key(self, command: str, *words: str) -> Ended:
        more = (self.alias, "--fingerprint", self.fingerprint, "--apply")
        return self.run("keys", command, *more, *words)

    def signs(self) -> str:
        data = self.cluster.objects[REFERENCE]["data"]
        return base64.b64decode(data["portieris-signature-fingerprint"]).decode()


@pytest.fixture
def site(bench: Bench, cluster: Cluster, kubeconfig: Path) -> Site:
    for path in ("/api/v1/pods", f"{GROUP}/clusterimagepolicies", f"{GROUP}/imagepolicies"):
        cluster.lists[path] = []
    cluster.lists[BINDINGS] = []
    return Site(bench, cluster, kubeconfig)


def test_what_runs_keeps_the_old_key_until_it_is_signed_again(site: Site) -> None:
    before = dict(site.cluster.objects)
    site.run("keys", "rotate", site.alias, "--apply", "--status").expect(0)
    assert site.cluster.objects == before
    done = site.key("rotate", "--switch", "now", "--retire", "now")
    done.expect(1, "running-images-refused")
    assert done.json["rotation"]["stage"] == "switched"
    assert [one["image"] for one in done.json["running"]] == [site.image]
    new = done.json["rotation"]["new"]["fingerprint"]
    assert site.signs() == new
    images = site.bench.folder / "images.txt"
    images.write_text(site.image)
    done = site.key("rotate", "--retire", "now", "--resign-from", str(images)).expect(0)
    assert done.json["rotation"]["stage"] == "none"
    assert [one["outcome"] for one in done.json["running"]] == ["pass"]
    check = ("keys", "show", site.alias, "--in-cluster")
    (entry,) = site.run(*check).expect(0).json["keys"]
    assert (entry["fingerprint"], len(entry["published"])) == (new, 1)


def test_what_runs_stops_a_revocation_that_would_refuse_it(site: Site) -> None:
    before = dict(site.cluster.objects)
    done = site.key("revoke").expect(1, "running-images-refused")
    assert [one["outcome"] for one in done.json["running"]] == ["refused"]
    assert site.cluster.objects == before
    site.key("revoke", "--accept-lockout").expect(0)
    assert site.cluster.objects != before


def test_renewed_key_is_applied(site: Site) -> None:
    before = dict(site.cluster.objects)
    done = site.run("keys", "renew", site.alias, "--until", "2099-01-31", "--apply").expect(0)
    states = {one["target"].rpartition("/")[2]: one["state"] for one in done.json["changes"]}
    assert states["portieris-keys"] == "updated"
    assert states["portieris-image-signing-public-key"] == "updated"
    assert site.signs() == site.fingerprint
    assert site.cluster.objects[POLICY] == before[POLICY]


def test_foreign_secret_is_left_alone(site: Site) -> None:
    before = site.bench.keys(site.alias)
    del site.cluster.objects[PUBLIC]["metadata"]["labels"]
    for command in ("rotate", "revoke"):
        done = site.key(command).expect(1, "foreign-object")
        assert "app.kubernetes.io/managed-by=imgsec" in done.json["reasons"][0]["hint"]
    site.run("keys", "renew", site.alias, "--until", "2099-01-31", "--apply").expect(
        1, "foreign-object"
    )
    assert site.bench.keys(site.alias) == before
    site.cluster.lists[f"{GROUP}/clusterimagepolicies"] = []
    site.key("rotate").expect(3, "key-unpublished")


def test_doctor_sees_a_secret_that_names_another_key(site: Site) -> None:
    words = ("doctor", "--for", "publish", "--key", site.alias)
    site.run(*words).expect(0)
    data = site.cluster.objects[REFERENCE]["data"]
    data["vault-key-id"] = base64.b64encode(b"null").decode()  # as an older script wrote it
    done = site.run(*words).expect(1, "key-conflict")
    (check,) = [one for one in done.json["checks"] if one["name"] == "key reference"]
    assert "'null'" in check["reasons"][0]["text"]
