# SPDX-License-Identifier: Apache-2.0
"""What tests share: short private folders, gpg in a home of its own, tiny images, the command line.

Nothing of the surrounding environment bends a result: every child gets the variables named here.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_PASSED_ON = ("LANG", "VIRTUAL_ENV")


def plain_environment(home: Path, **more: str) -> dict[str, str]:
    """Little enough that this machine's settings cannot bend a result."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    kept |= {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(home)}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A private folder whose path is short enough for gpg's sockets; its agent is ended after."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp"
    folder = Path(tempfile.mkdtemp(prefix="t-", dir=base))
    try:
        yield folder
    finally:
        for home in (folder, *(path for path in folder.iterdir() if path.is_dir())):
            if (home / "pubring.kbx").exists():
                end_agent(home)
        shutil.rmtree(folder, ignore_errors=True)


def end_agent(home: Path) -> None:
    """End gpg's agent in this home."""
    environment = plain_environment(home, GNUPGHOME=str(home))
    subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False, timeout=20)


@dataclass(frozen=True)
class Gpg:
    """gpg in a home of its own, as an older script or an attacker uses it."""

    home: Path

    def run(self, *words: str, stdin: bytes = b"", fails: bool = False) -> bytes:
        argv = ["gpg", "--batch", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""]
        done = subprocess.run(
            [*argv, *words],
            input=stdin,
            env=plain_environment(self.home, GNUPGHOME=str(self.home)),
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode != 0) is fails, done.stderr.decode("utf-8", "replace")
        return done.stdout

    def make_key(
        self, name: str, algorithm: str = "rsa2048", *, usage: str = "sign", expire: str = "0"
    ) -> str:
        """A new key without a passphrase; gives its fingerprint."""
        self.run("--quick-generate-key", name, algorithm, usage, expire)
        return self.fingerprint(name)

    def fingerprint(self, name: str) -> str:
        rows = self.run("--with-colons", "--list-keys", name).decode().splitlines()
        return next(row.split(":")[9] for row in rows if row.startswith("fpr:"))

    def public(self, name: str, *, armour: bool = False) -> bytes:
        return self.run(*(["--armor"] if armour else []), "--export", name)

    def secret(self, name: str, *, armour: bool = False) -> bytes:
        return self.run(*(["--armor"] if armour else []), "--export-secret-keys", name)

    def sign(self, content: bytes, *signers: str, options: tuple[str, ...] = ()) -> bytes:
        """One OpenPGP message that holds the content, signed by each of these keys."""
        users = [word for signer in signers for word in ("--local-user", signer)]
        return self.run("--no-armor", *users, *options, "--sign", stdin=content)


def image_layout(
    folder: Path,
    *,
    platforms: tuple[str, ...] = ("amd64",),
    text: str = "",
    files: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """Write an OCI layout named ``it`` of one tiny image, or of an index; gives its digest.

    files: what is in the images besides, by platform and path.
    """
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, kind: str) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

    def image(architecture: str) -> dict[str, Any]:
        content = f"{folder.name} {text} {architecture}".encode()
        archived = io.BytesIO()
        with tarfile.open(fileobj=archived, mode="w") as archive:
            more = (files or {}).get(architecture, {})
            held = {"content": content} | {path: value.encode() for path, value in more.items()}
            for path, data in held.items():
                member = tarfile.TarInfo(path)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        layer = archived.getvalue()
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {},
            "rootfs": {
                "type": "layers",
                "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()],
            },
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": blob(json.dumps(config).encode(), OCI_CONFIG),
            "layers": [blob(gzip.compress(layer, mtime=0), OCI_LAYER)],
        }
        platform = {"architecture": architecture, "os": "linux"}
        return {**blob(json.dumps(manifest).encode(), OCI_MANIFEST), "platform": platform}

    images = [image(name) for name in platforms]
    if len(images) > 1:
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": images}
        images = [blob(json.dumps(index).encode(), OCI_INDEX)]
    top = {**images[0], "annotations": {"org.opencontainers.image.ref.name": "it"}}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return str(images[0]["digest"])


@dataclass(frozen=True)
class Ended:
    """A run of the command line that came to its end."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output as the one JSON document that it must be."""
        found = json.loads(self.stdout)
        assert isinstance(found, dict)
        return found

    @property
    def codes(self) -> list[str]:
        """The reason codes of the JSON report, each once."""
        return list(dict.fromkeys(reason["code"] for reason in self.json["reasons"]))

    def expect(self, code: int, *reasons: str) -> Ended:
        """Itself, if it ended so: exit code, reasons in the JSON report, and no traceback."""
        assert "Traceback" not in self.stderr, self.stderr
        assert "Traceback" not in self.stdout
        assert self.code == code, f"{self.code}\n{self.stdout}\n{self.stderr}"
        assert set(self.codes) == set(reasons), f"{self.stdout}\n{self.stderr}"
        assert self.json["exitCode"] == code
        return self


@dataclass(frozen=True)
class CommandLine:
    """Runs imgsec as its users do, in a process of its own and a known environment."""

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(
        self,
        *words: str | Path,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        stdin: str = "",
    ) -> Ended:
        """Run it with ``--output json`` to its end; a None in env takes a variable away."""
        return self.plain(*words, "--output", "json", env=env, cwd=cwd, stdin=stdin)

    def plain(
        self,
        *words: str | Path,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        stdin: str = "",
    ) -> Ended:
        """Run exactly these words to their end."""
        done = subprocess.run(
            self.argv(*words),
            env=self.variables(env),
            cwd=cwd or self.home,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
            timeout=120,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def start(
        self, *words: str | Path, env: Mapping[str, str | None] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start it, with both outputs as pipes unless told otherwise."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(
            self.argv(*words), env=self.variables(env), cwd=self.home, text=True, **options
        )

    def variables(self, more: Mapping[str, str | None] | None = None) -> dict[str, str]:
        merged: dict[str, str | None] = {
            **plain_environment(self.home),
            **self.environment,
            **(more or {}),
        }
        return {name: value for name, value in merged.items() if value is not None}

    @staticmethod
    def argv(*words: str | Path) -> list[str]:
        return [sys.executable, "-m", "imgsec", *map(str, words)]
