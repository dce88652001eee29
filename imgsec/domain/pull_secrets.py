# SPDX-License-Identifier: Apache-2.0
"""The pull secrets of a pod, as Portieris reads them: fewer than a kubelet does.

An entry counts only if its key is the bare host of the image, without a port, a path or a scheme
(Portieris `pkg/kubernetes/secret.go`: GetSecretToken). One that cannot be used is passed over.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imgsec.domain.hosts import shown_address
from imgsec.domain.keys import SecretBytes
from imgsec.domain.kubernetes import secret_value
from imgsec.domain.reference import shown

_JSON, _OLDER = ".dockerconfigjson", ".dockercfg"
_FIELDS = ("username", "password", "email", "auth")


@dataclass(frozen=True, slots=True)
class PullCredential:
    """A user and password for one host, and the Secret they are from. pair: ``user:password``."""

    secret: str
    host: str
    pair: SecretBytes


@dataclass(frozen=True, slots=True)
class UnusableSecret:
    """A pull secret that the engine passes over, and why."""

    secret: str
    why: str


def read_pull_secret(
    document: Mapping[str, Any] | None, name: str, host: str
) -> PullCredential | UnusableSecret:
    """What the engine takes of a Secret for an image's host. document: None for no such Secret."""
    if document is None:
        return UnusableSecret(name, f"the Secret {shown(name)} is not there")
    content = secret_value(dict(document), _JSON)
    entries = _entries(content, "auths") if content is not None else None
    if content is None:
        content = secret_value(dict(document), _OLDER)
        entries = _entries(content, None) if content is not None else None
    if entries is None:
        return UnusableSecret(name, f"the Secret {shown(name)} holds no registry credentials")
    entry = entries.get(host)
    if entry is None:
        near = [key for key in entries if host in key]
        also = f"; {shown_address(near[0])} is not looked at" if near else ""
        text = f"the Secret {shown(name)} has no entry for exactly {shown(host)}{also}"
        return UnusableSecret(name, text)
    pair = f"{entry.get('username') or ''}:{entry.get('password') or ''}"
    found = _decoded(entry.get("auth") or "")
    return PullCredential(name, host, SecretBytes(found or pair.encode("utf-8", "replace")))


def _entries(content: bytes, member: str | None) -> Mapping[str, Mapping[str, Any]] | None:
    """By host; None for what is no such document, or has one entry that is none.

    Go reads it into structures: one value of another type, wherever, and the whole is no use.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return {} if document is None else None
    found = document if member is None else document.get(member)
    if found is None:
        return {}
    if not isinstance(found, dict):
        return None
    entries = {host: {} if entry is None else entry for host, entry in found.items()}
    return entries if all(map(_is_entry, entries.values())) else None


def _is_entry(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(name), str | None) for name in _FIELDS
    )


def _decoded(auth: str) -> bytes | None:
    """User and password in base64, padded or not, over lines or not; None for no such thing."""
    plain = auth.replace("\r", "").replace("\n", "")
    padding = "" if auth.strip().endswith("=") else "=" * (-len(plain) % 4)
    try:
        pair = base64.b64decode(plain + padding, validate=True)
    except ValueError:
        return None
    return pair if b":" in pair else None
