# SPDX-License-Identifier: Apache-2.0
"""The intent for CISE: the older API with ``trust`` and ``va``, and the same in `config.yaml`.

`config.yaml` is how IBM's Multicloud Management took its cluster-wide rules:
``image-security-enforcement.clusterImagePolicy``, a list of names and policies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from imgsec.domain.engines import CISE, CISE_API
from imgsec.domain.hosts import is_icr_host
from imgsec.domain.intent_rendering.coherence import scopes_of
from imgsec.domain.intent_rendering.documents import cise_policy, policy_objects, repositories
from imgsec.domain.intent_rendering.holding import hold
from imgsec.domain.intent_rendering.portieris import check_trusted_names
from imgsec.domain.intent_rendering.rendered import Findings, PlainFile
from imgsec.domain.kubernetes import Document
from imgsec.domain.pattern_sets import samples_of
from imgsec.domain.policy_intent import IntentRule, PolicyIntent
from imgsec.domain.policy_rules import Demand
from imgsec.reasons import INTENT_INEXPRESSIBLE

CONFIG_FILE = "config.yaml"
CONFIG_CHART, CONFIG_LIST = "image-security-enforcement", "clusterImagePolicy"


def cise_documents(intents: Sequence[PolicyIntent], findings: Findings) -> tuple[Document, ...]:
    """The objects, held against the intent."""
    for intent in intents:
        for rule in intent.rules:
            _check_rule(rule, findings)
    documents = tuple(
        one for intent in intents for one in policy_objects(intent, CISE_API, cise_policy)
    )
    if not findings.reasons:  # what cannot be said would only be told a second time
        hold(documents, scopes_of(intents), CISE, findings, _always_mutating)
    findings.note(
        "cise-ended", "CISE was withdrawn in 2021: only clusters that never left it read this"
    )
    return documents


def config_files(intents: Sequence[PolicyIntent], findings: Findings) -> tuple[PlainFile, ...]:
    """The same cluster-wide rules in one list."""
    for intent in intents:
        if intent.namespaces:
            text = f"{intent.name} is for namespaces, and {CONFIG_FILE} for the whole cluster"
            findings.refuse(INTENT_INEXPRESSIBLE(text, hint="Render these with --for cise."))
    cise_documents(intents, findings)
    entries = [one for intent in intents for one in repositories(intent, cise_policy)]
    return (PlainFile(CONFIG_FILE, {CONFIG_CHART: {CONFIG_LIST: entries}}),)


def _always_mutating(demand: Demand) -> Demand:
    return replace(demand, mutates=True)


def _check_rule(rule: IntentRule, findings: Findings) -> None:
    named = ", ".join(one.text for one in rule.names)
    missing = {
        "it knows no signedBy: simple signing came later": bool(rule.signatures),
        "it can deny only what no rule names": bool(rule.denied),
        "it knows no mutateImage": not rule.mutates,
        "it asks the advisor for the account of the credential": bool(
            rule.advisor and rule.advisor.account
        ),
    }
    for text in (text for text, is_so in missing.items() if is_so):
        findings.blame(rule, INTENT_INEXPRESSIBLE, f"{named}: {text} (CISE)")
    check_trusted_names(rule, findings)
    if not (rule.trust or rule.advisor):
        return
    for name in rule.names:
        for sample in samples_of(name.text)[:1]:
            host = sample.partition("/")[0]
            if not is_icr_host(host) and not host.endswith(".bluemix.net"):
                text = f"{name.text}: CISE can check IBM's registries only, and denies others"
                findings.blame(rule, INTENT_INEXPRESSIBLE, text)
