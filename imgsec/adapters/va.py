# SPDX-License-Identifier: Apache-2.0
"""Vulnerability Advisor v4: the assessment of one digest.

The service's host is the image's own registry host, ports and ``private.`` included; a region table
would not know them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from imgsec.adapters._http import Answer, Http
from imgsec.adapters.iam import IamTokens
from imgsec.domain.hosts import may_have_iam_token
from imgsec.domain.reference import ImageReference, shown
from imgsec.domain.vulnerability import Finding, Fix, ScanReport, ScanStatus
from imgsec.errors import ImgsecError
from imgsec.ports import Scanner
from imgsec.reasons import NOT_ASSESSED

_OK, _UNAUTHORIZED, _NOT_FOUND = 200, 401, 404
_WORD_MAX_CHARS = 40  # of a status that nobody knows; it goes into results and logs


class VulnerabilityAdvisor(Scanner):
    """Asks for reports by digest. account: its id, or None to take it from the token."""

    def __init__(
        self,
        http: Http,
        tokens: IamTokens,
        *,
        account: str | None = None,
        trusted: tuple[str, ...] = (),
    ) -> None:
        self._http = http
        self._tokens = tokens
        self._account = account
        self._trusted = trusted

    def require_served(self, image: ImageReference) -> None:
        """See `imgsec.ports.Scanner`."""
        if not may_have_iam_token(image.registry, self._trusted):
            raise ImgsecError(
                NOT_ASSESSED(f"{image.registry} is not served by Vulnerability Advisor")
            )

    def fetch_report(self, image: ImageReference) -> ScanReport:
        """See `imgsec.ports.Scanner`."""
        self.require_served(image)
        answer = self._ask(image)
        if answer.status == _UNAUTHORIZED and self._tokens.forget():
            answer = self._ask(image)
        if answer.status == _NOT_FOUND and isinstance(answer.json(), dict):
            return ScanReport(ScanStatus.UNSCANNED)
        if answer.status != _OK:
            needs = f"the role Reader for {image.name} at Container Registry"
            raise ImgsecError(answer.failure(_said(answer), needs=needs))
        return _report(answer)

    def _ask(self, image: ImageReference) -> Answer:
        name = quote(image.canonical_name, safe="")
        headers = {**self._tokens.authorization(image.registry), "Accept": "application/json"}
        account = self._account or self._tokens.account()
        if account is not None:
            headers["Account"] = account
        return self._http.get(
            f"https://{image.registry}/va/api/v4/report/image/{name}", headers=headers
        )


def _said(answer: Answer) -> str:
    try:
        body = answer.json()
        return shown(f"{body['code']} {body['message']}")
    except (ImgsecError, KeyError, TypeError):
        return "no reason given"


def _report(answer: Answer) -> ScanReport:
    """The report in an answer; of a finished scan every member must be there, as IBM's model says.

    Half an answer (``{"status": "OK"}`` is what many a health page says) finds nothing, and must
    not pass for an image in which nothing was found.
    """
    document = answer.json()
    try:
        word = _text(document["status"])
        if word not in ScanStatus.__members__:
            return ScanReport(word[:_WORD_MAX_CHARS])
        status = ScanStatus(word)
        if not status.is_finished:
            return ScanReport(status)
        _text(document["id"])
        distribution = document["os_distribution"]
        findings = [_finding(item) for item in _list(document["vulnerabilities"])]
        issues = [_configuration(item) for item in _list(document["configuration_issues"])]
        return ScanReport(
            status=status,
            findings=(*findings, *issues),
            distribution=" ".join(
                _text(distribution[name])
                for name in ("distribution_id", "version_id")
                if distribution.get(name)
            ),
            checked_at=datetime.fromtimestamp(document["scan_time"], UTC),
        )
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, OSError):
        raise ImgsecError(answer.malformed("no vulnerability report")) from None


def _finding(item: Mapping[str, Any]) -> Finding:
    """One vulnerability; "exempt" counts only where its own details say the same."""
    notices = _list(item["security_notices"])
    words = {"active": False, "partial": False, "exempt": True}
    notices_exempt = bool(notices) and all(notice["notice_exempt"] is True for notice in notices)
    return Finding(
        id=_text(item["cve_id"]),
        summary=_text(item.get("summary") or ""),
        exempt=words[_text(item["exempt_status"])]
        and (item["cve_exempt"] is True or notices_exempt),
        notices=tuple(_text(notice["notice_id"]) for notice in notices),
        fixes=tuple(
            Fix(
                package=_text(package["package_name"]),
                installed=_text(package.get("installed_version") or ""),
                fixed=_text(package.get("fix_version") or ""),
                action=_text(package.get("corrective_action") or ""),
            )
            for notice in notices
            for package in _list(notice.get("vulnerable_packages") or [])
        ),
    )


def _configuration(item: Mapping[str, Any]) -> Finding:
    """A configuration issue; v4 lists none, so one that is there is taken seriously."""
    action = _text(item.get("corrective_action") or "")
    return Finding(
        id=_text(item["type"]),
        summary=_text(item.get("description") or ""),
        exempt=item["exempt"] is True,
        fixes=(Fix("configuration", "", "", action),) if action else (),
    )


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} instead of a list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of a text")
    value.encode()  # half a surrogate pair is JSON, and no text that could be written anywhere
    return value
