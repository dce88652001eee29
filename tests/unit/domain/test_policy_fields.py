# SPDX-License-Identifier: Apache-2.0
"""What a cluster drops from a policy and what it refuses, held against the engine's own CRDs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from imgsec.domain.policy_fields import (
    CISE_FIELDS,
    OLDER_FIELDS,
    PORTIERIS_FIELDS,
    FieldFlaw,
    FlawKind,
    flaws_of,
    path_text,
)

UNKNOWN, TYPE, VALUE, MISSING = FlawKind.UNKNOWN, FlawKind.TYPE, FlawKind.VALUE, FlawKind.MISSING
RULE = ("spec", "repositories", 0)
Found = list[tuple[tuple[str | int, ...], FlawKind]]


def with_rule(**rule: Any) -> dict[str, Any]:
    return {
        "apiVersion": "portieris.cloud.ibm.com/v1",
        "kind": "ImagePolicy",
        "metadata": {"name": "n"},
        "spec": {"repositories": [rule]},
    }


def with_policy(**policy: Any) -> dict[str, Any]:
    return with_rule(name="icr.io/*", policy=policy)


def found(document: Any, schema: Any = PORTIERIS_FIELDS) -> Found:
    return [(flaw.path, flaw.kind) for flaw in flaws_of(document, schema)]


def only_flaw(document: Any, schema: Any = PORTIERIS_FIELDS) -> FieldFlaw:
    (flaw,) = flaws_of(document, schema)
    return flaw


FULL = with_policy(
    mutateImage=False,
    simple={
        "storeURL": "https://store.example",
        "storeSecret": "store",
        "requirements": [
            {"type": "insecureAcceptAnything"},
            {"type": "reject"},
            {"type": "signedBy", "keySecret": "k", "keySecretNamespace": "ns"},
            {"type": "signedBy", "signedIdentity": {"type": ""}},
            {"type": "signedBy", "signedIdentity": {"type": "matchExact"}},
            {"type": "signedBy", "signedIdentity": {"type": "matchRepository"}},
            {
                "type": "signedBy",
                "signedIdentity": {"type": "matchExactReference", "dockerReference": "h/a:1"},
            },
            {
                "type": "signedBy",
                "signedIdentity": {"type": "matchExactRepository", "dockerRepository": "h/a"},
            },
            {
                "type": "signedBy",
                "signedIdentity": {"type": "remapIdentity", "prefix": "a", "signedPrefix": "b"},
            },
        ],
    },
    trust={"enabled": True, "trustServer": "https://n", "signerSecrets": [{"name": "s"}]},
    vulnerability={"ICCRVA": {"enabled": True, "account": "a"}},
)


def test_policy_with_every_field_has_no_flaw() -> None:
    assert found(FULL) == []


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"spec": {}},
        {"spec": {"repositories": []}},
        with_rule(),
        with_rule(name=""),
        with_policy(),
        with_policy(simple={}),
        with_policy(simple={"requirements": []}),
        with_policy(trust={"signerSecrets": [{}]}),
    ],
)
def test_nothing_but_a_requirement_s_type_is_required(document: dict[str, Any]) -> None:
    assert found(document) == []


# --- What a cluster drops ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "path", "meant"),
    [
        (with_rule(name="a", policy={}, trust={"enabled": True}), (*RULE, "trust"), None),
        (with_rule(name="a", policies={}), (*RULE, "policies"), "policy"),
        (with_policy(va={"enabled": True}), (*RULE, "policy", "va"), None),
        (with_policy(simpleStore={}), (*RULE, "policy", "simpleStore"), "simple"),
        (
            with_policy(simple={"simpleStore": "x"}),
            (*RULE, "policy", "simple", "simpleStore"),
            None,
        ),
        (with_policy(Trust={"enabled": True}), (*RULE, "policy", "Trust"), "trust"),
        (with_policy(signedBy=[]), (*RULE, "policy", "signedBy"), None),
        (
            with_policy(vulnerability={"iccrva": {"enabled": True}}),
            (*RULE, "policy", "vulnerability", "iccrva"),
            "ICCRVA",
        ),
        (
            with_policy(simple={"storeUrl": "https://x"}),
            (*RULE, "policy", "simple", "storeUrl"),
            "storeURL",
        ),
        (
            with_policy(simple={"requirements": [{"type": "reject", "keyData": "x"}]}),
            (*RULE, "policy", "simple", "requirements", 0, "keyData"),
            None,
        ),
        ({"spec": {"repos": []}}, ("spec", "repos"), None),
        ({"spec": {"repositores": []}}, ("spec", "repositores"), "repositories"),
        ({"Spec": {}}, ("Spec",), "spec"),
        ({"repositories": []}, ("repositories",), None),
        ({"data": None}, ("data",), None),
    ],
)
def test_field_that_is_dropped_is_told(
    document: dict[str, Any], path: tuple[str | int, ...], meant: str | None
) -> None:
    flaw = only_flaw(document)
    assert (flaw.path, flaw.kind) == (path, UNKNOWN)
    if meant:
        assert f"{meant} is meant" in flaw.text


def test_nothing_below_a_dropped_field_is_told() -> None:
    assert found(with_policy(va={"enabled": "yes", "more": [None]})) == [
        ((*RULE, "policy", "va"), UNKNOWN)
    ]


def test_name_of_a_dropped_field_is_shown_without_control_characters() -> None:
    flaw = only_flaw({"a\x1b[31m\n": 1})
    assert flaw.text.isprintable()


# --- What a cluster refuses -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([], ()),
        ("x", ()),
        (None, ()),
        ({"spec": []}, ("spec",)),
        ({"spec": "x"}, ("spec",)),
        ({"spec": {"repositories": {}}}, ("spec", "repositories")),
        ({"spec": {"repositories": ["icr.io/*"]}}, RULE),
        ({"spec": {"repositories": [None]}}, RULE),
        (with_rule(name=5), (*RULE, "name")),
        (with_rule(name=True), (*RULE, "name")),
        (with_rule(name=["a"]), (*RULE, "name")),
        (with_rule(policy=[]), (*RULE, "policy")),
        (with_rule(policy=""), (*RULE, "policy")),
        (with_policy(mutateImage="false"), (*RULE, "policy", "mutateImage")),
        (with_policy(mutateImage=0), (*RULE, "policy", "mutateImage")),
        (with_policy(trust={"enabled": "true"}), (*RULE, "policy", "trust", "enabled")),
        (with_policy(trust=True), (*RULE, "policy", "trust")),
        (with_policy(simple=[{"type": "reject"}]), (*RULE, "policy", "simple")),
        (
            with_policy(trust={"signerSecrets": ["s"]}),
            (*RULE, "policy", "trust", "signerSecrets", 0),
        ),
        (
            with_policy(vulnerability={"ICCRVA": True}),
            (*RULE, "policy", "vulnerability", "ICCRVA"),
        ),
    ],
)
def test_value_of_another_type_is_told(document: Any, path: tuple[str | int, ...]) -> None:
    assert found(document) == [(path, TYPE)]


@pytest.mark.parametrize(
    "identity",
    [
        # Upstream's documentation names the first three.
        "matchRepoDigestOrExact",
        "exactReference",
        "exactRepository",
        "MatchExact",
        "matchexact",
        "matchExact ",
    ],
)
def test_identity_that_the_crd_does_not_list_is_told(identity: str) -> None:
    requirement = {"type": "signedBy", "signedIdentity": {"type": identity}}
    flaw = only_flaw(with_policy(simple={"requirements": [requirement]}))
    assert flaw.kind is VALUE
    assert path_text(flaw.path).endswith("requirements[0].signedIdentity.type")
    assert "matchExactRepository" in flaw.text


@pytest.mark.parametrize("kind", ["", "signedby", "sigstoreSigned", "accept"])
def test_requirement_that_the_crd_does_not_list_is_told(kind: str) -> None:
    assert only_flaw(with_policy(simple={"requirements": [{"type": kind}]})).kind is VALUE


@pytest.mark.parametrize("requirement", [{}, {"type": None}, {"keySecret": "k"}])
def test_requirement_without_a_type_is_told(requirement: dict[str, Any]) -> None:
    flaw = only_flaw(with_policy(simple={"requirements": [requirement]}))
    assert (flaw.path[-1], flaw.kind) == ("type", MISSING)


@pytest.mark.parametrize("identity", [{}, {"type": None}, {"prefix": "a"}])
def test_identity_without_a_type_is_told(identity: dict[str, Any]) -> None:
    requirement = {"type": "signedBy", "signedIdentity": identity}
    flaw = only_flaw(with_policy(simple={"requirements": [requirement]}))
    assert (flaw.path[-2:], flaw.kind) == (("signedIdentity", "type"), MISSING)


# --- Nulls ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        {"spec": None},
        {"spec": {"repositories": None}},
        with_rule(name=None),
        with_rule(name="a", policy=None),
        with_policy(simple=None),
        with_policy(trust=None),
        with_policy(mutateImage=None),
        with_policy(simple={"requirements": None}),
        with_policy(simple={"requirements": [{"type": "reject", "signedIdentity": None}]}),
        with_policy(trust={"enabled": None, "signerSecrets": None}),
        with_policy(vulnerability={"ICCRVA": None}),
    ],
)
def test_null_is_an_absent_field(document: dict[str, Any]) -> None:
    assert found(document) == []


def test_null_in_a_list_is_none_of_its_entries() -> None:
    document = with_policy(simple={"requirements": [None]})
    assert found(document) == [((*RULE, "policy", "simple", "requirements", 0), TYPE)]


# --- The older API ----------------------------------------------------------------------------


def test_cise_has_trust_and_its_own_advisor_switch_only() -> None:
    policy = with_policy(trust={"enabled": True}, va={"enabled": True})
    assert found(policy, CISE_FIELDS) == []
    more = with_policy(simple={}, vulnerability={}, mutateImage=True)
    assert found(more, CISE_FIELDS) == [
        ((*RULE, "policy", name), UNKNOWN) for name in ("simple", "vulnerability", "mutateImage")
    ]


def test_portieris_of_the_older_api_had_more_and_no_mutate_image() -> None:
    policy = {**FULL["spec"]["repositories"][0]["policy"], "va": {"enabled": False}}
    assert found(with_policy(**policy), OLDER_FIELDS) == [
        ((*RULE, "policy", "mutateImage"), UNKNOWN)
    ]


def test_bare_list_of_requirements_of_0_6_is_no_object() -> None:
    policy = with_policy(simple=[{"type": "reject"}])
    assert found(policy, OLDER_FIELDS) == [((*RULE, "policy", "simple"), TYPE)]


# --- All of them at once, in the document's order ---------------------------------------------


def test_flaws_are_told_in_the_document_s_order() -> None:
    document = {
        "spec": {
            "repositories": [
                {"nam": "x", "policy": {"va": 1, "simple": {"requirements": [{"keySecret": 5}]}}},
                7,
            ],
            "more": 1,
        },
        "extra": 1,
    }
    assert [(path_text(path), kind) for path, kind in found(document)] == [
        ("spec.repositories[0].nam", UNKNOWN),
        ("spec.repositories[0].policy.va", UNKNOWN),
        ("spec.repositories[0].policy.simple.requirements[0].keySecret", TYPE),
        ("spec.repositories[0].policy.simple.requirements[0].type", MISSING),
        ("spec.repositories[1]", TYPE),
        ("spec.more", UNKNOWN),
        ("extra", UNKNOWN),
    ]


# --- Against the CRDs -------------------------------------------------------------------------

DATA = Path(__file__).parents[2] / "data" / "portieris"
CRDS = {
    kind: json.loads((DATA / f"{kind}.schema.json").read_text())["properties"]["spec"]
    for kind in ("ClusterImagePolicy", "ImagePolicy")
}
junk = st.recursive(
    st.none() | st.booleans() | st.integers(0, 1) | st.sampled_from(["", "x", "signedBy", "true"]),
    lambda part: (
        st.lists(part, max_size=2) | st.dictionaries(st.sampled_from(["type", "name"]), part)
    ),
    max_leaves=3,
)


def near(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What follows the schema in most places, and in some does not."""
    if "properties" in schema:
        known = {name: near(member) for name, member in schema["properties"].items()}
        unknown = dict.fromkeys(("va", "polcy", "Name", "status", "metadata", "kind"), junk)
        right = st.fixed_dictionaries({}, optional=known | unknown) | st.fixed_dictionaries(known)
    elif "items" in schema:
        right = st.lists(near(schema["items"]), max_size=2)
    elif "enum" in schema:
        right = st.sampled_from(schema["enum"])
    else:
        right = st.booleans() if schema["type"] == "boolean" else st.text("ab*/", max_size=3)
    return st.one_of(right, right, right, junk)


