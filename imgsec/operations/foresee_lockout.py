# SPDX-License-Identifier: Apache-2.0
"""Which of the pods that run now would be denied once policies are changed.

Only pods with an image whose rule changes are judged: what is decided as before is not this
change's doing. A pod is judged as its controller would make it again; so is what has no pod at the
moment. An image that no rule names, neither before nor then, is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from imgsec.domain.admission import Admission
from imgsec.domain.resolution import Pools
from imgsec.domain.verdict import Note, Verdict, all_of, because, passed
from imgsec.domain.workload import PodSpec, Workload
from imgsec.errors import ImgsecError
from imgsec.operations.admit import Predicts
from imgsec.ports import MAKER_KINDS, PodLister
from imgsec.reasons import (
    PERMISSION_DENIED,
    POLICY_ENGINE_MISSING,
    RUNNING_IMAGES_REFUSED,
    Outcome,
)

_NAMED_MAX = 20  # ours; in one sentence
_Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Foresight:
    """looked_at: how many different pods run; judged: those that are decided otherwise now.

    unnamed: those with an image that no rule names, neither before nor after.
    """

    looked_at: int
    judged: tuple[Admission, ...]
    verdict: Verdict
    notes: tuple[Note, ...] = ()
    unnamed: tuple[Admission, ...] = ()

    @property
    def bad(self) -> tuple[Admission, ...]:
        return tuple(one for one in self.judged if not one.verdict.passed)


def foresee_lockout(
    pods: Iterable[Workload],
    before: Pools,
    after: Pools,
    predictor: Predicts,
    *,
    labels: frozenset[str] = frozenset(),
) -> Foresight:
    """The verdict on a change: refused if it locks a pod out, undecided if that is not known.

    labels: those that decide whether a pod is judged at all.
    """
    running = {_what_counts(pod, labels): replace(pod, owners=()) for pod in pods}
    changed: list[Workload] = []
    others: list[Workload] = []
    for pod in running.values():
        (changed if _is_decided_otherwise(pod, before, after) else others).append(pod)
    judged = tuple(map(predictor.predict, changed))
    open_ends = [predictor.predict(pod) for pod in others if _has_unnamed(pod, after)]
    unnamed = tuple(one for one in open_ends if one.verdict.outcome is Outcome.REFUSED)
    bad = [one for one in judged if not one.verdict.passed]
    if not bad:
        return Foresight(len(running), judged, passed(), unnamed=unnamed)
    refused = [one for one in bad if one.verdict.outcome is Outcome.REFUSED]
    reasons = all_of(one.verdict for one in bad).reasons
    if refused:
        text = f"{len(refused)} of {len(running)} kinds of running pods would be denied"
        reasons = (RUNNING_IMAGES_REFUSED(text), *reasons)
    return Foresight(len(running), judged, because(*reasons), unnamed=unnamed)


def what_may_run(
    lister: PodLister, labels: frozenset[str] = frozenset()
) -> tuple[tuple[Workload, ...], tuple[Note, ...]]:
    """The pods that run, and what makes pods and has none; and what may not be listed.

    labels: those that decide whether a pod is judged at all. Raises `ImgsecError` as listing the
    pods does.
    """
    pods = lister.list_running_pods()
    seen = {_images_of(pod, labels) for pod in pods}
    idle: list[Workload] = []
    notes = []
    for kind in MAKER_KINDS:
        try:
            idle += (one for one in lister.list_makers(kind) if _images_of(one, labels) not in seen)
        except ImgsecError as error:
            if error.reason.code not in (PERMISSION_DENIED.code, POLICY_ENGINE_MISSING.code):
                raise
            text = f"a {kind} that has no pod now is not judged: {error.reason.text}"
            notes.append(Note("idle-not-judged", text))
    return (*pods, *idle), tuple(notes)


def unnamed_notes(foresight: Foresight, *, is_enforced: bool) -> tuple[Note, ...]:
    """What becomes of pods with an image that no rule names. is_enforced: the engine is there."""
    if not foresight.unnamed:
        return ()
    when = (
        "the engine denies them as before: they run on, and none can be made again"
        if is_enforced
        else "no engine asks about them yet; once its webhook is there, none can be made again"
    )
    named = [str(one.workload) for one in foresight.unnamed]
    more = f" and {len(named) - _NAMED_MAX} more" if len(named) > _NAMED_MAX else ""
    text = f"no rule names all images of {', '.join(named[:_NAMED_MAX])}{more}: {when}"
    return (Note("running-pods-unnamed", text),)


def _images_of(pod: Workload, labels: frozenset[str]) -> tuple[str, _Labels, frozenset[str]]:
    images = frozenset(one.image for one in pod.pod.containers)
    return pod.namespace, _labels_of(pod, labels), images


def _labels_of(pod: Workload, labels: frozenset[str]) -> _Labels:
    """What it has of these; of what makes pods, what those have."""
    own = pod.labels if pod.is_pod else pod.pod_labels
    return frozenset((key, own[key]) for key in labels & own.keys())


def _has_unnamed(pod: Workload, after: Pools) -> bool:
    rules = after.of_namespace(pod.namespace)
    images = {one.image for one in pod.pod.containers if not one.is_blank}
    return any(rules.resolve(image).rule is None for image in images)


def _what_counts(
    pod: Workload, labels: frozenset[str]
) -> tuple[str, str, _Labels, _Labels, PodSpec]:
    """Pods of one controller are the same, whatever they are called."""
    own = frozenset((key, pod.labels[key]) for key in labels & pod.labels.keys())
    return pod.resource, pod.namespace, own, _labels_of(pod, labels), pod.pod


def _is_decided_otherwise(pod: Workload, before: Pools, after: Pools) -> bool:
    old, new = before.of_namespace(pod.namespace), after.of_namespace(pod.namespace)
    for image in dict.fromkeys(one.image for one in pod.pod.containers):
        was, will_be = old.resolve(image).rule, new.resolve(image).rule
        if (was is None) is not (will_be is None):
            return True
        if was is not None and will_be is not None and was.demand != will_be.demand:
            return True
    return False
