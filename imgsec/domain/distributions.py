# SPDX-License-Identifier: Apache-2.0
"""Until when a distribution gets security updates: after that a clean scan says nothing.

From the vendors' own release pages, as of 2026-11, those of Ubuntu's interim releases and of old
Debian ones from Debian's package distro-info-data. The last day of the support that is free to all
counts, for Debian that of its LTS team. A gate file can add to it and correct it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date

from imgsec.domain.vulnerability import Distribution

_LAST_DAY = {
    # https://www.debian.org/releases/ and https://wiki.debian.org/LTS
    "debian 4": "2010-02-15",
    "debian 5": "2012-02-06",
    "debian 6": "2016-02-29",
    "debian 7": "2018-05-31",
    "debian 8": "2020-06-30",
    "debian 9": "2022-06-30",
    "debian 10": "2024-06-30",
    "debian 11": "2026-08-31",
    "debian 12": "2028-06-30",
    "debian 13": "2030-06-30",
    # https://ubuntu.com/about/release-cycle, standard support; every release since 12.04
    "ubuntu 12.04": "2017-04-28",
    "ubuntu 12.10": "2014-05-16",
    "ubuntu 13.04": "2014-01-27",
    "ubuntu 13.10": "2014-07-17",
    "ubuntu 14.04": "2019-04-30",
    "ubuntu 14.10": "2015-07-23",
    "ubuntu 15.04": "2016-02-04",
    "ubuntu 15.10": "2016-07-28",
    "ubuntu 16.04": "2021-04-30",
    "ubuntu 16.10": "2017-07-20",
    "ubuntu 17.04": "2018-01-13",
    "ubuntu 17.10": "2018-07-19",
    "ubuntu 18.04": "2023-05-31",
    "ubuntu 18.10": "2019-07-18",
    "ubuntu 19.04": "2020-01-23",
    "ubuntu 19.10": "2020-07-17",
    "ubuntu 20.04": "2025-05-31",
    "ubuntu 20.10": "2021-07-22",
    "ubuntu 21.04": "2022-01-20",
    "ubuntu 21.10": "2022-07-14",
    "ubuntu 22.04": "2027-04-30",
    "ubuntu 22.10": "2023-07-20",
    "ubuntu 23.04": "2024-01-25",
    "ubuntu 23.10": "2024-07-11",
    "ubuntu 24.04": "2029-04-30",
    "ubuntu 24.10": "2025-07-10",
    "ubuntu 25.04": "2026-01-15",
    "ubuntu 25.10": "2026-07-09",
    "ubuntu 26.04": "2031-04-30",
    "ubuntu 26.10": "2027-07-15",
    # https://alpinelinux.org/releases/
    "alpine 3.0": "2016-05-01",
    "alpine 3.1": "2016-11-01",
    "alpine 3.2": "2017-05-01",
    "alpine 3.3": "2017-11-01",
    "alpine 3.4": "2018-05-01",
    "alpine 3.5": "2018-11-01",
    "alpine 3.6": "2019-05-01",
    "alpine 3.7": "2019-11-01",
    "alpine 3.8": "2020-05-01",
    "alpine 3.9": "2020-11-01",
    "alpine 3.10": "2021-05-01",
    "alpine 3.11": "2021-11-01",
    "alpine 3.12": "2022-05-01",
    "alpine 3.13": "2022-11-01",
    "alpine 3.14": "2023-05-01",
    "alpine 3.15": "2023-11-01",
    "alpine 3.16": "2024-05-23",
    "alpine 3.17": "2024-11-22",
    "alpine 3.18": "2025-05-09",
    "alpine 3.19": "2025-11-01",
    "alpine 3.20": "2026-04-01",
    "alpine 3.21": "2026-11-01",
    "alpine 3.22": "2027-05-01",
    # https://access.redhat.com/support/policy/updates/errata, end of maintenance support
    "rhel 5": "2017-03-31",
    "rhel 6": "2020-11-30",
    "rhel 7": "2024-06-30",
    "rhel 8": "2029-05-31",
    "rhel 9": "2032-05-31",
    # https://www.centos.org/centos-linux-eol/
    "centos 5": "2017-03-31",
    "centos 6": "2020-11-30",
    "centos 7": "2024-06-30",
    "centos 8": "2021-12-31",
}
_SAME = {"redhat": "rhel", "red": "rhel", "ubi": "rhel", "redhatenterpriselinux": "rhel"}


def last_day_of(
    distribution: Distribution,
    added: Mapping[str, date] | None = None,
    known: Mapping[str, str] = _LAST_DAY,
) -> date | None:
    """The last day with security updates; None where nobody knows it.

    added: what the operator says, by whichever name the distribution goes, which wins. A release
    older than the oldest known one of its distribution has ended on the day of that, or before; a
    newer one is not known.

    >>> last_day_of(Distribution("alpine", "3.18.4"))
    datetime.date(2025, 5, 9)
    >>> last_day_of(Distribution("redhat", "9.4"), {"redhat 9": date(2030, 1, 1)})
    datetime.date(2030, 1, 1)
    """
    said = _by_common_names(added or {})
    name = _common_name(distribution.id.lower())
    for release in _releases(distribution.version.lower()):
        key = f"{name} {release}"
        if key in said:
            return said[key]
        if key in known:
            return date.fromisoformat(known[key])
    return _before_all(name, distribution.version, known)


def _common_name(name: str) -> str:
    return _SAME.get(name, name)


def _by_common_names(added: Mapping[str, date]) -> dict[str, date]:
    """The earlier day of two for one distribution under its names."""
    found: dict[str, date] = {}
    for key, day in added.items():
        name, _, release = key.lower().partition(" ")
        common = f"{_common_name(name)} {release}"
        found[common] = min(day, found.get(common, day))
    return found


def _releases(version: str) -> Iterator[str]:
    """The version, then what it is a minor version of."""
    parts = version.split(".")
    for count in range(len(parts), 0, -1):
        yield ".".join(parts[:count])


def _before_all(name: str, version: str, known: Mapping[str, str]) -> date | None:
    """The last day of the oldest known release, for one that is older."""
    releases = [key.partition(" ")[2] for key in known if key.startswith(f"{name} ")]
    oldest = min(releases, key=_numbers, default=None)
    numbers = _numbers(version)
    if oldest is None or not () < numbers < _numbers(oldest)[: len(numbers)]:
        return None
    return date.fromisoformat(known[f"{name} {oldest}"])


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers that it begins with; none for a release that has a name alone."""
    found = re.match(r"[0-9]{1,9}(?:\.[0-9]{1,9})*", version)
    return tuple(map(int, found[0].split("."))) if found else ()
