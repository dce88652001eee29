# SPDX-License-Identifier: Apache-2.0
"""Where ``publish-policy`` puts what was rendered: a folder, or the cluster."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imgsec.cli.output import Answer

if TYPE_CHECKING:  # imported where they are used: --help needs none of them
    from imgsec.cli.predicting import Ahead
    from imgsec.domain.intent_rendering.rendered import Rendered
    from imgsec.domain.verdict import Note
    from imgsec.operations.apply_policies import Progress, Terms
    from imgsec.reasons import Reason
    from imgsec.wiring import World

_COMMAND = "publish-policy"


@dataclass(frozen=True, slots=True)
class Destination:
    """Either a folder, render, or a cluster, ahead. reads_secrets: the engine finds keys in
    Secrets.
    """

    render: Path | None
    dry_run: bool
    terms: Terms
    ahead: Ahead | None = None
    reads_secrets: bool = True


def publish(
    rendered: Rendered,
    destination: Destination,
    world: World,
    *,
    reasons: tuple[Reason, ...] = (),
    notes: tuple[Note, ...] = (),
) -> Answer:
    """Publish it, unless something stands against it. reasons, notes: what is known already."""
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import because

    reasons, notes = (*rendered.reasons, *reasons), (*notes, *rendered.notes)
    if destination.render is not None:
        return _to_folder(rendered, destination, destination.render, world, reasons, notes)
    if reasons or destination.ahead is None:
        return Answer(Report(_COMMAND, because(*reasons, notes=notes)))
    return _to_cluster(rendered, destination, destination.ahead, world, notes)


def _to_folder(
    rendered: Rendered,
    destination: Destination,
    render: Path,
    world: World,
    reasons: tuple[Reason, ...],
    notes: tuple[Note, ...],
) -> Answer:
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import because, passed
    from imgsec.operations.publish_intent import publish_rendered, secret_reasons

    folder, adopt = world.folder_sink(render), destination.terms.adopt
    if destination.reads_secrets:
        reasons += secret_reasons(
            rendered.documents,
            folder,
            lambda: world.keyring,
            world.clock.now(),
            must_exist=False,
        )
    if reasons:
        return Answer(Report(_COMMAND, because(*reasons, notes=notes)))
    changes, reason, left = publish_rendered(
        rendered,
        folder,
        world.plain_folder(render),
        adopt=adopt,
        pruning=destination.terms.pruning,
    )
    notes += (*left.notes(enforced=False), *world.notes())
    verdict = because(reason, notes=notes) if reason else passed(*notes)
    return Answer(Report(_COMMAND, verdict, changes=changes))


def _to_cluster(
    rendered: Rendered,
    destination: Destination,
    ahead: Ahead,
    world: World,
    notes: tuple[Note, ...],
) -> Answer:
    from dataclasses import replace

    from imgsec.domain.report import Report
    from imgsec.domain.verdict import Note
    from imgsec.operations.apply_policies import Progress, apply_policies
    from imgsec.operations.publish_intent import secret_reasons

    cluster = world.cluster(dry_run=destination.dry_run)
    progress = Progress()
    with _says_what_was_done(progress if not destination.dry_run else Progress()):
        done = apply_policies(
            rendered.documents,
            cluster,
            ahead,
            destination.terms,
            judge_keys=lambda: secret_reasons(
                rendered.documents,
                cluster,
                lambda: world.keyring,
                world.clock.now(),
                must_exist=True,
            ),
            progress=progress,
        )
    if destination.dry_run and done.changes:
        notes += (Note("dry-run", "the cluster checked the policies and kept nothing"),)
    verdict = replace(done.verdict, notes=(*notes, *done.verdict.notes, *world.notes()))
    return Answer(Report(_COMMAND, verdict, changes=done.changes, admissions=done.locked_out))


@contextmanager
def _says_what_was_done(progress: Progress) -> Iterator[None]:
    """If a signal or the time limit ends the block, standard error tells what is changed."""
    from imgsec.cli.lifetime import DeadlineReached, Terminated

    try:
        yield
    except (DeadlineReached, Terminated):
        if done := progress.told():
            with suppress(OSError):
                sys.stderr.write(f"imgsec: {done}\n")
        raise
