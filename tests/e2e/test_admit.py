# SPDX-License-Identifier: Apache-2.0
"""The prediction with real parts: registry, signatures, keys and pull secrets."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Bench, SigningKey

pytestmark = pytest.mark.once
API = "portieris.cloud.ibm.com/v1"
SIGNED_BY = {"type": "signedBy", "keySecret": "public-key", "keySecretNamespace": "portieris"}


class Cluster:
    """A folder with what a cluster would hold."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.folder = folder
        self._registry = bench.sandbox.registry
        self._host = self._registry.partition(":")[0]
        self._auths = json.loads(Path(bench.environment["REGISTRY_AUTH_FILE"]).read_text())
        folder.mkdir()

    def write(self, name: str, *documents: dict[str, Any]) -> str:
        path = self.folder / name
        path.write_text(yaml.safe_dump_all(documents))
        return str(path)

    def policy(self, repository: str, **policy: Any) -> None:
        rule = {"name": repository, "policy": policy}
        document = {
            **{"apiVersion": API, "kind": "ClusterImagePolicy", "metadata": {"name": "p"}},
            "spec": {"repositories": [rule]},
        }
        self.write("policy.yaml", document)

    def key(self, content: bytes) -> None:
        self.secret("portieris", "public-key", {"key": content})

    def pull_secret(self, name: str = "regcred", *, key: str | None = None) -> None:
        entry = self._auths["auths"][self._registry]
        content = json.dumps({"auths": {key or self._host: entry}}).encode()
        self.secret("shop", name, {".dockerconfigjson": content})

    def secret(self, namespace: str, name: str, data: dict[str, bytes]) -> None:
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        self.write(
            f"{namespace}.{name}.yaml",
            {
                **{"apiVersion": "v1", "kind": "Secret", "data": encoded},
                "metadata": {"name": name, "namespace": namespace},
            },
        )


def deployment(*images: str, secrets: tuple[str, ...] = ("regcred",)) -> dict[str, Any]:
    pod = {
        "containers": [{"name": f"c{place}", "image": one} for place, one in enumerate(images)],
        "imagePullSecrets": [{"name": name} for name in secrets],
    }
    return {
        **{"apiVersion": "apps/v1", "kind": "Deployment"},
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 1, "template": {"spec": pod}},
    }


@pytest.fixture
def public(key: SigningKey) -> bytes:
    secret = key.folder / "portieris-image-signing-public-key.secret.yaml"
    return base64.b64decode(yaml.safe_load(secret.read_text())["data"]["key"])


@pytest.fixture
def cluster(bench: Bench, tmp_path: Path, public: bytes) -> Cluster:
    made = Cluster(bench, tmp_path / "cluster")
    made.policy(f"{bench.sandbox.registry}/*", simple={"requirements": [SIGNED_BY]})
    made.key(public)
    made.pull_secret()
    return made


def test_signed_image_is_admitted_by_its_digest(
    bench: Bench, key: SigningKey, cluster: Cluster, tmp_path: Path
) -> None:
    name, digest = bench.push(bench.repository())
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    workload = tmp_path / "web.yaml"
    workload.write_text(yaml.safe_dump(deployment(name)))
    admit = ("admit", str(workload), "--policies", str(cluster.folder))
    done = bench.imgsec(*admit).expect(0)
    first, child = done.json["workloads"]
    repository = name.rpartition(":")[0]
    assert first["patch"] == [
        {
            "op": "replace",
            "path": "/spec/template/spec/containers/0/image",
            "value": f"{repository}@{digest}",
        }
    ]
    assert (first["child"], child["kind"]) == (1, "Pod")
    assert [one["code"] for one in first["notChecked"]][-1] == "added-later"
    assert "no-pull-secrets" not in [one["code"] for one in first["hygiene"]]
    (container, _) = done.json["containers"]
    assert container["rule"]["repository"] == f"{bench.sandbox.registry}/*"
    assert container["layers"][2]["digest"] == digest


def test_unsigned_image_is_denied_word_for_word(
    bench: Bench, cluster: Cluster, tmp_path: Path
) -> None:
    name, _ = bench.push(bench.repository())
    workload = tmp_path / "web.yaml"
    workload.write_text(yaml.safe_dump(deployment(name)))
    admit = ("admit", str(workload), "--policies", str(cluster.folder))
    done = bench.imgsec(*admit).expect(1, "admission-denied")
    said = "simple: policy denied the request: A signature was required, but no signature exists"
    assert done.json["workloads"][0]["messages"] == [said]
