# SPDX-License-Identifier: Apache-2.0
"""A lint of policies: everything that is probably not as it is meant, and which rule decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from imgsec.domain.engine_name import EngineName, Panic
from imgsec.domain.engines import Engine
from imgsec.domain.lint_catalogue import Level, LintFinding
from imgsec.domain.lint_demands import demand_findings
from imgsec.domain.lint_names import name_findings, usual_name
from imgsec.domain.lint_pool import LintPool, pools_of
from imgsec.domain.lint_precedence import TooManyPairs, precedence_findings
from imgsec.domain.lint_reach import Reach, namespace_findings, workload_findings
from imgsec.domain.lint_sources import Inventory, LintRule
from imgsec.domain.lint_spoofing import spoofing
from imgsec.domain.verdict import Verdict, because, passed
from imgsec.domain.workload import Container
from imgsec.reasons import LINT_INCOMPLETE, NO_POLICY, POLICY_FLAWED, Reason

_ORDER = tuple(Level)


@dataclass(frozen=True, slots=True)
class RulePlace:
    """A rule, and where it is written. owner: its policy, as people name it."""

    repository: str
    owner: str
    where: str
    line: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Which rule decides about an image's text. namespace: None for the cluster's policies.

    rule: None where none does, so that the image is denied. others: that are met as well, the
    heaviest first. is_image: whether the engine takes the text for an image's name at all.
    """

    image: str
    namespace: str | None
    rule: RulePlace | None
    others: tuple[RulePlace, ...]
    is_image: bool

    @property
    def without_rules(self) -> str:
        """What becomes of a text that no rule is asked about; empty for an image's name."""
        if self.is_image:
            return ""
        if Container("containers", 0, "", self.image).is_blank:
            return "it is blank, so the engine passes the container over"
        try:
            EngineName.parse(self.image)
        except Panic:
            return "the webhook breaks on it, and its failurePolicy decides"
        except ValueError:
            pass
        return "it is no image's name, so it is denied"


@dataclass(frozen=True, slots=True)
class Lint:
    """What was found. files: that were looked at. policies, rules: how many the engine reads.

    strict: whether warnings refuse, too. is_partial: not every pair of rules was compared.
    """

    engine: Engine
    findings: tuple[LintFinding, ...]
    decisions: tuple[Decision, ...]
    files: tuple[str, ...]
    policies: int
    rules: int
    strict: bool = False
    is_partial: bool = False

    @property
    def refusing(self) -> tuple[Level, ...]:
        """The levels that refuse."""
        return (Level.ERROR, Level.WARNING) if self.strict else (Level.ERROR,)

    def count(self, level: Level) -> int:
        return sum(one.level is level for one in self.findings)

    @property
    def summary(self) -> str:
        """How many there are of each level.

        >>> from imgsec.domain.engines import NEWEST
        >>> Lint(NEWEST, (), (), (), 1, 2).summary
        '1 policy with 2 rules for Portieris 0.14.3: no findings'
        """
        counted = [(self.count(level), level.value) for level in Level]
        found = ", ".join(_many(count, word) for count, word in counted if count)
        policies = _many(self.policies, "policy", "policies")
        rules = _many(self.rules, "rule")
        return f"{policies} with {rules} for {self.engine}: {found or 'no findings'}"


def _many(count: int, word: str, words: str | None = None) -> str:
    return f"{count} {word if count == 1 else words or f'{word}s'}"


def lint_inventory(
    inventory: Inventory,
    more: Iterable[LintFinding] = (),
    *,
    images: Sequence[str] = (),
    strict: bool = False,
) -> Lint:
    """Everything that is found without reading a key. more: what was found in Secrets."""
    pools = list(pools_of(inventory))
    unfinished: list[LintPool] = []
    found = [*inventory.findings, *more, *_rule_findings(inventory, pools, unfinished)]
    places = {name: number for number, name in enumerate(inventory.files)}
    found.sort(key=lambda one: (places[one.where], one.line, _ORDER.index(one.level)))
    return Lint(
        inventory.engine,
        tuple(dict.fromkeys(found)),
        tuple(_decision(image, pool) for image in images for pool in pools),
        tuple(inventory.files),
        len(inventory.policies),
        sum(len(policy.rules) for policy in inventory.policies),
        strict,
        bool(unfinished),
    )


def _twins(pool: LintPool) -> Iterator[LintRule]:
    """Rules for another spelling of what is named beside them in the usual one."""
    names = {rule.name for rule in pool.rules}
    usual = ((rule, usual_name(rule.name)) for rule in pool.rules)
    yield from (rule for rule, name in usual if name != rule.name and name in names)


def _rule_findings(
    inventory: Inventory, pools: Sequence[LintPool], unfinished: list[LintPool]
) -> Iterator[LintFinding]:
    found, used = workload_findings(inventory.images, pools)
    yield from found
    twins = {id(rule) for pool in pools for rule in _twins(pool)}
    for rule in inventory.rules:
        is_used, is_twin = used[id(rule)] > 0, id(rule) in twins
        yield from name_findings(rule, inventory.engine, is_used=is_used, is_twin=is_twin)
        yield from demand_findings(rule, inventory.engine)
    reaches = [Reach(pool) for pool in pools]
    for reach in reaches:
        try:
            yield from precedence_findings(reach.pool)
        except TooManyPairs:
            unfinished.append(reach.pool)
        for rule in reach.pool.rules:
            yield from spoofing(rule, reach.pool)
        yield from reach.findings()
    yield from namespace_findings(reaches)


def _decision(image: str, pool: LintPool) -> Decision:
    from imgsec.domain.pattern_sets import is_name  # few ask for a decision

    found = pool.resolve(image)
    others = (pool.found(rule) for rule in found.others)
    return Decision(
        image,
        pool.namespace,
        _place(pool.found(found.rule)),
        tuple(place for other in others if (place := _place(other)) is not None),
        is_name(image),
    )


def _place(rule: LintRule | None) -> RulePlace | None:
    if rule is None:
        return None
    document = rule.source.document
    line = document.line_of((*rule.path, "name"))
    return RulePlace(rule.name, rule.source.about, document.where, line)


def judge_lint(lint: Lint, *, documents: int, unread: Sequence[Reason] = ()) -> Verdict:
    """Refused for errors, and for warnings where strict; never passed where there was no policy.

    documents: how many policies there were, of whichever API. unread: why a key was not looked at.
    """
    reasons = list(unread)
    if lint.is_partial:
        text = "too many rules with stars could share images to compare all of them"
        reasons.append(LINT_INCOMPLETE(text))
    if any(lint.count(level) for level in lint.refusing):
        reasons.append(POLICY_FLAWED(lint.summary))
    elif not documents:
        reasons.append(NO_POLICY("there is no policy in what was given"))
    return because(*reasons) if reasons else passed()
