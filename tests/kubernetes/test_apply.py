# SPDX-License-Identifier: Apache-2.0
"""``publish-policy --apply`` with the real kubectl, against an API server of our own.

No Kubernetes API server can be had as a package, so the server is a fake that answers as one does:
discovery, GET, server-side apply, dry run, 403, and the silent dropping of fields that a CRD lacks.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

GROUP = "/apis/portieris.cloud.ibm.com/v1"
POLICY = f"{GROUP}/clusterimagepolicies/imgsec-signed-images"
VERBS = ["get", "patch", "create"]
DISCOVERY: dict[str, Any] = {
    "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [
            {
                "name": "portieris.cloud.ibm.com",
                "versions": [{"groupVersion": GROUP[6:], "version": "v1"}],
                "preferredVersion": {"groupVersion": GROUP[6:], "version": "v1"},
            }
        ],
    },
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
    GROUP: {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": GROUP[6:],
        "resources": [
            {
                "name": name,
                "singularName": kind.lower(),
                "namespaced": namespaced,
                "kind": kind,
                "verbs": VERBS,
            }
            for name, kind, namespaced in (
                ("clusterimagepolicies", "ClusterImagePolicy", False),
                ("imagepolicies", "ImagePolicy", True),
            )
        ],
    },
}


def message(*fields: tuple[int, str | bytes]) -> bytes:
    """A protobuf message of texts and messages (all short enough for the length used here)."""
    encoded = b""
    for number, value in fields:
        content = value.encode() if isinstance(value, str) else value
        size = len(content)
        length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
        encoded += bytes([number << 3 | 2]) + length + content
    return encoded


def openapi() -> bytes:
    """The OpenAPI document (gnostic `openapiv2.proto`), as far as kubectl 1.20 asks for it.

    It makes a dry run only where the kind's PATCH has a query parameter named dryRun.
    """
    parameter = message((1, message((2, message((3, message((4, "dryRun"))))))))
    paths = b""
    for name, kind in (
        ("clusterimagepolicies", "ClusterImagePolicy"),
        ("imagepolicies", "ImagePolicy"),
    ):
        meaning = f"group: portieris.cloud.ibm.com\nkind: {kind}\nversion: v1\n"
        extension = message((1, "x-kubernetes-group-version-kind"), (2, message((2, meaning))))
        operation = message((8, parameter), (13, extension))
        item = message((1, f"{GROUP}/{name}/{{name}}"), (2, message((8, operation))))
        paths += message((2, item))
    return message((1, "2.0"), (8, paths))


@dataclass
class Cluster:
    """What the fake server holds, and how it behaves."""

    objects: dict[str, Any] = field(default_factory=dict)
    applied: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)
    forbidden: bool = False
    drops: str | None = None
    address: str = ""


def status(code: int, reason: str) -> dict[str, Any]:
    text = f'clusterimagepolicies "x" is {reason.lower()}: no'
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
            "code": code, "message": text}  # fmt: skip


def without(document: Any, name: str) -> Any:
    if isinstance(document, dict):
        return {key: without(value, name) for key, value in document.items() if key != name}
    if isinstance(document, list):
        return [without(value, name) for value in document]
    return document


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    held = Cluster()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, code: int, document: dict[str, Any]) -> None:
            self._send(code, "application/json", json.dumps(document).encode())

        def _send(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            if path == "/openapi/v2":
                self._send(
                    200, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", openapi()
                )
            elif path in DISCOVERY:
                self._answer(200, DISCOVERY[path])
            elif held.forbidden:
                self._answer(403, status(403, "Forbidden"))
            elif path in held.objects:
                self._answer(200, held.objects[path])
            else:
                self._answer(404, status(404, "NotFound"))

        def do_PATCH(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            held.applied.append((self.headers["Content-Type"], query))
            if held.drops:
                document = without(document, held.drops)
            if "dryRun" not in query:
                held.objects[parts.path] = document
            self._answer(200, document)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    held.address = f"http://127.0.0.1:{server.server_address[1]}"
    yield held
    server.shutdown()
    server.server_close()


def apply(
    cluster: Cluster, tmp_path: Path, *arguments: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    config = tmp_path / "kubeconfig"
    config.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": cluster.address}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "imgsec", "publish-policy", "--apply"),
            *("--repository", "us.icr.io/team/*", "--kubeconfig", str(config)),
            *("--output", "json", *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done, json.loads(done.stdout)


def test_policy_is_applied_server_side_under_our_field_manager(
    cluster: Cluster, tmp_path: Path
) -> None:
    done, report = apply(cluster, tmp_path)
    assert done.returncode == 0, done.stderr
    assert report["changes"] == [
        {
            "target": "clusterimagepolicies.portieris.cloud.ibm.com/imgsec-signed-images",
            "state": "created",
        }
    ]
    assert [kind for kind, _ in cluster.applied] == ["application/apply-patch+yaml"] * 2
    assert ["dryRun" in query for _, query in cluster.applied] == [True, False]
    assert cluster.applied[1][1]["fieldManager"] == ["imgsec"]
    rules = cluster.objects[POLICY]["spec"]["repositories"]
    assert rules[0]["name"] == "us.icr.io/team/*"


def test_second_run_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    apply(cluster, tmp_path)
    _, report = apply(cluster, tmp_path)
    assert report["changes"][0]["state"] == "unchanged"
    _, report = apply(cluster, tmp_path, "--repository", "icr.io/team/*")
    assert report["changes"][0]["state"] == "updated"


def test_dry_run_keeps_nothing(cluster: Cluster, tmp_path: Path) -> None:
    done, report = apply(cluster, tmp_path, "--dry-run")
    assert done.returncode == 0
    assert "dry-run" in [note["code"] for note in report["notes"]]
    assert not cluster.objects


def test_namespaced_policy_goes_to_its_namespace(cluster: Cluster, tmp_path: Path) -> None:
    done, _ = apply(cluster, tmp_path, "--namespace", "team")
    assert done.returncode == 0, done.stderr
    assert list(cluster.objects) == [f"{GROUP}/namespaces/team/imagepolicies/imgsec-signed-images"]


def test_policy_of_somebody_else_is_left_alone(cluster: Cluster, tmp_path: Path) -> None:
    theirs = {
        "apiVersion": GROUP[6:],
        "kind": "ClusterImagePolicy",
        "metadata": {"name": "imgsec-signed-images"},
        "spec": {},
    }
    cluster.objects[POLICY] = theirs
    done, report = apply(cluster, tmp_path)
    assert (done.returncode, report["reasons"][0]["code"]) == (1, "foreign-object")
    assert cluster.objects[POLICY] is theirs
    assert not cluster.applied


def test_field_that_the_cluster_would_drop_stops_the_apply(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.drops = "keySecretNamespace"
    done, report = apply(cluster, tmp_path)
    assert (done.returncode, report["reasons"][0]["code"]) == (1, "field-dropped")
    assert "spec.repositories[0].policy.simple.requirements[0].keySecretNamespace" in done.stderr
    assert not cluster.objects


def test_missing_right_is_named(cluster: Cluster, tmp_path: Path) -> None:
    cluster.forbidden = True
    done, report = apply(cluster, tmp_path)
    assert (done.returncode, report["reasons"][0]["code"]) == (3, "permission-denied")


def test_cluster_that_is_away_is_undecided(cluster: Cluster, tmp_path: Path) -> None:
    cluster.address = "http://127.0.0.1:1"
    done, report = apply(cluster, tmp_path)
    assert (done.returncode, report["reasons"][0]["code"]) == (3, "cluster-unreachable")
    assert "Traceback" not in done.stderr
