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
print("alarm", signal.getitimer(signal.ITIMER_REAL))
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
    assert lines == [f"ended in {code} {code}", "alarm (0.0, 0.0)"]
    assert complaints == ""


@pytest.mark.parametrize("body", [_IN_WEAK_CALLBACK, _IN_DESTRUCTOR])
def test_time_limit_ends_the_run_wherever_it_arrives(body: str) -> None:
    lines, complaints = outcome(
        "lifetime.set_deadline(1); signal.setitimer(signal.ITIMER_REAL, 0.01); time.sleep(0.1)",
        body,
    )
    assert lines == ["time is up", "alarm (0.0, 0.0)"]
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
    assert lines == ["cleaned up", "ended in 143 143", "alarm (0.0, 0.0)"]


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
