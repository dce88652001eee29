# SPDX-License-Identifier: Apache-2.0
"""A policy as it is taken over: of v1, of v1beta1 in all its eras, or a list in `config.yaml`.

v1beta1 had no schema. CISE took ``trust`` and ``va``; Portieris up to 0.9 took ``simple`` and
``vulnerability`` besides, and 0.6.0 a bare list of requirements as ``simple``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imgsec.domain.engines import CISE_API, PORTIERIS_API
from imgsec.domain.intent_rendering.cise import CONFIG_CHART, CONFIG_LIST
from imgsec.domain.intent_rendering.rendered import Findings
from imgsec.domain.kubernetes import MANAGED_BY, Document
from imgsec.domain.policy import Namespace, ObjectName
from imgsec.domain.policy_fields import (
    CISE_FIELDS,
    OLDER_FIELDS,
    PORTIERIS_FIELDS,
    FieldFlaw,
    FlawKind,
    flaws_of,
    path_text,
    pruned,
)
from imgsec.domain.policy_import.earlier import EarlierEngine, SimpleForm
from imgsec.domain.policy_rules import CLUSTER_KIND, Policy, PolicyRule, require_known_api
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_MALFORMED, POLICY_FOREIGN, POLICY_MALFORMED, POLICY_UNTRANSLATED

CONFIG_NAME = CONFIG_CHART  # of the object that its list becomes
_OURS = ("name", "namespace", "labels", "annotations")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_FIELDS = {PORTIERIS_API: PORTIERIS_FIELDS, CISE_API: OLDER_FIELDS}


@dataclass(frozen=True, slots=True)
class Source:
    """One policy, understood. policy: all that stands there, whoever read it; document: the same as
    v1 says it. original: the document that was given. simple: how that is written in it.
    """

    policy: Policy
    document: Document
    original: Document
    simple: frozenset[SimpleForm] = frozenset()

    @property
    def is_older(self) -> bool:
        return self.policy.api == CISE_API

    @property
    def is_beyond_cise(self) -> bool:
        """Whether it has what CISE never read."""
        return self.is_older and any(
            flaw.kind is FlawKind.UNKNOWN for flaw in flaws_of(self.original, CISE_FIELDS)
        )

    def read_by(self, engine: EarlierEngine) -> Policy:
        """What an engine of its API took of it.

        Raises `ImgsecError` (policy-foreign), for what it could not read, too.
        """
        policy = self.policy
        if policy.api != engine.api:
            text = f"{shown(policy.where)}: {policy.id} is of the API {policy.api}"
            hint = f"{engine} reads {engine.api}: give --from another engine."
            raise ImgsecError(POLICY_FOREIGN(f"{text}, which {engine} never read", hint=hint))
        if engine.simple is not None and (others := self.simple - {engine.simple}):
            text = f"{shown(policy.where)}: {policy.id} has {' and '.join(others)} as simple"
            hint = "0.6.0 read a bare list, 0.7 to 0.9 an object, and cise passed simple over."
            raise ImgsecError(POLICY_FOREIGN(f"{text}, which {engine} could not read", hint=hint))
        taken = pruned(self.original, engine.fields)
        namespace = policy.id.namespace
        return Policy.read(taken, namespace=namespace, where=policy.where, fields=engine.fields)

    def switches_of(self, rule: PolicyRule) -> tuple[bool, bool]:
        """Whether one of its rules asks for the advisor by ``va``, and by ``vulnerability``."""
        written = _entries(self.original)[rule.place].get("policy") or {}
        newer = (written.get("vulnerability") or {}).get("ICCRVA") or {}
        return bool((written.get("va") or {}).get("enabled")), bool(newer.get("enabled"))

    @property
    def translated(self) -> Policy:
        """What the v1 document demands."""
        return Policy.read(self.document, where=self.policy.where)


def config_documents(content: object, where: str, findings: Findings) -> list[Document]:
    """The policy in a `config.yaml`; none in what is no such file.

    Raises `ImgsecError` (input-malformed).
    """
    if not isinstance(content, Mapping) or CONFIG_CHART not in content:
        return []
    chart = content[CONFIG_CHART] or {}
    entries = chart.get(CONFIG_LIST) if isinstance(chart, Mapping) else None
    if not isinstance(entries, list) or not entries:
        what = "has no rules" if entries == [] else "is no list of rules"
        text = f"{shown(where)}: {CONFIG_CHART}.{CONFIG_LIST} {what}"
        raise ImgsecError(INPUT_MALFORMED(text))
    others = [*(key for key in content if key != CONFIG_CHART)]
    others += [f"{CONFIG_CHART}.{key}" for key in chart if key != CONFIG_LIST]
    if others:
        named = ", ".join(map(str, others[:5])) + (", ..." if len(others) > 5 else "")
        findings.note("passed-over", f"{shown(where)}: {named} say nothing of images")
    document = {
        "apiVersion": CISE_API,
        "kind": CLUSTER_KIND,
        "metadata": {"name": CONFIG_NAME},
        "spec": {"repositories": entries},
    }
    return [document]


def read_source(
    document: Document, where: str, namespace: str, findings: Findings
) -> Source | None:
    """None where something of it cannot be taken over, which is a reason then.

    namespace: for an ImagePolicy that names none. Raises `ImgsecError` (policy-foreign,
    policy-malformed).
    """
    api = require_known_api(document, where)
    told = copy.deepcopy(document)
    metadata = told.get("metadata")
    title = f"{told['kind']} {metadata.get('name') if isinstance(metadata, dict) else ''}"
    simple = _tell_lists(told, title, findings) if api == CISE_API else frozenset()
    flaws = list(flaws_of(told, _FIELDS[api]))
    for flaw in flaws:
        findings.refuse(_untranslated(flaw, api, f"{shown(where)}: {title}"))
    if flaws:
        return None
    original = copy.deepcopy(told)
    policy = Policy.read(told, namespace=namespace, where=where, fields=_FIELDS[api])
    ObjectName.parse(policy.id.name)
    if policy.id.kind != CLUSTER_KIND:
        if not policy.id.namespace:
            text = f"{shown(where)}: {title} is for no namespace: say --namespace NAME"
            raise ImgsecError(INPUT_MALFORMED(text))
        Namespace.parse(policy.id.namespace)
    if api == CISE_API and not _move_advisor(told, title, findings):
        return None
    return Source(policy, _as_ours(told, policy, title, findings), original, simple)


def _tell_lists(document: Document, title: str, findings: Findings) -> frozenset[SimpleForm]:
    """``simple`` as 0.6.0 had it, without a store, becomes an object; how it was written."""
    forms = set()
    for place, entry in enumerate(_entries(document)):
        policy = entry.get("policy") if isinstance(entry, dict) else None
        simple = policy.get("simple") if isinstance(policy, dict) else None
        if isinstance(simple, dict):
            forms.add(SimpleForm.OBJECT)
        elif isinstance(policy, dict) and isinstance(simple, list):
            forms.add(SimpleForm.LIST)
            policy["simple"] = {"requirements": simple}
            text = f"{title}, rule {place + 1}: simple was a bare list, which only 0.6.0 read"
            findings.note("simple-was-a-list", text)
    return frozenset(forms)


def _move_advisor(document: Document, title: str, findings: Findings) -> bool:
    """``va`` becomes ``vulnerability.ICCRVA``; False where both stand there and differ."""
    for place, entry in enumerate(_entries(document)):
        policy = entry.get("policy")
        if policy is None:
            entry["policy"] = {}
            continue
        if "va" not in policy:
            continue
        switch = policy.pop("va") or {}
        newer = (policy.get("vulnerability") or {}).get("ICCRVA")
        if newer is None:
            policy["vulnerability"] = {"ICCRVA": switch}
        elif bool(newer.get("enabled")) != bool(switch.get("enabled")):
            text = f"{title}, rule {place + 1}: va and vulnerability.ICCRVA contradict each other"
            findings.refuse(POLICY_UNTRANSLATED(text))
            return False
    return True


def _entries(document: Document) -> list[Any]:
    spec = document.get("spec")
    entries = spec.get("repositories") if isinstance(spec, dict) else None
    return entries if isinstance(entries, list) else []


def _as_ours(document: Document, policy: Policy, title: str, findings: Findings) -> Document:
    """With what belongs to an object that is still to be made, and nothing of the cluster's."""
    metadata = dict(document["metadata"])
    labels, annotations = (_texts(metadata, name) for name in ("labels", "annotations"))
    gone = [name for name in metadata if name not in _OURS]
    gone += ["status"] * ("status" in document)
    gone += [_LAST_APPLIED] * (annotations.pop(_LAST_APPLIED, None) is not None)
    if labels.get(MANAGED_BY[0], MANAGED_BY[1]) != MANAGED_BY[1]:
        gone.append(f"{MANAGED_BY[0]}: {labels[MANAGED_BY[0]]}")
    if gone:
        findings.note("cluster-fields", f"{title}: {', '.join(gone)} are a cluster's, and left out")
    kept: Document = {"name": policy.id.name}
    if policy.id.namespace:
        kept["namespace"] = policy.id.namespace
    kept["labels"] = labels | dict([MANAGED_BY])
    if annotations:
        kept["annotations"] = annotations
    return {
        "apiVersion": PORTIERIS_API,
        "kind": policy.id.kind,
        "metadata": kept,
        "spec": {"repositories": [_entry(one) for one in _entries(document)]},
    }


