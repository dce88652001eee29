# SPDX-License-Identifier: Apache-2.0
"""A lint of policies as lines for people, and as lines of Markdown without its markup."""

from __future__ import annotations

from collections.abc import Iterator

from imgsec.domain.lint_catalogue import Level
from imgsec.domain.policy_lint import Decision, Lint, RulePlace
from imgsec.domain.reference import shown


def lint_lines(lint: Lint, *, verbose: bool) -> Iterator[str]:
    """Errors and warnings with what to do; notes only if verbose. To be cleaned by the caller."""
    for one in lint.findings:
        if one.level is Level.NOTE and not verbose:
            continue
        yield f"{one.level}: {one.where}:{one.line}: {one.kind.code}: {one.text}"
        if one.image:
            yield f"  image: {one.image}"
        yield f"  {one.hint}"
    for decision in lint.decisions:
        yield f"image: {decision_line(decision)}"
        for other in decision.others:
            yield f"  also met: {_rule(other)}"
    hidden = lint.count(Level.NOTE)
    more = " (-v shows notes)" if hidden and not verbose else ""
    yield f"{lint.summary}{more}"


def decision_line(decision: Decision) -> str:
    """Which rule decides."""
    where = "in the cluster"
    if decision.namespace is not None:
        where = f"in namespace {decision.namespace}" if decision.namespace else "by ImagePolicy"
    said = _rule(decision.rule) if decision.rule is not None else "no rule, so it is denied"
    image = decision.image if decision.image.strip() else shown(decision.image)
    return f"{image} {where}: {decision.without_rules or said}"


def _rule(rule: RulePlace) -> str:
    return f"{rule.repository} of {rule.owner} ({rule.where}:{rule.line})"
