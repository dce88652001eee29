# SPDX-License-Identifier: Apache-2.0
"""Whether an image's text meets a rule's name, as each engine compares them.

Names are compared as raw text: no look at ports, Docker Hub's short forms, upper case or a missing
tag. ``*`` stands for any run of characters, slashes and colons included, and nothing else is
special (Portieris, `helpers/wildcard/wildcard.go`).
"""

from __future__ import annotations

from imgsec.domain.engines import Engine

_ENDS: tuple[str, ...] = ("", ":*", "@*")
_ENDS_WITHOUT_DIGESTS = _ENDS[:2]
_ANY_END = _ENDS[:1]  # of a name that ends with a star, which is met by what meets the others


def is_met(pattern: str, image: str, engine: Engine) -> bool:
    """Whether the image text meets the rule's name.

    >>> from imgsec.domain.engines import NEWEST
    >>> is_met("icr.io/ns/app", "icr.io/ns/app:1", NEWEST)
    True
    >>> is_met("*.icr.io/ns/*", "evil.example/x.icr.io/ns/y", NEWEST)
    False
    """
    ends = _ENDS if engine.covers_digests else _ENDS_WITHOUT_DIGESTS
    if pattern.endswith("*"):
        ends = _ANY_END
    host, slash, rest = pattern.partition("/")
    if not slash or not engine.splits_hosts:
        return any(compare(pattern + end, image) for end in ends)
    image_host, slash, image_rest = image.partition("/")
    met_by_host = bool(slash) and compare(host, image_host)
    return met_by_host and any(compare(rest + end, image_rest) for end in ends)


def compare(pattern: str, text: str) -> bool:
    """Whether a text meets a pattern, in time that grows with their lengths and no faster.

    The pieces between the stars are looked for from the left, none of them twice.

    >>> compare("a*b*", "axxbyy"), compare("a*b", "axxbyy"), compare("", "a")
    (True, False, False)
    """
    first, *middle = pattern.split("*")
    if not middle:
        return pattern == text
    last = middle.pop()
    if not text.startswith(first):
        return False
    at = len(first)
    for piece in middle:
        found = text.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return len(text) - len(last) >= at and text.endswith(last)


def weight_of(pattern: str) -> int:
    """How much a rule's name weighs against others that are met, too: its bytes without stars.

    >>> weight_of("icr.io/ns/*")
    10
    """
    return len(pattern.encode("utf-8", "surrogatepass")) - pattern.count("*")


def literals_of(pattern: str) -> tuple[str, ...]:
    """The pieces that an image's text must hold, in their order, to meet the pattern."""
    return tuple(piece for piece in pattern.split("*") if piece)
