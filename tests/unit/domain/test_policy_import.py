# SPDX-License-Identifier: Apache-2.0
"""Older policies, taken over: what they demand stays, and what changes is told with an image."""

from __future__ import annotations

from typing import Any

import pytest

from imgsec.domain import diff_samples, witnesses
from imgsec.domain.engines import CISE_API, PORTIERIS_API, Engine
from imgsec.domain.policy_import.earlier import EarlierEngine
from imgsec.operations.import_policy import ImportedPolicies, ImportRules, import_policies
from imgsec.ports import FoundDocument
from tests.unit.domain.intents import TODAY
from tests.unit.refusals import refused

SIGNED = {"requirements": [{"type": "signedBy", "keySecret": "k", "keySecretNamespace": "p"}]}


def a_policy(*rules: Any, api: str = CISE_API, namespace: str = "", **metadata: Any) -> Any:
    place = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": api,
        "kind": "ImagePolicy" if namespace else "ClusterImagePolicy",
        "metadata": {"name": "old", **place, **metadata},
        "spec": {"repositories": list(rules)},
    }


def a_rule(name: str, **policy: Any) -> dict[str, Any]:
    return {"name": name, "policy": policy or None}


def taken(
    *documents: Any,
    before: str | None = None,
    after: str = "0.14.3",
    namespace: str = "",
    as_intent: bool = False,
) -> ImportedPolicies:
    rules = ImportRules(
        EarlierEngine.parse(before) if before else None,
        Engine.parse(after),
        namespace,
        as_intent,
        TODAY,
    )
    return import_policies([FoundDocument(one, "a file") for one in documents], rules)


def told(made: ImportedPolicies) -> dict[str, str]:
    assert made.reasons == ()
    return {note.code: note.text for note in made.notes}


def policies_of(made: ImportedPolicies) -> list[Any]:
    return [one["policy"] for one in made.documents[0]["spec"]["repositories"]]


def test_switches_become_layers() -> None:
    made = taken(a_policy(a_rule("us.icr.io/a/*", trust={"enabled": True}, va={"enabled": True})))
    assert made.documents[0]["apiVersion"] == PORTIERIS_API
    assert policies_of(made) == [
        {"trust": {"enabled": True}, "vulnerability": {"ICCRVA": {"enabled": True}}}
    ]
    notes = told(made)
    assert {"advisor-moved", "layers-reordered", "trust-server-gone", "digest-denied"} <= set(notes)
    assert notes["advisor-moved"].startswith("us.icr.io/a/any:1.0: ")


def test_a_switch_that_is_off_stays_off() -> None:
    made = taken(a_policy(a_rule("icr.io/a/*", trust={"enabled": False}, va={"enabled": False})))
    assert policies_of(made) == [
        {"trust": {"enabled": False}, "vulnerability": {"ICCRVA": {"enabled": False}}}
    ]
    assert told(made) == {}


@pytest.mark.parametrize(
    "rule", [{"name": "a.io/b/*"}, a_rule("a.io/b/*"), a_rule("a.io/b/*", va=None)]
)
def test_nothing_is_an_empty_policy(rule: Any) -> None:
    assert policies_of(taken(a_policy(rule)))[0] in ({}, {"vulnerability": {"ICCRVA": {}}})


def test_a_bare_list_of_requirements_gets_its_name() -> None:
    made = taken(a_policy(a_rule("a.io/b/*", simple=SIGNED["requirements"])))
    assert policies_of(made) == [{"simple": SIGNED}]
    assert set(told(made)) == {"simple-was-a-list", "engine-assumed"}


def test_what_the_cluster_wrote_is_left_out_and_told() -> None:
    metadata = {
        "uid": "1",
        "labels": {"app.kubernetes.io/managed-by": "Helm", "team": "a"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "b": "c"},
    }
    made = taken(a_policy(a_rule("a.io/b/*"), **metadata) | {"status": {}})
    assert made.documents[0]["metadata"] == {
        "name": "old",
        "labels": {"app.kubernetes.io/managed-by": "imgsec", "team": "a"},
        "annotations": {"b": "c"},
    }
    assert all(word in told(made)["cluster-fields"] for word in ("uid", "status", "Helm"))


