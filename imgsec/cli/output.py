# SPDX-License-Identifier: Apache-2.0
"""Show a report: text for people, JSON for programs, results for the next pipeline step."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NoReturn

from imgsec.cli.lifetime import DeadlineReached, lift_deadline, set_deadline
from imgsec.errors import ImgsecError
from imgsec.reasons import INVALID_OPTION, OUTPUT_UNWRITABLE, TIMEOUT, Outcome, Reason

if TYPE_CHECKING:  # start-up is paid by every command, --help and --version included
    from imgsec.domain.report import Report

EXIT_CODES = {
    Outcome.PASS: 0,
    Outcome.REFUSED: 1,
    Outcome.USAGE: 2,
    Outcome.UNDECIDED: 3,
    Outcome.INTERNAL: 70,
}
DEFAULT_FORMATS = ("text", "json")
_CLEAR_LINE = "\r\x1b[K"
_INDENTED_MAX = 100  # workloads of a prediction
RESULT_MAX_BYTES = 1024  # Tekton: 4,096 bytes for all results of a container, its own data included


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the answer goes besides the terminal.

    formats: FORMAT or FORMAT=FILE as given. known: which ones the command has.
    result_files: result name -> file, for Tekton. inputs: what names a file that the command reads,
    which no output may replace, and the file. further: likewise, of what it writes besides.
    """

    formats: tuple[str, ...] = ()
    known: tuple[str, ...] = DEFAULT_FORMATS
    result_files: Mapping[str, str] = field(default_factory=dict)
    github_output: str | None = None
    github_summary: str | None = None
    inputs: tuple[tuple[str, str], ...] = ()
    further: tuple[tuple[str, str], ...] = ()
    verbose: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command gives back: its report, and the results for the next pipeline step.

    prints: the format on standard output where --output names none.
    """

    report: Report
    results: Mapping[str, str] = field(default_factory=dict)
    prints: str = ""


def finish(
    command: str,
    work: Callable[[], Answer],
    *,
    outputs: Outputs,
    seconds: int,
    notes: tuple[tuple[str, str], ...] = (),
) -> NoReturn:
    """Do the work within its time limit, show the answer whatever it is, and end in its code.

    notes: code and text of what every verdict of this run must record, however it ends.
    """
    import typer

    from imgsec.domain.report import Report
    from imgsec.domain.verdict import Note, because

    outputs, problems = prepare(outputs)
    if problems:
        answer = Answer(Report(command, because(*problems)))
    else:
        answer = _worked(command, work, seconds)
    recorded = (*(Note(*note) for note in notes), *answer.report.verdict.notes)
    verdict = replace(answer.report.verdict, notes=tuple(dict.fromkeys(recorded)))
    answer = replace(answer, report=replace(answer.report, verdict=verdict))
    raise typer.Exit(show(answer, outputs))


def _worked(command: str, work: Callable[[], Answer], seconds: int) -> Answer:
    """What comes of the work within its time limit."""
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import because

    try:
        set_deadline(seconds)
        answer = work()
        lift_deadline()
    except ImgsecError as error:
        return Answer(Report(command, because(error.reason)))
    except DeadlineReached:
        reason = TIMEOUT(f"the command did not end within {seconds} s")
        return Answer(Report(command, because(reason)))
    return answer


def prepare(outputs: Outputs) -> tuple[Outputs, tuple[Reason, ...]]:
    """The outputs that are possible, and why the others are not; to be asked before the work.

    Takes away what an earlier run left in them: a run that is killed must not leave another run's
    verdict behind.
    """
    from imgsec.adapters.files import remove_file, require_writable
    from imgsec.domain.reference import shown

    problems: list[Reason] = list(_collisions(outputs))
    if problems:  # before anything is touched
        printed = tuple(text for text in outputs.formats if text in outputs.known)[:1]
        nowhere = Outputs(printed, outputs.known, verbose=outputs.verbose)
        return nowhere, tuple(problems)

    def is_possible(target: str | None, *, replaced: bool = True) -> bool:
        try:
            if target:
                require_writable(target)
                if replaced:
                    remove_file(target)
        except ImgsecError as error:
            problems.append(error.reason)
            return False
        return True

    formats = []
    for text in outputs.formats:
        name, equals, path = text.partition("=")
        if name not in outputs.known or (equals and not path):
            problems.append(
                INVALID_OPTION(f"{shown(text)} is not one of {', '.join(outputs.known)} [=FILE]")
            )
        elif is_possible(path):
            formats.append(text)
    several = _printed(tuple(formats))
    if len(several) > 1:
        both = " and ".join(several)
        problems.append(INVALID_OPTION(f"{both} cannot both be printed; write one to a FILE"))
        kept = "json" if "json" in several else several[0]
        formats = [text for text in formats if text == kept or text not in several]
    further = tuple(one for one in outputs.further if is_possible(one[1]))
    files = {name: path for name, path in outputs.result_files.items() if is_possible(path)}
    output, summary = (
        target if is_possible(target, replaced=False) else None
        for target in (outputs.github_output, outputs.github_summary)
    )
    possible = replace(
        outputs,
        formats=tuple(formats),
        result_files=files,
        further=further,
        github_output=output,
        github_summary=summary,
    )
    return possible, tuple(problems)


def _collisions(outputs: Outputs) -> Iterator[Reason]:
    """That two things would be written to one file, or one over a file that is to be read."""
    seen = {os.path.realpath(path): name for name, path in outputs.inputs}
    for name, path in _files_written(outputs):
        place = os.path.realpath(path)
        if place in seen:
            text = f"{seen[place]} and {name} name the same file"
            yield INVALID_OPTION(text, hint="Give each file a name of its own.")
        seen[place] = name


def _files_written(outputs: Outputs) -> Iterator[tuple[str, str]]:
    """What names each file that is to be written, and the file."""
    from imgsec.domain.reference import shown

    for text in outputs.formats:
        if path := text.partition("=")[2]:
            yield f"--output {shown(text)}", path
    for name, path in outputs.result_files.items():
        yield f"--result-{name}-file {shown(path)}", path
    yield from outputs.further
    appended = {
        "--github-output": outputs.github_output,
        "--github-step-summary": outputs.github_summary,
    }
    for option, target in appended.items():
        if target:
            yield f"{option} {shown(target)}", target


def show(answer: Answer, outputs: Outputs) -> int:
    """Write the answer everywhere it was asked for; the exit code that it ends in.

    Files come first: where one cannot be written, that joins the answer, and what is printed is the
    only and whole truth.
    """
    report = answer.report
    try:
        _store(report, answer.results, outputs)
    except ImgsecError as error:
        from imgsec.domain.verdict import all_of, because

        report = replace(report, verdict=all_of([report.verdict, because(error.reason)]))
    code = EXIT_CODES[report.verdict.outcome]
    if sys.stderr.isatty():
        sys.stderr.write(_CLEAR_LINE)  # of what `progress` said last
    printed = _printed(outputs.formats)
    if answer.prints and not any("=" not in one for one in outputs.formats):
        printed = [answer.prints]
    for name in printed:
        _print(_RENDERERS[name](report, outputs, code))
    if printed:
        sys.stderr.write(_text(report, outputs, code))
    else:
        _print(_text(report, outputs, code))
    return code


def _printed(formats: tuple[str, ...]) -> list[str]:
    """The formats for programs that go to standard output, each once."""
    return [name for name in dict.fromkeys(formats) if name in _RENDERERS and name != "text"]


def _store(report: Report, results: Mapping[str, str], outputs: Outputs) -> None:
    """Everything that goes to files. Raises `ImgsecError` (output-unwritable)."""
    from imgsec.adapters.files import append_file, write_file

    found = {"verdict": report.verdict.outcome.word, **results}
    for name, path in outputs.result_files.items():
        if name in found:
            write_file(path, _bounded(found[name]).encode())
    if outputs.github_output:
        append_file(outputs.github_output, _github_output(found).encode())
    if outputs.github_summary:
        from imgsec.render.markdown import report_markdown

        append_file(outputs.github_summary, report_markdown(report).encode())
    code = EXIT_CODES[report.verdict.outcome]
    for text in outputs.formats:
        name, equals, path = text.partition("=")
        if equals and name in _RENDERERS:
            write_file(path, _RENDERERS[name](report, outputs, code).encode())


def progress(outputs: Outputs) -> Callable[[str], None]:
    """Says on standard error how long work goes on: over one line on a terminal, else in lines."""
    from imgsec.render.text import clean

    on_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def say(text: str) -> None:
        if outputs.quiet:
            return
        if on_terminal:
            sys.stderr.write(f"{_CLEAR_LINE}{clean(text)[:150]}")
        else:
            sys.stderr.write(f"{clean(text)}\n")
        sys.stderr.flush()

    return say


def _print(content: str) -> None:
    try:
        sys.stdout.write(content)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ImgsecError(OUTPUT_UNWRITABLE(f"standard output: {error.strerror}")) from None


def _text(report: Report, outputs: Outputs, _: int) -> str:
    from imgsec.render.text import report_lines

    if outputs.quiet and report.verdict.passed:
        return ""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    lines = list(report_lines(report, verbose=outputs.verbose, width=width))
    if sys.stderr.isatty() and sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        lines = [_coloured(line) for line in lines]
    return "".join(f"{line}\n" for line in lines)


def _json(report: Report, _: Outputs, code: int) -> str:
    import json

    from imgsec.render.document import report_document

    is_long = len(report.admissions) > _INDENTED_MAX  # Python's indenting encoder is slow
    text = json.dumps(report_document(report, code), indent=None if is_long else 2)
    return text.replace("##[", "\\u0023#[") + "\n"  # a command of older runners, in any line


def _review(report: Report, _: Outputs, __: int) -> str:
    import json

    return json.dumps(report.review.document(), indent=2) + "\n" if report.review else ""


def _sarif(report: Report, _: Outputs, __: int) -> str:
    if report.lint is not None:
        from imgsec.render.lint_sarif import lint_sarif

        return lint_sarif(report, report.lint)
    from imgsec.domain.report import with_scans_apart
    from imgsec.render.sarif import report_sarif

    return report_sarif(with_scans_apart(report))


def _junit(report: Report, _: Outputs, __: int) -> str:
    from imgsec.render.junit import report_junit

    return report_junit(report)


def _markdown(report: Report, _: Outputs, __: int) -> str:
    from imgsec.render.markdown import report_markdown

    return report_markdown(report)


def _html(report: Report, _: Outputs, __: int) -> str:
    from imgsec.domain.report import with_scans_apart
    from imgsec.render.html import report_html

    return report_html(with_scans_apart(report))


_RENDERERS: dict[str, Callable[[Report, Outputs, int], str]] = {
    "text": _text,
    "json": _json,
    "sarif": _sarif,
    "junit": _junit,
    "markdown": _markdown,
    "html": _html,
    "review": _review,
}
_COLOURS = {"pass": 32, "refused": 31, "undecided": 33, "usage": 33, "internal": 31}


def _coloured(line: str) -> str:
    word = line.partition(":")[0]
    return f"\x1b[{_COLOURS[word]}m{word}\x1b[0m{line[len(word) :]}" if word in _COLOURS else line


def _bounded(value: str) -> str:
    """A Tekton result: kept verbatim by Tekton, so without a line end, and small."""
    return value.encode()[:RESULT_MAX_BYTES].decode("utf-8", "ignore")


def _github_output(results: dict[str, str]) -> str:
    """``name=value`` lines; a value with line ends stands behind an unguessable delimiter."""
    import secrets

    lines = []
    for name, value in results.items():
        if "\n" in value or "\r" in value:
            delimiter = f"imgsec-{secrets.token_hex(16)}"
            lines.append(f"{name}<<{delimiter}\n{value}\n{delimiter}")
        else:
            lines.append(f"{name}={value}")
    return "".join(f"{line}\n" for line in lines)
