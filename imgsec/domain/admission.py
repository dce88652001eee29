# SPDX-License-Identifier: Apache-2.0
"""What an engine would decide about a workload: each container's rule, layers and messages.

How denials add up is the engine's own way (Portieris `pkg/controller/multi/controller.go`): they
are filed by the image's normalised name, and a later container of the same name starts anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from imgsec.domain import engine_texts as texts
from imgsec.domain.engine_hints import hint_for
from imgsec.domain.engines import Engine, Layer
from imgsec.domain.policy_rules import PolicyRule
from imgsec.domain.reference import shown
from imgsec.domain.verdict import Note, Verdict, because, passed
from imgsec.domain.workload import Container, Workload
from imgsec.reasons import (
    ADMISSION_DENIED,
    ADMISSION_OPEN,
    CHILD_DENIED,
    WEBHOOK_FAILS,
    Outcome,
    Reason,
)


class LayerOutcome(StrEnum):
    """How one layer answers for one container."""

    PASSED = "passed"
    DENIED = "denied"
    FAILED = "failed"  # an error of the engine: it denies, and judges no container behind it
    OPEN = "open"  # could not be told here
    NOT_ASKED = "not-asked"  # the rule does not demand it
    NOT_REACHED = "not-reached"  # an earlier layer ended it


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """What one layer says. message: the engine's text, empty where it says nothing.

    digest: 64 hexadecimal digits that the layer found, if it found any. why: for what is open.
    """

    layer: Layer
    outcome: LayerOutcome
    message: str = ""
    digest: str | None = None
    why: Reason | None = None
    notes: tuple[Note, ...] = ()

    @property
    def is_bad(self) -> bool:
        return self.outcome in (LayerOutcome.DENIED, LayerOutcome.FAILED)


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A rule that did not decide, and why not."""

    rule: PolicyRule
    why: str


@dataclass(frozen=True, slots=True)
class Patch:
    """What the webhook changes: one place of the object, as JSON Patch has it."""

    path: str
    value: str


@dataclass(frozen=True, slots=True)
class ContainerTrace:
    """One container, judged. rule: None where none names its image. messages: the engine's, also
    those that it forgets again. is_compared: whether rules were asked for it at all.
    """

    container: Container
    rule: PolicyRule | None = None
    near: tuple[NearMiss, ...] = ()
    layers: tuple[LayerTrace, ...] = ()
    patch: Patch | None = None
    is_forgotten: bool = False
    is_reached: bool = True
    is_compared: bool = True

    @property
    def messages(self) -> tuple[str, ...]:
        return tuple(one.message for one in self.layers if one.message)

    @property
    def is_bad(self) -> bool:
        return any(one.is_bad for one in self.layers)

    @property
    def open_reasons(self) -> tuple[Reason, ...]:
        return tuple(one.why for one in self.layers if one.why is not None)


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer to one request. messages: of a denial, in the order of the containers.

    unchecked: what no engine looked at, of an answer that is yes. hygiene: what is unwise beside
    the verdict. child: the same of the pods that are made from it, where that differs. is_ignored:
    whether the engine breaks on it, and the API server lets it in all the same.
    """

    workload: Workload
    engine: Engine
    verdict: Verdict
    containers: tuple[ContainerTrace, ...] = ()
    messages: tuple[str, ...] = ()
    unchecked: tuple[Note, ...] = ()
    hygiene: tuple[Note, ...] = ()
    child: Admission | None = None
    is_ignored: bool = False

    @property
    def is_let_in_unseen(self) -> bool:
        """Whether the API server lets it in, or the pods made from it, since the engine breaks."""
        return self.is_ignored or (self.child is not None and self.child.is_let_in_unseen)

    @property
    def not_checked(self) -> tuple[Note, ...]:
        """What no engine looked at, neither of it nor of the pods that are made from it."""
        of_pods = self.child.not_checked if self.child is not None else ()
        return tuple(dict.fromkeys((*self.unchecked, *of_pods)))

    @property
    def patches(self) -> tuple[Patch, ...]:
        """None where anything was denied."""
        if self.verdict.outcome is not Outcome.PASS and self.messages:
            return ()
        return tuple(one.patch for one in self.containers if one.patch is not None)


@dataclass(frozen=True, slots=True)
class AdmissionChange:
    """A workload that is decided otherwise, or for another reason."""

    before: Admission
    after: Admission

    @property
    def locks_out(self) -> bool:
        """It was not denied, and would be."""
        refused = Outcome.REFUSED
        was, would_be = self.before.verdict.outcome, self.after.verdict.outcome
        return was is not refused and would_be is refused


@dataclass(slots=True)
class DenialFile:
    """Denials of one container type as the engine files them; a key is the image's own name."""

    _by_key: dict[str, list[str]] = field(default_factory=dict)

    def begin(self, key: str) -> None:
        """A container of that key: what an earlier one of the same key was denied for is gone."""
        self._by_key[key] = []

    def add(self, key: str, message: str) -> None:
        self._by_key.setdefault(key, []).append(message)

    def replace(self, key: str, message: str) -> None:
        self._by_key[key] = [message]

    def move(self, key: str, new: str) -> None:
        """The digest is known now, and the denials go by it.

        The engine writes the new entry and deletes the old one: where both are the same, which is
        what an image named by its digest comes to, what was said of it is gone.
        """
        self._by_key[new] = self._by_key.get(key, [])
        del self._by_key[key]

    def messages(self) -> list[str]:
        return [message for messages in self._by_key.values() for message in messages]