def test_config_is_a_policy_of_the_whole_cluster() -> None:
    entries = [{"name": "docker.io/x/*", "policy": None}, {"name": "icr.io/*", "policy": {}}]
    config = {"image-security-enforcement": {"clusterImagePolicy": entries, "x": 1}, "y": 2}
    made = taken(config)
    assert policies_of(made) == [{}, {}]
    assert made.documents[0]["metadata"]["name"] == "image-security-enforcement"
    assert "y, image-security-enforcement.x" in told(made)["passed-over"]
    for empty in (None, {}, {"clusterImagePolicy": None}, {"clusterImagePolicy": []}, []):
        with refused("input-malformed"):
            taken({"image-security-enforcement": empty})


@pytest.mark.parametrize(
    ("document", "part"),
    [
        (a_policy({"name": "a.io/b", "trust": {"enabled": True}}), "spec.repositories[0].trust"),
        (a_policy(a_rule("a.io/b", simpel=SIGNED)), "simple is meant"),
        (a_policy(a_rule("a.io/b", mutateImage=False)), "mutateImage"),
        (a_policy(a_rule("a.io/b", va={"enabled": "yes"})), "true or false"),
        (a_policy(a_rule("a.io/b", va={"enabled": True}), api=PORTIERIS_API), "va"),
        (
            a_policy(
                a_rule(
                    "a.io/b",
                    va={"enabled": True},
                    vulnerability={"ICCRVA": {"enabled": False}},
                )
            ),
            "contradict",
        ),
        (
            a_policy(
                a_rule(
                    "a.io/b",
                    simple={
                        "requirements": [
                            {
                                "type": "signedBy",
                                "keySecret": "k",
                                "signedIdentity": {"type": "exactReference"},
                            }
                        ]
                    },
                )
            ),
            "exactReference",
        ),
        (a_policy("a.io/b"), "an object"),
    ],
)
def test_what_cannot_be_taken_over_is_refused(document: Any, part: str) -> None:
    made = taken(document)
    assert {one.code for one in made.reasons} == {"policy-untranslated"}
    assert any(part in one.text for one in made.reasons)


def test_one_object_stands_once() -> None:
    made = taken(a_policy(), a_policy())
    assert [one.code for one in made.reasons] == ["policy-untranslated"]


def test_what_is_no_policy_is_told_or_refused() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}
    assert "1 documents" in told(taken(secret, a_policy()))["passed-over"]
    with refused("input-malformed"):
        taken(secret)
    with refused("policy-foreign"):
        taken(a_policy(api="config.openshift.io/v1"))
    with refused("input-malformed"):
        taken(a_policy() | {"kind": "ImagePolicy"})
    assert taken(a_policy() | {"kind": "ImagePolicy"}, namespace="a").documents[0]["metadata"][
        "namespace"
    ] == "a"  # fmt: skip


def test_a_stranger_is_the_witness_for_hosts_and_a_digest_for_digests() -> None:
    rules = (a_rule("*.icr.io/a/*", trust={"enabled": True}), a_rule("*"), a_rule("b.io/c/d"))
    notes = told(taken(a_policy(*rules)))
    assert notes["meaning-loosened"].startswith("evil.example/any.icr.io/a/any: checked (trust)")
    alone = told(taken(a_policy(a_rule("b.io/c/d"))))
    assert alone["meaning-loosened"].startswith("b.io/c/d@sha256:5a")
    assert "denied" in alone["meaning-loosened"]
    assert told(taken(a_policy(a_rule("b.io/c/d")), after="0.14.2")) == {}


