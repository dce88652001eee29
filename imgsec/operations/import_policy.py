# SPDX-License-Identifier: Apache-2.0
"""Take over policies of older engines: as Portieris's v1, as an intent, or as both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from imgsec.domain.engines import CISE, Engine
from imgsec.domain.intent_rendering import Target, render_intents
from imgsec.domain.intent_rendering.rendered import Findings
from imgsec.domain.kubernetes import Document
from imgsec.domain.policy_import.as_intent import intents_of
from imgsec.domain.policy_import.earlier import EarlierEngine, SimpleForm
from imgsec.domain.policy_import.meaning import tell_changes, tell_other_decisions
from imgsec.domain.policy_import.source import Source, config_documents, read_source
from imgsec.domain.policy_intent import PolicyIntent
from imgsec.domain.policy_rules import Policy, is_policy
from imgsec.domain.reference import shown
from imgsec.domain.verdict import Note
from imgsec.errors import ImgsecError
from imgsec.ports import FoundDocument
from imgsec.reasons import INPUT_MALFORMED, POLICY_UNTRANSLATED, Reason

_LAST_OLDER = "0.9"  # Portieris, the last that read the older API
_WITH_BARE_LIST = "0.6.0"  # the only one that read a bare list of requirements


@dataclass(frozen=True, slots=True)
class ImportRules:
    """How to take over. before: the engine until now, None for the one that its API says.

    after: the engine from now on. namespace: for ImagePolicies that name none. as_intent: whether
    an intent is made of them.
    """

    before: EarlierEngine | None
    after: Engine
    namespace: str
    as_intent: bool
    today: date


@dataclass(frozen=True, slots=True)
class ImportedPolicies:
    """What came of it. With a reason, nothing of it may be written."""

    documents: tuple[Document, ...]
    intents: tuple[PolicyIntent, ...]
    reasons: tuple[Reason, ...]
    notes: tuple[Note, ...]


def import_policies(found: Iterable[FoundDocument], rules: ImportRules) -> ImportedPolicies:
    """Raises `ImgsecError` (policy-foreign, policy-malformed, input-malformed, invalid-name)."""
    findings = Findings()
    sources = _sources(found, rules, findings)
    policies = [one.translated for one in sources]
    if sources and not findings.reasons:
        _tell_changes(sources, policies, rules, findings)
    intents = intents_of(sources, findings) if rules.as_intent else ()
    if rules.as_intent and not findings.reasons:
        _hold_intents(intents, policies, rules, findings)
    documents = tuple(one.document for one in sources)
    return ImportedPolicies(documents, intents, findings.reasons, findings.notes)


def _tell_changes(
    sources: Sequence[Source], policies: Sequence[Policy], rules: ImportRules, findings: Findings
) -> None:
    """Each by the engine of its API, where nobody said by which."""
    if rules.before is not None:
        tell_changes(sources, policies, rules.before, rules.after, findings)
        return
    older = [one for one in sources if one.is_older]
    before = _assumed(older, findings)
    newer = [one for one in sources if not one.is_older]
    for some, engine in ((older, before), (newer, EarlierEngine.of(rules.after))):
        if some:
            tell_changes(some, policies, engine, rules.after, findings)


def _assumed(older: Sequence[Source], findings: Findings) -> EarlierEngine:
    """What most likely read these policies of the older API until now."""
    cise = EarlierEngine.of(CISE)
    if not any(one.is_beyond_cise for one in older):
        return cise
    forms = {form for one in older for form in one.simple}
    if len(forms) > 1:
        text = "no Portieris read simple both as a list and as an object, so it is taken for cise's"
        findings.note("engine-assumed", f"{text}, which passed both over")
        return cise
    before = EarlierEngine.parse(_WITH_BARE_LIST if SimpleForm.LIST in forms else _LAST_OLDER)
    text = f"CISE never read all that stands there, so it is taken for {before}'s"
    findings.note("engine-assumed", f"{text}: say --from cise if that is what ran")
    return before


def _sources(
    found: Iterable[FoundDocument], rules: ImportRules, findings: Findings
) -> list[Source]:
    sources: list[Source] = []
    passed_over = 0
    is_any = False
    for one in found:
        documents = config_documents(one.content, one.where, findings)
        if not documents and is_policy(one.content):
            documents = [one.content]
        passed_over += not documents
        for document in documents:
            is_any = True
            source = read_source(document, one.where, rules.namespace, findings)
            if source is not None:
                sources.append(source)
    if passed_over:
        text = f"{passed_over} documents that are no policies stay where they are"
        findings.note("passed-over", text)
    if not is_any:
        raise ImgsecError(INPUT_MALFORMED("there is no policy in what was given"))
    _require_once(sources, findings)
    return sources


def _require_once(sources: Sequence[Source], findings: Findings) -> None:
    seen: dict[object, Source] = {}
    for source in sources:
        first = seen.setdefault(source.policy.id, source)
        if first is not source:
            text = f"{source.policy.id} stands in {shown(first.policy.where)} and in"
            findings.refuse(POLICY_UNTRANSLATED(f"{text} {shown(source.policy.where)}"))


def _hold_intents(
    intents: Sequence[PolicyIntent],
    policies: Sequence[Policy],
    rules: ImportRules,
    findings: Findings,
) -> None:
    """What publish-policy would say to the intent, and where it decides otherwise."""
    rendered = render_intents(intents, Target.PORTIERIS, rules.today, rules.after)
    for reason in rendered.reasons:
        findings.note("publish-would-refuse", f"{reason.code}: {reason.text}")
    made = [Policy.read(one) for one in rendered.documents]
    tell_other_decisions(policies, made, rules.after, findings)
