# SPDX-License-Identifier: Apache-2.0
"""Which of the pods that run now would be denied once policies are changed.

Only pods with an image whose rule changes are judged: what is decided as before is nobody's news.
A pod is judged as its controller would make it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from imgsec.domain.admission import Admission
from imgsec.domain.resolution import Pools
from imgsec.domain.verdict import Note, Verdict, all_of, because, passed
from imgsec.domain.workload import PodSpec, Workload
from imgsec.operations.admit import Predicts
from imgsec.reasons import RUNNING_IMAGES_REFUSED, Outcome


@dataclass(frozen=True, slots=True)
class Foresight:
    """looked_at: how many different pods run; judged: those that are decided otherwise now."""

    looked_at: int
    judged: tuple[Admission, ...]
    verdict: Verdict
    notes: tuple[Note, ...] = ()

    @property
    def bad(self) -> tuple[Admission, ...]:
        return tuple(one for one in self.judged if not one.verdict.passed)


def foresee_lockout(
    pods: Iterable[Workload], before: Pools, after: Pools, predictor: Predicts
) -> Foresight:
    """The verdict on a change: refused if it locks a pod out, undecided if that is not known."""
    running = {_what_counts(pod): pod for pod in pods}
    judged = tuple(
        predictor.predict(replace(pod, owners=()))
        for pod in running.values()
        if _is_decided_otherwise(pod, before, after)
    )
    bad = [one for one in judged if not one.verdict.passed]
    if not bad:
        return Foresight(len(running), judged, passed())
    refused = [one for one in bad if one.verdict.outcome is Outcome.REFUSED]
    reasons = all_of(one.verdict for one in bad).reasons
    if refused:
        text = f"{len(refused)} of {len(running)} kinds of running pods would be denied"
        reasons = (RUNNING_IMAGES_REFUSED(text), *reasons)
    return Foresight(len(running), judged, because(*reasons))


def _what_counts(pod: Workload) -> tuple[str, PodSpec]:
    """Pods of one controller are the same, whatever they are called."""
    return pod.namespace, pod.pod


def _is_decided_otherwise(pod: Workload, before: Pools, after: Pools) -> bool:
    old, new = before.of_namespace(pod.namespace), after.of_namespace(pod.namespace)
    for image in dict.fromkeys(one.image for one in pod.pod.containers):
        was, will_be = old.resolve(image).rule, new.resolve(image).rule
        if (was is None) is not (will_be is None):
            return True
        if was is not None and will_be is not None and was.demand != will_be.demand:
            return True
    return False
