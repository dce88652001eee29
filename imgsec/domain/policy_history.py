# SPDX-License-Identifier: Apache-2.0
"""What a policy was before the last change, kept on the policy itself.

In an annotation, so that the change and the way back are written at once, or neither of them. What
is removed is kept on another policy, which is written before.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from imgsec.domain.left_behind import id_of
from imgsec.domain.policy_rules import PolicyId
from imgsec.errors import ImgsecError
from imgsec.reasons import NO_HISTORY

ANNOTATION = "imgsec/previous"
REMOVED = "imgsec/removed"
_PLAIN_MAX_BYTES = 64 * 1024  # all annotations of an object have 256 KiB
_PACKED = "zlib:"
_ABSENT: dict[str, Any] = {"absent": True}
Document = dict[str, Any]


def with_history(document: Document, before: Document | None) -> Document:
    """The document to apply, with what it replaces. before: as the cluster has it, None for none.

    What is the same already keeps the history that it has.
    """
    removed = {**_removed_of(before or {}), **_removed_of(document)}
    if removed:
        document = _annotated(document, _packed(removed), REMOVED)
    if before is not None and before.get("spec") == document.get("spec"):
        held = _annotations(before).get(ANNOTATION)
        return document if held is None else _annotated(document, held)
    previous = _ABSENT if before is None else {"spec": before.get("spec")}
    return _annotated(document, _packed(previous))


def with_removed(document: Document, removed: Iterable[Document]) -> Document:
    """The document to apply before these are removed; what they kept themselves is kept on it."""
    kept: Document = {}
    for one in removed:
        kept |= {**_removed_of(one), str(id_of(one)): _as_it_was(one, one.get("spec"))}
    return _annotated(document, _packed(kept), REMOVED) if kept else document


def removed_from(documents: Iterable[Document], policy: PolicyId) -> Document | None:
    """What a policy was before it was removed, if one of these keeps it."""
    return next((one for one in removed_in(documents) if id_of(one) == policy), None)


def removed_in(documents: Iterable[Document]) -> tuple[Document, ...]:
    """The removed policies that these keep, each once."""
    kept: Document = {}
    for document in documents:
        for name, one in _removed_of(document).items():
            if isinstance(one, dict) and str(id_of(one)) == name:
                kept.setdefault(name, one)
    return tuple(kept.values())


def previous_of(document: Document) -> Document | None:
    """The document as it was before the last change; None if it was not there.

    Raises `ImgsecError` (no-history) where nobody kept it.
    """
    previous = _held(document, ANNOTATION)
    metadata = document.get("metadata") or {}
    if previous == _ABSENT:
        return None
    if not isinstance(previous, dict) or "spec" not in previous:
        text = f"{document.get('kind')} {metadata.get('name')} does not tell what it was before"
        raise ImgsecError(NO_HISTORY(text))
    return _as_it_was(document, previous["spec"])


def _as_it_was(document: Document, spec: Any) -> Document:
    metadata = document["metadata"]
    kept = {name: metadata[name] for name in ("name", "namespace", "labels") if metadata.get(name)}
    return {
        "apiVersion": document["apiVersion"],
        "kind": document["kind"],
        "metadata": kept,
        "spec": spec,
    }


def _removed_of(document: Document) -> Document:
    found = _held(document, REMOVED)
    return found if isinstance(found, dict) else {}


def _held(document: Document, annotation: str) -> Any:
    """What an annotation keeps; None for none, and for what nobody can read."""
    held = _annotations(document).get(annotation)
    try:
        return json.loads(_unpacked(held)) if isinstance(held, str) else None
    except (ValueError, zlib.error):
        return None


def _annotations(document: Mapping[str, Any]) -> Mapping[str, Any]:
    found = (document.get("metadata") or {}).get("annotations") or {}
    return found if isinstance(found, dict) else {}


def _annotated(document: Document, value: str, name: str = ANNOTATION) -> Document:
    metadata = document["metadata"]
    annotations = {**(metadata.get("annotations") or {}), name: value}
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
