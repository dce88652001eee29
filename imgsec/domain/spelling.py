# SPDX-License-Identifier: Apache-2.0
"""What somebody may have meant who wrote a name that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from imgsec.domain.reference import shown

_WORD_MAX_CHARS = 64  # ours; comparing takes time by the square of the length


def unknown_field(name: str, known: Iterable[str]) -> ValueError:
    """An error to raise, with the nearest name that there is, or all of them.

    >>> str(unknown_field("fail_on", ["fail-on", "grace"]))
    "the field 'fail_on' is unknown; did you mean fail-on?"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name[:_WORD_MAX_CHARS].lower(), names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    return ValueError(f"the field {shown(name)} is unknown; {hint}")
