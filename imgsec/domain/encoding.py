# SPDX-License-Identifier: Apache-2.0
"""Base64 as the readers of policies, Secrets and signature lists take it, all of them in Go."""

from __future__ import annotations

import base64
import re


def decode_base64(text: str) -> bytes:
    """The bytes; line ends are no matter. Raises `ValueError`, `TypeError` for what is no base64.

    >>> decode_base64("a2V5\\n")
    b'key'
    """
    return base64.b64decode(re.sub(r"[\r\n]", "", text), validate=True)
