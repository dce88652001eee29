# SPDX-License-Identifier: Apache-2.0
"""Intents of all kinds: written as they are read, and rendered as they are meant."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgsec.domain.engines import CISE_API, PORTIERIS_API, Engine
from imgsec.domain.intent_file import intent_document, parse_intent
from imgsec.domain.intent_rendering import Target, render_intents
from imgsec.domain.intent_rendering.coherence import scopes_of
from imgsec.domain.pattern_sets import Read, covers, image_of, samples_of
from imgsec.domain.policy_intent import is_tag_alone
from imgsec.domain.policy_rules import Demand, Policy
from imgsec.domain.reference import ImageReference
from imgsec.domain.resolution import Pools
from imgsec.domain.trust_policy import Blanket, SignedBy, TrustPolicy
from imgsec.domain.wildcard import compare, is_met
from imgsec.errors import ImgsecError
from imgsec.operations.import_policy import ImportRules, import_policies
from imgsec.ports import FoundDocument

# Searches of pure functions: seconds each, and the same under every Python.
pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "schemas" / "policy-intent.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
TODAY = date(2026, 10, 1)
ENGINES = ("0.13.38", "0.14.1", "0.14.2", "0.14.3")

unhurried = settings(deadline=None)  # machines that others work on, too
hosts = st.sampled_from(["a.io", "us.icr.io", "*.icr.io", "docker.io", "b.io:5000", "localhost:1"])
paths = st.lists(st.sampled_from(["a", "b", "ab", "*", "a*b"]), min_size=1, max_size=3).map(
    "/".join
)
tags = st.sampled_from(["", "", "", ":1", ":*"])
texts = st.builds(lambda host, path, tag: f"{host}/{path}{tag}", hosts, paths, tags)
patterns = texts.filter(lambda text: not text.partition(":")[0].endswith(("*b", "a*")))
exact = st.sampled_from(["a.io/a/b:1", "us.icr.io/a/b@sha256:" + "a" * 64, "docker.io/a:2"])
identities = st.sampled_from(
    [
        {"type": "usual"},
        {"type": "matchExact"},
        {"type": "matchRepository"},
        {"type": "matchExactRepository", "dockerRepository": "icr.io/a/b"},
        {"type": "matchExactReference", "dockerReference": "icr.io/a/b:1"},
        {"type": "remapIdentity", "prefix": "a.io", "signedPrefix": "b.io/x"},
    ]
)
keys = st.sampled_from(["one", "two"])
signatures = st.one_of(
    keys, st.fixed_dictionaries({"key": keys}, optional={"identity": identities})
)
asked = st.one_of(
    st.fixed_dictionaries({"signedBy": st.lists(signatures, min_size=1, max_size=2)}),
    st.just({"trust": True}),
    st.just({"trust": {"server": "https://n.example", "signers": ["jane"]}}),
    st.just({"advisor": {"account": "abc"}}),
    st.just({"trust": True, "advisor": True}),
    st.just({"denied": {"reason": "r"}}),
    st.fixed_dictionaries(
        {"unchecked": st.just({"reason": "r"}) | st.just({"reason": "r", "until": "2027-01-01"})}
    ),
)


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    rule: dict[str, Any] = {"images": draw(st.lists(patterns, min_size=1, max_size=3, unique=True))}
    if draw(st.booleans()):
        rule["exactly"] = [draw(exact)]
    said = draw(asked)
    if not {"unchecked", "denied"} & set(said) and draw(st.booleans()):
        said = said | {"mutateImage": False}
    return rule | said


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    found = draw(st.lists(rules(), max_size=4))
    used = {
        one if isinstance(one, str) else one["key"]
        for rule in found
        for one in rule.get("signedBy", ())
    }
    document: dict[str, Any] = {"apiVersion": "imgsec/v1", "kind": "PolicyIntent", "rules": found}
    if used:
        document["keys"] = {
            name: {"secret": f"p/{name}", "keyPath": f"/k/{name}"} for name in sorted(used)
        }
    if draw(st.booleans()):
        document["namespaces"] = ["shop"]
    return document


tame_names = st.sampled_from(
    ["a.io/*", "a.io/a/*", "a.io/a/b", "a.io/a/b/*", "b.io:5000/a", "docker.io/a", "docker.io/b/*"]
)
tame_rules = st.fixed_dictionaries(
    {"images": st.lists(tame_names, min_size=1, max_size=2, unique=True)}
).flatmap(
    lambda named: st.sampled_from(
        [
            named | {"signedBy": ["one"]},
            named | {"signedBy": ["one"], "mutateImage": False},
            named | {"unchecked": {"reason": "r"}},
            named | {"denied": {"reason": "r"}},
        ]
    )
)


@st.composite
def tame_documents(draw: st.DrawFn) -> dict[str, Any]:
    """Such as most engines can render."""
    found = draw(st.lists(tame_rules, min_size=1, max_size=4))
    used = {"one": {"secret": "p/one", "keyPath": "/k/one"}}
    head: dict[str, Any] = {"apiVersion": "imgsec/v1", "kind": "PolicyIntent", "rules": found}
    return head | ({"keys": used} if any("signedBy" in rule for rule in found) else {})


some_documents = st.one_of(documents(), tame_documents(), tame_documents())


def is_parsed(document: Any) -> bool:
    try:
        parse_intent(document)
    except (ValueError, ImgsecError):
        return False
    return True


@unhurried
@given(documents())
def test_what_is_read_is_written_as_it_was_meant_and_keeps_the_schema(document: Any) -> None:
    try:
        intent = parse_intent(document)
    except ImgsecError:
        return
    written = intent_document(intent)
    assert parse_intent(written) == intent
    for one in (document, json.loads(json.dumps(written))):
        VALIDATOR.validate(one)


@unhurried
@given(some_documents, st.sampled_from(ENGINES))
def test_every_version_decides_as_it_is_meant_or_the_intent_is_refused(
    document: Any, version: str
) -> None:
    try:
        intent = parse_intent(document)
    except ImgsecError:
        return
    engine = Engine.parse(version)
    rendered = render_intents([intent], Target.PORTIERIS, TODAY, engine)
    if rendered.reasons:
        return
    pools = Pools.of([Policy.read(one) for one in rendered.documents], engine)
    for scope in scopes_of([intent]):
        pool = pools.of_namespace(scope.namespace)
        for name, rule in scope.named:
            for image in samples_of(name.text):
                if rule.unchecked is not None and is_tag_alone(name) and image != name.text:
                    continue  # it is let through by that text alone, as far as engines can
                meant = [one.demand for _, one in scope.meant_for(image)]
                decided = pool.resolve(image).rule
                assert decided is not None, image
                assert decided.demand in meant, image
                if rule.unchecked is None and [rule.demand] == meant:
                    assert decided.demand != Demand(), image


@unhurried
@given(some_documents)
def test_containers_tools_decide_as_it_is_meant_or_the_intent_is_refused(document: Any) -> None:
    try:
        intent = parse_intent(document)
    except ImgsecError:
        return
    rendered = render_intents([intent], Target.CONTAINERS, TODAY)
    if rendered.reasons:
        return
    policy = TrustPolicy.parse(json.dumps(rendered.files[0].content).encode())
    (scope,) = scopes_of([intent])
    for name, _ in scope.named:
        for sample in samples_of(name.text):
            image = ImageReference.parse(sample)
            if image.tag is not None and image.digest is not None:
                continue
            meant = [one for _, one in scope.meant_for(sample)]
            found = policy.requirements_for(image)
            assert (found == (Blanket.ACCEPT,)) is any(one.unchecked for one in meant), sample
            assert (found == (Blanket.REJECT,)) is any(one.denied for one in meant), sample
            count = sum(isinstance(one, SignedBy) for one in found)
            assert count in {len(one.signatures) for one in meant}, sample


@unhurried
@given(texts, texts)
def test_what_two_names_have_in_common_meets_both(one: str, other: str) -> None:
    common = image_of((Read(one), Read(other)))
    if common is not None:
        assert compare(one, common) or is_met(one, common, Engine.parse("0.14.3"))
        assert compare(other, common) or is_met(other, common, Engine.parse("0.14.3"))
    elif covers(one, other):
        raise AssertionError("the wider name has nothing in common with the narrower one")


@unhurried
@given(texts, texts)
def test_the_wider_name_is_met_by_all_that_meets_the_narrower(one: str, other: str) -> None:
    newest = Engine.parse("0.14.3")
    if covers(one, other):
        assert all(is_met(one, image, newest) for image in samples_of(other))


@unhurried
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda s: st.lists(s, max_size=3) | st.dictionaries(st.sampled_from(["apiVersion", "kind", "name", "keys", "rules", "images", "signedBy", "unchecked", "reason", "trust", "store", "namespaces"]), s, max_size=4), max_leaves=10))  # noqa: E501  # fmt: skip
def test_anything_else_is_refused_with_a_sentence(value: Any) -> None:
    head = {"apiVersion": "imgsec/v1", "kind": "PolicyIntent"}
    for document in (value, head | {"rules": [value]}, head | {"rules": [], "keys": value}):
        if is_parsed(document):
            VALIDATOR.validate(document)


members = st.sampled_from(
    "apiVersion kind metadata name namespace labels annotations spec repositories policy simple"
    " requirements type keySecret trust enabled va vulnerability ICCRVA signedIdentity".split()
)
anything = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5) | st.sampled_from(["signedBy", "a.io/b", "*"]),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(members, part, max_size=4),
    max_leaves=12,
)
switches = st.fixed_dictionaries({}, optional={"enabled": st.booleans() | st.none()})
requirement = st.fixed_dictionaries(
    {"type": st.sampled_from(["signedBy", "reject", "insecureAcceptAnything"])},
    optional={"keySecret": st.sampled_from(["k", "l"]), "keySecretNamespace": st.just("p")},
)
older_policies = st.fixed_dictionaries(
    {},
    optional={
        "trust": switches | st.none(),
        "va": switches | st.none(),
        "simple": st.lists(requirement, max_size=2)
        | st.fixed_dictionaries({"requirements": st.lists(requirement, max_size=2)}),
        "vulnerability": st.fixed_dictionaries({"ICCRVA": switches}),
    },
)
older_rules = st.fixed_dictionaries(
    {"name": texts | st.sampled_from(["*", "", "nginx", "docker.io/alpine*", "x@*"])},
    optional={"policy": older_policies | st.none()},
)
older = st.lists(st.one_of(older_rules, older_rules, anything), max_size=3)


@unhurried
@given(older, st.sampled_from([PORTIERIS_API, CISE_API]), anything, st.booleans())
def test_any_policy_is_taken_over_as_it_demands_or_refused(
    entries: Any, api: str, metadata: Any, is_tame: bool
) -> None:
    document = {
        "apiVersion": api,
        "kind": "ClusterImagePolicy",
        "metadata": {"name": "old"} if is_tame else metadata,
        "spec": {"repositories": entries},
    }
    rules = ImportRules(None, Engine.parse("0.14.3"), "", as_intent=False, today=TODAY)
    try:
        made = import_policies([FoundDocument(document, "x")], rules)
    except ImgsecError:
        return
    intent = import_policies([FoundDocument(document, "x")], replace(rules, as_intent=True))
    if made.reasons:
        assert intent.reasons
        return
    (new,) = made.documents
    Policy.read(new)
    for entry, rule in zip(entries, new["spec"]["repositories"], strict=True):
        before, after = entry.get("policy") or {}, rule["policy"]
        older_switch = (before.get("va") or {}).get("enabled")
        newer = (before.get("vulnerability") or {}).get("ICCRVA") or {}
        advisor = after.get("vulnerability", {}).get("ICCRVA", {}).get("enabled")
        assert bool(advisor) is bool(older_switch or newer.get("enabled"))
        trust = (before.get("trust") or {}).get("enabled")
        assert bool(after.get("trust", {}).get("enabled")) is bool(trust)
        simple = before.get("simple") or {}
        wanted = simple if isinstance(simple, list) else simple.get("requirements") or []
        assert after.get("simple", {}).get("requirements", []) == wanted
    if not intent.reasons:
        (written,) = map(intent_document, intent.intents)
        assert parse_intent(written) == intent.intents[0]
