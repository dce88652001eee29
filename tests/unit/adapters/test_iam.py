# SPDX-License-Identifier: Apache-2.0
"""Tokens: asked for as often as it takes, and given to nobody else."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import parse_qs

import jwt
import pytest

from imgsec.adapters._http import ATTEMPTS
from imgsec.adapters.iam import (
    ApiKey,
    BearerToken,
    IamCredential,
    IamTokens,
    TrustedProfile,
    VpcInstance,
)
from imgsec.domain.hosts import MetadataUrl, ServiceUrl
from imgsec.domain.keys import SecretBytes
from tests.unit.adapters.servers import Script, Server, closed_port, raw, reply, trickle
from tests.unit.refusals import refused

API_KEY = "sEcReT-api-key"


def token(**claims: object) -> str:
    now = int(time.time())
    content = {"iat": now, "exp": now + 3600, "account": {"bss": "a" * 32}, **claims}
    return jwt.encode(content, "k" * 32)


def granted(text: str | None = None) -> Script:
    body = {"access_token": text or token(), "token_type": "Bearer", "expires_in": 3600}
    return reply(200, body)


@pytest.fixture(autouse=True)
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seen: list[float] = []
    monkeypatch.setattr(time, "sleep", seen.append)
    return seen


def tokens(url: str, credential: IamCredential | None = None) -> IamTokens:
    credential = credential or ApiKey(SecretBytes(API_KEY.encode()))
    return IamTokens(credential, url=ServiceUrl.parse(url), ca_file=None, trusted=())


def ask(*scripts: Script) -> tuple[dict[str, str], int]:
    with Server(list(scripts)) as server:
        header = tokens(server.url).authorization("us.icr.io")
        return header, len(server.requests)


def test_api_key_is_exchanged_once_for_a_token() -> None:
    text = token()
    with Server([granted(text)]) as server:
        iam = tokens(server.url)
        assert iam.authorization("us.icr.io") == {"Authorization": f"Bearer {text}"}
        assert iam.authorization("us-south.kms.cloud.ibm.com")["Authorization"].endswith(text)
        assert iam.account() == "a" * 32
        (request,) = server.requests
    assert request.path == "/identity/token"
    assert parse_qs(request.body.decode())["apikey"] == [API_KEY]


@pytest.mark.parametrize(
    "trouble",
    [
        *(reply(500), reply(503), reply(429), raw(), raw(b"HTTP/1.1 2")),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
    ],
)
def test_passing_trouble_is_waited_out(trouble: Script) -> None:
    _, count = ask(trouble, trouble, granted())
    assert count == 3


def test_retry_after_is_honoured(waited: list[float]) -> None:
    ask(reply(429, Retry_After="11"), granted())
    assert waited == [11]


def test_attempts_have_an_end() -> None:
    for trouble, code in ((reply(503), "service-unreachable"), (reply(429), "rate-limited")):
        with Server([trouble]) as server:
            with refused(code):
                tokens(server.url).authorization("us.icr.io")
            assert len(server.requests) == ATTEMPTS
    with refused("service-unreachable"):
        tokens(f"http://127.0.0.1:{closed_port()}").authorization("us.icr.io")


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_rejected_key_is_not_tried_again_and_not_shown(status: int) -> None:
    body = {"errorCode": "BXNIM0415E", "errorMessage": f"not found\n{'x' * 500}"}
    for content in (body, b"<html>", b"[" * 200_000):
        with Server([reply(status, content)]) as server:
            with refused("credential-rejected") as reasons:
                tokens(server.url).authorization("us.icr.io")
            assert len(server.requests) == 1
        assert API_KEY not in reasons[0].text
        assert reasons[0].text.isprintable()


@pytest.mark.parametrize(
    "answer",
    [
        reply(200, b"<html>"),
        reply(200, b"[" * 200_000),
        reply(200, b"1" * 5000),
        reply(200, {}),
        reply(200, []),
        reply(200, {"access_token": 1}),
        granted("opaque"),
        granted("a.b.c"),
        granted("\ud800"),
        granted(token() + "\0"),
        granted(jwt.encode({"iat": 0, "exp": 10**400}, "k" * 32)),
        granted(jwt.encode({}, "k" * 32)),
        granted(jwt.encode({"iat": "x", "exp": "y"}, "k" * 32)),
    ],
)
def test_what_is_no_token_is_malformed(answer: Script) -> None:
    with refused("answer-malformed"):
        ask(answer)


@pytest.mark.parametrize("status", [b"200 OK", b"400 Bad Request"])
def test_answer_without_end_is_cut_short(status: bytes) -> None:
    with refused("answer-too-large"):
        ask(trickle(b"HTTP/1.1 " + status + b"\r\n\r\n", b" " * 2**16))


@pytest.mark.parametrize("status", [302, 307, 308])
def test_api_key_does_not_follow_a_redirect(status: int) -> None:
    with Server([granted()]) as other, Server([reply(status, Location=other.url)]) as server:
        with refused("redirect-refused"):
            tokens(server.url).authorization("us.icr.io")
        assert other.requests == []


def test_token_is_not_even_asked_for_on_behalf_of_a_foreign_host() -> None:
    with Server([granted()]) as server:
        with refused("insecure-address"):
            tokens(server.url).authorization("xicr.io")
        assert server.requests == []


def test_credential_is_not_sent_to_a_foreign_token_service() -> None:
    with refused("insecure-address"):
        tokens("https://iam.cloud.ibm.com.evil.example").authorization("us.icr.io")


def test_environment_stands_in_no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = f"http://127.0.0.1:{closed_port()}"
    for name in ("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    assert ask(granted())[1] == 1


def test_token_that_a_service_refused_is_replaced_once() -> None:
    with Server([granted(token(n=1)), granted(token(n=2))]) as server:
        taken = tokens(server.url)
        first = taken.authorization("us.icr.io")
        assert taken.forget()
        second = taken.authorization("us.icr.io")
        assert not taken.forget()
        assert taken.authorization("us.icr.io") == second != first


def test_given_token_cannot_be_replaced() -> None:
    assert not tokens("https://iam.example", BearerToken(SecretBytes(b"t"))).forget()


def test_trusted_profile_uses_the_token_that_lies_there_now(tmp_path: Path) -> None:
    path = tmp_path / "sa-token"
    path.write_text("service.account.token")
    with Server([granted()]) as server:
        iam = tokens(server.url, TrustedProfile("Profile-1", str(path)))
        iam.authorization("us.icr.io")
        sent = parse_qs(server.requests[0].body.decode())
    assert sent["cr_token"] == ["service.account.token"]
    assert sent["profile_id"] == ["Profile-1"]


def test_missing_service_account_token_is_named(tmp_path: Path) -> None:
    with Server([granted()]) as server:
        iam = tokens(server.url, TrustedProfile("p", str(tmp_path / "none")))
        with refused("input-unreadable") as reasons:
            iam.authorization("us.icr.io")
    assert str(tmp_path / "none") in reasons[0].text


IDENTITY = reply(200, {"access_token": "identity", "expires_in": 300})


@pytest.mark.parametrize(
    ("profile", "sent"),
    [
        (None, b""),
        ("Profile-1", b'{"trusted_profile": {"id": "Profile-1"}}'),
        ("release", b'{"trusted_profile": {"name": "release"}}'),
    ],
)
def test_virtual_server_asks_its_metadata_service(profile: str | None, sent: bytes) -> None:
    text = token()
    with Server([IDENTITY, granted(text)]) as server:
        credential = VpcInstance(MetadataUrl.parse(server.url), profile)
        iam = tokens("https://iam.cloud.ibm.com", credential)
        assert iam.authorization("us.icr.io")["Authorization"] == f"Bearer {text}"
        first, second = server.requests
    assert (first.method, first.path.partition("?")[0]) == ("PUT", "/instance_identity/v1/token")
    assert first.headers["metadata-flavor"] == "ibm"
    assert second.path.partition("?")[0] == "/instance_identity/v1/iam_token"
    assert second.headers["authorization"] == "Bearer identity"
    assert second.body == sent


def test_metadata_service_that_is_away_or_refuses_is_told() -> None:
    url = MetadataUrl.parse(f"http://127.0.0.1:{closed_port()}")
    with refused("service-unreachable"):
        tokens("https://iam.cloud.ibm.com", VpcInstance(url)).authorization("us.icr.io")
    with Server([reply(403, {"errors": []})]) as server, refused("credential-rejected"):
        credential = VpcInstance(MetadataUrl.parse(server.url))
        tokens("https://iam.cloud.ibm.com", credential).authorization("us.icr.io")


@pytest.mark.parametrize(
    "text",
    [
        "https://169.254.169.254",
        "http://169.254.169.254.evil.example",
        "http://metadata.example",
        "http://user@169.254.169.254",
        "http://169.254.169.254/path",
        "169.254.169.254",
        "",
    ],
)
def test_identity_is_asked_for_at_the_link_local_address_only(text: str) -> None:
    with refused("invalid-option"):
        MetadataUrl.parse(text)


def test_metadata_service_with_no_usable_identity_is_malformed() -> None:
    with Server([reply(200, {"access_token": "\ud800"})]) as server, refused("answer-malformed"):
        credential = VpcInstance(MetadataUrl.parse(server.url))
        tokens("https://iam.cloud.ibm.com", credential).authorization("us.icr.io")


def test_given_token_is_used_as_it_is_and_for_its_own_hosts_only() -> None:
    iam = tokens("https://iam.cloud.ibm.com", BearerToken(SecretBytes(token().encode())))
    assert iam.authorization("us.icr.io")["Authorization"].startswith("Bearer ey")
    assert iam.account() == "a" * 32
    with refused("insecure-address"):
        iam.authorization("xicr.io")
