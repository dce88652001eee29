# SPDX-License-Identifier: Apache-2.0
"""The scan gate: ask every source about each manifest of one digest, wait for scans, judge them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from imgsec.domain.exemption import Ledger
from imgsec.domain.gate import GateRules, finding_keys, judge_manifest
from imgsec.domain.manifest import ManifestContent
from imgsec.domain.reference import ImageReference
from imgsec.domain.report import ImageReport, ScannedImage
from imgsec.domain.verdict import Note, all_of, because
from imgsec.domain.vulnerability import ScanReport, ScanStatus, ScanSubject
from imgsec.errors import ImageNotFound, ImgsecError
from imgsec.ports import Clock, ManifestReader, Scanner, TagScanner
from imgsec.reasons import (
    BASELINE_UNUSABLE,
    NOT_ASSESSED,
    RATE_LIMITED,
    SERVICE_UNREACHABLE,
    TIMEOUT,
    Reason,
)

Progress = Callable[[str], None]
# What a service gets over by itself; anything else will be the same after the next poll.
_PASSING_TROUBLE = (SERVICE_UNREACHABLE.code, RATE_LIMITED.code, TIMEOUT.code)


@dataclass(frozen=True, slots=True)
class GatePlan:
    """How an image is judged. now: the day that exemptions are held against, usually today.

    baseline: only what that image does not have refuses.
    """

    rules: GateRules
    ledger: Ledger
    now: datetime
    baseline: ImageReference | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for scans that have not finished, for all of them together, in seconds."""

    clock: Clock
    seconds: float
    progress: Progress


class ImageGate:
    """The gate of one image. What was found so far is known, however the run ends.

    Sources that cannot change their mind are asked first, and each of them once; then the others,
    in rounds, about every manifest whose scan has not finished.
    """

    def __init__(
        self,
        image: ImageReference,
        plan: GatePlan,
        *,
        sources: Sequence[Scanner],
        registry: ManifestReader,
        patience: Patience,
    ) -> None:
        self._image = image
        self._plan = plan
        self._sources = sources
        self._registry = registry
        self._patience = patience
        self._canonical = image
        self._subjects: tuple[ScanSubject, ...] = ()
        self._notes: list[Note] = []
        self._asked: Sequence[Scanner] = ()
        self._found: dict[tuple[ScanSubject, int], Sequence[ScanReport | Reason]] = {}
        self._baseline: _Baseline | None = None

    def judge(self) -> ImageReport:
        """Whether the digest that the reference names may go out.

        An index passes only if every platform that it lists does; attestations are not images and
        are left out. A source that does not serve the image's registry is not asked, and if none
        does, the registry is not asked either. Raises `ImgsecError` (not-assessed) for that.
        """
        image, registry = self._image.require_version(), self._registry
        deadline = self._patience.clock.monotonic() + self._patience.seconds
        self._asked, unasked = _serving(image, self._sources)
        self._canonical, subjects = _subjects(image, registry)
        self._subjects, doubts = _rightly_tagged(image, subjects, self._plan, registry)
        self._notes += [*unasked, *doubts]
        self._baseline = _Baseline(self._plan.baseline, self._asked, registry, self._subjects)
        self._ask(deadline)
        return self._report()

    def late(self, why: Reason) -> ImageReport:
        """The report when the time is up: what was found until then, and what was not."""
        if not self._subjects:
            return ImageReport(self._image, because(why))
        return self._report(why)

    def _ask(self, deadline: float) -> None:
        numbers = range(len(self._asked))
        waiting = [(subject, number) for subject in self._subjects for number in numbers]
        for subject, number in waiting:
            if not self._asked[number].may_change:
                self._found[subject, number] = _answers(subject, self._asked[number])
        clock = self._patience.clock
        waiting = [one for one in waiting if one not in self._found]
        for wait in clock.backoff():
            left = deadline - clock.monotonic()
            waiting = [one for one in waiting if not self._is_settled(*one, left, wait)]
            if not waiting:
                return
            self._tell(waiting, left)
            clock.sleep(min(wait, max(left, 0)))

    def _is_settled(self, subject: ScanSubject, number: int, left: float, wait: float) -> bool:
        """Ask a source, and see whether it needs to be asked again. left, wait: in seconds."""
        found = self._found[subject, number] = _answers(subject, self._asked[number])
        if any(isinstance(one, Reason) and one.code in _PASSING_TROUBLE for one in found):
            # Its repeats took their time already: no last attempt that could outlast the command.
            return left <= 2 * wait
        if not any(isinstance(one, ScanReport) and not one.is_finished for one in found):
            return True
        if left > 0:
            return False
        is_late = self._patience.seconds > 0
        self._found[subject, number] = [
            replace(one, is_late=is_late) if isinstance(one, ScanReport) else one for one in found
        ]
        return True

    def _tell(self, waiting: Sequence[tuple[ScanSubject, int]], left: float) -> None:
        for subject, number in waiting:
            for one in self._found[subject, number]:
                state = (
                    f"the scan is {str(one.status).lower()}"
                    if isinstance(one, ScanReport)
                    else one.text
                )
                name = subject.image.canonical_name
                self._patience.progress(f"{name}: {state}, asking again ({left:.0f} s left)")

    def _report(self, late: Reason | None = None) -> ImageReport:
        """late: why some were not asked, or not to their end; None where all were."""
        plan, baseline = self._plan, self._baseline
        scans = []
        for subject in self._subjects:
            answers = [self._found.get((subject, number)) for number in range(len(self._asked))]
            found = [one for some in answers if some is not None for one in some]
            judge = partial(
                judge_manifest,
                *(subject, [one for one in found if isinstance(one, ScanReport)], plan.rules),
                ledger=plan.ledger,
                now=plan.now,
                troubles=[one for one in found if isinstance(one, Reason)]
                + ([late] if late is not None and _is_open(answers) else []),
            )
            scan = judge()
            if scan.gated and plan.baseline is not None and baseline is not None:
                known = (
                    baseline.known(subject)
                    if late is None
                    else baseline.known_so_far(subject, late)
                )
                scan = judge(known=known)
            scans.append(scan)
        verdict = all_of(scan.verdict for scan in scans)
        ignored = [Note("exemption-ignored", problem.text) for problem in plan.ledger.problems]
        compared = baseline.notes if baseline is not None else ()
        notes = dict.fromkeys([*verdict.notes, *self._notes, *compared, *ignored])
        verdict = replace(verdict, notes=tuple(notes))
        return ImageReport(self._image, verdict, ScannedImage(self._canonical, tuple(scans)))


