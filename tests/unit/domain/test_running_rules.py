# SPDX-License-Identifier: Apache-2.0
"""Which rule decides, in Portieris's own order (executed against 0.14.3, its table of cases)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsec.domain.running_rules import Rule, deciding_rule, is_met, rules_of

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("rule", "image", "met"),
    [
        ("icr.io/ns/app", "icr.io/ns/app:1", True),
        ("icr.io/ns/app", f"icr.io/ns/app@{DIGEST}", True),
        ("icr.io/ns/app", f"icr.io/ns/app:1@{DIGEST}", True),
        ("icr.io/ns/app:1", f"icr.io/ns/app:1@{DIGEST}", True),
        ("icr.io/ns/app:*", f"icr.io/ns/app@{DIGEST}", False),
        ("icr.io/ns/app*", "icr.io/ns/application/evil:1", True),
        ("icr.io/*/app", "icr.io/a/b/c/app:1", True),
        ("*.icr.io/ns/*", "evil.com/x.icr.io/ns/y", False),
        ("*icr.io*", "evil.com/icr.io/app", True),
        ("*.icr.io/ns/*", "icr.io/ns/app", False),
        ("docker.io/library/nginx", "nginx", False),
        ("docker.io/*", "nginx", False),
        ("*/nginx", "nginx", False),
        ("*", "nginx", True),
        ("reg.example.com/ns/app", "reg.example.com:5000/ns/app", False),
        ("reg.example.com:*/ns/app", "reg.example.com:5000/ns/app", True),
        ("https://icr.io/ns/*", "icr.io/ns/app", False),
        (" icr.io/ns/*", "icr.io/ns/app", False),
        ("icr.io/ns/", "icr.io/ns/app", False),
        ("icr.io/a*a", "icr.io/a", False),
        ("icr.io/a*a", "icr.io/aa", True),
        ("", "", True),
        ("", "icr.io/ns/app", False),
    ],
)
def test_rule_is_met_as_the_engine_compares(rule: str, image: str, met: bool) -> None:
    assert is_met(rule, image) is met


def test_many_stars_take_no_longer_than_few() -> None:
    assert not is_met("icr.io/" + "a*" * 5000 + "b", "icr.io/" + "a" * 50_000)


@given(st.text("a*/:", max_size=8), st.text("a/:", max_size=12))
def test_star_means_any_run_of_characters(pattern: str, text: str) -> None:
    import re

    host, slash, rest = pattern.partition("/")
    image_host, image_slash, image_rest = text.partition("/")

    def meets(part: str, of: str, ends: tuple[str, ...]) -> bool:
        return any(
            re.fullmatch(".*".join(map(re.escape, (part + end).split("*"))), of) for end in ends
        )

    ends = ("", ":*", "@*")
    expected = (
        bool(image_slash) and meets(host, image_host, ("",)) and meets(rest, image_rest, ends)
        if slash
        else meets(pattern, text, ends)
    )
    assert is_met(pattern, text) is expected


def decided(image: str, *names: str) -> str | None:
    rule = deciding_rule([Rule(name, {}, "p") for name in names], image)
    return rule.name if rule else None


def test_longest_literal_text_wins_and_of_equals_the_first() -> None:
    assert decided("icr.io/ns/app:1", "icr.io/ns/app", "icr.io/ns/app:*") == "icr.io/ns/app:*"
    assert decided("icr.io/ns/app:1", "icr.io/ns/app*", "icr.io/ns/app") == "icr.io/ns/app*"
    assert decided("icr.io/ns/app:prod", "*:prod", "icr.io/ns/*") == "icr.io/ns/*"
    assert decided("nginx", "*") == "*"
    assert decided("nginx", "icr.io/*") is None
    assert decided("icr.io/a:1", "icr.io/*a:1*", "icr.io/a:1") == "icr.io/a:1"


def policy(name: str, *rules: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "ClusterImagePolicy",
        "metadata": {"name": name},
        "spec": {"repositories": list(rules)},
    }


def test_rules_of_all_policies_are_walked_by_name() -> None:
    rules = rules_of([policy("b", {"name": "x"}), policy("a", {"name": "y", "policy": None})])
    assert [(rule.name, rule.owner) for rule in rules] == [
        ("y", "ClusterImagePolicy a"),
        ("x", "ClusterImagePolicy b"),
    ]
    assert all(rule.demands_nothing for rule in rules)
    assert rules_of([policy("c"), {"kind": "K", "metadata": {"name": "d"}}]) == ()


SIGNED = {"type": "signedBy", "keySecret": "public", "keySecretNamespace": "portieris"}


@pytest.mark.parametrize(
    ("demands", "met"),
    [
        ({"simple": {"requirements": [SIGNED]}}, True),
        ({"simple": {"requirements": [SIGNED, SIGNED]}}, True),
        ({"simple": {"requirements": [SIGNED, {"type": "reject"}]}}, False),
        ({"simple": {"requirements": [{**SIGNED, "keySecret": "other"}]}}, False),
        ({"simple": {"requirements": []}}, False),
        ({"simple": None}, False),
        ({"simple": {"requirements": [SIGNED]}, "trust": {"enabled": True}}, False),
        ({"simple": {"requirements": [SIGNED]}, "vulnerability": {"ICCRVA": {}}}, False),
        ({"vulnerability": {"ICCRVA": {"enabled": True}}}, False),
        ({}, False),
    ],
)
def test_rule_that_one_signature_satisfies_is_told_apart(
    demands: dict[str, Any], met: bool
) -> None:
    rule = Rule("icr.io/*", demands, "p")
    assert rule.is_met_by_key("public", "portieris") is met
