# SPDX-License-Identifier: Apache-2.0
"""What is built in is what was published, and takes nothing away from what a user demands."""

from __future__ import annotations

import pytest

from imgsec.domain.intent_rendering import Target
from imgsec.domain.intent_sets import PLATFORMS, SETS, platform_named, set_named
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

ARMADA = 9


def names_of(name: str, target: Target = Target.PORTIERIS, **rest: str) -> dict[str, list[str]]:
    """The names of each object's rules."""
    found = rendered(*set_named(name, **rest)[0], target=target)
    return {
        f"{one['metadata'].get('namespace', '')}/{one['metadata']['name']}": [
            rule["name"] for rule in one["spec"]["repositories"]
        ]
        for one in found.documents
    }


@pytest.mark.parametrize("name", [name for name in SETS if name != "cise-defaults"])
@pytest.mark.parametrize("engine", EVERY_ENGINE)
def test_sets_can_be_rendered_for_every_version(name: str, engine: str) -> None:
    assert codes(rendered(*set_named(name)[0], engine=engine)) == set()


@pytest.mark.parametrize("engine", EVERY_ENGINE)
def test_what_only_cise_could_check_is_no_lock_out_of_portieris(engine: str) -> None:
    found = rendered(*set_named("cise-defaults")[0], engine=engine)
    (reason,) = found.reasons
    assert reason.code == "intent-inexpressible"
    assert "set cise-defaults: *: Portieris would deny every image" in reason.text
    assert "--for cise" in reason.hint


@pytest.mark.parametrize("name", SETS)
def test_sets_can_be_rendered_for_cise(name: str) -> None:
    assert codes(rendered(*set_named(name)[0], target=Target.CISE)) == set()


def test_cise_defaults_are_complete() -> None:
    found = names_of("cise-defaults", Target.CISE)
    cluster = found["/ibmcloud-default-cluster-image-policy"]
    assert cluster[ARMADA:] == ["icr.io/ibm/*", "icr.io/ext/*", "icr.io/obs/*", "*"]
    assert "registry*.bluemix.net/armada-master/*" in cluster[:ARMADA]
    assert found["kube-system/ibmcloud-image-policy"] == ["*", *cluster[:ARMADA]]
    assert found["ibm-system/ibmcloud-image-policy"][ARMADA + 1 :] == [
        "icr.io/ibm/ibmcloud-image-enforcement",
        "icr.io/obs/kubectl",
    ]
    intents, notes = set_named("cise-defaults")
    (last,) = rendered(*intents, target=Target.CISE).documents[0]["spec"]["repositories"][-1:]
    assert last["policy"] == {"trust": {"enabled": True}, "va": {"enabled": True}}
    assert [one.code for one in notes] == ["not-the-add-on"]


def test_defaults_of_portieris_are_complete() -> None:
    found = names_of("portieris-iks")
    assert found["/default"] == ["*"]
    assert len(found["kube-system/default"]) == ARMADA + 1
    assert found["ibm-system/default"][-1] == "icr.io/ext/istio/*"
    assert "*" not in found["ibm-system/default"]
    assert found["portieris/default"] == ["icr.io/portieris/portieris"]


def test_multicloud_has_its_one_placeholder() -> None:
    (without,) = names_of("multicloud").values()
    (whole,) = names_of("multicloud", cluster_domain="mycluster.icp").values()
    assert set(whole) - set(without) == {"mycluster.icp:8500/*"}
    assert (len(without), len(set(whole))) == (79, 80)
    assert "cluster-domain-missing" in [one.code for one in set_named("multicloud")[1]]
    for odd in ("mycluster.icp:8500", "*", "my cluster", "a.b/c"):
        with refused("invalid-option", "invalid-reference"):
            set_named("multicloud", cluster_domain=odd)


def test_an_empty_start_denies_everything() -> None:
    assert names_of("empty") == {"/empty": []}
    assert note_codes(rendered(*set_named("empty")[0])) == {"denies-everything"}


def test_unknown_names_are_refused() -> None:
    with refused("invalid-option"):
        set_named("cise")
    with refused("invalid-option"):
        platform_named("aks", ())


def test_a_set_takes_nothing_out_of_what_is_demanded() -> None:
    user = an_intent(signed("docker.io/library/*"))
    assert "intent-contradicts" in codes(rendered(user, *set_named("multicloud")[0]))
    assert "intent-misread" in codes(rendered(user, *set_named("portieris-iks")[0]))


@pytest.mark.parametrize("name", PLATFORMS)
def test_platforms_are_let_through_in_their_own_namespaces(name: str) -> None:
    own = PLATFORMS[name].namespaces[0]
    user = [
        an_intent(signed("us.icr.io/team/*"), name="a"),
        an_intent(signed("us.icr.io/team/*"), name="b", namespaces=["shop", own]),
    ]
    extra = platform_named(name, user)
    found = rendered(*user, *extra)
    assert codes(found) == set()
    places = [one["metadata"].get("namespace") for one in found.documents]
    assert places == [None, "shop", own, None, own]


def test_a_platform_is_an_exception_that_is_told() -> None:
    user = an_intent(signed("icr.io/*"), unchecked("a.io/b/*"))
    found = rendered(user, *platform_named("portieris", [user]))
    assert (codes(found), "platform-exception" in note_codes(found)) == (set(), True)


def test_a_platform_may_cross_what_is_demanded_and_is_told() -> None:
    user = an_intent(signed("us.icr.io/*"))
    found = rendered(user, *platform_named("iks", [user]))
    assert (codes(found), "platform-exception" in note_codes(found)) == (set(), True)


@pytest.mark.parametrize(
    "name", ["reg.example.com/team/*", "docker.io/team/*", "us.icr.io/team/*", "de.icr.io/a/*"]
)
def test_what_an_older_engine_makes_of_the_stars_of_a_platform_is_told(name: str) -> None:
    user = an_intent(signed(name))
    found = rendered(user, *platform_named("iks", [user]), engine="0.14.1")
    assert (codes(found), "platform-exception" in note_codes(found)) == (set(), True)
    newest = rendered(user, *platform_named("iks", [user]))
    assert (codes(newest), "platform-exception" in note_codes(newest)) == (set(), False)


def test_exceptions_are_told_of_each_namespace() -> None:
    user = an_intent(signed("icr.io/*"), name="a")
    own = an_intent(signed("icr.io/*"), name="b", namespaces=["kube-system", "ibm-system"])
    found = rendered(user, own, *platform_named("iks", [user, own]))
    told = [one.text for one in found.notes if one.code == "platform-exception"]
    for place in ("kube-system", "ibm-system"):
        assert sum(f"in namespace {place}" in text for text in told) == 1, told
    assert len(told) == 3


@pytest.mark.parametrize("name", ["a-first", "zz-last"])
@pytest.mark.parametrize("image", ["icr.io/ext/*", "*.icr.io/armada/*"])
def test_a_platforms_own_name_is_nobody_elses(name: str, image: str) -> None:
    """Of two names alike, the engine takes the one whose object comes first."""
    user = an_intent(signed(image), name=name)
    found = rendered(user, *platform_named("iks", [user]))
    assert "intent-contradicts" in codes(found)
    assert any("whose object's name comes first" in one.text for one in found.reasons)
    assert not any("longer text" in one.text for one in found.notes)
