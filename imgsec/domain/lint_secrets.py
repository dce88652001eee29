# SPDX-License-Identifier: Apache-2.0
"""The Secrets that rules name: which of them are missing, and in which namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from imgsec.domain.lint_catalogue import (
    KEY_COPIES,
    KEY_SECRET_MISSING,
    Level,
    LintFinding,
)
from imgsec.domain.lint_reach import listed
from imgsec.domain.lint_sources import Inventory, LintRule, Source
from imgsec.domain.policy_fields import Path
from imgsec.domain.policy_rules import CLUSTER_KIND, NAMESPACED_KIND
from imgsec.domain.reference import shown


class SecretUse(StrEnum):
    """What a rule wants of a Secret."""

    KEY = "key"
    STORE = "store"
    SIGNER = "signer"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A Secret that a rule names. namespace: None for the one of each workload."""

    use: SecretUse
    namespace: str | None
    name: str
    rule: LintRule
    path: Path


def wanted_secrets(inventory: Inventory) -> Iterator[Wanted]:
    """Every Secret that a rule names, each time it does."""
    for rule in inventory.rules:
        demand = rule.demand
        if demand is None:
            continue
        owner = rule.rule.owner
        own = None if owner.kind == CLUSTER_KIND else owner.namespace
        simple: Path = ("policy", "simple")
        for place, one in enumerate(demand.simple.requirements if demand.simple else ()):
            if one.kind == "signedBy" and one.key_secret:
                path = (*simple, "requirements", place, "keySecret")
                where = one.key_namespace or own
                yield Wanted(SecretUse.KEY, where, one.key_secret, rule, path)
        if demand.simple and demand.simple.store_secret:
            name = demand.simple.store_secret
            yield Wanted(SecretUse.STORE, own, name, rule, (*simple, "storeSecret"))
        for place, name in enumerate(demand.trust.signer_secrets if demand.trust else ()):
            path = ("policy", "trust", "signerSecrets", place, "name")
            yield Wanted(SecretUse.SIGNER, own, name, rule, path)


def secret_findings(inventory: Inventory, *, strict: bool) -> Iterator[LintFinding]:
    """Secrets that are missing, and those that need copies.

    strict: whether all that are named must be there; else they must if any is.
    """
    wanted = list(wanted_secrets(inventory))
    seen: set[tuple[object, ...]] = set()
    copies: dict[int, list[Wanted]] = {}
    for one in wanted:
        if one.use is SecretUse.KEY and one.namespace is None:
            copies.setdefault(id(one.rule.source), []).append(one)
        key = (one.use, one.namespace, one.name)
        if key in seen:
            continue
        seen.add(key)
        if strict or inventory.secrets or inventory.veiled:
            yield from _missing(one, inventory, strict=strict)
    for found in copies.values():
        names = listed(dict.fromkeys(one.name for one in found))
        text = f"{found[0].rule.source.about} names the Secret {names} without a namespace"
        yield found[0].rule.tell(KEY_COPIES, text, path=found[0].path)


def named_secrets(inventory: Inventory) -> list[tuple[SecretUse, Source]]:
    """The Secrets at hand that rules name, each once for a use."""
    found: dict[tuple[SecretUse, int], Source] = {}
    by_name: dict[str, list[tuple[str, Source]]] = {}
    for (namespace, name), source in inventory.secrets.items():
        by_name.setdefault(name, []).append((namespace, source))
    for one in wanted_secrets(inventory):
        for namespace, source in by_name.get(one.name, ()):
            if not one.namespace or namespace in (one.namespace, ""):
                found[one.use, id(source)] = source
    return [(use, source) for (use, _), source in found.items()]


def _missing(one: Wanted, inventory: Inventory, *, strict: bool) -> Iterator[LintFinding]:
    there = {
        namespace for namespace, name in (*inventory.secrets, *inventory.veiled) if name == one.name
    }
    wanted = [one.namespace] if one.namespace else _workload_namespaces(inventory, one)
    absent = [] if "" in there else [name for name in wanted if name not in there]
    if not wanted and not there:
        absent = [""]
    if not absent:
        return
    where = f" in {listed(absent)}" if absent != [""] else ""
    level = Level.ERROR if strict else None
    text = f"the Secret {shown(one.name)} that {one.rule} names is not among the files{where}"
    yield one.rule.tell(KEY_SECRET_MISSING, text, path=one.path, level=level)


def _workload_namespaces(inventory: Inventory, one: Wanted) -> list[str]:
    """Where workloads are that a policy of the cluster decides about."""
    if one.namespace is not None:  # an ImagePolicy that names no namespace
        return []
    own = {
        policy.id.namespace for policy in inventory.policies if policy.id.kind == NAMESPACED_KIND
    }
    return sorted(inventory.namespaces - own - {""})
