# SPDX-License-Identifier: Apache-2.0
"""What other policies would change: for images by their rules, for workloads by verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from imgsec.domain.admission import AdmissionChange
from imgsec.domain.diff_samples import Compared, samples_of_change
from imgsec.domain.engine_name import EngineName
from imgsec.domain.pattern_sets import SAMPLE_DIGEST, Read, is_name, may_share
from imgsec.domain.pod_changes import PodChange, pods_that_change
from imgsec.domain.policy_diff import Meaning, MeaningChange, compare_meanings, places_of
from imgsec.domain.resolution import Pools, RulePool
from imgsec.domain.wildcard import weight_of
from imgsec.domain.workload import Workload
from imgsec.operations.admit import Predicts, require_workloads
from imgsec.operations.compare_secrets import SecretChange, SecretComparison
from imgsec.reasons import Outcome


@dataclass(frozen=True, slots=True)
class ImageDiff:
    """The images that are decided otherwise. left_out: whether more rules share images than were
    compared with each other. pods: of templates that are decided as before, and these are not.
    secrets: what rules name as before, and what does not hold the same.
    """

    changes: tuple[MeaningChange, ...]
    left_out: bool = False
    pods: tuple[PodChange, ...] = ()
    secrets: tuple[SecretChange, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkloadDiff:
    """The workloads whose verdict or messages change. open: those that nobody could judge, before
    or after, and that need not be decided alike.
    """

    changes: tuple[AdmissionChange, ...] = ()
    open: tuple[Workload, ...] = ()


def diff_images(
    before: Pools,
    after: Pools,
    images: Sequence[str],
    namespaces: Sequence[str],
    secrets: SecretComparison | None = None,
) -> ImageDiff:
    """images: none for those that the rules name or share. namespaces: none for all where it can
    differ. secrets: None where nothing holds any.
    """
    places = namespaces or places_of(before, after)
    pods = pods_that_change(before, after, images, places)
    others = secrets.changes(before, after, images, places) if secrets is not None else ()
    if images:
        changes = compare_meanings(before, after, images, places)
        return ImageDiff(changes, pods=pods.found, secrets=others)
    samples = samples_of_change(
        Compared(place, before.of_namespace(place), after.of_namespace(place)) for place in places
    )
    changes = compare_meanings(before, after, samples.images, places, are_samples=True)
    return ImageDiff(changes, samples.left_out or pods.left_out, pods.found, others)


def diff_workloads(
    before: Predicts,
    after: Predicts,
    workloads: Iterable[Workload],
    pools: tuple[Pools, Pools],
    secrets: SecretComparison,
) -> WorkloadDiff:
    """pools: the rules before and after. secrets: what they name.

    Raises `ImgsecError` (nothing-checked) for no workload at all.
    """
    found, undecided = [], []
    for workload in require_workloads(workloads):
        old, new = before.predict(workload), after.predict(workload)
        if (old.verdict.outcome, old.messages) != (new.verdict.outcome, new.messages):
            found.append(AdmissionChange(old, new))
        elif old.verdict.outcome is Outcome.UNDECIDED and not (
            _decide_alike(workload, *pools)
            and secrets.is_alike(_deciders(workload, pools[0].of_namespace(workload.namespace)))
        ):
            undecided.append(workload)
    return WorkloadDiff(tuple(found), tuple(undecided))


def _decide_alike(workload: Workload, before: Pools, after: Pools) -> bool:
    """Whether it and its pods mean the same, whatever their registries would say."""
    old, new = (pools.of_namespace(workload.namespace) for pools in (before, after))
    if old.engine != new.engine:
        return False
    images = _images_of(workload)
    digests = [f"{EngineName.parse(image).repository}@*" for image in images]
    own_rules = {(rule.repository, rule.demand) for rule in old.rules}
    changed = own_rules ^ {(rule.repository, rule.demand) for rule in new.rules}
    reads = [Read(name, old.engine) for name in dict.fromkeys(name for name, _ in changed)]
    if any(may_share(Read(one, old.engine), read) for one in digests for read in reads):
        return False
    return not compare_meanings(before, after, images, [workload.namespace])


def _deciders(workload: Workload, pool: RulePool) -> Iterator[Meaning]:
    """The rules that decide about its images, and could about its pods'."""
    for image in _images_of(workload):
        yield Meaning(pool.resolve(image).rule, workload.namespace)
        repository = EngineName.parse(image).repository
        usual = pool.resolve(f"{repository}@{SAMPLE_DIGEST}").rule
        floor = weight_of(usual.repository) if usual is not None else 0
        pods = Read(f"{repository}@*", pool.engine)
        for rule in pool.rules:
            is_heavy = weight_of(rule.repository) >= floor
            if is_heavy and may_share(pods, Read(rule.repository, pool.engine)):
                yield Meaning(rule, workload.namespace)


def _images_of(workload: Workload) -> list[str]:
    return [one.image for one in workload.pod.containers if is_name(one.image)]
