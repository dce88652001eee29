# SPDX-License-Identifier: Apache-2.0
"""The small parts of all formats: texts, lists, times and digests, each held to what it must be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from imgsec.domain.vulnerability import PolicyStatus

_TEXT_MAX_CHARS = 4000  # of a summary; more is a document of its own
_DIGEST = re.compile(r"(?<![A-Za-z0-9])sha256:[0-9a-f]{64}(?![A-Za-z0-9])")


def as_list(value: object) -> list[Any]:
    """A list; none for null, as Go writes an empty one. Raises `TypeError`."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} instead of a list")
    return value


def listed(value: object) -> list[Any]:
    """A list, which must be there. Raises `TypeError`."""
    if value is None:
        raise TypeError("a list is missing")
    return as_list(value)


def as_mapping(value: object) -> Mapping[str, Any]:
    """An object; an empty one for null. Raises `TypeError`."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} instead of an object")
    return value


def as_text(value: object) -> str:
    """A text, cut where it is long; empty for null. Raises `TypeError`, `UnicodeEncodeError`."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of a text")
    value.encode()  # half a surrogate pair is JSON, and no text that could be written anywhere
    return value[:_TEXT_MAX_CHARS]


def needed(value: object) -> str:
    """A text that must be there. Raises `ValueError`."""
    if not (text := as_text(value)):
        raise ValueError("a text is missing")
    return text


def as_time(value: object) -> datetime | None:
    """A moment in RFC 3339, in UTC; None where there is none. Raises `ValueError`, `TypeError`.

    Go writes the year 1 for no time at all.
    """
    text = as_text(value)
    if not text or text.startswith("0001-"):
        return None
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def digests_in(texts: Iterable[object]) -> frozenset[str]:
    """Every sha256 digest in these texts."""
    return frozenset(
        digest for text in texts if isinstance(text, str) for digest in _DIGEST.findall(text)
    )


def registered_in(names: Iterable[object]) -> frozenset[str]:
    """The digests by which registries know the image, of names like ``registry/repository@...``.

    Podman has names in ``localhost/`` for what is in no registry yet, by another digest than there.
    """
    return digests_in(
        name for name in names if isinstance(name, str) and not name.startswith("localhost/")
    )


def suppressed(parts: Sequence[bool]) -> PolicyStatus:
    """How far a finding is exempt, by whether each of its parts is suppressed."""
    if all(parts):
        return PolicyStatus.EXEMPT
    return PolicyStatus.PARTIAL if any(parts) else PolicyStatus.ACTIVE


def unsaid(tool: str) -> tuple[str, str]:
    """The remark on a report that leaves open what was looked for: it may show only the worst."""
    text = f"the report of {tool} does not say which severities and kinds of finding it leaves out"
    return ("options-unsaid", text)
