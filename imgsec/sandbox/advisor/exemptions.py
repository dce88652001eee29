# SPDX-License-Identifier: Apache-2.0
"""Exemptions: which issue does not count, and where. The API keeps no reason, author or end."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from imgsec.sandbox.front.names import DIGEST, REPOSITORY, TAG

TYPES: dict[str, tuple[str, str]] = {  # identifier: display name, pattern of an issue id (ours)
    "cve": ("CVE", r"^CVE-[0-9]{4}-[0-9]{4,}$"),
    "sn": ("Security Notice", r"^.+$"),
    "configuration": ("Configuration Issue", r"^.+$"),
}
_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL; -- under WAL, less is not safe at power loss
CREATE TABLE IF NOT EXISTS exemption (
    position INTEGER PRIMARY KEY,
    issue_type TEXT NOT NULL,
    issue_id TEXT NOT NULL,
    path TEXT NOT NULL,
    reference TEXT NOT NULL,
    UNIQUE (issue_type, issue_id, path, reference)
);
"""
_RESOURCE = re.compile(rf"(?P<path>{REPOSITORY})(?::(?P<tag>{TAG}))?(?:@(?P<digest>{DIGEST}))?")


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an exemption holds: account, namespace, repository, or one tag or digest."""

    path: str = ""  # namespace, or namespace and repository
    reference: str = ""  # tag or digest

    @classmethod
    def parse(cls, text: str, hosts: Collection[str] = ()) -> Self:
        """Read a resource as IBM writes them; one of the registry's own HOSTS may stand in front.

        >>> Scope.parse("us.icr.io/payments/api:1.4.2", ["us.icr.io"])
        Scope(path='payments/api', reference='1.4.2')
        """
        if text == "*":
            return cls()
        head, slash, rest = text.partition("/")
        if slash and head in hosts:
            text = rest
        found = _RESOURCE.fullmatch(text)
        if found is None:
            raise ValueError("the resource is not a namespace, repository or image")
        return cls(found["path"], found["digest"] or found["tag"] or "")

    def covers(self, repository: str, references: frozenset[str]) -> bool:
        """Does it hold for an image? REFERENCES are its tags and its digest."""
        if self.reference:
            return self.path == repository and self.reference in references
        if not self.path or self.path == repository:
            return True
        return "/" not in self.path and repository.startswith(self.path + "/")

    def to_json(self) -> dict[str, str]:
        """The wire form; which member carries a digest is not documented, `tag` is likely."""
        if not self.path:
            return {"scope_type": "account"}
        namespace, _, repository = self.path.partition("/")
        value = {"scope_type": "namespace", "namespace": namespace}
        if repository:
            value |= {"scope_type": "repository", "repository": repository}
        if self.reference:
            value |= {"scope_type": "image", "tag": self.reference}
        return value


@dataclass(frozen=True, slots=True)
class Exemption:
    """One issue that does not count in one scope."""

    issue_type: str
    issue_id: str
    scope: Scope

    def to_json(self, account: str, *, with_scope: bool = True) -> dict[str, Any]:
        """The wire form."""
        value: dict[str, Any] = {
            "account_id": account,
            "issue_id": self.issue_id,
            "issue_type": self.issue_type,
        }
        if with_scope:
            value["scope"] = self.scope.to_json()
        return value


class ExemptionStore:
    """All exemptions of the account, in SQLite."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Write everything down."""
        self._db.close()

    def all(self) -> list[Exemption]:
        """Every exemption, oldest first."""
        rows = self._db.execute(
            "SELECT issue_type, issue_id, path, reference FROM exemption ORDER BY position"
        )
        return [Exemption(kind, issue, Scope(path, ref)) for kind, issue, path, ref in rows]

    def add(self, exemption: Exemption) -> None:
        """Keep an exemption; one that is there stays."""
        self._db.execute(
            "INSERT OR IGNORE INTO exemption (issue_type, issue_id, path, reference) "
            "VALUES (?, ?, ?, ?)",
            _row(exemption),
        )

    def remove(self, exemption: Exemption) -> bool:
        """False when there was none."""
        gone = self._db.execute(
            "DELETE FROM exemption WHERE issue_type = ? AND issue_id = ? AND path = ? "
            "AND reference = ?",
            _row(exemption),
        )
        return bool(gone.rowcount)

    def clear(self) -> int:
        """Remove all; gives their number."""
        return self._db.execute("DELETE FROM exemption").rowcount


def _row(exemption: Exemption) -> tuple[str, str, str, str]:
    scope = exemption.scope
    return (exemption.issue_type, exemption.issue_id, scope.path, scope.reference)
