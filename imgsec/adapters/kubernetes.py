# SPDX-License-Identifier: Apache-2.0
"""The cluster, through kubectl: server-side apply under imgsec's own field manager.

Resources are named in full: OpenShift has a ClusterImagePolicy of its own.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imgsec.adapters._process import Completed, Tools, proxy_variables, run
from imgsec.adapters.kubernetes_pods import MAKERS, pod_of, pods_template
from imgsec.adapters.private_dir import PrivateDir
from imgsec.domain.kubernetes import (
    MANAGED_BY,
    holds_public_key,
    is_ours,
    named_key_secrets,
)
from imgsec.domain.policy_history import with_history
from imgsec.domain.policy_rules import POLICY_KINDS
from imgsec.domain.report import Change
from imgsec.domain.workload import Workload
from imgsec.errors import ImgsecError
from imgsec.ports import ObjectId
from imgsec.reasons import (
    CLUSTER_UNREACHABLE,
    FIELD_DROPPED,
    FOREIGN_OBJECT,
    KEPT_OTHERWISE,
    NAMESPACE_MISSING,
    OBJECT_CHANGED,
    PERMISSION_DENIED,
    POLICY_ENGINE_MISSING,
    Reason,
)

FIELD_MANAGER = "imgsec"
KUBECTL_SECONDS = 60.0
_RESOURCES = {
    "Secret": "secrets",
    "ServiceAccount": "serviceaccounts",
    "Namespace": "namespaces",
    "ClusterImagePolicy": "clusterimagepolicies.portieris.cloud.ibm.com",
    "ImagePolicy": "imagepolicies.portieris.cloud.ibm.com",
}
# The roles that every cluster has and that may change Secrets, by Kubernetes's own default.
_SECRET_EDITORS = ("admin", "edit", "cluster-admin")
_ANY_RULES = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
_RBAC = "rbac.authorization.k8s.io"
_EVERYBODY = (
    *("Group system:authenticated", "Group system:unauthenticated"),
    "Group system:serviceaccounts",
)
_NOT_ENDED = "--field-selector=status.phase!=Succeeded,status.phase!=Failed"
_EACH = '{{range .spec.%s}}{{printf "%%s %%q\\n" $namespace .image}}{{end}}'
_IMAGES = (
    "go-template={{range .items}}{{$namespace := .metadata.namespace}}"
    + "".join(_EACH % name for name in ("initContainers", "containers"))
    + "{{end}}"
)
# What kubectl needs to find a cluster, from inside a pod too.
_PASSED_ON = ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "HOME")


def apply_argv(
    kubectl: Path, connection: list[str], *, dry_run: bool, force: bool = False
) -> list[str]:
    """Apply the object on standard input; fields that others own are taken only by force.

    kubectl's own validation is off: it needs the cluster's whole OpenAPI document, differs from
    version to version, and does not know what an older CRD drops. What the server gives back is
    compared with what it was sent instead.
    """
    return [
        *(str(kubectl), *connection, "apply", "--server-side", "--validate=false"),
        *(f"--field-manager={FIELD_MANAGER}", "--output=json", "-f", "-"),
        *(["--dry-run=server"] if dry_run else []),
        *(["--force-conflicts"] if force else []),
    ]


@dataclass(frozen=True, slots=True)
class _Write:
    """An object to be applied. before: as the cluster has it. force: take fields from others."""

    target: str
    document: dict[str, Any]
    before: dict[str, Any] | None
    force: bool

    @property
    def sent(self) -> dict[str, Any]:
        """A policy with the version that it was looked at in: the server refuses a later one."""
        version = ((self.before or {}).get("metadata") or {}).get("resourceVersion")
        if version is None or self.document["kind"] not in POLICY_KINDS:
            return self.document
        metadata = {**self.document["metadata"], "resourceVersion": version}
        return {**self.document, "metadata": metadata}


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
        self._rehearsed: dict[str, _Write] = {}
        self._environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            **proxy_variables(),
        }

    def require_ready(self, *names: ObjectId, adopt: bool = False) -> None:
        """See `imgsec.ports.ManifestSink`. The cluster itself is asked about objects only."""
        self._tools.find("kubectl")
        for one in names:
            held = self.fetch(one.kind, one.name, one.namespace)
            if held is not None and not is_ours(held) and not adopt:
                raise ImgsecError(_foreign(_target(one.kind, one.name, one.namespace)))

    def fetch(self, kind: str, name: str, namespace: str | None) -> dict[str, Any] | None:
        """See `imgsec.ports.ManifestSink`. Raises as `publish` does."""
        place = ["--namespace", namespace] if namespace else []
        words = (f"{_RESOURCES[kind]}/{name}", "--ignore-not-found", "--output=json")
        return self._object(self._argv("get", *place, *words)) or None

    def describe(self) -> str:
        """Which cluster this is. Raises as `publish` does."""
        completed = self._run(self._argv("version", "--output=json"))
        try:
            version = json.loads(completed.stdout)["serverVersion"]["gitVersion"]
        except (ValueError, KeyError, TypeError):
            raise ImgsecError(CLUSTER_UNREACHABLE("the cluster told no version")) from None
        return f"Kubernetes {version}, context {self._context_name()}"

    def _context_name(self) -> str:
        if "--context" in self._connection:
            return self._connection[self._connection.index("--context") + 1]
        try:
            completed = self._run(self._argv("config", "current-context"))
        except ImgsecError:  # in a pod there is none
            return "none"
        return completed.stdout.decode("utf-8", "replace").strip()

    def describe_policies(self) -> str:
        """How many cluster-wide policies Portieris has. Raises (policy-engine-missing)."""
        return f"{len(self._list(_RESOURCES['ClusterImagePolicy']))} ClusterImagePolicies"

    def list_policies(self, kind: str) -> tuple[dict[str, Any], ...]:
        """See `imgsec.ports.ClusterReader`."""
        try:
            return self._list(_RESOURCES[kind])
        except ImgsecError as error:
            if error.reason.code != POLICY_ENGINE_MISSING.code:
                raise
            return ()

    def list_made_policies(self) -> tuple[dict[str, Any], ...]:
        """See `imgsec.ports.PolicyKeeper`."""
        held = (one for kind in POLICY_KINDS for one in self.list_policies(kind))
        return tuple(one for one in held if is_ours(one))

    def list_key_secrets(self) -> tuple[dict[str, Any], ...]:
        """See `imgsec.ports.PublishedReader`."""
        ours = f"--selector={MANAGED_BY[0]}={MANAGED_BY[1]}"
        return tuple(one for one in self._list("secrets", None, ours) if holds_public_key(one))

    def list_foreign_key_secrets(self) -> tuple[dict[str, Any], ...]:
        """See `imgsec.ports.PublishedReader`.

        A requirement of a cluster-wide policy without a namespace means the Secret beside each pod;
        those are not looked for.
        """
        names: set[str] = set()
        for kind in ("ClusterImagePolicy", "ImagePolicy"):
            for policy in self.list_policies(kind):
                names |= named_key_secrets(policy)
        found = []
        for namespace, _, name in sorted(name.partition("/") for name in names):
            held = self.fetch("Secret", name, namespace) if namespace else None
            if held is not None and holds_public_key(held) and not is_ours(held):
                found.append(held)
        return tuple(found)

    def list_webhooks(self) -> tuple[dict[str, Any], ...]:
        """All MutatingWebhookConfigurations."""
        return self._list("mutatingwebhookconfigurations.admissionregistration.k8s.io")

    def list_deployments(self, namespace: str) -> tuple[dict[str, Any], ...]:
        """The Deployments of a namespace."""
        return self._list("deployments.apps", namespace)

    def list_running_images(self) -> tuple[tuple[str, str], ...]:
        """See `imgsec.ports.ClusterReader`. A template, since all pods as JSON can be huge."""
        completed = self._run(
            self._argv("get", "pods", "--all-namespaces", _NOT_ENDED, f"--output={_IMAGES}")
        )
        found = []
        for line in completed.stdout.decode("utf-8", "replace").splitlines():
            namespace, _, quoted = line.partition(" ")
            try:
                found.append((namespace, str(json.loads(quoted))))
            except ValueError:  # quoted as Go does it, which JSON does not know: no image's name
                found.append((namespace, quoted))
        return tuple(dict.fromkeys(found))

    def list_running_pods(self) -> tuple[Workload, ...]:
        """See `imgsec.ports.ClusterReader`. A template, since all pods as JSON can be huge."""
        return tuple(map(pod_of, self._pod_lines("pods", ".spec", _NOT_ENDED)))

    def list_makers(self, kind: str) -> tuple[Workload, ...]:
        """See `imgsec.ports.PodLister`."""
        api, resource, place = MAKERS[kind]
        lines = self._pod_lines(f"{resource}.{api.partition('/')[0]}", place)
        path = place.replace(".", "/")
        return tuple(
            replace(pod_of(line), api=api, kind=kind, resource=resource, path=path, replicas=1)
            for line in lines
        )

    def _pod_lines(self, resource: str, place: str, *words: str) -> list[str]:
        argv = self._argv(
            "get", resource, "--all-namespaces", *words, f"--output={pods_template(place)}"
        )
        lines = self._run(argv).stdout.decode("utf-8", "replace").splitlines()
        return [line for line in lines if line]

    def list_secret_editors(self, namespace: str) -> tuple[str, ...]:
        """See `imgsec.ports.ClusterReader`. What cannot be read besides the bindings is told."""
        own = self._list(f"rolebindings.{_RBAC}", namespace)
        roles = {("Role", name): rules for name, rules in self._rules("roles", namespace).items()}
        cluster_roles = self._rules("clusterroles")
        roles |= {("ClusterRole", name): rules for name, rules in cluster_roles.items()}
        roles |= {("ClusterRole", name): _ANY_RULES for name in _SECRET_EDITORS}
        found = []
        for binding in own:
            kind, name = _role_of(binding)
            if (kind, name) not in roles:
                found += [f"{one} (by the {kind} {name}?)" for one in _subjects(binding)]
            elif may_edit_secrets(roles[kind, name]):
                found += _subjects(binding)
        for binding in self._list_if_allowed(f"clusterrolebindings.{_RBAC}"):
            role = _role_of(binding)
            if may_edit_secrets(roles.get(role, [])):
                subjects = _subjects(binding)
                if role[1] == "cluster-admin":  # the cluster's own administrators
                    subjects = [one for one in subjects if one in _EVERYBODY]
                found += [f"{one} (in every namespace)" for one in subjects if _is_meant(one)]
        return tuple(sorted(set(found)))

    def _rules(self, resource: str, namespace: str | None = None) -> dict[str, list[Any]]:
        """The rules of each role, by its name; none where they may not be read."""
        roles = self._list_if_allowed(f"{resource}.{_RBAC}", namespace)
        return {str(role["metadata"]["name"]): role.get("rules") or [] for role in roles}

    def _list_if_allowed(
        self, resource: str, namespace: str | None = None
    ) -> tuple[dict[str, Any], ...]:
        try:
            return self._list(resource, namespace)
        except ImgsecError:
            return ()

    def _list(
        self, resource: str, namespace: str | None = None, *words: str
    ) -> tuple[dict[str, Any], ...]:
        place = ["--namespace", namespace] if namespace else ["--all-namespaces"]
        argv = self._argv("get", resource, *place, *words, "--output=json")
        items = self._object(argv).get("items")
        if not isinstance(items, list):
            raise ImgsecError(CLUSTER_UNREACHABLE(f"kubectl listed no {resource}"))
        return tuple(items)

    def _argv(self, *words: str) -> list[str]:
        return [str(self._tools.find("kubectl")), *self._connection, *words]

    def rehearse(self, document: dict[str, Any], *, adopt: bool = False) -> None:
        """See `imgsec.ports.PolicyKeeper`. `publish` then applies it to what was there now."""
        write = self._write_of(document, adopt=adopt)
        self._apply(write, dry_run=True)
        self._rehearsed[write.target] = write

    def publish(self, document: dict[str, Any], *, adopt: bool = False) -> Change:
        """A dry run on the server first, unless it was rehearsed; then for good.

        Raises `ImgsecError` (foreign-object, field-dropped, kept-otherwise, object-changed,
        namespace-missing, cluster-unreachable, permission-denied, policy-engine-missing).
        """
        metadata = document["metadata"]
        target = _target(document["kind"], metadata["name"], metadata.get("namespace"))
        write = self._rehearsed.pop(target, None)
        is_rehearsed = write is not None
        write = write or self._write_of(document, adopt=adopt)
        after: dict[str, Any] = {}
        if self._dry_run or not is_rehearsed:
            after = self._apply(write, dry_run=True)
        if not self._dry_run:
            after = self._apply(write, dry_run=False)
        if write.before is None:
            return Change(write.target, "created")
        is_same = _content(write.before) == _content(after)
        return Change(write.target, "unchanged" if is_same else "updated")

    def _write_of(self, document: dict[str, Any], *, adopt: bool) -> _Write:
        metadata = document["metadata"]
        namespace = metadata.get("namespace")
        target = _target(document["kind"], metadata["name"], namespace)
        before = self.fetch(document["kind"], metadata["name"], namespace)
        if before is not None and not is_ours(before) and not adopt:
            raise ImgsecError(_foreign(target))
        if document["kind"] in POLICY_KINDS:
            document = with_history(document, before)
        return _Write(target, document, before, force=before is not None and adopt)

    def _apply(self, write: _Write, *, dry_run: bool) -> dict[str, Any]:
        """What the cluster keeps, or would: all that it was sent, and of a policy nothing else."""
        kubectl = self._tools.find("kubectl")
        argv = apply_argv(kubectl, self._connection, dry_run=dry_run, force=write.force)
        after = self._object(argv, json.dumps(write.sent))
        lost = ", ".join(_lost(write.document, after, ""))
        if lost and dry_run:
            raise ImgsecError(FIELD_DROPPED(f"the cluster would drop {lost} of {write.target}"))
        if lost:
            text = f"{write.target} was applied, and the cluster keeps something else: {lost}"
            raise ImgsecError(KEPT_OTHERWISE(text))
        is_policy = write.document["kind"] in POLICY_KINDS
        if is_policy and after.get("spec") != write.document.get("spec"):
            done = "would be" if dry_run else "was"
            text = f"{write.target} {done} applied, and the cluster adds to its rules"
            raise ImgsecError(KEPT_OTHERWISE(text))
        return after

    def remove(self, kind: str, name: str, namespace: str | None) -> Change:
        """Take an object of ours away, after a dry run on the server.

        Raises `ImgsecError` (foreign-object) for somebody else's.
        """
        held = self.fetch(kind, name, namespace)
        target = _target(kind, name, namespace)
        if held is None:
            return Change(target, "unchanged")
        if not is_ours(held):
            raise ImgsecError(_foreign(target))
        place = ["--namespace", namespace] if namespace else []
        words = ("delete", *place, f"{_RESOURCES[kind]}/{name}", "--ignore-not-found")
        self._run(self._argv(*words, "--dry-run=server"))
        if not self._dry_run:
            self._run(self._argv(*words))
        return Change(target, "removed")

    def _run(self, argv: list[str], stdin: str = "") -> Completed:
        completed = run(
            argv, environment=self._environment, timeout=KUBECTL_SECONDS, stdin=stdin.encode()
        )
        if completed.exit_code != 0:
            raise ImgsecError(_failure(completed))
        return completed

    def _object(self, argv: list[str], stdin: str = "") -> dict[str, Any]:
        completed = self._run(argv, stdin)
        if not completed.stdout.strip():
            return {}
        try:
            document = json.loads(completed.stdout)
        except ValueError:
            raise ImgsecError(CLUSTER_UNREACHABLE("kubectl printed no JSON")) from None
        return document if isinstance(document, dict) else {}


def _role_of(binding: dict[str, Any]) -> tuple[str, str]:
    role = binding.get("roleRef") or {}
    return str(role.get("kind")), str(role.get("name"))


def _subjects(binding: dict[str, Any]) -> list[str]:
    return [f"{one.get('kind')} {one.get('name')}" for one in binding.get("subjects") or []]


def _is_meant(subject: str) -> bool:
    """Not a part of Kubernetes itself."""
    return subject in _EVERYBODY or not subject.partition(" ")[2].startswith("system:")


def may_edit_secrets(rules: list[Any]) -> bool:
    """Whether a role's rules let somebody write Secrets.

    >>> may_edit_secrets([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["patch"]}])
    True
    """
    return any(
        {"", "*"} & set(rule.get("apiGroups") or [])
        and {"secrets", "*"} & set(rule.get("resources") or [])
        and {"create", "update", "patch", "*"} & set(rule.get("verbs") or [])
        for rule in rules
    )


def _target(kind: str, name: str, namespace: str | None) -> str:
    return "/".join(filter(None, [namespace, f"{_RESOURCES[kind]}/{name}"]))


def _foreign(target: str) -> Reason:
    return FOREIGN_OBJECT(f"{target} exists and was not made by imgsec")


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
_NO_NAMESPACE = re.compile(r'namespaces "[^"]*" not found')
# kubectl's words for a kind that the cluster does not have, on get and on apply.
_UNKNOWN_KIND = ("doesn't have a resource type", "no matches for kind")


# How kubectl begins the advice that it gives at length about every conflict, after what was said.
_ADVICE = b"\nPlease review the fields above"


def _failure(completed: Completed) -> Reason:
    completed = replace(completed, stderr=completed.stderr.partition(_ADVICE)[0])
    said = completed.message
    if any(words in said for words in _UNKNOWN_KIND):
        return POLICY_ENGINE_MISSING(f"the cluster has no such kind: {said}")
    if "forbidden" in said.lower():
        return PERMISSION_DENIED(f"the cluster refused: {said}")
    if "the object has been modified" in said:
        return OBJECT_CHANGED(f"it was changed meanwhile: {said}")
    if _NO_NAMESPACE.search(said):
        return NAMESPACE_MISSING(f"the cluster refused: {said}")
    if "conflict with" in said:
        return FOREIGN_OBJECT(f"others own fields of it: {said}")
    return CLUSTER_UNREACHABLE(f"kubectl ended with {completed.exit_code}: {said}")
