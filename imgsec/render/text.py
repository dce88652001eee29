# SPDX-License-Identifier: Apache-2.0
"""A report as lines for people: one line per image, and under it why and what to do next.

Texts of services (summaries of vulnerabilities, messages of tools) are foreign. Control characters
are taken out of them, and no line begins with one, so that none can move a cursor, change a colour
or speak to the log that it is printed in: GitHub Actions obeys ``::error::`` at the beginning of a
line, and the older ``##[error]`` anywhere in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from imgsec.domain.invisible import INVISIBLE
from imgsec.domain.report import (
    ExemptionLine,
    ImageReport,
    KeyEntry,
    PushedImage,
    Report,
    ResolvedImage,
    ScannedImage,
    SignedImage,
    UncheckedImage,
    VerifiedImage,
    is_of_policies,
)
from imgsec.reasons import Outcome, Reason

if TYPE_CHECKING:  # only one command rotates
    from imgsec.domain.rotation import Rotation

_UNPRINTABLE = re.compile(rf"[\t\n\r{INVISIBLE}]+")
_GATING = ("scan-gate", "release-image")  # they say last whether the image may be deployed
_OLDER_COMMAND = re.compile(r"##(?=(?:vso)?\[)")


def clean(text: str) -> str:
    """The text in one line, without control characters or a command to the log.

    >>> clean("a\\x1b[31mb\\n::error::c")
    'a [31mb ::error::c'
    """
    return _OLDER_COMMAND.sub("# #", _UNPRINTABLE.sub(" ", text))


def report_lines(
    report: Report, *, verbose: bool = False, width: int | None = None
) -> Iterator[str]:
    """The report in lines without line ends; verbose adds what else the JSON report has.

    width: of the terminal, in columns; None for none, and then no name is ever cut.
    """
    for part in report.images:
        yield from _image_lines(part, verbose=verbose, width=width)
    if report.key is not None:
        key = report.key
        ends = f"ends {key.expires:%Y-%m-%d}" if key.expires else "has no end date"
        yield f"key: kms://{key.alias} {key.fingerprint} ({key.algorithm}, {ends})"
        if verbose:
            yield f"  ids in the KMS: {key.key_id}, public half {key.public_key_id}"
    for change in report.changes:
        yield f"{change.state}: {clean(change.target)}"
    if report.rotation is not None:
        yield from _rotation_lines(report.rotation)
    yield from _further_parts(report, verbose=verbose)
    if report.listing is not None:
        from imgsec.render.listing import listing_lines

        yield from map(clean, listing_lines(report.listing, verbose=verbose, width=width))
    if is_of_policies(report):
        from imgsec.render.prediction import prediction_lines

        yield from map(clean, prediction_lines(report, verbose=verbose))
    if len(report.images) > 1:
        yield _summary(report)
    unsaid = _unsaid(report)
    if unsaid or (report.verdict.outcome is not Outcome.PASS and not _has_parts(report)):
        yield f"{report.verdict.outcome.word}: {report.command}"
    yield from _reasons(unsaid)
    for note in report.verdict.notes:
        yield f"note: {note.code}: {clean(note.text)}"
    if report.command in _GATING and report.images:
        from imgsec.render.scan_text import deploy_line

        yield deploy_line([part.verdict for part in report.images])


def _image_lines(part: ImageReport, *, verbose: bool, width: int | None) -> Iterator[str]:
    yield f"{part.verdict.outcome.word}: {_subject(part)}"
    yield from _reasons(part.verdict.reasons)
    yield from _answer_lines(part, verbose=verbose)
    for name, step in part.steps:
        yield f"  {name}: {step.verdict.outcome.word}: {_subject(step)}"
        if isinstance(step.found, ScannedImage):
            yield from _scan_lines(step.found, verbose=verbose, width=width)
    if isinstance(part.found, ScannedImage):
        yield from _scan_lines(part.found, verbose=verbose, width=width)
    if verbose:
        yield from _details(part)


def _scan_lines(found: ScannedImage, *, verbose: bool, width: int | None) -> Iterator[str]:
    from imgsec.render.scan_text import scan_lines

    return map(clean, scan_lines(found, verbose=verbose, width=width))


def _answer_lines(part: ImageReport, *, verbose: bool) -> Iterator[str]:
    """What each consumer would say, where they differ."""
    outcomes = {answer.verdict.outcome for answer in part.answers}
    if len(outcomes) < 2 and not verbose:
        return
    for answer in part.answers:
        codes = ", ".join(dict.fromkeys(reason.code for reason in answer.verdict.reasons))
        why = f" ({codes})" if codes else ""
        yield f"  {answer.verifier}: {answer.verdict.outcome.word}{why}"


def _summary(report: Report) -> str:
    words = [part.verdict.outcome.word for part in report.images]
    counted = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
    return f"{len(words)} images: {counted}"


def _has_parts(report: Report) -> bool:
    parts = (
        report.images,
        report.keys,
        report.verifiers,
        report.checks,
        report.admissions,
        report.tests,
    )
    return any(parts)


def _unsaid(report: Report) -> list[Reason]:
    """The reasons of the whole that no part of it has said."""
    parts = (
        *(report.images, report.keys, report.verifiers, report.checks, report.running),
        *(report.admissions, report.tests),
    )
    said = {reason for part in parts for one in part for reason in one.verdict.reasons}
    return [reason for reason in report.verdict.reasons if reason not in said]


def _further_parts(report: Report, *, verbose: bool) -> Iterator[str]:
    for entry in report.keys:
        yield from _key_lines(entry, verbose=verbose)
    for check in report.checks:
        word = "ok" if check.verdict.passed else "problem"
        yield f"{word}: {check.name}{': ' if check.found else ''}{clean(check.found)}"
        yield from _reasons(check.verdict.reasons)
    for answer in report.verifiers:
        yield f"{answer.verifier}: {answer.verdict.outcome.word}"
        yield from _reasons(answer.verdict.reasons)
    for line in report.exemptions:
        yield from _exemption_lines(line)
    for kind in report.exemption_types:
        yield f"{clean(kind.id)}: {clean(kind.name)}"
    for one in report.running:
        if verbose or not one.verdict.passed:
            where = clean(", ".join(one.namespaces))
            yield f"running: {one.verdict.outcome.word}: {clean(one.image)} (in {where})"
            yield from _reasons(one.verdict.reasons)


def _exemption_lines(line: ExemptionLine) -> Iterator[str]:
    kept = {None: "", True: ", in the advisor", False: ", not in the advisor"}[line.kept]
    name = clean(f"{line.issue} ({line.type}) for {line.scope}")
    entry = line.entry
    if entry is None:
        yield f"{line.state}: {name}, on nobody's word"
        return
    only = f" in {', '.join(entry.packages)}" if entry.packages else ""
    yield f"{line.state}: {name}{clean(only)} until {entry.expires}{kept}"
    yield f"  {clean(entry.owner)}: {clean(entry.reason)}"


def _rotation_lines(rotation: Rotation) -> Iterator[str]:
    yield f"rotation of kms://{rotation.alias}: {rotation.stage}"
    words = ("old", "signs" if rotation.stage == "none" else "new")
    for word, key in zip(words, (rotation.old, rotation.new), strict=True):
        if key is not None:
            ends = f"ends {key.expires:%Y-%m-%d}" if key.expires else "has no end date"
            yield f"  {word}: {key.fingerprint} ({ends}), id {key.key_id}"
    if rotation.secrets:
        yield f"  published: {clean(', '.join(rotation.secrets))}"
    yield f"  next: {rotation.next_step}"


def _key_lines(entry: KeyEntry, *, verbose: bool) -> Iterator[str]:
    public = entry.public
    said = "no public half"
    if public is not None:
        ends = f"ends {public.expires:%Y-%m-%d}" if public.expires else "has no end date"
        if entry.days_left is not None:
            ends += f" in {entry.days_left} days"
        ability = "signs" if public.can_sign else "does not sign"
        said = f"{public.fingerprint} ({public.algorithm}, {ability}, {ends})"
    yield f"{entry.verdict.outcome.word}: kms://{clean(entry.alias)} {said}"
    yield from _reasons(entry.verdict.reasons)
    for place in entry.published or ():
        trusted = ", ".join(map(clean, place.trusted_by)) or "no policy"
        yield f"  published: {clean(place.secret)}, trusted by {trusted}"
    if entry.published == ():
        yield "  published: nowhere that was looked at"
    if verbose:
        made = f", made {entry.created:%Y-%m-%d}" if entry.created else ""
        also = (
            f", also {', '.join(map(clean, entry.further_aliases))}"
            if entry.further_aliases
            else ""
        )
        state = f", {clean(entry.state)}" if entry.state else ""
        yield f"  id in the KMS: {entry.key_id}{made}{also}{state}"


def _subject(part: ImageReport) -> str:
    found = part.found
    if found is None:
        return str(part.asked)
    said = {
        ResolvedImage: _resolved,
        ScannedImage: _scanned,
        SignedImage: _signed,
        VerifiedImage: _verified,
        PushedImage: lambda _: "(pushed, and not signed)",
        UncheckedImage: lambda _: "(let through unchecked)",
    }[type(found)](found)  # type: ignore[operator]
    return f"{found.image} {said}"


def _resolved(found: ResolvedImage) -> str:
    platforms = ", ".join(map(clean, found.platforms)) or "no platform named"
    return f"({clean(found.media_type)}: {platforms})"


def _scanned(found: ScannedImage) -> str:
    said = [clean(str(report.status)) for scan in found.scans for report in scan.reports]
    words = ", ".join(dict.fromkeys(said))
    counts = (
        ("found", sum(len(scan.findings) for scan in found.scans)),
        ("in force", sum(len(scan.gated) for scan in found.scans)),
    )
    return f"(scan: {words}, {', '.join(f'{count} {word}' for word, count in counts)})"


def _signed(found: SignedImage) -> str:
    pushed = "pushed, " if found.is_pushed else ""
    return f"({pushed}{'signed' if found.is_new else 'was signed already'} by {found.signer})"


def _verified(found: VerifiedImage) -> str:
    return f"(signed by {found.signer} on {found.signed_at:%Y-%m-%d})"


def _reasons(reasons: Iterable[Reason]) -> Iterator[str]:
    for reason in reasons:
        yield f"  {reason.code}: {clean(reason.text)}"
        yield f"    hint: {clean(reason.hint)}"


def _details(part: ImageReport) -> Iterator[str]:
    found = part.found
    if isinstance(found, SignedImage):
        yield from (f"  identity: {name}" for name in found.names)
        yield from (f"  signed: {digest}" for digest in found.digests)
    elif isinstance(found, VerifiedImage):
        yield f"  identity: {clean(found.identity)}"