def _is_open(answers: Sequence[Sequence[ScanReport | Reason] | None]) -> bool:
    """Whether somebody was not asked, or would say more later."""
    return any(
        some is None or any(isinstance(one, ScanReport) and not one.is_finished for one in some)
        for some in answers
    )


def _answers(subject: ScanSubject, source: Scanner) -> Sequence[ScanReport | Reason]:
    """What the source says, or why it says nothing: what the others say stays in sight."""
    try:
        return source.fetch_reports(subject)
    except ImgsecError as error:
        return (error.reason,)


def _serving(
    image: ImageReference, sources: Sequence[Scanner]
) -> tuple[list[Scanner], tuple[Note, ...]]:
    """The sources to ask. Raises `ImgsecError` (not-assessed) if none serves the registry."""
    serving, errors = [], []
    for source in sources:
        try:
            source.require_served(image)
            serving.append(source)
        except ImgsecError as error:
            errors.append(error)
    if not serving:
        if errors:
            raise errors[0]
        hint = "Give --report FILE or --scanner trivy, or leave --no-advisor out."
        raise ImgsecError(NOT_ASSESSED("no source of findings was named", hint=hint))
    return serving, tuple(Note("source-not-asked", error.reason.text) for error in errors)


def _subjects(
    image: ImageReference, registry: ManifestReader
) -> tuple[ImageReference, tuple[ScanSubject, ...]]:
    """The image with its digest, and its manifests that a node could run.

    Only content makes an attestation, not its claim. Raises `ImgsecError` (not-assessed) for an
    index inside an index: nobody says what it holds.
    """
    manifest = registry.fetch_manifest(image)
    canonical = image.at(manifest.digest)
    content = ManifestContent.parse(manifest.content, manifest.media_type)
    if not content.is_index:
        return canonical, (ScanSubject(canonical, content.config),)
    subjects = []
    for child in content.children:
        part = registry.fetch_manifest(canonical.at(child.digest))
        held = ManifestContent.parse(part.content, part.media_type)
        if held.is_index:
            raise ImgsecError(NOT_ASSESSED(f"{canonical} lists another index, {child.digest}"))
        if not (child.claims_attestation and held.is_attestation):
            one = canonical.at(child.digest)
            subjects.append(ScanSubject(one, held.config, manifest.digest, child.platform))
    if len(subjects) == 1:
        subjects = [replace(subjects[0], is_only=True)]
    return canonical, tuple(subjects)


def _rightly_tagged(
    image: ImageReference,
    subjects: tuple[ScanSubject, ...],
    plan: GatePlan,
    registry: ManifestReader,
) -> tuple[tuple[ScanSubject, ...], Sequence[Note]]:
    """The subjects, without the tag that stands beside the digest if it names something else.

    What a tag frees, the caller's word must not free. Asked only where the ledger has such entries.
    """
    entries = plan.ledger.in_force(plan.now.date())
    if not any(one.scope.tag and one.scope.covers(part) for one in entries for part in subjects):
        return subjects, ()
    doubt = tag_doubt(image, registry)
    if doubt is None:
        return subjects, ()
    return tuple(replace(one, image=replace(one.image, tag=None)) for one in subjects), (doubt,)


