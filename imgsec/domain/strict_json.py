# SPDX-License-Identifier: Apache-2.0
"""JSON that means one thing to every reader.

Python's parser keeps the last of two equal members, and Go's also takes ``Manifests`` for
``manifests``; whoever writes the document could show each reader another one. Such a document is
refused here, so that what imgsec judges is what skopeo, a node or a cluster will read.
"""

from __future__ import annotations

import json
import math
from typing import Any


def parse(content: bytes | str, *, folds_case: bool = True) -> Any:
    """The document. Raises `ValueError` or `RecursionError` unless it is strict.

    folds_case: readers may take ``A`` for ``a``, as Go does where it fills a structure.

    >>> parse('{"a": 1, "A": 2}')
    Traceback (most recent call last):
    ...
    ValueError: a member is repeated
    """
    text = content if isinstance(content, str) else content.decode("utf-8")
    hook = _members_once if folds_case else _names_once
    return json.loads(
        text,
        object_pairs_hook=hook,
        parse_constant=_no_constant,
        parse_float=_finite,
        parse_int=_whole,
    )


def require_spelling(document: Any, names: frozenset[str]) -> dict[str, Any]:
    """The object, unless it is none or spells one of the names in another case.

    Raises `TypeError`, `ValueError`.
    """
    if not isinstance(document, dict):
        raise TypeError("not an object")
    folded = {name.casefold() for name in names}
    if any(key not in names and key.casefold() in folded for key in document):
        raise ValueError("a member is spelt in another case")
    return document


def _members_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name.casefold() for name, _ in pairs}) != len(pairs):
        raise ValueError("a member is repeated")
    return dict(pairs)


def _names_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a member is repeated")
    return dict(pairs)


def _finite(text: str) -> float:
    """As other parsers see it, who have no numbers beyond a double's."""
    if math.isinf(number := float(text)):
        raise ValueError("a number is too large")
    return number


def _whole(text: str) -> int:
    _finite(text)
    return int(text)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
