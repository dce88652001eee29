# SPDX-License-Identifier: Apache-2.0
"""Which entry of an auth file belongs to an image, and where a registry may have it sent."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from imgsec.adapters.registry_auth import AuthFile, Challenge
from imgsec.domain.reference import ImageReference
from tests.unit.refusals import refused


def pair(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def auth_file(folder: Path, auths: object, **more: object) -> AuthFile:
    path = folder / "auth.json"
    path.write_text(json.dumps({"auths": auths, **more}))
    return AuthFile.read(str(path))


def user_for(file: AuthFile, image: str) -> str | None:
    found = file.credential_for(ImageReference.parse(image))
    if found is None:
        return None
    return base64.b64decode(found.basic.reveal()).decode().partition(":")[0]


def test_most_specific_entry_wins(tmp_path: Path) -> None:
    file = auth_file(
        tmp_path,
        {
            "r.example": {"auth": pair("host:x")},
            "r.example/team": {"auth": pair("team:x")},
            "r.example/team/app": {"auth": pair("app:x")},
        },
    )
    assert user_for(file, "r.example/team/app:1") == "app"
    assert user_for(file, "r.example/team/app/part:1") == "app"
    assert user_for(file, "r.example/team/other:1") == "team"
    assert user_for(file, "r.example/teams/app:1") == "host"
    assert user_for(file, "r.example:5000/team/app:1") is None
    assert user_for(file, "s.example/team/app:1") is None


def test_entry_of_one_namespace_is_not_lent_to_another(tmp_path: Path) -> None:
    file = auth_file(tmp_path, {"r.example/team": {"auth": pair("team:x")}})
    assert user_for(file, "r.example/other/app:1") is None


@pytest.mark.parametrize(
    ("key", "image"),
    [
        ("https://index.docker.io/v1/", "docker.io/library/app:1"),
        ("index.docker.io", "docker.io/library/app:1"),
        ("https://r.example", "r.example/app:1"),
        ("https://r.example/v2/", "r.example/app:1"),
        ("http://127.0.0.1:5000/v1/", "127.0.0.1:5000/app:1"),
    ],
)
def test_addresses_as_docker_writes_them_are_understood(
    tmp_path: Path, key: str, image: str
) -> None:
    assert user_for(auth_file(tmp_path, {key: {"auth": pair("me:x")}}), image) == "me"


def test_other_forms_of_an_entry_are_understood(tmp_path: Path) -> None:
    file = auth_file(
        tmp_path,
        {
            "a.example": {"username": "plain", "password": "a:b"},
            "c.example": {},
            "d.example": None,
            "e.example": {"identitytoken": "x"},
        },
        credsStore="desktop",
        HttpHeaders={"User-Agent": "x"},
    )
    assert user_for(file, "a.example/x:1") == "plain"
    for host in ("c", "d", "e"):
        assert user_for(file, f"{host}.example/x:1") is None


def test_file_without_entries_is_anonymous(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    for content in ("{}", '{"auths": null}', '{"auths": {}}', '{"credsStore": "x"}'):
        path.write_text(content)
        assert user_for(AuthFile.read(str(path)), "r.example/app:1") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b'{"auths": []}',
        b'{"auths": "x"}',
        b'{"auths": {"r.example": "x"}}',
        b'{"auths": {"r.example": ["auth"]}}',
        b'{"auths": {"r.example": {"auth": "not base64!"}}}',
        b'{"auths": {"r.example": {"auth": 1}}}',
        b'{"auths": {"r.example": {"auth": "bm8gY29sb24="}}}',
        b'{"auths": {"r.example": {"username": "x"}}}',
        b'{"auths": {"r.example": {"username": null, "password": null}}}',
        b"[" * 100_000,
    ],
)
def test_malformed_file_is_named_and_not_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "auth.json"
    path.write_bytes(content)
    with refused("input-malformed"):
        AuthFile.read(str(path))


def test_missing_file_is_not_taken_for_anonymous(tmp_path: Path) -> None:
    with refused("input-unreadable"):
        AuthFile.read(str(tmp_path / "none"))


def test_credential_is_not_seen_by_accident(tmp_path: Path) -> None:
    file = auth_file(tmp_path, {"r.example": {"auth": pair("me:hunter2")}})
    assert pair("me:hunter2") not in repr(file)
    assert "hunter2" not in repr(file)


# --- Challenges -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        ('Basic realm="x"', Challenge("basic", "x", "")),
        ("Basic", Challenge("basic", "", "")),
        ('BEARER realm="https://h/t",service="s"', Challenge("bearer", "https://h/t", "s")),
        (
            "Bearer realm=https://h/t,service=s,scope=x",
            Challenge("bearer", "https://h/t", "s", "x"),
        ),
        (
            'Bearer realm = "https://h/t" , service = "s,t"',
            Challenge("bearer", "https://h/t", "s,t"),
        ),
        ('bearer Realm="https://h/t"', Challenge("bearer", "https://h/t", "")),
        ("", Challenge("")),
        ("Negotiate", Challenge("negotiate")),
    ],
)
def test_challenge_is_read_in_every_spelling(header: str, challenge: Challenge) -> None:
    assert Challenge.parse(header) == challenge


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("r.example", "https://r.example/token"),
        ("r.example:5000", "https://r.example/token"),
        ("us.icr.io", "https://us.icr.io/oauth/token"),
        ("registry-1.docker.io", "https://auth.docker.io/token"),
        ("127.0.0.1:5000", "https://127.0.0.1:5000/token"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000/token"),
    ],
)
def test_token_service_at_home_may_have_the_credential(registry: str, realm: str) -> None:
    assert Challenge("bearer", realm).require_realm(registry, ()) == realm


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("r.example", "https://evil.example/token"),
        ("r.example", "https://r.example.evil.example/token"),
        ("r.example", "https://xr.example/token"),
        ("r.example", "https://auth.docker.io/token"),
        ("r.example", "http://r.example/token"),
        ("r.example", "https://127.0.0.1:5000/token"),
        ("127.0.0.1:5000", "https://127.0.0.1:6000/token"),
        ("127.0.0.1:5000", "http://127.0.0.1:6000/token"),
    ],
)
def test_foreign_token_service_may_not(registry: str, realm: str) -> None:
    with refused("auth-realm-refused"):
        Challenge("bearer", realm).require_realm(registry, ())


@pytest.mark.parametrize(
    "realm",
    [
        "",
        "token",
        "/token",
        "ftp://r.example/",
        "https://",
        "https://u:p@r.example/token",
        "https://r.example/token?x=1",
        "https://r.example/t#x",
        "https://r.example\\@evil.example/",
    ],
)
def test_what_is_no_address_is_no_token_service(realm: str) -> None:
    with refused("answer-malformed"):
        Challenge("bearer", realm).require_realm("r.example", ())


def test_operator_can_name_one_token_service() -> None:
    realm = "https://auth.corp.example/token"
    assert Challenge("bearer", realm).require_realm("r.example", ("auth.corp.example",)) == realm
    with refused("auth-realm-refused"):
        Challenge("bearer", realm).require_realm("r.example", ("corp.example",))
    with refused("auth-realm-refused"):
        plain = realm.replace("https", "http")
        Challenge("bearer", plain).require_realm("r.example", ("auth.corp.example",))