def _texts(metadata: Mapping[str, Any], name: str) -> dict[str, str]:
    """Labels or annotations. Raises `ImgsecError` (policy-malformed) for what a cluster has not."""
    found = metadata.get(name) or {}
    if not isinstance(found, Mapping) or not all(isinstance(one, str) for one in found.values()):
        raise ImgsecError(POLICY_MALFORMED(f"metadata.{name} is no mapping of texts"))
    return dict(found)


def _entry(entry: Mapping[str, Any]) -> Document:
    """A rule with a policy that says something; a null means the same as an empty one."""
    return {"name": entry.get("name") or "", "policy": _plain(entry.get("policy") or {})}


def _plain(value: Any) -> Any:
    """Without nulls, which are absent fields to every reader."""
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value


def _untranslated(flaw: FieldFlaw, api: str, title: str) -> Any:
    text = f"{title}, {path_text(flaw.path)}: {flaw.text}"
    hint = None
    if flaw.kind is FlawKind.UNKNOWN and flaw.path[-1:] == ("va",) and api == PORTIERIS_API:
        hint = "In v1 it is vulnerability.ICCRVA; a cluster drops va, so nothing was checked by it."
    elif flaw.kind is FlawKind.UNKNOWN:
        hint = "No engine read it, so it demanded nothing: correct its name, or take it out."
    return POLICY_UNTRANSLATED(text, hint=hint)
