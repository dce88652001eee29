# SPDX-License-Identifier: Apache-2.0
"""What the cluster will decide about workloads: which engine is there, and what it says to each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Protocol

from imgsec.domain.admission import Admission
from imgsec.domain.engines import ENGINES, Engine
from imgsec.domain.policy_rules import require_read_by
from imgsec.domain.reference import shown
from imgsec.domain.resolution import Pools
from imgsec.domain.webhook import Webhook
from imgsec.domain.workload import Workload
from imgsec.errors import ImgsecError
from imgsec.ports import AdmissionState, DeploymentLister
from imgsec.reasons import (
    ENGINE_UNKNOWN,
    INPUT_MALFORMED,
    NOT_ENFORCED,
    NOTHING_CHECKED,
    PERMISSION_DENIED,
)

_VERSION = re.compile(
    r"(?:.*/)?portieris:v?([0-9]+\.[0-9]+\.[0-9]+)(?:-[a-z0-9]+)?(?:@sha256:[0-9a-f]{64})?"
)


class Predicts(Protocol):
    """Judges one workload."""

    def predict(self, workload: Workload) -> Admission: ...


def read_pools(state: AdmissionState, engine: Engine) -> Pools:
    """The rules that decide. Raises `ImgsecError` (policy-malformed, policy-foreign)."""
    policies = state.list_policies()
    require_read_by(policies, engine)
    return Pools.of(policies, engine)


def find_webhook(state: AdmissionState) -> Webhook | None:
    """How the engine is registered; None where nobody told. Raises `ImgsecError` (not-enforced)."""
    configurations = state.list_webhooks()
    if configurations is None:
        return None
    try:
        webhook = Webhook.find(configurations)
    except ValueError as error:
        raise ImgsecError(INPUT_MALFORMED(f"the webhook's registration: {error}")) from None
    if webhook is None:
        raise ImgsecError(NOT_ENFORCED("no webhook of the engine is registered in the cluster"))
    return webhook


def installed_engine(webhook: Webhook | None, cluster: DeploymentLister) -> Engine:
    """The engine whose Deployment answers the webhook. Raises `ImgsecError` (engine-unknown)."""
    namespace = webhook.service[0] if webhook is not None and webhook.service else "portieris"
    hint = "Name the version that runs there with --engine."
    try:
        deployments = cluster.list_deployments(namespace)
    except ImgsecError as error:
        if error.reason.code != PERMISSION_DENIED.code:
            raise
        text = f"which Portieris runs there is not known: {error.reason.text}"
        raise ImgsecError(ENGINE_UNKNOWN(text, hint=hint)) from None
    for deployment in deployments:
        template = (deployment.get("spec") or {}).get("template") or {}
        for container in (template.get("spec") or {}).get("containers") or []:
            if found := _VERSION.fullmatch(str(container.get("image", ""))):
                return _known(found[1])
    text = f"no Portieris of a known version runs in the namespace {shown(namespace)}"
    raise ImgsecError(ENGINE_UNKNOWN(text, hint=hint))


def _known(version: str) -> Engine:
    try:
        return Engine.parse(version)
    except ImgsecError:
        numbers = tuple(map(int, version.split(".")))
        known = [one for one in ENGINES if not one.is_cise]
        older = [one for one in known if tuple(map(int, one.name.split("."))) <= numbers]
        nearest = (older or known)[-1 if older else 0].name
        hint = f"If it behaves like {nearest}, say so: --engine {nearest}."
        text = f"the cluster runs Portieris {version}, which imgsec does not know"
        raise ImgsecError(ENGINE_UNKNOWN(text, hint=hint)) from None


def admit_all(workloads: Iterable[Workload], predictor: Predicts) -> tuple[Admission, ...]:
    """The answer for each. Raises `ImgsecError` (nothing-checked) for none at all."""
    return tuple(predictor.predict(workload) for workload in require_workloads(workloads))


def require_workloads(workloads: Iterable[Workload]) -> Iterator[Workload]:
    """All of them. Raises `ImgsecError` (nothing-checked) for none at all."""
    is_empty = True
    for workload in workloads:
        is_empty = False
        yield workload
    if is_empty:
        raise ImgsecError(
            NOTHING_CHECKED(
                "no workload was given: what was read runs nothing",
                hint="Give manifests of Pods, Deployments and the like; render charts first.",
            )
        )
