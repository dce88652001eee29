# SPDX-License-Identifier: Apache-2.0
"""A public key from any HTTPS address, believed for its fingerprint and for nothing else."""

from __future__ import annotations

import base64
import http.server
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
import yaml

from tests.conftest import Bench, SigningKey

pytestmark = pytest.mark.once


@dataclass
class Store:
    """A web store: what it has by path, and what it redirects."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    headers: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture
def store(bench: Bench) -> Iterator[Store]:
    held, authority = Store(), trustme.CA()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            held.headers.append({name.lower(): value for name, value in self.headers.items()})
            if self.path in held.redirects:
                self.send_response(302)
                self.send_header("Location", held.redirects[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = held.files.get(self.path)
            self.send_response(404 if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    held.url = f"https://127.0.0.1:{server.server_address[1]}"
    bundle = bench.sandbox.folder.ca.read_bytes() + authority.cert_pem.bytes()
    (bench.folder / "bundle.pem").write_bytes(bundle)
    yield held
    server.shutdown()
    server.server_close()


@pytest.fixture
def public(key: SigningKey) -> bytes:
    """The armoured public key."""
    document = yaml.safe_load(
        (key.folder / "portieris-image-signing-public-key.secret.yaml").read_text()
    )
    return base64.b64decode(document["data"]["key"])


def words(bench: Bench, name: str, url: str, *more: str) -> tuple[str | Path, ...]:
    return ("verify-image", name, "--key", url, "--ca-file", bench.folder / "bundle.pem", *more)


def test_image_is_verified_with_a_key_from_the_web(
    bench: Bench, key: SigningKey, store: Store, public: bytes
) -> None:
    name, _ = bench.push(bench.repository())
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    store.files["/keys/release.asc"] = public
    store.redirects["/latest"] = "/keys/release.asc"
    pinned = ("--fingerprint", key.fingerprint)
    before = len(bench.log("kms"))
    for path in ("/keys/release.asc", "/latest"):
        done = bench.imgsec(*words(bench, name, store.url + path, *pinned)).expect(0)
        assert done.json["images"][0]["signature"]["signer"] == key.fingerprint
    assert len(bench.log("kms")) == before
    assert not any("authorization" in headers for headers in store.headers)


def test_key_from_the_web_is_not_believed_by_itself(
    bench: Bench, key: SigningKey, store: Store, public: bytes
) -> None:
    name, _ = bench.push(bench.repository())
    store.files |= {"/key": public, "/html": b"<html></html>", "/large": b"x" * 300_000}

    def refused(path: str, code: int, reason: str, fingerprint: str = key.fingerprint) -> None:
        more = ("--fingerprint", fingerprint) if fingerprint else ()
        bench.imgsec(*words(bench, name, store.url + path, *more)).expect(code, reason)

    refused("/key", 2, "invalid-option", "")
    check = ("keys", "check", "--key", f"{store.url}/key")
    ca = ("--ca-file", bench.folder / "bundle.pem")
    bench.imgsec(*check, *ca).expect(2, "invalid-option")
    bench.imgsec(*check, *ca, "--fingerprint", key.fingerprint).expect(0)
    refused("/key", 1, "key-fingerprint-mismatch", "AB" * 20)
    refused("/absent", 3, "key-not-found")
    refused("/html", 3, "key-malformed")
    refused("/large", 3, "answer-too-large")
    store.redirects["/down"] = "http://example.com/key"
    refused("/down", 3, "redirect-refused")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/key",
        "https://",
        "https://host",
        "https://user@host/key",
        "https://host/key?token=x",
        "https://host/key#x",
        "https://host/a b",
    ],
)
def test_what_is_no_address_for_a_key_is_refused(bench: Bench, url: str) -> None:
    given = ("verify-image", "us.icr.io/team/app:1", "--key", url, "--fingerprint", "AB" * 20)
    bench.imgsec(*given).expect(2, "invalid-key-location")


def test_secret_key_is_never_read_from_the_web(bench: Bench) -> None:
    given = ("sign-image", "us.icr.io/team/app:1", "--key", "https://host/key")
    bench.imgsec(*given).expect(2, "invalid-key-location")
