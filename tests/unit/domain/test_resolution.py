# SPDX-License-Identifier: Apache-2.0
"""Which rule decides: each statement of what the engines do, with the values written out."""

from __future__ import annotations

from typing import Any

import pytest

from imgsec.domain import resolution
from imgsec.domain.engines import CISE, ENGINES, NEWEST, Engine
from imgsec.domain.policy_rules import Policy
from imgsec.domain.resolution import Pools, RulePool, walked
from imgsec.domain.wildcard import is_met

IMAGE = "icr.io/ns/app:1"
Place = tuple[str, int] | None


def cluster(name: str, *names: str) -> Policy:
    return policy("ClusterImagePolicy", name, "", names)


def namespaced(namespace: str, name: str, *names: str) -> Policy:
    return policy("ImagePolicy", name, namespace, names)


def policy(kind: str, name: str, namespace: str, names: tuple[str, ...]) -> Policy:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    spec: dict[str, Any] = {"repositories": [{"name": one} for one in names]}
    document = {"apiVersion": NEWEST.api, "kind": kind, "metadata": metadata, "spec": spec}
    return Policy.read(document)


def decided(
    image: str, *policies: Policy, namespace: str = "dev", engine: Engine = NEWEST
) -> Place:
    """Object and place of the rule that decides."""
    rule = Pools.of(policies, engine).of_namespace(namespace).resolve(image).rule
    return rule and (rule.owner.name, rule.place)


# --- Which objects count ----------------------------------------------------------------------


def test_cluster_policy_counts_in_a_namespace_without_an_own_one() -> None:
    assert decided(IMAGE, cluster("c", "icr.io/*")) == ("c", 0)


def test_own_policy_takes_the_place_of_the_cluster_s() -> None:
    policies = (cluster("c", IMAGE), namespaced("dev", "n", "icr.io/*"))
    assert decided(IMAGE, *policies) == ("n", 0)


def test_cluster_policy_is_not_asked_where_the_own_one_has_no_match() -> None:
    policies = (cluster("c", "*", IMAGE), namespaced("dev", "n", "other.example/*"))
    assert decided(IMAGE, *policies) is None
    assert decided(IMAGE, *policies, namespace="prod") == ("c", 1)


@pytest.mark.parametrize("names", [(), ("",)])
def test_own_policy_without_a_rule_that_counts_lets_nothing_match(names: tuple[str, ...]) -> None:
    policies = (cluster("c", "*"), namespaced("dev", "n", *names))
    assert decided(IMAGE, *policies) is None


def test_own_policies_of_other_namespaces_count_for_nothing() -> None:
    policies = (namespaced("prod", "n", "*"), cluster("c", "icr.io/*"))
    assert decided(IMAGE, *policies) == ("c", 0)
    assert decided(IMAGE, namespaced("prod", "n", "*")) is None


def test_whether_anything_could_match_at_all_is_known() -> None:
    assert Pools.of((), NEWEST).is_empty
    assert Pools.of((namespaced("prod", "n", "*"),), NEWEST).is_empty
    assert not Pools.of((cluster("c"),), NEWEST).is_empty
    assert set(Pools.of((namespaced("dev", "n"), cluster("c")), NEWEST).own) == {"dev"}


@pytest.mark.parametrize("make", [cluster, lambda *rest: namespaced("dev", *rest)])
def test_rules_of_several_objects_are_one_pool(make: Any) -> None:
    first, second = make("a", "x.example/*"), make("b", "y.example/*", "icr.io/ns/*")
    assert decided(IMAGE, first, second) == ("b", 1)
    assert decided("x.example/app", first, second) == ("a", 0)


# --- Which of several rules decides -----------------------------------------------------------


def test_rule_that_equals_the_text_wins_at_once() -> None:
    assert decided(IMAGE, cluster("a", "*icr.io/ns/app:1*"), cluster("b", IMAGE)) == ("b", 0)
    assert decided(IMAGE, cluster("a", "icr.io/ns/app:1*"), cluster("b", IMAGE)) == ("b", 0)


