# SPDX-License-Identifier: Apache-2.0
"""All that a report says of policies: what lint finds, what they change, what they decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from imgsec.domain.report import Report
from imgsec.domain.verdict import Note, Verdict
from imgsec.reasons import Outcome

_TEST_WORDS = {Outcome.PASS: "ok", Outcome.UNDECIDED: "undecided"}


def prediction_lines(report: Report, *, verbose: bool) -> Iterator[str]:
    """For people; foreign texts are still to be cleaned."""
    if report.lint is not None:
        from imgsec.render.lint_text import lint_lines

        yield from lint_lines(report.lint, verbose=verbose)
    if report.meaning_changes or report.admission_changes:
        from imgsec.render.policy_changes import change_lines

        yield from change_lines(report)
    for test in report.tests:
        yield f"{_TEST_WORDS.get(test.verdict.outcome, 'failed')}: {test.name}"
        for reason in test.verdict.reasons:
            yield f"  {reason.code}: {reason.text}"
            yield f"    hint: {reason.hint}"
        yield from _unchecked(test.not_checked, verbose=verbose)
    if report.admissions:
        from imgsec.render.admission_text import admission_lines

        yield from admission_lines(report.admissions, verbose=verbose)


def _unchecked(notes: Sequence[Note], *, verbose: bool) -> Iterator[str]:
    """Of a test, one of many: in one line, and in sentences where they are wanted."""
    if not notes:
        return
    from imgsec.render.admission_document import codes_of

    if verbose:
        yield from (f"  not checked: {note.text}" for note in notes)
    else:
        yield f"  not checked: {codes_of(notes)}"


def prediction_members(
    report: Report, verdict: Callable[[Verdict], dict[str, Any]]
) -> dict[str, Any]:
    """For programs. verdict: how a report writes one."""
    found: dict[str, Any] = {}
    if report.lint is not None:
        from imgsec.render.lint_document import lint_document

        found["lint"] = lint_document(report.lint)
    if report.tests:
        from imgsec.render.admission_document import note_members

        found["tests"] = [
            {
                "name": one.name,
                **verdict(one.verdict),
                "notChecked": note_members(one.not_checked),
            }
            for one in report.tests
        ]
    if report.meaning_changes or report.admission_changes:
        from imgsec.render.policy_changes import change_members

        found |= change_members(report, verdict)
    if report.admissions:
        from imgsec.render.admission_document import admission_members

        found |= admission_members(report.admissions, verdict)
    return found
