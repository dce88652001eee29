# SPDX-License-Identifier: Apache-2.0
"""Which rule decides, against a second reading of the engines that is as plain as can be.

It walks every rule of every object in their order, and follows a pattern sign by sign. It shares
nothing with `imgsec.domain.wildcard` and `imgsec.domain.resolution` but what goes in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imgsec.domain.engines import ENGINES, Engine
from imgsec.domain.policy_rules import Policy, PolicyRule
from imgsec.domain.resolution import Pools, RulePool, walked
from imgsec.domain.wildcard import compare, is_met, literals_of, weight_of

# CISE compares as Portieris did before it had numbers that matter here.
VERSIONS = {
    "cise": (0, 5, 0),
    "0.13.38": (0, 13, 38),
    "0.14.1": (0, 14, 1),
    "0.14.2": (0, 14, 2),
    "0.14.3": (0, 14, 3),
}
NAMESPACES = ("dev", "prod")
engines = pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)


# --- The plain reading ------------------------------------------------------------------------


def plain_compare(pattern: str, text: str) -> bool:
    """By the places in the text that could be reached so far."""
    reached = {0}
    for sign in pattern:
        if sign == "*":
            reached = {at for at in range(len(text) + 1) if any(one <= at for one in reached)}
        else:
            reached = {at + 1 for at in reached if text[at : at + 1] == sign}
    return len(text) in reached


def plain_any_tag(pattern: str, text: str, version: tuple[int, ...]) -> bool:
    if plain_compare(pattern, text) or plain_compare(pattern + ":*", text):
        return True
    return version >= (0, 14, 3) and plain_compare(pattern + "@*", text)


def plain_is_met(pattern: str, image: str, version: tuple[int, ...]) -> bool:
    if version < (0, 14, 2) or "/" not in pattern:
        return plain_any_tag(pattern, image, version)
    if "/" not in image:
        return False
    cut, image_cut = pattern.index("/"), image.index("/")
    return plain_compare(pattern[:cut], image[:image_cut]) and plain_any_tag(
        pattern[cut + 1 :], image[image_cut + 1 :], version
    )


def plain_rules(
    documents: list[dict[str, Any]], kind: str, namespace: str
) -> Iterator[tuple[str, int, str]]:
    """Object, place and name of each rule, in the order in which they are looked at."""
    chosen = [
        document
        for document in documents
        if document["kind"] == kind and document["metadata"].get("namespace", "") == namespace
    ]
    for document in sorted(chosen, key=lambda one: bytes(one["metadata"]["name"], "utf-8")):
        rules = document.get("spec", {}).get("repositories", [])
        for place, rule in enumerate(rules):
            yield document["metadata"]["name"], place, rule.get("name", "")


def plain_decision(
    documents: list[dict[str, Any]], namespace: str, image: str, version: tuple[int, ...]
) -> tuple[str, str, int] | str:
    """Kind, object and place of the rule that decides, or which of the three denials it is."""
    own = [one for one in documents if one["metadata"].get("namespace") == namespace]
    kind = "ImagePolicy" if own else "ClusterImagePolicy"
    best, best_score = None, -1
    for name, place, pattern in plain_rules(documents, kind, namespace if own else ""):
        if "*" not in pattern and pattern == image:
            return kind, name, place
        score = len(pattern.encode()) - pattern.count("*")
        if plain_is_met(pattern, image, version) and score > best_score:
            best, best_score = (kind, name, place), score
    if best is not None:
        return best
    if own:
        return "no match in the namespace's"
    if any(one["kind"] == "ClusterImagePolicy" for one in documents):
        return "no match in the cluster's"
    return "no policies"


# --- What is compared -------------------------------------------------------------------------

signs = st.text("ab*/:@é", max_size=8)
pieces = st.lists(
    st.sampled_from(
        [
            "icr.io",
            "us.",
            "/",
            "ns",
            "app",
            "*",
            "*.",
            ":",
            "1",
            "@",
            "sha256:",
            "ab" * 4,
            "ü\U0001d4b3",
        ]
    ),
    max_size=8,
).map("".join)
patterns = signs | pieces | st.sampled_from(["", "*", "**", "*/*", "/", ":", "@", "icr.io/ns/app"])


@st.composite
def near_images(draw: st.DrawFn, names: list[str]) -> str:
    """A text that meets one of the names more often than not."""
    fill = draw(st.sampled_from(["", "x", "/", "a/b", "icr.io", ":", "é"]))
    end = draw(st.sampled_from(["", "", ":1", "@sha256:0", ":1@sha256:0", "/more", "*"]))
    return draw(st.sampled_from(names)).replace("*", fill) + end


@st.composite
def documents_and_image(draw: st.DrawFn) -> tuple[list[dict[str, Any]], str, str]:
    """Policy documents, a namespace, and an image's text."""
    names = draw(st.lists(patterns, min_size=1, max_size=6))
    owners = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["", "", *NAMESPACES]),
                st.sampled_from(
                    ["a", "a-b", "a.b", "a0", "ab", "b", "B", "é", "\uffff", "\U0001d4b3"]
                ),
            ),
            max_size=5,
            unique=True,
        )
    )
    documents = []
    for namespace, name in owners:
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
        rules = draw(st.lists(st.sampled_from(names), max_size=5))
        spec = {"repositories": [{"name": one} if one else {} for one in rules]}
        kind = "ImagePolicy" if namespace else "ClusterImagePolicy"
        documents.append({"kind": kind, "metadata": metadata, "spec": spec})
    image = draw(near_images(names) | patterns)
    return documents, draw(st.sampled_from(NAMESPACES)), image


