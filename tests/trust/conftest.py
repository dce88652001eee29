# SPDX-License-Identifier: Apache-2.0
"""The real Notary, client and server (Debian: notary); a missing program is a failure."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import plain_environment, short_folder
from tests.unit.adapters.servers import closed_port

_PASSPHRASE = "only for tests"
_ROLES = ("ROOT", "TARGETS", "SNAPSHOT", "DELEGATION")


@dataclass(frozen=True)
class Notary:
    """The client, with a folder of its own for keys and what it has seen."""

    folder: Path
    url: str

    def run(self, *words: str, fails: bool = False) -> str:
        variables = {f"NOTARY_{role}_PASSPHRASE": _PASSPHRASE for role in _ROLES}
        done = subprocess.run(
            ["notary", "-d", str(self.folder / "trust"), "-s", self.url, *words],
            env=plain_environment(self.folder, **variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            cwd=self.folder,
        )
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        return done.stdout

    def complaint(self, gun: str) -> str:
        """What it says of a collection that it does not trust, as one who never saw it before."""
        said = self.run("list", gun, fails=True)
        found = re.findall(r"(?m)^\* fatal: (.*)$", said)
        assert len(found) == 1, said
        return str(found[0])

    def sign(self, gun: str, tag: str, sha256: str, *roles: str) -> None:
        """Publish a tag; without a role by targets itself."""
        into = [word for role in roles for word in ("-r", role)]
        self.run("addhash", gun, tag, "100", "--sha256", sha256, *into, "-p")

    def delegate(self, gun: str, role: str, *keys: Path, paths: tuple[str, ...] = ()) -> None:
        """Publish a delegation; without paths for every tag."""
        where = ["--paths", ",".join(paths)] if paths else ["--all-paths"]
        self.run("delegation", "add", gun, role, *map(str, keys), *where, "-p")


@pytest.fixture
def notary_folder() -> Iterator[Path]:
    missing = [name for name in ("notary", "notary-server") if shutil.which(name) is None]
    assert not missing, f"not on PATH: {', '.join(missing)} (Debian: notary)"
    with short_folder() as folder:
        yield folder


@pytest.fixture
def notary(notary_folder: Path) -> Iterator[Notary]:
    """A client, and a server that keeps everything in memory."""
    port = closed_port()
    config = {
        "server": {"http_addr": f"127.0.0.1:{port}"},
        "trust_service": {"type": "local"},
        "storage": {"backend": "memory"},
        "logging": {"level": "error"},
    }
    path = notary_folder / "server.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    log = notary_folder / "server.log"
    with log.open("wb") as sink:
        server = subprocess.Popen(
            ["notary-server", "-config", str(path)],
            env=plain_environment(notary_folder),
            stdout=sink,
            stderr=sink,
        )
    try:
        _wait_for(port, server, log)
        yield Notary(notary_folder, f"http://127.0.0.1:{port}")
    finally:
        server.terminate()
        server.wait(20)


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert server.poll() is None, log.read_text(encoding="utf-8")
        time.sleep(0.05)
    raise AssertionError("the server does not listen")