def test_first_of_two_equal_rules_wins() -> None:
    assert decided(IMAGE, cluster("b", IMAGE), cluster("a", "x", IMAGE)) == ("a", 1)
    assert decided(IMAGE, cluster("a", IMAGE, IMAGE)) == ("a", 0)


def test_rule_that_equals_a_text_with_a_star_has_no_privilege() -> None:
    assert decided("a/*", cluster("a", "*a/*", "a/*")) == ("a", 0)
    assert decided("a/*b", cluster("a", "a/*b", "a/*b*")) == ("a", 0)


@pytest.mark.parametrize(
    ("names", "winner"),
    [
        (("*", "icr.io/*", "icr.io/ns/*"), 2),
        (("icr.io/ns/app", "icr.io/ns/app:*"), 1),
        (("icr.io/ns/app:*", "icr.io/ns/app"), 0),
        (("icr.io/ns/app*", "icr.io/ns/app"), 0),
        (("icr.io/ns/app", "icr.io/ns/app*"), 0),
        (("*:1", "icr.io/ns/*"), 1),
        (("*", "**"), 0),
        (("**", "*"), 0),
        (("*.io/ns/app:1", "icr.io/ns/*p:1"), 1),
    ],
)
def test_most_literal_text_wins_and_of_equals_the_first(
    names: tuple[str, ...], winner: int
) -> None:
    assert decided(IMAGE, cluster("c", *names)) == ("c", winner)


def test_tie_goes_to_the_object_that_comes_first_by_the_bytes_of_its_name() -> None:
    rules = ("icr.io/*",)
    names = ["a", "a-b", "a.b", "a0", "ab", "b"]
    for place, name in enumerate(names):
        later = [cluster(other, *rules) for other in reversed(names[place:])]
        assert decided(IMAGE, *later) == (name, 0)
    beyond = [cluster("\U0001d4b3", *rules), cluster("\uffff", *rules), cluster("Z", *rules)]
    assert [rule.owner.name for rule in walked(beyond)] == ["Z", "\uffff", "\U0001d4b3"]


def test_weight_counts_bytes_and_not_letters() -> None:
    assert decided("h/éé", cluster("c", "h/é*", "h/*éé")) == ("c", 1)
    assert decided("h/éab", cluster("c", "h/*ab", "h/é*")) == ("c", 0)
    assert decided("h/éabc", cluster("c", "h/*ab*", "h/éa*")) == ("c", 1)


def test_star_alone_wins_where_nothing_else_is_met() -> None:
    assert decided("", cluster("c", "*")) == ("c", 0)
    assert decided(IMAGE, cluster("c", "", "*")) == ("c", 1)


def test_text_is_taken_as_it_is_written() -> None:
    assert decided("nginx", cluster("c", "docker.io/*")) is None
    assert decided("NGINX", cluster("c", "nginx")) is None
    assert decided(" icr.io/ns/app", cluster("c", "icr.io/ns/app")) is None


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_digest_is_met_by_a_name_alone_from_0_14_3_on(engine: Engine) -> None:
    digest = "icr.io/ns/app@sha256:" + "0" * 64
    expected = ("c", 0) if engine is NEWEST else ("c", 1)
    assert decided(digest, cluster("c", "icr.io/ns/app", "icr.io/*"), engine=engine) == expected


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_host_in_a_path_is_no_host_from_0_14_2_on(engine: Engine) -> None:
    expected = ("c", 0) if engine in (CISE, *ENGINES[1:3]) else None
    spoofed = "evil.example/x.icr.io/ns/app"
    assert decided(spoofed, cluster("c", "*.icr.io/ns/*"), engine=engine) == expected


# --- What is told beside ----------------------------------------------------------------------


def test_others_that_are_met_are_told_the_heaviest_first() -> None:
    names = ("*", "icr.io/ns/*", "x", "icr.io/*", IMAGE, "icr.io/n*/", "*.io/*")
    found = RulePool(walked([cluster("c", *names)]), NEWEST).resolve(IMAGE)
    assert found.rule is not None
    assert found.rule.place == 4
    assert [rule.place for rule in found.others] == [1, 3, 6, 0]


