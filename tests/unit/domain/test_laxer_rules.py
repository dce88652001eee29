# SPDX-License-Identifier: Apache-2.0
"""New policies among others: what they mean is compared with what the whole pool decides."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from imgsec.domain.engine_name import EngineName
from imgsec.domain.engines import ENGINES, NEWEST, Engine
from imgsec.domain.laxer_rules import LaxerRule, laxer_rules
from imgsec.domain.policy_rules import Policy, PolicyRule
from imgsec.domain.resolution import Pools
from tests.unit.refusals import refused

NAMES = (
    *(
        "*",
        "a.io/*",
        "*.io/*",
        "a.io/t/*",
        "a.io/t*",
        "a.io/*/x",
        "*/t/x",
        "a.io/t/x",
        "a.io/t/x:*",
    ),
    *("a.io/t/x:1", "b.a.io/t/*", "*a.io/t/x*", "a.io/t/x@*", "*:1", "a.io/t/xy*"),
)
IMAGES = tuple(
    f"{host}/{path}{end}"
    for host, path, end in itertools.product(
        ("a.io", "b.a.io", "c.io", "e.com/a.io"),
        ("t/x", "t/y", "x", "t/u/x", "t/xy", "tt/x"),
        ("", ":1", ":2", f"@sha256:{'5a' * 32}"),
    )
)


def rule(name: str, key: str = "") -> dict[str, Any]:
    signed = {"type": "signedBy", "keySecret": key, "keySecretNamespace": "p"}
    return {"name": name, "policy": {"simple": {"requirements": [signed]}} if key else {}}


def policy(name: str, *rules: dict[str, Any], namespace: str = "") -> Policy:
    kind = "ImagePolicy" if namespace else "ClusterImagePolicy"
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    api = "portieris.cloud.ibm.com/v1"
    spec = {"repositories": list(rules)}
    return Policy.read({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec})


def found(new: Policy, *others: Policy, engine: Engine = NEWEST) -> tuple[LaxerRule, ...]:
    return laxer_rules([new, *others], [new.id], engine)


def key_of(one: PolicyRule | None) -> str:
    """The key that is asked for; nothing for an image that is let in, a bar for one denied."""
    if one is None:
        return "-"
    return one.demand.simple.requirements[0].key_secret if one.demand.simple else ""


@pytest.mark.parametrize("engine", ENGINES[1:], ids=str)
def test_whatever_is_let_in_of_these_images_is_found(engine: Engine) -> None:
    chance = random.Random(6)
    told = 0
    for _ in range(400):
        new = policy("m", *(rule(name, chance.choice(("k", "k", ""))) for name in some(chance)))
        where = chance.choice(("", "", "n"))
        other = policy(
            chance.choice("az"),
            *(rule(name, chance.choice(("", "", "k", "z"))) for name in some(chance)),
            namespace=where,
        )
        after, meant = (
            Pools.of(each, engine).of_namespace(where) for each in ([new, other], [new])
        )
        broken = {
            image
            for image in IMAGES
            if key_of(meant.resolve(image).rule) == "k"
            and (decides := after.resolve(image).rule) is not None
            and key_of(decides) != "k"
            and decides.owner == other.id
        }
        claims = found(new, other, engine=engine)
        assert bool(claims) >= bool(broken), (new, other, sorted(broken)[:3])
        for one in claims:
            told += 1
            assert after.resolve(one.image).rule == one.decides
            assert meant.resolve(one.usual or one.image).rule == one.promised
            assert key_of(one.promised) == "k" != key_of(one.decides)
    assert told > 20


def some(chance: random.Random) -> list[str]:
    return chance.sample(NAMES, chance.randint(1, 4))


def test_what_is_let_through_on_purpose_is_no_news() -> None:
    new = policy("m", rule("a.io/*", "k"), rule("a.io/base/*"))
    assert not found(new, policy("z", rule("a.io/base/x*")))


def test_each_object_is_told_once_with_how_many_of_its_rules() -> None:
    others = [
        policy("y", rule("a.io/t/x"), rule("a.io/t/y"), rule("b.io/*")),
        policy("z", rule("a.io/t/z")),
    ]
    first, second = found(policy("m", rule("a.io/t/*", "k")), *others)
    assert (first.decides.owner.name, first.more) == ("y", 1)
    assert (second.decides.owner.name, second.more) == ("z", 0)
    assert "(and 1 more of its rules)" in str(first)


def test_a_key_without_a_namespace_is_that_of_the_place() -> None:
    beside = {"type": "signedBy", "keySecret": "k"}
    named = beside | {"keySecretNamespace": "n"}
    mine = {"name": "a.io/*", "policy": {"simple": {"requirements": [named]}}}
    its = {"name": "a.io/t/*", "policy": {"simple": {"requirements": [beside]}}}
    new = policy("m", mine, namespace="n")
    assert not found(new, policy("z", its, namespace="n"))
    assert found(policy("m", mine), policy("z", its))


def test_trust_and_the_advisor_are_asked_for_likewise() -> None:
    server = "https://notary.example.com"  # the engine knows none for these images
    asks = {
        "trust": {"enabled": True, "trustServer": server},
        "vulnerability": {"ICCRVA": {"enabled": True}},
    }
    new = policy("m", {"name": "icr.io/*", "policy": asks})
    for layer, count in (({}, 1), ({"trust": asks["trust"]}, 1), (asks, 0)):
        assert len(found(new, policy("z", {"name": "icr.io/t/*", "policy": layer}))) == count


def test_hundreds_of_rules_are_compared_in_a_moment() -> None:
    mine = policy("m", *(rule(f"r{one}.io/t/*", "k") for one in range(300)))
    its = policy("z", *(rule(f"r{one}.io/t/x*") for one in range(300)))
    (one,) = found(mine, its)
    assert one.more == 299


@pytest.mark.parametrize(
    ("name", "other", "image"),
    [
        ("us.icr.io/shop/*", "*", "us.icr.io:443/shop/app:1.0"),
        ("us.icr.io/shop/*", "us.icr.io:443/shop/x", "us.icr.io:443/shop/x:1.0"),
        ("us.icr.io/shop/*", "private.us.icr.io/shop/*", "private.us.icr.io/shop/app:1.0"),
        ("us.icr.io/shop/*", "US.icr.io/*", "US.icr.io/shop/app:1.0"),
        ("us.icr.io/shop/*", "Us.iCr.*/shop/y:1", "Us.iCr.io/shop/y:1"),
        ("us.icr.io/shop/*", "US*", "US.icr.io/shop/app:1.0"),
        ("us.icr.io/shop/*", "Us*", "Us.icr.io/shop/app:1.0"),
        ("us.icr.io/shop/*", "Pri*", "Private.us.icr.io/shop/app:1.0"),
        ("us.icr.io/shop/*", "us.icr.io", "us.icr.io:443/shop/app:1.0"),
        ("us.icr.io:443/shop/*", "us.icr.io/*", "us.icr.io/shop/app:1.0"),
        ("docker.io/library/nginx", "index.docker.io/nginx", "index.docker.io/nginx:1.0"),
        ("*.icr.io/shop/*", "DE.ICR.io/shop/*", "DE.ICR.io/shop/app:1.0"),
        ("docker.io/library/nginx", "nginx", "nginx:1.0"),
        ("docker.io/library/nginx", "registry-1.docker.io/*", "registry-1.docker.io/library/ng"),
        ("docker.io/*", "team/*", "team/app:1.0"),
    ],
)
def test_an_image_is_the_same_under_another_text(name: str, other: str, image: str) -> None:
    (one,) = found(policy("m", rule(name, "k")), policy("z", rule(other)))
    assert one.image.startswith(image)
    assert f"{one.image}', the same image as '{one.usual}', is let through unchecked, by" in str(
        one
    )
    assert (
        found(policy("m", rule(name, "k"), rule(other, "k")), policy("z", rule(other, "k"))) == ()
    )


@pytest.mark.parametrize("other", ["de.icr.io/*", "us.icr.io:443/other/*", "evil.example/*"])
def test_other_images_are_others(other: str) -> None:
    assert not found(policy("m", rule("us.icr.io/shop/*", "k")), policy("z", rule(other)))
    assert not found(policy("m", rule("docker.io/*", "k")), policy("z", rule(other)))


@pytest.mark.parametrize(
    ("theirs", "is_laxer"),
    [
        ({"type": "matchExact"}, False),
        ({"type": "matchRepository"}, True),
        ({"type": "remapIdentity", "prefix": "a.io", "signedPrefix": "b.io"}, True),
    ],
)
def test_an_identity_is_less_only_where_it_holds_less_against_the_name(
    theirs: dict[str, str], is_laxer: bool
) -> None:
    its = rule("a.io/t/*", "k")
    its["policy"]["simple"]["requirements"][0]["signedIdentity"] = theirs
    new = policy("m", rule("a.io/*", "k"))
    assert bool(found(new, policy("z", its))) is is_laxer


def test_what_denies_everything_asks_for_enough() -> None:
    its = rule("a.io/t/*", "k")
    its["policy"]["simple"]["requirements"][0]["keySecret"] = ""
    new = policy("m", rule("a.io/*", "k"))
    assert not found(new, policy("z", its))
    assert found(policy("m", its), policy("z", rule("a.io/t/x*", "k")))


def test_what_is_denied_and_let_in_reads_as_a_sentence() -> None:
    anything = {"simple": {"requirements": [{"type": "insecureAcceptAnything"}]}}
    new = policy("m", rule("a.io/*", "k"))
    (one,) = found(new, policy("z", {"name": "a.io/t/*", "policy": anything}))
    assert str(one).startswith("'a.io/t/app:1.0' needs to be there, unsigned or not, by Cluster")


def test_rules_that_share_no_image_cost_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgsec.domain.laxer_rules._PLACES_MAX", 1000)
    mine = policy("m", *(rule(f"us.icr.io/u{one}/*", "k") for one in range(300)))
    its = policy("z", *(rule(f"*.icr.io/t{one}/*") for one in range(300)))
    own = (policy("d", rule("*.icr.io/armada/*"), namespace=f"n{one}") for one in range(100))
    assert not found(mine, its, *own)


def test_places_with_the_same_rules_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgsec.domain.laxer_rules._PLACES_MAX", 1000)
    mine = policy("m", *(rule(f"us.icr.io/*u{one}", "k") for one in range(10)))
    own = (policy("d", rule("de.icr.io/*t"), namespace=f"n{one}") for one in range(100))
    assert not found(mine, *own)


def test_pairs_beyond_the_bound_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgsec.domain.laxer_rules._PLACES_MAX", 1000)
    mine = policy("m", *(rule(f"us.icr.io/*u{one}", "k") for one in range(30)))
    its = policy("z", *(rule(f"de.icr.io/*t{one}") for one in range(30)))
    with refused("invalid-pattern"):
        found(mine, its)


def test_the_advisor_denies_what_is_not_at_ibm() -> None:
    scanned = {"vulnerability": {"ICCRVA": {"enabled": True}}}
    for host, count in (("reg.example.com", 0), ("us.icr.io", 1)):
        new = policy("m", rule(f"{host}/shop/*", "k"))
        other = policy("z", {"name": f"{host}/shop/app*", "policy": scanned})
        assert len(found(new, other)) == count


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("*", "*"),
        ("*", "*/ibm/*"),
        ("*.io/team/*", "*/team/app*"),
        ("*.net/team/*", "*/team/app"),
        ("*/team/*", "*:5000/team/*"),
        ("*o/t*/a", "*/te*m/*"),
    ],
)
@pytest.mark.parametrize("engine", ENGINES[1:], ids=str)
def test_where_a_star_has_the_hosts_of_the_advisor_they_are_looked_at(
    name: str, other: str, engine: Engine
) -> None:
    scanned = {"vulnerability": {"ICCRVA": {"enabled": True}}}
    its = policy("z", {"name": other, "policy": scanned}, namespace="n")
    (one,) = found(policy("m", rule(name, "k")), its, engine=engine)
    assert EngineName.parse(one.image).is_at_ibm
    assert not found(policy("m", rule("reg.example.com/*", "k")), its, engine=engine)


TRUST: dict[str, Any] = {"trust": {"enabled": True}}
SERVER: dict[str, Any] = {"trust": {"enabled": True, "trustServer": "https://notary.example.com"}}
ADVISOR: dict[str, Any] = {"vulnerability": {"ICCRVA": {"enabled": True}}}


@pytest.mark.parametrize(
    ("name", "other", "asked", "host"),
    [
        ("us.icr.io/team/*", "us.icr.io/team/app*", TRUST, ""),
        ("us.icr.io/team/*", "us.icr.io/team/app*", SERVER, "us.icr.io"),
        ("us.icr.io/team/*", "*", TRUST | ADVISOR, ""),
        ("*", "*", TRUST | ADVISOR, ""),
        ("us.icr.io/team/*", "*", SERVER | ADVISOR, "us.icr.io"),
        ("reg.example.com/team/*", "*", SERVER | ADVISOR, ""),
        ("docker.io/team/*", "*/team/app", TRUST, "docker.io"),
        ("*", "*", TRUST, "docker.io"),
        ("*.io/team/*", "*", TRUST, "docker.io"),
        ("*y.io/team/*", "*", TRUST, "quay.io"),
    ],
)
def test_trust_denies_what_no_server_is_known_for(
    name: str, other: str, asked: dict[str, Any], host: str
) -> None:
    its = policy("z", {"name": other, "policy": asked}, namespace="n")
    mine = policy("m", rule(name, "k"))
    hosts = [EngineName.parse(one.image).host for one in found(mine, its)]
    assert hosts == ([host] if host else [])


def test_hosts_that_are_said_are_not_looked_for() -> None:
    mine = policy("m", *(rule(f"r{one}.io/t/*", "k") for one in range(300)))
    its = ({"name": f"r{one}.io/t/x*", "policy": ADVISOR} for one in range(300))
    assert not found(mine, policy("z", *its))


def test_what_is_denied_reads_as_a_sentence() -> None:
    reject = {"simple": {"requirements": [{"type": "reject"}]}}
    new = policy("m", {"name": "docker.io/library/nginx", "policy": reject})
    (one,) = found(new, policy("z", rule("*")))
    assert str(one).endswith("says that it is denied: its requirement is reject")


def test_names_that_take_too_long_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgsec.domain.laxer_rules._PLACES_MAX", 20_000)
    pairs = list(itertools.product("abcd", repeat=2))
    mine = policy("m", *(rule(f"r.io/*{one}*{other}*", "k") for one, other in pairs))
    its = policy("z", *(rule(f"r.io/*{other}*{one}*") for one, other in pairs))
    with refused("invalid-pattern"):
        found(mine, its)
