# SPDX-License-Identifier: Apache-2.0
"""What the cluster will decide about workloads: which engine is there, and what it says to each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

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
    ADMISSION_OPEN,
    ENGINE_AMBIGUOUS,
    ENGINE_UNKNOWN,
    NOT_ENFORCED,
    NOTHING_CHECKED,
    PERMISSION_DENIED,
)

_ENGINE_IMAGE = re.compile(r"(?:.*/)?portieris(?:[:@].*)?")
_VERSION = re.compile(r"[^:]*:v?([0-9]+\.[0-9]+\.[0-9]+)(?:-[a-z0-9]+)?(?:@sha256:[0-9a-f]{64})?")
_NAME_IT = "Name the version that runs there with --engine."
_TELL_REGISTRATION = (
    "Mend it where it is. Until then `imgsec admit` takes it as it is meant from --policies, and a"
    " change of policies is judged as if all were sent with --engine, or with --accept-lockout."
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
    """How the engine is registered; None where nobody told.

    Raises `ImgsecError` (not-enforced), and (admission-open) for what is not understood.
    """
    configurations = state.list_webhooks()
    if configurations is None:
        return None
    try:
        webhook = Webhook.find(configurations)
    except ValueError as error:
        text = f"what the webhook is sent is not known: its registration: {error}"
        raise ImgsecError(ADMISSION_OPEN(text, hint=_TELL_REGISTRATION)) from None
    if webhook is None:
        raise ImgsecError(NOT_ENFORCED("no webhook of the engine is registered in the cluster"))
    return webhook


def installed_engine(webhook: Webhook | None, cluster: DeploymentLister) -> Engine:
    """The engine whose Deployment answers the webhook.

    Raises `ImgsecError` (engine-unknown), and (engine-ambiguous) where several versions run.
    """
    namespace = webhook.service[0] if webhook is not None and webhook.service else "portieris"
    try:
        deployments = cluster.list_deployments(namespace)
    except ImgsecError as error:
        if error.reason.code != PERMISSION_DENIED.code:
            raise
        text = f"which Portieris runs there is not known: {error.reason.text}"
        raise ImgsecError(ENGINE_UNKNOWN(text, hint=_NAME_IT)) from None
    found = dict.fromkeys(image for one in deployments for image in _engine_images(one))
    versions = {image: _version_of(image) for image in found}
    if len(set(versions.values())) > 1:
        listed = ", ".join(dict.fromkeys(_shown_version(image) for image in sorted(found)))
        text = f"several versions of Portieris run in the namespace {shown(namespace)}: {listed}"
        raise ImgsecError(ENGINE_AMBIGUOUS(text))
    for version in versions.values():
        if version is not None:
            return _known(version)
    text = f"no Portieris of a known version runs in the namespace {shown(namespace)}"
    raise ImgsecError(ENGINE_UNKNOWN(text, hint=_NAME_IT))


def _engine_images(deployment: Mapping[str, Any]) -> Iterator[str]:
    """The engine's images, of a Deployment that runs."""
    spec = deployment.get("spec") or {}
    if spec.get("replicas") == 0:
        return
    template = spec.get("template") or {}
    for container in (template.get("spec") or {}).get("containers") or []:
        image = str(container.get("image", ""))
        if _ENGINE_IMAGE.fullmatch(image):
            yield image


def _version_of(image: str) -> str | None:
    """None where its image does not tell."""
    found = _VERSION.fullmatch(image.rpartition("/")[2])
    return found[1] if found else None


def _shown_version(image: str) -> str:
    return _version_of(image) or f"that of {shown(image)}"


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
