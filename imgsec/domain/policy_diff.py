# SPDX-License-Identifier: Apache-2.0
"""Two sets of policies compared in meaning: which images are decided otherwise, and how.

An image's meaning is what happens to its text: denied for want of a rule, let through unseen, or
held against a demand. Where no images are given, the rules themselves tell which to try.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from imgsec.domain.engine_name import EngineName, Panic
from imgsec.domain.engines import Engine
from imgsec.domain.policy_rules import Demand, PolicyRule, Requirement
from imgsec.domain.reference import shown
from imgsec.domain.resolution import Pools

_DIGEST = f"@sha256:{'0' * 64}"
_STAR_STANDS_FOR = "any"


class Direction(StrEnum):
    """What a change does to an image."""

    STRICTER = "stricter"
    LOOSER = "looser"
    OTHER = "other"  # neither asks for more: another key, another layer


@dataclass(frozen=True, slots=True)
class Meaning:
    """What happens to an image's text. rule: None where none names it, and it is denied."""

    rule: PolicyRule | None

    @property
    def demand(self) -> Demand | None:
        """None for an image that is denied in any case."""
        return self.rule.demand if self.rule is not None else None

    def __str__(self) -> str:
        """As a sentence can name it."""
        if self.rule is None:
            return "denied: no rule names it"
        return (
            f"{demand_text(self.rule.demand)}, by {self.rule.owner} {shown(self.rule.repository)}"
        )


@dataclass(frozen=True, slots=True)
class MeaningChange:
    """One image whose meaning changes. namespace: empty for all without an ImagePolicy."""

    image: str
    namespace: str
    before: Meaning
    after: Meaning

    @property
    def direction(self) -> Direction:
        before, after = _strength(self.before.demand), _strength(self.after.demand)
        if before == after:
            return Direction.OTHER
        return Direction.STRICTER if after > before else Direction.LOOSER


def compare_meanings(
    before: Pools, after: Pools, images: Iterable[str], namespaces: Iterable[str]
) -> tuple[MeaningChange, ...]:
    """The images that mean something else now, in each of these namespaces."""
    found = []
    places = tuple(dict.fromkeys(namespaces))
    for image in dict.fromkeys(images):
        for namespace in places:
            old = Meaning(before.of_namespace(namespace).resolve(image).rule)
            new = Meaning(after.of_namespace(namespace).resolve(image).rule)
            if old.demand != new.demand:
                found.append(MeaningChange(image, namespace, old, new))
    return tuple(found)


def places_of(*sides: Pools) -> tuple[str, ...]:
    """Where policies can differ: namespaces with an ImagePolicy, and all others together."""
    return ("", *sorted({name for pools in sides for name in pools.own}))


def witnesses(*sides: Pools) -> tuple[str, ...]:
    """Images that the rules of all sides name: by a tag, by a digest, and as they are written."""
    rules = [
        rule
        for pools in sides
        for pool in (pools.cluster, *pools.own.values())
        for rule in pool.rules
    ]
    return tuple(dict.fromkeys(image for rule in rules for image in _named_by(rule.repository)))


def _named_by(pattern: str) -> Iterator[str]:
    """Some images that meet a rule's name, if any real one can."""
    for stands_for in (_STAR_STANDS_FOR, ""):
        text = pattern.replace("*", stands_for)
        for image in (text, f"{text}:1", f"{text}{_DIGEST}"):
            if _is_name(image):
                yield image


def _is_name(text: str) -> bool:
    try:
        EngineName.parse(text)
    except (ValueError, Panic):
        return False
    return True


def _strength(demand: Demand | None) -> int:
    """How much is asked for: nothing at all up to what nothing meets."""
    if demand is None:
        return 9
    layers = sum(one is not None for one in (demand.simple, demand.trust, demand.advisor))
    requirements = len(demand.simple.requirements) if demand.simple is not None else 0
    return layers + max(requirements - 1, 0)


def demand_text(demand: Demand) -> str:
    """What a rule asks for, in words that need no knowledge of the engine.

    >>> demand_text(Demand())
    'let through unchecked'
    """
    if demand.is_nothing:
        return "let through unchecked"
    wanted = []
    if demand.simple is not None:
        wanted += [_requirement_text(one) for one in demand.simple.requirements]
    if demand.trust is not None:
        wanted.append("Docker Content Trust")
    if demand.advisor is not None:
        wanted.append("a clean report of Vulnerability Advisor")
    kept = "" if demand.mutates else ", and stays as it is written"
    return f"needs {' and '.join(wanted)}{kept}"


def _requirement_text(requirement: Requirement) -> str:
    if requirement.kind != "signedBy":
        return {"reject": "to be rejected"}.get(requirement.kind, "to be there, unsigned or not")
    where = "/".join(filter(None, (requirement.key_namespace, requirement.key_secret)))
    identity = requirement.identity
    rule = f" for {identity.kind}" if identity is not None and identity.kind else ""
    return f"a signature by the key in {shown(where)}{rule}"


def engines_differ(before: Engine, after: Engine) -> Sequence[str]:
    """What another engine alone would change, in words."""
    told = []
    if before.splits_hosts != after.splits_hosts:
        told.append("how hosts are compared")
    if before.covers_digests != after.covers_digests:
        told.append("whether a name without a tag covers digests")
    if before.skips_owned != after.skips_owned:
        told.append("whether pods of controllers are checked")
    if before.layers != after.layers:
        told.append("the order of the layers")
    return told
