# SPDX-License-Identifier: Apache-2.0
"""``imgsec policy rollback``: put a policy back to what it was."""

from __future__ import annotations

from typing import Annotated

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
from imgsec.cli.predicting import PREDICTION, Ahead, PredictionOptions
from imgsec.config import Settings

_COMMAND = "policy-rollback"

NameArg = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", help="The policy's name; without it, what could be put back is listed."
    ),
]
NamespaceOpt = Annotated[
    str | None,
    own(
        _COMMAND,
        "--namespace",
        metavar="NAMESPACE",
        help="Of an ImagePolicy; without it, a ClusterImagePolicy is meant.",
    ),
]
DryRunOpt = Annotated[
    bool, own(_COMMAND, "--dry-run", help="Have the cluster check it, and keep nothing.")
]
AcceptOpt = Annotated[
    bool,
    loosening(
        "--accept-lockout",
        panel="Options",
        help="Do it also if pods that run now would be denied. Recorded.",
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
    title="policy rollback",
)
def policy_rollback(
    name: NameArg = None,
    *,
    namespace: NamespaceOpt = None,
    dry_run: DryRunOpt = False,
    accept_lockout: AcceptOpt = False,
    prediction: PredictionOptions,
    settings: Settings,
) -> Answer:
    """Put a policy of the cluster back to what it was before its last change.

    What `imgsec publish-policy --apply` replaces stays with the policy, so that one step back is
    always there; a second rollback takes the first one back. Pods that would be denied then are
    told, and nothing is done. Without NAME, what could be put back is listed, rule by rule, as
    --dry-run lists it for one.

    Example: imgsec policy rollback imgsec-signed-images --context prod
    """
    from dataclasses import replace

    from imgsec.domain.policy import Namespace, ObjectName
    from imgsec.domain.policy_rules import CLUSTER_KIND, NAMESPACED_KIND
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import Note
    from imgsec.operations.change_policies import list_history, roll_back
    from imgsec.wiring import wire

    kind = NAMESPACED_KIND if namespace else CLUSTER_KIND
    place = str(Namespace.parse(namespace)) if namespace else None
    with wire(settings) as world:
        if name is None:
            listed = list_history(world.cluster(dry_run=True), place)
            return Answer(Report("policy rollback", listed))
        named = str(ObjectName.parse(name))
        ahead = Ahead(prediction, world, accept_lockout=accept_lockout)

        def rolled_back() -> Answer:
            done = roll_back(
                kind,
                named,
                place,
                world.cluster(dry_run=dry_run),
                ahead.foresee,
                accept_lockout=accept_lockout,
            )
            verdict = done.verdict
            if dry_run and done.changes:
                said = Note("dry-run", "the cluster checked the policy and kept nothing")
                verdict = replace(verdict, notes=(said, *verdict.notes))
            return Answer(
                Report("policy rollback", verdict, changes=done.changes, admissions=done.locked_out)
            )

        return ahead.tell("policy rollback", rolled_back)
