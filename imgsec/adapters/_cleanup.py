# SPDX-License-Identifier: Apache-2.0
"""Clean-up that a signal cannot cut short."""

from __future__ import annotations

from collections.abc import Callable


def surely(work: Callable[[], None]) -> None:
    """Do the clean-up, and once more if something came in its middle.

    The signal that ends a run is raised as an exception wherever the run is, and it is the last:
    all others are ignored from then on (`imgsec.cli.lifetime`), so the second attempt is
    undisturbed.
    """
    try:
        work()
    except BaseException:
        work()
        raise
