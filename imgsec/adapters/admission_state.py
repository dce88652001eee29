# SPDX-License-Identifier: Apache-2.0
"""What decides about admissions: out of manifests, of the cluster, or the one over the other."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from imgsec.adapters.manifest_files import ManifestDocument
from imgsec.domain.kubernetes import secret_value
from imgsec.domain.left_behind import id_of
from imgsec.domain.near_names import (
    ACCOUNT_FIELDS,
    METADATA_FIELDS,
    OBJECT_FIELDS,
    SECRET_FIELDS,
    misspelt,
)
from imgsec.domain.policy_rules import (
    POLICY_GROUPS,
    POLICY_KINDS,
    Policy,
    PolicyId,
    holds_policy,
)
from imgsec.domain.reference import shown
from imgsec.domain.webhook import Webhook, is_registration
from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_MALFORMED, POLICY_MALFORMED

if TYPE_CHECKING:
    from imgsec.adapters.kubernetes import Kubectl

_WEBHOOKS = "MutatingWebhookConfiguration"
_WEBHOOK_GROUP = "admissionregistration.k8s.io"
_ITS_OTHER_KINDS = (
    "ValidatingWebhookConfiguration",
    *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
    *("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"),
)
# The kinds besides policies; of another group they are another product's.
_APIS = {
    "Secret": ("v1",),
    "ServiceAccount": ("v1",),
    "Namespace": ("v1",),
    _WEBHOOKS: (f"{_WEBHOOK_GROUP}/v1", f"{_WEBHOOK_GROUP}/v1beta1"),
}
_NAMESPACED = ("Secret", "ServiceAccount")
_FIELDS = {"Secret": SECRET_FIELDS, "ServiceAccount": ACCOUNT_FIELDS}
_ENCRYPTED = "sops"  # the member that SOPS adds (getsops/sops, stores/stores.go)
_Key = tuple[str, str, str]  # kind, namespace, name


class FileState:
    """The policies, Secrets, ServiceAccounts, Namespaces and webhooks of manifests.

    documents: each with the place that it is from. namespace: of those that name none. What else
    the manifests hold decides nothing.
    """

    def __init__(self, documents: Iterable[tuple[dict[str, Any], str]], *, namespace: str) -> None:
        self._policies: dict[PolicyId, Policy] = {}
        self._objects: dict[_Key, dict[str, Any]] = {}
        self._places: dict[_Key, str] = {}
        for content, where in documents:
            kind = str(content["kind"])
            api = str(content.get("apiVersion", ""))
            if kind in POLICY_KINDS:
                self._add_policy(content, where, namespace)
            elif api.partition("/")[0] in POLICY_GROUPS:
                text = f"{where}: the kind {shown(kind)} is no policy's; there are "
                raise ImgsecError(POLICY_MALFORMED(text + " and ".join(POLICY_KINDS)))
            elif api in _APIS.get(kind, ()):
                self._add(kind, content, where, namespace)
            elif api.partition("/")[0] == _WEBHOOK_GROUP and kind not in _ITS_OTHER_KINDS:
                text = f"{where}: no API server has the kind {shown(kind)} in {shown(api)}"
                raise ImgsecError(INPUT_MALFORMED(text))
            else:
                _require_no_policy_in(content, where)

    @classmethod
    def read(cls, documents: Iterable[ManifestDocument], *, namespace: str) -> Self:
        """Of files, with the lines that the objects begin at."""
        placed = ((one.content, f"{one.where}:{one.line_of(())}") for one in documents)
        return cls(placed, namespace=namespace)

    def _add_policy(self, content: dict[str, Any], where: str, namespace: str) -> None:
        policy = Policy.read(content, namespace=namespace, where=where)
        if policy.id in self._policies:
            raise _twice(str(policy.id), self._policies[policy.id].where, where)
        self._policies[policy.id] = policy

    def _add(self, kind: str, content: dict[str, Any], where: str, namespace: str) -> None:
        metadata = content.get("metadata")
        said = misspelt(content, _FIELDS.get(kind, OBJECT_FIELDS))
        if isinstance(metadata, dict):
            said = said or misspelt(metadata, METADATA_FIELDS)
        if said is not None:
            raise ImgsecError(INPUT_MALFORMED(f"{where}: a {kind}: {said}"))
        name = metadata.get("name") if isinstance(metadata, dict) else None
        if not isinstance(metadata, dict) or not isinstance(name, str) or not name:
            raise ImgsecError(INPUT_MALFORMED(f"{where}: a {kind} without a name"))
        own = ""
        if kind in _NAMESPACED:
            told = metadata.get("namespace")
            own = namespace if told in (None, "") else told
            if not isinstance(own, str):
                text = f"{where}: {kind} {shown(name)}: its namespace is no text"
                raise ImgsecError(INPUT_MALFORMED(text))
        if kind == _WEBHOOKS:
            _require_registration(content, where)
        key = (kind, own, name)
        if key in self._objects:
            raise _twice(f"{kind} {own}/{name}", "the manifests", where)
        self._objects[key] = content
        self._places[key] = where

    @property
    def has_policies(self) -> bool:
        return bool(self._policies)

    def list_policies(self) -> tuple[Policy, ...]:
        """See `imgsec.ports.AdmissionState`."""
        return tuple(self._policies.values())

    def find_secret(self, namespace: str, name: str) -> dict[str, Any] | None:
        """See `imgsec.ports.AdmissionState`. Raises `ImgsecError` (input-malformed) for one that no
        cluster keeps: others are nobody's business.
        """
        key = ("Secret", namespace, name)
        found = self._objects.get(key)
        if found is not None:
            _require_storable(found, f"{self._places[key]}: Secret {shown(name)}")
        return found

    def told_places(self, name: str) -> tuple[str, ...]:
        """See `imgsec.ports.AdmissionState`."""
        return tuple(at for kind, at, own in self._objects if (kind, own) == ("Secret", name))

    def find_service_account(self, namespace: str, name: str) -> dict[str, Any] | None:
        """See `imgsec.ports.AdmissionState`."""
        return self._objects.get(("ServiceAccount", namespace, name))

    def find_namespace(self, name: str) -> dict[str, Any] | None:
        """See `imgsec.ports.AdmissionState`."""
        return self._objects.get(("Namespace", "", name))

    def list_webhooks(self) -> tuple[dict[str, Any], ...] | None:
        """See `imgsec.ports.AdmissionState`."""
        found = tuple(self.webhooks.values())
        return found if any(map(is_registration, found)) else None

    @property
    def webhooks(self) -> dict[str, dict[str, Any]]:
        """Every product's, by name."""
        kept = self._objects.items()
        return {name: one for (kind, _, name), one in kept if kind == _WEBHOOKS}


