# SPDX-License-Identifier: Apache-2.0
"""The time, from the system."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime

_FIRST_WAIT_SECONDS = 2.0
_LARGEST_WAIT_SECONDS = 30.0


class SystemClock:
    """See `imgsec.ports.Clock`."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def backoff(self) -> Iterator[float]:
        wait = _FIRST_WAIT_SECONDS
        while True:
            yield wait * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not a secret
            wait = min(wait * 1.5, _LARGEST_WAIT_SECONDS)
