# SPDX-License-Identifier: Apache-2.0
"""What a policy demands, as it is read; and whose policies are not read at all."""

from __future__ import annotations

from typing import Any

import pytest

from imgsec.domain.engines import CISE, CISE_API, ENGINES, NEWEST, PORTIERIS_API, Engine
from imgsec.domain.policy_rules import (
    AdvisorDemand,
    Demand,
    Policy,
    PolicyId,
    Requirement,
    SignedIdentity,
    SimpleDemand,
    TrustDemand,
    is_policy,
    require_read_by,
)
from tests.unit.refusals import refused


def document(
    *rules: Any, kind: str = "ClusterImagePolicy", api: str = PORTIERIS_API, **metadata: Any
) -> dict[str, Any]:
    return {
        "apiVersion": api,
        "kind": kind,
        "metadata": {"name": "p", **metadata},
        "spec": {"repositories": list(rules)},
    }


def demand_of(policy: Any, api: str = PORTIERIS_API) -> Demand:
    (rule,) = Policy.read(document({"name": "icr.io/*", "policy": policy}, api=api)).rules
    return rule.demand


def test_policy_is_read_with_all_that_it_demands() -> None:
    policy = {
        "mutateImage": False,
        "simple": {
            "storeURL": "https://store.example",
            "storeSecret": "store",
            "requirements": [
                {"type": "reject"},
                {
                    "type": "signedBy",
                    "keySecret": "key",
                    "keySecretNamespace": "keys",
                    "signedIdentity": {
                        "type": "remapIdentity",
                        "prefix": "a",
                        "signedPrefix": "b",
                        "dockerReference": "h/a:1",
                        "dockerRepository": "h/a",
                    },
                },
            ],
        },
        "trust": {
            "enabled": True,
            "trustServer": "https://notary.example",
            "signerSecrets": [{"name": "one"}, {"name": "two"}],
        },
        "vulnerability": {"ICCRVA": {"enabled": True, "account": "abc"}},
    }
    identity = SignedIdentity("remapIdentity", "h/a:1", "h/a", "a", "b")
    assert demand_of(policy) == Demand(
        simple=SimpleDemand(
            (Requirement("reject"), Requirement("signedBy", "key", "keys", identity)),
            "https://store.example",
            "store",
        ),
        trust=TrustDemand("https://notary.example", ("one", "two")),
        advisor=AdvisorDemand("abc"),
        mutates=False,
    )


def test_rules_know_their_policy_and_their_place() -> None:
    read = Policy.read(
        document({"name": "a/*"}, {"policy": {}}, {}, kind="ImagePolicy", namespace="dev"),
        where="policy.yaml",
    )
    owner = PolicyId("ImagePolicy", "p", "dev")
    assert (read.id, read.api, read.where) == (owner, PORTIERIS_API, "policy.yaml")
    assert [rule.repository for rule in read.rules] == ["a/*", "", ""]
    assert [rule.place for rule in read.rules] == [0, 1, 2]
    assert {rule.owner for rule in read.rules} == {owner}


@pytest.mark.parametrize(
    "policy",
    [
        None,
        {},
        {"mutateImage": None},
        {"simple": None},
        {"simple": {}},
        {"simple": {"requirements": None}},
        {"simple": {"requirements": []}},
        {"simple": {"requirements": [], "storeURL": "https://store.example"}},
        {"trust": None},
        {"trust": {}},
        {"trust": {"enabled": None}},
        {"trust": {"enabled": False, "trustServer": "https://n", "signerSecrets": [{"name": "s"}]}},
        {"trust": {"signerSecrets": [{"name": "s"}]}},
        {"vulnerability": None},
        {"vulnerability": {"ICCRVA": None}},
        {"vulnerability": {"ICCRVA": {"account": "a"}}},
        {"vulnerability": {"ICCRVA": {"enabled": False}}},
    ],
)
def test_policy_without_anything_switched_on_demands_nothing(policy: Any) -> None:
    demand = demand_of(policy)
    assert demand == Demand()
    assert demand.is_nothing
    assert demand.mutates


def test_rule_without_a_policy_demands_nothing() -> None:
    (rule,) = Policy.read(document({"name": "icr.io/*"})).rules
    assert rule.demand.is_nothing


