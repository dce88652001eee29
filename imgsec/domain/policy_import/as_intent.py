# SPDX-License-Identifier: Apache-2.0
"""A policy as an intent: its rules in its order, with what an intent asks for besides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from imgsec.domain.intent_file import intent_document, parse_intent
from imgsec.domain.intent_rendering.rendered import Findings
from imgsec.domain.policy import Namespace, ObjectName
from imgsec.domain.policy_import.source import Source
from imgsec.domain.policy_intent import (
    ImageNames,
    IntentKey,
    IntentRule,
    NameForm,
    PolicyIntent,
    RequiredSignature,
    Store,
    Unchecked,
    form_of,
    is_tag_alone,
)
from imgsec.domain.policy_rules import Demand, PolicyRule, Requirement
from imgsec.domain.reference import ImageReference
from imgsec.errors import ImgsecError
from imgsec.reasons import POLICY_UNTRANSLATED

_SIGNED, _REJECT = "signedBy", "reject"


class _Untold(Exception):
    """An intent has no words for it."""


def intents_of(sources: Iterable[Source], findings: Findings) -> tuple[PolicyIntent, ...]:
    """One document for each policy; what an intent cannot say is a reason."""
    found = []
    for source in sources:
        intent = _intent(source, findings)
        if intent is not None:
            found.append(intent)
    return tuple(found)


def _intent(source: Source, findings: Findings) -> PolicyIntent | None:
    policy = source.translated
    rules: list[IntentRule] = []
    keys: dict[tuple[str, str], IntentKey] = {}
    is_whole = True
    for rule in policy.rules:
        if _is_digest_twin(rule, policy.rules):
            continue
        try:
            made = _rule(rule, keys)
        except (_Untold, ImgsecError, ValueError) as error:
            why = error.reason.text if isinstance(error, ImgsecError) else str(error)
            text = f"{policy.id}, {rule.repository!r}: {why}"
            findings.refuse(POLICY_UNTRANSLATED(text))
            is_whole = False
            continue
        if made.unchecked is not None:
            text = f"{rule.repository}: the policy gives no reason; write why it is unchecked"
            findings.note("reason-missing", text, alike=str(policy.id))
        if rules and replace(rules[-1], names=made.names) == made:
            made = replace(made, names=(*rules.pop().names, *made.names))
        rules.append(made)
    if not is_whole:
        return None
    namespaces = (Namespace.parse(policy.id.namespace),) if policy.id.namespace else ()
    intent = PolicyIntent(tuple(rules), ObjectName.parse(policy.id.name), namespaces)
    try:
        return parse_intent(intent_document(intent))  # as strict as a file is
    except (ImgsecError, ValueError) as error:
        why = error.reason.text if isinstance(error, ImgsecError) else str(error)
        findings.refuse(POLICY_UNTRANSLATED(f"{policy.id}: {why}"))
        return None


def _is_digest_twin(rule: PolicyRule, rules: Sequence[PolicyRule]) -> bool:
    """Whether it is there for the digests of another, which an intent's name has by itself.

    No name has what is behind a tag that is let through.
    """
    name = rule.repository.removesuffix("@*")
    if name == rule.repository or (rule.demand.is_nothing and is_tag_alone(ImageNames(name))):
        return False
    return any(one.repository == name and one.demand == rule.demand for one in rules)


def _rule(rule: PolicyRule, keys: dict[tuple[str, str], IntentKey]) -> IntentRule:
    demand = rule.demand
    names = (_name(rule.repository),)
    if demand.is_nothing:
        reason = f"taken over from {rule.owner}, which gives no reason"
        return IntentRule(names, unchecked=Unchecked(reason))
    kinds = {one.kind for one in demand.simple.requirements} if demand.simple else set()
    if kinds == {_REJECT} and demand.trust is None and demand.advisor is None:
        return IntentRule(names, denied=f"taken over from {rule.owner}, which gives no reason")
    if kinds - {_SIGNED}:
        raise _Untold(f"an intent has no words for {', '.join(sorted(kinds - {_SIGNED}))}")
    return IntentRule(
        names,
        _signatures(demand, keys),
        _store(demand),
        demand.trust,
        demand.advisor,
        mutates=demand.mutates,
    )


def _name(text: str) -> ImageNames:
    if "@" in text:
        try:
            return ImageNames(str(ImageReference.parse(text)), NameForm.EXACT)
        except ImgsecError:
            return ImageNames(text, NameForm.WIDE)
    return ImageNames(text, form_of(text))


def _store(demand: Demand) -> Store | None:
    simple = demand.simple
    if simple is None or not simple.store_url:
        if simple is not None and simple.store_secret:
            raise _Untold("a storeSecret without a storeURL is read by nobody; take it out")
        return None
    return Store(simple.store_url, simple.store_secret)


def _signatures(
    demand: Demand, keys: dict[tuple[str, str], IntentKey]
) -> tuple[RequiredSignature, ...]:
    if demand.simple is None:
        return ()
    return tuple(
        RequiredSignature(
            _key(one, keys), one.identity if one.identity and one.identity.kind else None
        )
        for one in demand.simple.requirements
    )


def _key(one: Requirement, keys: dict[tuple[str, str], IntentKey]) -> IntentKey:
    if not one.key_secret:
        raise _Untold("a signedBy without a keySecret denies everything")
    place = (one.key_namespace, one.key_secret)
    if place not in keys:
        taken = {key.name for key in keys.values()}
        name = one.key_secret[:63]
        if name in taken:
            name = f"{len(keys)}-{name}"[:63]
        keys[place] = IntentKey(name, one.key_secret, one.key_namespace)
    return keys[place]
