# SPDX-License-Identifier: Apache-2.0
"""The life of a child process: wait for the word, serve, end when told or orphaned.

The supervisor opens every listening socket and hands it down, so a client that connects early
waits instead of being refused, and a port cannot be lost between choosing and serving. Each child
holds the reading end of a pipe as its standard input: one line ``go`` starts it, the end of the
pipe means that the supervisor is gone, and then the child goes too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from imgsec.sandbox.asgi import App
from imgsec.sandbox.folder import StateFolder
from imgsec.sandbox.service import TRANSPORT

_GRACE = 1  # seconds that requests in flight get at the end


@dataclass(frozen=True, slots=True)
class Listener:
    """An application and the open socket that it answers on; TLS if CERTIFICATE is given."""

    descriptor: int
    app: App
    certificate: Path | None


class _Protocol(HttpToolsProtocol):
    """Tells the application its transport, so that a fault can close it without an answer."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)[TRANSPORT] = self.transport


class _Server(uvicorn.Server):
    """Several of these run in one loop, so none of them may own the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def wait_for_go(folder: StateFolder) -> None:
    """Block until the supervisor says go; from then on, end with it."""
    if os.read(0, 3) != b"go\n":
        raise SystemExit(1)

    def watch() -> None:
        os.read(0, 1)  # not sys.stdin: its lock would disturb the interpreter's end
        folder.clear_runtime()
        os._exit(1)

    threading.Thread(target=watch, name="orphan watch", daemon=True).start()


def tell_ready() -> None:
    """Let the supervisor know that requests are answered."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


async def serve(listeners: Sequence[Listener]) -> None:
    """Answer on all LISTENERS until SIGTERM."""
    servers = [(_server(item), _socket(item.descriptor)) for item in listeners]

    def stop() -> None:
        for server, _ in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    tasks = [asyncio.create_task(server.serve(sockets=[sock])) for server, sock in servers]
    while not all(server.started for server, _ in servers):
        if any(task.done() for task in tasks):
            break
        await asyncio.sleep(0.002)
    else:
        tell_ready()
    await asyncio.gather(*tasks)


def _server(listener: Listener) -> _Server:
    return _Server(
        uvicorn.Config(
            listener.app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_GRACE,
            ssl_certfile=listener.certificate,
        )
    )


def _socket(descriptor: int) -> socket.socket:
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(False)
    return sock
