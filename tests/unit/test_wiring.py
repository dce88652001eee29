# SPDX-License-Identifier: Apache-2.0
"""From settings to adapters: which texts become what, and which variables are read or passed on."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from imgsec.adapters.iam import BearerToken, TrustedProfile, VpcInstance
from imgsec.config import GateSettings, Settings
from imgsec.domain.hosts import MetadataUrl
from imgsec.domain.keys import KmsPlace, SecretBytes
from imgsec.wiring import World, wire
from tests.unit.refusals import refused

UUID = "0a1b2c3d-1234-4abc-8def-0123456789ab"
CRN = f"crn:v1:bluemix:public:kms:us-south:a/{'a' * 32}:{UUID}::"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("IMGSEC", "IBM", "DOCKER", "SSL")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def tokens(**settings: Any) -> Any:
    with wire(Settings(**settings)) as world:
        return world._tokens


def test_api_key_is_taken_out_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IMGSEC_API_KEY", "IBM_CLOUD_APIKEY"):
        monkeypatch.setenv(name, f"key-of-{name}")
    assert tokens()._credential.key.reveal() == b"key-of-IMGSEC_API_KEY"
    assert not {"IMGSEC_API_KEY", "IBM_CLOUD_APIKEY"} & set(os.environ)


def test_api_key_of_a_file_wins_and_loses_its_line_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("of-the-file\n")
    monkeypatch.setenv("IBM_CLOUD_APIKEY", "of-the-environment")
    found = tokens(api_key_file=str(tmp_path / "key"))
    assert found._credential.key.reveal() == b"of-the-file"
    assert "IBM_CLOUD_APIKEY" not in os.environ


def test_what_is_named_wins_over_a_key_file_that_lies_there(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("key")
    (tmp_path / "token").write_text("a.b.c\n")
    given = {"api_key_file": str(tmp_path / "key")}
    assert tokens(**given, iam_profile="p")._credential == TrustedProfile("p")
    found = tokens(**given, iam_token_file=str(tmp_path / "token"))._credential
    assert found == BearerToken(SecretBytes(b"a.b.c"))
    url = MetadataUrl("http://169.254.169.254")
    assert tokens(**given, vpc_instance=True)._credential == VpcInstance(url)
    found = tokens(**given, vpc_instance=True, iam_profile="p")._credential
    assert found == VpcInstance(url, "p")


@pytest.mark.parametrize("other", [{"iam_profile": "p"}, {"vpc_instance": True}])
def test_token_and_another_credential_contradict_each_other(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    (tmp_path / "token").write_text("a.b.c\n")
    with refused("invalid-option"):
        tokens(iam_token_file=str(tmp_path / "token"), **other)


@pytest.mark.parametrize("content", ["", " \n", "two words", "a\nb", "caf\u00e9", "\x00"])
def test_what_is_no_api_key_is_malformed(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content)
    with refused("input-malformed"):
        tokens(api_key_file=str(tmp_path / "key"))


def test_without_a_credential_the_question_is_wrong() -> None:
    with refused("missing-credential"):
        tokens()
    with refused("missing-credential"), wire(Settings()) as world:
        _ = world.kms


@pytest.mark.parametrize("text", [UUID, CRN, UUID.upper()])
def test_instance_is_a_uuid_or_a_crn(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBM_CLOUD_APIKEY", "x")
    with wire(Settings(kms_instance=text)) as world:
        assert world.kms.address[1].lower() == UUID


@pytest.mark.parametrize("text", ["release", CRN.replace(UUID, "x"), UUID + "0", UUID[:-1], "../x"])
def test_anything_else_is_no_instance(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBM_CLOUD_APIKEY", "x")
    with refused("invalid-option"), wire(Settings(kms_instance=text)) as world:
        _ = world.kms


@pytest.mark.parametrize("text", ["a b", "a\r\nX: 1", "caf\u00e9", "\u65e5\u672c", "a" * 101])
def test_id_that_no_header_could_carry_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IBM_CLOUD_APIKEY", "x")
    with refused("invalid-option"), wire(Settings(account=text)) as world:
        _ = world.advisor
    monkeypatch.setenv("IBM_CLOUD_APIKEY", "x")
    ring = Settings(kms_instance=UUID, kms_key_ring=text)
    with refused("invalid-option"), wire(ring) as world:
        _ = world.kms


def test_missing_ca_file_is_named() -> None:
    with wire(Settings(ca_file="/nonexistent/ca.pem")) as world, refused("input-unreadable"):
        _ = world._http


def test_file_without_a_certificate_is_no_ca_file(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("just a text")
    settings = Settings(ca_file=str(tmp_path / "ca.pem"))
    with wire(settings) as world, refused("input-malformed"):
        _ = world._http


def auth_path(**settings: Any) -> str | None:
    with wire(Settings(**settings)) as world:
        return world._auth_path()


def test_auth_file_is_the_named_one_or_that_of_docker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert auth_path() is None
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text(json.dumps({}))
    assert auth_path() == str(tmp_path / ".docker" / "config.json")
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert auth_path() == str(tmp_path / "config.json")
    assert auth_path(authfile="/named") == "/named"


def test_nothing_is_picked_up_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "")
    monkeypatch.setenv("DOCKER_CONFIG", ".")
    for name in ("config.json", "auth.json", "ibm-credentials.env"):
        (tmp_path / name).write_text("{}")
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text("{}")
    assert auth_path() is None


def test_world_opens_nothing_before_it_is_needed() -> None:
    with wire(Settings()) as world:
        assert isinstance(world, World)
        assert world.notes() == ()


def test_passphrase_comes_from_the_very_descriptor() -> None:
    """One that was opened by somebody who may, and cannot be opened anew: here a socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"open sesame\n")
        theirs.shutdown(socket.SHUT_WR)
        with wire(Settings(passphrase_fd=ours.fileno())) as world:
            assert world._passphrase == SecretBytes(b"open sesame")
    with wire(Settings(passphrase_fd=10**6)) as world, refused("input-unreadable"):
        _ = world._passphrase


