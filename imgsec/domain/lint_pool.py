# SPDX-License-Identifier: Apache-2.0
"""The rules that are compared with each other, as a lint asks them: which one decides?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from imgsec.domain.engines import Engine
from imgsec.domain.lint_examples import example_of
from imgsec.domain.lint_sources import Inventory, LintPolicy, LintRule
from imgsec.domain.policy_rules import CLUSTER_KIND, PolicyRule
from imgsec.domain.resolution import Resolution, RulePool


class LintPool:
    """The rules of a namespace, or of the cluster where namespace is None, in the engine's order.

    rules: of several with one name the first, which always wins. repeated: the others, each with
    the one that wins.
    """

    def __init__(
        self, policies: Iterable[LintPolicy], engine: Engine, namespace: str | None
    ) -> None:
        self.engine, self.namespace = engine, namespace
        self.policies = sorted(policies, key=lambda one: one.id.name.encode())
        first: dict[str, LintRule] = {}
        self.repeated: list[tuple[LintRule, LintRule]] = []
        for policy in self.policies:
            for rule in policy.rules:
                earlier = first.setdefault(rule.name, rule)
                if earlier is not rule:
                    self.repeated.append((rule, earlier))
        self.rules = tuple(first.values())
        self.place = {id(rule): number for number, rule in enumerate(self.rules)}
        self._known = {id(rule.rule): rule for rule in self.rules}
        self._pool = RulePool((rule.rule for rule in self.rules), engine)
        self._decided: dict[str, LintRule | None] = {}
        self._examples: dict[int, str | None] = {}

    def decide(self, image: str) -> LintRule | None:
        """The rule that decides about this text."""
        if image not in self._decided:
            self._decided[image] = self.found(self.resolve(image).rule)
        return self._decided[image]

    def example(self, rule: LintRule) -> str | None:
        """An image that meets the rule, whichever decides about it."""
        if id(rule) not in self._examples:
            self._examples[id(rule)] = example_of(rule.name, self.engine)
        return self._examples[id(rule)]

    def resolve(self, image: str) -> Resolution:
        """Likewise, with those that are met as well."""
        return self._pool.resolve(image)

    def found(self, rule: PolicyRule | None) -> LintRule | None:
        return None if rule is None else self._known[id(rule)]

    @property
    def title(self) -> str:
        """Where its rules count, for people."""
        if self.namespace is None:
            return "the cluster"
        return f"the namespace {self.namespace}" if self.namespace else "its namespace"


def pools_of(inventory: Inventory) -> Iterator[LintPool]:
    """The cluster's, if there is any, and that of each namespace with an ImagePolicy."""
    cluster: list[LintPolicy] = []
    namespaced: dict[str, list[LintPolicy]] = {}
    for policy in inventory.policies:
        if policy.id.kind == CLUSTER_KIND:
            cluster.append(policy)
        else:
            namespaced.setdefault(policy.id.namespace, []).append(policy)
    if cluster:
        yield LintPool(cluster, inventory.engine, None)
    for namespace, policies in namespaced.items():
        yield LintPool(policies, inventory.engine, namespace)


def pool_for(namespace: str, pools: Sequence[LintPool]) -> LintPool | None:
    """The one that counts in a namespace."""
    by_name = {pool.namespace: pool for pool in pools}
    return by_name.get(namespace, by_name.get(None))
