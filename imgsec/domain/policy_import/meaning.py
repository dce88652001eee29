# SPDX-License-Identifier: Apache-2.0
"""What changes in meaning where a policy is read by another engine, each with an image for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imgsec.domain.demand_effect import SIGNED, Direction, denial_of, direction_of
from imgsec.domain.diff_samples import Compared, can_be_pulled, samples_of_change
from imgsec.domain.engine_name import EngineName, Panic
from imgsec.domain.engines import Engine
from imgsec.domain.host_spellings import is_short
from imgsec.domain.intent_rendering.rendered import Findings
from imgsec.domain.pattern_sets import samples_of
from imgsec.domain.policy_diff import Meaning
from imgsec.domain.policy_import.earlier import EarlierEngine
from imgsec.domain.policy_import.source import Source
from imgsec.domain.policy_intent import Store
from imgsec.domain.policy_rules import Demand, Policy, PolicyRule, TrustDemand
from imgsec.domain.resolution import Pools, RulePool
from imgsec.domain.witnesses import witness_of
from imgsec.errors import ImgsecError

_EXACT = "matchExact"
# Where the advisor knows images, and where Portieris knows a trust server; the likeliest first.
_AT_IBM = ("us.icr.io/*", "icr.io/*", "*.icr.io/*", "registry*.bluemix.net/*")
_WITH_TRUST = ("docker.io/*", "quay.io/*")
_ENDED = (".icr.io", ".bluemix.net")  # parts of the addresses of trust servers that are gone


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
            _tell_short_names(rule, becomes, source.policy.id.namespace, out)
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
        found = samples_of_change([Compared(namespace, was, becomes)])
        likely = (image for rule in was.rules for image in samples_of(rule.repository))
        for image in dict.fromkeys((*filter(can_be_pulled, likely), *found.images)):
            old, new = (Meaning(pool.resolve(image).rule, namespace) for pool in (was, becomes))
            _tell_image(image, old, new, engine, out)
        if found.left_out:
            where = f"in the namespace {namespace}" if namespace else "for the whole cluster"
            text = f"more rules {where} could share images than were compared with each other"
            out.note("not-compared", text)


def _tell_image(image: str, was: Meaning, becomes: Meaning, engine: Engine, out: Findings) -> None:
    old, new = was.effect, becomes.effect
    if old == new:
        return
    is_looser = direction_of(old, new) is Direction.LOOSER
    code = "meaning-loosened" if is_looser else "meaning-changed"
    text = f"{image}: {_said(was)} until now; {engine}: {_said(becomes)}"
    decides = was.rule or becomes.rule
    alike = "" if decides is None else f"{decides.owner} {decides.place} {code}"
    out.note(code, text, alike=alike)


@dataclass(frozen=True, slots=True)
class _Layers:
    """What becomes of each layer that a rule asks for.

    was: what it asked for until now. witness: an image that it decides about; at_ibm: one of IBM's
    registries, None where it decides about none. pool: the rules that there will be.
    """

    rule: PolicyRule
    was: Demand
    witness: str
    at_ibm: str | None
    pool: RulePool
    before: EarlierEngine
    after: Engine
    out: Findings

    def tell_advisor(self, *, by_va: bool, by_newer: bool) -> None:
        """by_va, by_newer: which of its switches the rule has, the older one's and Portieris's."""
        image = self.at_ibm or self.witness
        if by_va and not by_newer:
            text = "va becomes vulnerability.ICCRVA; CISE asked, open-source Portieris never did"
            self.out.note("advisor-moved", f"{image}: {text}, so there it is a new check")
        if by_va and self.was.trust is not None and self.before.is_cise:
            text = "CISE asked for trust first and stopped there; Portieris asks the advisor first"
            self.out.note("layers-reordered", f"{image}: {text}, and tells both")
        is_new = self.was.advisor is None
        if self.at_ibm is None or (is_new and not _is_at_ibm(self.witness)):
            text = "denied, the advisor knows IBM's registries only"
            self.out.note("advisor-denies", f"{self.witness}: {text}")
        if self.at_ibm is not None:
            text = "Portieris asks the advisor's API v3, which IBM has deprecated"
            self.out.note("advisor-deprecated", text)

    def tell_trust(self, trust: TrustDemand) -> None:
        image = self.at_ibm or self.witness
        name = _read(image)
        if name is not None and not trust.server and name.trust_server is None:
            known = " since 0.13.0" if name.is_at_ibm else ""
            text = f"denied, Portieris knows no trust server for {name.domain}{known}"
            self.out.note("trust-server-gone", f"{image}: {text}: name one, or demand a signature")
        elif _is_ended(trust.server):
            text = f"denied, IBM has ended the server {trust.server}"
            self.out.note("trust-server-gone", f"{image}: {text}")
        trusted = self._trusted(trust)
        if trusted is not None and self.before.is_cise and not trusted.is_at_ibm:
            text = f"denied until now, CISE knew no trust server for {trusted.domain}"
            said = f"{self.after}: {_said(Meaning(self.rule))}"
            self.out.note("meaning-loosened", f"{trusted.text}: {text}; {said}")
        if self.rule.demand.mutates and not self.after.skips_owned:
            text = f"its digest, which {self.after} looks at again, is looked up as the tag latest"
            self.out.note("digest-denied", f"{trusted.text if trusted else image}: {text}")

    def _trusted(self, trust: TrustDemand) -> EngineName | None:
        """An image that could be let in by its trust from now on."""
        images = (self.witness, self.at_ibm, _witness(self.rule, self.pool, _WITH_TRUST))
        for name in map(_read, filter(None, images)):
            if name is None or (self.rule.demand.advisor is not None and not name.is_at_ibm):
                continue
            server = trust.server or name.trust_server
            if server is not None and not _is_ended(server):
                return name
        return None

    def tell_digest(self) -> None:
        simple = self.rule.demand.simple
        requirements = simple.requirements if simple is not None else ()
        identities = [one.identity for one in requirements if one.kind == SIGNED]
        is_exact = any(one is not None and one.kind == _EXACT for one in identities)
        if is_exact and self.rule.demand.mutates and not self.after.skips_owned:
            text = f"its digest, which {self.after} looks at again, never meets {_EXACT}"
            self.out.note("digest-denied", f"{self.witness}: {text}")


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
    if why := denial_of(demand):
        out.note("never-passes", f"{witness}: always denied, {why}")
        return
    if demand.is_nothing:
        return
    at_ibm = witness if _is_at_ibm(witness) else _witness(rule, pool, _AT_IBM)
    was = source.read_by(before).rules[rule.place].demand
    layers = _Layers(rule, was, witness, at_ibm, pool, before, after, out)
    if demand.advisor is not None:
        by_va, by_newer = source.switches_of(rule)
        layers.tell_advisor(by_va=by_va, by_newer=by_newer)
    if demand.trust is not None:
        layers.tell_trust(demand.trust)
    layers.tell_digest()
    if demand.simple is not None:
        store = Store(demand.simple.store_url, demand.simple.store_secret)
        if store.flaw:
            out.note("store-without-tls", f"{witness}: {store.flaw}")


def _tell_short_names(rule: PolicyRule, pool: RulePool, namespace: str, out: Findings) -> None:
    """Texts are compared as they are written, by all engines."""
    witness = _witness(rule, pool)
    if witness is None or not witness.startswith("docker.io/"):
        return
    spelt = witness.removeprefix("docker.io/").removeprefix("library/")
    if not is_short(spelt):
        return
    decided, said = (Meaning(one, namespace) for one in (pool.resolve(spelt).rule, rule))
    if decided.effect != said.effect:
        text = f"{spelt}: {_said(decided)}, though it is {witness}, {_said(said)}"
        out.note("short-name", text)


def _tell_own_namespaces(pools: Pools, out: Findings) -> None:
    """A namespace with rules of its own is judged by none of the whole cluster's."""
    for namespace, own in pools.own.items():
        for rule in pools.cluster.rules:
            witness = _witness(rule, pools.cluster)
            if witness is None:
                continue
            wide, decided = (Meaning(one, namespace) for one in (rule, own.resolve(witness).rule))
            if decided.effect != wide.effect:
                text = f"{witness}: {_said(wide)}; in the namespace {namespace}: {_said(decided)}"
                out.note("own-policy", text)
                break


def _witness(rule: PolicyRule, pool: RulePool, within: Sequence[str] = ("",)) -> str | None:
    """An image that a rule of this name decides about; None where none is, or none was found.

    within: names of which it is to meet one; an empty one is met by all.
    """
    for name in within:
        try:
            found = witness_of(rule.repository, pool, within=name)
        except ImgsecError:
            continue
        if found is not None:
            return found
    return None


def _read(image: str) -> EngineName | None:
    try:
        return EngineName.parse(image)
    except (ValueError, Panic):
        return None


def _is_at_ibm(image: str) -> bool:
    name = _read(image)
    return name is not None and name.is_at_ibm


def _is_ended(server: str) -> bool:
    return any(part in server for part in _ENDED)


def _said(meaning: Meaning) -> str:
    rule, effect = meaning.rule, meaning.effect
    if rule is None:
        return "denied, no rule names it"
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
