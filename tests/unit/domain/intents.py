# SPDX-License-Identifier: Apache-2.0
"""Intents for tests, short to write."""

from __future__ import annotations

from datetime import date
from typing import Any

from imgsec.domain.engines import NEWEST, Engine
from imgsec.domain.intent_file import API_VERSION, KIND, parse_intent
from imgsec.domain.intent_rendering import Target, render_intents
from imgsec.domain.intent_rendering.rendered import Rendered
from imgsec.domain.policy_intent import PolicyIntent

TODAY = date(2026, 10, 1)
KEYS = {
    "release": {"secret": "portieris/release", "keyPath": "/etc/pki/release.asc"},
    "security": {"secret": "portieris/security", "keyPath": "/etc/pki/security.asc"},
}
EVERY_ENGINE = ("0.13.38", "0.14.1", "0.14.2", "0.14.3")


def a_document(*rules: dict[str, Any], **rest: Any) -> dict[str, Any]:
    """A document with those of the keys that its rules name."""
    used = {
        one if isinstance(one, str) else one["key"]
        for rule in rules
        for one in rule.get("signedBy", ())
    }
    keys = {name: value for name, value in KEYS.items() if name in used}
    head: dict[str, Any] = {"apiVersion": API_VERSION, "kind": KIND}
    return head | ({"keys": keys} if keys else {}) | rest | {"rules": list(rules)}


def an_intent(*rules: dict[str, Any], **rest: Any) -> PolicyIntent:
    return parse_intent(a_document(*rules, **rest))


def signed(*images: str, **rest: Any) -> dict[str, Any]:
    return {"images": list(images), "signedBy": ["release"], **rest}


def unchecked(*images: str, **rest: Any) -> dict[str, Any]:
    return {"images": list(images), "unchecked": {"reason": "a test", **rest}}


def rendered(
    *intents: PolicyIntent, target: Target = Target.PORTIERIS, engine: str | Engine = NEWEST
) -> Rendered:
    version = Engine.parse(engine) if isinstance(engine, str) else engine
    return render_intents(intents, target, TODAY, version)


def codes(found: Rendered) -> set[str]:
    return {one.code for one in found.reasons}


def note_codes(found: Rendered) -> set[str]:
    return {one.code for one in found.notes}
