# SPDX-License-Identifier: Apache-2.0
"""The intent file: read strictly, and written as it is read."""

from __future__ import annotations

from typing import Any

import pytest

from imgsec.domain.intent_file import intent_document, parse_intent
from imgsec.domain.policy_rules import Demand, Requirement, SimpleDemand
from imgsec.errors import ImgsecError
from tests.unit.domain.intents import KEYS, a_document, an_intent, signed, unchecked
from tests.unit.refusals import refused

PUBLIC = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmI0=\n=aaaa\n-----END PGP PUBLIC KEY BLOCK-----\n"


def test_everything_that_can_be_said_is_read_and_written_again() -> None:
    document = a_document(
        signed("us.icr.io/team/*", store={"url": "https://s.example/x", "secret": "store"}),
        {
            "exactly": ["us.icr.io/team/tool:1"],
            "signedBy": [
                {"key": "release", "identity": {"type": "matchRepository"}},
                {
                    "key": "security",
                    "identity": {"type": "remapIdentity", "prefix": "a.io", "signedPrefix": "b.io"},
                },
            ],
            "mutateImage": False,
        },
        {"wide": ["*"], "trust": True, "advisor": True},
        {
            "images": ["us.icr.io/old/*"],
            "trust": {"server": "https://notary.example", "signers": ["jane"]},
            "advisor": {"account": "abc123"},
        },
        unchecked("icr.io/ext/*", until="2027-01-01"),
        {"images": ["docker.io/evil/*"], "denied": {"reason": "it is evil"}},
        name="all",
        namespaces=["a", "b"],
    )
    intent = parse_intent(document)
    assert intent_document(intent) == document
    assert parse_intent(intent_document(intent)) == intent


def test_file_says_for_all_rules_what_a_rule_may_say_otherwise() -> None:
    intent = an_intent(
        signed("a.io/x/*"), signed("a.io/y/*", mutateImage=True), unchecked("a.io/z/*"),
        mutateImage=False,
    )  # fmt: skip
    assert [rule.mutates for rule in intent.rules] == [False, True, True]


def test_a_rule_of_two_keys_demands_both() -> None:
    (rule,) = an_intent({"images": ["a.io/x/*"], "signedBy": ["release", "security"]}).rules
    wanted = (
        Requirement("signedBy", "release", "portieris"),
        Requirement("signedBy", "security", "portieris"),
    )
    assert rule.demand == Demand(SimpleDemand(wanted))