class _Asked:
    """What the cluster answered, each question put once."""

    def __init__(self, cluster: Kubectl) -> None:
        self._cluster = cluster
        self._known: dict[_Key, dict[str, Any] | ImgsecError | None] = {}

    @cached_property
    def policies(self) -> tuple[dict[str, Any], ...]:
        return tuple(one for kind in POLICY_KINDS for one in self._cluster.list_policies(kind))

    @cached_property
    def webhooks(self) -> tuple[dict[str, Any], ...]:
        return self._cluster.list_webhooks()

    def fetch(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        key = (kind, namespace, name)
        if key not in self._known:
            try:
                self._known[key] = self._cluster.fetch(kind, name, namespace or None)
            except ImgsecError as error:
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, ImgsecError):
            raise found
        return found


class LiveState:
    """The cluster's, each object asked for once. over: manifests that stand in for its own."""

    def __init__(self, cluster: Kubectl, over: FileState) -> None:
        self._asked, self._over = _Asked(cluster), over
        self._without: frozenset[PolicyId] = frozenset()
        self._policies: tuple[Policy, ...] | None = None

    def changed(
        self, documents: Iterable[dict[str, Any]], without: frozenset[PolicyId]
    ) -> LiveState:
        """The same moment with these objects in place of the cluster's own, and without those."""
        state = copy(self)
        new = ((one, "the new policies") for one in documents)
        state._over, state._without = FileState(new, namespace="default"), without
        state._policies = None
        return state

    def list_policies(self) -> tuple[Policy, ...]:
        """See `imgsec.ports.AdmissionState`."""
        if self._policies is None:
            new = {policy.id: policy for policy in self._over.list_policies()}
            held = [
                Policy.read(document, where="the cluster")
                for document in self._asked.policies
                if id_of(document) not in self._without | new.keys()
            ]
            self._policies = (*held, *new.values())
        return self._policies

    def find_secret(self, namespace: str, name: str) -> dict[str, Any] | None:
        """See `imgsec.ports.AdmissionState`."""
        over = self._over.find_secret(namespace, name)
        return over or self._asked.fetch("Secret", namespace, name)

    def told_places(self, name: str) -> tuple[str, ...]:
        """See `imgsec.ports.AdmissionState`."""
        return self._over.told_places(name)

    def find_service_account(self, namespace: str, name: str) -> dict[str, Any] | None:
        """See `imgsec.ports.AdmissionState`."""
        over = self._over.find_service_account(namespace, name)
        return over or self._asked.fetch("ServiceAccount", namespace, name)

    def find_namespace(self, name: str) -> dict[str, Any] | None:
        """See `imgsec.ports.AdmissionState`."""
        return self._over.find_namespace(name) or self._asked.fetch("Namespace", "", name)

    def list_webhooks(self) -> tuple[dict[str, Any], ...] | None:
        """See `imgsec.ports.AdmissionState`."""
        over = self._over.webhooks
        held = (one for one in self._asked.webhooks if one["metadata"]["name"] not in over)
        return (*held, *over.values())


