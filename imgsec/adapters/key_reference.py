# SPDX-License-Identifier: Apache-2.0
"""The Secret that tells pipelines which key signs, as it is mounted: a file for each data key."""

from __future__ import annotations

import os
from pathlib import Path

from imgsec.adapters.files import read_regular
from imgsec.domain.kubernetes import KEY_REFERENCE_NAMES
from imgsec.domain.policy import KeyReference
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_MALFORMED, INPUT_UNREADABLE

_MAX_BYTES = 4096  # ours; an address
_NOTHING = "null"  # as older scripts wrote it


def read_key_reference(folder: str) -> KeyReference:
    """What it says; empty texts for what it does not, as a Secret that may be absent.

    A folder that is not there is another matter: a misspelt name must not lose the fingerprint.
    Raises `ImgsecError` (input-unreadable, input-malformed).
    """
    if not os.path.isdir(folder):
        raise ImgsecError(INPUT_UNREADABLE(f"{shown(folder)} is no folder"))
    return KeyReference(
        **{field: _text(Path(folder), name) for name, field in KEY_REFERENCE_NAMES.items()}
    )


def _text(folder: Path, name: str) -> str:
    content = read_regular(folder / name, max_bytes=_MAX_BYTES) or b""
    text = content.decode("utf-8", "replace").strip()
    if text and not (text.isascii() and text.isprintable()):
        raise ImgsecError(INPUT_MALFORMED(f"{shown(str(folder))} has no plain text as {name}"))
    return "" if text == _NOTHING else text
