# SPDX-License-Identifier: Apache-2.0
"""Serves the corpus: each case as a registry with a lookaside store, lies and failures included.

A real registry would refuse to keep half of it. ``/v2/CASE/REPOSITORY/...`` is the case's registry,
``/lookaside/CASE`` its store; started with ``extension`` the registry keeps the signatures itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CASES = Path(__file__).parent / "cases"
_PATHS = re.compile(
    r"/(?P<kind>v2|lookaside|extensions/v2)/(?P<case>[^/]+)/(?P<repository>.+?)"
    r"(?:/(?P<what>manifests|blobs|signatures)/(?P<name>[^/]+)"
    r"|@sha256=(?P<hex>[0-9a-f]+)/signature-(?P<number>[0-9]+))"
)
_PAGE = b"<html>Welcome</html>"
Answer = tuple[int, bytes, str]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        status, body, kind = self._answer()
        cut = status == 206
        self.send_response(200 if cut else status)
        if self.server.extension:
            self.send_header("X-Registry-Supports-Signatures", "1")
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) + 100 * cut))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
        if cut:
            self.close_connection = True

    do_HEAD = do_GET  # noqa: N815 - the name that the base class wants

    def _answer(self) -> Answer:
        if self.path == "/v2/":
            return 200, b"{}", "application/json"
        found = _PATHS.fullmatch(self.path)
        folder = CASES / found["case"] if found else CASES
        if found is None or not (folder / "case.json").is_file():
            return 404, b"{}", "application/json"
        served = json.loads((folder / "case.json").read_text()).get("served", {})
        if found["what"] == "manifests":
            return _manifest(folder, found["name"], served)
        if found["what"] == "blobs":
            content = (CASES / "blobs" / found["name"].removeprefix("sha256:")).read_bytes()
            return 200, content, "application/octet-stream"
        if found["what"] == "signatures":
            return 200, _listed(folder, found["name"]), "application/json"
        return _signature(folder, found["hex"], int(found["number"]), served)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests say what they need."""


def _manifest(folder: Path, name: str, served: dict[str, Any]) -> Answer:
    path = folder / f"{name.removeprefix('sha256:')}.manifest.json"
    content = (path if path.exists() else folder / "manifest.json").read_bytes()
    document = json.loads(content)
    usual = "index" if "manifests" in document else "manifest"
    kind = document.get("mediaType", f"application/vnd.oci.image.{usual}.v1+json")
    return 200, content, served.get("content-type", kind)


def _signature(folder: Path, digest: str, number: int, served: dict[str, Any]) -> Answer:
    content = _path(folder, digest, number)
    binary = "application/octet-stream"
    if (status := served.get("signatures")) is not None:
        return status, b"", "text/plain"
    if served.get("page"):
        return 200, _PAGE, "text/html"
    if not content.exists():
        return 404, b"", "text/plain"
    if served.get("cut"):
        return 206, content.read_bytes()[:100], binary
    return 200, content.read_bytes() + bytes(served.get("padding", 0)), binary


def _listed(folder: Path, digest: str) -> bytes:
    found: list[dict[str, Any]] = []
    hexadecimal = digest.removeprefix("sha256:")
    while (path := _path(folder, hexadecimal, len(found) + 1)).exists():
        content = base64.b64encode(path.read_bytes()).decode()
        name = f"{digest}@{len(found):032x}"
        found.append({"schemaVersion": 2, "type": "atomic", "name": name, "content": content})
    return json.dumps({"signatures": found}).encode()


def _path(folder: Path, digest: str, number: int) -> Path:
    top = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    return folder / (f"signature-{number}" if digest == top else f"{digest}.signature-{number}")


def configure(folder: Path, host: str, case: str, registry: str) -> list[str]:
    """Write what leads a containers tool to a case, for its ``registry``; the two places of it."""
    conf, places = folder / "registries.conf", folder / "registries.d"
    conf.write_text(
        f'[[registry]]\nprefix = "{registry}"\nlocation = "{host}/{case}"\ninsecure = true\n'
    )
    places.mkdir()
    store = {"default-docker": {"lookaside": f"http://{host}/lookaside/{case}"}}
    (places / "default.yaml").write_text(json.dumps(store))
    return [str(conf), str(places)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    extension = False


@contextmanager
def served(*, extension: bool) -> Iterator[str]:
    """``127.0.0.1:PORT`` of a server for the length of the block."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.extension = extension
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
