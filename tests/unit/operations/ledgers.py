# SPDX-License-Identifier: Apache-2.0
"""A ledger in memory, and another tool's file, for the operations on exemptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

from imgsec.domain.exemption import Exemption, ExemptionScope, IssueType, Ledger
from imgsec.domain.exemption_exchange import Defaults, Export, Exported, Imported
from imgsec.domain.ledger_edits import LedgerEdit
from imgsec.domain.report import Change

TODAY = date(2026, 5, 1)
END = date(2026, 12, 31)


def entry(issue: str = "CVE-2026-1000", scope: str = "team/app", **changes: Any) -> Exemption:
    where = ExemptionScope.parse(scope)
    return replace(Exemption(issue, IssueType.of(issue), where, "jane", "why", END), **changes)


class FakeLedger:
    """What it holds, and what was changed."""

    def __init__(self, *entries: Exemption) -> None:
        self._held = Ledger(entries, numbers=tuple(range(1, len(entries) + 1)))
        self.edits: list[LedgerEdit] = []

    def read(self) -> Ledger:
        return self._held

    def earlier(self, content: bytes | None) -> Ledger:
        return self._held if content else Ledger()

    def change(self, choose: Callable[[Ledger], LedgerEdit]) -> LedgerEdit:
        self.edits.append(choose(self._held))
        return self.edits[-1]


class FakeForeign:
    """What it has, what it was asked with, and what was written."""

    format = "other"
    caution = "it knows no end"

    def __init__(
        self, *entries: Exemption, skipped: tuple[str, ...] = (), names_images: bool = False
    ) -> None:
        self.names_images = names_images
        self._imported = Imported(entries, skipped)
        self.asked: list[Defaults] = []
        self.exports: list[Export] = []

    def read(self, defaults: Defaults) -> Imported:
        self.asked.append(defaults)
        return self._imported

    def write(self, export: Export) -> tuple[Exported, Change]:
        self.exports.append(export)
        return export.sayable(lambda _: None), Change("file", "created")
