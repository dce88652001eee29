# SPDX-License-Identifier: Apache-2.0
"""Why containers/image takes what was signed for no payload, in its own words.

`signature/simple.go` and `signature/internal/json.go`: each object is read with exactly its members
and nothing twice. `imgsec.domain.signature` decides whether it is one; here is the text only.
"""

from __future__ import annotations

import json
import re
from typing import Any

from imgsec.domain.engine_texts import NO_OBJECT, quoted, unknown_key

_TYPE = "atomic container signature"
_DIGEST = re.compile(r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")


class _Pairs(list[tuple[str, Any]]):
    """The members of an object as they stand, those that stand twice as well."""


def payload_flaw(content: bytes) -> str | None:
    """The engine's text for a payload that it does not take; None where it finds nothing."""
    try:
        document = json.loads(content, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return _syntax(content.decode("utf-8", "replace"))
    return _flaw_of(document)


def _flaw_of(document: Any) -> str | None:
    found = _members(document, ("critical", "optional"))
    if isinstance(found, str):
        return found
    optional, critical = found["optional"], found["critical"]
    if not isinstance(optional, _Pairs):
        return _no_object(optional)
    if (twice := _repeated(optional)) is not None:
        return twice
    inner = _members(critical, ("type", "image", "identity"))
    if isinstance(inner, str):
        return inner
    if inner["type"] != _TYPE:
        return f"Unrecognized signature type {inner['type']}"
    image = _members(inner["image"], ("docker-manifest-digest",))
    if isinstance(image, str):
        return image
    digest = image["docker-manifest-digest"]
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        why = "invalid checksum digest format"
        return f"invalid docker-manifest-digest value {quoted(str(digest))}: {why}"
    identity = _members(inner["identity"], ("docker-reference",))
    return identity if isinstance(identity, str) else None


def _members(value: Any, names: tuple[str, ...]) -> dict[str, Any] | str:
    """The members of an object with exactly these, or the text."""
    if not isinstance(value, _Pairs):
        return _no_object(value)
    seen: dict[str, Any] = {}
    for name, member in value:
        if name in seen:
            return f"Duplicate key {quoted(name)}"
        if name not in names:
            return unknown_key(name)
        seen[name] = member
    missing = [name for name in names if name not in seen]
    return f"Key {quoted(missing[0])} missing in a JSON object" if missing else seen


def _repeated(value: _Pairs) -> str | None:
    seen: set[str] = set()
    for name, _ in value:
        if name in seen:
            return f"Duplicate key {quoted(name)}"
        seen.add(name)
    return None


def _no_object(value: Any) -> str:
    """As Go shows the token that it found instead."""
    if value is None:
        return NO_OBJECT
    if isinstance(value, bool):
        shown = "true" if value else "false"
    elif isinstance(value, str):
        shown = quoted(value)
    elif isinstance(value, int | float):
        shown = f"{value:g}"
    else:
        shown = "91"  # an opening bracket
    return f"JSON object expected, got {shown}"


def _syntax(text: str) -> str:
    stripped = text.lstrip(" \t\r\n")
    if not stripped:
        return "unexpected end of JSON input"
    return f"invalid character {_go_rune(stripped[0])} looking for beginning of value"


def _go_rune(char: str) -> str:
    return "'\\''" if char == "'" else f"'{quoted(char)[1:-1]}'"
