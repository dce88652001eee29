# SPDX-License-Identifier: Apache-2.0
"""What is exempt: the ledger's entries beside what an advisor holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from imgsec.domain.exemption import ACCOUNT, Exemption, ExemptionScope, Ledger, subject_named
from imgsec.domain.reference import ImageReference
from imgsec.domain.report import ExemptionLine
from imgsec.operations.sync_exemptions import is_at, kept_form
from imgsec.ports import ExemptionReader


def list_ledger(ledger: Ledger, today: date) -> tuple[ExemptionLine, ...]:
    """Its entries, with whether they still hold."""
    return tuple(_line(entry, today) for entry in ledger.entries)


def compare_with_advisor(
    lines: tuple[ExemptionLine, ...], registry: str, advisor: ExemptionReader
) -> tuple[ExemptionLine, ...]:
    """The same with whether the advisor has them, and what it has besides.

    An entry of another registry it cannot have, and one for some packages only it cannot say.
    Raises `ImgsecError` where the advisor does not answer.
    """
    held = set(advisor.list_exemptions(registry))
    found, ours = [], set()
    for line in lines:
        if line.entry is not None and is_at(line.entry, registry):
            kept = None if line.entry.packages else kept_form(line.entry)
            ours.add(kept)
            found.append(replace(line, kept=kept in held))
        else:
            found.append(line)
    for one in sorted(held - ours, key=str):
        found.append(ExemptionLine(one.issue, one.type, one.scope, "advisor-only", kept=True))
    return tuple(found)


def hold_for(lines: tuple[ExemptionLine, ...], image: ImageReference) -> tuple[ExemptionLine, ...]:
    """Those whose scope the image is in."""
    subject = subject_named(image)
    return tuple(line for line in lines if _scope(line).covers(subject))


def _line(entry: Exemption, today: date) -> ExemptionLine:
    state = "in-force" if entry.holds_on(today) else "expired"
    return ExemptionLine(entry.issue, str(entry.type), str(entry.scope), state, entry)


def _scope(line: ExemptionLine) -> ExemptionScope:
    if line.entry is not None:
        return line.entry.scope
    return ACCOUNT if line.scope == "*" else ExemptionScope.parse(line.scope)
