# SPDX-License-Identifier: Apache-2.0
"""The intent for Portieris: ClusterImagePolicy and ImagePolicy of `portieris.cloud.ibm.com/v1`."""

from __future__ import annotations

from collections.abc import Sequence

from imgsec.domain.engine_name import EngineName, Panic
from imgsec.domain.engines import Engine
from imgsec.domain.intent_rendering.coherence import Scope, scopes_of
from imgsec.domain.intent_rendering.documents import policy_objects, portieris_policy
from imgsec.domain.intent_rendering.holding import hold
from imgsec.domain.intent_rendering.rendered import Findings
from imgsec.domain.kubernetes import PORTIERIS_API, Document
from imgsec.domain.pattern_sets import Read, covers, may_share, samples_of
from imgsec.domain.policy import ANY_DIGEST, any_digest_text
from imgsec.domain.policy_intent import (
    ImageNames,
    IntentRule,
    PolicyIntent,
    has_tag_and_digest,
    is_digest_alone,
    is_tag_alone,
)
from imgsec.domain.reference import names_tags
from imgsec.domain.wildcard import weight_of
from imgsec.reasons import INTENT_INEXPRESSIBLE

_KEEPS_TAGS = "Say mutateImage: false, which keeps the tag and checks all the same."
_FOR_CISE_ONLY = (
    "Render it with --for cise; for Portieris begin with --set portieris-iks, and say signedBy."
)
_TAGS_ONLY = "matchExact"


def portieris_documents(
    intents: Sequence[PolicyIntent], engine: Engine, findings: Findings
) -> tuple[Document, ...]:
    """The objects, held against the intent."""
    for intent in intents:
        for rule in intent.rules:
            _check_rule(rule, engine, findings)
            if not intent.namespaces:
                _tell_secrets(rule, findings)
    scopes = scopes_of(intents)
    for scope in scopes:
        _tell_digests(scope, engine, findings)
    documents = tuple(
        one for intent in intents for one in policy_objects(intent, PORTIERIS_API, portieris_policy)
    )
    hold(documents, scopes, engine, findings)
    return documents


def _check_rule(rule: IntentRule, engine: Engine, findings: Findings) -> None:
    named = ", ".join(one.text for one in rule.names)

    def blame(text: str, hint: str | None = None) -> None:
        findings.blame(rule, INTENT_INEXPRESSIBLE, f"{named}: {text}", hint)

    if rule.signatures and rule.trust:
        blame(
            "Portieris denies every image of a rule with signedBy and trust",
            "Let one of the two go: the engine compares them wrongly, in all versions.",
        )
    for one in rule.signatures:
        if not one.key.secret:
            blame(f"the key {one.key.name} is in no Secret", "Add secret: NAMESPACE/NAME to it.")
    for name in rule.names if rule.signatures else ():
        if has_tag_and_digest(name):
            blame(
                f"signatures of {name.text} are looked for by nobody, as it has tag and digest",
                "Leave the tag out: the digest says which image it is.",
            )
    check_trusted_names(rule, findings)
    _check_digests(rule, engine, named, findings)
    _check_switches(rule, findings)


def _tell_digests(scope: Scope, engine: Engine, findings: Findings) -> None:
    """What is let through by its tag, and so with any digest that nobody said."""
    asking = [
        (text.partition("*")[0], Read(text, engine))
        for name, rule in scope.named
        if rule.unchecked is None
        for text in name.rule_names
    ]
    for name, rule in scope.named:
        if rule.unchecked is None or not names_tags(name.text):
            continue
        is_met_by_any = engine.covers_digests or not is_tag_alone(name)
        if is_met_by_any and not _is_let_through_anyway(name, scope, asking, engine):
            findings.note(ANY_DIGEST, any_digest_text(name.text, engine))


