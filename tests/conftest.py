# SPDX-License-Identifier: Apache-2.0
"""One sandbox for all tests of a worker, images in it, and the command line in its environment."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from imgsec.sandbox.faults import set_rule
from imgsec.sandbox.lifecycle import Options, Sandbox, running_sandbox
from tests.support import CommandLine, image_layout, plain_environment, short_folder

_COUNTER = itertools.count()


@dataclass(frozen=True)
class Bench:
    """A sandbox, the command line in it, and a look at all that a run may leave behind."""

    sandbox: Sandbox
    imgsec: CommandLine
    folder: Path
    private: Path  # where private directories are made
    environment: dict[str, str] = field(repr=False)

    def push(
        self,
        repository: str = "team/app",
        tag: str = "1",
        *,
        platforms: tuple[str, ...] = ("amd64",),
        files: Mapping[str, Mapping[str, str]] | None = None,
    ) -> tuple[str, str]:
        """Push a new tiny image; gives its tagged name and digest. files: see `image_layout`."""
        layout = self.folder / f"layout-{next(_COUNTER)}"
        digest = image_layout(layout, platforms=platforms, files=files)
        name = f"{self.sandbox.registry}/{repository}:{tag}"
        self.skopeo(
            *("copy", "--all", "--preserve-digests", "--insecure-policy"),
            *(f"oci:{layout}:it", f"docker://{name}"),
        )
        return name, digest

    def skopeo(self, *words: str) -> bytes:
        done = subprocess.run(
            ["skopeo", *words],
            env=self.environment,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
        return done.stdout

    def skopeo_takes(self, name: str, policy: Any, *words: str) -> bool:
        """Whether skopeo copies an image under this policy. words: further global options."""
        path = self.folder / "skopeo-policy.json"
        path.write_text(json.dumps(policy))
        done = subprocess.run(
            [
                *("skopeo", "--policy", path, *words),
                *("copy", f"docker://{name}", f"dir:{self.folder}/copy"),
            ],
            env=self.environment,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0 or b"ource image rejected" in done.stderr, done.stderr
        return done.returncode == 0

    def repository(self) -> str:
        """A repository that no other test uses."""
        return f"t{os.getpid()}/n{next(_COUNTER)}"

    def alias(self) -> str:
        """A key alias that no other test uses."""
        return f"key-{os.getpid()}-{next(_COUNTER)}"

    def fault(self, service: str, kind: str, **rest: Any) -> None:
        """From now on, and until the test ends, requests to the service go wrong."""
        set_rule(self.sandbox.folder, service, {"kind": kind, **rest})

    def clear_faults(self) -> None:
        self.sandbox.folder.faults.unlink(missing_ok=True)

    def log(self, service: str) -> list[dict[str, Any]]:
        """The requests that the service answered so far."""
        lines = self.sandbox.folder.access_log(service).read_text().splitlines()
        return [json.loads(line) for line in lines]

    def signatures(self, name: str, digest: str) -> list[bytes]:
        """The signatures of a digest, as the registry hands them out."""
        with self._session() as session:
            answer = session.get(self._store(name, digest), timeout=30)
        return [base64.b64decode(entry["content"]) for entry in answer.json()["signatures"]]

    def plant(self, name: str, digest: str, signature: bytes) -> None:
        """Store something as a signature, as anybody who may push can."""
        entry = {
            "schemaVersion": 2,
            "type": "atomic",
            "name": f"{digest}@{os.urandom(16).hex()}",
            "content": base64.b64encode(signature).decode(),
        }
        with self._session() as session:
            answer = session.put(self._store(name, digest), json=entry, timeout=30)
        assert answer.status_code == 201, answer.text

    def exempt(self, repository: str, issue: str) -> None:
        """Exempt a CVE in a repository of the sandbox's account, at the advisor."""
        resource = repository.replace("/", "%2F")
        url = f"https://{self.sandbox.registry}/va/api/v4/exempt/image/{resource}/issue/cve/{issue}"
        with self._session() as session:
            session.headers["Account"] = self.sandbox.identity.account
            assert session.post(url, timeout=30).status_code == 201

    def _store(self, name: str, digest: str) -> str:
        registry, _, repository = name.rpartition(":")[0].partition("/")
        return f"https://{registry}/extensions/v2/{repository}/signatures/{digest}"

    def _session(self) -> Any:
        """Plain HTTP to the sandbox's registry, as its manager."""
        import requests

        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.sandbox.folder.ca)
        session.auth = ("iamapikey", self.sandbox.api_key("manager"))
        return session

    def _kms(self) -> Any:
        """Plain HTTP to the sandbox's KMS, as its manager."""
        session = self._session()
        session.auth = None
        grant = {
            "grant_type": "urn:ibm:params:oauth:grant-type:apikey",
            "apikey": self.sandbox.api_key("manager"),
        }
        url = self.sandbox.identity.url("iam") + "/identity/token"
        token = session.post(url, data=grant, timeout=30).json()["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"
        session.headers["Bluemix-Instance"] = self.sandbox.identity.kms_instance
        return session

    def new_ring(self) -> str:
        """A key ring that no other test uses."""
        ring = f"ring-{os.getpid()}-{next(_COUNTER)}"
        with self._kms() as session:
            url = f"{self.sandbox.identity.url('kms')}/api/v2/key_rings/{ring}"
            assert session.post(url, timeout=30).status_code == 201
        return ring

    def store(self, name: str, content: bytes, *, ring: str) -> str:
        """Store a key as the older script does: by name, without an alias; gives its id."""
        kind = "application/vnd.ibm.kms.key+json"
        payload = base64.b64encode(content).decode()
        resource = {"type": kind, "name": name, "extractable": True, "payload": payload}
        metadata = {"collectionType": kind, "collectionTotal": 1}
        with self._kms() as session:
            answer = session.post(
                f"{self.sandbox.identity.url('kms')}/api/v2/keys",
                json={"metadata": metadata, "resources": [resource]},
                headers={"x-kms-key-ring": ring},
                timeout=30,
            )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["resources"][0]["id"])

    def empty_ring(self, ring: str) -> None:
        """Delete the keys in it."""
        url = f"{self.sandbox.identity.url('kms')}/api/v2/keys"
        with self._kms() as session:
            held = session.get(url, headers={"x-kms-key-ring": ring}, timeout=30).json()
        for key in held.get("resources", []):
            self.delete_key(key["id"])

    def delete_key(self, key_id: str) -> None:
        """Delete a key and free its aliases, as its manager can at any time."""
        url = f"{self.sandbox.identity.url('kms')}/api/v2/keys/{key_id}"
        with self._kms() as session:
            (key,) = session.get(f"{url}/metadata", timeout=30).json()["resources"]
            for alias in key.get("aliases", []):
                assert session.delete(f"{url}/aliases/{alias}", timeout=30).ok
            assert session.delete(url, timeout=30).ok

    def keys(self, alias: str) -> dict[str, bytes]:
        """The payloads in the KMS whose alias begins so, by alias; and nothing may lie twice."""
        base = self.sandbox.identity.url("kms") + "/api/v2/keys"
        with self._kms() as session:
            listed = session.get(base, timeout=30).json().get("resources", [])
            found: dict[str, bytes] = {}
            for key in listed:
                payload = session.get(f"{base}/{key['id']}", timeout=30).json()
                content = base64.b64decode(payload["resources"][0]["payload"])
                for name in key.get("aliases", [f"no alias: {key['id']}"]):
                    assert name not in found
                    found[name] = content
        return {name: content for name, content in found.items() if name.startswith(alias)}

    def leftovers(self) -> list[str]:
        """What lies in the folder for private directories."""
        return sorted(entry.name for entry in self.private.iterdir())

    def processes(self) -> list[str]:
        """Command lines of living processes that hold the folder for private directories."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                environment = (path / "environ").read_bytes()
                words = (path / "cmdline").read_bytes()
            except OSError:
                continue
            if int(path.name) != os.getpid() and str(self.private).encode() in environment + words:
                found.append(words.replace(b"\0", b" ").decode("utf-8", "replace"))
        return found


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for all tests that this worker runs."""
    directory = tmp_path_factory.mktemp("sandbox") / "state"
    with running_sandbox(
        directory, Options(settings={"restore_wait": 0, "alias_wait": 1})
    ) as sandbox:
        yield sandbox