def pruned(value: Any, schema: dict[str, Any], path: tuple[str | int, ...]) -> tuple[Any, Found]:
    """What an API server keeps of a value before it validates it, and the fields that it drops.

    A null goes where the schema has no null, but not from a list.
    """
    dropped: Found = []
    if isinstance(value, dict) and "properties" in schema:
        kept = {}
        for name, member in value.items():
            below = schema["properties"].get(name)
            if below is None:
                dropped.append(((*path, name), UNKNOWN))
            elif member is not None or "null" in below["type"]:
                kept[name], more = pruned(member, below, (*path, name))
                dropped += more
        return kept, dropped
    if isinstance(value, list) and "items" in schema:
        parts = [pruned(one, schema["items"], (*path, at)) for at, one in enumerate(value)]
        return [one for one, _ in parts], [each for _, more in parts for each in more]
    return value, dropped


def refusals(value: Any, schema: dict[str, Any]) -> Found:
    """What an API server finds wrong with the rest."""
    kinds = {"type": TYPE, "enum": VALUE, "required": MISSING}
    found = []
    for error in Draft202012Validator(schema).iter_errors(value):
        path = tuple(error.absolute_path)
        if error.validator == "required":
            path += (error.message.split("'")[1],)
        found.append((path, kinds[error.validator]))
    return [(path, kind) for path, kind in found if kind is not VALUE or (path, TYPE) not in found]


@pytest.mark.parametrize("kind", CRDS)
def test_flaws_are_what_the_crd_drops_and_refuses(kind: str) -> None:
    schema = CRDS[kind]

    @given(near(schema))
    def held(spec: Any) -> None:
        if spec is None:
            return
        kept, dropped = pruned(spec, schema, ())
        expected = {*dropped, *refusals(kept, schema)}
        assert set(found({"spec": spec})) == {(("spec", *path), flaw) for path, flaw in expected}

    held()


@pytest.mark.parametrize("kind", CRDS)
def test_every_field_of_the_crd_is_known(kind: str) -> None:
    assert found(FULL) == []
    assert pruned(FULL["spec"], CRDS[kind], ()) == (FULL["spec"], [])
    assert refusals(FULL["spec"], CRDS[kind]) == []


@given(junk)
def test_anything_at_all_is_judged_without_an_error(value: Any) -> None:
    for schema in (PORTIERIS_FIELDS, CISE_FIELDS, OLDER_FIELDS):
        for document in (value, {"spec": value}, with_rule(policy=value)):
            assert all(isinstance(flaw, FieldFlaw) for flaw in flaws_of(document, schema))
