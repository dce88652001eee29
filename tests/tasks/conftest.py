# SPDX-License-Identifier: Apache-2.0
"""A sandbox with two images, and the cluster that the Tasks run in: Secrets, folders, a kubectl."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imgsec.sandbox.lifecycle import Sandbox, running_sandbox

from .project_files import ROOT, tasks
from .step_runner import Cluster, Outcome, Value, run_task

_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"

# Knows nothing, and keeps what it is told to apply.
_KUBECTL = """#!/bin/sh
case "$*" in
  *" apply "*) exec tee "${0%/*}/applied.json" ;;
esac
"""


@dataclass
class Release:
    """Everything that a release needs: the cluster, the sandbox behind it, the images in it."""

    sandbox: Sandbox
    cluster: Cluster
    tools: Path
    workspaces: dict[str, Path]
    digests: dict[str, str]
    setup: Outcome | None = None
    manifests: Path = field(default_factory=Path)

    @property
    def applied(self) -> Path:
        """What the cluster was told."""
        return self.tools / "applied.json"

    def image(self, name: str) -> str:
        return f"{self.sandbox.registry}/{name}"

    def connection(self, *names: str) -> dict[str, Value]:
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

    def run(self, task: str, **given: Value) -> Outcome:
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
        folders = {part: place / part for part in ("dockerconfig", "ca", "manifests", "reports")}
        tools = place / "bin"
        for folder in (*folders.values(), tools):
            folder.mkdir()
        shutil.copy(sandbox.folder.auth_file, folders["dockerconfig"] / "config.json")
        shutil.copy(sandbox.folder.ca, folders["ca"] / "ca.crt")
        _program(tools / "kubectl", _KUBECTL)
        words = [*_confinement(), sys.executable, "-m", "imgsec"]
        _program(tools / "imgsec", f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        environment = {
            "PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "IMGSEC_TOOLS_DIR": str(tools),
            "LANG": "C.UTF-8",
        }
        api_key = sandbox.folder.api_key.read_bytes()
        cluster = Cluster(
            environment,
            secrets={"ibmcloud-apikey": {"APIKEY": api_key}},
            token=sandbox.folder.cr_token.read_bytes(),
        )
        digests = {
            image: _push(sandbox, image, place / f"layout-{number}")
            for number, image in enumerate(("team/app:1.0", "team/vulnerable-app:1.0"))
        }
        ready = Release(sandbox, cluster, tools, folders, digests)
        ready.setup = ready.run(
            "imgsec-setup-signing-keys",
            alias="release",
            repository=f"{ready.image('team/*')} {ready.image('other/*')}",
        )
        yield ready


def _confinement() -> list[str]:
    """What makes a process see what a restricted pod gives it, where this machine can do that.

    A read-only root file system, writable only where volumes are, and a UID without a passwd entry.
    """
    words = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    for folder in ("/tmp", "/dev/shm"):
        words += ["--bind", folder, folder]
    words += ["--unshare-user", "--uid", "1000660000", "--gid", "0"]
    try:
        done = subprocess.run([*words, "/bin/true"], capture_output=True, timeout=10, check=False)
    except OSError:
        return []
    return words if done.returncode == 0 else []


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _push(sandbox: Sandbox, name: str, layout: Path) -> str:
    """Push an image with one tiny layer; its digest."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(content: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name.replace("/", "-")))
    layer = blob(packed.getvalue(), _LAYER)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    manifest = blob(
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": blob(json.dumps(config).encode(), _CONFIG),
                "layers": [layer],
            }
        ).encode(),
        _MANIFEST,
    )
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    subprocess.run(
        [
            *("skopeo", "copy", "--quiet", "--insecure-policy", "--preserve-digests"),
            *(f"oci:{layout}", f"docker://{sandbox.registry}/{name}"),
        ],
        env={**os.environ, **sandbox.environment},
        check=True,
        capture_output=True,
        timeout=60,
    )
    return str(manifest["digest"])
