# SPDX-License-Identifier: Apache-2.0
"""What the commands that gate share: from the options to a judge, and to the verdict's record."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

from imgsec.cli.judging import PatientJudge

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from imgsec.adapters.report_files import ReportFiles
    from imgsec.cli.output import Answer
    from imgsec.config import GateSettings
    from imgsec.domain.gate_file import FileUsed, GateFile
    from imgsec.domain.keys import Fingerprint
    from imgsec.domain.reference import ImageReference
    from imgsec.domain.report import ImageReport
    from imgsec.domain.verdict import Note
    from imgsec.operations.scan_gate import GatePlan, ImageGate, Patience
    from imgsec.ports import DetachedSigner, ManifestReader, Scanner
    from imgsec.reasons import Reason
    from imgsec.wiring import Link, MakeScanner, World

    FindSigner = Callable[[], tuple[DetachedSigner, Fingerprint]]


_RECORD_SECONDS = 5.0  # for the record, where nothing is left of the time limit


@dataclass(frozen=True, slots=True)
class GateRun:
    """The gate of one run: its rules, its sources, and until when it waits for scans."""

    gate: GateSettings
    world: World
    say: Callable[[str], None]
    file: GateFile
    plan: GatePlan
    files: ReportFiles | None
    scanner: MakeScanner | None
    used: tuple[FileUsed | None, FileUsed | None]
    until: float  # monotonic, as the next
    ends: float

    @classmethod
    def prepare(
        cls, gate: GateSettings, world: World, say: Callable[[str], None], *, patience: float
    ) -> GateRun:
        """What is wrong with options, files or scanner is found here, before any image is judged.

        patience: seconds that scans may take. Raises `ImgsecError`.
        """
        from imgsec.cli.lifetime import seconds_left

        until = world.clock.monotonic() + patience
        ends = world.clock.monotonic() + (seconds_left() or patience)
        file, gate_used = _gate_file(gate)
        plan, ledger_used = _gate_plan(gate, file, world.clock.now())
        files = world.report_files(gate, file.max_age)
        scanner = world.scanner(gate, file.max_age)
        return cls(
            gate, world, say, file, plan, files, scanner, (gate_used, ledger_used), until, ends
        )

    def judge(self, link: Link, images: Sequence[ImageReference], workers: int = 1) -> GateJudge:
        """Judges one image after the other, over these connections.

        Each of them may wait for its scans as long as is fair to those that come after it. workers:
        how many images are judged at once.
        """
        clock = self.world.clock
        sources = self.world.gate_scanners(self.gate, self.files, link, self.scanner)
        place = {image: number for number, image in enumerate(images)}

        def patience(image: ImageReference) -> Patience:
            from imgsec.operations.scan_gate import Patience

            turns = ceil((len(images) - place.get(image, 0)) / workers)
            return Patience(clock, (self.until - clock.monotonic()) / turns, self.say)

        return GateJudge(self.plan, sources, link.registry, patience)

    @property
    def notes(self) -> tuple[Note, ...]:
        """What every verdict must record: whatever loosens the gate."""
        from imgsec.domain.gate_file import DEFAULT_MAX_AGE
        from imgsec.domain.verdict import Note

        notes = self.plan.rules.notes
        if self.file.max_age is None:
            notes += (Note("any-age", "reports may be of any age"),)
        elif self.file.max_age > DEFAULT_MAX_AGE:
            notes += (Note("max-age", f"reports may be {self.file.max_age} old"),)
        if self.gate.effective_time:
            text = f"judged as on {self.plan.now:%Y-%m-%d}"
            notes += (Note("effective-time", text),)
        return notes

    def with_unused_files(self, answer: Answer) -> Answer:
        """The same, and a note on each report that was about nothing that was judged."""
        from imgsec.domain.reference import shown
        from imgsec.domain.verdict import Note
        from imgsec.errors import ImgsecError

        if self.files is None:
            return answer
        report = answer.report
        for found in filter(None, (part.scan for part in report.images)):
            for scan in found.scans:  # other processes may have judged them
                with suppress(ImgsecError):
                    self.files.fetch_reports(scan.subject)
        text = "was about no manifest that was judged"
        unused = [Note("report-unused", f"{shown(path)} {text}") for path in self.files.unused]
        notes = tuple(dict.fromkeys((*report.verdict.notes, *unused)))
        verdict = replace(report.verdict, notes=notes)
        return replace(answer, report=replace(report, verdict=verdict))

    def record(self, answer: Answer, path: str, find_signer: FindSigner | None) -> Answer:
        """Write the verdict record, and its signature beside it.

        The answer, and among its reasons why there is no record or no signature: without, it is no
        pass. find_signer: None for a record that is not to be signed.
        """
        from imgsec.adapters.files import write_file
        from imgsec.cli.lifetime import DeadlineReached, lift_deadline, set_deadline
        from imgsec.domain.verdict import all_of, because
        from imgsec.errors import ImgsecError
        from imgsec.reasons import TIMEOUT
        from imgsec.render.evidence import GateContext, verdict_record

        report = answer.report
        now = self.world.clock.now()
        plan = self.plan
        context = GateContext(now, plan.now, self.file, *self.used, plan.baseline, self.notes)
        content = verdict_record(report, context).encode()
        try:
            set_deadline(max(self.ends - self.world.clock.monotonic(), _RECORD_SECONDS))
            write_file(path, content)
            if find_signer is not None:
                keyring, fingerprint = find_signer()
                write_file(signature_of(path), keyring.sign_detached(content, fingerprint))
            lift_deadline()
        except ImgsecError as error:
            trouble = error.reason
        except DeadlineReached:
            trouble = TIMEOUT("the time was up before the record was signed")
        else:
            return answer
        verdict = all_of([report.verdict, because(trouble)])
        return replace(answer, report=replace(report, verdict=verdict))


class GateJudge(PatientJudge):
    """Judges images by the gate, each with the patience that it is given."""

    def __init__(
        self,
        plan: GatePlan,
        sources: Sequence[Scanner],
        registry: ManifestReader,
        patience: Callable[[ImageReference], Patience],
    ) -> None:
        self._plan = plan
        self._sources = sources
        self._registry = registry
        self._patience = patience
        self._current: tuple[ImageReference, ImageGate] | None = None

    def __call__(self, image: ImageReference) -> ImageReport:
        """See `PatientJudge`."""
        from imgsec.operations.scan_gate import ImageGate

        gate = ImageGate(
            image,
            self._plan,
            sources=self._sources,
            registry=self._registry,
            patience=self._patience(image),
        )
        self._current = (image, gate)
        return gate.judge()

    def late(self, image: ImageReference, why: Reason) -> ImageReport:
        """See `PatientJudge`."""
        from imgsec.domain.report import ImageReport
        from imgsec.domain.verdict import because

        if self._current is None or self._current[0] != image:
            return ImageReport(image, because(why))
        return self._current[1].late(why)


def signature_of(path: str) -> str:
    """Where the signature of a record lies: gpg looks for it there."""
    return f"{path}.asc"


def _gate_file(gate: GateSettings) -> tuple[GateFile, FileUsed | None]:
    """The rules: those of the gate file, and of the options, which win.

    Raises `ImgsecError` (invalid-option, input-unreadable, input-malformed).
    """
    from imgsec.domain.gate_file import GateFile
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    file, used = GateFile(), None
    if gate.gate:
        from imgsec.adapters.gate_files import read_gate_file

        file, used = read_gate_file(gate.gate)
    trust = None
    if gate.ledger_only is not None:
        trust = "ledger-only" if gate.ledger_only else "ledger-and-advisor"
    said = {
        "fail-on": gate.fail_on,
        "unknown-severity": gate.unknown_severity,
        "only-fixed": gate.only_fixed,
        "grace": gate.grace,
        "exemptions": trust,
        "unsupported": gate.unsupported,
        "end-of-life": gate.end_of_life,
        "max-age": gate.max_age,
        "mode": gate.mode,
    }
    # An empty text is what a task's param has for nothing.
    given = {name: word for name, word in said.items() if word not in (None, "")}
    try:
        return file.with_rules(given), used
    except ValueError as error:
        raise ImgsecError(INVALID_OPTION(f"--{error}")) from None


def _gate_plan(
    gate: GateSettings, file: GateFile, now: datetime
) -> tuple[GatePlan, FileUsed | None]:
    """How images are judged. Raises `ImgsecError`, as `_gate_file` does, and (tag-required)."""
    from imgsec.domain.exemption import Ledger
    from imgsec.domain.reference import ImageReference
    from imgsec.operations.scan_gate import GatePlan

    ledger, used = Ledger(), None
    if gate.exemptions:
        from imgsec.adapters.gate_files import read_ledger

        ledger, used = read_ledger(gate.exemptions)
    baseline = None
    if gate.baseline:
        baseline = ImageReference.parse(gate.baseline).require_version()
    return GatePlan(file.rules, ledger, _judged_at(gate, now), baseline), used


def _judged_at(gate: GateSettings, now: datetime) -> datetime:
    """The moment that is judged for. Raises `ImgsecError` (invalid-option)."""
    from datetime import datetime, time

    from imgsec.domain.exemption import parse_day
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    if not gate.effective_time:
        return now
    try:
        day = parse_day(gate.effective_time)
    except ValueError as error:
        raise ImgsecError(INVALID_OPTION(f"--effective-time: {error}")) from None
    if day < now.date() and not gate.allow_past_effective_time:
        raise ImgsecError(
            INVALID_OPTION(
                f"--effective-time {day} is in the past, when exemptions held that are over",
                hint="Add --allow-past-effective-time if that is what you want to know.",
            )
        )
    return now if day == now.date() else datetime.combine(day, time(), now.tzinfo)
