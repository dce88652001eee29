# SPDX-License-Identifier: Apache-2.0
"""Report files as a source of findings: each must be about the very digest, whole, and fresh."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from imgsec.adapters.files import read_file
from imgsec.adapters.scan_reports import (
    MALFORMED,
    ClaimedReport,
    ReportFormat,
    advisor,
    grype,
    sarif,
    trivy,
)
from imgsec.domain import strict_json
from imgsec.domain.reference import ImageReference, shown
from imgsec.domain.vulnerability import ScanReport, ScanSubject
from imgsec.errors import ImgsecError
from imgsec.ports import Scanner
from imgsec.reasons import FOREIGN_REPORT, REPORT_MALFORMED, STALE_REPORT, Reason

FORMATS: tuple[ReportFormat, ...] = (trivy.FORMAT, grype.FORMAT, sarif.FORMAT, advisor.FORMAT)
_FILE_MAX_BYTES = 128 * 2**20  # ours; the largest public images come to some 20 MiB
_CLOCKS_DIFFER = timedelta(minutes=10)
# How much older the data may be than the report: Grype's own limit, db.max-allowed-built-age.
_DATA_OLDER = timedelta(hours=120)
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old a report may be at this moment. max_age: None for however old.

    The data that it was made with may be older than that by a fixed time, as they are renewed
    daily, and a report is no news of them. A report that does not say when it was made is as old as
    its data.
    """

    now: datetime
    max_age: timedelta | None

    def flaw(self, report: ScanReport, where: str) -> Reason | None:
        """Why it cannot be used (stale-report); None for nothing."""
        if self.max_age is None:
            return None
        made, data = report.made_at, report.checked_at
        if made is None and data is None:
            return STALE_REPORT(
                f"{where} does not say when it was made",
                hint="Give the scanner's own JSON, or accept it with --max-age any.",
            )
        if made is None:
            return self._flaw_of(data, self.max_age, where)
        of_data = self._flaw_of(data, self.max_age + _DATA_OLDER, f"the data behind {where}")
        return self._flaw_of(made, self.max_age, where) or of_data

    def _flaw_of(self, moment: datetime | None, max_age: timedelta, what: str) -> Reason | None:
        if moment is None:
            return None
        if moment > self.now + _CLOCKS_DIFFER:
            return STALE_REPORT(f"{what} is dated in the future: {moment:%F %R} UTC")
        if self.now - moment > max_age:
            return STALE_REPORT(f"{what} is of {moment:%F %R} UTC")
        return None

    def require(self, report: ScanReport, where: str) -> None:
        """Raises `ImgsecError` (stale-report)."""
        if (flaw := self.flaw(report, where)) is not None:
            raise ImgsecError(flaw)


class ReportFiles(Scanner):
    """The files that were given, each read once; together they answer for whichever images.

    One file may be about one platform of an index, another about the next, or about the baseline.
    """

    def __init__(self, paths: Sequence[str], freshness: Freshness) -> None:
        self._freshness = freshness
        self._files: dict[str, list[ClaimedReport]] = {}
        for path in dict.fromkeys(paths):
            content = read_file(path, max_bytes=_FILE_MAX_BYTES)
            sha256 = hashlib.sha256(content).hexdigest()
            self._files[path] = [
                replace(one, report=replace(one.report, sha256=sha256))
                for one in read_reports(content, shown(path))
            ]
        self._unused = dict.fromkeys(self._files)

    @property
    def unused(self) -> tuple[str, ...]:
        """The files that were about nothing that was asked for."""
        return tuple(self._unused)

    @property
    def may_change(self) -> bool:
        """See `imgsec.ports.Scanner`: they were read already."""
        return False

    def require_served(self, image: ImageReference) -> None:
        """See `imgsec.ports.Scanner`: images of every registry can be scanned to a file."""

    def fetch_reports(self, subject: ScanSubject) -> tuple[ScanReport | Reason, ...]:
        """See `imgsec.ports.Scanner`; (stale-report) for one that is too old.

        Raises (foreign-report) if no file is about the manifest.
        """
        found: list[ScanReport | Reason] = []
        for path, claimed in self._files.items():
            reports = matching(claimed, subject)
            if reports:
                self._unused.pop(path, None)
            for report in reports:
                stale = self._freshness.flaw(report, shown(path))
                found.append(report if stale is None else stale)
        if not found:
            raise ImgsecError(FOREIGN_REPORT(self._foreign(subject), hint=self._hint(subject)))
        return tuple(found)

    def _hint(self, subject: ScanSubject) -> str | None:
        """What to do where the image was scanned in local storage; None for the usual."""
        every = [one for claimed in self._files.values() for one in claimed]
        if subject.config is None or not any(str(subject.config) in one.digests for one in every):
            return None
        return (
            "A report has this image's configuration, and another manifest, as podman's storage"
            " gives it before the push. Scan what was pushed, by its digest."
        )

    def _foreign(self, subject: ScanSubject) -> str:
        """What the files are about instead."""
        names = [shown(one.said) for claimed in self._files.values() for one in claimed]
        said = ", ".join(list(dict.fromkeys(names))[:5]) or "nothing"
        listed = ", ".join(map(shown, list(self._files)[:5]))
        return f"{listed}: no report there is about {subject.digest}, but about {said}"


def matching(reports: Sequence[ClaimedReport], subject: ScanSubject) -> list[ScanReport]:
    """Those about this manifest."""
    return [one.report for one in reports if one.is_about(subject)]


def read_reports(content: bytes, where: str) -> list[ClaimedReport]:
    """The reports in a document, whatever its format. where: for messages.

    Raises `ImgsecError` (report-malformed, report-partial).
    """
    if content.startswith(_WIDE):
        text = f"{where} is UTF-16, as Windows PowerShell redirects output"
        hint = "Let the scanner write the file itself, with its option --output or --file."
        raise ImgsecError(REPORT_MALFORMED(text, hint=hint))
    try:
        document = strict_json.parse(content.removeprefix(codecs.BOM_UTF8), folds_case=False)
    except (ValueError, RecursionError) as error:
        text = f"{where} is no JSON, or only a part of it: {str(error)[:100]}"
        raise ImgsecError(REPORT_MALFORMED(text)) from None
    for form in FORMATS:
        if form.recognises(document):
            try:
                return form.read(document)
            except MALFORMED as error:
                what = f"{type(error).__name__}: {str(error)[:100]}"
                text = f"{where} looks like {form.name} report, and is none ({what})"
                raise ImgsecError(REPORT_MALFORMED(text)) from None
    known = ", ".join(form.name for form in FORMATS)
    raise ImgsecError(REPORT_MALFORMED(f"{where} is no report of a form that is known: {known}"))