@pytest.fixture
def bench(running: Sandbox, tmp_path: Path) -> Iterator[Bench]:
    """The sandbox without faults, and folders of one's own."""
    home = tmp_path / "home"
    home.mkdir()
    with short_folder() as private:
        variables = {
            **running.environment,
            "XDG_RUNTIME_DIR": str(private),
            "TMPDIR": str(tmp_path),
            # Making an RSA 4096 key takes seconds; the shared key is one.
            "IMGSEC_SETUP_SIGNING_KEYS_ALGORITHM": "nistp256",
            "IMGSEC_KEYS_ROTATE_ALGORITHM": "nistp256",
        }
        bench = Bench(
            running,
            CommandLine(home, variables),
            tmp_path,
            private,
            plain_environment(home) | variables,
        )
        bench.clear_faults()
        try:
            yield bench
        finally:
            bench.clear_faults()


@dataclass(frozen=True)
class SigningKey:
    """A signing key that set-up made, with what must never be seen of it."""

    alias: str
    fingerprint: str
    folder: Path  # the manifests
    secret: bytes = field(repr=False)

    @property
    def location(self) -> str:
        return f"kms://{self.alias}"

    def traces(self) -> list[bytes]:
        """The secret numbers of the key as they would lie in a file or a log: raw, hex, base64.

        Base64 has three forms, by where in a group of three bytes the text begins. gpg itself keeps
        keys in hex.
        """
        inside = self.secret[900:1200]  # behind modulus and exponent of an RSA 4096 key
        forms = [inside[:48], inside[:48].hex().encode(), inside[:48].hex().upper().encode()]
        forms += [base64.b64encode(inside[start : start + 48]) for start in range(3)]
        forms += [base64.b64encode(form) for form in forms[3:]]
        return forms


def traces_in(folder: Path, key: SigningKey, *, but: tuple[str, ...] = ()) -> list[str]:
    """The files below the folder that hold any trace of the secret key."""
    needles = re.compile(b"|".join(map(re.escape, key.traces())))
    found = []
    for path in folder.rglob("*"):
        if path.name.startswith(but) if but else False:
            continue
        try:
            content = path.read_bytes() if path.is_file() else b""
        except OSError:
            continue
        if needles.search(content) or needles.search(b"".join(content.split())):
            found.append(str(path))
    return found


@pytest.fixture(scope="session")
def _made_key(running: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path]:
    folder = tmp_path_factory.mktemp("manifests")
    imgsec = CommandLine(folder, running.environment)
    alias = f"shared-{os.getpid()}"
    done = imgsec(
        *("setup-signing-keys", "--alias", alias, "--render", folder / "out"),
        *("--repository", f"{running.registry}/*"),
    ).expect(0)
    return alias, done.json["key"]["fingerprint"], folder / "out"


@pytest.fixture
def key(bench: Bench, _made_key: tuple[str, str, Path]) -> SigningKey:
    """A signing key in the KMS, made once for all tests of this worker."""
    alias, fingerprint, folder = _made_key
    return SigningKey(alias, fingerprint, folder, bench.keys(alias)[alias])