def test_newer_policies_change_by_version_alone() -> None:
    policy = a_policy(a_rule("b.io/c/d", simple=SIGNED), api=PORTIERIS_API)
    assert told(taken(policy)) == {}
    assert "meaning-loosened" in told(taken(policy, before="0.14.1"))


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (a_rule("a.io/b/*", va={"enabled": True}), "advisor-denies"),
        (a_rule("us.icr.io/b/*", va={"enabled": True}), "advisor-deprecated"),
        (a_rule("docker.io/b/*", trust={"enabled": True}), "digest-denied"),
        (
            a_rule("a.io/b/*", trust={"enabled": True, "trustServer": "https://us.icr.io:4443"}),
            "trust-server-gone",
        ),
        (a_rule("registry.ng.bluemix.net/b/*", trust={"enabled": True}), "trust-server-gone"),
        (a_rule("a.io/b/*", trust={"enabled": True}, simple=SIGNED), "never-passes"),
        (a_rule("docker.io/library/nginx", simple=SIGNED), "short-name"),
        (a_rule("", simple=SIGNED), "never-decides"),
        (
            a_rule(
                "a.io/b/*",
                simple={
                    "requirements": [
                        SIGNED["requirements"][0] | {"signedIdentity": {"type": "matchExact"}}
                    ]
                },
            ),
            "digest-denied",
        ),
    ],
)
def test_each_change_is_told(rule: Any, code: str) -> None:
    assert code in told(taken(a_policy(rule)))


def test_a_namespace_of_its_own_is_told_with_an_image() -> None:
    own = a_policy(a_rule("icr.io/a/*"), namespace="kube-system")
    text = told(taken(a_policy(a_rule("a.io/b/*")), own))["own-policy"]
    assert text.startswith("a.io/b/any:1.0: unchecked by a.io/b/*; in the namespace kube-system")


def test_an_intent_says_the_same() -> None:
    rules = (
        a_rule("us.icr.io/team/*", simple=SIGNED | {"storeURL": "https://s.example"}),
        a_rule("us.icr.io/team/base"),
        a_rule("us.icr.io/team/base@*"),
        a_rule("us.icr.io/team/more"),
        a_rule("docker.io/alpine*"),
        a_rule("a.io/evil/*", simple={"requirements": [{"type": "reject"}]}),
    )
    made = taken(a_policy(*rules, api=PORTIERIS_API), as_intent=True)
    notes = told(made)
    assert set(notes) == {"never-passes", "reason-missing", "short-name"}, notes
    (intent,) = made.intents
    assert [[one.text for one in rule.names] for rule in intent.rules] == [
        ["us.icr.io/team/*"],
        ["us.icr.io/team/base", "us.icr.io/team/more", "docker.io/alpine*"],
        ["a.io/evil/*"],
    ]
    assert intent.rules[0].demand.simple is not None


@pytest.mark.parametrize("as_intent", [False, True])
def test_a_store_that_shows_its_credentials_is_taken_over_and_told(as_intent: bool) -> None:
    simple = SIGNED | {"storeURL": "http://s.example/x", "storeSecret": "box"}
    policy = a_policy(a_rule("a.io/b/*", simple=simple), api=PORTIERIS_API)
    notes = told(taken(policy, as_intent=as_intent))
    assert "can read the credentials of the Secret box" in notes["store-without-tls"]
    assert notes.get("publish-would-refuse", "").startswith("insecure-address: ") is as_intent


def test_an_intent_says_what_is_let_through_behind_a_tag() -> None:
    rules = (a_rule("us.icr.io/team/base:1"), a_rule("us.icr.io/team/base:1@*"))
    made = taken(a_policy(*rules, api=PORTIERIS_API), as_intent=True, after="0.14.1")
    (intent,) = made.intents
    assert list(intent.rules[0].rule_names()) == [one["name"] for one in rules]
    assert "meaning-changed" not in told(made)


