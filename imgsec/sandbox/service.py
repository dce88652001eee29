# SPDX-License-Identifier: Apache-2.0
"""What surrounds every service of the sandbox: health, fault switches, access log.

Wraps one ASGI application. What a service answers when it works is its own business.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from imgsec.sandbox.asgi import App, Headers, Message, Receive, Scope, Send, answer, header
from imgsec.sandbox.faults import FaultRule, FaultSwitches
from imgsec.sandbox.folder import StateFolder
from imgsec.sandbox.probe import HEALTH_PATH

TRANSPORT = "sandbox.transport"  # put into the scope by `serving`
NOTES = "sandbox.notes"  # what a service wants in its access log
EXPIRED = "sandbox.expired"  # set by the fault `expired-token`; services that know tokens obey

_LOGIN_PAGE = b"<!DOCTYPE html><html><head><title>Log in</title></head><body><form>Log in</form></body></html>"  # noqa: E501
_BROKEN_OFF = b'{"metadata":{"collectionType":"application/vnd.ibm'

ErrorBody = Callable[[Scope, int], tuple[bytes, Headers]]


class ConnectionDropped(Exception):
    """Ends a request whose connection a fault has closed."""


class Service:
    """One service: `app`, and what may happen to a request before and after it."""

    def __init__(
        self, name: str, app: App, folder: StateFolder, error_body: ErrorBody, sandbox_id: str
    ) -> None:
        self._app = app
        self._error_body = error_body
        self._switches = FaultSwitches(folder.faults, name)
        self._log = AccessLog(folder, name)
        self._id = sandbox_id.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == HEALTH_PATH:
            await answer(send, 200, self._id)
            return
        scope[NOTES] = {}
        fault = self._switches.choose(scope["method"], scope["path"])
        status = 0
        is_noted = False
        missing: int | None = None  # bytes of the answer's body; None: only its end tells

        async def noting(message: Message) -> None:
            nonlocal status, is_noted, missing
            if message["type"] == "http.response.start":
                status = message["status"]
                missing = _body_length(scope["method"], status, message.get("headers", ()))
                is_last = missing == 0
            else:
                if missing is not None:
                    missing -= len(message.get("body", b""))
                is_last = not message.get("more_body") or (missing is not None and missing <= 0)
            if is_last and not is_noted:
                is_noted = True  # first: who has the whole answer finds its line in the log
                self._log.write(scope, status, fault)
            await send(message)

        try:
            if fault is None:
                await self._app(scope, receive, noting)
            else:
                await self._misbehave(fault, scope, receive, noting)
        except ConnectionDropped:
            pass
        finally:
            if not is_noted:
                self._log.write(scope, status, fault)

    async def _misbehave(
        self, fault: FaultRule, scope: Scope, receive: Receive, send: Send
    ) -> None:
        act = _ACTS.get(fault.kind)
        if act is not None:
            await act(self, fault, scope, receive, send)
        else:  # a lie of the service itself; it looks for the word
            scope[fault.kind] = True
            await self._app(scope, receive, send)

    async def fail(self, scope: Scope, send: Send, status: int, extra: Headers) -> None:
        """Answer an error in the service's own words."""
        body, headers = self._error_body(scope, status)
        await answer(send, status, body, [*headers, *extra])

    async def work(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the service do its work."""
        await self._app(scope, receive, send)


def _body_length(method: str, status: int, headers: Headers) -> int | None:
    """How many bytes of a body the client waits for, as far as the head of the answer tells."""
    if method == "HEAD" or status in (204, 304):
        return 0
    lengths = [value for name, value in headers if name.lower() == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() else None


# --- What each fault does ---------------------------------------------------------------------


async def _status(
    service: Service, fault: FaultRule, scope: Scope, _receive: Receive, send: Send
) -> None:
    status = int(fault.kind.removeprefix("signatures-"))
    patience = [(b"retry-after", str(fault.retry_after).encode())] if status == 429 else []
    await service.fail(scope, send, status, patience)


async def _status_after(
    service: Service, _fault: FaultRule, scope: Scope, receive: Receive, send: Send
) -> None:
    async def swallow(_message: Message) -> None:
        pass

    await service.work(scope, receive, swallow)
    await service.fail(scope, send, 500, [])


async def _slow(
    service: Service, fault: FaultRule, scope: Scope, receive: Receive, send: Send
) -> None:
    await asyncio.sleep(fault.delay)
    await service.work(scope, receive, send)


async def _hang(
    _service: Service, _fault: FaultRule, scope: Scope, receive: Receive, _send: Send
) -> None:
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    finally:  # also when the sandbox ends, and the server with an answer of its own
        scope[TRANSPORT].abort()
    raise ConnectionDropped


async def _cut(
    service: Service, _fault: FaultRule, scope: Scope, receive: Receive, send: Send
) -> None:
    start: Message | None = None

    async def half(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            return
        body = bytes(message.get("body", b""))
        if start is not None and body:
            await send(start)
            await send({**message, "body": body[: len(body) // 2], "more_body": True})
        await hang_up(scope, receive)

    await service.work(scope, receive, half)


async def _refuse(
    _service: Service, _fault: FaultRule, scope: Scope, receive: Receive, _send: Send
) -> None:
    await hang_up(scope, receive)


async def _malformed(
    _service: Service, _fault: FaultRule, _scope: Scope, _receive: Receive, send: Send
) -> None:
    await answer(send, 200, _BROKEN_OFF, [(b"content-type", b"application/json")])


async def _html(
    _service: Service, _fault: FaultRule, _scope: Scope, _receive: Receive, send: Send
) -> None:
    await answer(send, 200, _LOGIN_PAGE, [(b"content-type", b"text/html; charset=utf-8")])


async def _expired(
    service: Service, _fault: FaultRule, scope: Scope, receive: Receive, send: Send
) -> None:
    scope[EXPIRED] = True
    await service.work(scope, receive, send)


async def hang_up(scope: Scope, receive: Receive) -> None:
    """Close the connection, and wait until the server has seen that it is closed."""
    scope[TRANSPORT].close()
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ConnectionDropped


_Act = Callable[[Service, FaultRule, Scope, Receive, Send], Awaitable[None]]
_ACTS: dict[str, _Act] = {
    "429": _status,
    "500": _status,
    "503": _status,
    "500-after": _status_after,
    "slow": _slow,
    "hang": _hang,
    "cut": _cut,
    "refuse": _refuse,
    "malformed": _malformed,
    "html": _html,
    "expired-token": _expired,
    "signatures-500": _status,
    "signatures-403": _status,
}


# --- The access log ---------------------------------------------------------------------------


class AccessLog:
    """One JSON line per request: what was asked and answered, never a body and never a token."""

    def __init__(self, folder: StateFolder, service: str) -> None:
        self._file = os.open(
            folder.access_log(service), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )

    def write(self, scope: Scope, status: int, fault: FaultRule | None) -> None:
        """Note one request; STATUS 0 means that it got no answer."""
        entry: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "method": scope["method"],
            "path": scope["raw_path"].decode("latin-1"),
            "query": scope["query_string"].decode("latin-1"),
            "status": status,
            **scope[NOTES],
        }
        if fault is not None:
            entry["fault"] = fault.kind
        for name in ("correlation-id", "user-agent", "account"):
            if (value := header(scope, name.encode())) is not None:
                entry[name] = value[:200]
        try:
            os.write(self._file, json.dumps(entry).encode() + b"\n")
        except OSError as error:
            print(f"access log: {error}", file=sys.stderr)
