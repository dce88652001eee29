# SPDX-License-Identifier: Apache-2.0
"""Runs a command inside a sandbox that lives exactly as long as it: `imgsec sandbox run`.

Signals are taken from a queue instead of handlers, so none is lost and none tears anything down
half-way. A signal for us alone is passed on; Ctrl-C at a terminal has reached the command already.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from imgsec.errors import ImgsecError
from imgsec.reasons import TOOL_MISSING
from imgsec.sandbox.lifecycle import Options, running_sandbox
from imgsec.sandbox.supervisor import die_with_parent

_FORWARDED = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT})
_FROM_KERNEL = 0x80  # SI_KERNEL: the terminal sent it, to the whole foreground group
_GRACE = 10.0  # seconds between a SIGTERM that we pass on and a SIGKILL


def run_inside(argv: Sequence[str], directory: Path | None, options: Options) -> int:
    """Run ARGV and give its exit code; 128 and the number if a signal ended it."""
    program = shutil.which(argv[0])
    if program is None:
        raise ImgsecError(
            TOOL_MISSING(f"{argv[0]} is not a program on PATH.", hint="Check its name or path.")
        )
    watched = _FORWARDED | {signal.SIGCHLD}
    old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    early: list[signal.Signals] = []
    code: int | None = None
    try:
        with running_sandbox(
            directory, options, interrupted=lambda: _take_signal(early) is not None
        ) as sandbox:
            code = _run(program, argv, {**os.environ, **sandbox.environment}, old_mask, watched)
    except KeyboardInterrupt:
        if not early:
            raise
        code = 128 + early[0]
    finally:
        while signal.sigtimedwait(_FORWARDED, 0) is not None:
            pass  # what came after the end has nobody left to go to
        signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
    return code


def _take_signal(taken: list[signal.Signals]) -> signal.Signals | None:
    found = signal.sigtimedwait(_FORWARDED, 0)
    if found is None:
        return None
    taken.append(signal.Signals(found.si_signo))
    return taken[-1]


def _run(
    program: str,
    argv: Sequence[str],
    environment: dict[str, str],
    mask: set[int | signal.Signals],
    watched: frozenset[signal.Signals],
) -> int:
    bind_to_parent = die_with_parent(signal.SIGTERM)

    def before_exec() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        bind_to_parent()

    command = subprocess.Popen(
        [argv[0], *argv[1:]],
        executable=program,
        env=environment,
        preexec_fn=before_exec,  # noqa: PLW1509 - no threads here
    )
    kill_at: float | None = None
    while (code := command.poll()) is None:
        patience = 3600.0 if kill_at is None else max(0.0, kill_at - time.monotonic())
        found = signal.sigtimedwait(watched, patience)
        if found is None and kill_at is not None:
            command.kill()
            kill_at = None
        elif found is not None and found.si_signo != signal.SIGCHLD:
            if found.si_code != _FROM_KERNEL:
                command.send_signal(found.si_signo)
            if found.si_signo == signal.SIGTERM and kill_at is None:
                kill_at = time.monotonic() + _GRACE
    return code if code >= 0 else 128 - code