INVALID_NAME_KEY = "invalidimagename"


def admission_verdict(
    workload: Workload,
    engine: Engine,
    messages: Sequence[str],
    containers: Iterable[ContainerTrace],
) -> Verdict:
    """Denied if the engine says anything, else open if anything is, else admitted."""
    if messages:
        text = f"{shown_workload(workload)}: {engine} denies: {'; '.join(messages)}"
        return because(ADMISSION_DENIED(text, hint=_hint_for(containers) or hint_for(messages[0])))
    reasons = tuple(dict.fromkeys(why for one in containers for why in one.open_reasons))
    if reasons:
        text = f"{shown_workload(workload)}: what {engine} decides is not known"
        return because(ADMISSION_OPEN(text, hint=reasons[0].hint), *reasons)
    return passed()


_HINT_FOR_DIGESTS = (
    "The engine writes digests into the object, which no rule names then: let a rule name the image"
    " without its tag, or set mutateImage: false."
)


def _child_hint(workload: Workload, child: Admission) -> str | None:
    if workload.pod == child.workload.pod:  # nothing was written into it
        return child.verdict.reasons[0].hint
    layers = (layer for one in child.containers for layer in one.layers)
    nobody = any(layer.layer is Layer.RESOLUTION and layer.is_bad for layer in layers)
    return _HINT_FOR_DIGESTS if nobody else None


def _hint_for(containers: Iterable[ContainerTrace]) -> str | None:
    """What to do about the first container that is denied; None for the usual advice."""
    for trace in containers:
        for layer in trace.layers:
            if layer.is_bad and not trace.is_forgotten:
                return hint_for(layer.message, layer.layer)
    return None


def with_child(verdict: Verdict, workload: Workload, child: Admission | None) -> Verdict:
    """The verdict of an object whose pods are judged again when they are made."""
    if child is None or not verdict.passed or child.verdict.passed:
        return verdict
    if child.verdict.outcome is not Outcome.REFUSED or not child.messages:
        return child.verdict
    listed = "; ".join(child.messages)
    text = f"{shown_workload(workload)}: its pods are denied: {listed}"
    return because(CHILD_DENIED(text, hint=_child_hint(workload, child)))


def webhook_failure(workload: Workload, why: str, *, is_ignored: bool = False) -> Verdict:
    """The engine breaks, and the webhook's failurePolicy decides. is_ignored: it is Ignore, and

    what nobody could judge is admitted; that is told, and is no pass.
    """
    text = f"{shown_workload(workload)}: the webhook breaks: {why}"
    if is_ignored:
        text += "; failurePolicy is Ignore, so that it would be admitted unseen"
    return because(WEBHOOK_FAILS(text))


def shown_workload(workload: Workload) -> str:
    """Its kind, namespace and name, as a sentence can name it."""
    place = f"{workload.namespace}/{workload.name}" if workload.namespace else workload.name
    return f"{workload.kind} {shown(place)[1:-1]}"


def unknown_rule_message(
    engine: Engine, image: str, namespace: str, *, own: bool, none: bool
) -> str:
    """What an engine says where no rule names the image.

    own: the namespace has ImagePolicies of its own. none: there is no policy at all.
    """
    if engine.is_cise:
        return texts.cise_no_rule(image)
    if own:
        return texts.no_own_rule(image)
    return texts.no_policies(image) if none else texts.no_cluster_rule(image, namespace)
