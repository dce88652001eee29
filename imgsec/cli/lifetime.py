# SPDX-License-Identifier: Apache-2.0
"""How a run is ended from outside: by a signal, or by its time limit.

Both arrive as exceptions of the main thread, so that every clean-up on the way out happens. Neither
is an `Exception`, so that no library and no loop over images takes it for its own trouble. The
first one is the last: nothing disturbs the clean-up that follows.
"""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Terminated(BaseException):
    """A signal ends the run; code is the exit code, 128 and the signal's number."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class DeadlineReached(BaseException):
    """The run's time is up."""


def catch_signals() -> None:
    """Turn the signals that end a program into `Terminated`."""
    for number in _ENDING:
        signal.signal(number, _end)


def set_deadline(seconds: int) -> None:
    """The last line of defence: whatever hangs, the command ends. Other limits come first."""
    signal.signal(signal.SIGALRM, _expire)
    signal.alarm(seconds)


def _end(number: int, _: FrameType | None) -> NoReturn:
    _let_nothing_disturb()
    raise Terminated(128 + number)


def _expire(_: int, __: FrameType | None) -> NoReturn:
    _let_nothing_disturb()
    raise DeadlineReached


def _let_nothing_disturb() -> None:
    for number in (*_ENDING, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
