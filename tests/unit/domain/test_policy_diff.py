# SPDX-License-Identifier: Apache-2.0
"""What other policies change: which images are tried, and how the change is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsec.domain import diff_samples, pod_samples
from imgsec.domain.engines import CISE, NEWEST, Engine
from imgsec.domain.pattern_sets import Effort, Read, image_of
from imgsec.domain.policy_diff import Meaning, engines_differ
from imgsec.domain.policy_rules import (
    AdvisorDemand,
    Demand,
    Policy,
    PolicyId,
    PolicyRule,
    Requirement,
    SignedIdentity,
    SimpleDemand,
    TrustDemand,
)
from imgsec.domain.resolution import Pools
from imgsec.operations.diff_policies import ImageDiff, diff_images
from tests.unit.refusals import refused

OLDER = Engine.parse("0.14.1")
UNCHECKED: dict[str, Any] = {}
TRUSTED: dict[str, Any] = {"trust": {"enabled": True}}
Rule = tuple[str, dict[str, Any]]


def pools(*rules: Rule, engine: Engine = NEWEST, namespace: str = "") -> Pools:
    kind = "ImagePolicy" if namespace else "ClusterImagePolicy"
    document = {
        **{"apiVersion": engine.api, "kind": kind, "metadata": {"name": "p"}},
        "spec": {"repositories": [{"name": name, "policy": policy} for name, policy in rules]},
    }
    return Pools.of([Policy.read(document, namespace=namespace)], engine)


def diff(before: Pools, after: Pools) -> ImageDiff:
    return diff_images(before, after, (), ())


def images(found: ImageDiff) -> list[str]:
    return [one.image for one in found.changes]


# --- Which images are tried -------------------------------------------------------------------


def test_a_change_where_two_rules_meet_is_found() -> None:
    """Both names weigh alike; the first of them decides."""
    one, other = ("icr.io/team/*", TRUSTED), ("icr.io/*/apps", UNCHECKED)
    found = diff(pools(one, other), pools(other, one))
    assert images(found) == ["icr.io/team/apps"]
    assert str(found.changes[0].direction) == "looser"
    assert not found.left_out


def test_a_change_that_only_the_tag_of_one_makes_is_found() -> None:
    """The tag ends as the other name does."""
    one, other = ("icr.io/ns/*a", TRUSTED), ("icr.io/ns/*b", UNCHECKED)
    (image,) = images(diff(pools(one, other), pools(other, one)))
    assert ":" in image


def test_rules_that_both_sides_have_are_not_compared_with_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(diff_samples, "_SEARCHES_MAX", 0)
    kept: list[Rule] = [(f"icr.io/*/{letter}*", TRUSTED) for letter in "abcdefgh"]
    same = diff(pools(("icr.io/*", UNCHECKED), *kept), pools(("icr.io/*", UNCHECKED), *kept))
    assert same == ImageDiff(())


@pytest.mark.parametrize("bound", ["_SEARCHES_MAX", "_PAIRS_MAX", "_TRIES_MAX"])
def test_what_is_not_compared_to_the_end_says_so(
    bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diff_samples, bound, 0)
    one, other = ("icr.io/team/*", TRUSTED), ("icr.io/*/apps", UNCHECKED)
    assert diff(pools(one, other), pools(other, one)).left_out


def test_names_of_too_many_stars_say_so() -> None:
    one, other = (f"icr.io/{'*a' * 60}*", TRUSTED), (f"icr.io/{'*b' * 60}*", UNCHECKED)
    assert diff(pools(one, other), pools(other, one)).left_out


def test_namespaces_are_compared_by_their_own_rules() -> None:
    one, other = ("icr.io/team/*", TRUSTED), ("icr.io/*/apps", UNCHECKED)
    before, after = (pools(*rules, namespace="dev") for rules in ((one, other), (other, one)))
    assert [(one.image, one.namespace) for one in diff(before, after).changes] == [
        ("icr.io/team/apps", "dev")
    ]


def test_names_that_end_otherwise_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff_samples, "_SEARCHES_MAX", 0)
    count = 30
    before, after = (
        pools(*((f"us.icr.io/*/svc{n:02}", simple(signed)) for n in range(count)))
        for signed in (SIGNED, OTHER_KEY)
    )
    found = diff(before, after)
    assert len({one.image.partition("svc")[2][:2] for one in found.changes}) == count
    assert not found.left_out


# --- Another engine ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("*.icr.io/ns/*", "evil.example/any.icr.io/ns/any:1"),
        ("registry*.bluemix.net/ns/*", "registryevil.example/any.bluemix.net/ns/any:1"),
    ],
)
def test_foreign_hosts_that_only_one_engine_takes_are_told(name: str, foreign: str) -> None:
    found = diff(pools((name, UNCHECKED), engine=OLDER), pools((name, UNCHECKED)))
    assert foreign in images(found)
    back = diff(pools((name, UNCHECKED)), pools((name, UNCHECKED), engine=OLDER))
    assert {str(one.direction) for one in back.changes} == {"looser"}


def test_a_foreign_host_whose_images_another_rule_has_is_told() -> None:
    rules: list[Rule] = [("*.icr.io/ns/*", UNCHECKED), ("quay.io/*", TRUSTED)]
    changes = diff(pools(*rules, engine=OLDER), pools(*rules)).changes
    assert any(one.image.startswith("quay.io/") and ".icr.io/ns/" in one.image for one in changes)


def test_digests_that_only_one_engine_covers_are_told() -> None:
    rules: list[Rule] = [("icr.io/ns/app", UNCHECKED), ("icr.io/ns/*", TRUSTED)]
    middle = Engine.parse("0.14.2")
    (change,) = diff(pools(*rules, engine=middle), pools(*rules)).changes
    assert change.image.startswith("icr.io/ns/app@sha256:")


def test_an_upgrade_that_changes_nothing_here_says_nothing() -> None:
    rules: list[Rule] = [("icr.io/ns/*", simple(SIGNED)), ("quay.io/ns/app:*", UNCHECKED)]
    assert diff(pools(*rules, engine=OLDER), pools(*rules)) == ImageDiff(())


# --- How it is told ---------------------------------------------------------------------------

SIGNED = {"type": "signedBy", "keySecret": "k"}


def said(**policy: Any) -> str:
    rule = pools(("icr.io/ns/app", policy)).cluster.rules[0]
    return str(Meaning(rule))


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            {"simple": {"requirements": [SIGNED]}},
            {"simple": {"requirements": [SIGNED], "storeURL": "https://s.example"}},
            "signatures from 'https://s.example'",
        ),
        (
            {"simple": {"requirements": [SIGNED]}},
            {"simple": {"requirements": [SIGNED], "storeURL": "https://me:word@s.example"}},
            "signatures from 'https://...@s.example'",
        ),
        (
            {"simple": {"requirements": [SIGNED], "storeURL": "https://s.example"}},
            {
                "simple": {
                    "requirements": [SIGNED],
                    "storeURL": "https://s.example",
                    "storeSecret": "sign-in",
                }
            },
            "with the Secret 'sign-in'",
        ),
        (
            TRUSTED,
            {"trust": {"enabled": True, "trustServer": "https://n.example"}},
            "Docker Content Trust at 'https://n.example'",
        ),
        (
            TRUSTED,
            {"trust": {"enabled": True, "signerSecrets": [{"name": "a"}, {"name": "b"}]}},
            "by the signers in 'a', 'b'",
        ),
        (
            {"vulnerability": {"ICCRVA": {"enabled": True}}},
            {"vulnerability": {"ICCRVA": {"enabled": True, "account": "abc"}}},
            "for the account 'abc'",
        ),
        (
            {"simple": {"requirements": [SIGNED]}},
            {
                "simple": {
                    "requirements": [
                        {
                            **SIGNED,
                            "signedIdentity": {
                                "type": "remapIdentity",
                                "prefix": "a.io",
                                "signedPrefix": "b.io",
                            },
                        }
                    ]
                }
            },
            "for remapIdentity 'a.io' as 'b.io'",
        ),
    ],
)
def test_what_changes_is_in_the_text(
    before: dict[str, Any], after: dict[str, Any], told: str
) -> None:
    name = "quay.io/ns/app" if "trust" in after else "icr.io/ns/app"
    change = diff(pools((name, before)), pools((name, after))).changes[0]
    assert told in str(change.after)
    assert told not in str(change.before)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"mutateImage": False}),
        ({}, {"simple": {"storeURL": "https://s.example"}}),
        (
            {"simple": {"requirements": [{"type": "reject"}]}},
            {"simple": {"requirements": [{"type": "reject", "keySecret": "k"}]}},
        ),
        (
            {"simple": {"requirements": [SIGNED]}},
            {"simple": {"requirements": [{"type": "insecureAcceptAnything"}, SIGNED, SIGNED]}},
        ),
        (
            {"simple": {"requirements": [SIGNED, {**SIGNED, "keySecret": "l"}]}},
            {"simple": {"requirements": [{**SIGNED, "keySecret": "l"}, SIGNED]}},
        ),
        (
            {"simple": {"requirements": [SIGNED]}},
            {"simple": {"requirements": [{**SIGNED, "signedIdentity": {"type": ""}}]}},
        ),
        (
            {"simple": {"requirements": [{"type": "insecureAcceptAnything"}]}},
            {
                "simple": {
                    "requirements": [{"type": "insecureAcceptAnything"}],
                    "storeURL": "https://s.example",
                }
            },
        ),
        (
            {"simple": {"requirements": [{**SIGNED, "signedIdentity": {"type": "matchExact"}}]}},
            {
                "simple": {
                    "requirements": [
                        {**SIGNED, "signedIdentity": {"type": "matchExact", "prefix": "a.io"}}
                    ]
                }
            },
        ),
        (
            {"vulnerability": {"ICCRVA": {"enabled": True}}},
            {"vulnerability": {"ICCRVA": {"enabled": True}}, "mutateImage": False},
        ),
    ],
)
def test_what_changes_nothing_is_no_change(one: dict[str, Any], other: dict[str, Any]) -> None:
    name = "icr.io/ns/app"
    assert diff(pools((name, one)), pools((name, other))) == ImageDiff(())
    assert said(**one) == said(**other)


ANYTHING, REJECT = {"type": "insecureAcceptAnything"}, {"type": "reject"}
OTHER_KEY = {**SIGNED, "keySecret": "l"}
EXACT = {**SIGNED, "signedIdentity": {"type": "matchExact"}}
ADVISED = {"vulnerability": {"ICCRVA": {"enabled": True}}}
SIGNERS = {"trust": {"enabled": True, "signerSecrets": [{"name": "a"}]}}


def simple(*requirements: dict[str, Any]) -> dict[str, Any]:
    return {"simple": {"requirements": list(requirements)}}


@pytest.mark.parametrize(
    ("one", "other", "direction"),
    [
        (simple(SIGNED), simple(ANYTHING), "looser"),
        (simple(SIGNED), simple(ANYTHING, ANYTHING), "looser"),
        (simple(ANYTHING), UNCHECKED, "looser"),
        (simple(REJECT), simple(SIGNED), "looser"),
        (simple(REJECT), UNCHECKED, "looser"),
        (simple(SIGNED), simple(OTHER_KEY), "other"),
        (simple(SIGNED, OTHER_KEY), simple(OTHER_KEY), "looser"),
        (simple(SIGNED, OTHER_KEY), simple({**SIGNED, "keySecret": "m"}), "looser"),
        (simple(EXACT), simple(SIGNED), "looser"),
        (simple(SIGNED), TRUSTED, "other"),
        ({**simple(SIGNED), **TRUSTED}, simple(SIGNED), "looser"),
        ({"trust": {"enabled": True, "signerSecrets": [{"name": "a"}]}}, TRUSTED, "looser"),
        (
            {"trust": {"enabled": True, "trustServer": "https://n.example"}, **ADVISED},
            {"trust": {"enabled": True, "trustServer": "https://o.example"}},
            "looser",
        ),
        (
            {"trust": {"enabled": True, "trustServer": "https://n.example"}},
            {
                "trust": {
                    "enabled": True,
                    "trustServer": "https://o.example",
                    "signerSecrets": [{"name": "a"}],
                }
            },
            "other",
        ),
        (
            {
                "vulnerability": {"ICCRVA": {"enabled": True, "account": "a"}},
                "trust": {**SIGNERS["trust"], "trustServer": "https://n.example"},
            },
            {
                "vulnerability": {"ICCRVA": {"enabled": True, "account": "b"}},
                "trust": {"enabled": True, "trustServer": "https://n.example"},
            },
            "other",
        ),
    ],
)
def test_less_is_looser_and_a_denial_the_most(
    one: dict[str, Any], other: dict[str, Any], direction: str
) -> None:
    is_advised = "vulnerability" in {**one, **other}
    name = "icr.io/ns/app" if is_advised else "quay.io/ns/app"
    back = {"looser": "stricter", "other": "other"}[direction]
    there = diff(pools((name, one)), pools((name, other))).changes
    assert {str(change.direction) for change in there} == {direction}
    again = diff(pools((name, other)), pools((name, one))).changes
    assert {str(change.direction) for change in again} == {back}


DENIED_BY_HOST: list[tuple[str, dict[str, Any], str]] = [
    ("quay.io/a/*", ADVISED, "denied: the advisor knows IBM's registries only"),
    ("us.icr.io/a/*", TRUSTED, "denied: no trust server is known for 'us.icr.io'"),
    ("r.example/a/app", {**TRUSTED, **ADVISED}, "denied: the advisor knows"),
]


@pytest.mark.parametrize(("name", "demand", "told"), DENIED_BY_HOST)
def test_what_is_denied_for_its_host_is_denied(
    name: str, demand: dict[str, Any], told: str
) -> None:
    denied = pools((name, {**demand, "mutateImage": False}))
    for other in (pools((name, simple(REJECT))), pools(("*", simple(REJECT))), pools()):
        assert diff(denied, other) == diff(other, denied) == ImageDiff(())
    for after in (UNCHECKED, simple(SIGNED)):
        changes = diff(denied, pools((name, after))).changes
        assert {str(one.direction) for one in changes} == {"looser"}
        assert all(told in str(one.before) for one in changes)
        changes = diff(pools((name, after)), denied).changes
        assert {str(one.direction) for one in changes} == {"stricter"}


@pytest.mark.parametrize(
    ("name", "demand"),
    [
        ("us.icr.io/a/*", ADVISED),
        ("quay.io/a/*", TRUSTED),
        ("nginx", TRUSTED),
        ("r.example/a/*", {"trust": {"enabled": True, "trustServer": "https://n.example"}}),
        # Of a name for many hosts one is tried, and it need not be the one that could be met.
        ("*/a/*", ADVISED),
        ("*/a/*", TRUSTED),
        ("*", ADVISED),
    ],
)
def test_what_some_host_could_meet_is_not_denied(name: str, demand: dict[str, Any]) -> None:
    met, denied = pools((name, demand)), pools((name, simple(REJECT)))
    assert {str(one.direction) for one in diff(met, denied).changes} == {"stricter"}
    assert {str(one.direction) for one in diff(denied, met).changes} == {"looser"}


def test_an_image_that_somebody_names_has_its_own_host() -> None:
    met, denied = pools(("*", ADVISED)), pools(("*", simple(REJECT)))
    named = ("quay.io/a/app:1", "us.icr.io/a/app:1")
    (change,) = diff_images(met, denied, named, ("",)).changes
    assert change.image == named[1]


def signed_as(**identity: str) -> dict[str, Any]:
    return simple({**SIGNED, "signedIdentity": identity})


def stored(url: str, *requirements: dict[str, Any]) -> dict[str, Any]:
    return {"simple": {"requirements": list(requirements or (SIGNED,)), "storeURL": url}}


@pytest.mark.parametrize(
    "policy",
    [
        simple(REJECT),
        {**simple(SIGNED), **TRUSTED},
        stored("ftp://s.example"),
        stored("HTTPS://s.example", ANYTHING),
        signed_as(type="matchExactReference", dockerReference="icr.io/ns/app"),
        signed_as(type="matchExactRepository"),
        signed_as(type="remapIdentity", prefix="icr.io"),
        {"trust": {"enabled": True, "signerSecrets": [{}]}},
    ],
)
def test_a_rule_that_no_image_meets_is_as_good_as_none(policy: dict[str, Any]) -> None:
    assert diff(pools(("icr.io/*", policy)), pools()) == ImageDiff(())
    assert said(**policy).startswith("denied: ")


def test_a_key_in_the_policys_own_namespace_is_the_same_said_or_not() -> None:
    said_so = {**SIGNED, "keySecretNamespace": "dev"}
    name, places = "icr.io/ns/app", {"namespace": "dev"}
    before, after = (pools((name, simple(one)), **places) for one in (SIGNED, said_so))
    assert diff(before, after) == ImageDiff(())
    before, after = (pools((name, simple(one))) for one in (SIGNED, said_so))
    assert diff(before, after).changes
    assert not diff_images(before, after, (), ("dev",)).changes
    wide, own = pools((name, simple(said_so))), pools((name, simple(SIGNED)), **places)
    for images in ((), ("icr.io/ns/app:1",)):
        assert not diff_images(wide, own, images, ("dev",)).changes
        assert diff_images(wide, own, images, ("",)).changes
    both = Pools(wide.cluster, own.own, is_empty=False)
    assert diff(wide, both) == ImageDiff(())


def test_a_change_between_names_is_found_in_the_place_that_it_is_in() -> None:
    """What is the same in one namespace is another key in all others."""
    said_so = {**SIGNED, "keySecretNamespace": "dev"}
    one, other = ("icr.io/team/*", simple(SIGNED)), ("icr.io/*/apps", simple(said_so))
    before, after = pools(one, other), pools(other, one)
    found = diff_images(before, after, (), ("dev", "stage")).changes
    assert [(each.image, each.namespace) for each in found] == [("icr.io/team/apps", "stage")]


@pytest.mark.parametrize(
    "name", [f"icr.io/ns/app@sha256:{'b' * 64}", "icr.io/ns/app@sha256:*", "icr.io/ns/app@*"]
)
def test_no_image_that_nobody_can_pull_is_tried(name: str) -> None:
    rules: list[Rule] = [(name, UNCHECKED)]
    middle = Engine.parse("0.14.2")
    assert diff(pools(*rules, engine=middle), pools(*rules)) == ImageDiff(())
    (change,) = diff(pools(*rules), pools()).changes
    assert len(change.image) == len("icr.io/ns/app@sha256:") + 64


words = st.sampled_from(("", "a", "b"))
kinds = st.sampled_from(("", "matchRepository", "matchExactReference", "matchExactRepository"))
references = st.sampled_from(("", "a.io/a:1", "a.io/b:1"))
identities = st.one_of(st.none(), st.builds(SignedIdentity, kinds, references, references))
demands = st.builds(
    Demand,
    st.one_of(
        st.none(),
        st.builds(
            SimpleDemand,
            st.lists(
                st.builds(
                    Requirement,
                    st.sampled_from(("signedBy", "reject", "insecureAcceptAnything")),
                    st.sampled_from(("a", "b")),
                    words,
                    identities,
                ),
                min_size=1,
                max_size=2,
            ).map(tuple),
            st.sampled_from(("", "ftp://s.example", "https://s.example", "http://s.example")),
            words,
        ),
    ),
    st.one_of(st.none(), st.builds(TrustDemand, words, st.lists(words, max_size=2).map(tuple))),
    st.one_of(st.none(), st.builds(AdvisorDemand, words)),
    st.booleans(),
)


@given(demands, demands)
def test_two_demands_read_alike_only_if_they_mean_the_same(one: Demand, other: Demand) -> None:
    owner = PolicyId("ClusterImagePolicy", "p")
    first, second = (Meaning(PolicyRule("a/b", demand, owner, 0)) for demand in (one, other))
    if first.effect is None or second.effect is None:  # told with the reason
        for meaning in (first, second):
            assert (meaning.effect is None) == str(meaning).startswith("denied: ")
        assert (str(first) == str(second)) <= (first.effect == second.effect)
    else:
        assert (str(first) == str(second)) == (first.effect == second.effect)


def test_cise_is_compared_as_its_older_portieris() -> None:
    found = diff(
        pools(("*.icr.io/ns/*", UNCHECKED), engine=CISE),
        pools(("*.icr.io/ns/*", TRUSTED), engine=CISE),
    )
    assert {str(one.direction) for one in found.changes} == {"stricter"}


# --- Pods that nobody looked at ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ([("icr.io/ns/app:1", simple(SIGNED))], "denied: no rule names it"),
        ([("icr.io/ns/app:1", simple(SIGNED)), ("icr.io/*", {})], "let through unchecked"),
        ([("icr.io/ns/*", simple(EXACT))], "matchExact denies"),
        ([("docker.io/*", TRUSTED)], "the tag latest"),
        ([("icr.io/ns/*", simple(SIGNED))], None),
        ([("icr.io/ns/app:1", simple(REJECT))], None),
        ([("icr.io/ns/app:1", {})], None),
        ([("icr.io/ns/app:1", {**simple(SIGNED), "mutateImage": False})], None),
        # A star takes the tag, and leaves a name that no rule has.
        (
            [("icr.io/ns/*-prod", simple(SIGNED)), ("icr.io/ns/*-prod@*", simple(SIGNED))],
            "'icr.io/ns/a:1-prod' get an image such as 'icr.io/ns/a@sha256:",
        ),
        (
            [("icr.io/ns/*", simple(SIGNED)), ("icr.io/ns/special@*", simple(REJECT))],
            "'icr.io/ns/special:1.0' get an image",
        ),
        ([("icr.io/ns/*", simple(SIGNED)), ("icr.io/ns/x@*", {})], "which is let through"),
        ([("icr.io/ns/*", simple(SIGNED)), ("icr.io/*/xy@*", simple(OTHER_KEY))], "which needs"),
        ([("nginx@*", simple(SIGNED)), ("docker.io/*", {})], "'docker.io/library/nginx@"),
        ([("r.example:5000/a", simple(SIGNED)), ("r.example:*/a@*", simple(SIGNED))], None),
        ([("r.example:*/a:*", simple(SIGNED))], "'r.example:5000/a:1.0' get an image"),
        ([("icr.io/a/*", simple(SIGNED)), ("icr.io/a/b*", simple(OTHER_KEY))], None),
    ],
)
def test_pods_that_an_upgrade_looks_at_are_told(rules: list[Rule], told: str | None) -> None:
    older, newer = pools(*rules, engine=Engine.parse("0.14.2")), pools(*rules)
    for one, other in ((older, newer), (newer, older)):
        found = diff(one, other).pods
        assert len(found) == (told is not None)
        assert told is None or told in str(found[0])
    assert diff(newer, newer).pods == ()


def test_pods_of_images_that_somebody_names_are_looked_at_alone() -> None:
    rules: list[Rule] = [("icr.io/ns/*", simple(SIGNED)), ("icr.io/ns/special@*", simple(REJECT))]
    older, newer = pools(*rules, engine=Engine.parse("0.14.2")), pools(*rules)
    named = ("icr.io/ns/other:1", f"icr.io/ns/special@sha256:{'a' * 64}")
    assert diff_images(older, newer, named, ("",)).pods == ()
    (found,) = diff_images(older, newer, ("icr.io/ns/special:2",), ("",)).pods
    assert found.image == "icr.io/ns/special:2"


def test_trust_looks_up_the_digest_of_no_tag_as_it_did() -> None:
    older, newer = (pools(("docker.io/*", TRUSTED), engine=one) for one in (OLDER, NEWEST))
    digest = f"@sha256:{'a' * 64}"
    named = (f"docker.io/ns/app{digest}", f"docker.io/ns/app:1{digest}")
    assert [one.image for one in diff_images(older, newer, named, ("",)).pods] == [named[1]]


@pytest.mark.parametrize("bound", ["_PAIRS_MAX", "_SEARCHES_MAX", "_PLACES_MAX", "_TRIES_MAX"])
def test_pods_that_are_not_compared_to_the_end_are_said(
    bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules: list[Rule] = [("icr.io/ns/*", simple(SIGNED)), ("icr.io/*/special@*", simple(REJECT))]
    older, newer = pools(*rules, engine=Engine.parse("0.14.2")), pools(*rules)
    assert not diff(older, newer).left_out
    monkeypatch.setattr(pod_samples, bound, 0)
    assert diff(older, newer).left_out


# --- How long it may take ---------------------------------------------------------------------


def test_a_search_takes_its_effort_and_no_more() -> None:
    names = [Read("icr.io/*/app"), Read("icr.io/team/*")]
    effort = Effort(10_000)
    assert image_of(names, effort=effort) is not None
    spent = 10_000 - effort.left
    assert spent > 0
    with refused("invalid-pattern"):
        image_of(names, effort=Effort(spent // 2))
    wide = Effort(10**9)
    with refused("invalid-pattern"):
        image_of([Read(f"icr.io/{'*a' * 60}*"), Read(f"icr.io/{'*b' * 60}*")], effort=wide)
    assert 10**9 - wide.left < 10**6


def test_searches_share_their_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = ("icr.io/team/*", TRUSTED), ("icr.io/*/apps", UNCHECKED)
    before, after = pools(one, other), pools(other, one)
    assert not diff(before, after).left_out
    monkeypatch.setattr(diff_samples, "_PLACES_MAX", 10)
    assert diff(before, after).left_out


def test_a_name_that_won_as_the_very_text_has_no_more_than_that() -> None:
    """Of the tags of icr.io/x the heavier name decides, and the first image found is none."""
    assert image_of([Read("a/b*")], [Read("a/b", is_bare=True)]) != "a/b"
    assert Read("a/b", is_bare=True).forms == ("a/b",)
    assert image_of([Read("a/b:*")], [Read("a/b", is_bare=True)]) is not None
    assert image_of([Read("a/b:*")], [Read("a/b")]) is None


def test_another_order_of_the_layers_is_told() -> None:
    newer = Engine.parse("0.14.1")
    assert "the order of the layers" in engines_differ(CISE, newer)
    assert "the order of the layers" not in engines_differ(OLDER, NEWEST)
