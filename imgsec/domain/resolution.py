# SPDX-License-Identifier: Apache-2.0
"""Which rule of a namespace's policies decides about an image's text.

A namespace with one ImagePolicy or more is judged by these alone; no ClusterImagePolicy is looked
at there. All rules of the policies that count are one pool: a rule whose text equals the image's
and has no star wins at once, else the one with the most characters that are no star, and of several
the first (Portieris `pkg/policy/policy.go`, `pkg/apis/.../v1/types.go`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from imgsec.domain.engines import Engine
from imgsec.domain.policy_rules import NAMESPACED_KIND, Policy, PolicyRule
from imgsec.domain.wildcard import is_met, literals_of, weight_of

_GRAM = 6  # characters; most rules have one that few others have


@dataclass(frozen=True, slots=True)
class Resolution:
    """The rule that decides, None for no rule; others that are met as well, the heaviest first."""

    rule: PolicyRule | None
    others: tuple[PolicyRule, ...] = ()


class RulePool:
    """The rules that are compared with each other, in the order in which the engine walks them.

    Rules are found by a piece of their text that the image must hold, the rarest of each rule, so
    that a thousand rules cost hardly more than ten.
    """

    def __init__(self, rules: Iterable[PolicyRule], engine: Engine) -> None:
        self.rules = tuple(rules)
        self.engine = engine

    def resolve(self, image: str) -> Resolution:
        """The rule that decides about this text."""
        met = [
            one
            for pattern, rules in self._candidates(image)
            if is_met(pattern, image, self.engine)
            for one in rules
        ]
        if len(met) <= 1:
            return Resolution(met[0][1] if met else None)
        equal = [one for one in met if one[1].repository == image and "*" not in image]
        ranked = sorted(met, key=lambda one: (-weight_of(one[1].repository), one[0]))
        first = min(equal, default=ranked[0])
        return Resolution(first[1], tuple(one[1] for one in ranked if one[0] != first[0]))

    def of_repository(self, name: str) -> Sequence[PolicyRule]:
        """Those that are written for one repository, whatever their tag or digest."""
        return self._by_repository.get(name, ())

    def compared_as(self, engine: Engine) -> RulePool:
        """The same rules, as another engine compares them."""
        pool = RulePool((), engine)
        pool.rules = self.rules
        pool.__dict__["_by_gram"] = self._by_gram  # the pieces are the same
        return pool

    def _candidates(self, image: str) -> Iterator[tuple[str, list[tuple[int, PolicyRule]]]]:
        """Names that could be met, each with the places of its rules."""
        by_gram = self._by_gram
        held = {"": by_gram[""]} if "" in by_gram else {}
        for size in self._sizes:
            for at in range(len(image) - size + 1):
                gram = image[at : at + size]
                if gram in by_gram:
                    held[gram] = by_gram[gram]
        return chain.from_iterable(held.values())

    @cached_property
    def has_open_hosts(self) -> bool:
        """Whether a rule has a star in its host, or in a name without one."""
        return any("*" in rule.repository.partition("/")[0] for rule in self.rules)

    @cached_property
    def _by_gram(self) -> dict[str, list[tuple[str, list[tuple[int, PolicyRule]]]]]:
        """Names and their rules by the piece that few others have; under "" those without one."""
        named: dict[str, list[tuple[int, PolicyRule]]] = {}
        for place, rule in enumerate(self.rules):
            named.setdefault(rule.repository, []).append((place, rule))
        grams = [set(_grams(pattern)) for pattern in named]
        common = Counter(gram for each in grams for gram in each)
        found: dict[str, list[tuple[str, list[tuple[int, PolicyRule]]]]] = {}
        for one, each in zip(named.items(), grams, strict=True):
            rarest = min(each, key=lambda gram: (common[gram], -len(gram), gram), default="")
            found.setdefault(rarest, []).append(one)
        return found

    @cached_property
    def _by_repository(self) -> dict[str, list[PolicyRule]]:
        found: dict[str, list[PolicyRule]] = {}
        for rule in self.rules:
            found.setdefault(repository_of(rule.repository), []).append(rule)
        return found

    @cached_property
    def _sizes(self) -> tuple[int, ...]:
        return tuple({len(gram) for gram in self._by_gram if gram})


def repository_of(name: str) -> str:
    """A name without its tag or digest.

    >>> repository_of("localhost:5000/app:1"), repository_of("icr.io/ns/app@sha256:0")
    ('localhost:5000/app', 'icr.io/ns/app')
    """
    name = name.partition("@")[0]
    path, colon, tag = name.rpartition(":")
    return path if colon and "/" not in tag else name


def _grams(pattern: str) -> Iterator[str]:
    """The pieces between its stars, and of longer ones every part of the length of a gram."""
    for piece in literals_of(pattern):
        for at in range(max(len(piece) - _GRAM, 0) + 1):
            yield piece[at : at + _GRAM]


def walked(policies: Iterable[Policy]) -> tuple[PolicyRule, ...]:
    """The rules of policies in the engine's order: objects by name, rules as they are written."""
    ordered = sorted(policies, key=lambda one: one.id.name.encode("utf-8", "surrogatepass"))
    return tuple(rule for policy in ordered for rule in policy.rules)


@dataclass(frozen=True, slots=True)
class Pools:
    """What decides in each namespace. own: by namespaces that have an ImagePolicy, even an empty
    one. is_empty: whether there is no ClusterImagePolicy at all.
    """

    cluster: RulePool
    own: dict[str, RulePool]
    is_empty: bool

    @classmethod
    def of(cls, policies: Sequence[Policy], engine: Engine) -> Pools:
        namespaced: dict[str, list[Policy]] = {}
        cluster = []
        for policy in policies:
            if policy.id.kind == NAMESPACED_KIND:
                namespaced.setdefault(policy.id.namespace, []).append(policy)
            else:
                cluster.append(policy)
        own = {name: RulePool(walked(found), engine) for name, found in namespaced.items()}
        return cls(RulePool(walked(cluster), engine), own, not cluster)

    def of_namespace(self, namespace: str) -> RulePool:
        """The rules that count in a namespace."""
        return self.own.get(namespace, self.cluster)