def _require_registration(configuration: dict[str, Any], where: str) -> None:
    """Raises `ImgsecError` (input-malformed) for one of the engine's that no API server keeps."""
    try:
        Webhook.find([configuration])
    except ValueError as error:
        text = f"{where}: the webhook's registration: {error}"
        hint = "Take it as the cluster has it: `kubectl get mutatingwebhookconfigurations`."
        raise ImgsecError(INPUT_MALFORMED(text, hint=hint)) from None


def _require_storable(secret: dict[str, Any], of: str) -> None:
    """Raises `ImgsecError` (input-malformed) for data that no cluster keeps."""
    if _ENCRYPTED in secret:
        text = f"{of} is encrypted by SOPS: what the cluster gets of it is not known"
        raise ImgsecError(INPUT_MALFORMED(text, hint="Give it decrypted: sops decrypt FILE"))
    for member in ("data", "stringData"):
        data = secret.get(member) or {}
        if not isinstance(data, dict):
            raise ImgsecError(INPUT_MALFORMED(f"{of}: {member} is no object"))
        for name, value in data.items():
            if value is not None and secret_value({member: {name: value}}, name) is None:
                what = "base64" if member == "data" else "text"
                raise ImgsecError(INPUT_MALFORMED(f"{of}: {shown(str(name))} is no {what}"))


def _require_no_policy_in(content: dict[str, Any], where: str) -> None:
    """Raises `ImgsecError` (input-malformed) for an object that others make policies of: what it
    holds would decide in the cluster, and decides nothing here.
    """
    kind = str(content["kind"])
    if holds_policy(content):
        text = f"{where}: a policy stands inside of a {shown(kind)}, and is not read there"
        hint = "Give the policy itself, as it will stand in the cluster."
        if kind == "Template":
            hint = "Process it first: oc process --local -f FILE -o yaml"
        raise ImgsecError(INPUT_MALFORMED(text, hint=hint))


def _twice(what: str, one: str, other: str) -> ImgsecError:
    text = f"{what} stands in {shown(one)} and in {shown(other)}"
    return ImgsecError(INPUT_MALFORMED(text, hint="A cluster has it once: remove one of the two."))
