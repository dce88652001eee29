# SPDX-License-Identifier: Apache-2.0
"""The one family of exceptions that imgsec raises on purpose.

A verdict is a value; an exception means that the work could not go on. Each carries the
`Reason` that the user will read, and so the outcome that ends the process. Caught once, in
``cli/failures.py``, or per image by an operation that judges several.
"""

from __future__ import annotations

from imgsec.reasons import Reason


class ImgsecError(Exception):
    """The work stopped for a reason that a user can act on."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"{reason.code}: {reason.text}")
        self.reason = reason


class KeyNotFound(ImgsecError):
    """No key of that name: set-up makes one, everybody else stops."""


class KeyDeleted(KeyNotFound):
    """There was such a key, and its alias stays taken until it is restored or cleared away."""


class KeyExists(ImgsecError):
    """The alias is taken: another run was faster."""


class UnrecognisedSignature(ImgsecError):
    """A signature store has something else where a signature should be.

    place: its address or path. first_byte: how it begins; None for nothing at all.
    """

    def __init__(self, reason: Reason, *, place: str, first_byte: int | None) -> None:
        super().__init__(reason)
        self.place = place
        self.first_byte = first_byte


class ImageNotFound(ImgsecError):
    """The registry has no such manifest."""
