# SPDX-License-Identifier: Apache-2.0
"""What a lint says of policies, and above all what it leaves unsaid.

That each finding is found has its examples on the page docs/policy-lint.md.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from imgsec.adapters.manifest_files import parse_documents
from imgsec.domain import lint_precedence
from imgsec.domain.demand_effect import Direction, asks_less, direction_of, effect_of
from imgsec.domain.engines import CISE_API, NEWEST, Engine
from imgsec.domain.lint_catalogue import Level
from imgsec.domain.lint_losses import Profile, lost_by
from imgsec.domain.lint_secrets import secret_findings
from imgsec.domain.lint_sources import take_inventory
from imgsec.domain.policy_lint import Lint, judge_lint, lint_inventory
from imgsec.domain.policy_rules import demand_of
from imgsec.render.lint_text import decision_line

SIGNED = {
    "simple": {"requirements": [{"type": "signedBy", "keySecret": "k", "keySecretNamespace": "p"}]}
}
TRUSTED = {"trust": {"enabled": True}}
ADVISED = {"vulnerability": {"ICCRVA": {"enabled": True}}}
ANYTHING = {"simple": {"requirements": [{"type": "insecureAcceptAnything"}]}}
OTHER_KEY = {
    "simple": {"requirements": [{"type": "signedBy", "keySecret": "o", "keySecretNamespace": "p"}]}
}
Rule = tuple[str, Any]


def signed_by(**more: Any) -> dict[str, Any]:
    one = {"type": "signedBy", "keySecret": "k", "keySecretNamespace": "p", **more}
    return {"simple": {"requirements": [one]}}


def policy(*rules: Rule, name: str = "default", namespace: str = "", api: str = NEWEST.api) -> Any:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {
        "apiVersion": api,
        "kind": "ImagePolicy" if namespace else "ClusterImagePolicy",
        "metadata": metadata,
        "spec": {"repositories": [{"name": rule, "policy": demand} for rule, demand in rules]},
    }


def lint(*documents: Any, engine: str = "0.14.3", images: tuple[str, ...] = ()) -> Lint:
    text = "\n---\n".join(json.dumps(one, indent=1) for one in documents).encode()
    found = take_inventory(parse_documents(text, "a.yaml"), Engine.parse(engine))
    return lint_inventory(found, secret_findings(found, strict=False), images=images)


def codes(*documents: Any, engine: str = "0.14.3", notes: bool = False) -> list[str]:
    found = lint(*documents, engine=engine).findings
    return [one.kind.code for one in found if notes or one.level is not Level.NOTE]


def the(code: str, *documents: Any, engine: str = "0.14.3") -> Any:
    (found,) = [one for one in lint(*documents, engine=engine).findings if one.kind.code == code]
    return found


# --- What a careful policy is not told ------------------------------------------------------------


@pytest.mark.parametrize(
    "rules",
    [
        [("icr.io/ns/app", SIGNED)],
        [("icr.io/ns/*", SIGNED), ("*.icr.io/ns/*", SIGNED)],
        # An exception that is meant: a narrower name that weighs more.
        [("icr.io/ns/*", SIGNED), ("icr.io/ns/tools/*", {})],
        [("*", SIGNED), ("registry.example.com/platform/*", {})],
        [("icr.io/ns/app", SIGNED), ("icr.io/ns/app:dev-*", {})],
        # Other demands, and none of them less.
        [("icr.io/ns/app", SIGNED), ("icr.io/ns/app:*", OTHER_KEY), ("icr.io/ns/app@*", SIGNED)],
        [("registry.example.com:5000/ns/*", SIGNED)],
        [("reg.example.com:*/ns/app", {})],
        [("icr.io/ns/app-*", {})],
        [("localhost/app", SIGNED), ("localhost:5000/app", SIGNED)],
        [("registry*.bluemix.net/armada/*", {}), ("*.icr.io/armada/*", {})],
        [("docker.io/*", {"simple": {"requirements": [{"type": "reject"}]}})],
        [("docker.io/org/app", {**TRUSTED, "mutateImage": False})],
        [("icr.io/ns/app", {"vulnerability": {"ICCRVA": {"enabled": True}}})],
        [
            (
                "icr.io/ns/app",
                {**signed_by(signedIdentity={"type": "matchExact"}), "mutateImage": False},
            )
        ],
        [("icr.io/ns/*", signed_by(signedIdentity={"type": ""}))],
        [
            (
                "icr.io/ns/*",
                signed_by(
                    signedIdentity={
                        "type": "remapIdentity",
                        "prefix": "icr.io/ns",
                        "signedPrefix": "localhost:5000",
                    }
                ),
            )
        ],
    ],
)
def test_a_careful_policy_has_neither_errors_nor_warnings(rules: list[Rule]) -> None:
    assert codes(policy(*rules)) == []


def test_a_short_name_that_a_workload_uses_is_meant() -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"containers": [{"image": "nginx:1"}]},
    }
    assert "short-name" in codes(policy(("nginx", {})))
    assert "short-name" not in codes(policy(("nginx", {})), pod)


# --- Fields ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        ({"trust": {"enabled": True}}, "Put trust below policy"),
        ({"policies": {}}, "Write policy."),
        ({"policy": {"va": {"enabled": True}}}, "ICCRVA"),
        ({"policy": {"simpleStore": {}}}, "storeURL and storeSecret"),
    ],
)
def test_a_dropped_field_is_told_with_what_is_left(rule: dict[str, Any], hint: str) -> None:
    document = policy()
    document["spec"]["repositories"] = [{"name": "icr.io/ns/app", **rule}]
    found = the("unknown-field", document)
    assert hint in found.hint
    assert "lets the images through unseen" in found.text
    assert found.line > 5


@pytest.mark.parametrize("name", ["namespce", "Namespace", "lables"])
def test_a_misspelt_namespace_or_label_is_told(name: str) -> None:
    document = policy(("icr.io/*", SIGNED), namespace="shop")
    document["metadata"][name] = "shop"
    finding = the("unknown-field", document)
    assert f"{name!r} is unknown; did you mean" in finding.text
    document["metadata"] |= {"annotations": {name: "shop"}, "uid": "1", "generation": 1}
    del document["metadata"][name]
    assert "unknown-field" not in codes(document)


def test_nothing_is_said_about_what_a_refused_rule_demands() -> None:
    refused = {"simple": {"requirements": [{"type": "signed"}]}}
    both = policy(("icr.io/ns/app", refused), ("icr.io/ns/app:*", SIGNED))
    assert codes(both) == ["refused-value"]


def test_a_refused_object_is_not_said_to_deny_everything() -> None:
    for spec in ([], {"repositories": [5]}, {"repositories": {}}):
        document = {**policy(namespace="n"), "spec": spec}
        assert set(codes(document)) == {"wrong-type"}
    assert codes(policy(namespace="n")) == ["no-rules"]


def test_a_pruned_check_counts_for_nothing() -> None:
    rules = [("icr.io/ns/app", {"va": {"enabled": True}})]
    assert "unchecked-rule" in codes(policy(*rules), notes=True)


@pytest.mark.parametrize("empty", [None, {}, "absent"])
def test_every_form_of_no_policy_is_told(empty: Any) -> None:
    document = policy(("icr.io/ns/app", empty))
    if empty == "absent":
        del document["spec"]["repositories"][0]["policy"]
    assert codes(document, notes=True) == ["unchecked-rule"]


def test_lines_are_those_of_the_file() -> None:
    text = b"""apiVersion: portieris.cloud.ibm.com/v1
