# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import pytest

from imgsec.domain.verdict import Note, Verdict, all_of, because, passed
from imgsec.reasons import NOT_ASSESSED, SIGNATURE_MISSING, TIMEOUT, Outcome

PASS = passed(Note("n", "noted"))
REFUSED = because(SIGNATURE_MISSING("none"))
UNDECIDED = because(TIMEOUT("late"), notes=[Note("n", "noted")])


def test_of_nothing_comes_no_pass() -> None:
    assert all_of([]).outcome is Outcome.UNDECIDED
    assert [reason.code for reason in all_of([]).reasons] == ["nothing-checked"]


def test_refused_wins_over_undecided_and_undecided_over_pass_in_any_order() -> None:
    for order in itertools.permutations([PASS, UNDECIDED, REFUSED]):
        assert all_of(order).outcome is Outcome.REFUSED
    for order in itertools.permutations([PASS, UNDECIDED, PASS]):
        assert all_of(order).outcome is Outcome.UNDECIDED
    assert all_of([PASS, PASS]).passed


def test_every_reason_is_kept_and_every_note_once() -> None:
    both = all_of([UNDECIDED, REFUSED, PASS])
    assert [reason.code for reason in both.reasons] == ["timeout", "signature-missing"]
    assert both.notes == (Note("n", "noted"),)


def test_verdict_of_reasons_is_the_worst_of_them() -> None:
    assert because(TIMEOUT("x"), SIGNATURE_MISSING("y")).outcome is Outcome.REFUSED
    assert because(NOT_ASSESSED("x"), TIMEOUT("y")).outcome is Outcome.UNDECIDED


def test_without_a_reason_nothing_but_a_pass_can_be_made() -> None:
    with pytest.raises(ValueError, match="reason"):
        because()


def test_verdicts_are_values() -> None:
    assert Verdict(Outcome.PASS) == passed()
