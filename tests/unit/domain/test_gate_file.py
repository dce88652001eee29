# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from imgsec.domain.gate import GateRules, Mode, Treatment, Trust
from imgsec.domain.gate_file import DEFAULT_MAX_AGE, GateFile
from imgsec.domain.vulnerability import Severity


def parse(**fields: Any) -> GateFile:
    said = {name.replace("_", "-"): value for name, value in fields.items()}
    return GateFile.parse({"version": 1, **said})


def test_every_field_is_read() -> None:
    file = parse(
        fail_on="high",
        unknown_severity="ignore",
        only_fixed=True,
        grace="14d",
        exemptions="ledger-only",
        unsupported="refuse",
        end_of_life="pass",
        distributions={"Wolfi 2023": "2027-01-31"},
        mode="warn",
        max_age="90m",
    )
    assert file.rules == GateRules(
        fail_on=Severity.HIGH,
        counts_unknown=False,
        only_fixed=True,
        grace=timedelta(days=14),
        trust=Trust.LEDGER,
        unsupported=Treatment.REFUSE,
        end_of_life=Treatment.PASS,
        last_days={"wolfi 2023": date(2027, 1, 31)},
        mode=Mode.WARN,
    )
    assert file.max_age == timedelta(minutes=90)


def test_empty_file_is_the_strict_default() -> None:
    assert parse() == GateFile(GateRules(), DEFAULT_MAX_AGE)
    assert parse(fail_on="any", max_age="any") == GateFile(GateRules(), None)


def test_grace_of_the_file_can_be_taken_back() -> None:
    assert parse(grace="14d").with_rules({"grace": "0d"}).rules.grace == timedelta(0)


def test_option_wins_over_the_file_and_leaves_the_rest() -> None:
    file = parse(fail_on="high", only_fixed=True).with_rules({"fail-on": "low"})
    assert (file.rules.fail_on, file.rules.only_fixed) == (Severity.LOW, True)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"version": 2},
        {"version": True},
        {"version": 1, "fail_on": "high"},
        {"version": 1, "failon": "high"},
        *(
            {"version": 1, name: value}
            for name, values in {
                "fail-on": ["HIGH", "unknown", "severe", 7, None, True, ["high"]],
                "unknown-severity": ["pass", True, None],
                "only-fixed": ["true", 1, None],
                "grace": ["14", "00d", "-1d", "36h", 14, None, "999999d", True],
                "exemptions": ["ledger", "ledger_only", True, None],
                "unsupported": ["allow", None],
                "end-of-life": ["fail", None],
                "distributions": [[], {"debian": "2027-01-01"}, {"debian 12": "never"}, {12: "x"}],
                "mode": ["audit", None],
                "max-age": ["1y", "", 24, None, "24 h"],
            }.items()
            for value in values
        ),
    ],
)
def test_anything_else_is_an_error_that_names_the_field(document: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        GateFile.parse(document)
