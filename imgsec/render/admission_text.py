# SPDX-License-Identifier: Apache-2.0
"""Predicted admissions as lines for people who do not know the engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imgsec.domain.admission import Admission, ContainerTrace, LayerOutcome, LayerTrace
from imgsec.domain.engines import Layer
from imgsec.domain.policy_rules import Demand, PolicyRule
from imgsec.domain.reference import shown
from imgsec.domain.workload import CONTAINER_TYPES
from imgsec.reasons import WEBHOOK_FAILS, Outcome
from imgsec.render.admission_document import subject

_WORDS = {Outcome.PASS: "admitted", Outcome.REFUSED: "denied", Outcome.UNDECIDED: "open"}
_LAYERS = {
    Layer.RESOLUTION: "rule",
    Layer.ADVISOR: "Vulnerability Advisor",
    Layer.SIMPLE: "signature",
    Layer.TRUST: "Docker Content Trust",
}
_OUTCOMES = {
    LayerOutcome.PASSED: "passes",
    LayerOutcome.DENIED: "denies",
    LayerOutcome.FAILED: "fails, which denies as well and stops the containers behind it",
    LayerOutcome.OPEN: "not known",
    LayerOutcome.NOT_REACHED: "not reached",
}


def admission_lines(admissions: Sequence[Admission], *, verbose: bool) -> Iterator[str]:
    """One line per object, and under it what people need of each container."""
    for admission in admissions:
        yield from _admission(admission, verbose=verbose, indent="")
    if len(admissions) > 1:
        words = [one.verdict.outcome.word for one in admissions]
        counted = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
        yield f"{len(words)} workloads: {counted}"


def _admission(admission: Admission, *, verbose: bool, indent: str) -> Iterator[str]:
    yield indent + _headline(admission)
    hints: dict[str, None] = {}
    for one in admission.containers:
        if verbose or one.is_forgotten or one.open_reasons or one.is_bad:
            yield from _container(one, indent, verbose=verbose, hints=hints)
    told = {message for one in admission.containers if one.is_bad for message in one.messages}
    for message in admission.messages:
        if message not in told:
            yield f"{indent}  the engine says: {message}"
    for reason in admission.verdict.reasons:
        if not admission.messages or reason.code != "admission-denied":
            yield f"{indent}  {reason.code}: {reason.text}"
        hints[reason.hint] = None
    for hint in hints:
        yield f"{indent}  hint: {hint}"
    child = admission.child
    tells_child = child is not None and (verbose or not child.verdict.passed)
    for note in admission.unchecked if tells_child else admission.not_checked:
        yield f"{indent}  not checked: {note.text}"
    for note in admission.hygiene:
        yield f"{indent}  advice: {note.text}"
    if verbose and admission.patches:
        for patch in admission.patches:
            yield f"{indent}  changes {patch.path} to {patch.value}"
    if child is not None and tells_child:
        yield f"{indent}  the pods made from it:"
        yield from _admission(child, verbose=verbose, indent=f"{indent}    ")


def _headline(admission: Admission) -> str:
    outcome = admission.verdict.outcome
    line = f"{outcome.word}: {subject(admission)}"
    if any(one.code == WEBHOOK_FAILS.code for one in admission.verdict.reasons):
        return f"{line}: {admission.engine} breaks on it"
    if outcome is Outcome.UNDECIDED:
        return f"{line}: what {admission.engine} decides is open"
    return f"{line} would be {_WORDS.get(outcome, outcome.word)} by {admission.engine}"


def _container(
    trace: ContainerTrace, indent: str, *, verbose: bool, hints: dict[str, None]
) -> Iterator[str]:
    container = trace.container
    kind = "init container" if container.type == CONTAINER_TYPES[0] else "container"
    yield f"{indent}  {kind} {shown(container.name)[1:-1]}: {container.image}"
    if not trace.is_reached:
        yield f"{indent}    not looked at"
        return
    if trace.rule is not None:
        yield f"{indent}    decided by {_rule(trace.rule)}: {_demand(trace.rule.demand)}"
    for one in trace.layers:
        is_told = one.outcome is not LayerOutcome.NOT_ASKED and trace.rule is not None
        if is_told and one.layer is not Layer.RESOLUTION:
            yield from _layer(one, indent)
        if one.message:
            says = "says" if one.is_bad else "would say, if it is told the same"
            yield f"{indent}    the engine {says}: {one.message}"
        if one.why is not None:
            hints[one.why.hint] = None
    if trace.is_forgotten:
        yield f"{indent}    denied, but the engine forgets it: a later container takes its place"
    if trace.near and (verbose or trace.rule is None):
        for near in trace.near:
            yield f"{indent}    nearly: {_rule(near.rule)}: {near.why}"
    elif trace.rule is None and trace.is_compared:
        yield f"{indent}    no rule names it, nor anything near it"


def _layer(trace: LayerTrace, indent: str) -> Iterator[str]:
    line = f"{indent}    {_LAYERS[trace.layer]}: {_OUTCOMES[trace.outcome]}"
    if trace.digest is not None:
        line += f", sha256:{trace.digest}"
    yield line
    if trace.why is not None:
        yield f"{indent}      {trace.why.code}: {trace.why.text}"


def _rule(rule: PolicyRule) -> str:
    return f"{rule.owner}, rule {rule.place + 1}, {shown(rule.repository)}"


def _demand(demand: Demand) -> str:
    if demand.is_nothing:
        return "lets it through without any check"
    wanted = []
    if demand.simple is not None:
        kinds = [one.kind for one in demand.simple.requirements]
        wanted.append("a signature" if "signedBy" in kinds else " and ".join(kinds))
    if demand.trust is not None:
        wanted.append("Docker Content Trust")
    if demand.advisor is not None:
        wanted.append("Vulnerability Advisor")
    return "wants " + " and ".join(wanted)
