# SPDX-License-Identifier: Apache-2.0
"""What a lint claims of rules, held against every text there is, of a small alphabet.

The engine is written down here once more, as naively as can be: a regular expression for each name.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgsec.domain.engines import ENGINES, Engine
from imgsec.domain.lint_catalogue import (
    DEAD_RULE,
    DUPLICATE_RULE,
    NEVER_MET,
    SHADOWED_RULE,
    LintFinding,
)
from imgsec.domain.lint_examples import EXAMPLE_DIGEST, engine_name, example_of, overlaid
from imgsec.domain.lint_losses import lost_to
from imgsec.domain.lint_names import never_met
from imgsec.domain.lint_pool import LintPool, pools_of
from imgsec.domain.lint_precedence import dead_by, fresh_sign
from imgsec.domain.lint_sources import Inventory, take_inventory
from imgsec.domain.policy_fields import Path
from imgsec.domain.policy_lint import lint_inventory

# Searches of pure functions: seconds each, and the same under every Python.
pytestmark = pytest.mark.once

UNCHECKED: dict[str, Any] = {}
SIGNED = {"simple": {"requirements": [{"type": "signedBy", "keySecret": "k"}]}}
REJECTED = {"simple": {"requirements": [{"type": "reject"}]}}
TRUSTED = {"trust": {"enabled": True, "trustServer": "https://trust.example"}}
# b stands in no name: it is what a star is met by.
TEXTS = [
    "".join(letters)
    for length in range(1, 7)
    for letters in itertools.product("ab/:@", repeat=length)
    if length < 6 or "b" in letters
]
engines = st.sampled_from(ENGINES)
names = st.text("aa*/:@", min_size=1, max_size=4)
demands = st.sampled_from((UNCHECKED, SIGNED, REJECTED, TRUSTED))


class Document:
    """A policy without a file; its line is its rule's place."""

    where = "policies.yaml"

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    def line_of(self, path: Path) -> int:
        return int(path[2]) + 1 if len(path) > 2 and isinstance(path[2], int) else 1


def policy(rules: Iterable[tuple[str, dict[str, Any]]], engine: Engine) -> Document:
    entries = [{"name": name, "policy": demand} for name, demand in rules]
    return Document(
        {
            "apiVersion": engine.api,
            "kind": "ClusterImagePolicy",
            "metadata": {"name": "default"},
            "spec": {"repositories": entries},
        }
    )


def inventory(rules: Iterable[tuple[str, dict[str, Any]]], engine: Engine) -> Inventory:
    return take_inventory([policy(rules, engine)], engine)


def pool(rules: Iterable[tuple[str, dict[str, Any]]], engine: Engine) -> LintPool:
    (found,) = pools_of(inventory(rules, engine))
    return found


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


def naive_winner(patterns: Sequence[str], text: str, engine: Engine) -> int | None:
    best, best_score = None, -1
    for place, pattern in enumerate(patterns):
        if "*" not in pattern and pattern == text:
            return place
        score = len(pattern.encode()) - pattern.count("*")
        if score > best_score and naively_met(pattern, text, engine):
            best, best_score = place, score
    return best


@settings(max_examples=150, deadline=None)
@given(st.lists(names, min_size=1, max_size=4, unique=True), engines)
def test_a_rule_is_dead_exactly_if_no_text_is_decided_by_it(
    patterns: list[str], engine: Engine
) -> None:
    rules = pool([(name, UNCHECKED) for name in patterns], engine)
    strange = fresh_sign(patterns)
    winners = {naive_winner(patterns, text, engine) for text in TEXTS}
    for place, rule in enumerate(rules.rules):
        is_dead = dead_by(rule, rules, strange) is not None
        assert is_dead == (place not in winners), (patterns, rule.name, engine.name)


def proven(finding: LintFinding, patterns: Sequence[str], engine: Engine) -> None:
    """Whether the image of a finding shows what it says."""
    place = finding.line - 1
    assert naively_met(patterns[place], finding.image, engine)
    assert naive_winner(patterns, finding.image, engine) != place
    assert engine_name(finding.image) is not None


parts = st.sampled_from(
    ("icr.io", "us.icr.io", "*.icr.io", "*", "ns", "app", "app*", "a", "docker.io", "nginx")
)
likely = st.builds(
    lambda words, end: "/".join(words) + end,
    st.lists(parts, min_size=1, max_size=3),
    st.sampled_from(("", "", ":*", ":1.0", "@*", ":prod", "*", ":*-dev", "/*")),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(likely, demands), min_size=1, max_size=7), engines)
def test_what_is_said_of_precedence_is_proved_by_the_image(
    rules: list[tuple[str, dict[str, Any]]], engine: Engine
) -> None:
    patterns = [name for name, _ in rules]
    for finding in lint_inventory(inventory(rules, engine)).findings:
        if finding.image and finding.kind in (DEAD_RULE, DUPLICATE_RULE, SHADOWED_RULE):
            proven(finding, patterns, engine)


