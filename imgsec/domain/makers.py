# SPDX-License-Identifier: Apache-2.0
"""What controllers make of an object before there are pods, kind by kind."""

from __future__ import annotations

from dataclasses import replace

from imgsec.domain.workload import READ_RESOURCES, TEMPLATE_PATH, Workload

# Resource -> the kinds that are made of it, each with its group and version. Of any other resource
# that engines do not read, nobody knows.
_MADE: dict[str, tuple[tuple[str, str], ...]] = {
    **dict.fromkeys(READ_RESOURCES, ()),
    "deployments": (("ReplicaSet", "apps/v1"),),
    "cronjobs": (("Job", "batch/v1"),),
    "deploymentconfigs": (("ReplicationController", "v1"),),
}
# What stands between an object and its pods, if anything does.
BETWEEN = frozenset(f"{kind.lower()}s" for made in _MADE.values() for kind, _ in made)
_MADE_TOO = ("apps.openshift.io/v1",)  # the API of those that engines do not read
# Labels that controllers give to what they make, beside those of the template.
CONTROLLER_LABELS = frozenset(
    (
        *("pod-template-hash", "pod-template-generation", "controller-revision-hash"),
        *("statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"),
        *("controller-uid", "job-name", "batch.kubernetes.io/controller-uid"),
        *("batch.kubernetes.io/job-name", "batch.kubernetes.io/job-completion-index"),
        *("deployment", "deploymentconfig", "openshift.io/deployment-config.name"),
    )
)


def is_known_maker(workload: Workload) -> bool:
    """Whether it is known what its controller makes of it."""
    return workload.resource in _MADE and (workload.is_read or workload.api in _MADE_TOO)


def made_between(workload: Workload) -> tuple[Workload, ...]:
    """What its controller makes of it before there are pods, as far as that is known."""
    made = _MADE[workload.resource] if is_known_maker(workload) else ()
    return tuple(
        replace(
            workload.child(),
            api=api,
            kind=kind,
            resource=f"{kind.lower()}s",
            path=TEMPLATE_PATH,
            labels=workload.made_labels,
        )
        for kind, api in made
    )
