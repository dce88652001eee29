# SPDX-License-Identifier: Apache-2.0
"""A run that is told to end does end, wherever the signal finds it.

Each case runs in a process of its own: signal handlers belong to the whole process.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

_FRAME = """
import os, signal, sys, time, weakref
from imgsec.cli import lifetime

class Thing:
    pass

def send(*_):
    {send}

def run():
    {body}
    time.sleep(30)
    print("went on")

lifetime.catch_signals()
try:
    run()
except lifetime.Terminated as ended:
    print("ended in", ended.code, lifetime.ended_by_signal())
except lifetime.DeadlineReached:
    print("time is up")
"""
_IN_WEAK_CALLBACK = "thing = Thing(); reference = weakref.ref(thing, send); del thing"
_IN_DESTRUCTOR = "Thing.__del__ = send; thing = Thing(); del thing"
_IN_PLAIN_CODE = "send()"


def outcome(send: str, body: str) -> tuple[list[str], str]:
    done = subprocess.run(
        [sys.executable, "-c", _FRAME.format(send=send, body=body)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize("body", [_IN_WEAK_CALLBACK, _IN_DESTRUCTOR, _IN_PLAIN_CODE])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_signal_ends_the_run_wherever_it_arrives(name: str, body: str) -> None:
    lines, complaints = outcome(f"os.kill(os.getpid(), signal.{name}); time.sleep(0.05)", body)
    code = {"SIGTERM": 143, "SIGINT": 130, "SIGHUP": 129}[name]
    assert lines == [f"ended in {code} {code}"]
    assert complaints == ""


@pytest.mark.parametrize("body", [_IN_WEAK_CALLBACK, _IN_DESTRUCTOR])
def test_time_limit_ends_the_run_wherever_it_arrives(body: str) -> None:
    lines, complaints = outcome(
        "lifetime.set_deadline(1); signal.setitimer(signal.ITIMER_REAL, 0.01); time.sleep(0.1)",
        body,
    )
    assert lines == ["time is up"]
    assert complaints == ""


def test_other_errors_of_a_destructor_are_still_reported() -> None:
    lines, complaints = outcome("raise ValueError('odd')", f"{_IN_DESTRUCTOR}; raise SystemExit")
    assert lines == []
    assert "ValueError: odd" in complaints


def test_second_signal_does_not_disturb_the_clean_up() -> None:
    lines, _ = outcome(
        "os.kill(os.getpid(), signal.SIGTERM)",
        "try:\n        send()\n    finally:\n        send(); print('cleaned up')",
    )
    assert lines == ["cleaned up", "ended in 143 143"]


_QUICK = "lifetime._CLEAN_UP_SECONDS = lifetime._WAKE_SECONDS = lifetime._LAST_WORDS_SECONDS = 0.1"
_HANGS = """import threading
    lock = threading.Lock(); lock.acquire()
    try:
        send()
        time.sleep(30)
    finally:
        {hang}
        print('cleaned up')"""


@pytest.mark.parametrize(
    ("send", "end"),
    [
        ("os.kill(os.getpid(), signal.SIGTERM)", "ended in 143 143"),
        ("lifetime.set_deadline(1); signal.setitimer(signal.ITIMER_REAL, 0.01)", "time is up"),
    ],
)
def test_clean_up_that_hangs_is_woken(send: str, end: str) -> None:
    """As where the exception came while a lock was taken that the way out takes as well."""
    hang = """try:
            lock.acquire()
        finally:
            print('woken')"""
    lines, _ = outcome(f"{_QUICK}; {send}", _HANGS.format(hang=hang))
    assert lines == ["woken", end]


@pytest.mark.parametrize(
    ("send", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGTERM)", 143),
        ("lifetime.set_deadline(1); signal.setitimer(signal.ITIMER_REAL, 0.01)", 3),
    ],
)
def test_clean_up_that_nothing_wakes_ends_with_the_process(send: str, code: int) -> None:
    hang = """while True:
            try:
                lock.acquire()
            except BaseException:
                pass"""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            _FRAME.format(send=f"{_QUICK}; {send}", body=_HANGS.format(hang=hang)),
        ],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, b"")


def test_code_of_the_signal_stands_over_what_came_of_it() -> None:
    code = """
import os, signal, sys
from imgsec.cli import failures, lifetime

def half(arguments):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except lifetime.Terminated:
        raise ImportError("a module was left half imported")

failures._run = half
sys.exit(failures.run(["resolve"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 143
