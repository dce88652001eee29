# SPDX-License-Identifier: Apache-2.0
"""Whether new policies keep their word among the policies that a cluster has besides.

All rules of a pool compete for an image, whoever wrote them, and where a namespace has an
ImagePolicy no ClusterImagePolicy is looked at. For rules that share images one is made up, and the
engine's own order of search tells which rule decides about it. An image counts under each text that
a runtime pulls it by: a rule for `us.icr.io/team/*` says nothing of `US.icr.io/team/app`.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

from imgsec.domain.demand_effect import answering_hosts, asks_less, denial_by_host, effect_of
from imgsec.domain.engines import Engine
from imgsec.domain.host_spellings import Respelt, respelt
from imgsec.domain.pattern_sets import Effort
from imgsec.domain.policy_diff import demand_text
from imgsec.domain.policy_rules import Demand, Policy, PolicyId, PolicyRule
from imgsec.domain.reference import shown
from imgsec.domain.resolution import Pools, RulePool
from imgsec.domain.shared_images import NamesByPath, SharedImages
from imgsec.domain.wildcard import weight_of

_PLACES_MAX = 500_000  # ours; of names, that all searches look at together: some five seconds
_PAIR = 2  # places; what two rules cost whose paths go together
_RESOLUTION = 5  # places; what an image costs that is resolved


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
    text = demand_text(rule.demand)
    return text if text.startswith("needs ") else f"is {text}"


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
    everywhere = _Promised(meant.cluster)
    found: list[LaxerRule] = []
    harmless: set[Hashable] = set()
    for namespace, pool in sorted(scopes.items(), key=lambda each: each[0]):
        is_own = namespace in meant.own
        promised = _Promised(meant.own[namespace]) if is_own else everywhere
        scope = _Scope(pool, promised, namespace, effort)
        if (key := scope.key) in harmless:
            continue
        laxer = scope.laxer()
        found += laxer
        if not laxer:
            harmless.add(key)
    return tuple(found)


class _Scope:
    """The rules that count in one place, and the new ones as they were meant by themselves."""

    def __init__(self, pool: RulePool, meant: _Promised, namespace: str, effort: Effort) -> None:
        self._pool, self._meant, self._namespace = pool, meant, namespace
        self._engine = pool.engine
        self._shared = SharedImages(pool.engine, effort)
        self._effects: dict[Demand, Demand | None] = {}
        self._less: dict[Demand | None, frozenset[Demand]] = {}

    @property
    def key(self) -> Hashable:
        """The same for places in which the same is asked of the same names."""
        place = self._namespace
        asked = [
            (one.repository, one.owner, self._effect(one), one.owner.namespace == place)
            for one in self._meant.pool.rules
        ]
        there = [
            (one.repository, self._effect(one), one.owner in self._meant.owners)
            for one in self._pool.rules
        ]
        return tuple(asked), tuple(there)

    def laxer(self) -> list[LaxerRule]:
        """The first of each object."""
        found: dict[PolicyId, dict[PolicyRule, LaxerRule]] = {}
        for other in self._pool.rules:
            missed = self._missed(other) if other.owner not in self._meant.owners else ()
            for rule in self._meant.near(other) if missed else ():
                self._shared.take(_PAIR)
                if rule.demand in missed and (one := self._taken(rule, other)) is not None:
                    found.setdefault(one.decides.owner, {}).setdefault(one.decides, one)
                    break
        firsts = [(next(iter(each.values())), len(each) - 1) for each in found.values()]
        return [replace(one, more=more) for one, more in firsts]

    def _taken(self, rule: PolicyRule, other: PolicyRule) -> LaxerRule | None:
        """An image that the other takes from the rule and asks less of."""
        is_rival = rule.owner.namespace == self._namespace
        wins = not is_rival or weight_of(other.repository) >= weight_of(rule.repository)
        if wins and (found := self._under(None, rule, other)) is not None:
            return found
        for name in respelt(rule.repository, other.repository, self._engine):
            if (found := self._under(name, rule, other)) is not None:
                return found
        return None

    def _under(self, name: Respelt | None, rule: PolicyRule, other: PolicyRule) -> LaxerRule | None:
        """For an image that meets both, of the rule's name as it is or of another spelling."""

        def deciding(image: str) -> Iterator[str]:
            decides, meant = self._pool.resolve(image).rule, self._meant.pool.resolve(image).rule
            if decides is not None:
                yield decides.repository
            if meant is not None and meant.repository != rule.repository:
                yield meant.repository
            usual = name.usual(image, self._engine) if name is not None else None
            said = self._meant.pool.resolve(usual).rule if usual is not None else None
            if name is not None and said is not None and said.repository != name.of:
                yield name.likewise(said.repository)

        text = name.name if name is not None else rule.repository
        return self._shared.first(
            text,
            other.repository,
            lambda image: self._broken(image, name),
            deciding,
            answering_hosts(other.demand, self._engine),
        )

    def _broken(self, image: str, name: Respelt | None) -> LaxerRule | None:
        """Whether less is asked of the image than is meant."""
        self._shared.take(_RESOLUTION)
        decides, meant = self._pool.resolve(image).rule, self._meant.pool.resolve(image).rule
        if decides is None or decides.owner in self._meant.owners:
            return None
        usual = ""
        if name is not None:
            if meant is not None and meant.demand.is_nothing:
                return None  # so the image is let in by this name on purpose
            usual = name.usual(image, self._engine) or ""
            meant = self._meant.pool.resolve(usual).rule if usual else None
        if meant is None or not self._asks_less(decides, meant):
            return None
        if denial_by_host(decides.demand, image, self._engine):
            return None
        return LaxerRule(image, self._namespace, meant, decides, usual)

    def _missed(self, other: PolicyRule) -> frozenset[Demand]:
        """Those of what is promised than which the other asks less."""
        asked = self._effect(other)
        if asked not in self._less:
            self._less[asked] = frozenset(
                demand
                for demand in self._meant.demands
                if asks_less(asked, effect_of(demand, self._namespace))
            )
        return self._less[asked]

    def _asks_less(self, decides: PolicyRule, meant: PolicyRule) -> bool:
        return asks_less(self._effect(decides), self._effect(meant))

    def _effect(self, rule: PolicyRule) -> Demand | None:
        if rule.demand not in self._effects:
            self._effects[rule.demand] = effect_of(rule.demand, self._namespace)
        return self._effects[rule.demand]


class _Promised:
    """What the new policies say for some places."""

    def __init__(self, pool: RulePool) -> None:
        self.pool = pool
        self.owners = {rule.owner for rule in pool.rules}
        self._rules = [rule for rule in pool.rules if not rule.demand.is_nothing]
        self.demands = {rule.demand for rule in self._rules}
        self._names = NamesByPath([rule.repository for rule in self._rules], pool.engine)

    def near(self, other: PolicyRule) -> Iterator[PolicyRule]:
        """Rules that may share an image with it."""
        yield from (self._rules[place] for place in self._names.near(other.repository))
