# SPDX-License-Identifier: Apache-2.0
"""A clean-up that a signal interrupts is done all the same."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from imgsec.adapters import private_dir as private
from imgsec.adapters._cleanup import surely


class Interrupted(BaseException):
    """What the signal's handler raises; the second signal is ignored, as in a run."""


@pytest.fixture
def interruptible() -> Iterator[None]:
    def end(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise Interrupted

    kept = signal.signal(signal.SIGUSR1, end)
    yield
    signal.signal(signal.SIGUSR1, kept)


def test_undisturbed_clean_up_is_done_once() -> None:
    done: list[str] = []
    surely(lambda: done.append("once"))
    assert done == ["once"]


@pytest.mark.usefixtures("interruptible")
def test_interrupted_clean_up_is_done_again_and_the_interruption_goes_on() -> None:
    steps: list[str] = []

    def work() -> None:
        steps.append("first half")
        os.kill(os.getpid(), signal.SIGUSR1)
        steps.append("second half")

    with pytest.raises(Interrupted):
        surely(work)
    assert steps == ["first half", "first half", "second half"]


@pytest.mark.usefixtures("interruptible")
def test_signal_in_the_removal_of_the_private_directory_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = shutil.rmtree

    def interrupted(path: Path, *, ignore_errors: bool) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(private, "_usable", lambda: [tmp_path])
    monkeypatch.setattr(shutil, "rmtree", interrupted)

    def work() -> None:
        with private.private_dir() as directory:
            (directory.folder("gpg") / "secret").write_text("the key")

    with pytest.raises(Interrupted):
        work()
    assert not list(tmp_path.iterdir())
