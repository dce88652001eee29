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

from imgsec.domain.keys import SecretBytes
from imgsec.domain.kubernetes import secret_value
from imgsec.domain.reference import shown

_JSON, _OLDER = ".dockerconfigjson", ".dockercfg"


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
    if not isinstance(entry, dict):
        near = [key for key in entries if host in key]
        also = f"; {shown(near[0])} is not looked at" if near else ""
        text = f"the Secret {shown(name)} has no entry for exactly {shown(host)}{also}"
        return UnusableSecret(name, text)
    username, password = entry.get("username"), entry.get("password")
    pair = f"{_text(username)}:{_text(password)}".encode()
    if (decoded := _decoded(entry.get("auth"))) is not None:
        pair = decoded
    return PullCredential(name, host, SecretBytes(pair))


def _entries(content: bytes, member: str | None) -> Mapping[str, Any] | None:
    try:
        document = json.loads(content)
        found = document.get(member) if member is not None else document
    except (ValueError, RecursionError, AttributeError):
        return None
    return found if isinstance(found, dict) else ({} if found is None else None)


def _decoded(auth: object) -> bytes | None:
    """User and password in base64; None for nothing, or no such thing."""
    try:
        pair = base64.b64decode(auth, validate=True) if isinstance(auth, str) and auth else b""
    except ValueError:
        return None
    return pair if b":" in pair else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
