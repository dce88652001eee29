# SPDX-License-Identifier: Apache-2.0
"""The options of a prediction, which ``admit``, ``policy diff`` and ``publish-policy`` share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from imgsec.cli.options import Option, OptionGroup, loosened_notes, loosening, shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from imgsec.cli.output import Answer
    from imgsec.domain.admission import LayerTrace
    from imgsec.domain.engine_name import EngineName
    from imgsec.domain.engines import Engine
    from imgsec.domain.laxer_rules import LaxerRule
    from imgsec.domain.policy_rules import PolicyId
    from imgsec.domain.pull_secrets import PullCredential
    from imgsec.domain.verdict import Note
    from imgsec.domain.webhook import Webhook
    from imgsec.domain.workload import Workload
    from imgsec.operations.foresee_lockout import Foresight
    from imgsec.operations.image_evidence import Deployed
    from imgsec.operations.predict_admission import Layers, Predictor
    from imgsec.ports import AdmissionState, TrustReader
    from imgsec.wiring import World

_PANEL = "The prediction"
_NAMED_MAX = 5  # of many objects, in a sentence


EngineOpt = Annotated[
    str | None,
    shared(
        "--engine",
        metavar="VERSION",
        panel=_PANEL,
        help="Portieris 0.13.38, 0.14.1, 0.14.2 or 0.14.3, or cise. By default the one that the"
        " cluster runs where one is looked at, else the newest.",
    ),
]


@dataclass(frozen=True, slots=True)
class PredictionOptions:
    """As given; texts are parsed where they are used."""

    engine: str | None = None
    offline: bool = False
    signatures: str | None = None
    reserved_namespace: tuple[str, ...] = ()
    assume_pull_secrets: bool = False


_OPTIONS: dict[str, Option] = {
    "engine": (EngineOpt, None),
    "offline": (
        Annotated[
            bool,
            shared(
                "--offline",
                panel=_PANEL,
                help="Ask no registry and no advisor, and say what stays open.",
            ),
        ],
        False,
    ),
    "signatures": (
        Annotated[
            str | None,
            loosening(
                "--signatures",
                metavar="DIR",
                panel=_PANEL,
                help="Images and signatures from this folder instead of registries. Recorded.",
            ),
        ],
        None,
    ),
    "reserved_namespace": (
        Annotated[
            list[str] | None,
            loosening(
                "--reserved-namespace",
                metavar="NAMESPACE",
                panel=_PANEL,
                help="Its objects are not sent to the engine. Repeatable, recorded.",
            ),
        ],
        None,
    ),
    "assume_pull_secrets": (
        Annotated[
            bool,
            loosening(
                "--assume-pull-secrets",
                panel=_PANEL,
                help="The credentials of --authfile stand in for pull Secrets that were not given."
                " Recorded.",
            ),
        ],
        False,
    ),
}
PREDICTION = OptionGroup(PredictionOptions, "prediction", _OPTIONS)


def choose_engine(
    options: PredictionOptions, world: World, state: AdmissionState, *, live: bool
) -> tuple[Engine, Webhook | None]:
    """The engine that is asked for, or that runs in the cluster, and how it is registered.

    Raises `ImgsecError` (engine-unknown, not-enforced) and what reading the cluster does.
    """
    from imgsec.domain.engines import NEWEST, Engine
    from imgsec.operations.admit import find_webhook, installed_engine

    webhook = find_webhook(state)
    if options.engine is not None:
        return Engine.parse(options.engine), webhook
    if live:
        return installed_engine(webhook, world.cluster(dry_run=False)), webhook
    return NEWEST, webhook


def make_predictor(
    options: PredictionOptions,
    world: World,
    state: AdmissionState,
    engine: Engine,
    webhook: Webhook | None,
    settle: Callable[[LayerTrace, Deployed], LayerTrace] | None = None,
) -> Predictor:
    """settle: what is assumed of a layer that is open.

    Raises `ImgsecError` (policy-malformed, policy-foreign) and as reading what decides does."""
    from imgsec.domain.policy import Namespace
    from imgsec.operations.admit import read_pools
    from imgsec.operations.predict_admission import Predictor

    return Predictor(
        engine,
        read_pools(state, engine),
        state,
        _layers(options, world, state, engine),
        reserved=frozenset(Namespace.parse(one).text for one in options.reserved_namespace),
        webhook=webhook,
        assume=_assumed(world) if options.assume_pull_secrets else None,
        settle=settle,
    )


def _layers(
    options: PredictionOptions, world: World, state: AdmissionState, engine: Engine
) -> Layers:
    from imgsec.operations.advisor_layer import AdvisorLayer
    from imgsec.operations.image_evidence import RememberedImages
    from imgsec.operations.predict_admission import Layers
    from imgsec.operations.simple_layer import SimpleLayer
    from imgsec.operations.trust_layer import TrustLayer
    from imgsec.reasons import ADMISSION_OPEN

    images, now = None, world.clock.now()
    trust: TrustReader | None = None
    if options.signatures is not None:
        images = RememberedImages(world.folder_evidence(options.signatures))
        trust = world.folder_trust(options.signatures)
    elif not options.offline:
        images = RememberedImages(world.registry_evidence())
        trust = world.trust_reader()
    asks = not options.offline and options.signatures is None
    return Layers(
        SimpleLayer(state, images, world.new_keyring, now),
        TrustLayer(engine, state, trust, now),
        AdvisorLayer(engine, world.advisor_scanner() if asks else None, images),
        ADMISSION_OPEN("nothing was asked of registries or advisors, as was wanted"),
        loosened_notes(
            signatures=options.signatures, assume_pull_secrets=options.assume_pull_secrets
        ),
    )


def _assumed(world: World) -> Callable[[EngineName], PullCredential | None]:
    from imgsec.domain.pull_secrets import PullCredential
    from imgsec.domain.reference import ImageReference
    from imgsec.errors import ImgsecError

    def credential(name: EngineName) -> PullCredential | None:
        try:
            image = ImageReference.parse(name.tagged)
        except ImgsecError:
            return None
        pair = world.own_credential(image)
        return PullCredential("--authfile", name.host, pair) if pair is not None else None

    return credential


class Ahead:
    """What a change of policies does to a cluster, as the engine there would judge it; see
    `imgsec.operations.apply_policies.Prospect`.

    Where no engine of a known version runs yet, it is judged as the newest would; with
    accept_lockout also where nobody can tell.
    """

    def __init__(
        self, options: PredictionOptions, world: World, *, accept_lockout: bool = False
    ) -> None:
        self._options, self._world = options, world
        self._before = world.live_state()
        self._engine, self._notes = _engine_to_come(
            options, world, self._before, is_any_accepted=accept_lockout
        )
        self._webhook, self._is_enforced = _registered(self._before)

    def tell(self, command: str, work: Callable[[], Answer]) -> Answer:
        """The answer of the work, with what was found on the way, however the work ends."""
        from imgsec.cli.output import Answer
        from imgsec.domain.report import Report
        from imgsec.domain.verdict import because
        from imgsec.errors import ImgsecError

        try:
            answer = work()
        except ImgsecError as error:
            answer = Answer(Report(command, because(error.reason)))
        verdict = answer.report.verdict
        verdict = replace(verdict, notes=(*verdict.notes, *self._notes))
        return replace(answer, report=replace(answer.report, verdict=verdict))

    @property
    def engine(self) -> Engine:
        return self._engine

    def foresee(
        self, documents: Sequence[dict[str, Any]], removed: frozenset[PolicyId]
    ) -> Foresight:
        from imgsec.operations.admit import read_pools
        from imgsec.operations.foresee_lockout import (
            foresee_lockout,
            unnamed_notes,
            what_may_run,
        )

        after = self._before.changed(documents, removed)
        labels = self._webhook.objects.keys if self._webhook is not None else frozenset[str]()
        pods, unlisted = what_may_run(self._world.cluster(dry_run=False), labels)
        self._notes += unlisted
        foresight = foresee_lockout(
            pods,
            read_pools(self._before, self._engine),
            read_pools(after, self._engine),
            make_predictor(self._options, self._world, after, self._engine, self._webhook),
            labels=labels,
        )
        return replace(foresight, notes=unnamed_notes(foresight, is_enforced=self._is_enforced))

    def laxer_rules(
        self, documents: Sequence[dict[str, Any]], removed: frozenset[PolicyId]
    ) -> tuple[LaxerRule, ...]:
        from imgsec.domain.laxer_rules import laxer_rules
        from imgsec.domain.policy_rules import Policy

        new = [Policy.read(one).id for one in documents]
        policies = self._before.changed(documents, removed).list_policies()
        return laxer_rules(policies, new, self._engine)


def _registered(state: AdmissionState) -> tuple[Webhook | None, bool]:
    """The engine's webhook, and whether there is one: taken for so where nobody can tell."""
    from imgsec.errors import ImgsecError
    from imgsec.operations.admit import find_webhook
    from imgsec.reasons import NOT_ENFORCED

    try:
        return find_webhook(state), True
    except ImgsecError as error:
        return None, error.reason.code != NOT_ENFORCED.code