def _is_let_through_anyway(
    name: ImageNames, scope: Scope, asking: Sequence[tuple[str, Read]], engine: Engine
) -> bool:
    """Whether a wider name lets through whatever has the tag, and none between asks for more.

    asking: the names that ask for something, each behind what it has before its first star.
    """
    image = next((one for one in samples_of(name.text) if "@" in one), None)
    wider = [
        weight_of(other.text)
        for other, rule in (scope.met_by(image) if image is not None else ())
        if rule.unchecked is not None
        and not names_tags(other.text)
        and covers(other.text, name.text)
    ]
    if not wider:
        return False
    tagged, begin, floor = Read(name.text, engine), name.text.partition("*")[0], max(wider)
    return not any(
        may_share(tagged, other) and weight_of(other.name) >= floor
        for head, other in asking
        if begin.startswith(head) or head.startswith(begin)
    )


def _check_digests(rule: IntentRule, engine: Engine, named: str, findings: Findings) -> None:
    """What was demanded of a tag cannot be met by the digest that the engine puts in its place."""
    if not rule.mutates:
        return
    exact = any(one.identity and one.identity.kind == _TAGS_ONLY for one in rule.signatures)
    troubles = {
        "matchExact is met by no image that is named by its digest": exact,
        "content trust looks for the tag latest of an image that is named by its digest": bool(
            rule.trust
        ),
    }
    for text in (text for text, is_so in troubles.items() if is_so):
        whole = f"{named}: {text}, as {engine} names it in the pods"
        if engine.skips_owned:
            findings.note("digest-undecided", f"{whole}; it does not look at most pods")
        else:
            findings.blame(rule, INTENT_INEXPRESSIBLE, whole, _KEEPS_TAGS)


def check_trusted_names(rule: IntentRule, findings: Findings) -> None:
    """Content trust is found by a tag, for which it takes latest where there is none."""
    for name in rule.names if rule.trust else ():
        if is_digest_alone(name):
            text = f"{name.text}: content trust looks for its tag latest, and not for this digest"
            hint = "Name the tag that was signed; it may stand before the digest."
            findings.blame(rule, INTENT_INEXPRESSIBLE, text, hint)


def _check_switches(rule: IntentRule, findings: Findings) -> None:
    """Whether there is anybody to ask about trust and vulnerabilities, for these images."""
    if rule.origin and rule.advisor and rule.trust and not rule.trust.server:
        named = ", ".join(one.text for one in rule.names)
        text = (
            f"{rule.origin}: {named}: Portieris would deny every image: the advisor knows IBM's"
            " registries only, and no trust server is known for them"
        )
        findings.refuse(INTENT_INEXPRESSIBLE(text, hint=_FOR_CISE_ONLY))
        return
    for name in rule.names:
        read = [_read(one) for one in samples_of(name.text)[:1]]
        for image in (one for one in read if one is not None):
            if rule.advisor is not None and not image.is_at_ibm:
                text = f"{name.text}: the advisor knows IBM's registries only, and denies others"
                findings.blame(rule, INTENT_INEXPRESSIBLE, text)
            if rule.trust is not None and not (rule.trust.server or image.trust_server):
                text = f"{name.text}: no trust server is known for {image.domain}, so all is denied"
                findings.blame(rule, INTENT_INEXPRESSIBLE, text, "Name it: trust.server.")


def _read(image: str) -> EngineName | None:
    try:
        return EngineName.parse(image)
    except (ValueError, Panic):
        return None


def _tell_secrets(rule: IntentRule, findings: Findings) -> None:
    """Secrets that every namespace must have, and whose editors decide."""
    for one in rule.signatures:
        if one.key.secret and not one.key.namespace:
            text = f"the Secret {one.key.secret} of each pod's own namespace says which key counts"
            findings.note("key-of-each-namespace", f"{text}: whoever edits it there chooses")
    beside = [rule.store.secret] if rule.store and rule.store.secret else []
    beside += rule.trust.signer_secrets if rule.trust else ()
    for name in beside:
        findings.note("secret-of-each-namespace", f"the Secret {name} must be in each namespace")
