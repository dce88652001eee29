# SPDX-License-Identifier: Apache-2.0
"""Demands as the policies of both APIs say them: the other way round than `policy_rules` reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from imgsec.domain.kubernetes import MANAGED_BY, Document
from imgsec.domain.policy_intent import PolicyIntent, identity_document
from imgsec.domain.policy_rules import (
    CLUSTER_KIND,
    NAMESPACED_KIND,
    Demand,
    Requirement,
    SimpleDemand,
    TrustDemand,
)

Write = Callable[[Demand], dict[str, Any]]


def portieris_policy(demand: Demand) -> dict[str, Any]:
    """The ``policy`` of a rule, as Portieris's v1 has it.

    >>> portieris_policy(Demand())
    {}
    """
    policy: dict[str, Any] = {}
    if demand.simple is not None:
        policy["simple"] = _simple(demand.simple)
    if demand.trust is not None:
        policy["trust"] = trust_document(demand.trust)
    if demand.advisor is not None:
        account = {"account": demand.advisor.account} if demand.advisor.account else {}
        policy["vulnerability"] = {"ICCRVA": {"enabled": True, **account}}
    if not demand.mutates:
        policy["mutateImage"] = False
    return policy


def cise_policy(demand: Demand) -> dict[str, Any]:
    """The same in the older API, which knows trust and the advisor only.

    >>> cise_policy(Demand())
    {}
    """
    if demand.is_nothing:
        return {}
    trust = {"enabled": False} if demand.trust is None else trust_document(demand.trust)
    return {"trust": trust, "va": {"enabled": demand.advisor is not None}}


def trust_document(trust: TrustDemand) -> dict[str, Any]:
    """``trust`` of both APIs."""
    document: dict[str, Any] = {"enabled": True}
    if trust.server:
        document["trustServer"] = trust.server
    if trust.signer_secrets:
        document["signerSecrets"] = [{"name": name} for name in trust.signer_secrets]
    return document


def policy_objects(intent: PolicyIntent, api: str, write: Write) -> list[Document]:
    """The objects of one document of the intent: one for the cluster, or one for each namespace."""
    entries = repositories(intent, write)
    return [
        {
            "apiVersion": api,
            "kind": NAMESPACED_KIND if namespace else CLUSTER_KIND,
            "metadata": {
                "name": str(intent.name),
                **({"namespace": str(namespace)} if namespace else {}),
                "labels": dict([MANAGED_BY]),
            },
            "spec": {"repositories": entries},
        }
        for namespace in intent.namespaces or (None,)
    ]


def repositories(intent: PolicyIntent, write: Write) -> list[Document]:
    """The rules, in the order of the intent."""
    return [
        {"name": text, "policy": write(rule.demand)}
        for rule in intent.rules
        for text in rule.rule_names()
    ]


def _simple(simple: SimpleDemand) -> dict[str, Any]:
    store = {"storeURL": simple.store_url, "storeSecret": simple.store_secret}
    return {
        **{name: value for name, value in store.items() if value},
        "requirements": _requirements(simple.requirements),
    }


def _requirements(requirements: Iterable[Requirement]) -> list[dict[str, Any]]:
    found = []
    for one in requirements:
        document: dict[str, Any] = {"type": one.kind}
        if one.key_secret:
            document["keySecret"] = one.key_secret
        if one.key_namespace:
            document["keySecretNamespace"] = one.key_namespace
        if one.identity is not None:
            document["signedIdentity"] = identity_document(one.identity)
        found.append(document)
    return found
