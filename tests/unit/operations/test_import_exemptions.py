# SPDX-License-Identifier: Apache-2.0
"""What another tool exempts comes in with an owner and an end, and changes no entry of ours."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from imgsec.domain.exemption import ExemptionScope
from imgsec.operations.import_exemptions import Terms, import_exemptions
from tests.unit.operations.ledgers import TODAY, FakeForeign, FakeLedger, entry
from tests.unit.refusals import refused

TERMS = Terms("jane", scope="team/app", expires="90d")


def test_terms_are_told_to_the_format() -> None:
    other = FakeForeign()
    import_exemptions(FakeLedger(), other, replace(TERMS, author="us"), TODAY)
    (asked,) = other.asked
    assert (asked.owner, asked.author, asked.today) == ("jane", "us", TODAY)
    assert (asked.scope, asked.expires) == (ExemptionScope.parse("team/app"), date(2026, 7, 30))
    other = FakeForeign(names_images=True)
    import_exemptions(FakeLedger(), other, Terms("jane"), TODAY)
    assert (other.asked[0].scope, other.asked[0].expires) == (None, None)


def test_what_is_held_stays_and_what_is_left_out_is_told() -> None:
    ledger = FakeLedger(entry())
    longer = entry(expires=date(2027, 12, 31))
    over = entry("CVE-2026-1002", expires=date(2026, 4, 30))
    other = FakeForeign(longer, entry("CVE-2026-1001"), over, skipped=("x: it is odd",))
    edit, notes = import_exemptions(ledger, other, TERMS, TODAY)
    assert [one.issue for one in edit.new] == ["CVE-2026-1001"]
    assert edit.gone == frozenset()
    assert [note.text for note in notes] == ["x: it is odd", "CVE-2026-1002 ended on 2026-04-30"]
    assert {note.code for note in notes} == {"exemption-skipped"}


@pytest.mark.parametrize(
    ("terms", "names_images", "said"),
    [
        (Terms("jane"), False, "other does not say where its entries hold; --scope"),
        (TERMS, True, "--scope is not for other, which names its images"),
        (Terms("jane", scope="*"), False, "account-wide"),
        (replace(TERMS, expires="soon"), False, "--expires: "),
    ],
)
def test_terms_without_sense_are_refused_before_anything_is_read(
    terms: Terms, names_images: bool, said: str
) -> None:
    ledger, other = FakeLedger(), FakeForeign(names_images=names_images)
    with refused("invalid-option") as reasons:
        import_exemptions(ledger, other, terms, TODAY)
    assert said in reasons[0].text
    assert (ledger.edits, other.asked) == ([], [])
