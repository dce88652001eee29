# SPDX-License-Identifier: Apache-2.0
"""Canonical JSON as Notary signs it: names in order, no space, whole numbers, few escapes.

http://wiki.laptop.org/go/Canonical_JSON, in docker's reading of it (`docker/go`, canonical/json): a
string is kept byte for byte but for quotes and backslashes, control characters too.
"""

from __future__ import annotations

from typing import Any

EXACT_MAX = 2**53  # Notary reads numbers as doubles on their way


def canonical(value: Any) -> bytes:
    """Raises `ValueError` for a number that is not whole or too large, and for half a character.

    >>> canonical({"b": ["ä", None], "a": 1})
    b'{"a":1,"b":["\\xc3\\xa4",null]}'
    """
    pieces: list[str] = []
    _write(value, pieces)
    return "".join(pieces).encode()


def _write(value: Any, pieces: list[str]) -> None:
    if isinstance(value, dict):
        separator = "{"
        for name in sorted(value, key=str.encode):
            pieces += (separator, _quoted(name), ":")
            _write(value[name], pieces)
            separator = ","
        pieces.append("}" if value else "{}")
    elif isinstance(value, list):
        separator = "["
        for item in value:
            pieces.append(separator)
            _write(item, pieces)
            separator = ","
        pieces.append("]" if value else "[]")
    elif isinstance(value, str):
        pieces.append(_quoted(value))
    elif value is None or isinstance(value, bool):
        pieces.append({None: "null", True: "true", False: "false"}[value])
    else:
        if value != int(value) or abs(value) > EXACT_MAX:
            raise ValueError("a number is not whole, or too large")
        pieces.append(str(int(value)))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