@pytest.mark.parametrize(
    ("place", "named", "ring"),
    [
        ("kms://release", None, "signing"),
        (f"kms://kms.example/{UUID}/release", None, "signing"),
        (f"kms://kms.example/{UUID}/release", "other", "other"),
        ("kms://release", "other", "other"),
    ],
)
def test_key_ring_counts_wherever_the_kms_is(place: str, named: str | None, ring: str) -> None:
    settings = {"kms_instance": UUID, "kms_url": "https://kms.example", "kms_key_ring": "signing"}
    with wire(Settings(**settings)) as world:
        world.__dict__["_tokens"] = None
        assert world.kms_at(KmsPlace.parse(place), key_ring=named)._key_ring == ring


# --- The scanner ----------------------------------------------------------------------------------


def made_scanner(folder: Path, **gate: Any) -> Any:
    (folder / "trivy").write_text("#!/bin/sh\nexit 1\n")
    (folder / "trivy").chmod(0o755)
    (folder / "db").mkdir(exist_ok=True)
    (folder / "db" / "trivy.db").touch()
    with wire(Settings(tools_dir=str(folder))) as world:
        return world.scanner(GateSettings(**gate), None)


@pytest.mark.parametrize(
    ("gate", "code"),
    [
        ({"scanner_sha256": "1" * 64}, "invalid-option"),
        ({"scanner_cache": "/somewhere"}, "invalid-option"),
        ({"scanner": "nobody", "scanner_sha256": "1" * 64}, "invalid-option"),
        ({"scanner": "trivy", "scanner_sha256": "1" * 63}, "invalid-option"),
        ({"scanner": "trivy"}, "scanner-unpinned"),
        ({"scanner": "trivy", "scanner_sha256": ""}, "scanner-unpinned"),
        ({"scanner": "trivy", "scanner_sha256": "1" * 64}, "scanner-mismatch"),
        ({"scanner": "trivy", "allow_unpinned_scanner": True}, "tool-failed"),  # no database
    ],
)
def test_wrong_scanner_shows_before_any_image_is_asked_about(
    tmp_path: Path, gate: dict[str, Any], code: str
) -> None:
    with refused(code):
        made_scanner(tmp_path, **gate)


def test_scanner_is_made_for_each_process_and_only_where_one_is_named(tmp_path: Path) -> None:
    assert made_scanner(tmp_path) is None
    assert made_scanner(tmp_path, scanner="") is None
    given = {"scanner": "trivy", "scanner_cache": str(tmp_path), "allow_unpinned_scanner": True}
    assert callable(made_scanner(tmp_path, **given))
