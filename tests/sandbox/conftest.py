# SPDX-License-Identifier: Apache-2.0
"""One running sandbox for all tests that do not need their own, and the tools around it."""

from __future__ import annotations

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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from imgsec.cli.app import command_line
from imgsec.sandbox.lifecycle import Options, Sandbox, running_sandbox

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
APIKEY_GRANT = "urn:ibm:params:oauth:grant-type:apikey"
_PLAIN = ("PATH", "LANG", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")  # what our children may inherit


def plain_environment(home: Path) -> dict[str, str]:
    """An environment in which nothing of this machine's settings bends the result."""
    kept = {name: os.environ[name] for name in _PLAIN if name in os.environ}
    return {**kept, "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}


@dataclass(frozen=True)
class CommandLine:
    """Runs `imgsec` as its users do."""

    home: Path

    def __call__(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        environment = plain_environment(self.home) | options.pop("env", {})
        return subprocess.run(
            self.argv(*words),
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **options,
        )

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        environment = plain_environment(self.home) | options.pop("env", {})
        return subprocess.Popen(
            self.argv(*words),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    @staticmethod
    def argv(*words: str) -> list[str]:
        return [sys.executable, "-m", "imgsec", "sandbox", *words]


# The panels of options, and the options, whose variables mean the same in a sandbox: what is shown
# and where, names and choices, tools; and which cluster, for a command line that says to use it.
_KEPT_PANELS = ("Output", "Limits", "Policy")
_KEPT = (
    *("--alias", "--user-id", "--valid-days", "--algorithm", "--key-reference-secret"),
    *("--namespace", "--for", "--public", "--binary", "--file", "--manifests"),
    *("--switch", "--retire", "--status", "--cancel", "--until"),
    *("--resign-from", "--check-from", "--images-from"),
    *("--platform", "--images-file", "--workers", "--backend"),
    *("--tools-dir", "--kubeconfig", "--context", "--include-untagged", "--include-ibm"),
    *("--evidence", "--sign-evidence", "--since", "--expiring", "--used-by", "--image", "--id"),
    *("--owner", "--reason", "--expires", "--scope", "--type", "--package", "--expired"),
    *("--format", "--vex-author", "--author", "--account-wide"),
    *("--policies", "--review", "--suite", "--engine", "--offline"),
    *("--workload", "--engine-after", "--exit-code"),
    *("--strict", "--require-secrets"),
)


def variables_of_the_real_services() -> set[tuple[str, ...]]:
    """The variables that a sandbox must answer for; of one option, in the order of reading.

    Out of the commands themselves: a new option is in it until it is named above.
    """
    found: set[tuple[str, ...]] = set()
    for command in _commands(command_line()):
        for option in command.params:
            names = [option.envvar] if isinstance(option.envvar, str) else option.envvar
            kept = option.opts[0] in _KEPT or getattr(option, "rich_help_panel", "") in _KEPT_PANELS
            if names and not kept:
                found.add(tuple(names))
    return found


def _commands(group: Any) -> Iterator[Any]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            if name != "sandbox":
                yield from _commands(command)
        elif name != "demo":
            yield command


@pytest.fixture
def imgsec(tmp_path: Path) -> CommandLine:
    home = tmp_path / "home"
    home.mkdir()
    return CommandLine(home)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    directory = tmp_path_factory.mktemp("sandbox") / "state"
    with running_sandbox(
        directory, Options(settings={"restore_wait": 0, "alias_wait": 0})
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def no_leftovers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Faults of one test do not reach the next."""
    yield
    if "sandbox" in request.fixturenames:
        request.getfixturevalue("sandbox").folder.faults.unlink(missing_ok=True)


class Client(requests.Session):
    """Plain HTTP against one sandbox: trusts its CA only, knows no proxy and no environment."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self.sandbox = sandbox
        self.verify = str(sandbox.folder.ca)
        self.trust_env = False

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        options.setdefault("timeout", 30)
        return super().request(*arguments, **options)

    def token(self, role: str = "manager") -> str:
        answer = self.post(
            self.sandbox.identity.url("iam") + "/identity/token",
            data={"grant_type": APIKEY_GRANT, "apikey": self.sandbox.api_key(role)},
        )
        return str(answer.json()["access_token"])

    def kms(self, method: str, path: str, role: str = "manager", **options: Any) -> Any:
        headers = {
            "Authorization": f"Bearer {self.token(role)}",
            "Bluemix-Instance": self.sandbox.identity.kms_instance,
            **options.pop("headers", {}),
        }
        url = self.sandbox.identity.url("kms") + path
        return self.request(method, url, headers=headers, **options)

    def create(self, **resource: Any) -> Any:
        return self.kms("POST", "/api/v2/keys", json=key_body(**resource))

    def va(self, method: str, path: str, role: str = "manager", **options: Any) -> Any:
        headers = {
            "Authorization": f"Bearer {self.token(role)}",
            "Account": self.sandbox.identity.account,
            **options.pop("headers", {}),
        }
        return self.request(method, self.registry_url(path), headers=headers, **options)

    def registry(self, method: str, path: str, role: str = "manager", **options: Any) -> Any:
        login = ("iamapikey", self.sandbox.api_key(role))
        return self.request(method, self.registry_url(path), auth=login, **options)

    def registry_url(self, path: str) -> str:
        return f"https://{self.sandbox.registry}{path}"


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    with Client(sandbox) as session:
        yield session


def key_body(**resource: Any) -> dict[str, Any]:
    kind = "application/vnd.ibm.kms.key+json"
    return {
        "metadata": {"collectionType": kind, "collectionTotal": 1},
        "resources": [{"type": kind, "name": "a key", "extractable": True, **resource}],
    }


@dataclass(frozen=True)
class Tools:
    """skopeo and gpg, with a home of their own and a sandbox's environment."""

    sandbox: Sandbox
    home: Path

    def run(self, *argv: str, fails: bool = False) -> str:
        environment = plain_environment(self.home) | self.sandbox.environment
        environment["GNUPGHOME"] = str(self.home / "g")
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode != 0) is fails, done.stderr
        return done.stderr if fails else done.stdout

    def push(self, layout: Path, name: str, *options: str) -> str:
        """Copy an OCI layout into the registry; gives the image's full name."""
        target = f"{self.sandbox.registry}/{name}"
        self.run(
            "skopeo",
            "copy",
            "--insecure-policy",
            *options,
            f"oci:{layout}:it",
            f"docker://{target}",
        )
        return target

    def digest(self, target: str) -> str:
        raw = self.run("skopeo", "inspect", "--raw", f"docker://{target}")
        return "sha256:" + hashlib.sha256(raw.encode()).hexdigest()


@pytest.fixture
def tools(sandbox: Sandbox) -> Iterator[Tools]:
    with tools_for(sandbox) as found:
        yield found


class tools_for:  # noqa: N801 - used as a function
    """Tools with a throw-away home; its path is short, since gpg's sockets lie in it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._tools = Tools(sandbox, Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp")))

    def __enter__(self) -> Tools:
        (self._tools.home / "g").mkdir(mode=0o700)
        return self._tools

    def __exit__(self, *_: object) -> None:
        environment = {"GNUPGHOME": str(self._tools.home / "g"), "PATH": os.environ["PATH"]}
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False)
        shutil.rmtree(self._tools.home, ignore_errors=True)


@pytest.fixture
def layout(tmp_path: Path) -> Callable[..., Path]:
    """Makes an OCI layout with one image, or an index of two, whose layer is random."""

    def make(size: int = 2000, *, platforms: int = 1, packed: bool = False) -> Path:
        folder = tmp_path / f"layout-{size}-{platforms}-{len(list(tmp_path.iterdir()))}"
        blobs = folder / "blobs" / "sha256"
        blobs.mkdir(parents=True)

        def blob(data: bytes, kind: str) -> dict[str, Any]:
            digest = hashlib.sha256(data).hexdigest()
            (blobs / digest).write_bytes(data)
            return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}

        def image(architecture: str) -> dict[str, Any]:
            archived = io.BytesIO()
            with tarfile.open(fileobj=archived, mode="w") as archive:
                member = tarfile.TarInfo("content")
                member.size = size
                archive.addfile(member, io.BytesIO(os.urandom(size)))
            data, kind = archived.getvalue(), "application/vnd.oci.image.layer.v1.tar"
            diff_id = "sha256:" + hashlib.sha256(data).hexdigest()
            if packed:  # so that skopeo does not spend its time on it
                data, kind = gzip.compress(data, compresslevel=0), kind + "+gzip"
            layer = blob(data, kind)
            config = {
                "architecture": architecture,
                "os": "linux",
                "created": "2026-01-02T03:04:05Z",
                "config": {"Labels": {"revision": "1"}},
                "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            }
            manifest = {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": blob(
                    json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"
                ),
                "layers": [layer],
            }
            platform = {"architecture": architecture, "os": "linux"}
            return {**blob(json.dumps(manifest).encode(), OCI_MANIFEST), "platform": platform}

        images = [image(name) for name in ("amd64", "arm64")[:platforms]]
        if platforms > 1:
            index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": images}
            images = [blob(json.dumps(index).encode(), OCI_INDEX)]
        top = {**images[0], "annotations": {"org.opencontainers.image.ref.name": "it"}}
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        return folder

    return make


def access_log(sandbox: Sandbox, service: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in sandbox.folder.access_log(service).open()]
