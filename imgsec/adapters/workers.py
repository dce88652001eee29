# SPDX-License-Identifier: Apache-2.0
"""Several images at once, in processes of their own: each with its own keyring and connections.

Processes, because gpg's agent does one thing at a time for each keyring, and starting programs from
several threads of one process is not safe. They are forked, so that no key goes through a pipe.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

WORKERS_MAX = 16
_USUAL_MAX = 4  # more registries slow down than speed up; and a pod sees all cores of its node
_PER_CORE = 2  # while one of them waits for a registry, the other works

_SIGNALS = (
    *(signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGALRM),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU),
)
Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkerCrashed(Exception):
    """A bug in what a worker did."""


def usual_workers() -> int:
    """Two for each core that this process may use, within reason."""
    return min(_USUAL_MAX, _PER_CORE * len(os.sched_getaffinity(0)))


def in_workers(
    count: int, tasks: Sequence[Task], work: Callable[[int, Task], Result]
) -> Generator[tuple[int, Result | None]]:
    """Do ``work(worker, task)`` for each task; its number and what came of it, as each is done.

    None for what nobody finished, since a worker was killed. When the iterator is closed nothing of
    them is left. Raises `WorkerCrashed` for an exception that the work let through.
    """
    context = multiprocessing.get_context("fork")
    connections: dict[Connection, int] = {}
    processes: list[Any] = []
    waiting = iter(range(len(tasks)))
    busy: dict[Connection, int] = {}
    try:
        for number in range(min(count, len(tasks))):
            ours, theirs = context.Pipe()
            inherited = [*connections, ours]
            process = context.Process(
                target=_serve, args=(number, theirs, inherited, tasks, work), daemon=True
            )
            with _signals_blocked():  # until the worker has handlers of its own
                process.start()
            theirs.close()
            connections[ours] = number
            processes.append(process)
        for connection in connections:
            _hand_out(connection, waiting, busy)
        while busy:
            ready = wait(list(busy))
            for connection in [one for one in busy if one in ready]:
                task = busy.pop(connection)
                try:
                    crash, result = connection.recv()
                except (EOFError, OSError):
                    yield task, None
                    continue
                if crash is not None:
                    raise WorkerCrashed(crash)
                yield task, result
                _hand_out(connection, waiting, busy)
        for task in waiting:  # no worker is left
            yield task, None
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
        for connection in connections:
            connection.close()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _hand_out(connection: Connection, waiting: Iterator[int], busy: dict[Connection, int]) -> None:
    for task in waiting:
        with suppress(OSError):  # its process is gone, which shows when it is read
            connection.send(task)
        busy[connection] = task
        return


def _serve(
    number: int,
    connection: Connection,
    inherited: Sequence[Connection],
    tasks: Sequence[Task],
    work: Callable[[int, Task], Result],
) -> None:
    """A worker's life: until its pipe is closed, also by the end of the one who forked it."""
    for one in _SIGNALS:
        signal.signal(one, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal tells all; one decides
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    for other in inherited:
        other.close()
    with suppress(EOFError, OSError):
        while True:
            task = connection.recv()
            try:
                outcome: tuple[str | None, Result | None] = (None, work(number, tasks[task]))
            except Exception as error:
                outcome = (f"{type(error).__name__} in a worker: {error}", None)
            connection.send(outcome)
