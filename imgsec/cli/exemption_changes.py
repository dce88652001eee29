# SPDX-License-Identifier: Apache-2.0
"""The commands of ``imgsec exemptions`` that write a file: the ledger, or another tool's."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from imgsec.cli.options import NETWORK, REGISTRY, loosening, own, with_options
from imgsec.cli.output import Answer
from imgsec.config import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgsec.domain.exemption import Ledger

Said = TypeVar("Said")
Parsed = TypeVar("Parsed")
LedgerArg = Annotated[
    str, typer.Argument(metavar="LEDGER", help="The ledger, such as exemptions.yaml.")
]
OtherArg = Annotated[str, typer.Argument(metavar="FILE", help="The other tool's file.")]
_FORMATS = "trivyignore, grype or openvex"
_FOREIGN_MAX_BYTES = 8 * 2**20  # ours; ten thousand entries

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
    settings: Settings,  # noqa: ARG001 - every command has them
) -> Answer:
    """Write an entry into the ledger, which is made where there is none.

    Owner, reason and last day are needed. An entry for the same issue, scope and packages that says
    another owner, reason or day gives way to the new one.

    Example: imgsec exemptions add exemptions.yaml --id CVE-2026-1234 --scope team/app:1.0
    --owner jane@example.com --reason "not reachable" --expires 30d

    Example: imgsec exemptions add exemptions.yaml --id CVE-2026-1234 --from gate.json
    --owner jane@example.com --reason "fixed with 1.1" --expires 2026-12-31
    """
    from imgsec.adapters.ledger_file import change_ledger
    from imgsec.domain.exemption import Exemption
    from imgsec.domain.ledger_edits import add_entries
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import passed
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    said: dict[str, Any] = {}
    if from_report is not None:
        said = _of_finding(from_report, id, is_scoped=scope is not None or account_wide)
    today = _today()
    said |= {
        "id": id,
        "owner": owner,
        "reason": reason,
        "created": today.isoformat(),
        "expires": _last_day("--expires", expires, today).isoformat(),
    }
    if scope is not None or account_wide:
        said.pop("scope", None)
    if account_wide:
        said["account-wide"] = True
    if scope is not None:
        said["scope"] = scope
    if type is not None:
        said["type"] = type
    if package:
        said["packages"] = package
    entry = _parsed(Exemption.parse, said)
    if not entry.holds_on(today):
        raise ImgsecError(INVALID_OPTION(f"--expires {entry.expires} is over already"))
    edit = change_ledger(ledger, lambda before: add_entries(before, [entry], replaces=True))
    return Answer(Report("exemptions add", passed(), changes=edit.changes))


def _of_finding(path: str, issue: str, *, is_scoped: bool) -> dict[str, Any]:
    """What a finding in the gate's JSON report says of an exemption for it.

    is_scoped: the caller says where it holds. Raises (input-unreadable, input-malformed).
    """
    from imgsec.adapters.gate_reports import read_gate_report
    from imgsec.domain.reference import shown
    from imgsec.domain.vulnerability import IssueKind
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INPUT_MALFORMED

    found = [one for one in read_gate_report(path).findings if issue in one.names]
    if not found:
        raise ImgsecError(INPUT_MALFORMED(f"{shown(path)} has no finding {shown(issue)}"))
    images = {one.image for one in found}
    if len(images) > 1 and not is_scoped:
        text = f"{shown(path)} has {shown(issue)} in {len(images)} images; give --scope"
        raise ImgsecError(INPUT_MALFORMED(text))
    packages = sorted({name for one in found for name in one.packages})
    if found[0].kind == IssueKind.CONFIGURATION:
        return {"scope": min(images), "type": "configuration"}
    return {"scope": min(images), **({"packages": packages} if packages else {})}


@with_options(title="exemptions remove")
def exemptions_remove(
    ledger: LedgerArg,
    *,
    id: RemoveIdOpt = None,
    scope: RemoveScopeOpt = None,
    expired: RemoveExpiredOpt = False,
    settings: Settings,  # noqa: ARG001 - every command has them
) -> Answer:
    """Take an entry out of the ledger, or all whose last day is over; comments stay.

    Example: imgsec exemptions remove exemptions.yaml --id CVE-2026-1234 --scope team/app:1.0

    Example: imgsec exemptions remove exemptions.yaml --expired
    """
    from imgsec.adapters.ledger_file import change_ledger
    from imgsec.domain.ledger_edits import LedgerEdit, remove_entry, remove_expired
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import Note, passed
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    if expired == (id is not None) or (scope is not None and id is None):
        raise ImgsecError(INVALID_OPTION("give --id, with or without --scope, or --expired"))

    def choose(before: Ledger) -> LedgerEdit:
        if id is None:
            return remove_expired(before, _today())
        try:
            return remove_entry(before, id, scope)
        except ValueError as error:
            raise ImgsecError(INVALID_OPTION(f"{error}; give --scope")) from None

    edit = change_ledger(ledger, choose)
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
    settings: Settings,  # noqa: ARG001 - every command has them
) -> Answer:
    """Take over the exemptions of another tool, with what they lack: an owner, a scope, an end.

    What an entry says and the ledger cannot say is never dropped: such an entry is told instead.
    What the ledger has already stays as it is.

    Example: imgsec exemptions import exemptions.yaml .trivyignore.yaml --format trivyignore
    --scope team/app --owner jane@example.com --expires 90d

    Example: imgsec exemptions import exemptions.yaml vex.json --format openvex
    --owner jane@example.com --expires 90d --vex-author "Example Vendor"
    """
    from imgsec.adapters.exemption_files import Defaults
    from imgsec.adapters.exemption_files.formats import FORMATS
    from imgsec.adapters.files import load_yaml, read_file
    from imgsec.adapters.ledger_file import change_ledger
    from imgsec.domain import strict_json
    from imgsec.domain.exemption import ExemptionScope
    from imgsec.domain.ledger_edits import add_entries
    from imgsec.domain.reference import shown
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import Note, passed
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INPUT_MALFORMED, INVALID_OPTION

    form = FORMATS[_known_format(format)]
    if form.names_images and scope is not None:
        raise ImgsecError(INVALID_OPTION(f"--scope is not for {format}, which names its images"))
    if not form.names_images and scope is None:
        raise ImgsecError(INVALID_OPTION(f"{format} does not say where its entries hold; --scope"))
    today = _today()
    defaults = Defaults(
        owner=owner,
        scope=None if scope is None else _parsed(ExemptionScope.parse, scope),
        expires=_last_day("--expires", expires, today) if expires else None,
        reason=reason,
        today=today,
        author=vex_author,
    )
    content = read_file(file, max_bytes=_FOREIGN_MAX_BYTES)
    try:
        document = (
            strict_json.parse(content)
            if form.is_json
            else load_yaml(content, file, keeps_dates=True)
        )
        imported = form.read(document, defaults)
    except (ValueError, RecursionError) as error:
        raise ImgsecError(INPUT_MALFORMED(f"{shown(file)} is not taken over: {error}")) from None
    notes = [Note("exemption-skipped", text) for text in imported.skipped]
    over = [entry for entry in imported.entries if not entry.holds_on(today)]
    for entry in over:
        text = f"{entry.issue} ended on {entry.expires}"
        notes.append(Note("exemption-skipped", text))
    entries = [entry for entry in imported.entries if entry not in over]
    # Importing again tomorrow must not move anybody's last day: what is there stays.
    edit = change_ledger(ledger, lambda before: add_entries(before, entries, replaces=False))
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
    from imgsec.adapters.clock import SystemClock
    from imgsec.adapters.exemption_files import Export
    from imgsec.adapters.exemption_files.formats import FORMATS
    from imgsec.adapters.files import read_regular, update_file
    from imgsec.adapters.gate_files import read_ledger
    from imgsec.domain.exemption import subject_named
    from imgsec.domain.reference import ImageReference, shown
    from imgsec.domain.report import Change, Report
    from imgsec.domain.verdict import Note, passed
    from imgsec.errors import ImgsecError
    from imgsec.operations.scan_gate import tag_doubt
    from imgsec.reasons import FOREIGN_OBJECT, INVALID_OPTION
    from imgsec.wiring import wire

    form = FORMATS[_known_format(format)]
    named = ImageReference.parse(image)
    if named.digest is None:
        raise ImgsecError(INVALID_OPTION(f"--image needs a digest: {named}@sha256:..."))
    if format == "openvex" and not author:
        raise ImgsecError(INVALID_OPTION("an OpenVEX document needs --author"))
    read, _ = read_ledger(ledger)
    now = SystemClock().now()
    subject = subject_named(named)
    entries = tuple(one for one in read.in_force(now.date()) if one.scope.covers(subject))
    doubt = None
    if any(one.scope.tag for one in entries):
        with wire(settings) as world:
            doubt = tag_doubt(named, world.registry)
        if doubt is not None:
            entries = tuple(one for one in entries if not one.scope.tag)
    exported = form.write(Export(entries, subject, now, author or ""))
    content = exported.text.encode()
    held = read_regular(Path(file), max_bytes=_FOREIGN_MAX_BYTES)
    if held is not None and not form.is_ours(held):
        hint = "Choose another name, or take the file over with `exemptions import` and remove it."
        raise ImgsecError(FOREIGN_OBJECT(f"{shown(file)} was not made by export", hint=hint))
    if held is not None and form.is_same(held, content):
        content = held  # a new date alone is no change
    state = update_file(file, content)
    notes = [Note("exported-form", form.caution)] if exported.entries else []
    notes += [doubt] if doubt is not None else []
    notes += [Note("exemption-skipped", text) for text in exported.skipped]
    notes += [Note("exemption-ignored", problem.text) for problem in read.problems]
    written = Note("exported", f"{len(exported.entries)} of {len(entries)} exemptions")
    changes = (Change(file, state),)
    return Answer(Report("exemptions export", passed(written, *notes), changes=changes))


def _known_format(name: str) -> str:
    """Raises `ImgsecError` (invalid-option)."""
    from imgsec.adapters.exemption_files.formats import FORMATS
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    if name not in FORMATS:
        raise ImgsecError(INVALID_OPTION(f"--format is one of {', '.join(FORMATS)}"))
    return name


def _today() -> date:
    from imgsec.adapters.clock import SystemClock

    return SystemClock().now().date()


def _last_day(option: str, text: str, today: date) -> date:
    """A day, or a time from today. Raises `ImgsecError` (invalid-option)."""
    from imgsec.domain.exemption import parse_day
    from imgsec.domain.gate_file import parse_age
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    try:
        return today + parse_age(text) if text[-1:].isalpha() else parse_day(text)
    except (ValueError, OverflowError) as error:
        raise ImgsecError(INVALID_OPTION(f"{option}: {error}")) from None


def _parsed(parse: Callable[[Said], Parsed], said: Said) -> Parsed:
    """What the options say, parsed. Raises `ImgsecError` (invalid-option)."""
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    try:
        return parse(said)
    except ValueError as error:
        raise ImgsecError(INVALID_OPTION(str(error))) from None
