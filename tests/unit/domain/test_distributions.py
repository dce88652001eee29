# SPDX-License-Identifier: Apache-2.0
"""When a distribution has ended: no hole in the table, and one name for each distribution."""

from __future__ import annotations

from datetime import date

import pytest

from imgsec.domain.distributions import last_day_of
from imgsec.domain.vulnerability import Distribution

ENDED = date(2000, 1, 1)


@pytest.mark.parametrize(
    ("name", "version", "day"),
    [
        ("alpine", "3.9.6", date(2020, 11, 1)),
        ("debian", "7.11", date(2018, 5, 31)),
        ("ubuntu", "22.10", date(2023, 7, 20)),
        ("ubuntu", "25.10", date(2026, 7, 9)),
        ("Ubuntu", "12.04.5", date(2017, 4, 28)),
        ("redhat", "9.4", date(2032, 5, 31)),
    ],
)
def test_known_release_ends_on_its_day(name: str, version: str, day: date) -> None:
    assert last_day_of(Distribution(name, version)) == day


@pytest.mark.parametrize(
    ("name", "version", "oldest"),
    [
        *(("alpine", "2.7.9", "3.0"), ("debian", "3.1", "4"), ("ubuntu", "10.04", "12.04")),
        *(("redhat", "4", "5"), ("centos", "4.9", "5")),
    ],
)
def test_release_before_all_known_ones_has_ended_as_well(
    name: str, version: str, oldest: str
) -> None:
    day = last_day_of(Distribution(name, version))
    assert day is not None
    assert day == last_day_of(Distribution(name, oldest))


@pytest.mark.parametrize(
    ("name", "version"),
    [
        *(("alpine", "3.99"), ("alpine", "edge"), ("alpine", "3"), ("alpine", "4.0_alpha1")),
        *(("ubuntu", "28.04"), ("debian", "14"), ("debian", "sid"), ("debian", "")),
        *(("centos", "9"), ("wolfi", "20230201"), ("", ""), ("debian", "9" * 5000)),
    ],
)
def test_newer_and_unnumbered_releases_are_unknown(name: str, version: str) -> None:
    assert last_day_of(Distribution(name, version)) is None


@pytest.mark.parametrize("key", ["redhat 9", "rhel 9", "ubi 9", "redhat 9.4", "RedHat 9"])
@pytest.mark.parametrize("name", ["redhat", "rhel", "RHEL"])
def test_operators_word_counts_by_whichever_name(key: str, name: str) -> None:
    found = Distribution(name, "9.4")
    assert last_day_of(found, {key: ENDED}) == ENDED
    assert last_day_of(found, {key: ENDED}, {}) == ENDED


def test_of_two_words_for_one_distribution_the_earlier_day_counts() -> None:
    later = date(2040, 1, 1)
    for added in ({"redhat 9": ENDED, "rhel 9": later}, {"redhat 9": later, "rhel 9": ENDED}):
        assert last_day_of(Distribution("rhel", "9"), added) == ENDED


def test_operators_word_is_about_no_other_release() -> None:
    assert last_day_of(Distribution("wolfi", "2022"), {"wolfi 2023": ENDED}) is None
    assert last_day_of(Distribution("redhat", "9.4"), {"redhat 9.5": ENDED}, {}) is None
    assert last_day_of(Distribution("alpine", "edge"), {"alpine edge": ENDED}) == ENDED