def _engine_to_come(
    options: PredictionOptions, world: World, state: AdmissionState, *, is_any_accepted: bool
) -> tuple[Engine, tuple[Note, ...]]:
    """The engine that is asked for or runs; else the newest, since one may be still to come.

    is_any_accepted: also where what runs cannot be told.
    """
    from imgsec.domain.engines import NEWEST, Engine
    from imgsec.domain.verdict import Note
    from imgsec.errors import ImgsecError
    from imgsec.reasons import (
        ENGINE_AMBIGUOUS,
        ENGINE_UNKNOWN,
        NOT_ENFORCED,
        PERMISSION_DENIED,
        POLICY_ENGINE_MISSING,
    )

    wanted = Engine.parse(options.engine) if options.engine is not None else None
    try:
        runs = choose_engine(replace(options, engine=None), world, state, live=True)[0]
    except ImgsecError as error:
        tolerated = (ENGINE_UNKNOWN, NOT_ENFORCED, PERMISSION_DENIED, POLICY_ENGINE_MISSING)
        is_tolerated = error.reason.code in [kind.code for kind in tolerated]
        if wanted is not None and is_tolerated:
            return wanted, ()
        if wanted is not None:
            differs = error.reason.code == ENGINE_AMBIGUOUS.code
            text = f"{error.reason.text}; all is judged as {wanted} would, as --engine says"
            return wanted, (Note("engine-differs" if differs else "engine-assumed", text),)
        if not is_any_accepted and not is_tolerated:
            raise
        return NEWEST, (Note("engine-assumed", f"judged as {NEWEST} would: {error.reason.text}"),)
    if wanted is None or wanted == runs:
        return runs, ()
    text = f"the cluster runs {runs}; all is judged as {wanted} would, as --engine says"
    return wanted, (Note("engine-differs", text),)


