# SPDX-License-Identifier: Apache-2.0
"""A verdict: an outcome with its reasons, and what a reader must know about how it was reached."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from imgsec.reasons import NOTHING_CHECKED, Outcome, Reason


@dataclass(frozen=True, slots=True)
class Note:
    """Something that does not decide but must be on record: an insecure option, a key on disk.

    code: stable, kebab-case. text: a sentence for people.
    """

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one question; a verdict that is not a pass has at least one reason."""

    outcome: Outcome
    reasons: tuple[Reason, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASS


def passed(*notes: Note) -> Verdict:
    """The answer is yes."""
    return Verdict(Outcome.PASS, (), notes)


def because(*reasons: Reason, notes: Iterable[Note] = ()) -> Verdict:
    """The verdict that these reasons give: the worst outcome among them.

    >>> from imgsec.reasons import SIGNATURE_MISSING
    >>> because(SIGNATURE_MISSING("app:1 carries no signature")).outcome.word
    'refused'
    """
    if not reasons:
        raise ValueError("a verdict that is not a pass needs a reason")
    return Verdict(max(reason.outcome for reason in reasons), reasons, tuple(notes))


def all_of(verdicts: Iterable[Verdict]) -> Verdict:
    """Logical AND: the worst outcome wins, every reason is kept; of nothing, undecided.

    >>> all_of([]).outcome.word
    'undecided'
    """
    parts = tuple(verdicts)
    if not parts:
        return because(NOTHING_CHECKED("there was nothing to judge"))
    return Verdict(
        max(part.outcome for part in parts),
        tuple(dict.fromkeys(reason for part in parts for reason in part.reasons)),
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )
