# SPDX-License-Identifier: Apache-2.0
"""How unit tests say that something is refused: by its reason code, never by its words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from imgsec.errors import ImgsecError
from imgsec.reasons import CATALOGUE, Reason


@contextmanager
def refused(*codes: str) -> Iterator[list[Reason]]:
    """The block must stop with one of these reasons; the list holds it afterwards."""
    assert set(codes) <= set(CATALOGUE)
    seen: list[Reason] = []
    with pytest.raises(ImgsecError) as caught:
        yield seen
    seen.append(caught.value.reason)
    assert caught.value.reason.code in codes, caught.value.reason