def read(documents: list[dict[str, Any]], engine: Engine) -> list[Policy]:
    return [Policy.read({"apiVersion": engine.api, **document}) for document in documents]


# --- The comparison ---------------------------------------------------------------------------


@given(patterns, patterns)
@example("a*a", "a")
@example("a*ab*b", "aabb")
@example("*a*", "")
@example("a**b", "ab")
def test_pattern_is_compared_as_by_the_plain_reading(pattern: str, text: str) -> None:
    assert compare(pattern, text) == plain_compare(pattern, text)


@given(pattern=patterns, data=st.data())
@engines
def test_name_is_met_as_by_the_plain_reading(
    engine: Engine, pattern: str, data: st.DataObject
) -> None:
    image = data.draw(near_images([pattern]) | patterns)
    assert is_met(pattern, image, engine) == plain_is_met(pattern, image, VERSIONS[engine.name])


@given(patterns, patterns)
def test_text_that_meets_a_pattern_holds_its_pieces_in_their_order(pattern: str, text: str) -> None:
    at = 0
    for piece in literals_of(pattern) if compare(pattern, text) else ():
        at = text.index(piece, at) + len(piece)


@given(patterns)
def test_weight_is_what_is_left_in_bytes_without_the_stars(pattern: str) -> None:
    assert weight_of(pattern) == len(pattern.replace("*", "").encode())


@given(given_=documents_and_image())
@engines
def test_same_rule_decides_as_by_the_plain_reading(
    engine: Engine, given_: tuple[list[dict[str, Any]], str, str]
) -> None:
    documents, namespace, image = given_
    pools = Pools.of(read(documents, engine), engine)
    rule = pools.of_namespace(namespace).resolve(image).rule
    expected = plain_decision(documents, namespace, image, VERSIONS[engine.name])
    if rule is not None:
        assert (rule.owner.kind, rule.owner.name, rule.place) == expected
    elif namespace in pools.own:
        assert expected == "no match in the namespace's"
    else:
        assert expected == ("no policies" if pools.is_empty else "no match in the cluster's")


@given(given_=documents_and_image())
@engines
def test_every_rule_that_is_met_is_told_the_heaviest_first(
    engine: Engine, given_: tuple[list[dict[str, Any]], str, str]
) -> None:
    documents, namespace, image = given_
    pool = Pools.of(read(documents, engine), engine).of_namespace(namespace)
    found = pool.resolve(image)
    version = VERSIONS[engine.name]
    met = [rule for rule in pool.rules if plain_is_met(rule.repository, image, version)]
    told = [*found.others] if found.rule is None else [found.rule, *found.others]
    assert len(told) == len(met)
    assert {(rule.owner, rule.place) for rule in told} == {(rule.owner, rule.place) for rule in met}
    by_weight = sorted(found.others, key=lambda rule: -weight_of(rule.repository))
    assert list(found.others) == by_weight
    order = {(rule.owner, rule.place): at for at, rule in enumerate(pool.rules)}
    for one, other in zip(found.others, found.others[1:], strict=False):
        if weight_of(one.repository) == weight_of(other.repository):
            assert order[one.owner, one.place] < order[other.owner, other.place]


@given(st.lists(patterns, min_size=1, max_size=40), st.data())
@engines
def test_pool_of_many_rules_finds_what_a_walk_over_all_finds(
    engine: Engine, names: list[str], data: st.DataObject
) -> None:
    document = {
        "kind": "ClusterImagePolicy",
        "metadata": {"name": "many"},
        "spec": {"repositories": [{"name": name} for name in names]},
    }
    pool = RulePool(walked(read([document], engine)), engine)
    image = data.draw(near_images(names) | patterns)
    rule: PolicyRule | None = pool.resolve(image).rule
    expected = plain_decision([document], "dev", image, VERSIONS[engine.name])
    assert (rule and ("ClusterImagePolicy", "many", rule.place)) == (
        None if isinstance(expected, str) else expected
    )


@given(given_=documents_and_image(), data=st.data())
@engines
def test_order_in_which_objects_are_read_does_not_matter(
    engine: Engine, given_: tuple[list[dict[str, Any]], str, str], data: st.DataObject
) -> None:
    documents, namespace, image = given_
    policies = read(documents, engine)
    shuffled = data.draw(st.permutations(policies))
    one, other = (Pools.of(given, engine).of_namespace(namespace) for given in (policies, shuffled))
    assert one.resolve(image) == other.resolve(image)


@given(given_=documents_and_image(), as_=st.sampled_from(ENGINES))
@engines
def test_same_rules_as_another_engine_compares_them_are_that_engine_s(
    engine: Engine, as_: Engine, given_: tuple[list[dict[str, Any]], str, str]
) -> None:
    documents, namespace, image = given_
    rules = Pools.of(read(documents, engine), engine).of_namespace(namespace).rules
    pool = RulePool(rules, engine)
    pool.resolve(image)
    assert pool.compared_as(as_).resolve(image) == RulePool(rules, as_).resolve(image)