@pytest.mark.parametrize(
    "rule",
    [
        a_rule("a.io/b/*", simple={"requirements": [{"type": "insecureAcceptAnything"}]}),
        a_rule("a.io/b/*", simple={"requirements": [{"type": "signedBy"}]}),
        a_rule("a.io/b/*", simple=SIGNED | {"storeURL": "ftp://s.example"}),
        a_rule("a.io/b/*", simple=SIGNED | {"storeSecret": "s"}),
        a_rule("a b", simple=SIGNED),
        a_rule("", simple=SIGNED),
    ],
)
def test_an_intent_has_no_words_for_some(rule: Any) -> None:
    policy = a_policy(rule, api=PORTIERIS_API)
    assert taken(policy).reasons == ()
    made = taken(policy, as_intent=True)
    assert {one.code for one in made.reasons} == {"policy-untranslated"}


def test_what_publishing_would_refuse_is_told() -> None:
    crossed = (a_rule("a.io/*/app", simple=SIGNED), a_rule("a.io/team/*"))
    made = taken(a_policy(*crossed, api=PORTIERIS_API), as_intent=True)
    assert told(made)["publish-would-refuse"].startswith("intent-contradicts")


# --- What the engine until now never read -----------------------------------------------------

ADVISED = {"ICCRVA": {"enabled": True}}


def told_matching(made: ImportedPolicies) -> str:
    return told(made).get("meaning-changed", "")


def test_a_signature_that_cise_never_asked_for_is_a_new_check() -> None:
    policy = a_policy(a_rule("us.icr.io/a/*", simple=SIGNED))
    new = "us.icr.io/a/any:1.0: unchecked by us.icr.io/a/* until now; Portieris 0.14.3: checked"
    assert told_matching(taken(policy, before="cise")).startswith(f"{new} (signature)")
    assert told_matching(taken(policy, before="0.5")).startswith(f"{new} (signature)")
    for version in ("0.7", "0.9", "0.9.5"):
        assert told_matching(taken(policy, before=version)) == ""


def test_the_advisor_is_a_new_check_for_whom_it_was_none() -> None:
    va = a_policy(a_rule("us.icr.io/a/*", va={"enabled": True}))
    newer = a_policy(a_rule("us.icr.io/a/*", vulnerability=ADVISED))
    assert told_matching(taken(va, before="cise")) == ""
    assert "checked (advisor)" in told_matching(taken(va, before="0.8"))
    assert told_matching(taken(newer, before="0.9.1")) == ""
    assert "checked (advisor)" in told_matching(taken(newer, before="0.8.3"))
    assert "checked (advisor)" in told_matching(taken(newer, before="cise"))


def test_only_cise_asked_for_trust_first() -> None:
    switches = {"trust": {"enabled": True}, "va": {"enabled": True}}
    policy = a_policy(a_rule("us.icr.io/a/*", **switches))
    assert "layers-reordered" in told(taken(policy))
    assert "layers-reordered" not in told(taken(policy, before="0.9"))


def test_what_cise_never_read_is_taken_for_the_last_that_did() -> None:
    signed = taken(a_policy(a_rule("us.icr.io/a/*", simple=SIGNED)))
    assert "--from cise" in told(signed)["engine-assumed"]
    assert told_matching(signed) == ""
    assert "engine-assumed" not in told(taken(a_policy(a_rule("us.icr.io/a/*"))))


@pytest.mark.parametrize(
    ("api", "before"),
    [(CISE_API, "0.14.1"), (CISE_API, "0.13.38"), (PORTIERIS_API, "cise"), (PORTIERIS_API, "0.9")],
)
def test_an_engine_that_never_read_the_policy_is_refused(api: str, before: str) -> None:
    with refused("policy-foreign"):
        taken(a_policy(a_rule("us.icr.io/a/*"), api=api), before=before)


def test_both_apis_are_held_each_against_its_own_engine() -> None:
    older = a_policy(a_rule("b.io/c/d"), namespace="one")
    newer = a_policy(a_rule("b.io/c/d"), api=PORTIERIS_API, namespace="two")
    notes = [one for one in taken(older, newer).notes if one.code == "meaning-loosened"]
    assert len(notes) == 1