# Images that rules of `crossing` share.
SHARED = [
    f"{host}/{path}{end}"
    for host in ("icr.io", "us.icr.io", "r.example:5000", "q.example")
    for path in ("ns/app", "ns/q", "team/app", "team/q/app", "ns/q/app", "a")
    for end in ("", ":1.0", ":prod", ":q-dev", f"@{EXAMPLE_DIGEST}", f":q@{EXAMPLE_DIGEST}")
]
crossing = st.builds(
    lambda host, path, end: f"{host}/{path}{end}",
    st.sampled_from(("icr.io", "us.icr.io", "*.icr.io", "*", "*icr.io")),
    st.sampled_from(("*", "ns/*", "ns/app", "ns/app*", "*/app", "*/*", "ns/*/app", "team/*")),
    st.sampled_from(("", ":*", ":1.0", "@*", ":prod", ":*-dev", "@sha256:*", ":*@*")),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(crossing, demands), min_size=2, max_size=5), engines)
def test_every_rule_that_loses_shared_images_to_a_laxer_one_is_told(
    rules: list[tuple[str, dict[str, Any]]], engine: Engine
) -> None:
    patterns = [name for name, _ in rules]
    told = {
        one.line - 1
        for one in lint_inventory(inventory(rules, engine)).findings
        if one.kind in (DEAD_RULE, SHADOWED_RULE, DUPLICATE_RULE)
    }
    every = pool(rules, engine).rules
    by_place = {rule.rule.place: rule for rule in every}
    for place, rule in by_place.items():
        for image in SHARED if place not in told else ():
            winner = naive_winner(patterns, image, engine)
            if winner in (None, place) or not naively_met(rule.name, image, engine):
                continue
            other = by_place[winner]
            is_part = naively_met(rule.name, other.name.replace("*", "b"), engine)
            assert is_part or not lost_to(other, rule, image), (
                rules,
                engine.name,
                rule.name,
                image,
            )


LETTERS = "aA/:.-@*"
IMAGES = [
    text
    for length in range(1, 6)
    for letters in itertools.product("aA1/:.-", repeat=length)
    for stem in ("".join(letters),)
    for text in (stem, f"{stem}@{EXAMPLE_DIGEST}")
    if engine_name(text)
]


@settings(max_examples=400, deadline=None)
@given(st.text(LETTERS, min_size=1, max_size=6), engines)
def test_what_is_never_met_is_met_by_no_image(pattern: str, engine: Engine) -> None:
    if never_met(pattern, engine) is not None:
        met = [text for text in IMAGES if naively_met(pattern, text, engine)]
        assert met == []
        assert example_of(pattern, engine) is None


@settings(max_examples=300, deadline=None)
@given(st.text("ab*/", max_size=5), st.text("ab*/", max_size=5))
def test_overlaid_names_share_texts(first: str, second: str) -> None:
    laid = overlaid(first, second)
    shared = [
        text for text in TEXTS if glob(first).fullmatch(text) and glob(second).fullmatch(text)
    ]
    if laid is None:
        assert shared == []
        return
    for filling in ("", "x", "a/b"):
        text = laid.replace("*", filling)
        assert glob(first).fullmatch(text)
        assert glob(second).fullmatch(text)


@settings(max_examples=300, deadline=None)
@given(st.one_of(likely, st.text("aA1*/:@.-", max_size=8)), engines)
def test_an_example_is_an_image_that_meets_the_name(pattern: str, engine: Engine) -> None:
    image = example_of(pattern, engine)
    if image is not None:
        assert naively_met(pattern, image, engine)
        assert engine_name(image)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=5),
    st.sampled_from(("icr.io/ns/*", "*", "signedBy", "matchExact", "https://x", "\ue000", "a*b")),
)
words = st.sampled_from(
    "name policy policies simple trust requirements type keySecret enabled storeURL trustServer"
    " signedIdentity prefix va vulnerability ICCRVA signerSecrets spec repositories".split()
)
trees = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=4)),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "apiVersion": st.sampled_from(sorted({engine.api for engine in ENGINES})),
                "kind": st.sampled_from(("ImagePolicy", "ClusterImagePolicy")),
                "metadata": st.one_of(
                    trees, st.just({"name": "a"}), st.just({"name": "a", "namespace": "b"})
                ),
                "spec": st.one_of(
                    trees, st.fixed_dictionaries({"repositories": st.lists(trees, max_size=4)})
                ),
            }
        ),
        max_size=3,
    ),
    engines,
)
def test_any_document_is_looked_at(contents: list[dict[str, Any]], engine: Engine) -> None:
    found = take_inventory(map(Document, contents), engine)
    for finding in lint_inventory(found, images=["icr.io/ns/app"]).findings:
        assert finding.text
        assert finding.hint


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_never_met_is_told_once_for_a_name(engine: Engine) -> None:
    found = lint_inventory(inventory([("https://icr.io/*", SIGNED)], engine)).findings
    assert [one.kind for one in found if one.kind is NEVER_MET] == [NEVER_MET]
