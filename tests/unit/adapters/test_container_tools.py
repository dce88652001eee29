# SPDX-License-Identifier: Apache-2.0
"""What skopeo and buildah get to see, and what their words mean, with scripts in their place."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest

from imgsec.adapters._process import Tools
from imgsec.adapters.container_tools import ContainerTools
from imgsec.adapters.private_dir import PrivateDir
from imgsec.adapters.registry_auth import AuthFile, Credential
from imgsec.domain.keys import SecretBytes
from imgsec.domain.reference import Digest, ImageReference
from imgsec.ports import LocalImage
from tests.unit.refusals import refused

DIGEST = Digest.of(b"x")
SOURCE = ImageReference.parse(f"one.example/team/app@{DIGEST}")
TARGET = ImageReference.parse("two.example/team/app:1")
LANDED = TARGET.at(DIGEST)
LOCAL = LocalImage("localhost/app", is_list=False, platforms=("linux/amd64",))
# It writes down how it was called and with which variables; then does as it is told.
TOOL = """#!/bin/sh
printf '%s\\n' "$@" > {folder}/words
env > {folder}/env
{body}
"""


class Stage:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.run.mkdir()
        monkeypatch.setenv("IBM_CLOUD_APIKEY", "never-to-be-seen")
        monkeypatch.setenv("GNUPGHOME", "/somewhere")
        monkeypatch.setenv("HOME", "/home/user")

    def tools(
        self, body: str = "", *, ca_file: str | None = None, driver: str | None = None
    ) -> ContainerTools:
        for name in ("skopeo", "buildah"):
            path = self.folder / name
            path.write_text(TOOL.format(folder=self.folder, body=body))
            path.chmod(0o755)
        logins = {
            name: Credential(SecretBytes(base64.b64encode(f"user:{name}".encode())))
            for name in ("one.example", "two.example/team", "three.example")
        }
        return ContainerTools(
            Tools(self.folder),
            PrivateDir(self.run, in_memory=True),
            auth_file=AuthFile("auth.json", logins),
            ca_file=ca_file,
            storage_driver=driver,
        )

    @property
    def words(self) -> list[str]:
        return (self.folder / "words").read_text().splitlines()

    @property
    def variables(self) -> dict[str, str]:
        lines = (self.folder / "env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def test_skopeo_copies_by_digest_and_never_touches_signatures(stage: Stage) -> None:
    stage.tools().copy(SOURCE, LANDED)
    words = stage.words
    assert words[-2:] == [
        f"docker://one.example/team/app@{DIGEST}",
        f"docker://two.example/team/app@{DIGEST}",
    ]
    assert {"--all", "--preserve-digests", "--remove-signatures"} <= set(words)
    places = json.loads((stage.run / "tools/registries.d/default.yaml").read_text())
    assert places["default-docker"]["lookaside"] == f"file://{stage.run}/tools/none"
    own = stage.run / "tools/registries.conf"
    assert stage.words[stage.words.index("--registries-conf") + 1] == str(own)
    assert own.read_text().count("insecure = false") == 2


def test_tools_see_two_logins_and_nothing_of_the_surroundings(stage: Stage) -> None:
    stage.tools().copy(SOURCE, LANDED)
    auth = stage.run / "tools/auth.json"
    assert auth.stat().st_mode & 0o777 == 0o600
    found = {
        name: base64.b64decode(one["auth"])
        for name, one in json.loads(auth.read_text())["auths"].items()
    }
    assert found == {
        "one.example/team/app": b"user:one.example",
        "two.example/team/app": b"user:two.example/team",
    }
    variables = stage.variables
    assert "never-to-be-seen" not in str(variables)
    assert "GNUPGHOME" not in variables
    assert variables["HOME"] == f"{stage.run}/tools"
    assert variables["CONTAINERS_REGISTRIES_CONF"] == f"{stage.run}/tools/registries.conf"
    assert not any("user:" in word for word in stage.words)


def test_buildah_sees_the_storage_of_the_user_and_no_secret(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_DRIVER", "vfs")
    body = f'while [ "$1" != --digestfile ]; do shift || exit 1; done; printf {DIGEST} > "$2"'
    assert stage.tools(body, driver="overlay").push(LOCAL, TARGET) == DIGEST
    assert stage.words[:3] == ["--storage-driver", "overlay", "push"]
    assert stage.words[-2:] == ["localhost/app", "docker://two.example/team/app:1"]
    variables = stage.variables
    assert (variables["HOME"], variables["STORAGE_DRIVER"]) == (f"{stage.run}/tools", "vfs")
    assert variables["XDG_DATA_HOME"] == "/home/user/.local/share"
    assert "never-to-be-seen" not in str(variables)


@pytest.mark.parametrize("given", [True, False])
def test_own_certificate_authority_is_the_only_one(stage: Stage, given: bool) -> None:
    authority = str(stage.folder / "ca.pem")
    stage.tools(ca_file=authority if given else None).copy(SOURCE, LANDED)
    folder = f"{stage.run}/tools/certs"
    words = stage.words
    for option in ("--src-cert-dir", "--dest-cert-dir"):
        assert words[words.index(option) + 1] == folder
    assert list(Path(folder).iterdir()) == []
    variables = stage.variables
    found = [variables.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")]
    assert found == ([authority, folder] if given else [None, None])


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("reading manifest 1 in r.example/app: manifest unknown", "image-not-found"),
        ("unauthorized: authentication required", "credential-rejected"),
        ("denied: requested access to the resource is denied", "credential-rejected"),
        ("toomanyrequests: retry-after: 1ms", "rate-limited"),
        ("open /x/unauthorized: permission denied", "tool-failed"),
        ("errors:\\ndenied: requested access to\\nunauthorized\\n", "credential-rejected"),
        ("received unexpected HTTP status: 403 Forbidden", "tool-failed"),
        ("dial tcp 127.0.0.1:1: connect: connection refused", "service-unreachable"),
        ("lookup r.invalid: no such host", "service-unreachable"),
        ("open /x: permission denied", "tool-failed"),
        ("something new", "tool-failed"),
    ],
)
def test_words_of_the_tools_have_their_meaning(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, said: str, code: str
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    tools = stage.tools(f"echo 'level=fatal msg=\"{said}\"' >&2; exit 1")
    with refused(code) as reasons:
        tools.copy(SOURCE, LANDED)
    assert " ".join(said.split(r"\n")).strip() in reasons[0].text
    assert "copying" in reasons[0].text


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("Error: writing manifest: received unexpected HTTP status: 503 X", "service-unreachable"),
        ('Error: pinging container registry: Get "https://x/v2/": EOF', "service-unreachable"),
        ('level=fatal msg="can\'t talk: 503 (Service Unavailable)"', "service-unreachable"),
        (
            'time="2026-11-22T03:10:14Z" level=fatal msg="copying image 1/2 from manifest list:'
            f" trying to reuse blob {DIGEST} at destination: can't talk to a V1 container"
            ' registry"',
            "service-unreachable",
        ),
        ("Error: x: errors:\ndenied: requested access to it\nunauthorized", "credential-rejected"),
        ("Error: unauthorized", "credential-rejected"),
        ("Error: mkdir /x: permission denied: unknown", "tool-failed"),
        ("Error: received unexpected HTTP status: 429 Too Many Requests", "rate-limited"),
        ("Error: net/http: TLS handshake timeout", "service-unreachable"),
        ('level=fatal msg=""', "tool-failed"),
        ('Error: no such driver\ntime=1 level=warning msg="EOF"', "tool-failed"),
    ],
)
def test_error_is_told_from_the_warnings_around_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, said: str, code: str
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    (stage.folder / "said").write_text(f'time=1 level=warning msg="toomanyrequests: "\n{said}\n')
    tools = stage.tools(f"echo x >> {stage.folder}/runs; cat {stage.folder}/said >&2; exit 1")
    with refused(code) as reasons:
        tools.copy(SOURCE, LANDED)
    runs = len((stage.folder / "runs").read_text().split())
    assert runs == (5 if reasons[0].retryable else 1)
    assert len(waited) == runs - 1
    assert "warning" not in reasons[0].text


def test_push_without_a_digest_is_no_push(stage: Stage) -> None:
    body = 'while [ "$1" != --digestfile ]; do shift || exit 1; done; echo junk > "$2"'
    with refused("pushed-unsigned"):
        stage.tools(body).push(LOCAL, TARGET)
    with refused("pushed-unsigned"):
        stage.tools('[ "$1" = push ]').push(LOCAL, TARGET)


LISTED = {
    "mediaType": "application/vnd.oci.image.index.v1+json",
    "manifests": [
        {"digest": str(DIGEST), "platform": {"os": "linux", "architecture": one}}
        for one in ("amd64", "arm64")
    ],
}
DESCRIBED = {"OCIv1": {"os": "linux", "architecture": "arm", "variant": "v7"}}
NO_LIST = "echo 'Error: localhost/app:latest: image is not a manifest list' >&2; exit 125"


@pytest.mark.parametrize(
    ("exists", "described", "expected"),
    [
        ("exit 0", LISTED, LocalImage("app", True, ("linux/amd64", "linux/arm64"))),
        ("exit 1", DESCRIBED, LocalImage("app", False, ("linux/arm/v7",))),
        (NO_LIST, DESCRIBED, LocalImage("app", False, ("linux/arm/v7",))),
    ],
)
def test_what_local_storage_has_is_looked_at(
    stage: Stage, exists: str, described: object, expected: LocalImage
) -> None:
    body = f"if [ \"$2\" = exists ]; then {exists}; fi; echo '{json.dumps(described)}'"
    assert stage.tools(body).inspect("app") == expected


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("exit 125", "tool-failed"),
        ("[ $2 != exists ] || exit 1; echo 'Error: app: image not known' >&2; exit 125", None),
        ("[ $2 != exists ] || exit 1; echo '{}'", "answer-malformed"),
        ("[ $2 != exists ] || exit 0; echo '{\"manifests\": 1}'", "answer-malformed"),
    ],
)
def test_local_storage_that_says_something_else_is_no_image(
    stage: Stage, body: str, code: str | None
) -> None:
    with refused(code or "image-not-found"):
        stage.tools(body).inspect("app")
