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
    read_workloads,
)
from imgsec.config import Settings

if TYPE_CHECKING:
    from imgsec.domain.admission import AdmissionChange
    from imgsec.domain.verdict import Verdict
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
    from dataclasses import replace

    from imgsec.domain.report import Report
    from imgsec.operations.admit import read_pools
    from imgsec.operations.diff_policies import diff_images, diff_workloads
    from imgsec.wiring import wire

    place = (namespace or ["default"])[0]
    with wire(settings) as world:
        old = _state(world, before, place)
        new = _state(world, after, place)
        engine, webhook = choose_engine(prediction, world, old, live=before == _LIVE)
        wanted = replace(prediction, engine=engine_after or engine.name)
        other, _ = choose_engine(wanted, world, new, live=False)
        images = diff_images(
            read_pools(old, engine), read_pools(new, other), image or (), namespace or ()
        )
        workloads: tuple[AdmissionChange, ...] = ()
        if workload:
            workloads = diff_workloads(
                make_predictor(prediction, world, old, engine, webhook),
                make_predictor(wanted, world, new, other, webhook),
                read_workloads(world, workload, place),
            )
    verdict = _verdict(len(images.changes) + len(workloads), images.left_out, asked=exit_code)
    report = Report(
        "policy diff", verdict, meaning_changes=images.changes, admission_changes=workloads
    )
    return Answer(report)


def _verdict(count: int, left_out: bool, *, asked: bool) -> Verdict:
    """asked: whether a change is a refusal."""
    from imgsec.domain.verdict import Note, because, passed
    from imgsec.reasons import DIFF_INCOMPLETE, POLICY_DIFFERS

    notes = [Note("policies-compared", f"{count} images and workloads change")]
    what = "more rules could share images than were compared with each other"
    if left_out:
        notes.append(Note("diff-incomplete", what))
    if asked and count:
        text = f"{count} images and workloads are decided otherwise"
        return because(POLICY_DIFFERS(text), notes=notes[1:])
    if asked and left_out:
        return because(DIFF_INCOMPLETE(what))
    return passed(*notes)


def _state(world: World, told: str, namespace: str) -> AdmissionState:
    live = told == _LIVE
    return world.admission_state(() if live else (told,), namespace=namespace, live=live)
