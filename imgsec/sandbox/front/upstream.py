# SPDX-License-Identifier: Apache-2.0
"""The streaming hop to a service behind a unix socket. Bytes pass through; nothing is gathered.

Keeps what registry clients depend on: repeated Accept headers, the Host header (upload locations
are built from it), the Content-Length of HEAD answers, the path exactly as it was written.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from imgsec.sandbox.asgi import Headers, Receive, Scope, Send
from imgsec.sandbox.service import TRANSPORT

# Hop-by-hop (RFC 9110, 7.6.1), and what a client must not tell the service behind us.
_NOT_FORWARDED = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade expect forwarded x-forwarded-for x-forwarded-host "
    b"x-forwarded-proto x-forwarded-port x-real-ip".split()
)
_NOT_RETURNED = _NOT_FORWARDED | {b"date", b"server"}

Rewrite = Callable[[bytes, Headers], tuple[bytes, Headers]]


class ClientGone(Exception):
    """The client left before its request was complete."""


class Upstream:
    """One service behind a unix socket."""

    def __init__(self, socket_path: Path) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(socket_path), limit=0),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        # A front repeats nothing on its own, and aiohttp has no public switch for that. Its own
        # connections are never too old: it drops them after 15 s, the services later or never.
        self._session._retry_connection = False

    async def close(self) -> None:
        """End all connections."""
        await self._session.close()

    async def status(self, method: str, path: str, headers: dict[str, str]) -> int:
        """The status of a small request of our own."""
        async with self._session.request(
            method, URL("http://sandbox" + path, encoded=True), headers=headers
        ) as response:
            await response.read()
            return response.status

    async def forward(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        keep_authorization: bool,
        rewrite: Rewrite | None = None,
    ) -> int:
        """Pass the request on and the answer back. Gives the status.

        Raises `ClientGone`, and OSError or `aiohttp.ClientError` when the service fails before
        the answer began. REWRITE gets a whole answer and may change it: for manifests only.
        """
        path = scope["raw_path"].decode("latin-1")
        if query := scope["query_string"]:
            path += "?" + query.decode("latin-1")
        dropped = set(_NOT_FORWARDED)
        if not keep_authorization:
            dropped.add(b"authorization")
        if any(name == b"transfer-encoding" for name, _ in scope["headers"]):
            dropped.add(b"content-length")  # RFC 9112, 6.3: the other one counts
        headers = CIMultiDict(
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in scope["headers"]
            if name not in dropped
        )
        headers["X-Forwarded-Proto"] = "https"
        async with self._session.request(
            scope["method"],
            URL("http://sandbox" + path, encoded=True),
            headers=headers,
            data=_body(receive) if _has_body(scope) else None,
            allow_redirects=False,
        ) as response:
            kept = [
                (name.lower(), value)
                for name, value in response.raw_headers
                if name.lower() not in _NOT_RETURNED
            ]
            if rewrite is not None:
                body, kept = rewrite(await response.read(), kept)
                await send(
                    {"type": "http.response.start", "status": response.status, "headers": kept}
                )
                await send({"type": "http.response.body", "body": body})
                return response.status
            await send({"type": "http.response.start", "status": response.status, "headers": kept})
            transport = scope[TRANSPORT]
            async for chunk in response.content.iter_any():
                if transport.is_closing():
                    raise ClientGone
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return response.status


def lie_about_digest(body: bytes, headers: Headers) -> tuple[bytes, Headers]:
    """Name the digest of other bytes."""
    other = b"sha256:" + hashlib.sha256(body + b"\n").hexdigest().encode()
    return body, [
        (name, other if name in (b"docker-content-digest", b"etag") else value)
        for name, value in headers
    ]


def lie_about_bytes(body: bytes, headers: Headers) -> tuple[bytes, Headers]:
    """Hand out a manifest of the same meaning and other bytes, under the digest asked for."""
    if not body:
        return body, headers
    other = body + b"\n"
    return other, [
        (name, str(len(other)).encode() if name == b"content-length" else value)
        for name, value in headers
    ]


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        if chunk := message.get("body", b""):
            yield chunk
        if not message.get("more_body", False):
            return
