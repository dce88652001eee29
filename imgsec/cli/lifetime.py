# SPDX-License-Identifier: Apache-2.0
"""How a run is ended from outside: by a signal, or by its time limit.

Both arrive as exceptions of the main thread, so that every clean-up on the way out happens. Neither
is an `Exception`, so that no library and no loop over images takes it for its own trouble. The
first one is the last: nothing disturbs the clean-up that follows.

An exception out of nowhere can leave a lock locked that the clean-up then waits for. One that takes
too long is woken by the same exception again; what does not end by that is ended.

One that arrives while the interpreter frees an object (in a ``__del__``, in the callback of a weak
reference) would be reported and dropped, as Python does with every exception there: it is raised
again as soon as that is over.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_ENDING = (
    *(signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU),  # they would end us, and leave the key
)
_AGAIN_SECONDS = 0.001
_CLEAN_UP_SECONDS = 10.0  # after a signal; a gpg-agent is ended in one
_LAST_WORDS_SECONDS = 30.0  # after the time limit; large reports are written in some
_WAKE_SECONDS = 5.0
_WAKES_MAX = 6
_UNDECIDED = 3
_ended: list[int] = []
_expired: list[bool] = []


class Terminated(BaseException):
    """A signal ends the run; code is the exit code, 128 and the signal's number."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class DeadlineReached(BaseException):
    """The run's time is up."""


def catch_signals() -> None:
    """Turn the signals that end a program into `Terminated`."""
    sys.unraisablehook = _raise_again
    for number in _ENDING:
        signal.signal(number, _end)


def set_deadline(seconds: float) -> None:
    """The last line of defence: whatever hangs, the command ends. Other limits come first."""
    signal.signal(signal.SIGALRM, _expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def seconds_left() -> float | None:
    """Until the deadline; None where there is none."""
    return signal.getitimer(signal.ITIMER_REAL)[0] or None


def lift_deadline() -> None:
    """The work is done; what is left is to say so."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def is_time_up() -> bool:
    """The time limit was reached: what is left is to say what was done, and nothing new."""
    return bool(_expired)


def ended_by_signal() -> int | None:
    """The exit code of the signal that ended the run, whatever its exception became on the way."""
    return _ended[0] if _ended else None


def _end(number: int, _: FrameType | None) -> NoReturn:
    end = Terminated(128 + number)
    _let_nothing_disturb(end)
    _ended.append(end.code)
    raise end


def _expire(_: int, __: FrameType | None) -> NoReturn:
    end = DeadlineReached()
    _let_nothing_disturb(end)
    _expired.append(True)
    raise end


def _raise_again(dropped: UnraisableHookArgs) -> None:
    """What Python does with an exception that it cannot raise where it happened."""
    lost = dropped.exc_value
    if not isinstance(lost, Terminated | DeadlineReached):
        sys.__unraisablehook__(dropped)
        return
    end = type(lost)(*lost.args)

    def again(_: int, __: FrameType | None) -> NoReturn:
        _let_nothing_disturb(end)
        raise end

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)


def _let_nothing_disturb(end: Terminated | DeadlineReached) -> None:
    """From now on only the clean-up's own time counts."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    code, wait = (
        (end.code, _CLEAN_UP_SECONDS)
        if isinstance(end, Terminated)
        else (_UNDECIDED, _LAST_WORDS_SECONDS)
    )
    wakes = 0

    def wake(_: int, __: FrameType | None) -> NoReturn:
        nonlocal wakes
        wakes += 1
        if wakes > _WAKES_MAX:
            os._exit(code)
        raise type(end)(*end.args)

    signal.signal(signal.SIGALRM, wake)
    signal.setitimer(signal.ITIMER_REAL, wait, _WAKE_SECONDS)
