# SPDX-License-Identifier: Apache-2.0
"""What changes in meaning where a policy is read by another engine, each with an image for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from imgsec.domain.demand_effect import SIGNED, Direction, direction_of
from imgsec.domain.diff_samples import samples_of_change
from imgsec.domain.engine_name import EngineName, Panic
from imgsec.domain.engines import Engine
from imgsec.domain.host_spellings import is_short
from imgsec.domain.intent_rendering.rendered import Findings
from imgsec.domain.pattern_sets import samples_of
from imgsec.domain.policy_diff import Meaning
from imgsec.domain.policy_import.earlier import EarlierEngine
from imgsec.domain.policy_import.source import Source
from imgsec.domain.policy_intent import Store
from imgsec.domain.policy_rules import Demand, Policy, PolicyRule
from imgsec.domain.resolution import Pools, RulePool
from imgsec.domain.witnesses import witness_of
from imgsec.errors import ImgsecError

_EXACT = "matchExact"


def tell_changes(
    sources: Sequence[Source],
    new: Sequence[Policy],
    before: EarlierEngine,
    after: Engine,
    out: Findings,
) -> None:
    """Everything that is different. new: all that there will be; out: gets the notes.

    Raises `ImgsecError` (policy-foreign) for a source that the earlier engine did not read.
    """
    old = [one.read_by(before) for one in sources]
    pools = Pools.of(old, before.compares), Pools.of(new, after)
    _tell_matching(old, *pools, after, out)
    for source in sources:
        becomes = pools[1].of_namespace(source.policy.id.namespace)
        for rule in source.policy.rules:
            _tell_layers(rule, source, becomes, before, after, out)
            _tell_short_names(rule, becomes, out)
    _tell_own_namespaces(pools[1], out)


def tell_other_decisions(
    old: Sequence[Policy], new: Sequence[Policy], engine: Engine, out: Findings
) -> None:
    """Where two sets of policies differ for one engine."""
    _tell_matching(old, Pools.of(old, engine), Pools.of(new, engine), engine, out)


def _tell_matching(
    policies: Iterable[Policy], before: Pools, after: Pools, engine: Engine, out: Findings
) -> None:
    """Names are compared otherwise: hosts by themselves from 0.14.2, digests from 0.14.3."""
    for namespace in dict.fromkeys(policy.id.namespace for policy in policies):
        was, becomes = before.of_namespace(namespace), after.of_namespace(namespace)
        found = samples_of_change([(was, becomes)])
        likely = (image for rule in was.rules for image in samples_of(rule.repository))
        for image in dict.fromkeys((*likely, *found.images)):
            _tell_image(image, was.resolve(image).rule, becomes.resolve(image).rule, engine, out)
        if found.left_out:
            where = f"in the namespace {namespace}" if namespace else "for the whole cluster"
            text = f"more rules {where} could share images than were compared with each other"
            out.note("not-compared", text)


def _tell_image(
    image: str, was: PolicyRule | None, becomes: PolicyRule | None, engine: Engine, out: Findings
) -> None:
    old, new = _effect(was), _effect(becomes)
    if old == new:
        return
    is_looser = direction_of(old, new) is Direction.LOOSER
    code = "meaning-loosened" if is_looser else "meaning-changed"
    text = f"{image}: {_said(was)} until now; {engine}: {_said(becomes)}"
    decides = was or becomes
    alike = "" if decides is None else f"{decides.owner} {decides.place} {code}"
    out.note(code, text, alike=alike)


def _tell_layers(
    rule: PolicyRule,
    source: Source,
    pool: RulePool,
    before: EarlierEngine,
    after: Engine,
    out: Findings,
) -> None:
    demand, name = rule.demand, f"{rule.owner}, {rule.repository!r}"
    try:
        witness = witness_of(rule.repository, pool)
    except ImgsecError as error:
        out.note("not-compared", f"{name}: {error.reason.text}; see what it asks for yourself")
        return
    if witness is None:
        out.note("never-decides", f"{name}: no image is decided by it")
        return
    if demand.advisor is not None:
        _tell_advisor(witness, demand, source, before, out)
    if demand.trust is not None:
        _tell_trust(witness, demand, after, out)
    if demand.simple is not None:
        exact = any(
            one.identity is not None and one.identity.kind == _EXACT
            for one in demand.simple.requirements
        )
        if exact and demand.mutates and not after.skips_owned:
            text = f"{witness}: its digest, which {after} looks at again, never meets {_EXACT}"
            out.note("digest-denied", text)
    if demand.simple is not None:
        flaw = Store(demand.simple.store_url, demand.simple.store_secret).flaw
        if flaw:
            out.note("store-without-tls", f"{witness}: {flaw}")
    if demand.simple is not None and demand.trust is not None:
        out.note("never-passes", f"{witness}: simple and trust in one rule are always denied")


def _tell_advisor(
    witness: str, demand: Demand, source: Source, before: EarlierEngine, out: Findings
) -> None:
    if source.is_older:
        text = "va becomes vulnerability.ICCRVA; CISE asked, open-source Portieris never did"
        out.note("advisor-moved", f"{witness}: {text}, so there it is a new check")
        if demand.trust is not None and before.is_cise:
            text = "CISE asked for trust first and stopped there; Portieris asks the advisor first"
            out.note("layers-reordered", f"{witness}: {text}, and tells both")
    name = _read(witness)
    if name is not None and not name.is_at_ibm:
        out.note("advisor-denies", f"{witness}: denied, the advisor knows IBM's registries only")
    elif name is not None:
        text = "Portieris asks the advisor's API v3, which IBM has deprecated"
        out.note("advisor-deprecated", text)


def _tell_trust(witness: str, demand: Demand, after: Engine, out: Findings) -> None:
    name = _read(witness)
    if name is None or demand.trust is None:
        return
    server = demand.trust.server
    if not server and name.trust_server is None:
        known = " since 0.13.0" if name.is_at_ibm else ""
        text = f"denied, Portieris knows no trust server for {name.domain}{known}"
        out.note("trust-server-gone", f"{witness}: {text}: name one, or demand a signature")
    elif ".icr.io" in server or ".bluemix.net" in server:
        out.note("trust-server-gone", f"{witness}: denied, IBM has ended the server {server}")
    if demand.mutates and not after.skips_owned:
        text = f"its digest, which {after} looks at again, is looked up as the tag latest"
        out.note("digest-denied", f"{witness}: {text}")


def _tell_short_names(rule: PolicyRule, pool: RulePool, out: Findings) -> None:
    """Texts are compared as they are written, by all engines."""
    witness = _witness(rule, pool)
    if witness is None or not witness.startswith("docker.io/"):
        return
    spelt = witness.removeprefix("docker.io/").removeprefix("library/")
    decided = pool.resolve(spelt).rule
    if is_short(spelt) and _effect(decided) != _effect(rule):
        text = f"{spelt}: {_said(decided)}, though it is {witness}, {_said(rule)}"
        out.note("short-name", text)


def _tell_own_namespaces(pools: Pools, out: Findings) -> None:
    """A namespace with rules of its own is judged by none of the whole cluster's."""
    for namespace, own in pools.own.items():
        for rule in pools.cluster.rules:
            witness = _witness(rule, pools.cluster)
            decided = None if witness is None else own.resolve(witness).rule
            if witness is not None and _effect(decided) != _effect(rule):
                text = f"{witness}: {_said(rule)}; in the namespace {namespace}: {_said(decided)}"
                out.note("own-policy", text)
                break


def _witness(rule: PolicyRule, pool: RulePool) -> str | None:
    """An image that a rule of this name decides about; None where none is, or none was found."""
    try:
        return witness_of(rule.repository, pool)
    except ImgsecError:
        return None


def _read(image: str) -> EngineName | None:
    try:
        return EngineName.parse(image)
    except (ValueError, Panic):
        return None


def _effect(rule: PolicyRule | None) -> Demand | None:
    return Meaning(rule).effect


def _said(rule: PolicyRule | None) -> str:
    if rule is None:
        return "denied, no rule names it"
    effect = _effect(rule)
    if effect is None:
        return f"denied by {rule.repository}"
    if effect.is_nothing:
        return f"unchecked by {rule.repository}"
    is_signed = effect.simple is not None and any(
        one.kind == SIGNED for one in effect.simple.requirements
    )
    layers = {
        ("signature" if is_signed else "being there"): effect.simple,
        "trust": effect.trust,
        "advisor": effect.advisor,
    }
    asked = " and ".join(name for name, layer in layers.items() if layer is not None)
    return f"checked ({asked}) by {rule.repository}"
