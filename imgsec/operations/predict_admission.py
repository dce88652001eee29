# SPDX-License-Identifier: Apache-2.0
"""Predict what an engine decides about a workload, container by container, in its own order.

Portieris `pkg/controller/multi/controller.go`: init containers, then containers; for each the rule,
the advisor (which lets the others go on), simple signing, trust. An error stops the containers of
its type behind it. CISE asked trust first, and the advisor only of what was trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from imgsec.domain import engine_texts as texts
from imgsec.domain.admission import (
    INVALID_NAME_KEY,
    Admission,
    ContainerTrace,
    DenialFile,
    LayerOutcome,
    LayerTrace,
    Patch,
    admission_verdict,
    unknown_rule_message,
    webhook_failure,
    with_child,
)
from imgsec.domain.engine_name import EngineName, Panic
from imgsec.domain.engines import Engine, Layer
from imgsec.domain.hygiene import hygiene_of
from imgsec.domain.near_misses import near_misses
from imgsec.domain.policy_rules import Demand, PolicyRule
from imgsec.domain.pull_secrets import PullCredential
from imgsec.domain.reference import shown
from imgsec.domain.resolution import Pools
from imgsec.domain.verdict import Note, because, passed
from imgsec.domain.webhook import Webhook
from imgsec.domain.workload import CONTAINER_TYPES, OWNER_KINDS, Container, Workload
from imgsec.operations.advisor_layer import AdvisorLayer
from imgsec.operations.image_evidence import Deployed
from imgsec.operations.pod_secrets import PodSecrets, pod_secrets
from imgsec.operations.sent_objects import SentObjects
from imgsec.operations.simple_layer import SimpleLayer
from imgsec.operations.trust_layer import TrustLayer
from imgsec.ports import AdmissionState
from imgsec.reasons import ADMISSION_OPEN, Reason

_ASKED = (LayerOutcome.PASSED, LayerOutcome.DENIED, LayerOutcome.FAILED)
_EVIDENCE = (Layer.SIMPLE, Layer.TRUST, Layer.ADVISOR)
_LATER = Note(
    "added-later",
    "what is added to running pods is never sent: ephemeral containers (kubectl debug), exec",
)


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of one run, which remember what they were told. offline: why none is asked.

    limits: what is told of every image that a layer is asked about.
    """

    simple: SimpleLayer
    trust: TrustLayer
    advisor: AdvisorLayer
    offline: Reason
    limits: tuple[Note, ...] = ()


