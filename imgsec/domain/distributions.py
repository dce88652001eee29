# SPDX-License-Identifier: Apache-2.0
"""Until when a distribution gets security updates: after that a clean scan says nothing.

From the vendors' own release pages, as of 2026-11. The last day of the support that is free to all
counts, for Debian that of its LTS team. A gate file can add to it and correct it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from imgsec.domain.vulnerability import Distribution

_LAST_DAY = {
    # https://www.debian.org/releases/ and https://wiki.debian.org/LTS
    "debian 8": "2020-06-30",
    "debian 9": "2022-06-30",
    "debian 10": "2024-06-30",
    "debian 11": "2026-08-31",
    "debian 12": "2028-06-30",
    "debian 13": "2030-06-30",
    # https://ubuntu.com/about/release-cycle, standard support
    "ubuntu 14.04": "2019-04-30",
    "ubuntu 16.04": "2021-04-30",
    "ubuntu 18.04": "2023-05-31",
    "ubuntu 20.04": "2025-05-31",
    "ubuntu 22.04": "2027-04-30",
    "ubuntu 23.10": "2024-07-11",
    "ubuntu 24.04": "2029-04-30",
    "ubuntu 24.10": "2025-07-10",
    "ubuntu 25.04": "2026-01-15",
    # https://alpinelinux.org/releases/
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
    "rhel 6": "2020-11-30",
    "rhel 7": "2024-06-30",
    "rhel 8": "2029-05-31",
    "rhel 9": "2032-05-31",
    # https://www.centos.org/centos-linux-eol/
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

    added: what the operator says, by the same names, which wins.

    >>> last_day_of(Distribution("alpine", "3.18.4"))
    datetime.date(2025, 5, 9)
    """
    name = distribution.id.lower()
    name = _SAME.get(name, name)
    parts = distribution.version.split(".")
    for count in range(len(parts), 0, -1):
        key = f"{name} {'.'.join(parts[:count])}"
        if added and key in added:
            return added[key]
        if key in known:
            return date.fromisoformat(known[key])
    return None