@pytest.mark.parametrize(
    "policy",
    [
        {"simple": {"requirements": [{"type": "insecureAcceptAnything"}]}},
        {"trust": {"enabled": True}},
        {"vulnerability": {"ICCRVA": {"enabled": True}}},
    ],
)
def test_each_layer_alone_is_a_demand(policy: Any) -> None:
    assert not demand_of(policy).is_nothing


def test_images_stay_as_they_are_only_where_it_says_so() -> None:
    assert not demand_of({"mutateImage": False}).mutates
    assert demand_of({"mutateImage": True}).mutates
    assert demand_of({"mutateImage": False}).is_nothing


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (None, None),
        ({"type": ""}, SignedIdentity("")),
        ({"type": "matchExact", "prefix": None}, SignedIdentity("matchExact")),
    ],
)
def test_identity_that_is_not_given_is_told_from_an_empty_one(
    identity: Any, expected: SignedIdentity | None
) -> None:
    requirement = {"type": "signedBy", "keySecret": None, "signedIdentity": identity}
    simple = demand_of({"simple": {"requirements": [requirement]}}).simple
    assert simple == SimpleDemand((Requirement("signedBy", identity=expected),))


def test_cise_asks_for_trust_and_for_its_advisor() -> None:
    both = {"trust": {"enabled": True}, "va": {"enabled": True}}
    assert demand_of(both, CISE_API) == Demand(trust=TrustDemand(), advisor=AdvisorDemand())
    neither = {"trust": {"enabled": False}, "va": {"enabled": False}}
    assert demand_of(neither, CISE_API).is_nothing


@pytest.mark.parametrize("spec", [None, {}, {"repositories": None}, {"repositories": []}])
def test_policy_may_have_no_rules(spec: Any) -> None:
    assert Policy.read(document() | {"spec": spec}).rules == ()
    assert (
        Policy.read({key: value for key, value in document().items() if key != "spec"}).rules == ()
    )


# --- Names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "expected"),
    [({"namespace": "dev"}, "dev"), ({}, "given"), ({"namespace": None}, "given")],
)
def test_image_policy_is_of_its_own_namespace_or_else_of_the_given_one(
    own: dict[str, Any], expected: str
) -> None:
    read = Policy.read(document(kind="ImagePolicy", **own), namespace="given")
    assert read.id.namespace == expected


def test_empty_namespace_is_none_as_kubectl_has_it() -> None:
    read = Policy.read(document(kind="ImagePolicy", namespace=""), namespace="given")
    assert read.id.namespace == "given"


def test_cluster_policy_is_of_no_namespace() -> None:
    read = Policy.read(document(namespace="dev"), namespace="given")
    assert read.id.namespace == ""


@pytest.mark.parametrize("namespace", [0, False, 5, [], ["dev"], {}])
def test_namespace_that_is_no_text_is_refused(namespace: Any) -> None:
    with refused("policy-malformed"):
        Policy.read(document(kind="ImagePolicy", namespace=namespace), namespace="given")


@pytest.mark.parametrize(
    "metadata", [{"namespace": "Dev"}, {"namespace": "dev "}, {"nameSpace": "dev"}]
)
def test_namespace_that_is_none_is_refused(metadata: dict[str, str]) -> None:
    with refused("policy-malformed"):
        Policy.read(document(kind="ImagePolicy", **metadata), namespace="given")


@pytest.mark.parametrize(
    "metadata",
    [None, {}, [], "p", {"name": None}, {"name": ""}, {"name": 5}, {"generateName": "p-"}],
)
def test_policy_without_a_name_is_refused(metadata: Any) -> None:
    with refused("policy-malformed"):
        Policy.read(document() | {"metadata": metadata})


def test_policy_is_named_with_its_namespace_where_it_has_one() -> None:
    assert str(PolicyId("ImagePolicy", "p", "dev")) == "ImagePolicy dev/p"
    assert str(PolicyId("ClusterImagePolicy", "p")) == "ClusterImagePolicy p"


