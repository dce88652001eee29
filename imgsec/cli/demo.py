# SPDX-License-Identifier: Apache-2.0
"""``imgsec demo``: the whole story on this machine."""

from __future__ import annotations


def demo() -> None:
    """Walk the whole story here."""
