# SPDX-License-Identifier: Apache-2.0
"""How skopeo is told to sign: by digest on both sides, with files of ours only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imgsec.adapters._process import Tools
from imgsec.adapters.private_dir import PrivateDir
from imgsec.adapters.registry_auth import Credential
from imgsec.adapters.skopeo import SkopeoSigner, sign_argv
from imgsec.domain.keys import Fingerprint, SecretBytes
from imgsec.domain.reference import Digest, ImageReference
from tests.unit.refusals import refused

SIGNER = Fingerprint("AB" * 20)
IMAGE = ImageReference.parse("r.example/team/app:1").at(Digest.of(b""))
CREDENTIAL = Credential(SecretBytes(b"bWU6c2VjcmV0"))


def test_no_tag_can_be_moved_by_signing() -> None:
    argv = sign_argv(Path("/usr/bin/skopeo"), IMAGE, SIGNER, Path("/c"))
    at = f"docker://r.example/team/app@{IMAGE.digest}"
    assert argv[-2:] == [at, at]
    assert argv[argv.index("--sign-identity") + 1] == "r.example/team/app:1"
    assert argv[argv.index("--sign-by") + 1] == str(SIGNER)
    assert "--all" in argv
    assert "--preserve-digests" in argv


def signer(folder: Path, script: str) -> SkopeoSigner:
    """A signer whose skopeo is this shell script."""
    tools = folder / "tools"
    tools.mkdir()
    (tools / "skopeo").write_text(f"#!/bin/sh\n{script}\n")
    (tools / "skopeo").chmod(0o755)
    home = folder / "gpg"
    home.mkdir()
    return SkopeoSigner(
        Tools(tools),
        PrivateDir(folder, in_memory=True),
        gpg_home=home,
        credential_for=lambda _: CREDENTIAL,
        environment={"SSL_CERT_FILE": "/ca.pem"},
    )


def test_skopeo_has_registry_settings_of_its_own_that_say_nothing(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    file = "$HOME/.config/containers/registries.conf"
    signer(tmp_path, f'wc -c <"{file}" >{seen}').sign_image(IMAGE, SIGNER)
    assert seen.read_text().strip() == "0"


def test_skopeo_sees_our_files_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IBM_CLOUD_APIKEY", "secret")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", "/somewhere/else")
    seen = tmp_path / "seen"
    signer(tmp_path, f'env >{seen}; printf "%s\\n" "$@" >{seen}.argv').sign_image(IMAGE, SIGNER)
    variables = dict(line.split("=", 1) for line in seen.read_text().splitlines())
    assert set(variables) - {"PWD", "OLDPWD", "SHLVL", "_"} == {
        *("SSL_CERT_FILE", "PATH", "LC_ALL", "HOME", "XDG_RUNTIME_DIR", "TMPDIR", "GNUPGHOME")
    }
    words = (tmp_path / "seen.argv").read_text()
    assert "secret" not in words
    assert "bWU6" not in words
    auth = json.loads((tmp_path / "skopeo" / "auth.json").read_text())
    assert auth == {"auths": {"r.example": {"auth": "bWU6c2VjcmV0"}}}
    assert list((tmp_path / "skopeo" / "registries.d").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ('msg="creating signature: key not found"', "pushed-unsigned"),
        ('msg="creating signature: Inappropriate ioctl for device"', "key-unusable"),
        ('msg="creating signature: Bad passphrase"', "key-unusable"),
        ('msg="creating signature: No secret key"', "key-unusable"),
        ('msg="writing signatures: denied"', "pushed-unsigned"),
        ('msg="uploading signature to /x: unauthorized"', "pushed-unsigned"),
        ('msg="writing blob: uploading: denied: requested access"', "permission-denied"),
        ('msg="initiating blob upload: unauthorized: authentication"', "permission-denied"),
        ('msg="reading manifest: manifest unknown"', "image-not-found"),
        ('msg="pinging container registry: connection refused"', "tool-failed"),
        ("", "tool-failed"),
    ],
)
@pytest.mark.parametrize("tail", ["", "x" * 3000])
def test_failure_is_told_by_whether_the_image_was_pushed(
    tmp_path: Path, words: str, code: str, tail: str
) -> None:
    with refused(code):
        signer(tmp_path, f"echo '{words} {tail}' >&2; exit 1").sign_image(IMAGE, SIGNER)


def test_missing_skopeo_is_named(tmp_path: Path) -> None:
    made = signer(tmp_path, "exit 0")
    (tmp_path / "tools" / "skopeo").chmod(0o644)
    with refused("tool-missing") as reasons:
        made.sign_image(IMAGE, SIGNER)
    assert "skopeo" in reasons[0].text
