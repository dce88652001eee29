# SPDX-License-Identifier: Apache-2.0
"""Which objects of a cluster its API server sends to the engine."""

from __future__ import annotations

from collections.abc import Iterator

from imgsec.domain.makers import BETWEEN, is_known_maker, made_between
from imgsec.domain.reference import shown
from imgsec.domain.spelling import nearest
from imgsec.domain.verdict import Note
from imgsec.domain.webhook import Webhook
from imgsec.domain.workload import Workload
from imgsec.errors import ImgsecError
from imgsec.ports import AdmissionState
from imgsec.reasons import INPUT_MALFORMED, PERMISSION_DENIED

_NOT_REGISTERED = ("kind-not-registered", "operation-not-registered")


class SentObjects:
    """The engine's registration, held against objects and the labels of their namespaces."""

    def __init__(self, webhook: Webhook, state: AdmissionState) -> None:
        self._webhook, self._state = webhook, state

    @property
    def is_ignored_if_broken(self) -> bool:
        """Whether objects are admitted where the webhook fails."""
        return self._webhook.is_ignored_if_broken

    def not_sent(self, workload: Workload) -> Note | None:
        """Why an object is not sent; None if it is. Raises `ImgsecError` as reading labels does."""
        return self._webhook.not_sent(workload, self._labels(workload.namespace))

    def made_of(self, workload: Workload) -> Workload | Note:
        """What is made of an object and sent, pods if they are; else why they are not.

        Where nobody knows what is made in between, a pod stands in for it.
        """
        pod = workload.child()
        note = self.not_sent(pod)
        if note is None:
            return pod
        for made in made_between(workload):
            if self.not_sent(made) is None:
                return made
        is_open = not is_known_maker(workload) and note.code in _NOT_REGISTERED
        if is_open and self._webhook.is_registered_for(BETWEEN):
            return pod
        return Note(note.code, f"the pods made from it are not sent: {note.text}")

    def cautions(self, workload: Workload, *made: Workload) -> Iterator[Note]:
        """What of the registration weakens an answer. made: what was judged with the object."""
        yield from self._webhook.cautions(workload, *made)
        if self._webhook.asks_for_labels and self._labels(workload.namespace) is None:
            text = f"whether labels of the namespace {workload.namespace} leave it out is not known"
            yield Note("namespace-labels-unknown", text)

    def _labels(self, namespace: str) -> dict[str, str] | None:
        try:
            document = self._state.find_namespace(namespace)
        except ImgsecError as error:
            if error.reason.code != PERMISSION_DENIED.code:
                raise
            return None
        if document is None:
            return None
        metadata = document.get("metadata")
        if not isinstance(metadata, dict):
            return {}
        labels = metadata.get("labels") or {}
        is_odd = not isinstance(labels, dict) or not all(
            isinstance(one, str) for pair in labels.items() for one in pair
        )
        if is_odd or any(one != "labels" and nearest(str(one), ["labels"]) for one in metadata):
            raise ImgsecError(INPUT_MALFORMED(f"Namespace {shown(namespace)} has odd labels"))
        return dict(labels)