def read_workloads(
    world: World, paths: Sequence[str], namespace: str, passed_over: list[str] | None = None
) -> Iterator[Workload]:
    """The objects that run something, of manifests; namespace: of those that name none.

    passed_over: takes the names of those that do not, and name images all the same.
    """
    from imgsec.domain.image_holders import names_images
    from imgsec.domain.reference import shown
    from imgsec.domain.workload import read_workload

    for one in world.manifests(paths):
        workload = read_workload(
            one.content, namespace=namespace, where=one.where, line=one.line_of(())
        )
        if workload is not None:
            yield workload
        elif passed_over is not None and names_images(one.content):
            metadata = one.content.get("metadata")
            name = metadata.get("name") if isinstance(metadata, dict) else None
            passed_over.append(f"{one.content['kind']} {shown(str(name))}")


def passed_over_notes(names: Sequence[str]) -> Iterator[Note]:
    """What to say of the objects that `read_workloads` names."""
    from imgsec.domain.verdict import Note

    if names:
        named = ", ".join(names[:_NAMED_MAX])
        more = f" and {len(names) - _NAMED_MAX} more" if names[_NAMED_MAX:] else ""
        text = f"no workload, and names images: {named}{more}; what is made of it is judged then"
        yield Note("objects-passed-over", text)
