# SPDX-License-Identifier: Apache-2.0
"""A sandbox with two images, and the cluster that the Tasks run in: Secrets, folders, a kubectl."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from imgsec.sandbox.lifecycle import Sandbox, running_sandbox
from tests.support import image_layout

from .project_files import ROOT, tasks
from .step_runner import Cluster, Outcome, run_task

IMAGES = ("team/app:1.0", "team/vulnerable-app:1.0", "team/strange-app:1.0")

_IMGSEC = """#!/bin/sh
exec {python} -m imgsec "$@"
"""
# Has the key's Secret and nothing else, and keeps what it is told to apply.
_KUBECTL = """#!/bin/sh
case "$*" in
  *" apply "*) exec tee {api}/applied.json ;;
  *"secrets/{secret} --ignore-not-found"*) exec cat {api}/{secret}.json ;;
  *--ignore-not-found*) ;;
  *" get "*--output=json*) echo '{{"items": []}}' ;;
esac
"""
_KEY_SECRET = "portieris-image-signing-public-key"


@dataclass(frozen=True)
class Release:
    """Everything that a release needs: the cluster, the sandbox behind it, the images in it."""

    sandbox: Sandbox
    cluster: Cluster
    workspaces: Mapping[str, Path]
    digests: Mapping[str, str]
    setup: Outcome | None = None

    @property
    def applied(self) -> Path:
        """What the cluster was told."""
        return self.cluster.api / "applied.json"

    def with_secrets(self, secrets: Mapping[str, Mapping[str, bytes]]) -> Release:
        """The same in a namespace that has these Secrets."""
        return replace(self, cluster=replace(self.cluster, secrets=secrets))

    def with_workspace(self, name: str, folder: Path) -> Release:
        """The same with another folder bound to a workspace."""
        return replace(self, workspaces={**self.workspaces, name: folder})

    def image(self, name: str) -> str:
        return f"{self.sandbox.registry}/{name}"

    def connection(self, *names: str) -> dict[str, str]:
        """The params that lead to the sandbox, those of them that a Task has."""
        identity = self.sandbox.identity
        found = {
            "iam-url": identity.url("iam"),
            "kms-url": identity.url("kms"),
            "kms-instance": identity.kms_instance,
            "account": identity.account,
            "ca-file": "/imgsec/ca/ca.crt",
        }
        return {name: found[name] for name in names or found}

    def run(self, task: str, **given: str) -> Outcome:
        """Run one Task against the sandbox; underscores in names become dashes."""
        document = tasks()[task]
        takes = {param["name"] for param in document["spec"]["params"]}
        params = {name: value for name, value in self.connection().items() if name in takes}
        params |= {name.replace("_", "-"): value for name, value in given.items()}
        has = {item["name"] for item in document["spec"].get("workspaces", [])}
        bound = {name: path for name, path in self.workspaces.items() if name in has}
        return run_task(document, params, self.cluster, bound)


@pytest.fixture(scope="session")
def release() -> Iterator[Release]:
    with running_sandbox() as sandbox, tempfile.TemporaryDirectory(prefix="tk-") as name:
        place = Path(name)
        tools, api = place / "bin", place / "api"
        workspaces = {part: place / part for part in ("dockerconfig", "ca", "manifests", "reports")}
        for folder in (tools, api, *workspaces.values()):
            folder.mkdir()
        shutil.copy(sandbox.folder.auth_file, workspaces["dockerconfig"] / "config.json")
        shutil.copy(sandbox.folder.ca, workspaces["ca"] / "ca.crt")
        _program(tools / "kubectl", _KUBECTL.format(api=api, secret=_KEY_SECRET))
        _program(tools / "imgsec", _IMGSEC.format(python=shlex.quote(sys.executable)))
        environment = {
            "PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "IMGSEC_TOOLS_DIR": str(tools),
            "LANG": "C.UTF-8",
        }
        cluster = Cluster(
            environment,
            image=(Path(sys.prefix), Path(sys.base_prefix), ROOT, tools),
            api=api,
            secrets={"ibmcloud-apikey": {"APIKEY": sandbox.folder.api_key.read_bytes()}},
            token=sandbox.folder.cr_token.read_bytes(),
        )
        digests = {
            image: _push(sandbox, image, place / f"layout-{number}")
            for number, image in enumerate(IMAGES)
        }
        ready = Release(sandbox, cluster, workspaces, digests)
        setup = ready.run(
            "imgsec-setup-signing-keys",
            alias="release",
            repository=f"{ready.image('team/*')} {ready.image('other/*')}",
        )
        written = workspaces["manifests"] / f"{_KEY_SECRET}.secret.yaml"
        (api / f"{_KEY_SECRET}.json").write_text(json.dumps(yaml.safe_load(written.read_bytes())))
        yield replace(ready, setup=setup)


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _push(sandbox: Sandbox, name: str, layout: Path) -> str:
    """Push a tiny image; its digest."""
    digest = image_layout(layout)
    subprocess.run(
        [
            *("skopeo", "copy", "--quiet", "--insecure-policy", "--preserve-digests"),
            *(f"oci:{layout}:it", f"docker://{sandbox.registry}/{name}"),
        ],
        env={**os.environ, **sandbox.environment},
        check=True,
        capture_output=True,
        timeout=60,
    )
    return digest
