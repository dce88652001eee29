# SPDX-License-Identifier: Apache-2.0
"""What a policy was before the last change, kept on the policy itself.

In an annotation, so that the change and the way back are written at once, or neither of them.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

from imgsec.errors import ImgsecError
from imgsec.reasons import NO_HISTORY

ANNOTATION = "imgsec/previous"
_PLAIN_MAX_BYTES = 64 * 1024  # all annotations of an object have 256 KiB
_PACKED = "zlib:"
_ABSENT: dict[str, Any] = {"absent": True}
Document = dict[str, Any]


def with_history(document: Document, before: Document | None) -> Document:
    """The document to apply, with what it replaces. before: as the cluster has it, None for none.

    What is the same already keeps the history that it has.
    """
    if before is not None and before.get("spec") == document.get("spec"):
        held = _annotations(before).get(ANNOTATION)
        return document if held is None else _annotated(document, held)
    previous = _ABSENT if before is None else {"spec": before.get("spec")}
    return _annotated(document, _packed(previous))


def previous_of(document: Document) -> Document | None:
    """The document as it was before the last change; None if it was not there.

    Raises `ImgsecError` (no-history) where nobody kept it.
    """
    held = _annotations(document).get(ANNOTATION)
    try:
        previous = json.loads(_unpacked(held)) if isinstance(held, str) else None
    except (ValueError, zlib.error):
        previous = None
    metadata = document.get("metadata") or {}
    if previous == _ABSENT:
        return None
    if not isinstance(previous, dict) or "spec" not in previous:
        text = f"{document.get('kind')} {metadata.get('name')} does not tell what it was before"
        raise ImgsecError(NO_HISTORY(text))
    kept = {name: metadata[name] for name in ("name", "namespace", "labels") if metadata.get(name)}
    return {
        "apiVersion": document["apiVersion"],
        "kind": document["kind"],
        "metadata": kept,
        "spec": previous["spec"],
    }


def _annotations(document: Mapping[str, Any]) -> Mapping[str, Any]:
    found = (document.get("metadata") or {}).get("annotations") or {}
    return found if isinstance(found, dict) else {}


def _annotated(document: Document, value: str) -> Document:
    metadata = document["metadata"]
    annotations = {**(metadata.get("annotations") or {}), ANNOTATION: value}
    return {**document, "metadata": {**metadata, "annotations": annotations}}


def _packed(value: Document) -> str:
    text = json.dumps(value, separators=(",", ":"), sort_keys=True)
    if len(text) <= _PLAIN_MAX_BYTES:
        return text
    return _PACKED + base64.b64encode(zlib.compress(text.encode(), 9)).decode("ascii")


def _unpacked(text: str) -> str:
    if not text.startswith(_PACKED):
        return text
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(base64.b64decode(text.removeprefix(_PACKED)), 16 * 2**20)
    return content.decode()
