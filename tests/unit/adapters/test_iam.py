# SPDX-License-Identifier: Apache-2.0
"""Tokens: asked for as often as it takes, and given to nobody else."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import parse_qs

import jwt
import pytest

from imgsec.adapters._http import ATTEMPTS
from imgsec.adapters.iam import IamTokens
from imgsec.domain.hosts import ServiceUrl
from imgsec.domain.keys import SecretBytes
from tests.unit.adapters.servers import Script, Server, closed_port, raw, reply
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


def tokens(url: str, **changes: object) -> IamTokens:
    given = {
        "api_key": SecretBytes(API_KEY.encode()),
        "cr_token_file": None,
        "profile": None,
        "ca_file": None,
        "trusted": (),
        **changes,
    }
    return IamTokens(url=ServiceUrl.parse(url), **given)  # type: ignore[arg-type]


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


@pytest.mark.parametrize("trouble", [reply(500), reply(503), reply(429), raw(), raw(b"HTTP/1.1 2")])
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
    for content in (body, b"<html>"):
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
        reply(200, {}),
        reply(200, []),
        reply(200, {"access_token": 1}),
        granted("opaque"),
        granted("a.b.c"),
        granted(jwt.encode({}, "k" * 32)),
        granted(jwt.encode({"iat": "x", "exp": "y"}, "k" * 32)),
    ],
)
def test_what_is_no_token_is_malformed(answer: Script) -> None:
    with refused("answer-malformed"):
        ask(answer)


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


def test_trusted_profile_uses_the_token_that_lies_there_now(tmp_path: Path) -> None:
    path = tmp_path / "sa-token"
    path.write_text("service.account.token")
    with Server([granted()]) as server:
        iam = tokens(server.url, api_key=None, profile="Profile-1", cr_token_file=str(path))
        iam.authorization("us.icr.io")
        sent = parse_qs(server.requests[0].body.decode())
    assert sent["cr_token"] == ["service.account.token"]
    assert sent["profile_id"] == ["Profile-1"]


def test_missing_service_account_token_is_named(tmp_path: Path) -> None:
    with Server([granted()]) as server:
        iam = tokens(server.url, api_key=None, profile="p", cr_token_file=str(tmp_path / "none"))
        with refused("input-unreadable") as reasons:
            iam.authorization("us.icr.io")
    assert str(tmp_path / "none") in reasons[0].text


def test_without_a_credential_nothing_is_asked() -> None:
    with refused("missing-credential"):
        tokens("https://iam.cloud.ibm.com", api_key=None).authorization("us.icr.io")
