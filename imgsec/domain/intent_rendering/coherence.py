# SPDX-License-Identifier: Apache-2.0
"""Whether an intent makes sense by itself, whichever engine is to read it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from imgsec.domain.engines import NEWEST
from imgsec.domain.hosts import is_icr_host
from imgsec.domain.intent_rendering.rendered import Findings
from imgsec.domain.pattern_sets import Effort, Read, covers, image_of
from imgsec.domain.policy_intent import (
    ImageNames,
    IntentRule,
    NameForm,
    PolicyIntent,
    all_names,
    is_of_platform,
)
from imgsec.domain.policy_rules import PolicyId, PolicyRule
from imgsec.domain.reference import shown
from imgsec.domain.resolution import RulePool
from imgsec.domain.wildcard import weight_of
from imgsec.reasons import INSECURE_ADDRESS, INTENT_CONTRADICTS, INTENT_EXPIRED

_PLACE = PolicyId("PolicyIntent", "")
_PLACES_MAX = 500_000  # ours; of names, that all searches look at together: some five seconds
_TIE_HINT = "Leave your rule out, so that the platform runs, or leave --allow-platform out."
Named = tuple[ImageNames, IntentRule]


@dataclass(frozen=True, slots=True)
class Scope:
    """Everything that is meant for one namespace; for the whole cluster where it has no name."""

    namespace: str
    named: tuple[Named, ...]
    _pool: RulePool

    @classmethod
    def of(cls, namespace: str, rules: Iterable[IntentRule]) -> Scope:
        named = tuple(all_names(rules))
        texts = (
            PolicyRule(name.text, rule.demand, _PLACE, place)
            for place, (name, rule) in enumerate(named)
        )
        return cls(namespace, named, RulePool(texts, NEWEST))

    def meant_for(self, image: str) -> tuple[Named, ...]:
        """The narrowest names that the image meets, with their rules."""
        met = self.met_by(image)
        return tuple(
            one for one in met if not any(_is_narrower(other[0].text, one[0].text) for other in met)
        )

    def met_by(self, image: str) -> tuple[Named, ...]:
        """All names that the image meets, with their rules; the heaviest first."""
        found = self._pool.resolve(image)
        return tuple(
            self.named[one.place] for one in (found.rule, *found.others) if one is not None
        )

    def __str__(self) -> str:
        return f"namespace {self.namespace}" if self.namespace else "the cluster"


def scopes_of(intents: Iterable[PolicyIntent]) -> tuple[Scope, ...]:
    """The whole cluster first, then the namespaces by name."""
    found: dict[str, list[IntentRule]] = {}
    for intent in intents:
        for namespace in intent.namespaces or ("",):
            found.setdefault(str(namespace), []).extend(intent.rules)
    return tuple(Scope.of(namespace, found[namespace]) for namespace in sorted(found))


def check_coherence(intents: Sequence[PolicyIntent], today: date, findings: Findings) -> None:
    """Contradictions, days that are over, and what a reader must know.

    Raises `ImgsecError` (invalid-pattern) for names that nobody can compare in a moment.
    """
    _check_names(intents, findings)
    for rule in dict.fromkeys(rule for intent in intents for rule in intent.rules):
        _check_end(rule, today, findings)
        _tell_store(rule, findings)
        for name in rule.names:
            if name.form is NameForm.WIDE:
                text = f"images that nobody meant can meet the name {name.text}"
                findings.note("wide-names", text, alike=rule.origin)
    scopes = scopes_of(intents)
    effort = Effort(_PLACES_MAX)
    for scope in scopes:
        _check_pairs(scope, findings, effort)
        if not scope.named:
            findings.note("denies-everything", f"no rule names an image for {scope}: all is denied")
        elif scope.namespace:
            text = f"{scope} is judged by its own rules alone, and by none of the whole cluster's"
            findings.note("own-policy", text)


def _check_names(intents: Sequence[PolicyIntent], findings: Findings) -> None:
    seen = set()
    for intent in intents:
        for namespace in intent.namespaces or ("",):
            place = (str(intent.name), str(namespace))
            if place in seen:
                text = (
                    f"two documents are called {shown(place[0])}, and one would replace the other"
                )
                findings.refuse(INTENT_CONTRADICTS(text, hint="Give each a name of its own."))
            seen.add(place)


def _check_end(rule: IntentRule, today: date, findings: Findings) -> None:
    until = rule.unchecked.until if rule.unchecked else None
    if until is None:
        return
    names = _listed(rule)
    if until < today:
        findings.refuse(INTENT_EXPIRED(f"{names}: {until} was the last day unchecked"))
    else:
        text = f"{names}: no engine ends it on {until}; render and apply again when it is over"
        findings.note("expiry-not-enforced", text)


def _tell_store(rule: IntentRule, findings: Findings) -> None:
    """What becomes of a store beside what the way to it and the registry do."""
    if rule.store is None:
        return
    if rule.store.shows_credentials:
        hint = "Give the store's https:// address, or leave secret out if it asks for none."
        findings.refuse(INSECURE_ADDRESS(rule.store.flaw, hint=hint))
    elif rule.store.flaw:
        findings.note("store-without-tls", rule.store.flaw)
    for name in rule.names:
        if is_icr_host(name.text.partition("/")[0].removeprefix("*.")):
            text = f"{name.text}: where a registry keeps signatures itself, as IBM's may"
            findings.note("store-passed-over", f"{text}, its own count and the store is not asked")


def _check_pairs(scope: Scope, findings: Findings, effort: Effort) -> None:
    """Where two rules differ, one must be the narrower one."""
    for one, other in _that_may_meet(scope):
        first, second = one[0].text, other[0].text
        inner = _is_narrower(first, second), _is_narrower(second, first)
        if inner[0] or inner[1]:
            _check_exception(*((one, other) if inner[0] else (other, one)), scope, findings)
        elif covers(first, second):
            text = f"{first} and {second} name the same images"
            _contradict(one, other, text, scope, findings)
        elif (witness := _unsettled(first, second, scope, effort)) is not None:
            text = f"both {first} and {second} name {witness}, and neither is the narrower one"
            _contradict(one, other, text, scope, findings)


def _that_may_meet(scope: Scope) -> Iterator[tuple[Named, Named]]:
    """Pairs of different demands of which one begins as the other does, up to the first star."""
    asked = [
        (name.text.partition("*")[0], place, rule.demand)
        for place, (name, rule) in enumerate(scope.named)
    ]
    asked.sort(key=lambda one: one[:2])
    for at, (begin, place, demand) in enumerate(asked):
        for other_begin, other_place, other_demand in itertools.islice(asked, at + 1, None):
            if not other_begin.startswith(begin):
                break
            if demand != other_demand:
                first, second = sorted((place, other_place))
                yield scope.named[first], scope.named[second]


def _check_exception(inner: Named, outer: Named, scope: Scope, findings: Findings) -> None:
    """What is built in takes nothing away from what the user demands, unless it is a platform."""
    if not inner[1].origin or outer[1].origin or outer[1].unchecked is not None:
        return
    text = f"{inner[1].origin} takes {inner[0].text} out of {outer[0].text}{_within(scope)}"
    if is_of_platform(inner[1]):
        text = f"{text}: unchecked, so that the platform runs"
        findings.note("platform-exception", text, alike=f"{inner[1].origin}{_within(scope)}")
    elif inner[1].unchecked is not None:
        hint = "Say so in the intent, with a reason, or leave the set out."
        findings.refuse(INTENT_CONTRADICTS(f"{text}, which is to be checked", hint=hint))


def _within(scope: Scope) -> str:
    return f", in {scope}" if scope.namespace else ""


def _contradict(first: Named, second: Named, text: str, scope: Scope, findings: Findings) -> None:
    one, other = first[1], second[1]
    text += _within(scope)
    is_tie = weight_of(first[0].text) == weight_of(second[0].text)
    if one.origin and other.origin and is_tie:
        findings.note(INTENT_CONTRADICTS.code, f"{one.origin}, {other.origin}: {text}")
    elif is_of_platform(one) or is_of_platform(other):
        if is_tie:
            text = f"{text}: the engine takes the one whose object's name comes first"
            findings.refuse(INTENT_CONTRADICTS(text, hint=_TIE_HINT))
            return
        text = f"{text}: the engine takes the one with the longer text"
        findings.note(
            "platform-exception", text, alike=f"{one.origin}{other.origin}{_within(scope)}"
        )
    elif one.origin and other.origin:
        findings.note(INTENT_CONTRADICTS.code, f"{one.origin}, {other.origin}: {text}")
    else:
        findings.refuse(INTENT_CONTRADICTS(text))


def _unsettled(first: str, second: str, scope: Scope, effort: Effort) -> str | None:
    """An image that both name, and no rule that is narrower than both."""
    if image_of((Read(first), Read(second)), effort=effort) is None:
        return None
    narrower = {
        name.text
        for name, _ in scope.named
        if _is_narrower(name.text, first) and _is_narrower(name.text, second)
    }
    unwanted = [Read(one) for one in sorted(narrower)]
    return image_of((Read(first), Read(second)), unwanted, effort)


def _is_narrower(inner: str, outer: str) -> bool:
    return inner != outer and covers(outer, inner) and not covers(inner, outer)


def _listed(rule: IntentRule) -> str:
    return ", ".join(one.text for one in rule.names)
