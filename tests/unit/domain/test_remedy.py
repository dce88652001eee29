# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from imgsec.domain.remedy import remedies, version_key
from imgsec.domain.vulnerability import AffectedPackage, Finding


def finding(number: int, *packages: tuple[str, str]) -> Finding:
    return Finding(
        f"CVE-2026-{number}", packages=tuple(AffectedPackage(n, "1", v) for n, v in packages)
    )


def test_upgrade_that_clears_most_comes_first() -> None:
    found = remedies(
        [
            finding(1, ("openssl", "3.0.9-1"), ("libssl3", "3.0.9-1")),
            finding(2, ("openssl", "3.0.15-1"), ("libssl3", "3.0.15-1")),
            finding(3, ("libssl3", "3.0.11-1")),
            finding(4, ("zlib", "1.3")),
            finding(5, ("perl", "")),
        ]
    )
    assert [str(one) for one in found] == [
        "upgrade libssl3 to 3.0.15-1 and openssl to 3.0.15-1: clears 3 of 5",
        "upgrade libssl3 to 3.0.15-1: clears 1 of 5",
        "upgrade zlib to 1.3: clears 1 of 5",
    ]


def test_half_a_fix_clears_nothing() -> None:
    assert remedies([finding(1, ("a", "2"), ("b", ""))]) == ()
    assert remedies([Finding("CVE-2026-1")]) == ()
    assert remedies([]) == ()


def test_many_packages_are_counted() -> None:
    names = [(f"linux-{number}", "6.1") for number in range(9)]
    (one,) = remedies([finding(1, *names)])
    assert "linux-3 to 6.1 and 5 more packages: clears 1 of 1" in str(one)


def test_digits_of_every_script_are_no_numbers() -> None:
    assert version_key("1.²") != version_key("1.2")
    assert version_key("²:1")
    remedies([finding(1, ("a", "1.²")), finding(2, ("a", "٣:1"))])


def test_sentence_stays_one_that_a_person_reads() -> None:
    (one,) = remedies([finding(1, ("n" * 2000, "v" * 2000))])
    assert len(str(one)) < 250
    assert one.packages[0][0] == "n" * 2000


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("1.9", "1.10"),
        ("3.0.11-1", "3.0.11-2"),
        ("1.0~rc1", "1.0"),
        ("9.9", "1:0.1"),
        ("1.0", "1.0.1"),
        ("2.36-9+deb12u4", "2.36-9+deb12u10"),
        ("", "0"),
        ("1.0-r0", "1.0-r12"),
    ],
)
def test_versions_are_ordered_as_people_do(lower: str, higher: str) -> None:
    assert version_key(lower) < version_key(higher)
