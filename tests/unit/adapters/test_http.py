# SPDX-License-Identifier: Apache-2.0
"""The door to HTTP, against a server that misbehaves byte for byte."""

from __future__ import annotations

import gzip
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from imgsec.adapters import _http
from imgsec.adapters._http import ATTEMPTS, RETRY_AFTER_MAX_SECONDS, Answer, Http
from imgsec.adapters.iam import ApiKey, IamTokens
from imgsec.domain.hosts import ServiceUrl
from imgsec.domain.keys import SecretBytes
from tests.unit.adapters.servers import Script, Server, closed_port, end, raw, reply, trickle
from tests.unit.refusals import refused

SECRET = {"Authorization": "Basic c2VjcmV0"}


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client would have waited between two attempts, in seconds."""
    seen: list[float] = []
    monkeypatch.setattr(time, "sleep", seen.append)
    return seen


def get(*scripts: Script, **options: Any) -> tuple[Answer, int]:
    """The answer, and how many requests it took."""
    with Server(list(scripts)) as server:
        answer = Http().request("GET", server.url + "/x", headers=SECRET, **options)
        return answer, len(server.requests)


def test_answer_comes_whole() -> None:
    answer, count = get(reply(200, b"hello", Content_Type="Text/Plain; charset=utf-8"))
    assert (answer.status, answer.body, answer.media_type, count) == (
        200,
        b"hello",
        "text/plain",
        1,
    )


def test_tls_is_missing_only_where_the_caller_needs_none() -> None:
    with refused("insecure-address"):
        Http().request("GET", "http://store.example/x")
    elsewhere = reply(302, Location="http://store.example/x")
    with Server([elsewhere]) as server, refused("redirect-refused"):
        Http().request("GET", server.url + "/x", needs_tls=False)


def test_address_is_remembered_without_its_query() -> None:
    with Server([reply(200)]) as server:
        assert Http().get(f"{server.url}/x?secret=1").url == f"{server.url}/x"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_passing_trouble_is_waited_out(status: int, waited: list[float]) -> None:
    answer, count = get(reply(status), reply(status), reply(200, b"ok"))
    assert (answer.status, answer.body, count) == (200, b"ok", 3)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 501])
def test_lasting_answer_is_not_asked_for_again(status: int, waited: list[float]) -> None:
    answer, count = get(reply(status, b"why"))
    assert (answer.status, answer.body, count) == (status, b"why", 1)
    assert waited == []


def test_retry_after_is_honoured(waited: list[float]) -> None:
    answer, _ = get(reply(429, Retry_After="7"), reply(200))
    assert answer.status == 200
    assert waited == [7]


def test_retry_after_has_a_limit(waited: list[float]) -> None:
    get(reply(503, Retry_After="86400"), reply(200))
    assert waited == [RETRY_AFTER_MAX_SECONDS]


@pytest.mark.parametrize("value", ["", "soon", "-5", "1e9", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_odd_retry_after_is_no_failure(value: str, waited: list[float]) -> None:
    answer, _ = get(reply(429, Retry_After=value), reply(200))
    assert answer.status == 200
    assert all(0 <= wait <= RETRY_AFTER_MAX_SECONDS for wait in waited)


def test_attempts_have_an_end_and_waits_grow(waited: list[float]) -> None:
    answer, count = get(reply(503, b"down"))
    assert (answer.status, answer.body, count) == (503, b"down", ATTEMPTS)
    assert sum(waited) < 60
    assert waited[-1] > waited[0]


def test_post_is_never_repeated(waited: list[float]) -> None:
    for script in (reply(503), reply(429, Retry_After="0")):
        with Server([script]) as server:
            answer = Http().request("POST", server.url, body=b"{}")
            assert answer.status in (503, 429)
            assert len(server.requests) == 1
    for script in (raw(), raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")):
        with Server([script]) as server:
            with refused("service-unreachable"):
                Http().request("POST", server.url, body=b"{}")
            assert len(server.requests) == 1


HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
HALF_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf"
UNENDED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"


@pytest.mark.parametrize("broken", [b"", HALF, HALF_CHUNKED, UNENDED])
def test_answer_that_breaks_off_is_asked_for_again(broken: bytes, waited: list[float]) -> None:
    answer, count = get(raw(broken), reply(200, b"whole"))
    assert (answer.body, count) == (b"whole", 2)


@pytest.mark.parametrize(
    "broken", [b"", HALF, HALF_CHUNKED, UNENDED, b"SSH-2.0-OpenSSH_9.2\r\n", b"\0" * 100]
)
def test_answer_that_always_breaks_off_is_never_taken_for_whole(
    broken: bytes, waited: list[float]
) -> None:
    with refused("service-unreachable"):
        get(raw(broken))


def test_whole_answers_in_other_shapes_are_read() -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhell\r\n1\r\no\r\n0\r\n\r\n"
    )
    assert get(raw(chunked))[0].body == b"hello"
    assert get(raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"))[0].body == b"hello"
    packed = gzip.compress(b"hello")
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    assert get(raw(head + packed))[0].body == b"hello"
    assert get(reply(200, b""))[0].body == b""


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
)
def test_server_that_trickles_is_left(
    head: bytes, piece: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_http, "BODY_SECONDS", 0.5)
    with refused("timeout"):
        get(trickle(head, piece))


def test_server_that_says_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch, waited: list[float]
) -> None:
    monkeypatch.setattr(_http, "READ_SECONDS", 0.2)
    for head in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"):

        def silent(connection: object, _: object, head: bytes = head) -> None:
            raw(head)(connection, _)  # type: ignore[arg-type]
            connection.recv(1)  # type: ignore[attr-defined]

        with refused("timeout", "service-unreachable"):
            get(silent)


def test_nobody_there_is_unreachable(waited: list[float]) -> None:
    with refused("service-unreachable") as reasons:
        Http().get(f"http://127.0.0.1:{closed_port()}/")
    assert reasons[0].retryable
    with refused("service-unreachable"):
        Http().get("https://does-not-exist.invalid/")


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[str]:
    """The address of a TLS server whose certificate nobody vouches for."""
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError), context.wrap_socket(connection, server_side=True):
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield "https://127.0.0.1:%d" % listener.getsockname()[1]  # noqa: UP031
    end(listener, thread)


def test_certificate_that_nobody_vouches_for_is_named_whole(
    stranger: str, waited: list[float]
) -> None:
    with refused("service-unreachable") as reasons:
        Http().get(f"{stranger}/")
    assert "certificate verify failed: self" in reasons[0].text
    assert "--ca-file" in reasons[0].hint
    credential = ApiKey(SecretBytes(b"x"))
    iam = IamTokens(credential, url=ServiceUrl.parse(stranger), ca_file=None, trusted=())
    with refused("service-unreachable") as reasons:
        iam.authorization("us.icr.io")
    assert "certificate verify failed: self" in reasons[0].text
    assert "--ca-file" in reasons[0].hint


def test_answer_larger_than_agreed_is_refused() -> None:
    body = b"x" * 100_000
    endless = trickle(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"x" * 65536)
    packed = gzip.compress(b"\0" * 5_000_000)
    bomb = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    for script in (reply(200, body), endless, raw(bomb + packed)):
        with refused("answer-too-large"):
            get(script, max_bytes=99_999)
    assert get(reply(200, body), max_bytes=100_000)[0].body == body


# --- Redirects ------------------------------------------------------------------------------------


def redirecting(location: str, status: int = 302) -> Script:
    return reply(status, Location=location)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_within_one_origin_keeps_the_credential(status: int) -> None:
    with Server([redirecting("/y", status), reply(200, b"there")]) as server:
        assert Http().request("GET", server.url + "/x", headers=SECRET).body == b"there"
        assert [request.path for request in server.requests] == ["/x", "/y"]
        assert server.requests[1].headers["authorization"] == SECRET["Authorization"]


def test_redirect_to_another_origin_is_refused_before_anything_is_sent() -> None:
    with Server([reply(200)]) as other, Server([redirecting(other.url + "/y")]) as server:
        with refused("redirect-refused"):
            Http().request("GET", server.url, headers=SECRET)
        assert other.requests == []


def test_redirect_abroad_carries_no_header_of_ours() -> None:
    headers = {**SECRET, "X-Token": "secret", "Cookie": "a=b"}
    with Server([reply(200, b"blob")]) as other, Server([redirecting(other.url)]) as server:
        answer = Http().request("GET", server.url, headers=headers, follow_abroad=True)
        assert answer.body == b"blob"
        for name in ("authorization", "x-token", "cookie", "referer"):
            assert name not in other.requests[0].headers


def test_credential_does_not_come_back_with_a_second_redirect() -> None:
    with Server([]) as home, Server([redirecting(home.url + "/again")]) as other:
        home.scripts = [redirecting(other.url), reply(200, b"end")]
        answer = Http().request("GET", home.url, headers=SECRET, follow_abroad=True)
        assert answer.body == b"end"
        assert "authorization" not in home.requests[1].headers


def test_cookie_of_one_answer_is_not_sent_with_the_next_request() -> None:
    with Server([reply(200, Set_Cookie="a=secret; Path=/"), reply(200)]) as server:
        http = Http()
        http.get(server.url)
        http.get(server.url)
        assert "cookie" not in server.requests[1].headers


@pytest.mark.parametrize(
    "location",
    [
        "http://example.com/x",
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "http://[::1",
        "http://user:password@127.0.0.1/x",
        "https://",
        "//",
        "http://127.0.0.1:99999/",
        "javascript:alert(1)",
    ],
)
@pytest.mark.parametrize("follow_abroad", [False, True])
def test_redirect_that_cannot_be_followed_is_refused(location: str, follow_abroad: bool) -> None:
    with Server([redirecting(location)]) as server, refused("redirect-refused"):
        Http().request("GET", server.url, headers=SECRET, follow_abroad=follow_abroad)


def test_redirects_in_a_circle_have_an_end() -> None:
    for location in ("/x", ""):
        with Server([redirecting(location)]) as server:
            with refused("redirect-refused"):
                Http().get(server.url + "/x")
            assert len(server.requests) < 10


def test_post_follows_no_redirect() -> None:
    with Server([redirecting("/y", 307)]) as server:
        assert Http().request("POST", server.url, body=b"key").status == 307
        assert len(server.requests) == 1


# --- The environment ------------------------------------------------------------------------------


def test_plain_http_to_another_machine_is_refused() -> None:
    with refused("insecure-address"):
        Http().get("http://example.com/")


def test_no_proxy_stands_between_us_and_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = f"http://127.0.0.1:{closed_port()}"
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    assert get(reply(200, b"direct"))[0].body == b"direct"


def test_proxy_is_used_for_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    with Server([reply(502)]) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.setattr(time, "sleep", lambda _: None)
        with refused("service-unreachable"):
            Http().get("https://does-not-exist.invalid/")
        assert proxy.requests[0].method == "CONNECT"


def test_netrc_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Server([reply(200)]) as server:
        Http().get(server.url)
        assert "authorization" not in server.requests[0].headers


def test_ca_bundles_of_the_environment_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, "/nonexistent/ca.pem")
    assert get(reply(200, b"fine"))[0].body == b"fine"


# --- What an answer becomes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "credential-rejected"),
        (403, "permission-denied"),
        (429, "rate-limited"),
        (302, "redirect-refused"),
        (500, "service-unreachable"),
        (599, "service-unreachable"),
        (404, "answer-malformed"),
        (418, "answer-malformed"),
    ],
)
def test_every_status_has_its_reason(status: int, code: str) -> None:
    assert Answer(status, {}, b"", "https://h").failure("said").code == code


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"{", b"[" * 100_000, b"9" * 5000])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with refused("answer-malformed") as reasons:
        Answer(200, {"content-type": "text/html\n"}, body, "https://h").json()
    assert reasons[0].text.isprintable()
