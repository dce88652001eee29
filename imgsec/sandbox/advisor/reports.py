# SPDX-License-Identifier: Apache-2.0
"""From a rule of the scenario and the exemptions to the reports that the API hands out. Pure."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from imgsec.sandbox.advisor.exemptions import Exemption
from imgsec.sandbox.advisor.scenario import UNASSESSED, ImageRule, Notice, Vulnerability

_FEED_INTERVAL = 12 * 3600  # seconds between two refreshes of the vulnerability data


@dataclass(frozen=True, slots=True)
class Assessment:
    """One image at one moment."""

    image: str
    status: str
    rule: ImageRule
    exemptions: tuple[Exemption, ...]  # those that cover the image

    @property
    def findings(self) -> tuple[Vulnerability, ...]:
        """What stands in the report; nothing before the image is assessed."""
        return () if self.status in UNASSESSED else self.rule.vulnerabilities

    def word(self) -> str:
        """The status that is shown: FAIL turns into WARN when every finding is exempt."""
        states = [self._state(finding) for finding in self.findings]
        all_exempt = bool(states) and all(state == "exempt" for state in states)
        return "WARN" if self.status == "FAIL" and all_exempt else self.status

    def report(self) -> dict[str, Any]:
        """The full report; always all six members, as IBM's client demands."""
        assessed = self.status not in UNASSESSED
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, self.image)),
            "status": self.word(),
            "scan_time": self._scan_time(),
            "os_distribution": dict(self.rule.distribution) if assessed else {},
            "vulnerabilities": [self._finding(finding) for finding in self.findings],
            "configuration_issues": [],
        }

    def summary(self) -> dict[str, Any]:
        """Status and counts; issues in force and exempt ones are counted apart."""
        states = [self._state(finding) for finding in self.findings]
        exempt = states.count("exempt")
        return {
            "status": self.word(),
            "scan_time": self._scan_time(),
            "issue_count": len(states) - exempt,
            "exempt_issue_count": exempt,
            "vulnerability_count": len(states) - exempt,
            "exempt_vulnerability_count": exempt,
            "configuration_issue_count": 0,
            "exempt_configuration_issue_count": 0,
        }

    def _scan_time(self) -> int:
        """When the data source was last checked, not when the image was looked at."""
        now = int(time.time())
        return 0 if self.status == "UNSCANNED" else now - now % _FEED_INTERVAL

    def _state(self, finding: Vulnerability) -> str:
        if self._is_exempt("cve", [finding.cve_id]):
            return "exempt"
        exempt = [self._is_exempt("sn", [notice.id]) for notice in finding.notices]
        if exempt and all(exempt):
            return "exempt"
        return "partial" if any(exempt) else "active"

    def _is_exempt(self, kind: str, ids: Iterable[str]) -> bool:
        return any(
            exemption.issue_type == kind and exemption.issue_id in ids
            for exemption in self.exemptions
        )

    def _finding(self, finding: Vulnerability) -> dict[str, Any]:
        notices = [self._notice(notice) for notice in finding.notices]
        exempt = sum(notice["notice_exempt"] for notice in notices)
        return {
            "cve_id": finding.cve_id,
            "cve_exempt": self._is_exempt("cve", [finding.cve_id]),
            "exempt_status": self._state(finding),
            "summary": finding.summary,
            "security_notice_count": len(notices) - exempt,
            "exempt_security_notice_count": exempt,
            "total_security_notice_count": len(notices),
            "security_notices": notices,
        }

    def _notice(self, notice: Notice) -> dict[str, Any]:
        return {
            "notice_id": notice.id,
            "notice": notice.link,
            "notice_exempt": self._is_exempt("sn", [notice.id]),
            "summary": notice.summary,
            "vulnerable_packages": [
                {
                    "package_name": package.name,
                    "installed_version": package.installed,
                    "fix_version": package.fix,
                    "corrective_action": package.corrective_action,
                    "description": package.description,
                }
                for package in notice.packages
            ],
        }
