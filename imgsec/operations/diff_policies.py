# SPDX-License-Identifier: Apache-2.0
"""What other policies would change: for images by their rules, for workloads by verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imgsec.domain.admission import AdmissionChange
from imgsec.domain.diff_samples import samples_of_change
from imgsec.domain.engine_name import EngineName
from imgsec.domain.pattern_sets import Read, is_name, may_share
from imgsec.domain.pod_changes import PodChange, pods_that_change
from imgsec.domain.policy_diff import MeaningChange, compare_meanings, places_of
from imgsec.domain.resolution import Pools
from imgsec.domain.workload import Workload
from imgsec.operations.admit import Predicts, require_workloads
from imgsec.reasons import Outcome


@dataclass(frozen=True, slots=True)
class ImageDiff:
    """The images that are decided otherwise. left_out: whether more rules share images than were
    compared with each other. pods: of templates that are decided as before, and these are not.
    """

    changes: tuple[MeaningChange, ...]
    left_out: bool = False
    pods: tuple[PodChange, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkloadDiff:
    """The workloads whose verdict or messages change. open: those that nobody could judge, before
    or after, and that need not be decided alike.
    """

    changes: tuple[AdmissionChange, ...] = ()
    open: tuple[Workload, ...] = ()


def diff_images(
    before: Pools, after: Pools, images: Sequence[str], namespaces: Sequence[str]
) -> ImageDiff:
    """images: none for those that the rules name or share. namespaces: none for all where it can
    differ.
    """
    places = namespaces or places_of(before, after)
    pods = pods_that_change(before, after, images, places)
    if images:
        return ImageDiff(compare_meanings(before, after, images, places), pods=pods)
    samples = samples_of_change(
        [(before.of_namespace(place), after.of_namespace(place)) for place in places]
    )
    changes = compare_meanings(before, after, samples.images, places)
    return ImageDiff(changes, samples.left_out, pods)


def diff_workloads(
    before: Predicts, after: Predicts, workloads: Iterable[Workload], pools: tuple[Pools, Pools]
) -> WorkloadDiff:
    """pools: the rules before and after.

    Raises `ImgsecError` (nothing-checked) for no workload at all.
    """
    found, undecided = [], []
    for workload in require_workloads(workloads):
        old, new = before.predict(workload), after.predict(workload)
        if (old.verdict.outcome, old.messages) != (new.verdict.outcome, new.messages):
            found.append(AdmissionChange(old, new))
        elif old.verdict.outcome is Outcome.UNDECIDED and not _decide_alike(workload, *pools):
            undecided.append(workload)
    return WorkloadDiff(tuple(found), tuple(undecided))


def _decide_alike(workload: Workload, before: Pools, after: Pools) -> bool:
    """Whether it and its pods mean the same, whatever their registries would say."""
    old, new = (pools.of_namespace(workload.namespace) for pools in (before, after))
    if old.engine != new.engine:
        return False
    images = [one.image for one in workload.pod.containers if is_name(one.image)]
    digests = [f"{EngineName.parse(image).repository}@*" for image in images]
    own_rules = {(rule.repository, rule.demand) for rule in old.rules}
    changed = own_rules ^ {(rule.repository, rule.demand) for rule in new.rules}
    reads = [Read(name, old.engine) for name in dict.fromkeys(name for name, _ in changed)]
    if any(may_share(Read(one, old.engine), read) for one in digests for read in reads):
        return False
    return not compare_meanings(before, after, images, [workload.namespace])
