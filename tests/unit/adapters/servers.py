# SPDX-License-Identifier: Apache-2.0
"""A server on loopback that answers what a test tells it to, byte for byte."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

REASONABLE_SECONDS = 20.0


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Script = Callable[[socket.socket, Request], None]


def raw(*pieces: bytes) -> Script:
    """Send these bytes and close."""

    def answer(connection: socket.socket, _: Request) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return answer


def reply(status: int, body: bytes | object = b"", **headers: str) -> Script:
    """A whole answer; an object goes out as JSON, a name's _ as -."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(content)}", "Connection: close"]
    kind = "text/plain" if isinstance(body, bytes) else "application/json"
    fields = {"Content-Type": kind} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return raw("\r\n".join([*lines, "", ""]).encode() + content)


def trickle(head: bytes, piece: bytes) -> Script:
    """Send the head, and then pieces until the client goes away."""

    def answer(connection: socket.socket, _: Request) -> None:
        connection.sendall(head)
        pause = threading.Event()
        with suppress(OSError):
            for _i in range(400):
                connection.sendall(piece)
                pause.wait(0.05)

    return answer


def files(bodies: Mapping[str, bytes]) -> Script:
    """Bodies by path; 404 for any other."""

    def answer(connection: socket.socket, request: Request) -> None:
        body = bodies.get(request.path)
        script = reply(404) if body is None else reply(200, body)
        script(connection, request)

    return answer


@dataclass
class Server:
    """Answers the first request by the first script, and so on; the last one stays."""

    scripts: list[Script]
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        end(self._listener, self._thread)

    @property
    def authority(self) -> str:
        return "127.0.0.1:%d" % self._listener.getsockname()[1]  # noqa: UP031

    @property
    def url(self) -> str:
        return f"http://{self.authority}"

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(REASONABLE_SECONDS)
        with connection, suppress(OSError):
            request = _read(connection)
            if request is None:
                return
            self.requests.append(request)
            script = self.scripts[min(len(self.requests), len(self.scripts)) - 1]
            script(connection, request)
            connection.shutdown(socket.SHUT_WR)


def _read(connection: socket.socket) -> Request | None:
    content = b""
    while b"\r\n\r\n" not in content:
        piece = connection.recv(65536)
        if not piece:
            return None
        content += piece
    head, _, body = content.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    method, path, _ = first.split(" ")
    return Request(method, path, headers, body)


def end(listener: socket.socket, accepting: threading.Thread) -> None:
    """Close a listener for which a thread waits.

    Closing alone would leave the thread in its system call, which a kernel that restarts it carries
    out on whatever socket has the number by then.
    """
    listener.shutdown(socket.SHUT_RDWR)
    accepting.join()
    listener.close()


def closed_port() -> int:
    """A port on loopback where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
