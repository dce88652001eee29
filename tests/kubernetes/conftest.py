# SPDX-License-Identifier: Apache-2.0
"""An API server of our own for the real kubectl.

No Kubernetes API server can be had as a package, so the server is a fake that answers as one does:
discovery, GET, lists, server-side apply, dry run, 403, and the silent dropping of fields that a CRD
lacks.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

GROUP = "/apis/portieris.cloud.ibm.com/v1"
POLICY = f"{GROUP}/clusterimagepolicies/imgsec-signed-images"
KEY_SECRET = "portieris-image-signing-public-key"
PUBLIC_KEY = Path(__file__).parents[1] / "corpus/cases/match-repository-bare/key.asc"
VERBS = ["get", "list", "patch", "create", "delete"]
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
CORE_KINDS = (("secrets", "Secret"), ("pods", "Pod"), ("serviceaccounts", "ServiceAccount"))
DISCOVERY["/api/v1"]["resources"] = [
    {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": VERBS}
    for name, kind in CORE_KINDS
]
DISCOVERY["/api/v1"]["resources"].append(
    {"name": "namespaces", "singularName": "", "namespaced": False, "kind": "Namespace",
     "verbs": VERBS}
)  # fmt: skip
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1"
APPS = "/apis/apps/v1"
BATCH = "/apis/batch/v1"
for _path, _kinds in (
    (WEBHOOKS, ("MutatingWebhookConfiguration",)),
    (APPS, ("Deployment", "StatefulSet", "DaemonSet")),
    (BATCH, ("CronJob",)),
):
    _versions = [{"groupVersion": _path[6:], "version": "v1"}]
    DISCOVERY["/apis"]["groups"].append(
        {"name": _path[6:-3], "versions": _versions, "preferredVersion": _versions[0]}
    )
    DISCOVERY[_path] = {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": _path[6:],
        "resources": [
            {
                "name": f"{_kind.lower()}s",
                "singularName": _kind.lower(),
                "namespaced": _path != WEBHOOKS,
                "kind": _kind,
                "verbs": VERBS,
            }
            for _kind in _kinds
        ],
    }
RBAC = "/apis/rbac.authorization.k8s.io/v1"
DISCOVERY["/apis"]["groups"].append(
    {
        "name": "rbac.authorization.k8s.io",
        "versions": [{"groupVersion": RBAC[6:], "version": "v1"}],
        "preferredVersion": {"groupVersion": RBAC[6:], "version": "v1"},
    }
)
DISCOVERY[RBAC] = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": RBAC[6:],
    "resources": [
        {
            "name": f"{kind.lower()}s",
            "singularName": kind.lower(),
            "namespaced": not kind.startswith("Cluster"),
            "kind": kind,
            "verbs": VERBS,
        }
        for kind in ("RoleBinding", "Role", "ClusterRole", "ClusterRoleBinding")
    ],
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
    for base, group, name, kind in (
        (GROUP, "portieris.cloud.ibm.com", "clusterimagepolicies", "ClusterImagePolicy"),
        (GROUP, "portieris.cloud.ibm.com", "imagepolicies", "ImagePolicy"),
        ("/api/v1", '""', "secrets", "Secret"),
    ):
        meaning = f"group: {group}\nkind: {kind}\nversion: v1\n"
        extension = message((1, "x-kubernetes-group-version-kind"), (2, message((2, meaning))))
        operation = message((8, parameter), (13, extension))
        item = message((1, f"{base}/{name}/{{name}}"), (2, message((8, operation))))
        paths += message((2, item))
    return message((1, "2.0"), (8, paths))


@dataclass
class Cluster:
    """What the fake server holds, and how it behaves. standing: what was there already.

    hidden: resources that may not be listed. missing: namespaces that are not there. alters: what
    becomes of an object that is written, by whether it is a dry run. meanwhile: what somebody else
    does after the first dry run. owner: who has the fields.
    """

    standing: dict[str, Any] = field(default_factory=dict)
    objects: dict[str, Any] = field(default_factory=dict)
    applied: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)
    lists: dict[str, list[Any]] = field(default_factory=dict)
    forbidden: bool = False
    hidden: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    alters: Callable[[dict[str, Any], bool], dict[str, Any]] | None = None
    meanwhile: Callable[[], None] | None = None
    writes: int = 0
    owner: str = ""
    drops: str | None = None
    address: str = ""

    def listed(self, path: str) -> list[Any] | None:
        """What a list shows: what a test put there, else the policies that were applied."""
        if path in self.lists:
            return self.lists[path]
        group, _, plural = path.rpartition("/")
        if group == GROUP:
            return [one for name, one in self.objects.items() if f"/{plural}/" in name]
        empty = (
            *("pods", "deployments", "statefulsets", "daemonsets", "cronjobs"),
            "mutatingwebhookconfigurations",
        )
        return [] if plural in empty else None

    def publishes(
        self, armoured: str, name: str = KEY_SECRET, namespace: str = "portieris"
    ) -> None:
        """A Secret with public keys is there."""
        self.standing[f"/api/v1/namespaces/{namespace}/secrets/{name}"] = {
            **{"apiVersion": "v1", "kind": "Secret", "stringData": {"key": armoured}},
            "metadata": {"name": name, "namespace": namespace},
        }

    def secrets(self, label: str, value: str) -> list[Any]:
        """Those with this label, of all namespaces."""
        secrets = [one for path, one in self.objects.items() if "/secrets/" in path]
        return [one for one in secrets if one["metadata"].get("labels", {}).get(label) == value]


MODIFIED = (
    'Operation cannot be fulfilled on imagepolicies "x": the object has been modified; please apply'
    " your changes to the latest version and try again"
)


def no_namespace(name: str) -> dict[str, Any]:
    return status(404, "NotFound", f'namespaces "{name}" not found')


def status(code: int, reason: str, text: str = "") -> dict[str, Any]:
    text = text or f'clusterimagepolicies "x" is {reason.lower()}: no'
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
            elif held.forbidden or path.rpartition("/")[2] in held.hidden:
                self._answer(403, status(403, "Forbidden"))
            elif (items := held.listed(path)) is not None:
                kinds = (
                    "RoleBinding",
                    "Role",
                    "ClusterRole",
                    "ClusterRoleBinding",
                    "Pod",
                    "CronJob",
                )
                kind = {f"{one.lower()}s": f"{one}List" for one in kinds}
                word = kind.get(path.rpartition("/")[2], "List")
                version = path.split("/")[2] + "/" + path.split("/")[3] if "apis" in path else "v1"
                self._answer(200, {"kind": word, "apiVersion": version, "items": items})
            elif path in held.objects or path in held.standing:
                self._answer(200, held.objects.get(path) or held.standing[path])
            elif path == "/api/v1/secrets":
                (selector,) = parse_qs(urlsplit(self.path).query)["labelSelector"]
                found = held.secrets(*selector.split("="))
                self._answer(200, {"kind": "SecretList", "apiVersion": "v1", "items": found})
            else:
                self._answer(404, status(404, "NotFound"))

        def do_PATCH(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            held.applied.append((self.headers["Content-Type"], query))
            namespace = document["metadata"].get("namespace")
            if namespace in held.missing:
                self._answer(404, no_namespace(namespace))
                return
            if held.owner and query.get("force") != ["true"]:
                text = f'Apply failed with 1 conflict: conflict with "{held.owner}": .spec'
                self._answer(409, status(409, "Conflict", text))
                return
            version = held.objects.get(parts.path, {}).get("metadata", {}).get("resourceVersion")
            if document["metadata"].pop("resourceVersion", version) != version:
                self._answer(409, status(409, "Conflict", MODIFIED))
                return
            if held.drops:
                document = without(document, held.drops)
            if held.alters:
                document = held.alters(document, "dryRun" in query)
            if "dryRun" not in query:
                held.writes += 1
                document["metadata"]["resourceVersion"] = str(held.writes)
                held.objects[parts.path] = document
            elif held.meanwhile:
                held.meanwhile, happens = None, held.meanwhile
                happens()
            self._answer(200, document)

        def do_DELETE(self) -> None:
            parts = urlsplit(self.path)
            if parts.path not in held.objects:
                self._answer(404, status(404, "NotFound"))
                return
            options = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            dry_run = b"dryRun" in options or "dryRun" in parse_qs(parts.query)
            gone = held.objects[parts.path] if dry_run else held.objects.pop(parts.path)
            self._answer(200, gone)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    held.address = f"http://127.0.0.1:{server.server_address[1]}"
    yield held
    server.shutdown()
    server.server_close()


@pytest.fixture
def kubeconfig(cluster: Cluster, tmp_path: Path) -> Path:
    """A kubectl configuration for the fake server; made when it is asked for."""
    return write_kubeconfig(cluster, tmp_path)


def write_kubeconfig(cluster: Cluster, folder: Path) -> Path:
    config = folder / "kubeconfig"
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
    return config
