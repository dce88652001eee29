# SPDX-License-Identifier: Apache-2.0
"""What a rendering gives: objects and files, and what stands against them or must be known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imgsec.domain.kubernetes import Document
from imgsec.domain.policy_intent import IntentRule
from imgsec.domain.verdict import Note
from imgsec.reasons import Reason, ReasonKind


@dataclass(frozen=True, slots=True)
class PlainFile:
    """A file that is no Kubernetes object. name: below the folder; its end says JSON or YAML."""

    name: str
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rendered:
    """With a reason, nothing of it may be published."""

    documents: tuple[Document, ...] = ()
    files: tuple[PlainFile, ...] = ()
    reasons: tuple[Reason, ...] = ()
    notes: tuple[Note, ...] = ()


@dataclass(slots=True)
class Findings:
    """Collects what is found: each reason once, and of what is alike the first with a count."""

    _reasons: dict[Reason, None] = field(default_factory=dict)
    _notes: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)

    @property
    def reasons(self) -> tuple[Reason, ...]:
        return tuple(self._reasons)

    @property
    def notes(self) -> tuple[Note, ...]:
        found = []
        for (code, _), texts in self._notes.items():
            first, *others = texts
            more = f" (and {len(others)} more like it)" if others else ""
            found.append(Note(code, first + more))
        return tuple(found)

    def refuse(self, reason: Reason) -> None:
        self._reasons.setdefault(reason)

    def note(self, code: str, text: str, *, alike: str | None = None) -> None:
        """alike: what it has in common with others, of which only the first is shown."""
        self._notes.setdefault((code, text if alike is None else alike), {}).setdefault(text)

    def blame(self, rule: IntentRule, kind: ReasonKind, text: str, hint: str | None = None) -> None:
        """Refuse for a rule of the user's own; a built-in one is as it was published, and told."""
        if rule.origin:
            self.note(kind.code, f"{rule.origin}: {text}", alike=rule.origin)
        else:
            self.refuse(kind(text, hint=hint))