kind: ClusterImagePolicy
metadata: {name: default}
spec:
  repositories:
    - name: icr.io/ns/app
      policy:
        simple:
          requirements:
            - type: signedBy
"""
    found = lint_inventory(take_inventory(parse_documents(text, "a.yaml"), NEWEST))
    assert [(one.kind.code, one.line) for one in found.findings] == [("key-secret-unnamed", 10)]


# --- Precedence across objects --------------------------------------------------------------------


def test_objects_are_one_pool_in_the_order_of_their_names() -> None:
    later = policy(("icr.io/ns/app", SIGNED), name="b")
    earlier = policy(("icr.io/ns/app", {}), name="a")
    found = the("duplicate-rule", later, earlier)
    assert (found.about, found.level) == ("ClusterImagePolicy b", Level.ERROR)


def test_namespaces_are_pools_of_their_own() -> None:
    rules = (("icr.io/ns/app", SIGNED),)
    one, other = policy(*rules, namespace="a"), policy(*rules, namespace="b")
    assert codes(one, other) == []


def test_of_an_object_that_is_there_twice_the_first_counts() -> None:
    found = codes(policy(("icr.io/ns/app", SIGNED)), policy(("icr.io/ns/app", {})))
    assert found == ["object-twice"]


def test_a_tie_is_won_by_the_first() -> None:
    wide, plain = ("icr.io/ns/app*", {}), ("icr.io/ns/app", SIGNED)
    assert the("shadowed-rule", policy(wide, plain)).image == "icr.io/ns/app:1.0"
    assert "shadowed-rule" not in codes(policy(plain, wide))


def test_an_overlap_is_told_with_an_image_of_both() -> None:
    found = the("shadowed-rule", policy(("*:prod", SIGNED), ("icr.io/ns/*", {})))
    assert found.image == "icr.io/ns/app:prod"


def test_a_rule_that_loses_its_digests_is_told() -> None:
    both = policy(("icr.io/ns/app", SIGNED), ("icr.io/ns/app@*", {}))
    assert the("shadowed-rule", both).image.startswith("icr.io/ns/app@sha256:")
    found = the("digest-uncovered", both, engine="0.14.2")
    assert found.level is Level.WARNING


DENIED = {"simple": {"requirements": [{"type": "reject"}]}}


def test_a_stricter_rule_for_one_tag_hides_no_lost_tags() -> None:
    rules = policy(
        ("icr.io/ns/app", SIGNED), ("icr.io/ns/app:*", {}), ("icr.io/ns/app:1.0", DENIED)
    )
    found = the("shadowed-rule", rules)
    assert found.image == "icr.io/ns/app:latest"
    assert "with any tag are decided by 'icr.io/ns/app:*'" in found.text


@pytest.mark.parametrize("end", [":*", "@*", ":*@*"])
def test_a_form_of_all_that_a_folder_holds_is_lost(end: str) -> None:
    found = the("shadowed-rule", policy(("icr.io/ns/*", SIGNED), (f"icr.io/ns/*{end}", {})))
    assert found.image.startswith("icr.io/ns/app")


def test_names_with_other_ends_share_what_has_a_tag() -> None:
    found = the("shadowed-rule", policy(("icr.io/ns/*a", SIGNED), ("icr.io/ns/*bb", {})))
    name, _, tag = found.image.partition(":")
    assert name.endswith("a")
    assert tag.endswith("bb")


def test_a_rule_for_everything_can_lose_all_tags() -> None:
    found = the("shadowed-rule", policy(("*", SIGNED), ("*:*", {})))
    assert "with any tag are decided by '*:*'" in found.text


def test_a_stricter_rule_for_one_image_hides_no_overlap() -> None:
    crossed = [("icr.io/*/app", SIGNED), ("icr.io/team/*", {})]
    found = the("shadowed-rule", policy(*crossed, ("icr.io/team/app", DENIED)))
    assert found.image.startswith("icr.io/team/")
    assert not found.image.startswith("icr.io/team/app:")


def test_a_dead_rule_is_an_error_though_a_stricter_one_has_its_usual_image() -> None:
    dead = policy(("icr.io/*/*app", {}), ("icr.io/*/app", SIGNED), ("icr.io/app/app:1.0", DENIED))
    found = the("dead-rule", dead)
    assert found.level is Level.ERROR
    assert found.image != "icr.io/app/app:1.0"


def test_an_overlap_is_found_where_a_rule_loses_a_form_itself() -> None:
    rules = policy(
        ("icr.io/*/*:*", SIGNED), ("*icr.io/*@sha256:*", SIGNED), ("*icr.io/*/app:*", TRUSTED)
    )
    found = [one for one in lint(rules).findings if one.kind.code == "shadowed-rule"]
    assert {one.text.partition(" of ")[0] for one in found} == {
        "'*icr.io/*/app:*'",
        "'icr.io/*/*:*'",
    }


# --- Engines --------------------------------------------------------------------------------------


def test_a_rewritten_pod_is_looked_at_from_0_14_3_on() -> None:
    rules = policy(("icr.io/ns/app:*", SIGNED))
    assert codes(rules) == ["child-uncovered"]
    assert codes(rules, engine="0.14.2") == []


def test_a_short_name_is_rewritten_to_a_name_that_it_does_not_meet() -> None:
    found = the("child-uncovered", policy(("nginx", SIGNED)))
    assert found.image.startswith("docker.io/library/nginx@sha256:")


def test_pods_of_a_laxer_rule_are_a_warning() -> None:
    rules = policy(("icr.io/ns/app:*", SIGNED), ("icr.io/ns/*", {}))
    assert the("child-uncovered", rules).level is Level.WARNING


BOTH_KEYS: dict[str, Any] = {
    "simple": {
        "requirements": [*SIGNED["simple"]["requirements"], *OTHER_KEY["simple"]["requirements"]]
    }
}


@pytest.mark.parametrize(
    ("code", "documents"),
    [
        ("shadowed-rule", [policy(("icr.io/*/app", BOTH_KEYS), ("icr.io/team/*", SIGNED))]),
        ("dead-rule", [policy(("icr.io/**", SIGNED), ("icr.io/*", BOTH_KEYS))]),
        (
            "weaker-than-cluster",
            [policy(("icr.io/*", BOTH_KEYS)), policy(("icr.io/*", SIGNED), namespace="dev")],
        ),
        ("child-uncovered", [policy(("icr.io/ns/app:1", BOTH_KEYS), ("icr.io/ns/*", SIGNED))]),
    ],
)
def test_one_of_two_keys_is_less_than_both(code: str, documents: list[Any]) -> None:
    assert "the signature by the key in 'p/o'" in the(code, *documents).text


@pytest.mark.parametrize("less", [BOTH_KEYS, TRUSTED])
def test_the_same_keys_in_another_order_are_not_less(less: dict[str, Any]) -> None:
    turned = {"simple": {"requirements": BOTH_KEYS["simple"]["requirements"][::-1]}}
    rules = policy(("icr.io/*/app", turned), ("icr.io/team/*", less))
    assert ("shadowed-rule" in codes(rules)) == (less is TRUSTED)


def test_one_of_two_keys_is_less_wherever_its_namespace_is_said() -> None:
    requirement = {"type": "signedBy", "keySecret": "k"}
    own = policy(("icr.io/*", {"simple": {"requirements": [requirement]}}), namespace="p")
    told = codes(policy(("icr.io/*", BOTH_KEYS)), own)
    assert "weaker-than-cluster" in told


THIRD_KEY = {"type": "signedBy", "keySecret": "z", "keySecretNamespace": "p"}


def test_other_keys_are_neither_more_nor_less() -> None:
    third = {"simple": {"requirements": [THIRD_KEY]}}
    others = {"simple": {"requirements": [*SIGNED["simple"]["requirements"], THIRD_KEY]}}
    for one, other in ((SIGNED, third), (BOTH_KEYS, others)):
        assert codes(policy(("icr.io/*/app", one), ("icr.io/team/*", other))) == []


def identity(kind: str) -> dict[str, Any]:
    return {"signedIdentity": {"type": kind}}


def by_signers(*names: str) -> dict[str, Any]:
    return {"trust": {"enabled": True, "signerSecrets": [{"name": name} for name in names]}}


WEAK_KEY = signed_by(**identity("matchRepository"))
THE_TAG = "the image's tag in the signature by the key in 'p/k'"
BOTH_IDENTITIES = {
    "simple": {
        "requirements": [*SIGNED["simple"]["requirements"], *WEAK_KEY["simple"]["requirements"]]
    }
}


@pytest.mark.parametrize(
    ("more", "less", "lost"),
    [
        (SIGNED, WEAK_KEY, THE_TAG),
        (signed_by(**identity("matchExact")), SIGNED, "the image's digest in the signature by"),
        (BOTH_IDENTITIES, WEAK_KEY, THE_TAG),
        (BOTH_KEYS, WEAK_KEY, f"the signature by the key in 'p/o' and {THE_TAG}"),
        (
            BOTH_KEYS,
            {"simple": {"requirements": [THIRD_KEY]}},
            "the signature by the key in 'p/k' and the signature by the key in 'p/o'",
        ),
        (by_signers("a", "b"), by_signers("a"), "the signer in 'b'"),
        (by_signers("a", "b"), TRUSTED, "the signer in 'a' and the signer in 'b'"),
    ],
)
def test_less_of_one_layer_is_told_by_what_it_lacks(
    more: dict[str, Any], less: dict[str, Any], lost: str
) -> None:
    more, less = ({**one, "mutateImage": False} for one in (more, less))
    shadowed = policy(("docker.io/ns/app", more), ("docker.io/ns/app:*", less))
    assert f"asks for {lost}" in the("shadowed-rule", shadowed).text
    assert "shadowed-rule" not in codes(
        policy(("docker.io/ns/app", less), ("docker.io/ns/app:*", more))
    )
    dead = the("dead-rule", policy(("docker.io/ns/*-dev*", less), ("docker.io/ns/*-dev", more)))
    assert dead.level is Level.ERROR
    assert f"which does not ask for {lost}" in dead.text
    weaker = policy(("docker.io/ns/app", more)), policy(("docker.io/ns/app", less), namespace="b")
    assert f"does not ask for {lost}" in the("weaker-than-cluster", *weaker).text


def test_no_tag_is_held_against_the_signature_of_an_image_by_digest() -> None:
    rules: list[Rule] = [("icr.io/ns/app@*", WEAK_KEY), ("icr.io/ns/app", SIGNED)]
    assert codes(policy(*rules)) == []
    exact = {**signed_by(**identity("matchExact")), "mutateImage": False}
    found = the("shadowed-rule", policy(("icr.io/ns/app", exact), ("icr.io/ns/app@*", WEAK_KEY)))
    assert "asks for the image's digest in the signature" in found.text


def test_a_key_is_looked_for_in_the_namespace_of_the_policy() -> None:
    unsaid = {"simple": {"requirements": [{"type": "signedBy", "keySecret": "k"}]}}
    (key,) = unsaid["simple"]["requirements"]
    weak = {"simple": {"requirements": [key | identity("matchRepository")]}}
    documents = [
        policy(("icr.io/ns/app", SIGNED)),
        *(policy(("icr.io/ns/app", weak), namespace=one) for one in ("a", "p", "q")),
    ]
    found = the("weaker-than-cluster", *documents)
    assert found.about == "ImagePolicy p/default"
    assert THE_TAG in found.text
    same = policy(("icr.io/ns/app", unsaid), namespace="p")
    assert "weaker-than-cluster" not in codes(documents[0], same)


def test_what_a_diff_calls_looser_is_a_loss_here_too() -> None:
    """And only what is asked for less can be one: in one layer, whatever another has instead."""
    layers: list[dict[str, Any]] = [
        {},
        SIGNED,
        WEAK_KEY,
        signed_by(**identity("matchExact")),
        BOTH_IDENTITIES,
        BOTH_KEYS,
        OTHER_KEY,
        {"simple": {"requirements": [{"type": "reject"}]}},
        ANYTHING,
        TRUSTED,
        by_signers("a"),
        by_signers("b", "a"),
    ]
    advisors = ({}, ADVISED)
    demands = [demand_of({**layer, **advisor}) for layer in layers for advisor in advisors]
    for meant in demands:
        for other in demands:
            effects = [effect_of(each) for each in (meant, other)]
            lost = lost_by(Profile.of(other, ""), Profile.of(meant, ""))
            assert asks_less(effects[1], effects[0]) or not lost
            if direction_of(*effects) is Direction.LOOSER and asks_less(effects[1], effects[0]):
                assert lost


@pytest.mark.parametrize(
    ("demand", "same"),
    [
        (BOTH_KEYS, {"simple": {"requirements": BOTH_KEYS["simple"]["requirements"][::-1]}}),
        (by_signers("a", "b"), by_signers("b", "a", "b")),
        ({}, {"mutateImage": False}),
        (signed_by(keySecretNamespace="dev"), signed_by(keySecretNamespace="")),
        (SIGNED, signed_by(**identity(""))),
    ],
)
def test_a_duplicate_that_comes_to_the_same_says_the_same(
    demand: dict[str, Any], same: dict[str, Any]
) -> None:
    found = the("duplicate-rule", policy(("a.io/b", demand), ("a.io/b", same), namespace="dev"))
    assert found.level is Level.WARNING
    assert "says the same again" in found.text
    found = the("duplicate-rule", policy(("a.io/b", same), ("a.io/b", OTHER_KEY)))
    assert found.level is Level.ERROR
    assert "says something else" in found.text


@pytest.mark.parametrize(
    "demand",
    [
        {"simple": {"requirements": [{"type": "reject"}]}},
        {**signed_by(signedIdentity={"type": "matchExact"}), **TRUSTED},
    ],
)
def test_nothing_is_said_of_pods_of_what_is_denied(demand: dict[str, Any]) -> None:
    told = set(codes(policy(("docker.io/ns/app:1", demand)), notes=True))
    assert not told & {"child-uncovered", "trust-of-latest", "identity-fails-child"}


def test_a_tag_that_only_a_star_is_met_by_is_lost_with_it() -> None:
    found = the("child-uncovered", policy(("us.icr.io/team/*-prod", SIGNED)))
    assert "'us.icr.io/team/app:1.0-prod'" in found.text
    assert (found.level, found.image.partition("@")[0]) == (Level.NOTE, "us.icr.io/team/app")
    found = the("child-uncovered", policy(("r.example:*/team/*-prod", SIGNED)))
    assert "'r.example:5000/team/app:1.0-prod'" in found.text
    both = policy(("us.icr.io/team/*-prod", SIGNED), ("us.icr.io/team/*", SIGNED))
    assert "child-uncovered" not in codes(both, notes=True)
    assert "child-uncovered" not in codes(
        policy(("us.icr.io/team/*-prod", SIGNED)), engine="0.14.2", notes=True
    )


@pytest.mark.parametrize(
    "name",
    [
        "us.icr.io/*/app",
        "us.icr.io/team/*:prod",
        "us.icr.io/team/*",
        f"us.icr.io/team/*@sha256:{'b' * 64}",
    ],
)
def test_stars_that_no_tag_meets_lose_none(name: str) -> None:
    told = [one.text for one in lint(policy((name, SIGNED))).findings]
    assert not any("images like" in text for text in told)


def test_cise_knows_trust_and_va_of_its_registries() -> None:
    rules = [
        ("quay.io/org/app", TRUSTED),
        ("registry.eu-de.bluemix.net/ns/app", {**TRUSTED, "va": {"enabled": True}}),
        ("quay.io/org/b", {"trust": {"enabled": True, "trustServer": "https://trust.example"}}),
        ("quay.io/org/c", {"va": {"enabled": True}}),
    ]
    found = codes(policy(*rules, api=CISE_API), engine="cise")
    assert found == ["trust-foreign-host", "advisor-foreign-host"]


def test_a_star_in_a_host_is_not_anchored_in_older_engines() -> None:
    rules = policy(("registry*.bluemix.net/armada/*", {}))
    assert codes(rules) == []
    image = the("host-not-anchored", rules, engine="0.14.1").image
    assert image == "registry.evil.example/x.bluemix.net/armada/app:1.0"


# --- Names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("https://icr.io/ns/*", "icr.io/ns/", "icr.io/ns//app", " icr.io/ns/*", "icr.io/ns/* "),
        *("icr.io./ns/app", "icr.io/NS/app", "icr.io/ns/app:", "icr.io:/ns/app", "/ns/app"),
        *("icr.io/ns/app@sha256:12", "icr.io/ns/\u00e4pp", "icr.io/ns/app?", "a" * 5000),
        *("icr.io/ns/*/", "-icr.io/ns/app", "icr.io/ns/.app", "\x1b[31m*"),
    ],
)
def test_names_that_no_image_meets(name: str) -> None:
    assert "never-met" in codes(policy((name, SIGNED)))


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("*icr.io*", "evil.example/icr.io:1.0"),
        ("reg.example*", "reg.example.evil.example/app:1.0"),
        ("*icr.io/ns/app", "evilicr.io/ns/app:1.0"),
        ("us.*.io/ns/app", "us.evil.io/ns/app:1.0"),
        ("*.io/ns/app", "evil.io/ns/app:1.0"),
        ("*/nginx", "evil.example/nginx:1.0"),
        ("*:prod", "evil.example/app:prod"),
        ("icr.io*/ns/app", "icr.io.evil.example/ns/app:1.0"),
    ],
)
def test_names_that_foreign_hosts_meet(name: str, image: str) -> None:
    found = the("spoofable-host", policy((name, {})))
    assert found.image.replace("..", ".") == image
    assert "spoofable-host" not in codes(policy((name, SIGNED)))


def test_a_star_that_another_rule_guards_is_not_told() -> None:
    rules = [("*icr.io*", {}), ("evil.example/*", SIGNED)]
    image = the("spoofable-host", policy(("*icr.io*", {}))).image
    assert image.startswith("evil.example/")
    assert all(
        not one.image.startswith("evil.example/")
        for one in lint(policy(*rules)).findings
        if one.kind.code == "spoofable-host"
    )


@pytest.mark.parametrize(
    ("name", "why"), [("*.AzureCR.io/t/*", "upper case"), ("*.r.example:443/t/*", "a port")]
)
def test_a_host_with_a_star_is_spelled_as_workloads_do(name: str, why: str) -> None:
    assert why in the("host-spelling", policy((name, SIGNED))).text


BOTH_LAYERS = {**TRUSTED, **ADVISED}
OWN_SERVER = {"trust": {"enabled": True, "trustServer": "https://notary.example"}}


@pytest.mark.parametrize(
    ("name", "demand", "code"),
    [
        ("*.icr.io/ns/*", TRUSTED, "no-trust-server"),
        ("us.icr.io:*/ns/*", TRUSTED, "no-trust-server"),
        ("registry*.bluemix.net/ns/*", TRUSTED, "no-trust-server"),
        ("*.example.com:5000/*", TRUSTED, "no-trust-server"),
        ("*.azurecr.io/ns/*", ADVISED, "advisor-foreign-host"),
        ("r*.example/ns/*", ADVISED, "advisor-foreign-host"),
        ("quay.io:*/ns/*", ADVISED, "advisor-foreign-host"),
        ("*.docker.io/ns/*", BOTH_LAYERS, "advisor-foreign-host"),
        ("*", BOTH_LAYERS, "no-trust-server"),
        ("*/team/*", BOTH_LAYERS, "no-trust-server"),
    ],
)
def test_a_star_is_met_by_no_host_that_could_be_checked(
    name: str, demand: dict[str, Any], code: str
) -> None:
    found = the(code, policy((name, {**demand, "mutateImage": False})))
    assert found.level is Level.ERROR
    served = {**demand, **(OWN_SERVER if "trust" in demand else {})}
    assert "no-trust-server" not in codes(policy((name, served)))


@pytest.mark.parametrize(
    ("name", "demand", "engine"),
    [
        ("*", TRUSTED, "0.14.3"),
        ("*", ADVISED, "0.14.3"),
        ("*.io/ns/*", TRUSTED, "0.14.3"),
        ("*.io:5000/ns/*", ADVISED, "0.14.3"),
        ("*quay.io/ns/*", TRUSTED, "0.14.3"),
        ("q*/ns/*", TRUSTED, "0.14.3"),
        ("*team/app", TRUSTED, "0.14.3"),  # a folder of Docker Hub
        ("nginx:*", TRUSTED, "0.14.3"),
        ("registry*.net/ns/*", ADVISED, "0.14.3"),
        ("*.icr.io/ns/*", TRUSTED, "0.14.1"),  # docker.io/x.icr.io/ns/app
        ("us.*.icr.io/ns/*", TRUSTED, "0.14.1"),  # us.quay.io/x.icr.io/ns/app
        ("*.azurecr.io/ns/*", ADVISED, "0.14.1"),  # icr.io/x.azurecr.io/ns/app
        ("*", BOTH_LAYERS | OWN_SERVER, "0.14.3"),
    ],
)
def test_a_star_that_some_host_could_meet_is_left_to_the_image(
    name: str, demand: dict[str, Any], engine: str
) -> None:
    told = set(codes(policy((name, {**demand, "mutateImage": False})), engine=engine))
    assert not told & {"no-trust-server", "advisor-foreign-host"}


def test_cise_has_trust_for_ibms_registries_alone() -> None:
    demand = {"trust": {"enabled": True}, "va": {"enabled": True}}
    told = codes(policy(("*", demand), ("r.example/a.*", demand), api=CISE_API), engine="cise")
    assert told.count("trust-foreign-host") == told.count("advisor-foreign-host") == 1


def test_twins_are_missed_where_most_rules_have_them() -> None:
    paths = ("ns/a", "ns/b", "ns/c")
    both = [(f"{host}/{path}", SIGNED) for host in ("us.icr.io", "icr.io") for path in paths]
    found = the("missing-variant", policy(*both, ("us.icr.io/ns/d", SIGNED)))
    assert found.image == "icr.io/ns/d:1.0"
    apart = [("us.icr.io/ns/a", SIGNED), ("icr.io/ns/b", SIGNED)]
    assert "missing-variant" not in codes(policy(*apart), notes=True)


@pytest.mark.parametrize(
    ("strict", "lax", "image"),
    [
        ("us.icr.io/ns/*", "*.icr.io/*", "private.us.icr.io/ns/app:1.0"),
        ("us.icr.io/ns/*", "private.us.icr.io/*", "private.us.icr.io/ns/app:1.0"),
        ("private.us.icr.io/ns/*", "us.icr.io/*", "us.icr.io/ns/app:1.0"),
        ("icr.io/ns/*", "*.icr.io/ns/*", "private.icr.io/ns/app:1.0"),
        ("us.icr.io/ns/*", "US.icr.io/ns/*", "US.icr.io/ns/app:1.0"),
        ("ICR.io/ns/*", "icr.io/*", "icr.io/ns/app:1.0"),
        ("docker.io/team/*", "registry-1.docker.io/*", "registry-1.docker.io/team/app:1.0"),
        ("registry-1.docker.io/team/*", "docker.io/*", "docker.io/team/app:1.0"),
        ("docker.io/team/*", "Docker.io/*", "Docker.io/team/app:1.0"),
        ("r.example:443/ns/*", "r.example/*", "r.example/ns/app:1.0"),
        ("r.example:5000/ns/*", "R.example:5000/*", "R.example:5000/ns/app:1.0"),
    ],
)
def test_the_same_registry_by_another_host_is_no_way_around(
    strict: str, lax: str, image: str
) -> None:
    found = the("spelling-bypass", policy((strict, SIGNED), (lax, {})))
    assert found.image == image
    assert "spelling-bypass" not in codes(policy((strict, SIGNED), (lax, SIGNED)))


@pytest.mark.parametrize("end", [":*", "@*", ":1.0@*", "@sha256:*"])
@pytest.mark.parametrize(
    ("strict", "lax"),
    [
        ("us.icr.io/ns/app", "private.us.icr.io/ns/app"),
        ("docker.io/library/nginx", "nginx"),
        ("r.example:5000/app", "R.EXAMPLE:5000/app"),
    ],
)
def test_a_digest_is_no_way_around_either(strict: str, lax: str, end: str) -> None:
    demand = {**SIGNED, "mutateImage": False}
    found = the("spelling-bypass", policy((strict + end, demand), (lax + end, {})))
    assert found.image.startswith((f"{lax}:1.0", f"{lax}@sha256:"))
    assert found.image.count(lax) == 1


def test_a_digest_has_no_spelling_that_nobody_writes() -> None:
    assert "spelling-bypass" not in codes(
        policy(("us.icr.io/ns/app@*", SIGNED), ("us.icr.io/ns/*", {}))
    )


def test_a_workload_with_tag_and_digest_is_named_with_both() -> None:
    image = f"nginx:1@sha256:{'0' * 64}"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "web", "image": image}]},
    }
    found = the("workload-spelling", policy(("docker.io/library/nginx:1@*", SIGNED)), pod)
    assert f"docker.io/library/{image}" in found.text


@pytest.mark.parametrize(
    "hosts",
    [("us.icr.io", "de.icr.io"), ("docker.io", "quay.io"), ("r.example", "r.example:5000")],
)
def test_another_registry_is_another_image(hosts: tuple[str, str]) -> None:
    rules = policy((f"{hosts[0]}/ns/app", SIGNED), (f"{hosts[1]}/ns/app", {}))
    assert "spelling-bypass" not in codes(rules)


@pytest.mark.parametrize(
    ("usual", "twin"),
    [
        ("us.icr.io/ns/*", "US.icr.io/ns/*"),
        ("docker.io/team/*", "index.docker.io/team/*"),
        ("docker.io/team/*", "registry-1.docker.io/team/*"),
        ("r.example/ns/*", "r.example:443/ns/*"),
    ],
)
def test_a_second_rule_for_another_spelling_is_as_was_advised(usual: str, twin: str) -> None:
    assert "host-spelling" in codes(policy((twin, SIGNED)))
    assert "host-spelling" not in codes(policy((usual, SIGNED), (twin, SIGNED)))
    apart = policy((usual, SIGNED), name="a", namespace="a")
    assert "host-spelling" in codes(apart, policy((twin, SIGNED), name="b", namespace="b"))


# --- Secrets --------------------------------------------------------------------------------------


def secret(name: str, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
    }


def test_secrets_are_missed_only_beside_others() -> None:
    rules = policy(("icr.io/ns/app", SIGNED))
    assert codes(rules) == []
    assert codes(rules, secret("o", "p")) == ["key-secret-missing"]
    assert codes(rules, secret("k", "other")) == ["key-secret-missing"]
    assert codes(rules, secret("o", "p"), secret("k", "p")) == []
    assert codes(rules, secret("o", "p"), secret("k", "")) == []
    sealed = {
        "apiVersion": "x/v1",
        "kind": "SealedSecret",
        "metadata": secret("k", "p")["metadata"],
    }
    assert codes(rules, secret("o", "p"), sealed) == []


def test_copies_are_missed_where_workloads_are() -> None:
    rules = policy(("icr.io/ns/app", signed_by(keySecretNamespace="")))
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": namespace}}
        for namespace in ("a", "b", "own")
    ]
    own = policy(("icr.io/ns/b", SIGNED), namespace="own")
    found = the("key-secret-missing", rules, own, secret("k", "a"), secret("k", "p"), *pods)
    assert "in 'b'" in found.text


# --- Verdicts and decisions -----------------------------------------------------------------------


def test_images_are_decided_in_each_namespace() -> None:
    cluster = policy(("icr.io/ns/*", SIGNED), ("*", SIGNED))
    own = policy(("icr.io/other", SIGNED), namespace="n")
    found = lint(cluster, own, images=("icr.io/ns/app:1", "A B"))
    assert len(found.decisions) == 4
    by_place = {(one.image, one.namespace): one for one in found.decisions}
    decided = by_place["icr.io/ns/app:1", None]
    assert decided.rule is not None
    assert (decided.rule.repository, [one.repository for one in decided.others]) == (
        "icr.io/ns/*",
        ["*"],
    )
    assert by_place["icr.io/ns/app:1", "n"].rule is None
    assert not by_place["A B", "n"].is_image


def test_verdicts() -> None:
    clean, warned = lint(policy(("icr.io/ns/app", SIGNED))), lint(policy(("nginx", {})))
    wrong = lint(policy(("*", {})))
    assert judge_lint(replace(clean, strict=True), documents=1).passed
    assert judge_lint(warned, documents=1).passed
    refused = judge_lint(replace(warned, strict=True), documents=1)
    assert [one.code for one in refused.reasons] == ["policy-flawed"]
    assert judge_lint(wrong, documents=1).outcome.word == "refused"
    nothing = judge_lint(lint(), documents=0)
    assert (nothing.outcome.word, nothing.reasons[0].code) == ("usage", "no-policy")


def test_what_was_not_compared_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = policy(("*:prod", SIGNED), ("icr.io/ns/*", {}))
    assert not lint(rules).is_partial
    monkeypatch.setattr(lint_precedence, "_WORK_MAX", 10)
    found = lint(rules)
    assert found.is_partial
    verdict = judge_lint(replace(found, findings=()), documents=1)
    assert (verdict.outcome.word, verdict.reasons[0].code) == ("undecided", "lint-incomplete")


def test_thousands_of_rules_of_every_form_are_looked_at() -> None:
    """A lint that compared all pairs would take minutes."""
    forms = ("icr.io/t{0}/a{1}", "icr.io/t{0}/a{1}:*", "*.icr.io/t{0}/a{1}*", "docker.io/o{0}/a{1}")
    demands: list[Any] = [SIGNED, {}, TRUSTED]
    rules = [
        (forms[number % 4].format(number % 50, number), demands[number % 3])
        for number in range(4000)
    ]
    assert lint(policy(*rules)).rules == 4000


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("nginx", "nginx:80/evil/app:1.0"),
        ("redis:*", "redis:80/evil/app:1.0"),
        ("redis:6*", "redis:6/evil/app:1.0"),
    ],
)
def test_a_short_name_is_that_of_a_host_with_a_port(name: str, image: str) -> None:
    found = the("spoofable-host", policy((name, {})))
    assert (found.level, found.image) == (Level.WARNING, image)
    assert "spoofable-host" not in codes(policy((name, SIGNED)))


@pytest.mark.parametrize("name", ["redis:6", "docker.io/library/redis", "nginx@sha256:*"])
def test_a_name_that_no_port_fits_is_no_hosts(name: str) -> None:
    assert "spoofable-host" not in codes(policy((name, {})))


def test_a_host_alone_is_met_by_its_ports() -> None:
    found = the("host-only", policy(("registry.example.com", SIGNED)))
    assert found.image == "registry.example.com:5000/any/app:1.0"
    decided = lint(policy(("registry.example.com", SIGNED)), images=(found.image,)).decisions
    assert decided[0].rule is not None
    found = the("host-only", policy(("registry.example.com:5000", SIGNED)))
    assert "no image of it meets that" in found.text


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("", "'' in the cluster: it is blank, so the engine passes the container over"),
        (" ", "' ' in the cluster: it is blank, so the engine passes the container over"),
        (
            f"a/b@sha512:{'0' * 128}",
            f"a/b@sha512:{'0' * 128} in the cluster: the webhook breaks on it",
        ),
        ("icr.io/A", "icr.io/A in the cluster: it is no image's name, so it is denied"),
        ("icr.io/a", "icr.io/a in the cluster: no rule, so it is denied"),
        ("icr.io/ns/a@sha256:", "icr.io/ns/a@sha256: in the cluster: icr.io/ns/* of"),
        ("icr.io/ns/a@sha256:abc", "icr.io/ns/a@sha256:abc in the cluster: icr.io/ns/* of"),
        (
            f"icr.io/ns/a:1@sha512:{'0' * 128}",
            f"icr.io/ns/a:1@sha512:{'0' * 128} in the cluster: icr",
        ),
    ],
)
def test_what_no_rule_is_asked_about_is_told_as_it_ends(image: str, said: str) -> None:
    (decision,) = lint(policy(("icr.io/ns/*", SIGNED)), images=(image,)).decisions
    assert decision_line(decision).startswith(said)
    assert ("the webhook breaks on it" in decision_line(decision)) == image.startswith("a/b@")


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("*.azurecr.io/team/*", "evil.azurecr.io/team/app:1.0"),
        (
            "*.dkr.ecr.eu-west-1.amazonaws.com/team/*",
            "evil.dkr.ecr.eu-west-1.amazonaws.com/team/app:1.0",
        ),
        ("*.co.uk/*", "evil.co.uk/app:1.0"),
        ("*.AzureCR.io/t/*", "evil.AzureCR.io/t/app:1.0"),
        (
            "*.us-south.containers.AppDomain.cloud/ns/*",
            "evil.us-south.containers.AppDomain.cloud/ns/app:1.0",
        ),
        (
            "123456789012.dkr.ecr.*.amazonaws.com/team/*",
            "123456789012.dkr.ecr.evil.amazonaws.com/team/app:1.0",
        ),
    ],
)
def test_a_host_in_a_domain_that_all_share_is_foreign(name: str, image: str) -> None:
    assert the("spoofable-host", policy((name, {}))).image == image


@pytest.mark.parametrize(
    "name",
    [
        *("*.team.jfrog.io/*", "*.example.co.uk/*", "*.example.com/*"),
        "*.web-0a1b2c3d4e5f60718293a4b5c6d7e8f9-0000.us-south.containers.appdomain.cloud/ns/*",
        "*.0a1b2c3d4e5f60718293a4b5c6d7e8f9-0001.eu-de.containers.appdomain.cloud:5000/ns/*",
        "*.123456789012.dkr.ecr.us-east-1.amazonaws.com/team/*",
    ],
)
def test_a_host_in_an_own_domain_is_not_foreign(name: str) -> None:
    assert "spoofable-host" not in codes(policy((name, {})))


def test_where_everything_is_let_through_only_that_is_told() -> None:
    rules: list[Rule] = [("*icr.io/ns/*", {}), ("docker.io/*", {})]
    told = codes(policy(*rules, ("*", {})))
    assert "catch-all-unchecked" in told
    assert not {"spoofable-host", "any-namespace"} & set(told)
    for demand in (SIGNED, ADVISED):
        told = codes(policy(*rules, ("*", demand)))
        assert {"spoofable-host", "any-namespace"} <= set(told)


@pytest.mark.parametrize("anything", [{}, ANYTHING])
def test_what_is_told_instead_of_a_foreign_host_weighs_as_much(anything: dict[str, Any]) -> None:
    spoofable, every = ("*.azurecr.io/t/*", {}), ("*", anything)
    found = lint(policy(spoofable, every)).findings
    assert "spoofable-host" not in [one.kind.code for one in found]
    assert Level.ERROR in [one.level for one in found]
    found = lint(policy(spoofable, every, namespace="dev")).findings
    assert {one.kind.code: one.level for one in found if one.level is not Level.NOTE} == {
        "spoofable-host": Level.ERROR,
        "accepts-anything" if anything else "catch-all-unchecked": Level.WARNING,
    }


def test_a_rule_for_all_by_the_advisors_word_is_told_instead_of_none() -> None:
    rules: list[Rule] = [("icr.io/*", ADVISED), ("*", ADVISED)]
    assert "any-namespace" in codes(policy(*rules))


@pytest.mark.parametrize("layer", [ADVISED, TRUSTED])
def test_a_rule_for_all_that_asks_for_more_is_no_error(layer: dict[str, Any]) -> None:
    assert the("accepts-anything", policy(("*", {**ANYTHING, **layer}))).level is Level.WARNING


@pytest.mark.parametrize("name", ["foo:80*", "us.*.example/team/app", "quay.io/*", "*.co.uk/*"])
def test_an_image_that_the_advisor_does_not_know_is_not_let_through(name: str) -> None:
    told = {"spoofable-host", "any-namespace"}
    assert told & set(codes(policy((name, {}))))
    assert not told & set(codes(policy((name, ADVISED))))


def test_a_host_that_ends_as_ibms_do_is_asked_for_the_advisors_word() -> None:
    assert the("spoofable-host", policy(("*icr.io/ns/*", ADVISED))).image == "evilicr.io/ns/app:1.0"


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("*/team/app", "evilicr.io/team/app:1.0"),
        ("*/team/*", "evilicr.io/team/app:1.0"),
        ("r*/team/*", "r.evilicr.io/team/app:1.0"),
        ("*:5000/team/*", "evilicr.io:5000/team/app:1.0"),
        ("us.*.io/team/app", "us.evilicr.io/team/app:1.0"),
        ("*.io/team/app", "evilicr.io/team/app:1.0"),
        ("*r.io/team/app", "evilicr.io/team/app:1.0"),
        ("*/nginx", "evilicr.io/nginx:1.0"),
        ("*:prod", "evilicr.io/app:prod"),
        ("foo*", "foo.evilicr.io/app:1.0"),
    ],
)
def test_a_foreign_host_that_ends_so_meets_a_wide_host_by_its_own_advisors_word(
    name: str, image: str
) -> None:
    found = the("spoofable-host", policy((name, ADVISED)))
    assert (found.level, found.image) == (Level.ERROR, image)


def test_such_a_host_begins_as_an_unanchored_one_does() -> None:
    rules = policy(("*.icr.io/ns/*", ADVISED))
    assert the("host-not-anchored", rules, engine="0.14.1").image == (
        "evilicr.io/x.icr.io/ns/app:1.0"
    )
    assert not {"host-not-anchored", "spoofable-host"} & set(codes(rules))


def test_nobody_is_told_to_update_cise() -> None:
    rules = policy(("*.icr.io/ns/*", {}), api=CISE_API)
    assert the("host-not-anchored", rules, engine="cise").hint == "Write each host."
    rules = policy(("*.icr.io/ns/*", {}))
    assert "0.14.2" in the("host-not-anchored", rules, engine="0.14.1").hint
