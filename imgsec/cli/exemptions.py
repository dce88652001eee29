# SPDX-License-Identifier: Apache-2.0
"""``imgsec exemptions``: what is exempt, where, why, until when, on whose word?"""

from __future__ import annotations

from typing import Annotated

import typer

from imgsec.cli.exemption_changes import (
    LedgerArg,
    exemptions_add,
    exemptions_export,
    exemptions_import,
    exemptions_remove,
)
from imgsec.cli.help import paragraphs
from imgsec.cli.options import ADVISOR, IAM, NETWORK, TOOLS, loosening, own, with_options
from imgsec.cli.output import Answer
from imgsec.config import Settings

app = typer.Typer(
    name="exemptions",
    help="Keep the ledger of exemptions from the scan gate, and let the advisor hold the same.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)
_DAYS_MAX = 36_500  # ours; a hundred years

SinceOpt = Annotated[
    str | None,
    own(
        "exemptions-lint",
        "--since",
        metavar="REV",
        help="Refuse entries added since this commit together with the image that they free.",
    ),
]
ExpiringOpt = Annotated[
    int,
    own(
        "exemptions-lint",
        "--expiring",
        metavar="DAYS",
        min=0,
        max=_DAYS_MAX,
        help="Tell of entries that end within so many days.",
    ),
]
MaxDaysOpt = Annotated[
    int,
    loosening(
        "--max-days",
        metavar="DAYS",
        min=1,
        max=_DAYS_MAX,
        panel="Options",
        help="Refuse entries that end later than this.",
    ),
]
AllowWideOpt = Annotated[
    list[str] | None,
    loosening(
        "--allow-wide",
        metavar="KIND",
        panel="Options",
        help="Accept entries for a namespace, or for the account. Repeatable, recorded.",
    ),
]
UsedByOpt = Annotated[
    list[str] | None,
    own(
        "exemptions-lint",
        "--used-by",
        metavar="FILE",
        help="JSON reports of gates: tell of entries that none of them used. Repeatable.",
    ),
]
ImageOpt = Annotated[
    str | None,
    own("exemptions-list", "--image", metavar="IMAGE", help="Only what holds for this image."),
]
HostOpt = Annotated[
    str | None,
    own(
        "exemptions-list",
        "--host",
        metavar="HOST",
        help="Compare with what the advisor of this registry holds, such as us.icr.io.",
    ),
]
TypesHostOpt = Annotated[
    str | None,
    own(
        "exemptions-types",
        "--host",
        metavar="HOST",
        help="Ask the advisor of this registry, such as us.icr.io.",
    ),
]
SyncHostOpt = Annotated[
    str,
    own("exemptions-sync", "--host", metavar="HOST", help="The registry, such as us.icr.io."),
]
ApplyOpt = Annotated[
    bool,
    own("exemptions-sync", "--apply", help="Do what the plan says; without it, only say it."),
]
StateOpt = Annotated[
    str | None,
    own(
        "exemptions-sync",
        "--state",
        metavar="FILE",
        help="What earlier runs put there, kept from run to run: it goes when the ledger lets go.",
    ),
]
PruneOpt = Annotated[
    bool,
    loosening(
        "--prune",
        panel="Options",
        help="Remove from the advisor what the ledger does not have, whoever put it there.",
    ),
]


@with_options(TOOLS, title="exemptions lint")
def exemptions_lint(
    ledger: LedgerArg,
    *,
    since: SinceOpt = None,
    expiring: ExpiringOpt = 14,
    max_days: MaxDaysOpt = 366,
    allow_wide: AllowWideOpt = None,
    used_by: UsedByOpt = None,
    settings: Settings,
) -> Answer:
    """Refuse a ledger with entries that lack something, are over, or exempt too much.

    Entries that end soon, or that no gate used, are told.

    Example: imgsec exemptions lint exemptions.yaml --since origin/main

    Example: imgsec exemptions lint exemptions.yaml --used-by gate.json --expiring 30
    """
    from datetime import timedelta

    from imgsec.domain.exemption_review import ReviewRules, review_ledger
    from imgsec.domain.report import Report
    from imgsec.errors import ImgsecError
    from imgsec.operations.lint_exemptions import change_since, used_in
    from imgsec.reasons import INVALID_OPTION
    from imgsec.wiring import wire

    kinds = ("account", "namespace")
    if unknown := set(allow_wide or ()) - set(kinds):
        raise ImgsecError(INVALID_OPTION(f"--allow-wide {min(unknown)}: {' or '.join(kinds)}"))
    with wire(settings) as world:
        file = world.ledger(ledger)
        read = file.read()
        rules = ReviewRules(
            world.clock.now().date(),
            timedelta(days=expiring),
            timedelta(days=max_days),
            tuple(kind for kind in kinds if kind not in (allow_wide or ())),
        )
        change = used = None
        if since is not None:
            change = change_since(since, file, world.repository_of(ledger))
        if used_by:
            used = used_in([world.gate_report(path) for path in used_by])
    verdict = review_ledger(read, rules, used=used, change=change)
    return Answer(Report("exemptions lint", verdict))


@with_options(IAM, ADVISOR, NETWORK, title="exemptions list")
def exemptions_list(
    ledger: LedgerArg, *, image: ImageOpt = None, host: HostOpt = None, settings: Settings
) -> Answer:
    """What is exempt, where, why, until when, on whose word.

    Example: imgsec exemptions list exemptions.yaml --image us.icr.io/team/app:1.0

    Example: imgsec exemptions list exemptions.yaml --host us.icr.io
    """
    from imgsec.domain.reference import ImageReference, parse_registry
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import Note, passed
    from imgsec.operations.list_exemptions import compare_with_advisor, hold_for, list_ledger
    from imgsec.wiring import wire

    with wire(settings) as world:
        read = world.ledger(ledger).read()
        registry = parse_registry(host) if host is not None else None
        named = ImageReference.parse(image) if image is not None else None
        lines = list_ledger(read, world.clock.now().date())
        if registry is not None:
            lines = compare_with_advisor(lines, registry, world.exemptions)
    if named is not None:
        lines = hold_for(lines, named)
    notes = [Note("exemption-ignored", problem.text) for problem in read.problems]
    if not lines:
        notes.append(Note("no-exemptions", "nothing is exempt there"))
    return Answer(Report("exemptions list", passed(*notes), exemptions=lines))


@with_options(IAM, ADVISOR, NETWORK, title="exemptions types")
def exemptions_types(*, host: TypesHostOpt = None, settings: Settings) -> Answer:
    """What can be exempt: CVEs, security notices, configuration issues.

    Example: imgsec exemptions types

    Example: imgsec exemptions types --host us.icr.io
    """
    from imgsec.domain.exemption import IssueType
    from imgsec.domain.reference import parse_registry
    from imgsec.domain.report import ExemptionType, Report
    from imgsec.domain.verdict import passed
    from imgsec.wiring import wire

    types = tuple((str(one), one.label) for one in IssueType)
    if host is not None:
        with wire(settings) as world:
            types = world.exemptions.list_types(parse_registry(host))
    found = tuple(ExemptionType(*one) for one in types)
    return Answer(Report("exemptions types", passed(), exemption_types=found))


@with_options(IAM, ADVISOR, NETWORK, title="exemptions sync")
def exemptions_sync(
    ledger: LedgerArg,
    *,
    host: SyncHostOpt,
    apply: ApplyOpt = False,
    state: StateOpt = None,
    prune: PruneOpt = False,
    settings: Settings,
) -> Answer:
    """Let the advisor hold what the ledger says: a plan, and with --apply the changes.

    Entries whose last day is over are removed there, and with --state those that left the ledger.
    What the ledger does not have otherwise is somebody else's and stays, unless --prune is given.

    Example: imgsec exemptions sync exemptions.yaml --host us.icr.io

    Example: imgsec exemptions sync exemptions.yaml --host us.icr.io --state synced.json --apply
    """
    from imgsec.domain.reference import parse_registry
    from imgsec.domain.report import Change, Report
    from imgsec.domain.verdict import Note, because, passed
    from imgsec.errors import ImgsecError
    from imgsec.operations.sync_exemptions import SyncRun, plan_sync
    from imgsec.wiring import wire

    host = parse_registry(host)
    with wire(settings) as world:
        read = world.ledger(ledger).read()
        today = world.clock.now().date()
        advisor = world.exemptions
        memory = world.sync_state(state, host) if state else None
        made = memory.read() if memory else frozenset()
        plan = plan_sync(read, host, advisor, today=today, prune=prune, made=made)
        run = SyncRun(plan, host, advisor, world.clock)
        reasons = []
        if apply:
            try:
                run.apply(memory.write if memory else lambda _: None)
            except ImgsecError as error:  # what was done until then is told
                reasons.append(error.reason)
        changes = run.changes if apply else plan.changes()
    notes = list(plan.notes)
    if plan.foreign:
        text = f"{len(plan.foreign)} stay in the advisor that the ledger does not have"
        notes.append(Note("only-in-advisor", text))
    if plan.is_empty:
        notes.append(Note("nothing-to-do", "the advisor holds all that the ledger says"))
    elif not apply:
        notes.append(Note("plan-only", "nothing was changed; --apply does it"))
    kept = (Change(str(one), "kept") for one in plan.foreign)
    verdict = because(*reasons, notes=notes) if reasons else passed(*notes)
    return Answer(Report("exemptions sync", verdict, changes=(*changes, *kept)))


for name, command in {
    "lint": exemptions_lint,
    "list": exemptions_list,
    "add": exemptions_add,
    "remove": exemptions_remove,
    "types": exemptions_types,
    "sync": exemptions_sync,
    "import": exemptions_import,
    "export": exemptions_export,
}.items():
    app.command(name, help=paragraphs(command))(command)
