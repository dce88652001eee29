# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from imgsec.domain.go_time import go_date, go_moment


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2020-02-03T04:05:06.789Z", "Mon Feb 3 04:05:06 UTC 2020"),
        ("2026-12-16T06:04:54.905905445Z", "Wed Dec 16 06:04:54 UTC 2026"),
        ("2020-02-03T04:05:06+00:00", "Mon Feb 3 04:05:06 UTC 2020"),
        ("2020-02-03T04:05:06-07:30", "Mon Feb 3 04:05:06 -0730 2020"),
        ("0001-01-01T00:00:00Z", "Mon Jan 1 00:00:00 UTC 0001"),
    ],
)
def test_moment_is_shown_as_go_shows_it(text: str, shown: str) -> None:
    assert go_date(go_moment(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2020-02-03",
        "2020-02-03T04:05:06",
        "2020-02-03 04:05:06Z",
        "20200203T040506Z",
        "2020-02-30T04:05:06Z",
        "2020-02-03T04:05:06+24:00",
        "2020-02-03T04:05:06,5Z",
        "\uff12020-02-03T04:05:06Z",
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        go_moment(text)
