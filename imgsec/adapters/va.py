# SPDX-License-Identifier: Apache-2.0
"""Vulnerability Advisor v4: the assessment of one digest, or of what a tag names; or many in short.

The service's host is the image's own registry host, ports and ``private.`` included; a region table
would not know them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

from imgsec.adapters._account import AccountApi, is_plain_no, moment, said
from imgsec.adapters._http import Answer, Http
from imgsec.adapters.icr import LIST_MAX_BYTES
from imgsec.adapters.scan_reports import MALFORMED
from imgsec.adapters.scan_reports._parts import as_list, as_text, needed
from imgsec.adapters.scan_reports.advisor import read_report
from imgsec.domain.hosts import public_icr_host
from imgsec.domain.image_list import RegistryImage, ScanSummary
from imgsec.domain.reference import ImageReference, RegistryScope
from imgsec.domain.vulnerability import ADVISOR, ScanReport, ScanStatus, ScanSubject
from imgsec.errors import ImgsecError
from imgsec.ports import SummaryReader, TagScanner

_OK = 200
_COUNT_MAX = 2**31  # of issues; ours
REPORT_MAX_BYTES = 64 * 2**20  # ours; some 50,000 findings with long texts
_WORD_MAX_CHARS = 40  # of a status that nobody knows


class VulnerabilityAdvisor(TagScanner):
    """Asks for reports."""

    def __init__(self, http: Http, account: AccountApi) -> None:
        self._http = http
        self._account = account

    def require_served(self, image: ImageReference) -> None:
        """See `imgsec.ports.Scanner`."""
        self._account.require_served(image.registry)

    @property
    def may_change(self) -> bool:
        """See `imgsec.ports.Scanner`."""
        return True

    def fetch_reports(self, subject: ScanSubject) -> tuple[ScanReport, ...]:
        """See `imgsec.ports.Scanner`."""
        return (self._fetch(subject.image, subject.image.canonical_name),)

    def fetch_tag_report(self, image: ImageReference) -> ScanReport:
        """See `imgsec.ports.TagScanner`."""
        return self._fetch(image, image.tagged_name)

    def _fetch(self, image: ImageReference, name: str) -> ScanReport:
        url = f"https://{image.registry}/va/api/v4/report/image/{quote(name, safe='')}"
        answer = self._account.ask(
            image.registry,
            lambda headers: self._http.get(url, headers=headers, max_bytes=REPORT_MAX_BYTES),
        )
        if is_plain_no(answer):
            return ScanReport(ADVISOR, ScanStatus.UNSCANNED)
        if answer.status != _OK:
            raise ImgsecError(answer.failure(said(answer), needs=_needs(image.name)))
        return _report(answer)


class AdvisorSummaries(SummaryReader):
    """Asks what there is to say in short. Images are named by their registry's public host."""

    def __init__(self, http: Http, account: AccountApi) -> None:
        self._http = http
        self._account = account

    def list_summaries(self, scope: RegistryScope, *, ibm: bool) -> Mapping[str, ScanSummary]:
        """See `imgsec.ports.SummaryReader`. What cannot be read, or is said twice, is left out."""
        query = {"includeIBM": "true" if ibm else "false"}
        if scope.repository is not None:
            query["repository"] = f"{public_icr_host(scope.registry)}/{scope.repository}"
        answer = self._ask(scope.registry, f"report/account/status?{urlencode(query)}")
        if is_plain_no(answer):
            return {}
        document = self._document(answer, str(scope))
        try:
            entries = as_list(document["images"])
        except MALFORMED:
            raise ImgsecError(answer.malformed("no list of statuses")) from None
        found: dict[str, set[ScanSummary]] = {}
        for entry in entries:
            with suppress(*MALFORMED, ImgsecError):
                summary = _summary(entry)
                image = RegistryImage(ImageReference.parse(as_text(entry["name"])))
                found.setdefault(image.name, set()).add(summary)
        return {name: only for name, (only, *more) in found.items() if not more}

    def fetch_summary(self, registry: str, image: RegistryImage) -> ScanSummary | None:
        """See `imgsec.ports.SummaryReader`."""
        path = f"report/image/status/{quote(image.name, safe='')}"
        answer = self._ask(registry, path)
        if is_plain_no(answer):
            return None
        document = self._document(answer, image.image.name)
        try:
            return _summary(document)
        except MALFORMED:
            raise ImgsecError(answer.malformed("no status of an image")) from None

    def _ask(self, registry: str, path: str) -> Answer:
        def send(headers: Mapping[str, str]) -> Answer:
            url = f"https://{registry}/va/api/v4/{path}"
            return self._http.request("GET", url, headers=headers, max_bytes=LIST_MAX_BYTES)

        return self._account.ask(registry, send)

    def _document(self, answer: Answer, name: str) -> Any:
        if answer.status != _OK:
            raise ImgsecError(answer.failure(said(answer), needs=_needs(name)))
        return answer.json()


def _needs(name: str) -> str:
    return f"the role Reader for {name} at Container Registry"


def _summary(document: Any) -> ScanSummary:
    """One summary; of a finished scan its counts must be there. Raises `MALFORMED`."""
    word = needed(document["status"])
    checked_at = moment(document.get("scan_time"))
    if word not in ScanStatus.__members__:
        return ScanSummary(word[:_WORD_MAX_CHARS], checked_at=checked_at)
    status = ScanStatus(word)
    if not status.is_finished or status is ScanStatus.UNSUPPORTED:
        return ScanSummary(status, checked_at=checked_at)
    issues, exempt = (_count(document[name]) for name in ("issue_count", "exempt_issue_count"))
    return ScanSummary(status, issues, exempt, checked_at)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _COUNT_MAX:
        raise ValueError("no count of issues")
    return value


def _report(answer: Answer) -> ScanReport:
    """The report in an answer. Raises `ImgsecError` (answer-malformed)."""
    document = answer.json()
    try:
        return read_report(document)
    except MALFORMED:
        raise ImgsecError(answer.malformed("no vulnerability report")) from None