def tag_doubt(image: ImageReference, registry: ManifestReader) -> Note | None:
    """Why the tag beside the digest is not the digest's; None where it is, or there are not both.

    Raises `ImgsecError` where the registry does not say.
    """
    if image.tag is None or image.digest is None:
        return None
    tagged = replace(image, digest=None)
    try:
        named = registry.fetch_manifest(tagged).digest
    except ImageNotFound:
        text = f"there is no {tagged}, so what is exempt for that tag is not for {image.digest}"
    else:
        if named == image.digest:
            return None
        text = f"{tagged} names {named}, so what is exempt for that tag is not for {image.digest}"
    return Note("tag-not-confirmed", text)


class _Baseline:
    """What an earlier image has, asked for when it matters."""

    def __init__(
        self,
        image: ImageReference | None,
        sources: Sequence[Scanner],
        registry: ManifestReader,
        compared: Sequence[ScanSubject],
    ) -> None:
        self._image = image
        self._platforms = [subject.platform for subject in compared]
        self._sources = sources
        self._registry = registry
        self._subjects: tuple[ScanSubject, ...] | None = None
        self._known: dict[ScanSubject, frozenset[tuple[str, str]]] = {}
        self._told: dict[ScanSubject, frozenset[tuple[str, str]] | Reason] = {}
        self.notes: tuple[Note, ...] = ()

    def known(self, subject: ScanSubject) -> frozenset[tuple[str, str]] | Reason:
        """The findings of its manifest for the same platform; none where it has no such one.

        The reason where nobody knows them, also (baseline-unusable) for the very same manifest.
        """
        if self._image is None:
            return frozenset()
        if subject not in self._told:
            try:
                self._told[subject] = self._known_of(subject, self._image)
            except ImgsecError as error:
                self._told[subject] = error.reason
        return self._told[subject]

    def known_so_far(
        self, subject: ScanSubject, why: Reason
    ) -> frozenset[tuple[str, str]] | Reason:
        """The same without asking anybody; why that is so, where nobody was asked before."""
        return self._told.get(subject, why)

    def _known_of(self, subject: ScanSubject, image: ImageReference) -> frozenset[tuple[str, str]]:
        if self._subjects is None:
            canonical, self._subjects = _subjects(image, self._registry)
            text = f"only what {canonical} does not have is gated"
            self.notes = (Note("baseline", text),)
        twins = [one for one in self._subjects if one.platform == subject.platform]
        if not twins:
            return frozenset()
        if len(twins) > 1 or self._platforms.count(subject.platform) > 1:
            text = f"there are several images for {subject.platform}: which was which is not said"
            raise ImgsecError(BASELINE_UNUSABLE(text))
        (twin,) = twins
        if twin.digest == subject.digest:
            text = f"the baseline is {subject.digest} itself, so nothing could be new in it"
            raise ImgsecError(BASELINE_UNUSABLE(text))
        if twin not in self._known:
            found = [one for source in self._sources for one in source.fetch_reports(twin)]
            reports = [one for one in found if isinstance(one, ScanReport)]
            for report in reports:
                if not report.is_finished:
                    text = f"the scan of {twin.image} is {str(report.status).lower()}"
                    raise ImgsecError(BASELINE_UNUSABLE(text))
            if len(reports) < len(found):
                (trouble, *_) = [one for one in found if isinstance(one, Reason)]
                raise ImgsecError(BASELINE_UNUSABLE(f"of {twin.image}: {trouble.text}"))
            self._known[twin] = finding_keys(reports)
        return self._known[twin]


class ByTagToo(Scanner):
    """An advisor that is asked by the tag where it has not scanned the digest.

    Only what the tag still names after the answer is taken for the digest's, and the answer says
    so. What an index lists has no tag.
    """

    def __init__(self, advisor: TagScanner, registry: ManifestReader) -> None:
        self._advisor = advisor
        self._registry = registry

    def require_served(self, image: ImageReference) -> None:
        """See `imgsec.ports.Scanner`."""
        self._advisor.require_served(image)

    @property
    def may_change(self) -> bool:
        """See `imgsec.ports.Scanner`."""
        return self._advisor.may_change

    def fetch_reports(self, subject: ScanSubject) -> tuple[ScanReport | Reason, ...]:
        """See `imgsec.ports.Scanner`."""
        return tuple(self._settled(one, subject) for one in self._advisor.fetch_reports(subject))

    def _settled(self, report: ScanReport | Reason, subject: ScanSubject) -> ScanReport | Reason:
        image = subject.image
        if isinstance(report, Reason) or report.status is not ScanStatus.UNSCANNED:
            return report
        if image.tag is None or subject.index:
            return report
        tagged = ImageReference(image.registry, image.repository, image.tag)
        by_tag = self._advisor.fetch_tag_report(tagged)
        if not by_tag.is_finished:
            return report if by_tag.status is ScanStatus.UNSCANNED else by_tag
        if self._registry.fetch_manifest(tagged).digest != subject.digest:
            return report
        text = f"{tagged} was scanned by its tag, which names {subject.digest} still"
        return replace(by_tag, remarks=(*by_tag.remarks, ("scanned-by-tag", text)))