# --- What is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy",
    [
        {"va": {"enabled": True}},
        {"simpleStore": {}},
        {"simple": {"requirements": [{}]}},
        {"simple": {"requirements": [{"type": "signedBy", "signedIdentity": {}}]}},
        {"simple": {"requirements": [{"type": "sigstoreSigned"}]}},
        {"trust": {"enabled": "true"}},
        {"trust": []},
        "signed",
    ],
)
def test_policy_that_is_not_as_its_api_has_it_is_refused(policy: Any) -> None:
    with refused("policy-malformed") as reasons:
        Policy.read(document({"name": "a/*", "policy": policy}), where="policy.yaml")
    assert "policy.yaml" in reasons[0].text
    assert "spec.repositories[0].policy" in reasons[0].text


@pytest.mark.parametrize("field", ["trust", "policies", "Policy", "polcy"])
def test_misplaced_demand_is_refused_since_what_is_left_demands_nothing(field: str) -> None:
    with refused("policy-malformed") as reasons:
        Policy.read(document({"name": "a/*", field: {"enabled": True}}))
    assert f"spec.repositories[0].{field}" in reasons[0].text


@pytest.mark.parametrize(
    "policy", [{"simple": {}}, {"vulnerability": {}}, {"mutateImage": False}, {"va": []}]
)
def test_policy_of_the_older_api_has_only_what_cise_read(policy: Any) -> None:
    with refused("policy-malformed"):
        demand_of(policy, CISE_API)


@pytest.mark.parametrize(
    ("api", "whose"),
    [
        ("policy.sigstore.dev/v1beta1", "sigstore"),
        ("policy.sigstore.dev/v1alpha1", "sigstore"),
        ("config.openshift.io/v1", "OpenShift"),
        ("config.openshift.io/v1alpha1", "OpenShift"),
        ("portieris.cloud.ibm.com/v2", "portieris.cloud.ibm.com/v1"),
        ("portieris.cloud.ibm.com/v1 ", "portieris.cloud.ibm.com/v1"),
        ("securityenforcement.admission.cloud.ibm.com/v1", "v1beta1"),
        ("v1", "v1beta1"),
        ("", "v1beta1"),
        (5, "v1beta1"),
        (None, "v1beta1"),
        (["portieris.cloud.ibm.com/v1"], "v1beta1"),
    ],
)
def test_kind_of_the_same_name_of_another_api_is_refused(api: Any, whose: str) -> None:
    with refused("policy-foreign") as reasons:
        Policy.read(document({"name": "a/*"}, api=api))
    assert whose in reasons[0].text


@pytest.mark.parametrize("kind", ["Pod", "ImagePolicyList", "imagepolicy", "", None, [], 5])
def test_other_kind_of_the_same_api_is_no_policy(kind: Any) -> None:
    given = document({"name": "a/*"}) | {"kind": kind}
    assert not is_policy(given)
    with refused("policy-malformed"):
        Policy.read(given)


def test_document_without_a_kind_is_no_policy() -> None:
    given = {"apiVersion": PORTIERIS_API, "metadata": {"name": "p"}}
    assert not is_policy(given)
    with refused("policy-malformed"):
        Policy.read(given)


@pytest.mark.parametrize("given", [None, [], "ImagePolicy", {}, {"kind": "Pod"}])
def test_what_is_no_policy_is_known_by_its_kind(given: object) -> None:
    assert not is_policy(given)
    assert is_policy({"kind": "ImagePolicy"})
    assert is_policy({"kind": "ClusterImagePolicy", "apiVersion": "config.openshift.io/v1"})


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_engine_reads_policies_of_its_own_api_only(engine: Engine) -> None:
    of_cise = Policy.read(document(api=CISE_API))
    of_portieris = Policy.read(document())
    own, other = (of_cise, of_portieris) if engine is CISE else (of_portieris, of_cise)
    require_read_by([own, own], engine)
    require_read_by([], engine)
    with refused("policy-foreign") as reasons:
        require_read_by([own, other], engine)
    assert engine.api in reasons[0].hint


def test_refusal_shows_names_without_control_characters() -> None:
    with refused("policy-malformed") as reasons:
        Policy.read(document({"a\x1b[31m": 1}, name="p\n\x1b"))
    assert reasons[0].text.isprintable()
    with refused("policy-foreign") as reasons:
        Policy.read(document(api="a\x1b[31m\n/v1"))
    assert reasons[0].text.isprintable()
    assert NEWEST.api in reasons[0].text