def test_same_rule_object_given_twice_is_told_twice() -> None:
    (rule,) = walked([cluster("c", IMAGE)])
    found = RulePool([rule, rule], NEWEST).resolve(IMAGE)
    assert (found.rule, found.others) == (rule, (rule,))


def test_nothing_is_met_by_no_rules() -> None:
    found = RulePool((), NEWEST).resolve(IMAGE)
    assert (found.rule, found.others) == (None, ())


def test_rules_that_share_every_piece_are_told_apart() -> None:
    names = [f"registry.example.com/team-{number}/app*" for number in range(300)]
    pool = RulePool(walked([cluster("c", *names)]), NEWEST)
    for number in (0, 1, 10, 100, 299):
        found = pool.resolve(f"registry.example.com/team-{number}/app:1")
        assert found.rule is not None
        assert found.rule.place == number
        assert found.others == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("icr.io/ns/*", False),
        ("icr.io/*", False),
        ("nginx", False),
        ("", False),
        ("*.icr.io/ns/app", True),
        ("icr.io*", True),
        ("reg.example.com:*/ns", True),
        ("*", True),
    ],
)
def test_host_with_a_star_is_an_open_one(name: str, expected: bool) -> None:
    pool = RulePool(walked([cluster("c", "icr.io/a", name)]), NEWEST)
    assert pool.has_open_hosts is expected


def compared(names: list[str], image: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """With how many rules the text is compared."""
    seen = []
    pool = RulePool(walked([cluster("c", *names)]), NEWEST)

    def counted(pattern: str, image: str, engine: Engine) -> bool:
        seen.append(pattern)
        return is_met(pattern, image, engine)

    monkeypatch.setattr(resolution, "is_met", counted)
    pool.resolve(image)
    return len(seen)


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ("registry.example.com/team-{}/*", "registry.example.com/team-7/app:1"),
        ("us.icr.io/ns/app-{}:*", "us.icr.io/ns/app-7:1"),
        ("*.icr.io/ns{}/*", "us.icr.io/ns7/app"),
        ("icr.io/*/a{}", "icr.io/x/a7:1"),
        ("{}*", "7"),
        ("*:{}", "icr.io/ns/app:7"),
        ("r{}.io/*", "r7.io/app"),
    ],
)
def test_text_is_compared_with_few_of_many_rules(
    shape: str, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [shape.format(number) for number in range(3000)]
    assert 1 <= compared(names, image, monkeypatch) <= 5


def test_text_that_is_no_unicode_is_compared_all_the_same() -> None:
    assert decided("h/\ud800", cluster("\ud800", "h/\ud800")) == ("\ud800", 0)


# --- Upstream's own cases, by what they are about -----------------------------------------------


@pytest.mark.parametrize(
    ("policies", "namespace", "expected"),
    [
        ((cluster("c", IMAGE),), "dev", ("c", 0)),
        ((cluster("c", "other.example/x"),), "dev", None),
        ((), "dev", None),
        ((cluster("a", "x"), cluster("b", IMAGE)), "dev", ("b", 0)),
        ((cluster("c", "x", IMAGE),), "dev", ("c", 1)),
        ((cluster("c", IMAGE), namespaced("dev", "n", IMAGE)), "dev", ("n", 0)),
        ((cluster("c", IMAGE), namespaced("prod", "n", IMAGE)), "dev", ("c", 0)),
        ((namespaced("dev", "n", "x"),), "dev", None),
        ((cluster("c", IMAGE), namespaced("dev", "n", "x")), "dev", None),
        ((namespaced("dev", "a", "x"), namespaced("dev", "b", IMAGE)), "dev", ("b", 0)),
        ((namespaced("dev", "n", "x", IMAGE),), "dev", ("n", 1)),
    ],
)
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_upstream_s_cases_end_as_upstream_says(
    engine: Engine, policies: tuple[Policy, ...], namespace: str, expected: Place
) -> None:
    assert decided(IMAGE, *policies, namespace=namespace, engine=engine) == expected
