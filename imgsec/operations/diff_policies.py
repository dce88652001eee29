# SPDX-License-Identifier: Apache-2.0
"""What other policies would change: for images by their rules, for workloads by verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from imgsec.domain.admission import AdmissionChange
from imgsec.domain.diff_samples import samples_of_change
from imgsec.domain.policy_diff import MeaningChange, compare_meanings, places_of
from imgsec.domain.resolution import Pools
from imgsec.domain.workload import Workload
from imgsec.operations.admit import Predicts, require_workloads


@dataclass(frozen=True, slots=True)
class ImageDiff:
    """The images that are decided otherwise. left_out: whether more rules share images than were
    compared with each other.
    """

    changes: tuple[MeaningChange, ...]
    left_out: bool = False


def diff_images(
    before: Pools, after: Pools, images: Sequence[str], namespaces: Sequence[str]
) -> ImageDiff:
    """images: none for those that the rules name or share. namespaces: none for all where it can
    differ.
    """
    places = namespaces or places_of(before, after)
    if images:
        return ImageDiff(compare_meanings(before, after, images, places))
    samples = samples_of_change(
        [(before.of_namespace(place), after.of_namespace(place)) for place in places]
    )
    changes = compare_meanings(before, after, samples.images, places)
    return ImageDiff(changes, samples.left_out)


def diff_workloads(
    before: Predicts, after: Predicts, workloads: Iterable[Workload]
) -> tuple[AdmissionChange, ...]:
    """The workloads whose verdict or messages change.

    Raises `ImgsecError` (nothing-checked) for none at all.
    """
    found = []
    for workload in require_workloads(workloads):
        old, new = before.predict(workload), after.predict(workload)
        if (old.verdict.outcome, old.messages) != (new.verdict.outcome, new.messages):
            found.append(AdmissionChange(old, new))
    return tuple(found)