class Predictor:
    """The decisions of one engine in one cluster.

    reserved: namespaces whose objects the webhook is not sent, as was told. webhook: how it is
    registered, None for as it usually is. assume: a credential that stands in for the pull secrets
    that nobody gave, by an image's name. settle: what is assumed of a layer that is open.
    """

    def __init__(
        self,
        engine: Engine,
        pools: Pools,
        state: AdmissionState,
        layers: Layers,
        *,
        reserved: frozenset[str] = frozenset(),
        webhook: Webhook | None = None,
        assume: Callable[[EngineName], PullCredential | None] | None = None,
        settle: Callable[[LayerTrace, Deployed], LayerTrace] | None = None,
    ) -> None:
        self._engine = engine
        self._pools = pools
        self._state = state
        self._layers = layers
        self._reserved = reserved
        self._sent = SentObjects(webhook, state) if webhook is not None else None
        self._assume = assume
        self._settle = settle

    def predict(self, workload: Workload, *, is_request: bool = False) -> Admission:
        """The answer for one object, and for the pods that are made from it.

        is_request: it is what an API server sent, and so has its pull secrets already; its children
        are other requests. Raises `ImgsecError` as reading the cluster does.
        """
        if workload.namespace in self._reserved:
            text = f"the webhook is not sent what is in {workload.namespace}, as was told"
            return self._unchecked(workload, Note("namespace-reserved", text))
        if self._sent is None or is_request:
            return self._predict(workload, is_request=is_request)
        note = self._sent.not_sent(workload)
        if note is None:
            found = self._predict(workload, is_request=False)
        elif note.code == "namespace-skipped" or workload.is_pod:
            found = self._unchecked(workload, note)
        else:
            found = self._by_its_pods(workload, note, is_request=False)
        made = (found.child.workload,) if found.child is not None else ()
        cautions = self._sent.cautions(workload, *made)
        return replace(found, unchecked=(*found.unchecked, *cautions))

    def _sent_of(self, workload: Workload) -> Workload | Note:
        return workload.child() if self._sent is None else self._sent.made_of(workload)

    def _predict(self, workload: Workload, *, is_request: bool) -> Admission:
        """The answer for what is sent; without a registration, by the kinds that usually are."""
        engine = self._engine
        is_sent = is_request or (self._sent is not None and not engine.is_cise)
        if is_sent and not workload.is_read:
            return self._unsupported(workload)
        if not workload.is_intercepted or (engine.is_cise and not workload.is_pod):
            text = f"{workload.kind} objects are not sent; the pods made from them are"
            note = Note("kind-not-intercepted", text)
            return self._by_its_pods(workload, note, is_request=is_request)
        if not workload.is_read:
            return self._unsupported(workload)
        if engine.skips_owned and (owners := OWNER_KINDS.intersection(workload.owners)):
            text = f"{engine} checks nothing that names an owner, a {min(owners)}, forged or not"
            return self._unchecked(workload, Note("owner-skipped", text))
        if engine.skips_unreplicated and workload.replicas == 0:
            text = f"{engine} does not check what wants no replicas, and scaling up is never sent"
            return self._unchecked(workload, Note("no-replicas", text))
        return self._judged(workload, is_request=is_request)

    def _unsupported(self, workload: Workload) -> Admission:
        message = texts.unsupported_resource(workload.group_version_resource)
        verdict = admission_verdict(workload, self._engine, [message], ())
        return Admission(workload, self._engine, verdict, messages=(message,))

    def _by_its_pods(self, workload: Workload, note: Note, *, is_request: bool) -> Admission:
        """The answer for an object that is not looked at itself. note: why."""
        if is_request:
            return Admission(workload, self._engine, passed(), unchecked=(note,))
        made = self._sent_of(workload)
        if isinstance(made, Note):
            found = self._unchecked(workload, note)
            return replace(found, unchecked=(note, made, *found.unchecked[1:]))
        if not workload.pod.containers:
            text = f"{workload}: which pods are made from it is not known"
            verdict = because(ADMISSION_OPEN(text, hint="Judge the pods that it makes."))
            return Admission(workload, self._engine, verdict, unchecked=(note,))
        child = self._predict(made, is_request=False)
        return Admission(
            workload,
            self._engine,
            with_child(passed(), workload, child),
            unchecked=(note, *child.unchecked),
            child=child,
        )

    def _unchecked(self, workload: Workload, note: Note) -> Admission:
        containers = tuple(ContainerTrace(one, is_reached=False) for one in workload.pod.containers)
        return Admission(workload, self._engine, passed(), containers, unchecked=(note, _LATER))

    def _judged(self, workload: Workload, *, is_request: bool) -> Admission:
        secrets = pod_secrets(self._state, workload, is_request=is_request)
        traces: list[ContainerTrace] = []
        messages: list[str] = []
        try:
            for kind in CONTAINER_TYPES:
                found, said = self._judged_type(workload, kind, secrets)
                traces += found
                messages += said
        except Panic as panic:
            is_ignored = self._sent is not None and self._sent.is_ignored_if_broken
            verdict = webhook_failure(workload, str(panic), is_ignored=is_ignored)
            return Admission(workload, self._engine, verdict, tuple(traces), is_ignored=is_ignored)
        told = frozenset(messages)
        traces = [replace(one, is_forgotten=_is_forgotten(one, told)) for one in traces]
        if messages:
            traces = [replace(one, patch=None) for one in traces]
        verdict = admission_verdict(workload, self._engine, messages, traces)
        made = self._looked_at_again(workload, is_request=is_request)
        child = None
        if isinstance(made, Workload) and verdict.passed and not is_request:
            child = self._child(made, traces)
        asked = any(one.rule is not None and not one.rule.demand.is_nothing for one in traces)
        is_all = secrets.closed is None
        advice = hygiene_of(workload, secrets.found, is_verified=asked, are_all=is_all)
        return Admission(
            workload,
            self._engine,
            with_child(verdict, workload, child),
            tuple(traces),
            tuple(messages),
            tuple(dict.fromkeys(self._not_looked_at(workload, traces, made))),
            tuple(dict.fromkeys(advice)),
            child,
        )

    def _judged_type(
        self, workload: Workload, kind: str, secrets: PodSecrets
    ) -> tuple[list[ContainerTrace], list[str]]:
        """The containers of one type, and what the engine says of them. Raises `Panic`."""
        denials, traces = DenialFile(), []
        stopped: str | None = None
        for container in workload.pod.containers:
            if container.type != kind:
                continue
            if stopped is not None:
                traces.append(ContainerTrace(container, is_reached=False))
                continue
            trace, error = self._judged_container(workload, container, secrets, denials)
            traces.append(trace)
            stopped = error
        return traces, [*denials.messages(), *([] if stopped is None else [stopped])]

    def _judged_container(
        self,
        workload: Workload,
        container: Container,
        secrets: PodSecrets,
        denials: DenialFile,
    ) -> tuple[ContainerTrace, str | None]:
        """One container, and the error that stops those behind it. Raises `Panic`."""
        if container.is_blank:
            return ContainerTrace(container, is_compared=False), None
        try:
            name = EngineName.parse(container.image)
        except ValueError:
            message = texts.invalid_image(container.image)
            denials.replace(INVALID_NAME_KEY, message)
            trace = LayerTrace(Layer.RESOLUTION, LayerOutcome.DENIED, message)
            traces = (trace, *self._others())
            return ContainerTrace(container, layers=traces, is_compared=False), None
        key = name.denial_key
        denials.begin(key)
        resolution = self._pools.of_namespace(workload.namespace).resolve(container.image)
        near = near_misses(
            container.image, workload.namespace, self._pools, resolution, self._engine
        )
        if resolution.rule is None:
            message = unknown_rule_message(
                self._engine,
                container.image,
                workload.namespace,
                own=workload.namespace in self._pools.own,
                none=self._pools.is_empty,
            )
            denials.add(key, message)
            trace = LayerTrace(Layer.RESOLUTION, LayerOutcome.DENIED, message)
            return ContainerTrace(container, None, near, (trace, *self._others())), None
        credentials = secrets.credentials(name.host)
        if self._assume is not None and secrets.are_wanting:
            stand_in = self._assume(name)
            credentials = (*credentials, stand_in) if stand_in is not None else credentials
        deployed = Deployed(name, workload.namespace, credentials, secrets.closed)
        layers, digest, error = self._asked(deployed, resolution.rule, denials, key)
        trace = LayerTrace(Layer.RESOLUTION, LayerOutcome.PASSED)
        patch = _patch(workload, container, name, digest, resolution.rule.demand)
        return ContainerTrace(container, resolution.rule, near, (trace, *layers), patch), error

    def _asked(
        self, deployed: Deployed, rule: PolicyRule, denials: DenialFile, key: str
    ) -> tuple[list[LayerTrace], str | None, str | None]:
        """The layers' answers, the digest that they agree on, and an error that stops others."""
        done: list[LayerTrace] = []
        digest: str | None = None
        for layer in self._engine.layers:
            trace = self._ask(layer, deployed, rule.demand)
            if self._settle is not None:
                trace = self._settle(trace, deployed)
            if layer is Layer.TRUST and not trace.is_bad and _asks_for_both(rule.demand):
                trace = _conflicting(trace, digest)
            done.append(trace)
            if trace.outcome is LayerOutcome.FAILED:
                return [*done, *self._others(done, rule.demand)], None, trace.message
            if trace.outcome is LayerOutcome.DENIED:
                denials.add(key, trace.message)
                if layer is not Layer.ADVISOR or self._engine.is_cise:
                    return [*done, *self._others(done, rule.demand)], None, None
            digest = trace.digest if trace.digest is not None else digest
        if digest is not None:
            denials.move(key, f"{deployed.name.repository}:{digest}")
        elif deployed.name.digest and _may_yet_be_signed(done):
            denials.begin(key)  # it would be forgotten as well, and is open
        return done, digest, None

    def _ask(self, layer: Layer, deployed: Deployed, demand: Demand) -> LayerTrace:
        offline = self._layers.offline
        if layer is Layer.SIMPLE and demand.simple is not None:
            return self._layers.simple.check(deployed, demand.simple, offline)
        if layer is Layer.TRUST and demand.trust is not None:
            return self._layers.trust.check(deployed, demand.trust, offline)
        if layer is Layer.ADVISOR and demand.advisor is not None:
            return self._layers.advisor.check(deployed, demand.advisor, offline)
        return LayerTrace(layer, LayerOutcome.NOT_ASKED)

    def _others(
        self, done: Sequence[LayerTrace] = (), demand: Demand | None = None
    ) -> Iterator[LayerTrace]:
        """Those that are not reached any more. demand: None where there is no rule."""
        for layer in self._engine.layers[len(done) :]:
            is_asked = demand is None or demand.asks(layer)
            yield LayerTrace(
                layer, LayerOutcome.NOT_REACHED if is_asked else LayerOutcome.NOT_ASKED
            )

    def _looked_at_again(self, workload: Workload, *, is_request: bool) -> Workload | Note | None:
        """What is made of it, if the engine looks at that; why it is not sent; None for neither."""
        if workload.is_pod or self._engine.skips_owned:
            return None
        return workload.child() if is_request else self._sent_of(workload)

    def _child(self, made: Workload, traces: Sequence[ContainerTrace]) -> Admission | None:
        """What is made of an object, judged, where that is not the same again."""
        changed = {
            (one.container.type, one.container.place): one.patch.value
            for one in traces
            if one.patch is not None
        }
        if not changed:
            return None
        return self._predict(made.with_images(changed), is_request=False)

    def _not_looked_at(
        self, workload: Workload, traces: Sequence[ContainerTrace], made: Workload | Note | None
    ) -> Iterator[Note]:
        for one in traces:
            where = f"container {shown(one.container.name)}"
            if one.container.is_blank:
                yield Note("blank-image", f"{where} names no image, and is passed over")
            elif one.rule is not None and one.rule.demand.is_nothing:
                text = f"{where}: {one.rule.owner} lets {shown(one.rule.repository)} through unseen"
                yield Note("image-unchecked", text)
            if any(layer.outcome in _ASKED for layer in one.layers if layer.layer in _EVIDENCE):
                yield from self._layers.limits
            for layer in one.layers:
                yield from layer.notes
            if one.is_forgotten:
                text = f"{where} is denied, which the engine forgets on its way"
                yield Note("denial-forgotten", text)
        for image, what in workload.pod.unseen:
            yield Note("image-unseen", f"no engine looks at the {what} {shown(image)}")
        if isinstance(made, Note):
            yield made
        if workload.replicas is not None:
            is_checked = isinstance(made, Workload) and made.is_pod
            those = "checked" if is_checked else "not checked either"
            yield Note("scale", f"scaling is never sent; the pods that it makes are {those}")
        yield _LATER


