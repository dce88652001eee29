# SPDX-License-Identifier: Apache-2.0
"""Whether an API server sends an object to the engine at all, by the webhook's registration.

Portieris registers ``image-admission-config`` (`helm/portieris/templates`); what a registration
means is Kubernetes's `admissionregistration.k8s.io/v1`. What it leaves out is admitted unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from imgsec.domain.makers import CONTROLLER_LABELS
from imgsec.domain.verdict import Note
from imgsec.domain.webhook_fields import require_understood
from imgsec.domain.workload import Workload

WEBHOOK_NAME = "trust.hooks.securityenforcement.admission.cloud.ibm.com"
CONFIGURATION_NAME = "image-admission-config"
SKIP_LABEL = "securityenforcement.admission.cloud.ibm.com/namespace"
_NAME_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True)
class Selector:
    """A label selector. expressions: key, operator, values."""

    labels: tuple[tuple[str, str], ...] = ()
    expressions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Self:
        """Of one that is as the API has it."""
        labels = value.get("matchLabels") or {}
        expressions = (
            (one["key"], one["operator"], tuple(one.get("values") or ()))
            for one in value.get("matchExpressions") or ()
        )
        return cls(tuple(labels.items()), tuple(expressions))

    @property
    def keys(self) -> frozenset[str]:
        """The labels that it looks at."""
        return frozenset((*dict(self.labels), *(key for key, _, _ in self.expressions)))

    def selects(self, labels: Mapping[str, str], unknown: frozenset[str] = frozenset()) -> bool:
        """An empty selector selects everything. unknown: keys that may be there with any value,

        or not at all: what is asked of these counts as met.
        """
        if any(labels.get(key) != value for key, value in self.labels if key not in unknown):
            return False
        return all(_holds(labels, *one) for one in self.expressions if one[0] not in unknown)


def _holds(labels: Mapping[str, str], key: str, operator: str, values: tuple[str, ...]) -> bool:
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    if operator == "In":
        return labels.get(key) in values
    return labels.get(key) not in values


@dataclass(frozen=True, slots=True)
class WebhookRule:
    """What is sent: all of these operations on all of these resources. ``*`` stands for any.

    is_of_cluster: whether it is only about what is in no namespace.
    """

    operations: frozenset[str]
    resources: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    is_of_cluster: bool = False

    @classmethod
    def read(cls, rule: Mapping[str, Any]) -> Self:
        """Of one that is as the API has it."""
        return cls(
            frozenset(rule["operations"]),
            frozenset(rule["resources"]),
            frozenset(rule["apiGroups"]),
            frozenset(rule["apiVersions"]),
            is_of_cluster=rule.get("scope") == "Cluster",
        )

    def names(self, resources: frozenset[str]) -> bool:
        """Whether it is about one of these, whatever its group.

        Kubernetes's `predicates/rules/rules.go`: all subresources are also none.
        """
        either = {"*", *resources}
        return bool({*either, *(f"{one}/*" for one in either)} & self.resources)

    def is_about(self, workload: Workload, *, is_exact: bool) -> bool:
        """is_exact: its version counts, too."""
        group, _, version = workload.api.rpartition("/")
        return bool(
            self.names(frozenset((workload.resource,)))
            and {group, "*"} & self.groups
            and (not is_exact or {version, "*"} & self.versions)
            and not (self.is_of_cluster and workload.is_read)
        )

    def has(self, operation: str) -> bool:
        """Whether it is about CREATE, or UPDATE."""
        return bool({operation, "*"} & self.operations)


@dataclass(frozen=True, slots=True)
class Webhook:
    """The engine's registration. has_conditions: whether CEL decides too.

    is_exact: whether other versions of a resource are left out, in place of being converted.
    service: namespace and name of what is called, None for an address outside.
    """

    failure_policy: str
    rules: tuple[WebhookRule, ...]
    namespaces: Selector
    objects: Selector
    has_conditions: bool = False
    is_exact: bool = False
    service: tuple[str, str] | None = None

    @classmethod
    def find(cls, configurations: Iterable[Mapping[str, Any]]) -> Self | None:
        """The engine's webhook among all; None if it is not registered.

        Raises `ValueError` for a registration that is not understood.
        """
        found = []
        for configuration in filter(is_registration, configurations):
            require_understood(configuration)
            found += [(one, configuration) for one in configuration.get("webhooks") or ()]
        # Of those in the engine's configuration the one of its own name, else the only one.
        named = [one for one in found if one[0]["name"] == WEBHOOK_NAME] or found
        if len(named) > 1:
            raise ValueError(f"{len(named)} webhooks may be the engine's")
        return cls._read(*named[0]) if named else None

    @classmethod
    def _read(cls, webhook: Mapping[str, Any], configuration: Mapping[str, Any]) -> Self:
        is_older = str(configuration.get("apiVersion")).endswith("/v1beta1")
        failure, match = ("Ignore", "Exact") if is_older else ("Fail", "Equivalent")
        called = (webhook.get("clientConfig") or {}).get("service")
        return cls(
            failure_policy=webhook.get("failurePolicy") or failure,
            rules=tuple(map(WebhookRule.read, webhook.get("rules") or ())),
            namespaces=Selector.read(webhook.get("namespaceSelector") or {}),
            objects=Selector.read(webhook.get("objectSelector") or {}),
            has_conditions=bool(webhook.get("matchConditions")),
            is_exact=(webhook.get("matchPolicy") or match) == "Exact",
            service=(called["namespace"], called["name"]) if called else None,
        )

    def not_sent(self, workload: Workload, labels: Mapping[str, str] | None) -> Note | None:
        """Why an object is not sent; None if it is. labels: of its namespace, None if not known,

        and then what hangs on them is taken for sent.
        """
        known = {**(labels or {}), _NAME_LABEL: workload.namespace}
        is_told = labels is not None or not self.asks_for_labels
        if is_told and not self.namespaces.selects(known):
            text = f"the webhook's selector leaves the namespace {workload.namespace} out"
            return Note("namespace-skipped", text)
        unknown = CONTROLLER_LABELS if workload.is_made else frozenset[str]()
        if not self.objects.selects(workload.labels, unknown):
            return Note("object-skipped", "the webhook's object selector leaves it out")
        about = self._about(workload)
        if not about:
            return Note("kind-not-registered", f"the webhook is not registered for {workload.kind}")
        if not any(one.has("CREATE") for one in about):
            return Note("operation-not-registered", "the webhook is not sent new objects")
        return None

    def _about(self, workload: Workload) -> list[WebhookRule]:
        return [one for one in self.rules if one.is_about(workload, is_exact=self.is_exact)]

    def is_registered_for(self, resources: frozenset[str]) -> bool:
        """Whether new ones of these are sent, whatever their group."""
        rules = (one for one in self.rules if not one.is_of_cluster)
        return any(one.names(resources) and one.has("CREATE") for one in rules)

    @property
    def asks_for_labels(self) -> bool:
        """Whether it hangs on labels of namespaces, beside their names."""
        return not self.namespaces.keys <= {_NAME_LABEL}

    @property
    def is_ignored_if_broken(self) -> bool:
        """Whether objects are admitted where the webhook fails."""
        return self.failure_policy == "Ignore"

    def cautions(self, *judged: Workload) -> Iterator[Note]:
        """What of the registration weakens an answer. judged: the object and what is made of it."""
        if self.has_conditions:
            text = "the webhook has matchConditions, which are not looked at: they may leave it out"
            yield Note("match-conditions", text)
        if self.is_ignored_if_broken:
            text = "failurePolicy is Ignore: whatever happens to the webhook, objects are admitted"
            yield Note("failure-policy-ignore", text)
        about = [found for one in judged if (found := self._about(one))] or [list(self.rules)]
        if not all(any(one.has("UPDATE") for one in found) for found in about):
            yield Note("updates-unseen", "the webhook is not sent changes of objects")


def is_registration(configuration: Mapping[str, Any]) -> bool:
    """Whether it is the engine's, among those of other products."""
    metadata, webhooks = configuration.get("metadata"), configuration.get("webhooks")
    if isinstance(metadata, dict) and metadata.get("name") == CONFIGURATION_NAME:
        return True
    each = webhooks if isinstance(webhooks, list) else []
    return any(isinstance(one, dict) and one.get("name") == WEBHOOK_NAME for one in each)
