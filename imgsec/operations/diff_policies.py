# SPDX-License-Identifier: Apache-2.0
"""What other policies would change: for images by their rules, for workloads by verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from imgsec.domain.admission import AdmissionChange
from imgsec.domain.policy_diff import (
    MeaningChange,
    compare_meanings,
    places_of,
    witnesses,
)
from imgsec.domain.resolution import Pools
from imgsec.domain.workload import Workload
from imgsec.operations.admit import Predicts


def diff_images(
    before: Pools, after: Pools, images: Sequence[str], namespaces: Sequence[str]
) -> tuple[MeaningChange, ...]:
    """images: none for those that the rules name. namespaces: none for all where it can differ."""
    places = namespaces or places_of(before, after)
    return compare_meanings(before, after, images or witnesses(before, after), places)


def diff_workloads(
    before: Predicts, after: Predicts, workloads: Iterable[Workload]
) -> tuple[AdmissionChange, ...]:
    """The workloads whose verdict or messages change."""
    found = []
    for workload in workloads:
        old, new = before.predict(workload), after.predict(workload)
        if (old.verdict.outcome, old.messages) != (new.verdict.outcome, new.messages):
            found.append(AdmissionChange(old, new))
    return tuple(found)
