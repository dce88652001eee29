# SPDX-License-Identifier: Apache-2.0
"""Whether new policies keep their word among the policies that a cluster has besides.

All rules of a pool compete for an image, whoever wrote them, and where a namespace has an
ImagePolicy no ClusterImagePolicy is looked at. For rules that share images one is made up, and the
engine's own order of search tells which rule decides about it. An image counts under each text that
a runtime pulls it by: a rule for `us.icr.io/team/*` says nothing of `US.icr.io/team/app`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from imgsec.domain.demand_effect import asks_less, effect_of
from imgsec.domain.engines import Engine
from imgsec.domain.host_spellings import Respelt, respelt
from imgsec.domain.lint_examples import could_overlap, example_of, is_image, overlaid
from imgsec.domain.pattern_sets import Effort, Read, image_of
from imgsec.domain.policy_diff import demand_text
from imgsec.domain.policy_rules import Policy, PolicyId, PolicyRule
from imgsec.domain.reference import shown
from imgsec.domain.resolution import Pools, RulePool
from imgsec.domain.wildcard import weight_of

_TRIES_MAX = 8  # ours: images that other rules decide about as is meant, before one that does not
_PLACES_MAX = 500_000  # ours; of names, that all searches look at together: some five seconds
_ENDS = ("", ":*", "@*")


@dataclass(frozen=True, slots=True)
class LaxerRule:
    """An image of which less is asked than one of the new rules says.

    namespace: where that is so; empty for all that have no ImagePolicy. usual: what the new rule
    calls the image, if not so. more: how many further rules of the same object do so.
    """

    image: str
    namespace: str
    promised: PolicyRule
    decides: PolicyRule
    usual: str = ""
    more: int = 0

    def __str__(self) -> str:
        """As a sentence for people."""
        where = f" in the namespace {self.namespace}" if self.namespace else ""
        more = f" (and {self.more} more of its rules)" if self.more else ""
        same = f", the same image as {shown(self.usual)}," if self.usual else ""
        rule, decides = self.promised, self.decides
        return (
            f"{shown(self.image)}{same} {_told(decides)}{where}, by {decides.owner}"
            f" {shown(decides.repository)}{more}, but {rule.owner} {shown(rule.repository)} says"
            f" that it {_told(rule)}"
        )


def _told(rule: PolicyRule) -> str:
    return f"{'is ' if rule.demand.is_nothing else ''}{demand_text(rule.demand)}"


def laxer_rules(
    policies: Sequence[Policy], new: Collection[PolicyId], engine: Engine
) -> tuple[LaxerRule, ...]:
    """One for each object that lets images in which the new policies would not, those of the
    whole cluster first.

    policies: all that the cluster will have. A namespace for which there is a new ImagePolicy is
    not held against the new ClusterImagePolicies: that is how it was meant. Raises `ImgsecError`
    (invalid-pattern) for names that nobody can compare in a moment.
    """
    pools = Pools.of(policies, engine)
    meant = Pools.of([policy for policy in policies if policy.id in new], engine)
    scopes = {"": pools.cluster} | pools.own
    effort = Effort(_PLACES_MAX)
    return tuple(
        one
        for namespace, pool in sorted(scopes.items(), key=lambda each: each[0])
        for one in _Scope(pool, meant.of_namespace(namespace), namespace, effort).laxer()
    )


class _Scope:
    """The rules that count in one place, and the new ones as they were meant by themselves."""

    def __init__(self, pool: RulePool, meant: RulePool, namespace: str, effort: Effort) -> None:
        self._pool, self._meant, self._namespace, self._effort = pool, meant, namespace, effort
        self._engine = pool.engine
        self._new = {rule.owner for rule in meant.rules}

    def laxer(self) -> list[LaxerRule]:
        """The first of each object."""
        promised = [rule for rule in self._meant.rules if not rule.demand.is_nothing]
        found: dict[PolicyId, dict[PolicyRule, LaxerRule]] = {}
        for other in self._pool.rules:
            for rule in promised if other.owner not in self._new else ():
                if (one := self._taken(rule, other)) is not None:
                    found.setdefault(one.decides.owner, {}).setdefault(one.decides, one)
                    break
        firsts = [(next(iter(each.values())), len(each) - 1) for each in found.values()]
        return [replace(one, more=more) for one, more in firsts]

    def _taken(self, rule: PolicyRule, other: PolicyRule) -> LaxerRule | None:
        """An image that the other takes from the rule and asks less of."""
        if not self._asks_less(other, rule):
            return None
        is_rival = rule.owner.namespace == self._namespace
        wins = not is_rival or weight_of(other.repository) >= weight_of(rule.repository)
        if wins and (found := self._shared(Respelt(rule.repository, ""), other)) is not None:
            return found
        for name in respelt(rule.repository, other.repository):
            if (found := self._shared(name, other)) is not None:
                return found
        return None

    def _shared(self, name: Respelt, other: PolicyRule) -> LaxerRule | None:
        """For an image that meets both."""
        if not could_overlap(f"{name.name}*", f"{other.repository}*"):
            return None
        for image in self._likely(name.name, other.repository):
            if (found := self._broken(image, name)) is not None:
                return found
        return self._searched(name, other.repository)

    def _broken(self, image: str, name: Respelt) -> LaxerRule | None:
        """Whether less is asked of the image than is meant."""
        decides, said = self._pool.resolve(image).rule, self._meant.resolve(image).rule
        if decides is None or decides.owner in self._new:
            return None
        usual = ""
        meant = said
        if name.host:
            names = {each: self._meant.resolve(each).rule for each in name.usual(image)}
            usual, meant = next(((each, rule) for each, rule in names.items() if rule), ("", None))
            if said is not None and said.demand.is_nothing:
                return None  # so the image is let in by this name on purpose
        if meant is None or not self._asks_less(decides, meant):
            return None
        return LaxerRule(image, self._namespace, meant, decides, usual)

    def _likely(self, one: str, other: str) -> Iterator[str]:
        """Images such as people name, that meet both."""
        for first, second in ((one + mine, other + its) for mine in _ENDS for its in _ENDS):
            laid = overlaid(first, second)
            image = example_of(laid, self._engine) if laid is not None else None
            if image is not None and self._is_met(image, one, other):
                yield image

    def _searched(self, name: Respelt, other: str) -> LaxerRule | None:
        """The shortest, passing by what further rules decide as it is meant."""
        passed_by: list[str] = []
        one = name.name
        for _ in range(_TRIES_MAX):
            wanted = (Read(one), Read(other))
            image = image_of(wanted, [Read(each) for each in passed_by], self._effort)
            if image is None:
                return None
            if self._is_met(image, one, other) and (found := self._broken(image, name)) is not None:
                return found
            deciding = (self._pool.resolve(image).rule, self._meant.resolve(image).rule)
            further = {rule.repository for rule in deciding if rule is not None} - {one, other}
            if not further:
                return None
            passed_by += sorted(further)
        return None

    def _is_met(self, image: str, one: str, other: str) -> bool:
        return all(is_image(image, name, self._engine) for name in (one, other))

    def _asks_less(self, decides: PolicyRule, meant: PolicyRule) -> bool:
        asked = effect_of(decides.demand, self._namespace)
        return asks_less(asked, effect_of(meant.demand, self._namespace))
