# SPDX-License-Identifier: Apache-2.0
"""What somebody may have meant who wrote a name that nobody knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from imgsec.domain.reference import shown

_WORD_MAX_CHARS = 64  # ours; comparing takes time by the square of the length


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The name that was probably meant; None for nothing near.

    >>> nearest("simpel", ["simple", "trust"])
    'simple'
    """
    near = difflib.get_close_matches(name[:_WORD_MAX_CHARS].lower(), sorted(known), n=1)
    return near[0] if near else None


def unknown_field(name: str, known: Iterable[str]) -> ValueError:
    """An error to raise, with the nearest name that there is, or all of them.

    >>> str(unknown_field("fail_on", ["fail-on", "grace"]))
    "the field 'fail_on' is unknown; did you mean fail-on?"
    """
    names = sorted(known)
    near = nearest(name, names)
    hint = f"did you mean {near}?" if near else f"there are {', '.join(names)}"
    return ValueError(f"the field {shown(name)} is unknown; {hint}")
