# SPDX-License-Identifier: Apache-2.0
"""Moments as Go reads and prints them, where an engine's message has to be met exactly."""

from __future__ import annotations

import re
from datetime import datetime

_MOMENT = re.compile(
    r"[0-9]{4}(?:-[0-9]{2}){2}T[0-9]{2}(?::[0-9]{2}){2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_DAYS = "Mon Tue Wed Thu Fri Sat Sun".split()
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def go_date(moment: datetime) -> str:
    """As the layout ``Mon Jan 2 15:04:05 MST 2006`` prints it on a machine that keeps UTC."""
    day = f"{_DAYS[moment.weekday()]} {_MONTHS[moment.month - 1]} {moment.day}"
    zone = moment.strftime("%z")[:5] if moment.utcoffset() else "UTC"
    return f"{day} {moment:%H:%M:%S} {zone} {moment.year:04d}"


def go_moment(text: str) -> datetime:
    """A time of RFC 3339, as Go's JSON has it; nanoseconds are cut off. Raises `ValueError`."""
    if not _MOMENT.fullmatch(text):
        raise ValueError("no moment with a zone")
    return datetime.fromisoformat(text)