def test_a_namespace_of_the_newer_api_is_held_against_a_cluster_of_the_older() -> None:
    own = a_policy(a_rule("icr.io/a/*"), api=PORTIERIS_API, namespace="kube-system")
    assert "own-policy" in told(taken(a_policy(a_rule("a.io/b/*")), own))


@pytest.mark.parametrize("version", ["0.4", "0.10.0", "0.12.6", "0.9.x", "v0.9", "1", ""])
def test_versions_that_nobody_knows_are_refused(version: str) -> None:
    with refused("engine-unknown"):
        EarlierEngine.parse(version)


@pytest.mark.parametrize(
    ("inner", "outer", "code"),
    [
        ("reject", "insecureAcceptAnything", "meaning-loosened"),
        ("insecureAcceptAnything", "reject", "meaning-changed"),
        ("signedBy", "insecureAcceptAnything", "meaning-loosened"),
        ("signedBy", "reject", "meaning-changed"),
    ],
)
def test_what_a_rule_asks_for_tells_whether_it_is_loosened(
    inner: str, outer: str, code: str
) -> None:
    """A digest comes from the wider rule to the narrower with 0.14.3."""
    demands = {
        kind: {"requirements": [{"type": kind, **({"keySecret": "k"} if "By" in kind else {})}]}
        for kind in ("reject", "insecureAcceptAnything", "signedBy")
    }
    rules = (
        a_rule("icr.io/ns/app", simple=demands[outer]),
        a_rule("icr.io/ns/*", simple=demands[inner]),
    )
    made = taken(a_policy(*rules, api=PORTIERIS_API), before="0.14.2")
    notes = told(made)
    assert {"meaning-loosened", "meaning-changed"} & set(notes) == {code}
    assert ("(signature)" in notes[code]) == (inner == "signedBy")
    assert ("denied by" in notes[code]) == ("reject" in (inner, outer))


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [("*.icr.io/shop/*", "us.icr.io/shop/*"), ("*", "registry.example.com/*")],
)
def test_a_rule_beside_one_that_has_its_likeliest_images_decides_about_others(
    wide: str, narrow: str
) -> None:
    both = {"trust": {"enabled": True}, "simple": SIGNED}
    made = taken(a_policy(a_rule(wide, **both), a_rule(narrow), api=PORTIERIS_API))
    notes = told(made)
    assert "never-passes" in notes
    assert "never-decides" not in notes


def test_a_rule_that_others_leave_nothing_never_decides() -> None:
    rules = (a_rule("icr.io/**"), a_rule("icr.io/*", simple=SIGNED))
    made = taken(a_policy(*rules, api=PORTIERIS_API))
    assert "never-decides" in told(made)


def test_a_rule_that_nobody_can_compare_in_time_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witnesses, "_TRIES_MAX", 0)
    rules = a_rule("*.icr.io/shop/*"), a_rule("us.icr.io/shop/*")
    assert "not-compared" in told(taken(a_policy(*rules, api=PORTIERIS_API)))


@pytest.mark.parametrize("name", ["https://icr.io/ns/*", "icr.io/ns/", "icr.io/NS/app"])
def test_a_name_that_no_image_can_have_never_decides(name: str) -> None:
    assert "never-decides" in told(taken(a_policy(a_rule(name), api=PORTIERIS_API)))


@pytest.mark.parametrize(
    "name", ["registry*.bluemix.net/armada/*", "*.icr.io/armada/*", "us*r.io/armada/app"]
)
def test_a_foreign_host_that_is_met_no_more_is_told_wherever_the_star_stands(name: str) -> None:
    rules = (a_rule(name), a_rule("*", simple=SIGNED))
    notes = told(taken(a_policy(*rules, api=PORTIERIS_API), before="0.14.1"))
    image = notes["meaning-changed"].partition(": ")[0]
    assert f"unchecked by {name}" in notes["meaning-changed"]
    assert image.split("/")[0].endswith(("bluemix.net", "icr.io")) is False


