# SPDX-License-Identifier: Apache-2.0
"""Which rule of the policies in a cluster decides about an image, as Portieris 0.14.3 finds it.

Names are compared as raw text, without a look at ports, Docker Hub's short forms or upper case
(Portieris `pkg/policy`, `helpers/wildcard`; what the older engines do differently is not here).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of a policy's repositories. policy: what it demands; empty demands nothing."""

    name: str
    policy: dict[str, Any]
    owner: str  # the policy object that holds it

    @property
    def demands_nothing(self) -> bool:
        return not any(self.policy.get(layer) for layer in ("simple", "trust", "vulnerability"))

    def is_met_by_key(self, secret: str, namespace: str) -> bool:
        """Whether one good signature by the key in this Secret is all that the rule demands."""
        if self.policy.get("trust") or self.policy.get("vulnerability"):
            return False
        requirements = (self.policy.get("simple") or {}).get("requirements") or []
        wanted = {"type": "signedBy", "keySecret": secret, "keySecretNamespace": namespace}
        return bool(requirements) and all(one == wanted for one in requirements)

    def key_secrets(self, namespace: str) -> frozenset[str]:
        """The Secrets whose keys it asks for, as ``NAMESPACE/NAME``, of a pod in this namespace."""
        requirements = (self.policy.get("simple") or {}).get("requirements") or []
        return frozenset(
            f"{one.get('keySecretNamespace') or namespace}/{one['keySecret']}"
            for one in requirements
            if one.get("keySecret")
        )


def rules_of(documents: Iterable[dict[str, Any]]) -> tuple[Rule, ...]:
    """The rules of policy objects, in the order in which the engine walks them: by name."""
    rules = []
    for document in sorted(documents, key=lambda one: str(one["metadata"]["name"])):
        owner = f"{document['kind']} {document['metadata']['name']}"
        for entry in (document.get("spec") or {}).get("repositories") or []:
            rules.append(Rule(str(entry.get("name", "")), entry.get("policy") or {}, owner))
    return tuple(rules)


def deciding_rule(rules: Iterable[Rule], image: str) -> Rule | None:
    """The rule that decides about this image text; None means that the image is denied.

    An equal text wins at once; else the one with the most characters that are no star, and of
    several the first.
    """
    best, best_score = None, -1
    for rule in rules:
        if "*" not in rule.name and rule.name == image:
            return rule
        score = len(rule.name.encode()) - rule.name.count("*")
        if score > best_score and is_met(rule.name, image):
            best, best_score = rule, score
    return best


def is_met(pattern: str, image: str) -> bool:
    """Whether an image text meets a rule's name; a slash parts host and path on both sides.

    >>> is_met("icr.io/ns/app", "icr.io/ns/app:1"), is_met("*.icr.io/ns/*", "evil/x.icr.io/ns/y")
    (True, False)
    """
    host, slash, rest = pattern.partition("/")
    if not slash:
        return _any_tag(pattern, image)
    image_host, slash, image_rest = image.partition("/")
    return bool(slash) and _compare(host, image_host) and _any_tag(rest, image_rest)


def _any_tag(pattern: str, text: str) -> bool:
    return any(_compare(pattern + end, text) for end in ("", ":*", "@*"))


def _compare(pattern: str, text: str) -> bool:
    """A star stands for anything; its pieces are looked for from the left, in linear time."""
    first, *middle = pattern.split("*")
    if not middle:
        return pattern == text
    last = middle.pop()
    if not text.startswith(first):
        return False
    at = len(first)
    for piece in middle:
        found = text.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return text.endswith(last) and len(text) - len(last) >= at
