# SPDX-License-Identifier: Apache-2.0
"""Kubernetes manifests as data: what is serialised is built here, never put together as text."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Any

from imgsec.domain.policy import (
    ImagePolicy,
    KeyReference,
    KeySecret,
    PolicyKind,
)

MANAGED_BY = ("app.kubernetes.io/managed-by", "imgsec")
PORTIERIS_API = "portieris.cloud.ibm.com/v1"
# Data keys of the Secret that names the signing key -> members of `KeyReference`.
KEY_REFERENCE_NAMES = {
    "vault-url": "kms_url",
    "vault-instance-id": "kms_instance",
    "vault-key-id": "kms_key_id",
    "portieris-signature-fingerprint": "fingerprint",
}
Document = dict[str, Any]


def policy_document(policy: ImagePolicy) -> Document:
    """A Portieris v1 ClusterImagePolicy or ImagePolicy."""
    checked: Document = {
        "simple": {
            "requirements": [
                {
                    "type": "signedBy",
                    "keySecret": str(policy.key_secret.name),
                    "keySecretNamespace": str(policy.key_secret.namespace),
                }
            ]
        }
    }
    if not policy.mutate_image:
        checked["mutateImage"] = False
    rules = [
        {"name": name, "policy": content}
        for patterns, content in ((policy.signed, checked), (policy.unchecked, {}))
        for pattern in patterns
        for name in policy.patterns(pattern)
    ]
    namespace = str(policy.namespace) if policy.kind is PolicyKind.NAMESPACED else None
    return {
        "apiVersion": PORTIERIS_API,
        "kind": str(policy.kind),
        "metadata": _metadata(str(policy.name), namespace),
        "spec": {"repositories": rules},
    }


def key_secret_document(secret: KeySecret, public_keys: bytes) -> Document:
    """A Secret as policies read it: one armoured block under the data key ``key``."""
    return _secret(secret, {"key": public_keys})


def key_reference_document(secret: KeySecret, said: KeyReference) -> Document:
    """The Secret that tells pipelines which key signs; nothing in it is secret.

    Its name and data keys are those of the older scripts, so that their pipelines keep working.
    """
    return _secret(
        secret,
        {name: getattr(said, field).encode() for name, field in KEY_REFERENCE_NAMES.items()},
    )


def key_reference_of(document: Document) -> KeyReference:
    """Read what `key_reference_document` makes; what is missing or no text is empty."""

    def text(name: str) -> str:
        return (secret_value(document, name) or b"").decode("ascii", "replace").strip()

    return KeyReference(**{field: text(name) for name, field in KEY_REFERENCE_NAMES.items()})


def secret_value(document: Document, name: str) -> bytes | None:
    """What a Secret has under a data key, as a cluster reads it; None for nothing, or no base64.

    stringData is what people write by hand, and wins.
    """
    for member in ("stringData", "data"):
        data = document.get(member)
        value = data.get(name) if isinstance(data, dict) else None
        if isinstance(value, str):
            try:
                plain = member == "stringData"
                if plain:
                    return value.encode()
                joined = value.replace("\n", "").replace("\r", "")  # as Go's decoder reads it
                return base64.b64decode(joined, validate=True)
            except ValueError:  # binascii's error is one
                return None
    return None


def holds_public_key(document: Document) -> bool:
    """Whether a Secret has what policies read."""
    data = [document.get(member) for member in ("data", "stringData")]
    has_key = any(isinstance(one, dict) and "key" in one for one in data)
    return document.get("kind") == "Secret" and has_key


def trusted_by(policies: Iterable[Document], secret: Document) -> tuple[str, ...]:
    """The policies that demand a signature by the key in this Secret, as ``KIND NAME``.

    A requirement without a namespace means the Secret beside each pod.
    """
    name, namespace = secret["metadata"]["name"], secret["metadata"].get("namespace")
    found = []
    for policy in policies:
        text = f"{policy['kind']} {policy['metadata']['name']}"
        for one in _requirements(policy):
            meant = one.get("keySecretNamespace") or policy["metadata"].get("namespace")
            if one.get("keySecret") == name and meant in (namespace, None):
                found.append(text)
    return tuple(dict.fromkeys(found))


def named_key_secrets(policy: Document) -> frozenset[str]:
    """The Secrets whose keys a policy asks for, ``NAMESPACE/NAME``; no namespace, none in front."""
    beside = policy["metadata"].get("namespace") or ""
    return frozenset(
        f"{one.get('keySecretNamespace') or beside}/{one['keySecret']}"
        for one in _requirements(policy)
        if one.get("keySecret")
    )


def _requirements(policy: Document) -> Iterator[Document]:
    """Of all its rules; read without strictness, since what a cluster holds it has checked."""
    for rule in (policy.get("spec") or {}).get("repositories") or []:
        simple = (rule.get("policy") or {}).get("simple") or {}
        yield from simple.get("requirements") or []


def _secret(secret: KeySecret, data: dict[str, bytes]) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(str(secret.name), str(secret.namespace)),
        "type": "Opaque",
        "data": {key: base64.b64encode(value).decode("ascii") for key, value in data.items()},
    }


def _metadata(name: str, namespace: str | None) -> Document:
    metadata: Document = {"name": name}
    if namespace is not None:
        metadata["namespace"] = namespace
    metadata["labels"] = dict([MANAGED_BY])
    return metadata


def is_ours(document: object) -> bool:
    """Whether a Kubernetes object carries imgsec's label."""
    found: object = document
    for name in ("metadata", "labels", MANAGED_BY[0]):
        if not isinstance(found, dict):
            return False
        found = found.get(name)
    return found == MANAGED_BY[1]
