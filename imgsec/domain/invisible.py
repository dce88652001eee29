# SPDX-License-Identifier: Apache-2.0
"""Characters that a reader does not see, or that show another text than the one that counts."""

from __future__ import annotations

# For a regular expression's class: controls but tab and line ends, soft hyphens and fillers,
# joiners and marks of direction, tags and further variation selectors, halves of surrogate pairs.
INVISIBLE = (
    r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff"
    r"\U000e0000-\U000e0fff"
)
