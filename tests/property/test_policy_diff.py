# SPDX-License-Identifier: Apache-2.0
"""No change of meaning hides between two rules: held against every text of a small alphabet.

What each engine does is written down here once more, as naively as can be.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imgsec.domain.engine_name import EngineName, Panic
from imgsec.domain.engines import CISE, ENGINES, NEWEST, Engine
from imgsec.domain.pattern_sets import Read, may_share
from imgsec.domain.policy_rules import Policy
from imgsec.domain.resolution import Pools
from imgsec.operations.diff_policies import diff_images

# Searches of pure functions: seconds each, and the same under every Python.
pytestmark = pytest.mark.once

Rules = Sequence[tuple[str, str]]
DEMANDS: dict[str, dict[str, Any]] = {
    "": {},
    "trust": {"trust": {"enabled": True}},
    "x": {"trust": {"enabled": True, "trustServer": "https://x.example"}},
}
DIGEST = f"@sha256:{'a' * 64}"
names = st.text("aab*/:@", min_size=1, max_size=5)
rules = st.lists(st.tuples(names, st.sampled_from(sorted(DEMANDS))), max_size=4)
engines = st.sampled_from([one for one in ENGINES if one is not CISE])


def is_name(text: str) -> bool:
    try:
        EngineName.parse(text)
    except (ValueError, Panic):
        return False
    return True


# c stands in no name: it is what a star is met by.
TEXTS = [
    text + end
    for length in range(1, 6)
    for letters in itertools.product("abc/:", repeat=length)
    for end in ("", DIGEST)
    if is_name((text := "".join(letters)) + end)
]


@cache
def glob(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


@cache
def naively_met(pattern: str, text: str, engine: Engine) -> bool:
    ends = ["", ":*", "@*"][: 3 if engine.covers_digests else 2]
    if engine.splits_hosts and "/" in pattern:
        host, rest = pattern.split("/", 1)
        if "/" not in text:
            return False
        text_host, text_rest = text.split("/", 1)
        return bool(glob(host).fullmatch(text_host)) and any(
            glob(rest + end).fullmatch(text_rest) for end in ends
        )
    return any(glob(pattern + end).fullmatch(text) for end in ends)


def naive_demand(wanted: Rules, text: str, engine: Engine) -> str | None:
    best, best_score = None, -1
    for pattern, demand in wanted:
        if "*" not in pattern and pattern == text:
            return demand
        score = len(pattern.encode()) - pattern.count("*")
        if score > best_score and naively_met(pattern, text, engine):
            best, best_score = demand, score
    return best


def pools(wanted: Rules, engine: Engine, demands: dict[str, dict[str, Any]] = DEMANDS) -> Pools:
    document = {
        **{"apiVersion": engine.api, "kind": "ClusterImagePolicy", "metadata": {"name": "p"}},
        "spec": {
            "repositories": [{"name": name, "policy": demands[demand]} for name, demand in wanted]
        },
    }
    return Pools.of([Policy.read(document)], engine)


@settings(max_examples=400, deadline=None)
@given(rules, rules, rules, engines, st.one_of(st.none(), engines))
@example([("a*a*", "")], [], [("*a**:**a*:*", "")], ENGINES[3], None)
@example([("*/a/b", "")], [("*/a/b", "trust")], [("b/*", "x")], NEWEST, None)
def test_a_change_that_some_image_shows_is_told(
    kept: list[tuple[str, str]],
    before: list[tuple[str, str]],
    after: list[tuple[str, str]],
    engine: Engine,
    upgraded: Engine | None,
) -> None:
    old, new = [*before, *kept], [*kept, *after]
    other = upgraded or engine
    told = diff_images(pools(old, engine), pools(new, other), (), ())

    def change(image: str) -> tuple[str | None, str | None]:
        return naive_demand(old, image, engine), naive_demand(new, image, other)

    shown = {change(one.image) for one in told.changes}
    assert all(was != becomes for was, becomes in shown)
    assert all(is_name(one.image) for one in told.changes)
    true = {(was, becomes) for was, becomes in map(change, TEXTS) if was != becomes}
    assert true <= shown or told.left_out


def naive_child(image: str, digest: str) -> str:
    return f"{EngineName.parse(image).repository}@sha256:{digest}"


SIGNED = {
    "": {},
    "k": {"simple": {"requirements": [{"type": "signedBy", "keySecret": "k"}]}},
    "l": {"simple": {"requirements": [{"type": "signedBy", "keySecret": "l"}]}},
}
signing = st.lists(st.tuples(names, st.sampled_from(sorted(SIGNED))), max_size=4)


@settings(max_examples=400, deadline=None)
@given(signing)
@example([("a/*b", "k"), ("a/*b@*", "k")])
@example([("a/*", "k"), ("a/b@*", "")])
@example([("a", "k"), ("*", "l")])
@example([("*baa", "l"), ("*", "k")])
def test_pods_that_some_image_shows_to_be_decided_otherwise_are_told(
    wanted: list[tuple[str, str]],
) -> None:
    engines = Engine.parse("0.14.2"), NEWEST
    told = diff_images(*(pools(wanted, one, SIGNED) for one in engines), (), ())

    def differs(image: str, digest: str) -> bool:
        demand = naive_demand(wanted, image, NEWEST)
        return bool(demand) and naive_demand(wanted, naive_child(image, digest), NEWEST) != demand

    for one in told.pods:  # names end as digests may, too
        assert differs(one.image, *re.findall("@sha256:([0-9a-f]{64})", one.why))
    is_any = any(differs(text, "c" * 64) for text in TEXTS if "@" not in text)
    assert is_any <= bool(told.pods or told.left_out)


@settings(max_examples=100, deadline=None)
@given(rules, rules)
def test_few_rules_are_compared_to_the_end(
    before: list[tuple[str, str]], after: list[tuple[str, str]]
) -> None:
    assert not diff_images(pools(before, NEWEST), pools(after, NEWEST), (), ()).left_out


@settings(max_examples=600, deadline=None)
@given(names, names, engines, engines)
@example("*/a", "*/a:b", NEWEST, NEWEST)
@example("*/a", "a/*b", NEWEST, NEWEST)
@example("b/*/a", "*/b", NEWEST, NEWEST)
@example("*a/b", "a:*/b", NEWEST, ENGINES[2])
def test_names_that_an_image_meets_may_share_it(
    one: str, other: str, engine: Engine, another: Engine
) -> None:
    if not may_share(Read(one, engine), Read(other, another)):
        met = [text for text in TEXTS if naively_met(one, text, engine)]
        assert not any(naively_met(other, text, another) for text in met)
