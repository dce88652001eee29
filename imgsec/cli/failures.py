# SPDX-License-Identifier: Apache-2.0
"""The one place where errors, signals and bugs become exit codes.

Typer's defaults end an abort, a broken pipe and an uncaught exception in 1, which here means
"refused"; so they are off, and this handler ends every run. Signals arrive as exceptions: the
private directory is removed and the agent ended on the way out.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import typer

from imgsec.errors import ImgsecError
from imgsec.reasons import INTERNAL_ERROR, INVALID_OPTION, OUTPUT_UNWRITABLE, TIMEOUT, Reason

INTERRUPTED = 130
_USAGE = 2
_REPEAT_SECONDS = 5.0  # should a library swallow the first exception


class Terminated(BaseException):
    """A signal ends the run; code is the exit code, 128 and the signal's number."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def run(arguments: list[str]) -> int:
    """Run one command line to its exit code; nothing is raised from here."""
    _catch_signals()
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except Terminated as ended:
        sys.stderr.write("imgsec: ended by a signal\n")
        return ended.code
    except KeyboardInterrupt:
        sys.stderr.write("imgsec: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        _close_stdout()
        return _say(OUTPUT_UNWRITABLE("whoever read the output has gone"), arguments)
    except OSError as error:
        return _say(OUTPUT_UNWRITABLE(f"output cannot be written: {error}"), arguments)


def _run(arguments: list[str]) -> int:
    try:
        from imgsec.cli.app import command_line

        code = command_line()(args=arguments, prog_name="imgsec", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except ImgsecError as error:
        return _say(error.reason, arguments)
    except typer.TyperException as error:
        # Without any argument the framework has shown the help, and has nothing to complain of.
        return _say(_usage(error), arguments) if error.format_message() else _USAGE
    except (typer.Abort, EOFError):
        return INTERRUPTED
    except typer.Exit as ended:
        return ended.exit_code
    except (OSError, KeyboardInterrupt):
        raise
    except Exception as error:
        if os.environ.get("IMGSEC_TRACEBACK"):
            import traceback

            traceback.print_exc()
        return _say(INTERNAL_ERROR(f"{type(error).__name__}: {error}"), arguments)


def _usage(error: typer.TyperException) -> Reason:
    """The framework's complaint about the command line, in our words."""
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "imgsec")
    return INVALID_OPTION(error.format_message(), hint=f"Run `{path} --help` to see what it takes.")


def _say(reason: Reason, arguments: list[str]) -> int:
    """Report a reason that ends the whole run, in JSON too where that was asked for."""
    from imgsec.cli.output import EXIT_CODES, Outputs, show
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import because

    command = next((word for word in arguments if not word.startswith("-")), "imgsec")
    wants_json = "json" in arguments or "--output=json" in arguments
    report = Report(
        command if command.isascii() and command.isprintable() else "imgsec", because(reason)
    )
    if wants_json or os.environ.get("IMGSEC_OUTPUT") == "json":
        return show(report, Outputs(formats=("json",)))
    from imgsec.render.text import report_lines

    sys.stderr.write("".join(f"{line}\n" for line in report_lines(report)))
    return EXIT_CODES[reason.outcome]


def set_deadline(seconds: int) -> None:
    """The last line of defence: whatever hangs, the command ends. Other limits come first."""
    signal.signal(signal.SIGALRM, _deadline)
    signal.setitimer(signal.ITIMER_REAL, seconds, _REPEAT_SECONDS)


def _deadline(_: int, __: FrameType | None) -> NoReturn:
    raise ImgsecError(TIMEOUT("the command reached its time limit"))


def _catch_signals() -> None:
    def end(number: int, _: FrameType | None) -> NoReturn:
        for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGALRM):
            signal.signal(name, signal.SIG_IGN)  # nothing disturbs the clean-up that follows
        raise Terminated(128 + number)

    for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(name, end)


def _close_stdout() -> None:
    """So that the interpreter's own flush at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
