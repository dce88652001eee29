# SPDX-License-Identifier: Apache-2.0
"""The commands of ``imgsec exemptions`` that write a file: the ledger, or another tool's."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from imgsec.cli.options import NETWORK, REGISTRY, loosening, own, with_options
from imgsec.cli.output import Answer
from imgsec.config import Settings

LedgerArg = Annotated[
    str, typer.Argument(metavar="LEDGER", help="The ledger, such as exemptions.yaml.")
]
OtherArg = Annotated[str, typer.Argument(metavar="FILE", help="The other tool's file.")]
_FORMATS = "trivyignore, grype or openvex"

AddIdOpt = Annotated[
    str,
    own(
        "exemptions-add",
        "--id",
        metavar="ID",
        help="The CVE, security notice or configuration issue.",
    ),
]
AddOwnerOpt = Annotated[
    str, own("exemptions-add", "--owner", metavar="WHO", help="Who takes the risk.")
]
AddReasonOpt = Annotated[
    str, own("exemptions-add", "--reason", metavar="TEXT", help="Why it may be taken.")
]
AddExpiresOpt = Annotated[
    str,
    own(
        "exemptions-add",
        "--expires",
        metavar="DAY",
        help="The last day, such as 2026-12-31, or a time from today, such as 30d.",
    ),
]
AddScopeOpt = Annotated[
    str | None,
    own(
        "exemptions-add",
        "--scope",
        metavar="SCOPE",
        help="namespace, namespace/repository, of that one :tag or @sha256:digest.",
    ),
]
AddWideOpt = Annotated[
    bool,
    loosening("--account-wide", panel="Options", help="For every image, instead of a scope."),
]
AddTypeOpt = Annotated[
    str | None,
    own(
        "exemptions-add",
        "--type",
        metavar="WORD",
        help="cve, sn or configuration; by default what the id looks like.",
    ),
]
AddPackageOpt = Annotated[
    list[str] | None,
    own(
        "exemptions-add",
        "--package",
        metavar="NAME",
        help="Only in this package. Repeatable: one entry must name all that a finding is in.",
    ),
]
AddFromOpt = Annotated[
    str | None,
    own(
        "exemptions-add",
        "--from",
        metavar="FILE",
        help="JSON report of the gate: its finding says type, packages and the digest as scope.",
    ),
]
RemoveIdOpt = Annotated[
    str | None,
    own("exemptions-remove", "--id", metavar="ID", help="The issue whose entry is to go."),
]
RemoveScopeOpt = Annotated[
    str | None,
    own("exemptions-remove", "--scope", metavar="SCOPE", help="Its scope, where it has several."),
]
RemoveExpiredOpt = Annotated[
    bool, own("exemptions-remove", "--expired", help="All entries whose last day is over.")
]
ImportFormatOpt = Annotated[
    str, own("exemptions-import", "--format", metavar="NAME", help=f"Of FILE: {_FORMATS}.")
]
ImportScopeOpt = Annotated[
    str | None,
    own(
        "exemptions-import",
        "--scope",
        metavar="SCOPE",
        help="Where the entries hold; not for OpenVEX, which names its images itself.",
    ),
]
ImportOwnerOpt = Annotated[
    str, own("exemptions-import", "--owner", metavar="WHO", help="Who takes the risk.")
]
ImportReasonOpt = Annotated[
    str | None,
    own(
        "exemptions-import",
        "--reason",
        metavar="TEXT",
        help="Why, for entries that do not say it.",
    ),
]
ImportExpiresOpt = Annotated[
    str | None,
    own(
        "exemptions-import",
        "--expires",
        metavar="DAY",
        help="The last day of entries without one: 2026-12-31, or a time from today: 30d.",
    ),
]
VexAuthorOpt = Annotated[
    str | None,
    own(
        "exemptions-import",
        "--vex-author",
        metavar="NAME",
        help="Of OpenVEX: who must have written it.",
    ),
]
ExportFormatOpt = Annotated[
    str, own("exemptions-export", "--format", metavar="NAME", help=f"Of FILE: {_FORMATS}.")
]
ExportImageOpt = Annotated[
    str,
    own(
        "exemptions-export",
        "--image",
        metavar="IMAGE",
        help="Whose exemptions, with a digest: other tools know no scopes.",
    ),
]
AuthorOpt = Annotated[
    str | None,
    own("exemptions-export", "--author", metavar="NAME", help="Of OpenVEX: who vouches for it."),
]


@with_options(title="exemptions add")
def exemptions_add(
    ledger: LedgerArg,
    *,
    id: AddIdOpt,
    owner: AddOwnerOpt,
    reason: AddReasonOpt,
    expires: AddExpiresOpt,
    scope: AddScopeOpt = None,
    account_wide: AddWideOpt = False,
    type: AddTypeOpt = None,
    package: AddPackageOpt = None,
    from_report: AddFromOpt = None,
    settings: Settings,
) -> Answer:
    """Write an entry into the ledger, which is made where there is none.

    Owner, reason and last day are needed. An entry for the same issue, scope and packages that says
    another owner, reason or day gives way to the new one.

    Example: imgsec exemptions add exemptions.yaml --id CVE-2026-1234 --scope team/app:1.0
    --owner jane@example.com --reason "not reachable" --expires 30d

    Example: imgsec exemptions add exemptions.yaml --id CVE-2026-1234 --from gate.json
    --owner jane@example.com --reason "fixed with 1.1" --expires 2026-12-31
    """
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import passed
    from imgsec.operations.change_exemptions import add_exemption
    from imgsec.wiring import wire

    words: dict[str, Any] = {
        **{"id": id, "type": type, "scope": scope, "account-wide": account_wide or None},
        **{"packages": package or None, "owner": owner, "reason": reason, "expires": expires},
    }
    given = {name: word for name, word in words.items() if word is not None}
    with wire(settings) as world:
        report = None if from_report is None else world.gate_report(from_report)
        today = world.clock.now().date()
        edit = add_exemption(world.ledger(ledger), given, report, today)
    return Answer(Report("exemptions add", passed(), changes=edit.changes))


@with_options(title="exemptions remove")
def exemptions_remove(
    ledger: LedgerArg,
    *,
    id: RemoveIdOpt = None,
    scope: RemoveScopeOpt = None,
    expired: RemoveExpiredOpt = False,
    settings: Settings,
) -> Answer:
    """Take an entry out of the ledger, or all whose last day is over; comments stay.

    Example: imgsec exemptions remove exemptions.yaml --id CVE-2026-1234 --scope team/app:1.0

    Example: imgsec exemptions remove exemptions.yaml --expired
    """
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import Note, passed
    from imgsec.errors import ImgsecError
    from imgsec.operations.change_exemptions import remove_exemptions
    from imgsec.reasons import INVALID_OPTION
    from imgsec.wiring import wire

    if expired == (id is not None) or (scope is not None and id is None):
        raise ImgsecError(INVALID_OPTION("give --id, with or without --scope, or --expired"))
    with wire(settings) as world:
        today = world.clock.now().date()
        edit = remove_exemptions(world.ledger(ledger), id, scope, today)
    notes = () if edit.gone else (Note("nothing-to-do", "the ledger has no such entry"),)
    return Answer(Report("exemptions remove", passed(*notes), changes=edit.changes))


@with_options(title="exemptions import")
def exemptions_import(
    ledger: LedgerArg,
    file: OtherArg,
    *,
    format: ImportFormatOpt,
    owner: ImportOwnerOpt,
    scope: ImportScopeOpt = None,
    reason: ImportReasonOpt = None,
    expires: ImportExpiresOpt = None,
    vex_author: VexAuthorOpt = None,
    settings: Settings,
) -> Answer:
    """Take over the exemptions of another tool, with what they lack: an owner, a scope, an end.

    What an entry says and the ledger cannot say is never dropped: such an entry is told instead.
    What the ledger has already stays as it is.

    Example: imgsec exemptions import exemptions.yaml .trivyignore.yaml --format trivyignore
    --scope team/app --owner jane@example.com --expires 90d

    Example: imgsec exemptions import exemptions.yaml vex.json --format openvex
    --owner jane@example.com --expires 90d --vex-author "Example Vendor"
    """
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import passed
    from imgsec.operations.import_exemptions import Terms, import_exemptions
    from imgsec.wiring import wire

    terms = Terms(owner, scope, reason, expires, vex_author)
    with wire(settings) as world:
        other = world.foreign_exemptions(file, format)
        today = world.clock.now().date()
        edit, notes = import_exemptions(world.ledger(ledger), other, terms, today)
    return Answer(Report("exemptions import", passed(*notes), changes=edit.changes))


@with_options(REGISTRY, NETWORK, title="exemptions export")
def exemptions_export(
    ledger: LedgerArg,
    file: OtherArg,
    *,
    format: ExportFormatOpt,
    image: ExportImageOpt,
    author: AuthorOpt = None,
    settings: Settings,
) -> Answer:
    """Write what is exempt for one image now, in the form of another tool.

    An entry that the other form cannot say without exempting more is left out, and told. With a
    tag beside the digest the registry is asked whether the one names the other, if an entry is for
    that tag.

    Example: imgsec exemptions export exemptions.yaml .trivyignore.yaml --format trivyignore
    --image us.icr.io/team/app@sha256:...
    """
    from imgsec.domain.reference import ImageReference
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import passed
    from imgsec.errors import ImgsecError
    from imgsec.operations.export_exemptions import export_exemptions
    from imgsec.reasons import INVALID_OPTION
    from imgsec.wiring import wire

    with wire(settings) as world:
        other = world.foreign_exemptions(file, format)
        named = ImageReference.parse(image)
        if named.digest is None:
            raise ImgsecError(INVALID_OPTION(f"--image needs a digest: {named}@sha256:..."))
        if format == "openvex" and not author:
            raise ImgsecError(INVALID_OPTION("an OpenVEX document needs --author"))
        change, notes = export_exemptions(
            world.ledger(ledger),
            other,
            named,
            author=author or "",
            now=world.clock.now(),
            find_registry=lambda: world.registry,
        )
    return Answer(Report("exemptions export", passed(*notes), changes=(change,)))
