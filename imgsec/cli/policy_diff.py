# SPDX-License-Identifier: Apache-2.0
"""``imgsec policy diff``: what would other policies change, in meaning and not in text?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
    from collections.abc import Iterator, Sequence

    from imgsec.domain.engines import Engine
    from imgsec.domain.verdict import Note, Verdict
    from imgsec.domain.webhook import Webhook
    from imgsec.operations.diff_policies import ImageDiff, WorkloadDiff
    from imgsec.ports import AdmissionState
    from imgsec.wiring import World

_COMMAND = "policy-diff"
_LIVE = "live"

BeforeArg = Annotated[
    str,
    typer.Argument(metavar="BEFORE", help="Policies: a file, a folder, or live for the cluster's."),
]
AfterArg = Annotated[
    str, typer.Argument(metavar="AFTER", help="What is compared with them, told in the same way.")
]
WorkloadsOpt = Annotated[
    list[str] | None,
    own(
        _COMMAND,
        "--workload",
        metavar="PATH",
        help="Manifests whose verdicts are compared: a file, a folder or -. Repeatable.",
    ),
]
ImagesOpt = Annotated[
    list[str] | None,
    own(
        _COMMAND,
        "--image",
        metavar="IMAGE",
        help="Images to compare, as workloads write them. By default those that the rules name.",
    ),
]
NamespacesOpt = Annotated[
    list[str] | None,
    own(
        _COMMAND,
        "--namespace",
        metavar="NAMESPACE",
        help="Where to compare. By default wherever policies differ. Repeatable.",
    ),
]
EngineAfterOpt = Annotated[
    str | None,
    own(
        _COMMAND,
        "--engine-after",
        metavar="VERSION",
        help="The engine of AFTER, if it is another one: what would an upgrade change?",
    ),
]
ExitCodeOpt = Annotated[
    bool, own(_COMMAND, "--exit-code", help="End in 1 if anything changes, as git diff does.")
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
    formats=("markdown",),
    title="policy diff",
)
def policy_diff(
    before: BeforeArg,
    after: AfterArg,
    *,
    workload: WorkloadsOpt = None,
    image: ImagesOpt = None,
    namespace: NamespacesOpt = None,
    engine_after: EngineAfterOpt = None,
    exit_code: ExitCodeOpt = False,
    prediction: PredictionOptions,
    settings: Settings,
) -> Answer:
    """What would AFTER change, compared with BEFORE? In meaning: which images and workloads are
    decided otherwise.

    Example: imgsec policy diff policies/ new-policies/ --workload manifests/ --offline

    Example: imgsec policy diff live policies/ --image us.icr.io/team/app:1.0
    """
    from imgsec.domain.engines import Engine
    from imgsec.domain.report import Report
    from imgsec.operations.admit import read_pools
    from imgsec.operations.compare_secrets import SecretComparison
    from imgsec.operations.diff_policies import WorkloadDiff, diff_images, diff_workloads
    from imgsec.wiring import wire

    _require_sense(image or (), namespace or ())
    place = (namespace or ["default"])[0]
    with wire(settings) as world:
        old = _state(world, before, place)
        new = _state(world, after, place)
        _require_policies(old, new)
        is_live = _LIVE in (before, after)
        ruled = new if is_live and before != _LIVE else old
        engine, webhook, notes = _engine_of(prediction, world, ruled, live=is_live)
        other = Engine.parse(engine_after) if engine_after is not None else engine
        pools = read_pools(old, engine), read_pools(new, other)
        secrets = SecretComparison(old, new)
        images = diff_images(*pools, image or (), namespace or (), secrets)
        workloads, passed_over = WorkloadDiff(), list[str]()
        if workload:
            workloads = diff_workloads(
                make_predictor(prediction, world, old, engine, webhook),
                make_predictor(prediction, world, new, other, webhook),
                read_workloads(world, workload, place, passed_over),
                pools,
                secrets,
            )
    notes += (*_engine_notes(engine, other, images), *passed_over_notes(passed_over))
    notes += tuple(_secret_notes(images))
    verdict = _verdict(images, workloads, notes, asked=exit_code)
    report = Report(
        "policy diff",
        verdict,
        meaning_changes=images.changes,
        admission_changes=workloads.changes,
    )
    return Answer(report)


def _require_sense(images: Sequence[str], namespaces: Sequence[str]) -> None:
    """Raises `ImgsecError` (invalid-option, invalid-name)."""
    from imgsec.domain.pattern_sets import is_name
    from imgsec.domain.policy import Namespace
    from imgsec.domain.reference import shown
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    for image in images:
        if not is_name(image):
            raise ImgsecError(INVALID_OPTION(f"--image {shown(image)}: it is no image's name"))
    for namespace in namespaces:
        Namespace.parse(namespace)


def _require_policies(*sides: AdmissionState) -> None:
    """Raises `ImgsecError` (no-policy)."""
    from imgsec.errors import ImgsecError
    from imgsec.reasons import NO_POLICY

    if not any(state.list_policies() for state in sides):
        raise ImgsecError(NO_POLICY("neither BEFORE nor AFTER has a policy to compare"))


def _engine_of(
    prediction: PredictionOptions, world: World, state: AdmissionState, *, live: bool
) -> tuple[Engine, Webhook | None, tuple[Note, ...]]:
    """The engine, and how it is registered; a cluster has policies to compare without one, too.

    Raises `ImgsecError` (engine-unknown) and what reading the cluster does.
    """
    from imgsec.domain.engines import NEWEST, Engine
    from imgsec.domain.verdict import Note
    from imgsec.errors import ImgsecError
    from imgsec.reasons import NOT_ENFORCED, PERMISSION_DENIED

    told = Engine.parse(prediction.engine) if prediction.engine is not None else None
    try:
        return *choose_engine(prediction, world, state, live=live), ()
    except ImgsecError as error:
        is_not_needed = told is not None and error.reason.code == PERMISSION_DENIED.code
        if error.reason.code != NOT_ENFORCED.code and not is_not_needed:
            raise
        engine = told or NEWEST
        text = f"judged as {engine} would: {error.reason.text}"
        return engine, None, (Note("engine-assumed", text),)


def _engine_notes(before: Engine, after: Engine, images: ImageDiff) -> Iterator[Note]:
    """What another engine changes for workloads, which images alone do not show."""
    from imgsec.domain.policy_diff import engines_differ
    from imgsec.domain.verdict import Note

    if told := engines_differ(before, after):
        yield Note("engines-differ", f"{before} and {after}: {', '.join(told)}")
    if images.pods:
        others = len(images.pods) - 1
        more = f" (and {others} more like it)" if others else ""
        yield Note("pods-differ", f"{images.pods[0]}{more}")


def _secret_notes(images: ImageDiff) -> Iterator[Note]:
    """What another Secret changes for images, which rules alone do not show."""
    from imgsec.domain.verdict import Note

    for one in images.secrets:
        yield Note("secret-differs" if one.is_read else "secret-unread", str(one))


def _verdict(
    images: ImageDiff, workloads: WorkloadDiff, told: tuple[Note, ...], *, asked: bool
) -> Verdict:
    """asked: whether a change is a refusal."""
    from imgsec.domain.admission import shown_workload
    from imgsec.domain.verdict import Note, because, passed
    from imgsec.reasons import DIFF_INCOMPLETE, DIFF_UNDECIDED, POLICY_DIFFERS

    open_reasons = []
    if images.left_out:
        what = "more rules could share images than were compared with each other"
        open_reasons.append(DIFF_INCOMPLETE(what))
    if workloads.open:
        others = len(workloads.open) - 1
        more = f" and {others} more" if others else ""
        what = f"{shown_workload(workloads.open[0])}{more}: undecided before and after"
        open_reasons.append(DIFF_UNDECIDED(what))
    count = len(images.changes) + len(workloads.changes)
    is_changed = count or images.pods
    if asked and open_reasons and not is_changed:
        return because(*open_reasons, notes=told)
    notes = (*told, *(Note(one.code, one.text) for one in open_reasons))
    if asked and is_changed:
        pods = f", and pods of {len(images.pods)} more" if images.pods else ""
        text = f"{count} images and workloads are decided otherwise{pods}"
        return because(POLICY_DIFFERS(text), notes=notes)
    return passed(Note("policies-compared", f"{count} images and workloads change"), *notes)


def _state(world: World, told: str, namespace: str) -> AdmissionState:
    live = told == _LIVE
    return world.admission_state(() if live else (told,), namespace=namespace, live=live)