def test_what_could_not_be_compared_to_the_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff_samples, "_PAIRS_MAX", 0)
    rules = (a_rule("icr.io/*/a"), a_rule("icr.io/*", simple=SIGNED))
    made = taken(a_policy(*rules, api=PORTIERIS_API), before="0.14.1")
    assert "not-compared" in told(made)


def test_a_bare_list_is_taken_for_what_read_one() -> None:
    requirements = [{"type": "signedBy", "keySecret": "k"}]
    notes = told(taken(a_policy(a_rule("icr.io/a/*", simple=requirements))))
    assert "Portieris 0.6.0's" in notes["engine-assumed"]
    assert "0.6.0" in notes["simple-was-a-list"]


@pytest.mark.parametrize(
    ("chart", "said"), [([], "has no rules"), ({}, "is no list"), (None, "is no list")]
)
def test_a_list_without_rules_says_so(chart: Any, said: str) -> None:
    with refused("input-malformed") as reasons:
        taken({"image-security-enforcement": {"clusterImagePolicy": chart}})
    assert said in reasons[0].text


# --- With which image it is told --------------------------------------------------------------

SWITCHES = {"trust": {"enabled": True}, "va": {"enabled": True}}


def test_what_cise_let_in_and_is_denied_from_now_on_is_the_image() -> None:
    notes = told(taken(a_policy(a_rule("*", **SWITCHES), a_rule("us.icr.io/open/*"))))
    for code in ("trust-server-gone", "advisor-moved", "layers-reordered"):
        assert notes[code].startswith("us.icr.io/any:1.0: "), code
    assert "advisor-denies" not in notes  # CISE denied images of strangers, too
    only = told(taken(a_policy(a_rule("*", trust={"enabled": True}), a_rule("us.icr.io/*"))))
    assert only["trust-server-gone"].startswith("icr.io/any:1.0: ")


def test_strangers_images_are_told_where_the_advisor_is_a_new_check_for_them() -> None:
    notes = told(taken(a_policy(a_rule("*", va={"enabled": True})), before="0.8"))
    assert notes["advisor-denies"].startswith("registry.example.com/any:1.0: ")


def test_trust_that_cise_knew_nothing_of_lets_images_in() -> None:
    notes = told(taken(a_policy(a_rule("*", trust={"enabled": True}))))
    assert "docker.io/any:1.0: denied until now, CISE knew no" in notes["meaning-loosened"]
    assert notes["digest-denied"].startswith("docker.io/any:1.0: ")
    advised = told(taken(a_policy(a_rule("*", **SWITCHES))))
    assert "meaning-loosened" not in advised
    newer = a_policy(a_rule("*", trust={"enabled": True}), api=PORTIERIS_API)
    assert "meaning-loosened" not in told(taken(newer))


@pytest.mark.parametrize(
    "simple",
    [
        {"requirements": [{"type": "reject"}]},
        {"requirements": [{"type": "signedBy"}]},
        SIGNED | {"storeURL": "ftp://s.example"},
        *(
            {"requirements": [SIGNED["requirements"][0] | {"signedIdentity": identity}]}
            for identity in (
                {"type": "matchExactReference"},
                {"type": "matchExactReference", "dockerReference": "a.io/b"},
                {"type": "matchExactRepository"},
                {"type": "remapIdentity", "prefix": "a.io"},
            )
        ),
    ],
)
def test_a_rule_that_denies_everything_never_passes(simple: Any) -> None:
    notes = told(taken(a_policy(a_rule("us.icr.io/b/*", simple=simple), api=PORTIERIS_API)))
    assert notes["never-passes"].startswith("us.icr.io/b/any:1.0: always denied, ")


EXACT = {**SIGNED["requirements"][0], "signedIdentity": {"type": "matchExact"}}


