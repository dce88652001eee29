# SPDX-License-Identifier: Apache-2.0
"""The cluster, through kubectl: server-side apply under imgsec's own field manager.

Resources are named in full: OpenShift has a ClusterImagePolicy of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imgsec.adapters._process import Completed, Tools, proxy_variables, run
from imgsec.adapters.private_dir import PrivateDir
from imgsec.domain.kubernetes import is_ours
from imgsec.domain.report import Change
from imgsec.errors import ImgsecError
from imgsec.reasons import (
    CLUSTER_UNREACHABLE,
    FIELD_DROPPED,
    FOREIGN_OBJECT,
    PERMISSION_DENIED,
    POLICY_ENGINE_MISSING,
    Reason,
)

FIELD_MANAGER = "imgsec"
KUBECTL_SECONDS = 60.0
_RESOURCES = {
    "Secret": "secrets",
    "ClusterImagePolicy": "clusterimagepolicies.portieris.cloud.ibm.com",
    "ImagePolicy": "imagepolicies.portieris.cloud.ibm.com",
}
# What kubectl needs to find a cluster, from inside a pod too.
_PASSED_ON = ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "HOME")


def apply_argv(kubectl: Path, connection: list[str], *, dry_run: bool) -> list[str]:
    """Apply the object on standard input; fields that others own are never taken from them.

    kubectl's own validation is off: it needs the cluster's whole OpenAPI document, differs from
    version to version, and does not know what an older CRD drops. What the server gives back is
    compared with what it was sent instead.
    """
    return [
        *(str(kubectl), *connection, "apply", "--server-side", "--validate=false"),
        *(f"--field-manager={FIELD_MANAGER}", "--output=json", "-f", "-"),
        *(["--dry-run=server"] if dry_run else []),
    ]


class Kubectl:
    """Applies objects; see `imgsec.ports.ManifestSink`. dry_run: checked, and nothing stays."""

    def __init__(
        self,
        tools: Tools,
        directory: PrivateDir,
        *,
        kubeconfig: str | None,
        context: str | None,
        dry_run: bool,
    ) -> None:
        self._tools = tools
        self._connection = [
            *(["--kubeconfig", kubeconfig] if kubeconfig else []),
            *(["--context", context] if context else []),
            *("--request-timeout=30s", f"--cache-dir={directory.folder('kubectl')}"),
        ]
        self._dry_run = dry_run
        self._environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            **proxy_variables(),
        }

    def require_ready(self) -> None:
        """See `imgsec.ports.ManifestSink`. The cluster itself is asked when there is something."""
        self._tools.find("kubectl")

    def publish(self, document: dict[str, Any]) -> Change:
        """A dry run on the server first, then for good.

        Raises `ImgsecError` (foreign-object, field-dropped, cluster-unreachable,
        permission-denied, policy-engine-missing).
        """
        metadata = document["metadata"]
        place = ["--namespace", metadata["namespace"]] if "namespace" in metadata else []
        resource = f"{_RESOURCES[document['kind']]}/{metadata['name']}"
        target = "/".join(filter(None, [metadata.get("namespace"), resource]))
        kubectl = self._tools.find("kubectl")
        before = self._object(
            [
                *(str(kubectl), *self._connection, "get", *place, resource),
                *("--ignore-not-found", "--output=json"),
            ]
        )
        if before and not is_ours(before):
            raise ImgsecError(FOREIGN_OBJECT(f"{target} exists and was not made by imgsec"))
        content = json.dumps(document)
        after = self._object(apply_argv(kubectl, self._connection, dry_run=True), content)
        if lost := list(_lost(document, after, "")):
            raise ImgsecError(
                FIELD_DROPPED(f"the cluster would drop {', '.join(lost)} of {target}")
            )
        if not self._dry_run:
            after = self._object(apply_argv(kubectl, self._connection, dry_run=False), content)
        if not before:
            return Change(target, "created")
        return Change(target, "unchanged" if _content(before) == _content(after) else "updated")

    def _object(self, argv: list[str], stdin: str = "") -> dict[str, Any]:
        completed = run(
            argv, environment=self._environment, timeout=KUBECTL_SECONDS, stdin=stdin.encode()
        )
        if completed.exit_code != 0:
            raise ImgsecError(_failure(completed))
        if not completed.stdout.strip():
            return {}
        try:
            document = json.loads(completed.stdout)
        except ValueError:
            raise ImgsecError(CLUSTER_UNREACHABLE("kubectl printed no JSON")) from None
        return document if isinstance(document, dict) else {}


def _content(document: dict[str, Any]) -> dict[str, Any]:
    """The part of an object that is ours to say; the rest changes with every write."""
    parts = {key: value for key, value in document.items() if key not in ("metadata", "status")}
    return {**parts, "labels": (document.get("metadata") or {}).get("labels")}


def _lost(sent: Any, kept: Any, where: str) -> Iterator[str]:
    """The paths of what was sent and is not in what the server would keep."""
    if isinstance(sent, dict):
        for key, value in sent.items():
            found = kept.get(key, _NOTHING) if isinstance(kept, dict) else _NOTHING
            yield from _lost(value, found, f"{where}.{key}" if where else key)
    elif isinstance(sent, list):
        for index, value in enumerate(sent):
            found = kept[index] if isinstance(kept, list) and index < len(kept) else _NOTHING
            yield from _lost(value, found, f"{where}[{index}]")
    elif sent != kept:
        yield where


_NOTHING = object()
# kubectl's words for a kind that the cluster does not have, on get and on apply.
_UNKNOWN_KIND = ("doesn't have a resource type", "no matches for kind")


def _failure(completed: Completed) -> Reason:
    if any(words in completed.message for words in _UNKNOWN_KIND):
        return POLICY_ENGINE_MISSING(f"the cluster has no such kind: {completed.message}")
    if "forbidden" in completed.message.lower():
        return PERMISSION_DENIED(f"the cluster refused: {completed.message}")
    if "conflict with" in completed.message:
        return FOREIGN_OBJECT(f"others own fields of it: {completed.message}")
    return CLUSTER_UNREACHABLE(f"kubectl ended with {completed.exit_code}: {completed.message}")
