# SPDX-License-Identifier: Apache-2.0
"""What other policies would change: as lines, and as members of a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from imgsec.domain.reference import shown
from imgsec.render.admission_document import codes_of, note_members, subject

if TYPE_CHECKING:  # most commands compare nothing
    from imgsec.domain.admission import Admission, AdmissionChange
    from imgsec.domain.policy_diff import Meaning, MeaningChange
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import Verdict


def change_lines(report: Report) -> Iterator[str]:
    """One line for what changes, and two for from what to what."""
    for one in report.meaning_changes:
        where = f" in {one.namespace}" if one.namespace else ""
        yield f"{one.direction}: {shown(one.image)}{where}"
        yield f"  before: {one.before}"
        yield f"  after: {one.after}"
    for change in report.admission_changes:
        yield f"{'locked out' if change.locks_out else 'changed'}: {subject(change.after)}"
        for word, side in (("before", change.before), ("after", change.after)):
            said = "; ".join(side.messages)
            if side.verdict.passed and side.not_checked:
                said = f"not checked: {codes_of(side.not_checked)}"
            yield f"  {word}: {side.verdict.outcome.word}{f': {said}' if said else ''}"


def change_members(report: Report, verdict: Callable[[Verdict], dict[str, Any]]) -> dict[str, Any]:
    """``imageChanges`` and ``workloadChanges``."""
    return {
        "imageChanges": [_image(one) for one in report.meaning_changes],
        "workloadChanges": [_workload(one, verdict) for one in report.admission_changes],
    }


def _image(change: MeaningChange) -> dict[str, Any]:
    return {
        "image": change.image,
        "namespace": change.namespace or None,
        "direction": str(change.direction),
        "before": _meaning(change.before),
        "after": _meaning(change.after),
    }


def _meaning(meaning: Meaning) -> dict[str, Any]:
    rule = meaning.rule
    return {
        "text": str(meaning),
        "rule": {
            "kind": rule.owner.kind,
            "name": rule.owner.name,
            "namespace": rule.owner.namespace or None,
            "repository": rule.repository,
        }
        if rule is not None
        else None,
    }


def _workload(
    change: AdmissionChange, verdict: Callable[[Verdict], dict[str, Any]]
) -> dict[str, Any]:
    workload = change.after.workload
    return {
        "kind": workload.kind,
        "namespace": workload.namespace,
        "name": workload.name,
        "lockedOut": change.locks_out,
        "before": _side(change.before, verdict),
        "after": _side(change.after, verdict),
    }


def _side(admission: Admission, verdict: Callable[[Verdict], dict[str, Any]]) -> dict[str, Any]:
    return {
        **verdict(admission.verdict),
        "messages": list(admission.messages),
        "notChecked": note_members(admission.not_checked),
    }