@pytest.mark.parametrize(
    ("policy", "is_denied"),
    [
        ({"simple": {"requirements": [EXACT]}}, True),
        ({"simple": {"requirements": [EXACT]}, "mutateImage": False}, False),
        ({"simple": {"requirements": [EXACT, {"type": "reject"}]}}, False),
        ({"trust": {"enabled": True}}, True),
        ({"trust": {"enabled": True}, "mutateImage": False}, False),
    ],
)
def test_only_an_image_that_is_let_in_and_rewritten_is_denied_by_its_digest(
    policy: Any, is_denied: bool
) -> None:
    made = taken(a_policy(a_rule("docker.io/b/*", **policy), api=PORTIERIS_API))
    assert ("digest-denied" in told(made)) == is_denied


def test_an_advisor_that_was_asked_already_has_not_moved() -> None:
    newer = a_rule("us.icr.io/a/*", vulnerability=ADVISED)
    assert "advisor-moved" not in told(taken(a_policy(newer), before="0.9"))
    older = a_rule("us.icr.io/b/*", va={"enabled": True})
    moved = told(taken(a_policy(newer, older), before="0.9"))["advisor-moved"]
    assert moved.startswith("us.icr.io/b/any:1.0: ")
    off = a_rule("us.icr.io/a/*", vulnerability=ADVISED, va={"enabled": True})
    assert "advisor-moved" not in told(taken(a_policy(off), before="0.9"))


BARE = [{"type": "signedBy", "keySecret": "k"}]


def test_what_no_portieris_read_was_no_check() -> None:
    rules = (a_rule("us.icr.io/a/*", simple=BARE), a_rule("us.icr.io/b/*", simple=SIGNED))
    for documents in ([a_policy(*rules)], [a_policy(one, name=one["name"][-3]) for one in rules]):
        made = taken(*documents)
        assert "taken for cise's" in told(made)["engine-assumed"]
        changed = [one.text for one in made.notes if one.code == "meaning-changed"]
        assert len(changed) == 2
        assert all("unchecked by" in one for one in changed)


@pytest.mark.parametrize(
    ("simple", "before"), [(BARE, "0.7"), (BARE, "0.9"), (SIGNED, "0.6"), (SIGNED, "0.6.0")]
)
def test_an_engine_that_could_not_read_simple_so_is_refused(simple: Any, before: str) -> None:
    with refused("policy-foreign"):
        taken(a_policy(a_rule("us.icr.io/a/*", simple=simple)), before=before)


def test_the_advisor_beside_a_bare_list_is_a_new_check() -> None:
    rules = a_rule("us.icr.io/a/*", simple=BARE), a_rule("us.icr.io/b/*", vulnerability=ADVISED)
    made = taken(a_policy(*rules))
    assert "Portieris 0.6.0's" in told(made)["engine-assumed"]
    assert told_matching(made).startswith("us.icr.io/b/any:1.0: unchecked by")


def test_the_same_rule_of_a_namespace_is_no_other_policy() -> None:
    signed = {"type": "signedBy", "keySecret": "k"}
    wide = a_rule("a.io/b", simple={"requirements": [{**signed, "keySecretNamespace": "dev"}]})
    own = a_policy(a_rule("a.io/b", simple={"requirements": [signed]}), namespace="dev")
    assert "own-policy" not in told(taken(a_policy(wide), own))
    other = a_policy(a_rule("a.io/b", simple={"requirements": [signed]}), namespace="stage")
    assert "own-policy" in told(taken(a_policy(wide), other))


def test_no_image_that_nobody_can_pull_is_told() -> None:
    names = (f"icr.io/ns/app@sha256:{'b' * 64}", "icr.io/ns/app@sha256:*")
    rules = (a_rule(name, simple=SIGNED) for name in names)
    made = taken(a_policy(*rules, api=PORTIERIS_API), before="0.14.2")
    assert "meaning-loosened" not in told(made)