def _asks_for_both(demand: Demand) -> bool:
    """Simple signing and trust together: whatever they find, it is denied."""
    return demand.simple is not None and demand.trust is not None


def _conflicting(trust: LayerTrace, simple: str | None) -> LayerTrace:
    """simple: the digest that is signed. Words that the engine says with digests need both."""
    if trust.digest is not None and simple is not None:
        message = texts.conflicting(trust.digest, simple)
        return LayerTrace(trust.layer, LayerOutcome.DENIED, message)
    text = "signatures and trust in one rule deny whatever they find; in which words is not known"
    return replace(trust, outcome=LayerOutcome.OPEN, why=trust.why or ADMISSION_OPEN(text))


def _may_yet_be_signed(layers: Sequence[LayerTrace]) -> bool:
    signing = (Layer.SIMPLE, Layer.TRUST)
    return any(one.outcome is LayerOutcome.OPEN and one.layer in signing for one in layers)


def _patch(
    workload: Workload, container: Container, name: EngineName, digest: str | None, demand: Demand
) -> Patch | None:
    if digest is None or not demand.mutates:
        return None
    path = f"{workload.path}/{container.type}/{container.place}/image"
    return Patch(path, f"{name.repository}@sha256:{digest}")


def _is_forgotten(trace: ContainerTrace, told: frozenset[str]) -> bool:
    """Whether it was denied and none of its messages is told."""
    bad = [one.message for one in trace.layers if one.is_bad]
    return bool(bad) and told.isdisjoint(bad)
