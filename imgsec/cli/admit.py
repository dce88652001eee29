# SPDX-License-Identifier: Apache-2.0
"""``imgsec admit``: what will the cluster decide about this workload, and why?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgsec.cli.options import (
    ADVISOR,
    CLUSTER,
    IAM,
    NETWORK,
    REGISTRY,
    TOOLS,
    loosening,
    own,
    with_options,
)
from imgsec.cli.output import Answer
from imgsec.config import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from imgsec.adapters.admission_state import FileState, LiveState
    from imgsec.domain.admission_review import ReviewRequest
    from imgsec.domain.engine_name import EngineName
    from imgsec.domain.pull_secrets import PullCredential
    from imgsec.domain.verdict import Note
    from imgsec.domain.workload import Workload
    from imgsec.operations.predict_admission import Predictor
    from imgsec.wiring import World

_COMMAND = "admit"
_CLUSTER_PANEL = "The cluster"

WorkloadsArg = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="WORKLOAD...",
        help="Manifests: files, folders, or - for standard input, as helm template prints it.",
    ),
]
PoliciesOpt = Annotated[
    list[str] | None,
    own(
        _COMMAND,
        "--policies",
        metavar="PATH",
        rich_help_panel=_CLUSTER_PANEL,
        help="Policies, key Secrets, pull Secrets, ServiceAccounts: a file or folder. Repeatable.",
    ),
]
LiveOpt = Annotated[
    bool,
    own(
        _COMMAND,
        "--live",
        rich_help_panel=_CLUSTER_PANEL,
        help="Read them from the cluster, which --context NAME does too; --policies come over it.",
    ),
]
NamespaceOpt = Annotated[
    str,
    own(
        _COMMAND,
        "--namespace",
        metavar="NAMESPACE",
        rich_help_panel=_CLUSTER_PANEL,
        help="The namespace of objects that name none.",
    ),
]
EngineOpt = Annotated[
    str | None,
    own(
        _COMMAND,
        "--engine",
        metavar="VERSION",
        rich_help_panel=_CLUSTER_PANEL,
        help="Portieris 0.13.38, 0.14.1, 0.14.2 or 0.14.3, or cise. By default the one that the"
        " cluster runs, else the newest.",
    ),
]
ReservedOpt = Annotated[
    list[str] | None,
    loosening(
        "--reserved-namespace",
        metavar="NAMESPACE",
        panel=_CLUSTER_PANEL,
        help="Its objects are not sent to the engine. Repeatable, recorded.",
    ),
]
AssumeOpt = Annotated[
    bool,
    loosening(
        "--assume-pull-secrets",
        panel=_CLUSTER_PANEL,
        help="The credentials of --authfile stand in for pull Secrets that were not given."
        " Recorded.",
    ),
]
ReviewOpt = Annotated[
    str | None,
    own(
        _COMMAND,
        "--review",
        metavar="FILE|-",
        help="Answer this AdmissionReview (JSON) as the webhook would, with an AdmissionReview.",
    ),
]
OfflineOpt = Annotated[
    bool,
    own(_COMMAND, "--offline", help="Ask no registry and no advisor, and say what stays open."),
]
SignaturesOpt = Annotated[
    str | None,
    loosening(
        "--signatures",
        metavar="DIR",
        panel="Options",
        help="Images and signatures from this folder instead of registries. Recorded.",
    ),
]


@with_options(
    IAM,
    ADVISOR,
    CLUSTER,
    REGISTRY,
    NETWORK,
    TOOLS,
    results=("verdict",),
    formats=("junit", "markdown", "review"),
)
def admit(
    workloads: WorkloadsArg = None,
    *,
    policies: PoliciesOpt = None,
    live: LiveOpt = False,
    namespace: NamespaceOpt = "default",
    engine: EngineOpt = None,
    review: ReviewOpt = None,
    offline: OfflineOpt = False,
    signatures: SignaturesOpt = None,
    reserved_namespace: ReservedOpt = None,
    assume_pull_secrets: AssumeOpt = False,
    settings: Settings,
) -> Answer:
    """What will the cluster decide about WORKLOAD, and why? Nothing is changed anywhere.

    Per container: the rule that decides, the rules that almost did, what each layer says in the
    engine's own words, and what no engine looks at.

    Example: imgsec admit deployment.yaml --policies policies/

    Example: helm template chart/ | imgsec admit - --policies policies/ --offline
    """
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import all_of
    from imgsec.errors import ImgsecError
    from imgsec.operations.admit import admit_all
    from imgsec.reasons import INVALID_OPTION
    from imgsec.wiring import wire

    live = live or settings.context is not None
    if not policies and not live:
        raise ImgsecError(INVALID_OPTION("say what decides: --policies PATH, --context or --live"))
    if bool(workloads) is (review is not None):
        raise ImgsecError(INVALID_OPTION("give either WORKLOADs or --review FILE"))
    with wire(settings) as world:
        if review is not None:
            return _answer_review(
                lambda: world.read_review(review),
                lambda: _predictor(
                    world,
                    world.admission_state(policies or (), namespace=namespace, live=live),
                    engine,
                    live=live,
                    offline=offline,
                    signatures=signatures,
                    reserved=reserved_namespace or (),
                    assume=assume_pull_secrets,
                ),
            )
        state = world.admission_state(policies or (), namespace=namespace, live=live)
        predictor = _predictor(
            world,
            state,
            engine,
            live=live,
            offline=offline,
            signatures=signatures,
            reserved=reserved_namespace or (),
            assume=assume_pull_secrets,
        )
        admissions = admit_all(_read(world, workloads or (), namespace), predictor)
        verdict = all_of(one.verdict for one in admissions)
    return Answer(Report(_COMMAND, verdict, admissions=admissions))


def _predictor(
    world: World,
    state: FileState | LiveState,
    engine: str | None,
    *,
    live: bool,
    offline: bool,
    signatures: str | None,
    reserved: Sequence[str],
    assume: bool,
) -> Predictor:
    """Raises `ImgsecError` (engine-unknown, not-enforced) and as reading what decides does."""
    from imgsec.domain.engines import NEWEST, Engine
    from imgsec.operations.admit import find_webhook, installed_engine, read_pools
    from imgsec.operations.advisor_layer import AdvisorLayer
    from imgsec.operations.image_evidence import RememberedImages
    from imgsec.operations.predict_admission import Layers, Predictor
    from imgsec.operations.simple_layer import SimpleLayer
    from imgsec.operations.trust_layer import TrustLayer
    from imgsec.reasons import ADMISSION_OPEN

    webhook = find_webhook(state)
    if engine is not None:
        chosen = Engine.parse(engine)
    else:
        chosen = installed_engine(webhook, world.cluster(dry_run=False)) if live else NEWEST
    images = None
    if signatures is not None:
        images = RememberedImages(world.folder_evidence(signatures))
    elif not offline:
        images = RememberedImages(world.registry_evidence())
    scanner = None if offline or signatures is not None else world.advisor_scanner()
    layers = Layers(
        SimpleLayer(state, images, world.new_keyring, world.clock.now()),
        TrustLayer(chosen),
        AdvisorLayer(chosen, scanner, images),
        ADMISSION_OPEN("nothing was asked of registries or advisors, as was wanted"),
    )
    return Predictor(
        chosen,
        read_pools(state, chosen),
        state,
        layers,
        reserved=frozenset(reserved),
        webhook=webhook,
        assume=_assumed(world) if assume else None,
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


def _read(world: World, paths: Sequence[str], namespace: str) -> Iterator[Workload]:
    from imgsec.domain.workload import read_workload

    for one in world.read_manifests(paths):
        workload = read_workload(
            one.content, namespace=namespace, where=one.where, line=one.line_of(())
        )
        if workload is not None:
            yield workload


def _answer_review(read: Callable[[], Any], make_predictor: Callable[[], Predictor]) -> Answer:
    """Whatever goes wrong behind the request, the answer is a review that denies."""
    from imgsec.domain.admission_review import BadReview, ReviewAnswer, ReviewRequest
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import because
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INPUT_MALFORMED

    request = None
    try:
        request = ReviewRequest.parse(read())
        return _reviewed(request, make_predictor())
    except BadReview as error:
        verdict, said = because(INPUT_MALFORMED(str(error))), [str(error)]
    except ImgsecError as error:
        verdict, said = because(error.reason), [error.reason.text]
    answer = ReviewAnswer.denied(request, said)
    return Answer(Report(_COMMAND, verdict, review=answer), prints="review")


def _reviewed(request: ReviewRequest, predictor: Predictor) -> Answer:
    from imgsec.domain.admission_review import ReviewAnswer
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import Note, passed
    from imgsec.domain.workload import read_workload

    if request.object is None:
        note: Note = Note("nothing-to-run", f"{request.operation} brings no object to look at")
        answer = ReviewAnswer(request.version, request.uid, True)
        return Answer(Report(_COMMAND, passed(note), review=answer), prints="review")
    workload = read_workload(
        request.object, namespace=request.namespace, request=(request.api, request.resource)
    )
    if workload is None:
        raise ValueError("a request always names its resource")
    admission = predictor.predict(workload, is_request=True)
    answer = ReviewAnswer.of(request, admission)
    report = Report(_COMMAND, admission.verdict, admissions=(admission,), review=answer)
    return Answer(report, prints="review")
