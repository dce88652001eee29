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
    own,
    with_options,
)
from imgsec.cli.output import Answer
from imgsec.cli.predicting import (
    PREDICTION,
    PredictionOptions,
    choose_engine,
    make_predictor,
    passed_over_notes,
    read_workloads,
)
from imgsec.config import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from imgsec.domain.admission_review import ReviewRequest
    from imgsec.domain.admission_suite import AdmissionTest
    from imgsec.domain.verdict import Note
    from imgsec.domain.workload import Workload
    from imgsec.operations.predict_admission import Predictor
    from imgsec.wiring import World

_COMMAND = "admit"
_CLUSTER_PANEL = "The cluster"
_NAMESPACE = "default"

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
    str | None,
    own(
        _COMMAND,
        "--namespace",
        metavar="NAMESPACE",
        rich_help_panel=_CLUSTER_PANEL,
        help="The namespace of objects that name none: default, or what a suite says, which this"
        " overrules.",
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


SuiteOpt = Annotated[
    str | None,
    own(
        _COMMAND,
        "--suite",
        metavar="FILE",
        help="Hold the policies against the admissions that this file expects.",
    ),
]


@with_options(
    IAM,
    ADVISOR,
    CLUSTER,
    REGISTRY,
    NETWORK,
    TOOLS,
    PREDICTION,
    results=("verdict",),
    formats=("junit", "markdown", "review"),
)
def admit(
    workloads: WorkloadsArg = None,
    *,
    policies: PoliciesOpt = None,
    live: LiveOpt = False,
    namespace: NamespaceOpt = None,
    review: ReviewOpt = None,
    suite: SuiteOpt = None,
    prediction: PredictionOptions,
    settings: Settings,
) -> Answer:
    """What will the cluster decide about WORKLOAD, and why? Nothing is changed anywhere.

    Per container: the rule that decides, the rules that almost did, what each layer says in the
    engine's own words, and what no engine looks at.

    Example: imgsec admit deployment.yaml --policies policies/

    Example: helm template chart/ | imgsec admit - --policies policies/ --offline
    """
    from imgsec.domain.policy import Namespace
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import all_of, passed
    from imgsec.errors import ImgsecError
    from imgsec.operations.admit import admit_all
    from imgsec.reasons import INVALID_OPTION
    from imgsec.wiring import wire

    live = live or settings.context is not None
    named = Namespace.parse(namespace).text if namespace is not None else None
    place = named or _NAMESPACE
    if not policies and not live and suite is None:
        raise ImgsecError(INVALID_OPTION("say what decides: --policies PATH, --context or --live"))
    if [bool(workloads), review is not None, suite is not None].count(True) != 1:
        raise ImgsecError(INVALID_OPTION("give either WORKLOADs, --review FILE or --suite FILE"))
    if [*(workloads or ()), *(policies or ()), review].count("-") > 1:
        raise ImgsecError(INVALID_OPTION("standard input can be read once: name files"))
    with wire(settings) as world:

        def predictor() -> Predictor:
            state = world.admission_state(policies or (), namespace=place, live=live)
            engine, webhook = choose_engine(prediction, world, state, live=live)
            return make_predictor(prediction, world, state, engine, webhook)

        if review is not None:
            return _answer_review(lambda: world.read_review(review), predictor, settings.timeout)
        if suite is not None:
            return _run_suite(world, suite, policies or (), named, prediction, live=live)
        judge, passed_over = predictor(), list[str]()
        given = read_workloads(world, workloads or (), place, passed_over)
        admissions = admit_all(given, judge)
        verdict = all_of(
            (*(one.verdict for one in admissions), passed(*passed_over_notes(passed_over)))
        )
    return Answer(Report(_COMMAND, verdict, admissions=admissions))


def _run_suite(
    world: World,
    path: str,
    policies: Sequence[str],
    namespace: str | None,
    prediction: PredictionOptions,
    *,
    live: bool,
) -> Answer:
    """Paths in the suite are seen from its own folder. namespace: in place of the suite's."""
    from pathlib import Path

    from imgsec.domain.report import Report
    from imgsec.domain.verdict import all_of, passed
    from imgsec.errors import ImgsecError
    from imgsec.operations.run_suite import assumed, pod_of, run_suite
    from imgsec.reasons import INVALID_OPTION

    suite = world.read_suite(path)
    folder = Path(path).parent
    paths = [*policies, *(str(folder / one) for one in suite.policies)]
    if not paths and not live:
        text = "the suite names no policies, and without any everything is denied"
        hint = "Name them there (policies:) or with --policies, or take a cluster's: --context."
        raise ImgsecError(INVALID_OPTION(text, hint=hint))
    place = namespace or suite.namespace or _NAMESPACE
    state = world.admission_state(paths, namespace=place, live=live)
    engine, webhook = choose_engine(prediction, world, state, live=live)
    if prediction.engine is None and suite.engine is not None:
        engine = suite.engine

    passed_over: list[str] = []

    def workloads(test: AdmissionTest) -> Iterable[Workload]:
        own = test.namespace or place
        if test.image is not None:
            return [pod_of(test.image, own)]
        return read_workloads(world, [str(folder / (test.workload or ""))], own, passed_over)

    results = run_suite(
        suite,
        lambda test: make_predictor(
            prediction,
            world,
            state,
            test.engine or engine,
            webhook,
            lambda trace, deployed: assumed(trace, deployed, test),
        ),
        workloads,
    )
    notes = passed_over_notes(tuple(dict.fromkeys(passed_over)))  # tests may share manifests
    verdict = all_of((*(one.verdict for one in results), passed(*notes)))
    return Answer(Report(_COMMAND, verdict, tests=results))


def _answer_review(
    read: Callable[[], Any], make_predictor: Callable[[], Predictor], seconds: int
) -> Answer:
    """Whatever goes wrong behind the request, the answer is a review that denies."""
    from imgsec.cli.lifetime import DeadlineReached
    from imgsec.domain import engine_texts as texts
    from imgsec.domain.admission_review import BadReview, ReviewAnswer, ReviewRequest
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import because
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INPUT_MALFORMED, TIMEOUT

    document = None
    try:
        try:
            document = read()
        except ImgsecError as error:
            if error.reason.code != INPUT_MALFORMED.code:
                raise
            raise BadReview(texts.undecodable(error.reason.text)) from None
        return _reviewed(ReviewRequest.parse(document), make_predictor())
    except BadReview as error:
        verdict, said = because(INPUT_MALFORMED(str(error))), [str(error)]
    except ImgsecError as error:
        verdict, said = because(error.reason), [error.reason.text]
    except DeadlineReached:
        reason = TIMEOUT(f"the command did not end within {seconds} s")
        verdict, said = because(reason), [reason.text]
    answer = ReviewAnswer.denied(document, said)
    return Answer(Report(_COMMAND, verdict, review=answer), prints="review")


def _reviewed(request: ReviewRequest, predictor: Predictor) -> Answer:
    from imgsec.domain.admission_review import ReviewAnswer
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import Note, passed
    from imgsec.domain.workload import is_read_by_engines, read_workload

    if request.object is None and is_read_by_engines(request.api, request.resource):
        note: Note = Note("nothing-to-run", f"{request.operation} brings no object to look at")
        answer = ReviewAnswer(request.version, request.uid, True)
        return Answer(Report(_COMMAND, passed(note), review=answer), prints="review")
    workload = read_workload(
        request.object or {}, namespace=request.namespace, request=(request.api, request.resource)
    )
    if workload is None:
        raise ValueError("a request always names its resource")
    admission = predictor.predict(workload, is_request=True)
    answer = ReviewAnswer.of(request, admission)
    report = Report(_COMMAND, admission.verdict, admissions=(admission,), review=answer)
    return Answer(report, prints="review")