def test_usual_identity_can_be_named() -> None:
    usual = {"key": "release", "identity": {"type": "usual"}}
    assert an_intent({"images": ["a.io/x"], "signedBy": [usual]}) == an_intent(signed("a.io/x"))


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, "no mapping"),
        ([], "no mapping"),
        ({}, "apiVersion is missing"),
        (a_document() | {"apiVersion": "imgsec/v2"}, "imgsec/v1"),
        (a_document() | {"kind": "ClusterImagePolicy"}, "PolicyIntent"),
        (a_document() | {"rulez": []}, "did you mean rules"),
        (a_document() | {"rules": None}, "rules is empty"),
        (a_document() | {"rules": {}}, "no list"),
        (a_document() | {"namespaces": []}, "whole cluster"),
        (a_document() | {"namespaces": ["a", "a"]}, "twice"),
        (a_document() | {"name": 5}, "no text"),
        (a_document() | {"mutateImage": "no"}, "true or false"),
        (a_document() | {"keys": KEYS}, "signs nothing"),
        (a_document() | {"keys": ["a"]}, "no mapping"),
        (a_document({}), "one of"),
        (a_document({"unchecked": {"reason": "r"}}), "no images"),
        (a_document({"images": ["a.io/x"]}), "one of"),
        (a_document({"images": ["a.io/x"], "signed-by": ["release"]}), "did you mean signedBy"),
        (a_document(signed("a.io/x") | {"unchecked": {"reason": "r"}}), "one of"),
        (a_document({"images": ["a.io/x"], "unchecked": {}}), "reason is missing"),
        (a_document({"images": ["a.io/x"], "unchecked": {"reason": " "}}), "no text"),
        (a_document({"images": ["a.io/x"], "unchecked": True}), "no mapping"),
        (a_document(unchecked("a.io/x", until="soon")), "not a date"),
        (a_document(unchecked("a.io/x", until="2027-02-30")), "no day"),
        (a_document(unchecked("a.io/x", mutateImage=False)), "mutateImage"),
        (a_document({"images": ["a.io/x"], "denied": {"reason": ""}}), "no text"),
        (a_document({"images": ["a.io/x"], "trust": False}), "no mapping"),
        (a_document({"images": ["a.io/x"], "advisor": {"account": "a b"}}), "no id"),
        (a_document({"images": ["a.io/x"], "advisor": {}}), "no text"),
        (
            a_document({"images": ["a.io/x"], "trust": True, "store": {"url": "https://a"}}),
            "signedBy",
        ),
        (a_document(signed("a.io/x", store={"secret": "s"})), "url is missing"),
        (a_document({"wide": ["a b"], "unchecked": {"reason": "r"}}), "no pattern"),
        (a_document({"images": ["a.io/x"], "signedBy": [{"key": "other"}]}, keys={}), "none of"),
        (a_document(signed("a.io/x"), keys={"release": {}}), "none of"),
        (a_document(signed("a.io/x"), keys={"release": {"keyPath": "here"}}), "absolute"),
        (a_document(signed("a.io/x"), keys={"release": {"publicKey": "x"}}), "PUBLIC KEY"),
        (
            a_document(
                signed("a.io/x"),
                keys={"release": {"publicKey": PUBLIC + PUBLIC.replace("PUBLIC", "PRIVATE")}},
            ),
            "PUBLIC KEY",
        ),
        (
            a_document(
                {
                    "images": ["a.io/x"],
                    "signedBy": [{"key": "release", "identity": {"type": "any"}}],
                }
            ),
            "not one of usual",
        ),
        (
            a_document(
                {
                    "images": ["a.io/x"],
                    "signedBy": [
                        {"key": "release", "identity": {"type": "matchExact", "prefix": "a"}}
                    ],
                }
            ),
            "prefix",
        ),
    ],
)
def test_what_is_not_meant_so_is_refused(document: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_intent(document)


@pytest.mark.parametrize(
    "document",
    [
        a_document(unchecked("nginx")),
        a_document(unchecked("docker.io/alpine*")),
        a_document(unchecked("*.icr.io")),
        a_document({"exactly": ["us.icr.io/team/app"], "unchecked": {"reason": "r"}}),
        a_document({"exactly": ["app:1"], "unchecked": {"reason": "r"}}),
        a_document(name="Not A Name"),
        a_document(namespaces=["a.b"]),
        a_document(signed("a.io/x"), keys={"release": {"secret": "a/b/c"}}),
        a_document(signed("a.io/x", store={"url": "ftp://store.example"})),
        a_document(signed("a.io/x", store={"url": "https://user:word@store.example"})),
        a_document(
            {
                "images": ["a.io/x"],
                "signedBy": [
                    {
                        "key": "release",
                        "identity": {"type": "matchExactReference", "dockerReference": "a.io/x"},
                    }
                ],
            }
        ),
    ],
)  # fmt: skip
def test_names_and_addresses_have_their_grammar(document: Any) -> None:
    with pytest.raises(ImgsecError):
        parse_intent(document)


@pytest.mark.parametrize("identity", ["matchExact", ["matchExact"], 1, True])
def test_an_identity_is_a_mapping(identity: object) -> None:
    rule = {"images": ["a.io/b"], "signedBy": [{"key": "release", "identity": identity}]}
    with pytest.raises(ValueError, match=r"identity: it must be a mapping, such as {type: "):
        an_intent(rule)


@pytest.mark.parametrize("kind", [["matchExact"], {"a": 1}, 1, True])
def test_an_identity_of_an_odd_type_is_refused(kind: object) -> None:
    rule = {"images": ["a.io/b"], "signedBy": [{"key": "release", "identity": {"type": kind}}]}
    with pytest.raises(ValueError, match=r"rules\[0\]: signedBy\[0\]: identity: type"):
        an_intent(rule)


@pytest.mark.parametrize(
    ("rest", "where"),
    [
        ({"name": "A"}, "name: "),
        ({"namespaces": ["a", "B"]}, "namespaces: "),
        ({"rules": [signed("a.io/b"), signed("a.io/c*")]}, "rules[1]: images: "),
        ({"rules": [unchecked(exactly=["a.io"])]}, "rules[0]: "),
    ],
)
def test_a_name_that_is_refused_is_told_with_its_place(rest: dict[str, Any], where: str) -> None:
    with pytest.raises((ValueError, ImgsecError)) as caught:
        parse_intent(a_document(signed("a.io/b")) | rest)
    assert where in str(caught.value)


def test_what_must_be_there_is_not_said_to_be_left_out() -> None:
    document = a_document(signed("a.io/b")) | {"rules": None}
    with pytest.raises(ValueError, match=r"rules is empty$"):
        parse_intent(document)


@pytest.mark.parametrize("url", ["http://store.example/", "HTTP://store.example"])
def test_a_store_may_be_without_tls_as_engines_take_it(url: str) -> None:
    (rule,) = an_intent(signed("a.io/x", store={"url": url})).rules
    assert rule.store is not None
    assert rule.store.url == "http://store.example"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://", "'http://'"),
        ("http://user@store.example", "'http://...@store.example'"),
        ("http://https://store.example/x", "'http://https://store.example/x'"),
        ("http://http://store.example", "'http://http://store.example'"),
        ("http://store.example:/x", "'http://store.example:/x'"),
    ],
)
def test_a_store_that_is_no_address_is_shown_as_it_was_written(url: str, shown: str) -> None:
    with refused("invalid-option") as reasons:
        an_intent(signed("a.io/x", store={"url": url}))
    assert f"store: {shown} is not an address" in reasons[0].text
