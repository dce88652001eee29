# SPDX-License-Identifier: Apache-2.0
"""The base that the images are built from in tests: Debian with every package they need.

Made by mmdebstrap once and kept, in a storage that later runs only read, together with the wheels:
then no build needs a network. It stands in for a base that some other machine has prepared; what a
build from Debian's own slim image would install is exactly what this list holds.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
BASE = "localhost/imgsec-test-base"
SUITE = "bookworm"
PACKAGES = (
    *("apt", "ca-certificates", "gpg", "gpg-agent", "gpgconf", "kubernetes-client"),
    *("python3", "python3-pip-whl", "skopeo"),
    *("buildah", "docker-registry"),  # for the demo
)
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*")
_MAKE_SECONDS = 600.0


@dataclass(frozen=True)
class Storage:
    """A private image storage. lower: another one, which this one only reads."""

    root: Path
    driver: str
    lower: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What makes buildah, and whoever starts it, use this storage and no other."""
        self.root.mkdir(parents=True, exist_ok=True)
        lower = [str(self.lower)] if self.lower else []
        configuration = self.root / "storage.conf"
        configuration.write_text(
            f"[storage]\ndriver = {json.dumps(self.driver)}\n"
            f"graphroot = {json.dumps(str(self.root / 'graph'))}\n"
            f"runroot = {json.dumps(str(self.root / 'run'))}\n"
            f"[storage.options]\nadditionalimagestores = {json.dumps(lower)}\n"
        )
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.root),
            "CONTAINERS_STORAGE_CONF": str(configuration),
            "PYTHON": sys.executable,  # for scripts/build-image
        }

    def buildah(self, *words: str) -> str:
        """Run buildah; what it printed."""
        return output(["buildah", *words], self.environment)

    def close(self) -> None:
        """Remove the storage, with every mount in it."""
        if (self.root / "graph").exists():
            self.buildah("rm", "--all")
        points = [line.split(" ")[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for point in reversed(points):
            if point.startswith(f"{self.root}/"):
                subprocess.run(["umount", "--lazy", point], check=True)
        shutil.rmtree(self.root)


@dataclass(frozen=True)
class Cache:
    """What outlives a test run: the base's storage, and the wheels of all dependencies."""

    driver: str
    storage: Path
    wheels: Path


def output(argv: list[str], environment: dict[str, str] | None = None) -> str:
    """Run a program; what it printed. Fails with everything that it said."""
    done = subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=_MAKE_SECONDS, check=False
    )
    assert done.returncode == 0, f"{argv} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


@contextmanager
def prepared() -> Iterator[Cache]:
    """The cache, filled; nobody changes it during the block."""
    driver = _driver()
    recipe = "\n".join([SUITE, driver, *PACKAGES, *_LEFT_OUT])
    key = hashlib.sha256(recipe.encode()).hexdigest()[:16]
    parent = Path(os.environ.get("XDG_CACHE_HOME") or PROJECT / ".cache") / "imgsec-container"
    cache = Cache(driver, parent / f"base-{key}", parent / "wheels")
    parent.mkdir(parents=True, exist_ok=True)
    with (parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not cache.storage.exists():
            for old in (*parent.glob("base-*"), *parent.glob("unfinished-*")):
                shutil.rmtree(old)
            _make_base(cache)
        # Fetches nothing as long as requirements/demo.txt stays as it is.
        output(
            [str(PROJECT / "scripts/build-image"), "--only-wheels", "--wheels", str(cache.wheels)],
            {**os.environ, "PYTHON": sys.executable},
        )
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield cache


def _make_base(cache: Cache) -> None:
    with tempfile.TemporaryDirectory(dir=cache.storage.parent, prefix="unfinished-") as name:
        tarball = Path(name, "base.tar")
        output(
            [
                *("mmdebstrap", "--quiet", "--variant=essential"),
                f"--include={','.join(PACKAGES)}",
                *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
                *(SUITE, str(tarball)),
            ],
            # Byte code with a hash instead of a time, as the Containerfile has it.
            {**os.environ, "SOURCE_DATE_EPOCH": "0"},
        )
        storage = Storage(Path(name, "storage"), cache.driver)
        container = storage.buildah("from", "scratch")
        storage.buildah("add", "--quiet", container, str(tarball), "/")
        storage.buildah("commit", "--quiet", "--timestamp", "0", "--rm", container, BASE)
        (storage.root / "graph").rename(cache.storage)
        storage.close()


def _driver() -> str:
    """What STORAGE_DRIVER says, as for buildah; else overlay, where it can be had.

    A container whose own root is an overlay cannot stack another one on it.
    """
    if chosen := os.environ.get("STORAGE_DRIVER"):
        return chosen
    with tempfile.TemporaryDirectory() as name:
        storage = Storage(Path(name, "storage"), "overlay")
        try:
            storage.buildah("info")
        except AssertionError:
            return "vfs"
        finally:
            storage.close()
    return "overlay"
