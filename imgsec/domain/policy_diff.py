# SPDX-License-Identifier: Apache-2.0
"""Two sets of policies compared in meaning: which images are decided otherwise, and how.

An image's meaning is what happens to its text: denied for want of a rule, let through unseen, or
held against a demand. Where no images are given, the rules themselves tell which to try
(`imgsec.domain.diff_samples`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imgsec.domain.demand_effect import (
    Direction,
    denial_by_host,
    denial_of,
    direction_of,
    effect_of,
)
from imgsec.domain.engines import Engine
from imgsec.domain.hosts import shown_address
from imgsec.domain.policy_rules import (
    Demand,
    PolicyRule,
    Requirement,
    SignedIdentity,
    SimpleDemand,
    TrustDemand,
)
from imgsec.domain.reference import shown
from imgsec.domain.resolution import Pools, RulePool


@dataclass(frozen=True, slots=True)
class Meaning:
    """What happens to an image's text. rule: None where none names it, and it is denied.

    namespace: of the workload that runs it; empty for any without an ImagePolicy. denial: why the
    rule denies the image for its host; empty where it does not, or nobody knows the host.
    """

    rule: PolicyRule | None
    namespace: str = ""
    denial: str = ""

    @property
    def effect(self) -> Demand | None:
        """What is asked, without what changes nothing; None for an image that is denied anyway."""
        if self.denial:
            return None
        return effect_of(self.rule.demand, self.namespace) if self.rule else None

    @property
    def clause(self) -> str:
        """As it follows "which"."""
        effect = self.effect
        is_needed = effect is not None and not effect.is_nothing
        return str(self) if is_needed else f"is {self}"

    def __str__(self) -> str:
        """As a sentence can name it."""
        if self.rule is None:
            return "denied: no rule names it"
        by_host = f"denied: {self.denial}" if self.denial else ""
        asked = by_host or demand_text(self.rule.demand, self.namespace)
        return f"{asked}, by {self.rule.owner} {shown(self.rule.repository)}"


@dataclass(frozen=True, slots=True)
class MeaningChange:
    """One image whose meaning changes. namespace: empty for all without an ImagePolicy."""

    image: str
    namespace: str
    before: Meaning
    after: Meaning

    @property
    def direction(self) -> Direction:
        return direction_of(self.before.effect, self.after.effect)


def compare_meanings(
    before: Pools,
    after: Pools,
    images: Iterable[str],
    namespaces: Iterable[str],
    *,
    are_samples: bool = False,
) -> tuple[MeaningChange, ...]:
    """The images that mean something else now, in each of these namespaces.

    are_samples: whether an image stands for all that its two rules share; that its own host is
    denied counts only where they have no other.
    """
    found = []
    places = tuple(dict.fromkeys(namespaces))
    for image in dict.fromkeys(images):
        for namespace in places:
            pools = before.of_namespace(namespace), after.of_namespace(namespace)
            rules = [pool.resolve(image).rule for pool in pools]
            is_known = not are_samples or any(rule and _says_host(rule) for rule in rules)
            old, new = (
                Meaning(rule, namespace, _denial_by_host(rule, image, pool) if is_known else "")
                for rule, pool in zip(rules, pools, strict=True)
            )
            if old.effect != new.effect:
                found.append(MeaningChange(image, namespace, old, new))
    return tuple(found)


def _says_host(rule: PolicyRule) -> bool:
    """Whether all its images have one host."""
    host, slash, _ = rule.repository.partition("/")
    return bool(slash) and "*" not in host


def _denial_by_host(rule: PolicyRule | None, image: str, pool: RulePool) -> str:
    """Why the engine denies an image of this host, whatever is known of it; empty for any other."""
    if rule is None or denial_of(rule.demand):
        return ""
    return denial_by_host(rule.demand, image, pool.engine)


def places_of(*sides: Pools) -> tuple[str, ...]:
    """Where policies can differ: namespaces with an ImagePolicy, and all others together."""
    return ("", *sorted({name for pools in sides for name in pools.own}))


def demand_text(demand: Demand, namespace: str = "") -> str:
    """What a rule asks for, in words that need no knowledge of the engine.

    namespace: the workload's.

    >>> demand_text(Demand())
    'let through unchecked'
    """
    effect = effect_of(demand, namespace)
    if effect is None:
        return f"denied: {denial_of(demand)}"
    return _effect_text(effect)


def _effect_text(demand: Demand) -> str:
    if demand.is_nothing:
        return "let through unchecked"
    wanted = []
    if demand.simple is not None:
        wanted += [_requirement_text(one) for one in demand.simple.requirements]
        if store := _store_text(demand.simple):
            wanted[-1] += f" ({store})"
    if demand.trust is not None:
        wanted.append(_trust_text(demand.trust))
    if demand.advisor is not None:
        account = demand.advisor.account
        whose = f" for the account {shown(account)}" if account else ""
        wanted.append(f"a clean report of Vulnerability Advisor{whose}")
    kept = "" if demand.mutates else ", and stays as it is written"
    return f"needs {' and '.join(wanted)}{kept}"


def _store_text(simple: SimpleDemand) -> str:
    told = [f"signatures from {shown_address(simple.store_url)}"] if simple.store_url else []
    if simple.store_secret:
        told.append(f"with the Secret {shown(simple.store_secret)}")
    return " ".join(told)


def _trust_text(trust: TrustDemand) -> str:
    server = f" at {shown_address(trust.server)}" if trust.server else ""
    names = ", ".join(shown(name) for name in trust.signer_secrets)
    signers = f" by the signers in {names}" if names else ""
    return f"Docker Content Trust{server}{signers}"


def _requirement_text(requirement: Requirement) -> str:
    if requirement.kind != "signedBy":
        return "to be there, unsigned or not"
    where = "/".join(filter(None, (requirement.key_namespace, requirement.key_secret)))
    return f"a signature by the key in {shown(where)}{_identity_text(requirement.identity)}"


def _identity_text(identity: SignedIdentity | None) -> str:
    if identity is None or not identity.kind:
        return ""
    named = "".join(f" {shown(one)}" for one in (identity.reference, identity.repository) if one)
    if identity.prefix or identity.signed_prefix:
        named += f" {shown(identity.prefix)} as {shown(identity.signed_prefix)}"
    return f" for {identity.kind}{named}"


def engines_differ(before: Engine, after: Engine) -> Sequence[str]:
    """What another engine alone would change, in words."""
    told = []
    if before.splits_hosts != after.splits_hosts:
        told.append("how hosts are compared")
    if before.covers_digests != after.covers_digests:
        told.append("whether a name without a tag covers digests")
    if before.skips_owned != after.skips_owned:
        told.append("whether pods of controllers are checked")
    if before.skips_unreplicated != after.skips_unreplicated:
        told.append("whether what wants no replicas is checked")
    if before.layers != after.layers:
        told.append("the order of the layers")
    return told
