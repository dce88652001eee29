# SPDX-License-Identifier: Apache-2.0
"""Work in several processes: all of it is done, or told as not done, and none of them stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import pytest

from imgsec.adapters.workers import WorkerCrashed, in_workers, usual_workers


def test_every_task_is_done_once_by_so_many_processes() -> None:
    done = dict(in_workers(3, list("abcdefghij"), lambda worker, task: (worker, task, os.getpid())))
    results = [done[number] for number in range(10)]
    assert [task for _, task, _ in results if task] == list("abcdefghij")
    assert {worker for worker, _, _ in results} <= {0, 1, 2}
    pids = {pid for _, _, pid in results}
    assert os.getpid() not in pids
    assert len(pids) <= 3


def test_results_come_as_they_are_done(tmp_path: Path) -> None:
    def work(_: int, task: str) -> str:
        if task == "waits":
            while not (tmp_path / "goes").exists():
                time.sleep(0.01)
        return task

    with closing(in_workers(2, ["waits", "one", "two"], work)) as done:
        assert [next(done)[1], next(done)[1]] == ["one", "two"]
        (tmp_path / "goes").touch()
        assert list(done) == [(0, "waits")]


def test_nothing_to_do_starts_nothing() -> None:
    assert list(in_workers(3, [], lambda _, task: task)) == []


def test_task_of_a_process_that_is_killed_is_told_and_the_others_are_done() -> None:
    def work(_: int, task: int) -> int:
        if task == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return task

    done = dict(in_workers(2, list(range(8)), work))
    assert done == {number: None if number == 2 else number for number in range(8)}


def test_when_every_process_is_killed_the_rest_is_told() -> None:
    def work(_: int, task: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return task

    assert dict(in_workers(2, list(range(5)), work)) == dict.fromkeys(range(5))


def test_bug_in_the_work_is_no_result() -> None:
    def work(_: int, task: int) -> float:
        return 1 / task

    with pytest.raises(WorkerCrashed, match="ZeroDivisionError"):
        list(in_workers(2, [1, 0], work))


def test_whoever_stops_early_leaves_no_process(tmp_path: Path) -> None:
    def work(_: int, task: int) -> int:
        (tmp_path / str(os.getpid())).touch()
        time.sleep(60 * task)
        return task

    with closing(in_workers(2, [0, 1, 1], work)) as done:
        assert next(done) == (0, 0)
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


def test_workers_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    script = textwrap.dedent(
        f"""
        import os, time
        from pathlib import Path
        from imgsec.adapters.workers import in_workers
        def work(_, task):
            (Path({str(tmp_path)!r}) / str(os.getpid())).touch()
            time.sleep(0.5)
            return task
        list(in_workers(2, list(range(1000)), work))
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 20
    left = [int(path.name) for path in tmp_path.iterdir()]
    while left and time.monotonic() < deadline:
        left = [pid for pid in left if Path(f"/proc/{pid}").exists()]
        time.sleep(0.05)
    assert left == []


def test_usual_number_fits_the_machine() -> None:
    assert 2 <= usual_workers() <= 4
