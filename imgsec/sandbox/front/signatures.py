# SPDX-License-Identifier: Apache-2.0
"""The signature store: simple signatures by repository and digest, kept in SQLite.

The wire form is OpenShift's ``/extensions/v2/<name>/signatures/<digest>``, as containers/image
speaks it. No signature is checked here; a registry does not know whom anybody trusts.
"""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Self

LIST_MAX = 4 * 2**20  # bytes of a whole list: containers/image, iolimits.MaxSignatureListBodySize
_NAME = re.compile(r"(?P<digest>sha256:[0-9a-f]{64})@(?P<name>[^@]{1,200})")


@dataclass(frozen=True, slots=True)
class StoredSignature:
    """One signature, as it goes over the wire."""

    name: str
    content: str

    @classmethod
    def parse(cls, body: bytes, digest: str) -> Self:
        """Read the object of a PUT. Raises ValueError with a sentence."""
        try:
            value = json.loads(body)
        except RecursionError:
            value = None
        if not isinstance(value, dict):
            raise ValueError("the body must be an object")
        if value.get("schemaVersion") != 2 or value.get("type") != "atomic":
            raise ValueError("only schemaVersion 2 and type atomic are kept")
        name, content = value.get("name"), value.get("content")
        found = _NAME.fullmatch(name) if isinstance(name, str) else None
        if found is None or found["digest"] != digest:
            raise ValueError("the name must be the image's digest, an at-sign and a name")
        if not isinstance(content, str) or not base64.b64decode(content, validate=True):
            raise ValueError("the content must be base64")
        return cls(str(name), content)

    def to_json(self) -> dict[str, object]:
        """The object as a GET lists it."""
        return {"schemaVersion": 2, "name": self.name, "type": "atomic", "content": self.content}


class NameTaken(Exception):
    """The image has a signature of that name."""


class ListFull(Exception):
    """With one more, no client could read the list."""


class SignatureStore:
    """All signatures of the registry; each write is complete and durable, or did not happen."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.executescript(
            """
            PRAGMA journal_mode = WAL;
            PRAGMA synchronous = FULL; -- under WAL, less is not safe at power loss
            CREATE TABLE IF NOT EXISTS signature (
                position INTEGER PRIMARY KEY,
                repository TEXT NOT NULL,
                digest TEXT NOT NULL,
                name TEXT NOT NULL,
                content TEXT NOT NULL,
                UNIQUE (repository, digest, name)
            );
            """
        )

    def close(self) -> None:
        """Write everything down."""
        self._db.close()

    def of(self, repository: str, digest: str) -> list[StoredSignature]:
        """The signatures of one image, oldest first."""
        rows = self._db.execute(
            "SELECT name, content FROM signature WHERE repository = ? AND digest = ? "
            "ORDER BY position",
            (repository, digest),
        )
        return [StoredSignature(name, content) for name, content in rows]

    def add(self, repository: str, digest: str, signature: StoredSignature) -> None:
        """Keep one more. Raises `NameTaken`, `ListFull`."""
        held = self.of(repository, digest)
        if len(render([*held, signature])) > LIST_MAX:
            raise ListFull
        try:
            self._db.execute(
                "INSERT INTO signature (repository, digest, name, content) VALUES (?, ?, ?, ?)",
                (repository, digest, signature.name, signature.content),
            )
        except sqlite3.IntegrityError as error:
            raise NameTaken from error

    def forget(self, repository: str, digest: str) -> None:
        """Drop the signatures of an image that was deleted."""
        self._db.execute(
            "DELETE FROM signature WHERE repository = ? AND digest = ?", (repository, digest)
        )


def render(signatures: list[StoredSignature]) -> bytes:
    """The body of a GET."""
    value = {"signatures": [signature.to_json() for signature in signatures]}
    return json.dumps(value, separators=(",", ":")).encode()
