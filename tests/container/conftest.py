# SPDX-License-Identifier: Apache-2.0
"""Both images, built once for all tests here by scripts/build-image, without a network.

Building needs root: mmdebstrap and buildah set owners, and nothing else isolates a build here. A
program that is missing is a failure, not a reason to skip.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imgsec.sandbox.lifecycle import Options, Sandbox, running_sandbox
from tests.container.base import BASE, PROJECT, Cache, Storage, output, prepared
from tests.container.restricted import Pod

NEEDED = ("buildah", "docker-registry", "ip", "mmdebstrap", "setpriv", "skopeo", "unshare")
# Loopback is there, and nothing else.
OFFLINE = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "offline")


@dataclass(frozen=True)
class Built:
    """An image in its storage. said: what scripts/build-image printed."""

    storage: Storage
    tag: str
    said: str

    @property
    def id(self) -> str:
        """The digest of its configuration, which covers every layer."""
        return str(self.inspect()["FromImageID"])

    def inspect(self) -> dict[str, Any]:
        """What buildah tells about it."""
        found = json.loads(self.storage.buildah("inspect", "--type", "image", self.tag))
        assert isinstance(found, dict)
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """User, Env, Entrypoint, Labels and so on, as the OCI configuration has them."""
        settings = self.inspect()["OCIv1"]["config"]
        assert isinstance(settings, dict)
        return settings


@dataclass(frozen=True)
class Images:
    """Both targets, and `tools` once more: from the same input, in another storage, and pushed."""

    tools: Built
    demo: Built
    again: Built
    registry_state: Path


@pytest.fixture(scope="session", autouse=True)
def able_to_build() -> None:
    if os.geteuid() != 0:
        pytest.skip("building images needs root: mmdebstrap and buildah set owners")
    missing = [name for name in NEEDED if shutil.which(name) is None]
    assert not missing, f"not installed: {', '.join(missing)}"


@pytest.fixture(scope="session")
def images(able_to_build: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Images]:
    work = tmp_path_factory.mktemp("container")
    names = ("tools", "demo", "again")
    with prepared() as cache, ThreadPoolExecutor(len(names)) as pool:
        storages = {name: Storage(work / name, cache.driver, lower=cache.storage) for name in names}
        try:
            state = work / "registry"
            # Every argument of the second `tools` is the first's; only the push is new. The
            # registry that it pushes to lives as long as the build, on the same loopback.
            push = [
                *(sys.executable, "-m", "imgsec", "sandbox", "run", "--dir", str(state), "--"),
                *("sh", "-c", 'exec "$@" --push "$IMGSEC_SANDBOX_REGISTRY/team/imgsec:1"', "push"),
            ]
            started = {
                name: pool.submit(_build, cache, storages[name], name, push * (name == "again"))
                for name in names
            }
            built = {name: future.result() for name, future in started.items()}
            yield Images(built["tools"], built["demo"], built["again"], state)
        finally:
            for storage in storages.values():
                storage.close()


def _build(cache: Cache, storage: Storage, name: str, wrapper: list[str]) -> Built:
    wheels = shutil.copytree(cache.wheels, storage.root / "wheels")
    tag = f"localhost/imgsec-{name}"
    said = output(
        [
            *(*OFFLINE, *wrapper, str(PROJECT / "scripts/build-image")),
            *("--target", "demo" if name == "demo" else "tools", "--tag", tag),
            *("--base", BASE, "--wheels", str(wheels)),
        ],
        storage.environment | {"PYTHONPATH": str(PROJECT)},
    )
    return Built(storage, tag, said)


@pytest.fixture(scope="session")
def tools_root(images: Images) -> Path:
    """The file system of `tools`."""
    storage = images.tools.storage
    container = storage.buildah("from", "--pull-never", images.tools.tag)
    return Path(storage.buildah("mount", container))


@pytest.fixture
def pod(tools_root: Path, tmp_path: Path) -> Pod:
    """`tools` with an empty volume of its own, owned by the UID that runs."""
    volume = tmp_path / "volume"
    volume.mkdir()
    found = Pod(tools_root, volume)
    os.chown(volume, found.uid, 0)
    return found


@pytest.fixture
def sandbox(images: Images) -> Iterator[Sandbox]:
    """The sandbox that `again` was pushed to, on this machine's loopback and ports free there."""
    with running_sandbox(images.registry_state, Options(new_ports=True)) as running:
        yield running
