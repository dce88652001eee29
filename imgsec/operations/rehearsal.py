# SPDX-License-Identifier: Apache-2.0
"""A KMS that keeps nothing: what a run would store is there for this run alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from imgsec.domain.keys import SecretBytes
from imgsec.errors import KeyExists, KeyNotFound
from imgsec.ports import KeyReader, StoredKey
from imgsec.reasons import KEY_CONFLICT

NO_ID = "00000000-0000-0000-0000-000000000000"  # of a key that the KMS would make


@dataclass
class RehearsedKms:
    """Reads the KMS, and remembers what it was told to write; see `imgsec.ports.KeyWriter`."""

    kms: KeyReader
    address: tuple[str, str]
    _written: dict[str, tuple[StoredKey, SecretBytes | None]] = field(default_factory=dict)

    def find_key(self, name: str) -> StoredKey:
        """What this run wrote under the name, else what the KMS has."""
        return self._written[name][0] if name in self._written else self.kms.find_key(name)

    def fetch_key(self, name: str) -> tuple[StoredKey, SecretBytes]:
        """The same, with the payload."""
        if name not in self._written:
            return self.kms.fetch_key(name)
        stored, content = self._written[name]
        return (stored, content) if content else (stored, self.kms.fetch_key(stored.id)[1])

    def list_keys(self) -> Iterator[StoredKey]:
        """The KMS's own keys."""
        return self.kms.list_keys()

    def store_key(
        self, alias: str, content: SecretBytes, *, name: str, description: str
    ) -> StoredKey:
        """Remember it, under an id that no key has."""
        self._require_free(alias)
        stored = StoredKey(NO_ID, (alias,), name, description, None)
        self._written[alias] = (stored, content)
        return stored

    def add_alias(self, key_id: str, alias: str) -> None:
        """Remember it."""
        self._require_free(alias)
        stored = self.kms.find_key(key_id)
        self._written[alias] = (replace(stored, aliases=(*stored.aliases, alias)), None)

    def _require_free(self, alias: str) -> None:
        try:
            held = self.find_key(alias)
        except KeyNotFound:
            return
        raise KeyExists(KEY_CONFLICT(f"{alias} is {held.id}"))
