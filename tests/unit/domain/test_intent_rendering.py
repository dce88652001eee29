# SPDX-License-Identifier: Apache-2.0
"""An intent as Portieris and CISE read it, and what they would understand otherwise."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from imgsec.domain.engines import CISE, NEWEST, Engine
from imgsec.domain.intent_rendering import Target
from imgsec.domain.intent_rendering.documents import cise_policy, portieris_policy
from imgsec.domain.kubernetes import policy_document
from imgsec.domain.policy import ImagePolicy, KeySecret, Namespace, ObjectName, PolicyKind
from imgsec.domain.policy_rules import Demand, Policy
from imgsec.domain.reference import RepositoryPattern
from imgsec.domain.resolution import Pools
from tests.unit.domain.intents import (
    EVERY_ENGINE,
    an_intent,
    codes,
    note_codes,
    rendered,
    signed,
    unchecked,
)
from tests.unit.refusals import refused

DIGEST = "sha256:" + "a" * 64
LET_THROUGH = ("icr.io/ext/*", "icr.io/b/c", "icr.io/b/d:1", "icr.io/b/e:*-x", "icr.io/b/f:*")


def decides(found: Any, image: str, engine: Engine = NEWEST, namespace: str = "") -> Demand | None:
    pools = Pools.of([Policy.read(one) for one in found.documents], engine)
    rule = pools.of_namespace(namespace).resolve(image).rule
    return None if rule is None else rule.demand


def test_options_and_an_intent_of_the_same_give_the_same_object() -> None:
    options = ImagePolicy(
        name=ObjectName("signed"),
        kind=PolicyKind.CLUSTER,
        signed=(RepositoryPattern.parse("us.icr.io/team/*"), RepositoryPattern.parse("a.io/b/c")),
        unchecked=tuple(map(RepositoryPattern.parse, LET_THROUGH)),
        key_secret=KeySecret(ObjectName("release"), Namespace("portieris")),
        mutate_image=False,
    )
    intent = an_intent(
        signed("us.icr.io/team/*", "a.io/b/c"), unchecked(*LET_THROUGH),
        name="signed", mutateImage=False,
    )  # fmt: skip
    assert rendered(intent).documents == (policy_document(options),)


@pytest.mark.parametrize("engine", EVERY_ENGINE)
def test_every_version_demands_the_signature_of_tags_and_digests(engine: str) -> None:
    intent = an_intent(signed("a.io/b/c", "a.io/d/*"), unchecked("a.io/d/base"))
    found = rendered(intent, engine=engine)
    assert codes(found) == set()
    demand = intent.rules[0].demand
    for image in ("a.io/b/c:1", f"a.io/b/c@{DIGEST}", f"a.io/b/c:1@{DIGEST}", "a.io/d/x/y:1"):
        assert decides(found, image, Engine.parse(engine)) == demand, image
    assert decides(found, f"a.io/d/base@{DIGEST}", Engine.parse(engine)) == Demand()


def test_namespaces_get_an_object_each() -> None:
    found = rendered(an_intent(signed("a.io/b/*"), name="x", namespaces=["one", "two"]))
    places = [(one["kind"], one["metadata"]["namespace"]) for one in found.documents]
    assert places == [("ImagePolicy", "one"), ("ImagePolicy", "two")]
    assert note_codes(found) == {"own-policy"}


def test_two_documents_of_one_name_and_place_are_refused() -> None:
    assert codes(rendered(an_intent(), an_intent())) == {"intent-contradicts"}
    own = an_intent(signed("a.io/b/*"), namespaces=["a"])
    assert codes(rendered(own, an_intent(unchecked("a.io/b/*")))) == set()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.io/*/app", "a.io/team/*"),
        ("a.io/b/*", "a.io/b/*"),
        ("a.io/x*/b", "a.io/xx/*"),
    ],
)
def test_rules_that_cross_are_refused(one: str, other: str) -> None:
    found = rendered(an_intent(signed(one), unchecked(other)))
    assert "intent-contradicts" in codes(found)
    assert codes(rendered(an_intent(signed(one), signed(other)))) == set()


def test_a_rule_for_what_both_name_settles_it() -> None:
    rules = (signed("a.io/*/app"), unchecked("a.io/team/*"))
    one = rendered(an_intent(*rules, signed("a.io/team/app")))
    assert codes(one) == {"intent-contradicts"}
    assert "a.io/team/a/app" in one.reasons[0].text
    whole = signed("a.io/team/app", "a.io/team/*/app")
    assert codes(rendered(an_intent(*rules, whole))) == set()


def test_names_that_take_too_long_to_compare_are_refused() -> None:
    crafted = (signed("a.io/" + "*a" * 100), unchecked("a.io/" + "*b" * 100 + "a"))
    with refused("invalid-pattern"):
        rendered(an_intent(*crafted))


def test_many_names_with_stars_are_refused_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgsec.domain.intent_rendering.coherence._PLACES_MAX", 20_000)
    asked: list[dict[str, Any]] = [{"signedBy": ["release"]}, {"unchecked": {"reason": "r"}}]
    rules = [
        {"wide": [f"r.io/*{one}*{other}*"]} | asked[place % 2]
        for place, (one, other) in enumerate(itertools.product("abcde", repeat=2))
    ]
    with refused("invalid-pattern"):
        rendered(an_intent(*rules))


def test_a_longer_text_that_is_the_wider_rule_is_told() -> None:
    """The engine counts characters, the intent asks which rule is the narrower one."""
    rules = (unchecked("a.io/team*/app"), signed("a.io/team/app"))
    assert "intent-misread" in codes(rendered(an_intent(*rules)))
    assert codes(rendered(an_intent(*reversed(rules)))) == set()


def test_another_spelling_must_not_come_in_by_another_rule() -> None:
    hub = an_intent(
        signed("docker.io/library/nginx"), {"wide": ["*"], "unchecked": {"reason": "r"}}
    )
    assert codes(rendered(hub)) == {"intent-misread"}
    twin = an_intent(signed("us.icr.io/team/*"), unchecked("*.icr.io/*"))
    assert codes(rendered(twin)) == {"intent-misread"}
    both = an_intent(
        signed("us.icr.io/team/*", "private.us.icr.io/team/*"), unchecked("*.icr.io/*")
    )
    reason, *_ = rendered(both).reasons
    assert reason.text.startswith("US.icr.io/team/app:1.0 is the same image as us.icr.io/team/app")
    for host in ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"):
        beside = an_intent(signed("docker.io/team/*"), unchecked(f"{host}/*"))
        assert codes(rendered(beside)) == {"intent-misread"}
    stricter = an_intent(
        {"images": ["us.icr.io/team/*"], "advisor": True, "mutateImage": False},
        {"images": ["*.icr.io/*"], "advisor": True, "trust": True, "mutateImage": False},
    )
    assert all("same image" not in one.text for one in rendered(stricter).reasons)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("reg.example.com:443/team/*", "reg.example.com/*"),
        ("us.icr.io:443/team/*", "us.icr.io/*"),
        ("us.icr.io:443/team/*", "private.us.icr.io/*"),
        ("us.icr.io/team/*", "private.us.icr.io:443/*"),
        ("*.icr.io/team/*", "de.icr.io:443/*"),
        ("*.icr.io/team/*", "private.de.icr.io:443/*"),
        ("*.icr.io/*", "private.us.icr.io/*"),
        ("*.example.com/team/*", "reg.example.com:443/*"),
        ("registry-1.docker.io/team/*", "docker.io/*"),
        ("registry.hub.docker.com/team/*", "docker.io/*"),
        ("index.docker.io/*", "docker.io/*"),
        ("docker.io/team/*", "index.docker.io:443/*"),
        ("docker.io/library/nginx", "index.docker.io/nginx"),
    ],
)
def test_every_spelling_of_a_host_is_held_against_the_other_rules(name: str, other: str) -> None:
    found = rendered(an_intent(signed(name, mutateImage=False), unchecked(other)))
    assert codes(found) == {"intent-misread"}
    assert "is the same image as" in found.reasons[0].text
    told = rendered(an_intent(signed(name, other, mutateImage=False)))
    assert codes(told) == set()


def test_what_is_taken_out_of_a_spelling_on_purpose_is_meant() -> None:
    both = signed("us.icr.io/team/*", "private.us.icr.io/team/*", mutateImage=False)
    assert codes(rendered(an_intent(both, unchecked("us.icr.io/team/base")))) == set()
    regions = signed("*.icr.io/team/*", mutateImage=False)
    assert codes(rendered(an_intent(regions, unchecked("private.us.icr.io/team/base")))) == set()


def test_what_denies_another_spelling_takes_nothing_from_a_demand() -> None:
    intent = an_intent(
        signed("docker.io/library/nginx", mutateImage=False),
        {"images": ["docker.io/*"], "denied": {"reason": "a test"}},
    )
    assert codes(rendered(intent)) == set()


def test_what_the_advisor_alone_lets_in_at_its_hosts_is_seen() -> None:
    scanned = {"wide": ["*:443/team/app*"], "advisor": True, "mutateImage": False}
    wide = {"wide": ["*/team/*"], "signedBy": ["release"], "mutateImage": False}
    found = rendered(an_intent(wide, scanned))
    assert any("us.icr.io:443/team/app" in one.text for one in found.reasons)


@pytest.mark.parametrize(("engine", "refused"), [("0.14.1", True), ("0.14.2", False)])
def test_strangers_that_look_alike_are_seen(engine: str, refused: bool) -> None:
    found = rendered(an_intent(unchecked("*.icr.io/ext/*")), engine=engine)
    assert codes(found) == ({"intent-misread"} if refused else set())
    assert codes(rendered(an_intent(signed("*.icr.io/ext/*")), engine=engine)) == set()


@pytest.mark.parametrize(
    "rule",
    [
        {"exactly": ["a.io/b/c:1"], "signedBy": ["release"]},
        signed("a.io/b/c:*"),
        signed("docker.io/nginx"),
        {
            "images": ["a.io/b/*"],
            "signedBy": [{"key": "release", "identity": {"type": "matchExact"}}],
        },
        {"images": ["docker.io/b/*"], "trust": True},
    ],
)
def test_what_a_digest_cannot_meet_is_refused_where_digests_come_back(rule: Any) -> None:
    assert codes(rendered(an_intent(rule))) <= {"intent-misread", "intent-inexpressible"}
    assert codes(rendered(an_intent(rule)))
    older = rendered(an_intent(rule), engine="0.14.2")
    assert (codes(older), "digest-undecided" in note_codes(older)) == (set(), True)
    assert codes(rendered(an_intent(rule | {"mutateImage": False}))) == set()


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        (signed("a.io/b/*", trust={"server": "https://n.example"}, mutateImage=False), "trust"),
        ({"images": ["a.io/b/*"], "advisor": True}, "IBM"),
        ({"images": ["xicr.example/b/*"], "trust": True, "mutateImage": False}, "trust server"),
    ],
)
def test_portieris_cannot_do_everything(rule: Any, word: str) -> None:
    (reason,) = rendered(an_intent(rule)).reasons
    assert reason.code == "intent-inexpressible"
    assert word in reason.text


def test_a_key_without_a_secret_is_no_key_for_a_cluster() -> None:
    keys = {"release": {"keyPath": "/a"}}
    assert codes(rendered(an_intent(signed("a.io/b/*"), keys=keys))) == {"intent-inexpressible"}
    keys = {"release": {"secret": "beside"}}
    assert note_codes(rendered(an_intent(signed("a.io/b/*"), keys=keys))) == {
        "key-of-each-namespace"
    }


def test_what_ends_is_told_and_what_is_over_refused() -> None:
    assert note_codes(rendered(an_intent(unchecked("a.io/b/*", until="2026-10-01")))) == {
        "expiry-not-enforced"
    }
    assert codes(rendered(an_intent(unchecked("a.io/b/*", until="2026-09-30")))) == {
        "intent-expired"
    }


def test_denied_is_rejected() -> None:
    denied = {"images": ["a.io/b/evil"], "denied": {"reason": "evil"}}
    found = rendered(an_intent(unchecked("a.io/b/*"), denied))
    assert found.documents[0]["spec"]["repositories"][1]["policy"] == {
        "simple": {"requirements": [{"type": "reject"}]}
    }
    assert codes(found) == set()


def test_cise_has_trust_and_the_advisor() -> None:
    intent = an_intent(
        {"images": ["us.icr.io/team/*"], "trust": True, "advisor": True},
        {"images": ["us.icr.io/other/*"], "advisor": True},
        unchecked("us.icr.io/base/app"),
    )
    found = rendered(intent, target=Target.CISE)
    assert codes(found) == set()
    rules = found.documents[0]["spec"]["repositories"]
    assert rules[0]["policy"] == {"trust": {"enabled": True}, "va": {"enabled": True}}
    assert rules[1]["policy"] == {"trust": {"enabled": False}, "va": {"enabled": True}}
    assert [one["name"] for one in rules[2:]] == ["us.icr.io/base/app", "us.icr.io/base/app@*"]
    assert decides(found, f"us.icr.io/base/app@{DIGEST}", CISE) == Demand()


@pytest.mark.parametrize(
    "rule",
    [
        signed("us.icr.io/team/*"),
        {"images": ["us.icr.io/b/*"], "denied": {"reason": "r"}},
        {"images": ["us.icr.io/b/*"], "trust": True, "mutateImage": False},
        {"images": ["us.icr.io/b/*"], "advisor": {"account": "a"}},
        {"images": ["docker.io/b/*"], "trust": True},
    ],
)
def test_cise_cannot_say_the_rest(rule: Any) -> None:
    for target in (Target.CISE, Target.CONFIG):
        assert codes(rendered(an_intent(rule), target=target)) == {"intent-inexpressible"}


@pytest.mark.parametrize("end", ["", f"@{DIGEST}"])
@pytest.mark.parametrize("target", [Target.CISE, Target.CONFIG])
def test_cise_checks_one_image_by_its_tag(end: str, target: Target) -> None:
    """It looks at pods alone, so at no tag that it has replaced before."""
    one = {"exactly": [f"us.icr.io/team/app:1.0{end}"], "trust": True}
    found = rendered(an_intent(one), target=target)
    assert codes(found) == set()
    assert "digest-undecided" in note_codes(found)


@pytest.mark.parametrize("target", [Target.CISE, Target.PORTIERIS])
def test_content_trust_is_no_matter_of_digests(target: Target) -> None:
    keeps = {"mutateImage": False} if target is Target.PORTIERIS else {}
    trust = {"server": "https://notary.example"} if target is Target.PORTIERIS else True
    one = {"exactly": [f"us.icr.io/team/app@{DIGEST}"], "trust": trust, **keeps}
    (reason,) = rendered(an_intent(one), target=target).reasons
    assert reason.code == "intent-inexpressible"
    assert "looks for its tag latest" in reason.text


def test_config_is_the_cluster_wide_rules_in_a_list() -> None:
    found = rendered(an_intent(unchecked("icr.io/b/*")), target=Target.CONFIG)
    (file,) = found.files
    entries = [{"name": "icr.io/b/*", "policy": {}}]
    assert file.content == {"image-security-enforcement": {"clusterImagePolicy": entries}}
    own = an_intent(unchecked("icr.io/b/*"), namespaces=["a"])
    assert codes(rendered(own, target=Target.CONFIG)) == {"intent-inexpressible"}


def test_nothing_is_demanded_by_an_empty_policy() -> None:
    assert portieris_policy(Demand()) == cise_policy(Demand()) == {}


@pytest.mark.parametrize("engine", EVERY_ENGINE)
@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("exactly", "a.io/t/base:1"),
        ("images", "a.io/t/base:1"),
        ("images", "a.io/t/*:1"),
        ("images", "a.io/t/base:*1"),
        ("wide", "*:1"),
    ],
)
def test_one_tag_that_is_let_through_lets_no_digest_in(form: str, name: str, engine: str) -> None:
    base = {form: [name], "unchecked": {"reason": "r"}}
    signed_name = "a.io/t/base" if "*:" not in name else "a.io/*"
    found = rendered(an_intent(signed(signed_name), base), engine=engine)
    names = [one["name"] for one in found.documents[0]["spec"]["repositories"]]
    assert names[-1] == name
    assert f"{name}@*" not in names
    version = Engine.parse(engine)
    if form != "wide":  # which is refused, as spellings meet it
        assert codes(found) == set()
        demand = decides(found, f"a.io/t/base:1@{DIGEST}", version)
        assert demand is not None
        assert demand.is_nothing == version.covers_digests
        assert decides(found, "a.io/t/base:1", version) == Demand()
    assert version.covers_digests == ("any-digest" in note_codes(found))


@pytest.mark.parametrize("engine", EVERY_ENGINE)
def test_some_tags_with_a_star_behind_let_any_digest_in_in_each_version(engine: str) -> None:
    intent = an_intent(signed("a.io/t/*"), unchecked("a.io/t/base:1*", "a.io/t/other:*"))
    found = rendered(intent, engine=engine)
    told = [one.text for one in found.notes if one.code == "any-digest"]
    assert [text.partition(": ")[0] for text in told] == ["a.io/t/base:1*"]
    assert decides(found, f"a.io/t/base:1@{DIGEST}", Engine.parse(engine)) == Demand()


@pytest.mark.parametrize("name", ["a.io/t/base:1", "a.io/t/*:1", "a.io/t/base:1*"])
@pytest.mark.parametrize("wider", ["a.io/t/*", "a.io/*"])
def test_a_tag_of_what_is_let_through_anyway_lets_no_digest_in(name: str, wider: str) -> None:
    found = rendered(an_intent(signed("b.io/*"), unchecked(name, wider)))
    assert not codes(found)
    assert "any-digest" not in note_codes(found)


@pytest.mark.parametrize(
    "rules",
    [
        (signed("a.io/t/base"), unchecked("a.io/t/base:1", "a.io/t/*")),
        (signed("a.io/t/*"), unchecked("a.io/t/base:1", "a.io/*")),
        (signed("a.io/*/base"), unchecked("a.io/t/base:1"), unchecked("a.io/*")),
        (signed("a.io/*"), unchecked("a.io/t/base:1", "a.io/other/*")),
        (signed("a.io/*"), unchecked("a.io/t/base:1", "a.io/t/*:1")),
    ],
)
def test_a_tag_between_which_and_a_wider_name_more_is_asked_lets_any_digest_in(
    rules: tuple[Any, ...],
) -> None:
    assert "any-digest" in note_codes(rendered(an_intent(*rules)))


def test_a_wider_name_of_another_namespace_lets_nothing_in() -> None:
    own = an_intent(signed("a.io/*"), unchecked("a.io/t/base:1"), name="x", namespaces=["one"])
    assert "any-digest" in note_codes(rendered(own, an_intent(unchecked("a.io/t/*"))))


@pytest.mark.parametrize("engine", EVERY_ENGINE)
def test_one_tag_that_is_denied_is_denied_with_its_digest(engine: str) -> None:
    denied = {"images": ["a.io/t/base:1"], "denied": {"reason": "r"}}
    intent = an_intent(unchecked("a.io/t/*"), denied)
    found = rendered(intent, engine=engine)
    demand = intent.rules[1].demand
    assert decides(found, f"a.io/t/base:1@{DIGEST}", Engine.parse(engine)) == demand


@pytest.mark.parametrize(
    ("name", "url", "told"),
    [
        ("a.io/b/*", "https://s.example", set()),
        ("a.io/b/*", "http://s.example", {"store-without-tls"}),
        ("us.icr.io/b/*", "https://s.example", {"store-passed-over"}),
        ("*.icr.io/b/*", "https://s.example", {"store-passed-over"}),
        ("xicr.io/b/*", "https://s.example", set()),
    ],
)
@pytest.mark.parametrize("target", [Target.PORTIERIS, Target.CONTAINERS])
def test_what_becomes_of_a_store_is_told(
    name: str, url: str, told: set[str], target: Target
) -> None:
    found = rendered(an_intent(signed(name, store={"url": url})), target=target)
    assert {one for one in note_codes(found) if one.startswith("store-")} == told


@pytest.mark.parametrize(
    ("url", "refusal"),
    [
        ("https://s.example/x", set()),
        ("http://localhost:80", set()),
        ("http://s.example/x", {"insecure-address"}),
        ("HTTP://s.example/x", {"insecure-address"}),
        ("http://localhost.s.example", {"insecure-address"}),
    ],
)
def test_the_credentials_of_a_store_go_by_tls_alone(url: str, refusal: set[str]) -> None:
    found = rendered(an_intent(signed("a.io/b/*", store={"url": url, "secret": "box"})))
    assert codes(found) == refusal
    assert all("credentials of the Secret box" in one.text for one in found.reasons)
