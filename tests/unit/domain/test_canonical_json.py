# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from imgsec.domain.canonical_json import canonical


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({}, "{}"),
        ([], "[]"),
        ({"b": [1, None, True, False], "a": {"x": ""}}, '{"a":{"x":""},"b":[1,null,true,false]}'),
        ('"\\/<>&\n\x01', '"\\"\\\\/<>&\n\x01"'),
        ("é\u2028\U0001f600", '"é\u2028\U0001f600"'),
        ({"\U0001f600": 1, "\uffff": 2, "Z": 3, "a": 4}, '{"Z":3,"a":4,"\uffff":2,"\U0001f600":1}'),
        (1e3, "1000"),
        (-0.0, "0"),
        (2**53, str(2**53)),
    ],
)
def test_one_form_for_each_value(value: Any, written: str) -> None:
    assert canonical(value) == written.encode()


@pytest.mark.parametrize("value", [1.5, 2**53 + 1, -(2**60), 1e300, "\ud800", {"\udfff": 1}])
def test_value_that_notary_would_change_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical(value)
