# SPDX-License-Identifier: Apache-2.0
"""The one place where errors, signals and bugs become exit codes.

Typer's defaults end an abort, a broken pipe and an uncaught exception in 1, which here means
"refused"; so they are off, and this handler ends every run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from itertools import pairwise

import typer

from imgsec.cli.lifetime import (
    DeadlineReached,
    Terminated,
    catch_signals,
    ended_by_signal,
    lift_deadline,
)
from imgsec.errors import ImgsecError
from imgsec.reasons import INTERNAL_ERROR, INVALID_OPTION, OUTPUT_UNWRITABLE, TIMEOUT, Reason

_INTERRUPTED = 130
_USAGE = 2
_STREAM_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # of a write without a file name


def run(arguments: list[str]) -> int:
    """Run one command line to its exit code; nothing is raised from here.

    Once a signal has ended the run its code stands, whatever came of it on the way out: a module
    that it left half imported, a file that it left half written.
    """
    catch_signals()
    code = _guarded(arguments)
    lift_deadline()
    return ended_by_signal() or code


def _guarded(arguments: list[str]) -> int:
    if sys.stdout is not None:  # foreign text may hold what the terminal's encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except Terminated as ended:
        _complain("imgsec: ended by a signal")
        return ended.code
    except DeadlineReached:
        reason = TIMEOUT("the command reached its time limit")
    except BrokenPipeError:
        reason = OUTPUT_UNWRITABLE("whoever read the output has gone")
    except OSError as error:
        reason = OUTPUT_UNWRITABLE(f"standard output: {error.strerror}")
    except BaseException as error:
        # The framework ends with 1 when its reader has gone; anything else is a bug.
        gone = isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError)
        bug = INTERNAL_ERROR(f"{type(error).__name__}: {error}")
        reason = OUTPUT_UNWRITABLE("whoever read the output has gone") if gone else bug
    _close_stdout()
    return _say(reason, arguments)


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
        return _INTERRUPTED
    except typer.Exit as ended:
        return ended.exit_code
    except SystemExit as ended:
        if not _completes(arguments):
            raise
        return ended.code if isinstance(ended.code, int) else 0
    except BrokenPipeError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _STREAM_TROUBLE and not error.filename:
            raise
        if os.environ.get("IMGSEC_TRACEBACK"):
            import traceback

            traceback.print_exc()
        return _say(INTERNAL_ERROR(f"{type(error).__name__}: {error}"), arguments)


def _completes(arguments: list[str]) -> bool:
    """Whether the framework shows or answers shell completion, which it ends by itself."""
    asked = ("--show-completion", "--install-completion")
    return "_IMGSEC_COMPLETE" in os.environ or arguments[:1] in ([asked[0]], [asked[1]])


def _usage(error: typer.TyperException) -> Reason:
    """The framework's complaint about the command line, in our words."""
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "imgsec")
    text = re.sub(r"\(env var: '\[(.*?)\]'\)", r"(\1)", error.format_message()).replace("'(", "(")
    return INVALID_OPTION(text, hint=f"Run `{path} --help` to see what it takes.")


def _say(reason: Reason, arguments: list[str]) -> int:
    """Report a reason that ends the whole run, in JSON too where that was asked for."""
    from imgsec.cli.output import EXIT_CODES, Answer, Outputs, show
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import because
    from imgsec.render.text import report_lines

    command = next((word for word in arguments if not word.startswith("-")), "imgsec")
    command = command if command.isascii() and command.isprintable() else "imgsec"
    formats = _formats(arguments)
    if formats:
        try:
            return show(Answer(Report(command, because(reason))), Outputs(formats=formats))
        except ImgsecError as error:
            reason = error.reason
        except BrokenPipeError:
            _close_stdout()
    _complain("\n".join(report_lines(Report(command, because(reason)))))
    return EXIT_CODES[reason.outcome]


def _formats(arguments: list[str]) -> tuple[str, ...]:
    """The JSON outputs that were asked for, on a command line that may be wrong elsewhere."""
    asked = [after for word, after in pairwise([*arguments, ""]) if word == "--output"]
    asked += [word.partition("=")[2] for word in arguments if word.startswith("--output=")]
    asked = asked or os.environ.get("IMGSEC_OUTPUT", "").split()
    return tuple(text for text in asked if re.fullmatch(r"json(=.+)?", text))


def _complain(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody listens; the exit code says it
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _close_stdout() -> None:
    """So that the interpreter's own flush at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
