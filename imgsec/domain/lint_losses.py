# SPDX-License-Identifier: Apache-2.0
"""What is not asked of an image any more where another rule decides about it.

Rules are held against each other by their effects. Another key in place of one, another signer or
another account is neither more nor less; fewer keys are, and so is the same key that may sign for
more names.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from imgsec.domain.demand_effect import TAG, effect_of, signatures_of
from imgsec.domain.lint_sources import LintRule
from imgsec.domain.policy_rules import Demand, SignedIdentity
from imgsec.domain.reference import shown

_OF_THE_IMAGE = ("repository", TAG, "digest")
Names = frozenset[tuple[str, Hashable]]


@dataclass(frozen=True, slots=True)
class Profile:
    """What a demand asks for, to be compared.

    names: each key with what its signature's name is held against. signers: of trust.
    """

    denies: bool = False
    names: Names = frozenset()
    trust: bool = False
    signers: frozenset[str] = frozenset()
    advisor: bool = False

    @classmethod
    def of(cls, demand: Demand, namespace: str, *, by_digest: bool = False) -> Profile:
        """namespace: that in which a key is looked for if none is said.

        by_digest: for an image without a tag, so that none is held against its signature.
        """
        effect = effect_of(demand, namespace)
        if effect is None:
            return cls(denies=True)
        return cls(
            names=frozenset(
                ("/".join(filter(None, (where or namespace, secret))), what)
                for (where, secret), held in signatures_of(effect)
                for what in held
                if not (by_digest and what == TAG)
            ),
            trust=effect.trust is not None,
            signers=frozenset(effect.trust.signer_secrets if effect.trust is not None else ()),
            advisor=effect.advisor is not None,
        )

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(key for key, _ in self.names)


def lost_to(winner: LintRule, rule: LintRule, image: str = "") -> tuple[str, ...]:
    """What is not asked of an image any more if the winner decides in place of the rule.

    image: its text, empty for one with a tag.
    """
    if winner.demand is None or rule.demand is None:
        return ()
    namespace = winner.rule.owner.namespace or rule.rule.owner.namespace
    by_digest = "@" in image
    return lost_by(_profile(winner, namespace, by_digest), _profile(rule, namespace, by_digest))


@lru_cache(maxsize=8192)
def _profile(rule: LintRule, namespace: str, by_digest: bool) -> Profile:
    return Profile.of(rule.demand or Demand(), namespace, by_digest=by_digest)


@lru_cache(maxsize=8192)
def lost_by(profile: Profile, other: Profile) -> tuple[str, ...]:
    """What the other demands and this one does not; a rule that denies everything loses nothing."""
    if profile == other or profile.denies:
        return ()
    if other.denies:
        return ("its denial",)
    return tuple(_lost(profile, other))


def _lost(profile: Profile, other: Profile) -> Iterator[str]:
    if other.names and not profile.names:
        yield "a signature"
    elif profile.names != other.names:
        yield from _signatures_lost(profile, other)
    if other.trust and not profile.trust:
        yield "trust"
    elif profile.trust and profile.signers < other.signers:
        yield from (
            f"the signer in {shown(one)}" for one in sorted(other.signers - profile.signers)
        )
    if other.advisor and not profile.advisor:
        yield "the advisor's word"


def _signatures_lost(profile: Profile, other: Profile) -> Iterator[str]:
    mine, its = profile.keys, other.keys
    if len(mine) < len(its):
        yield from (f"the signature by the key in {shown(key)}" for key in sorted(its - mine))
    if profile.names < other.names:
        for key in sorted(mine):
            lost = {what for one, what in other.names - profile.names if one == key}
            if lost:
                yield f"{_named(lost)} in the signature by the key in {shown(key)}"


def _named(lost: Iterable[Hashable]) -> str:
    """What a signature's name is not held against any more, for people."""
    found = set(lost)
    of_the_image = [word for word in _OF_THE_IMAGE if word in found]
    told = [f"the image's {' and '.join(of_the_image)}"] if of_the_image else []
    kinds = sorted({one.kind for one in found if isinstance(one, SignedIdentity)})
    return " and ".join((*told, *(f"the identity {kind}" for kind in kinds)))


def laxer_and_stricter(rules: Sequence[LintRule]) -> tuple[list[LintRule], list[LintRule]]:
    """Those of one pool that ask for less than some other, and those that ask for more."""
    profiles = {
        id(rule): _profile(rule, rule.rule.owner.namespace, False)
        for rule in rules
        if rule.demand is not None
    }
    every = set(profiles.values())
    compared = _Compared(every)
    less = {one for one in every if compared.is_surpassed(one)}
    more = {one for one in every if compared.surpasses(one)}
    known = [(rule, profiles[id(rule)]) for rule in rules if id(rule) in profiles]
    return (
        [rule for rule, profile in known if profile in less],
        [rule for rule, profile in known if profile in more],
    )


class _Compared:
    """Profiles to hold one of them against, without looking at each of the others.

    What one asks for in a layer is looked up by one of its members.
    """

    def __init__(self, profiles: Iterable[Profile]) -> None:
        every = tuple(profiles)
        asking = [one for one in every if not one.denies]
        self._denies, self._asks = len(asking) < len(every), bool(asking)
        counts = {len(one.keys) for one in asking}
        self._fewest, self._most = min(counts, default=0), max(counts, default=0)
        self._trust = {one.trust for one in asking}
        self._advisor = {one.advisor for one in asking}
        self._signers = {bool(one.signers) for one in asking if one.trust}
        self._with: dict[Hashable, list[frozenset[Hashable]]] = {}
        self._by_one: dict[Hashable, list[frozenset[Hashable]]] = {}
        for layer in {layer for one in asking for layer in (one.names, one.signers) if layer}:
            self._by_one.setdefault(next(iter(layer)), []).append(frozenset(layer))
            for each in layer:
                self._with.setdefault(each, []).append(frozenset(layer))

    def is_surpassed(self, profile: Profile) -> bool:
        """Whether one of them asks for something that this one does not."""
        if profile.denies:
            return False
        return (
            self._denies
            or len(profile.keys) < self._most
            or (not profile.trust and True in self._trust)
            or (not profile.advisor and True in self._advisor)
            or (profile.trust and not profile.signers and True in self._signers)
            or any(map(self._is_part, (profile.names, profile.signers)))
        )

    def surpasses(self, profile: Profile) -> bool:
        """Whether it asks for something that one of them does not."""
        if profile.denies:
            return self._asks
        return (
            len(profile.keys) > self._fewest
            or (profile.trust and False in self._trust)
            or (profile.advisor and False in self._advisor)
            or (bool(profile.signers) and False in self._signers)
            or any(map(self._has_part, (profile.names, profile.signers)))
        )

    def _is_part(self, layer: frozenset[Hashable]) -> bool:
        rarest = min((self._with.get(one, []) for one in layer), key=len, default=[])
        return any(layer < other for other in rarest)

    def _has_part(self, layer: frozenset[Hashable]) -> bool:
        return any(other < layer for one in layer for other in self._by_one.get(one, ()))
