# SPDX-License-Identifier: Apache-2.0
"""The pages about policies: each command is run, in the pages' order, by one who follows them."""

from __future__ import annotations

import base64
import json
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Bench, SigningKey
from tests.kubernetes.conftest import Cluster, write_kubeconfig
from tests.kubernetes.test_lockout import Site
from tests.support import Ended

DOCS = Path(__file__).resolve().parents[2] / "docs"
IN_SHELL_OR_TEXT = re.compile(r"```(?:console|sh)\n(.*?)```|`(imgsec [^`]*)`", re.DOTALL)
MENTIONS = re.compile(r"imgsec(?: [a-z-]+)+(?: --context)?")  # a command's name, and no more

# A signature is not looked for offline, and what is not looked for is open.
ENDS = {"imgsec admit manifests/ --policies policies/ --offline": 3}


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def commands(name: str) -> list[str]:
    """Those of imgsec in the order of the page."""
    found = [
        line
        for block, words in IN_SHELL_OR_TEXT.findall(page(name))
        for line in (block.replace("\\\n", " ").splitlines() or [" ".join(words.split())])
        if "imgsec " in line
    ]
    return [line for line in found if not MENTIONS.fullmatch(line)]


@dataclass
class Reader:
    """One who follows a page, with an image of their own that is signed."""

    bench: Bench
    key: SigningKey
    repository: str
    kubeconfig: Path

    @property
    def folder(self) -> Path:
        return self.bench.folder / "home"

    def __call__(self, command: str) -> Ended:
        first, pipe, second = command.partition(" | ")
        own = self.own(second or first).replace(" NAME ", " imgsec-signed-images ")
        charts = "policies" if "policy lint" in second else "manifests"
        return self.bench.imgsec.plain(
            *shlex.split(own)[1:],
            env={"KUBECONFIG": str(self.kubeconfig)},
            stdin=self.rendered(charts) if pipe else "",
        )

    def own(self, text: str) -> str:
        """With the reader's repository and key in place of the page's."""
        text = text.replace("us.icr.io/team", f"{self.bench.sandbox.registry}/{self.repository}")
        return text.replace("--alias release", f"--alias {self.key.alias}")

    def passes(self, command: str) -> None:
        done = self(command)
        assert done.code == ENDS.get(command, 0), f"{command}\n{done.stdout}{done.stderr}"

    def rendered(self, chart: str) -> str:
        """What a chart comes to."""
        files = sorted((self.folder / chart).glob("*.yaml"))
        return "\n---\n".join(path.read_text() for path in files)

    def follows(self, name: str) -> None:
        shown = commands(name)
        assert len(shown) > 2
        for command in shown:
            self.passes(command)


def deployment(image: str) -> dict[str, Any]:
    pod = {"containers": [{"name": "app", "image": image}], "imagePullSecrets": [{"name": "own"}]}
    metadata = {"name": "app", "namespace": "default"}
    spec = {"template": {"metadata": {"labels": {"app": "app"}}, "spec": pod}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def review(manifest: dict[str, Any]) -> dict[str, Any]:
    request = {
        "uid": "1",
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
        **{"operation": "CREATE", "namespace": "default", "object": manifest},
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def pull_secret(bench: Bench) -> dict[str, Any]:
    """What the engine asks the reader's registry with; its key has no port."""
    login = {"username": "iamapikey", "password": bench.sandbox.api_key("manager")}
    content = json.dumps({"auths": {bench.sandbox.registry.partition(":")[0]: login}})
    return {
        **{"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson"},
        "metadata": {"name": "own", "namespace": "default"},
        "data": {".dockerconfigjson": base64.b64encode(content.encode()).decode()},
    }


@pytest.fixture
def reader(bench: Bench, key: SigningKey, cluster: Cluster) -> Reader:
    """Beside a cluster that enforces a policy, and with files as the pages have them."""
    Site(cluster, bench.folder).installs("0.14.3")
    kubeconfig = write_kubeconfig(cluster, bench.folder)
    config = json.loads(kubeconfig.read_text())
    config["contexts"][0]["name"] = config["current-context"] = "prod"
    kubeconfig.write_text(json.dumps(config))
    name, _ = bench.push(f"{bench.repository()}/app")
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    repository = name.partition("/")[2].rpartition("/")[0]
    reader = Reader(bench, key, repository, kubeconfig)
    for folder in ("policies", "manifests"):
        (reader.folder / folder).mkdir()
    (suite,) = re.findall(r"<!-- suite -->\n```yaml\n(.*?)```", page("admission.md"), re.DOTALL)
    for place, document in (
        ("deployment.yaml", deployment(name)),
        ("manifests/app.yaml", deployment(name)),
        ("request.json", review(deployment(name))),
        ("policies/own.secret.yaml", pull_secret(bench)),
        ("tests.yaml", yaml.safe_load(reader.own(suite))),
    ):
        (reader.folder / place).write_text(json.dumps(document))
    cluster.standing = {"/api/v1/namespaces/default/secrets/own": pull_secret(bench)}
    for words in (
        "setup-signing-keys --alias release --repository 'us.icr.io/team/*' --render policies",
        "setup-signing-keys --alias release --repository 'us.icr.io/team/*' --apply",
        "publish-policy --repository 'us.icr.io/team/*' --apply",
    ):
        reader.passes(f"imgsec {words}")
    shutil.copytree(reader.folder / "policies", reader.folder / "new-policies")
    return reader


@pytest.mark.parametrize("name", ["policies.md", "admission.md", "policy-lint.md"])
def test_shown_commands_do_what_the_page_says(reader: Reader, name: str) -> None:
    reader.follows(name)
