# SPDX-License-Identifier: Apache-2.0
"""Keys, aliases and key rings in one SQLite file. Every change is one transaction.

Key material lies there in clear: the folder is private, and the sandbox must never hold real keys.
"""

from __future__ import annotations

import base64
import json
import secrets
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from imgsec.sandbox.kms.errors import KmsError
from imgsec.sandbox.kms.requests import ALIASES_MAX, KEY_TYPE, KeyQuery, NewKey

DEFAULT_RING = "default"
ACTIVE, DESTROYED = 1, 5
RESTORE_WINDOW = timedelta(days=30)
PURGE_WAIT = timedelta(hours=4)
PURGE_SCHEDULE = timedelta(days=90)

_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL; -- under WAL, less is not safe at power loss
PRAGMA foreign_keys = ON;
CREATE TABLE IF NOT EXISTS key (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    state INTEGER NOT NULL,
    extractable INTEGER NOT NULL,
    ring TEXT NOT NULL,
    payload TEXT,
    fields TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS alias (
    position INTEGER PRIMARY KEY,
    alias TEXT NOT NULL UNIQUE,
    key_id TEXT NOT NULL REFERENCES key (id),
    created_by TEXT NOT NULL,
    created TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS leaving_alias (
    alias TEXT PRIMARY KEY,
    free_at REAL NOT NULL -- seconds since the epoch
);
CREATE TABLE IF NOT EXISTS ring (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    created_by TEXT NOT NULL,
    created TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is stored."""

    id: str
    state: int
    extractable: bool
    ring: str
    payload: str | None
    aliases: tuple[str, ...]
    fields: Mapping[str, Any]

    def to_json(self, *, payload: bool) -> dict[str, Any]:
        """The resource as answers hold it; with its material only where that is asked for."""
        value: dict[str, Any] = {"type": KEY_TYPE, "id": self.id, "name": self.fields["name"]}
        if self.aliases:
            value["aliases"] = list(self.aliases)
        value |= {
            **{name: item for name, item in self.fields.items() if name != "name"},
            "state": self.state,
            "extractable": self.extractable,
            "keyRingID": self.ring,
            "deleted": self.state == DESTROYED,
        }
        if self.state == DESTROYED:
            gone = _moment(self.fields["deletionDate"])
            now = _now()
            value |= {
                "restoreAllowed": now < gone + RESTORE_WINDOW,
                "restoreExpirationDate": _words(gone + RESTORE_WINDOW),
                "purgeAllowed": now >= gone + PURGE_WAIT,
                "purgeAllowedFrom": _words(gone + PURGE_WAIT),
                "purgeScheduledOn": _words(gone + PURGE_SCHEDULE),
            }
        if payload and self.extractable and self.state != DESTROYED:
            value["payload"] = self.payload
        return value


class KeyStore:
    """The keys of one instance; each change is complete and durable, or did not happen."""

    def __init__(
        self, path: Path, crn: Callable[[str], str], *, restore_wait: int, alias_wait: int
    ) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.executescript(_SCHEMA)
        self._crn = crn
        self._wait = timedelta(seconds=restore_wait)
        self._alias_wait = timedelta(seconds=alias_wait)
        with self._change():
            self._db.execute(
                "INSERT OR IGNORE INTO ring (id, created_by, created) VALUES (?, 'System', ?)",
                (DEFAULT_RING, _words(_now())),
            )

    def close(self) -> None:
        """Write everything down."""
        self._db.close()

    # --- Keys ---------------------------------------------------------------------------------

    def create(self, new: NewKey, *, ring: str, by: str) -> Key:
        """Keep a new key, together with its aliases or not at all."""
        what = "Key could not be created"
        with self._change():
            self._need_ring(ring, what)
            now, key_id = _words(_now()), str(uuid.uuid4())
            placeholder = "Deprecated"  # the real service fills these fields with this word
            fields: dict[str, Any] = {
                "name": new.name,
                "description": new.description,
                "tags": list(new.tags),
                "crn": self._crn(key_id),
                "imported": new.payload is not None,
                "creationDate": now,
                "createdBy": by,
                "lastUpdateDate": now,
                "algorithmType": placeholder,
                "algorithmMetadata": {"bitLength": placeholder, "mode": placeholder},
                "algorithmBitSize": placeholder,
                "algorithmMode": placeholder,
                "dualAuthDelete": {"enabled": new.dual_auth},
            }
            if new.expires:
                fields["expirationDate"] = new.expires
            if not new.extractable:
                fields["keyVersion"] = {"id": key_id, "creationDate": now}
            payload = new.payload or base64.b64encode(secrets.token_bytes(32)).decode()
            self._db.execute(
                "INSERT INTO key (id, state, extractable, ring, payload, fields) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (key_id, ACTIVE, new.extractable, ring, payload, json.dumps(fields)),
            )
            for alias in new.aliases:
                self._insert_alias(key_id, alias, by, now, what)
        return self.find(key_id, None, what)

    def find(self, id_or_alias: str, ring: str | None, what: str) -> Key:
        """The key of that id or alias; with RING only if it lies there. Raises `KmsError`."""
        row = self._db.execute(
            "SELECT id, state, extractable, ring, payload, fields FROM key WHERE id = ? "
            "OR id = (SELECT key_id FROM alias WHERE alias = ?)",
            (id_or_alias.lower(), id_or_alias),
        ).fetchone()
        if row is None or (ring is not None and row[3] != ring):
            raise KmsError(what, "KEY_NOT_FOUND_ERR")
        return self._key(row)

    def select(self, query: KeyQuery, ring: str | None) -> list[Key]:
        """One page."""
        matches = _search(query.search)
        rows = self._db.execute(
            "SELECT id, state, extractable, ring, payload, fields FROM key ORDER BY position"
        )
        keys = [
            key
            for key in map(self._key, rows)
            if key.state in query.states
            and (ring is None or key.ring == ring)
            and (query.extractable is None or key.extractable is query.extractable)
            and matches(key)
        ]
        name = query.sort.removeprefix("-")
        keys.sort(key=lambda key: str(key.to_json(payload=False).get(name, "")))
        if query.sort.startswith("-"):
            keys.reverse()
        return keys[query.offset : query.offset + query.limit]

    def delete(self, key: Key, by: str) -> Key:
        """Destroy a key; it can be restored, and its aliases stay taken until they are deleted.

        Whether the real service frees them is not documented: the harder reading is kept.
        """
        if key.state == DESTROYED:
            raise KmsError("Key could not be deleted", "KEY_DELETED_ERR")
        now = _words(_now())
        with self._change():
            self._update(key, DESTROYED, {"deletionDate": now, "deletedBy": by})
        return self.find(key.id, None, "Key could not be deleted")

    def restore(self, key: Key) -> Key:
        """Take a deleted key back."""
        what = "Key could not be restored"
        if key.state != DESTROYED:
            raise KmsError(what, "KEY_ACTION_INVALID_STATE_ERR")
        gone = _moment(key.fields["deletionDate"])
        if _now() < gone + self._wait:
            seconds = int(self._wait.total_seconds())
            raise KmsError(
                what, "REQ_TOO_EARLY_ERR", f"Key changed less than {seconds} seconds ago"
            )
        if _now() > gone + RESTORE_WINDOW:
            raise KmsError(what, "KEY_RESTORE_EXPIRED")
        with self._change():
            self._update(key, ACTIVE, {"deletionDate": None, "deletedBy": None})
        return self.find(key.id, None, what)

    def move(self, key: Key, ring: str) -> Key:
        """Put a key into another ring."""
        what = "Key could not be updated"
        with self._change():
            self._need_ring(ring, what)
            self._db.execute("UPDATE key SET ring = ? WHERE id = ?", (ring, key.id))
            self._update(key, key.state, {})
        return self.find(key.id, None, what)

    # --- Aliases ------------------------------------------------------------------------------

    def add_alias(self, key: Key, alias: str, by: str) -> dict[str, str]:
        """Give a key one more name."""
        what = "Alias could not be created"
        if key.state == DESTROYED:
            raise KmsError(what, "KEY_DELETED_ERR")
        now = _words(_now())
        with self._change():
            self._insert_alias(key.id, alias, by, now, what)
        return {"keyId": key.id, "alias": alias, "createdBy": by, "creationDate": now}

    def remove_alias(self, key: Key, alias: str) -> None:
        """Take a name away. No key has it then, and for a while no other can get it."""
        now = _now()
        with self._change():
            gone = self._db.execute(
                "DELETE FROM alias WHERE key_id = ? AND alias = ?", (key.id, alias)
            )
            if gone.rowcount:
                self._db.execute(
                    "INSERT OR REPLACE INTO leaving_alias (alias, free_at) VALUES (?, ?)",
                    (alias, (now + self._alias_wait).timestamp()),
                )
        if not gone.rowcount:
            raise KmsError(
                "Alias could not be deleted", "KEY_NOT_FOUND_ERR", "Alias does not exist"
            )

    # --- Rings --------------------------------------------------------------------------------

    def rings(self) -> list[dict[str, str]]:
        """All key rings."""
        rows = self._db.execute("SELECT id, created_by, created FROM ring ORDER BY position")
        return [
            {"id": ring, "createdBy": by, "creationDate": created} for ring, by, created in rows
        ]

    def add_ring(self, ring: str, by: str) -> None:
        """Make a ring."""
        what = "Key ring could not be created"
        if any(known["id"] == ring for known in self.rings()):
            raise KmsError(what, "KEY_RING_RESERVED_ERR", "Key ring exists")
        with self._change():
            self._db.execute(
                "INSERT INTO ring (id, created_by, created) VALUES (?, ?, ?)",
                (ring, by, _words(_now())),
            )

    def remove_ring(self, ring: str, *, force: bool) -> None:
        """Remove a ring; by force, destroyed keys in it move to the default ring."""
        what = "Key ring could not be deleted"
        if ring == DEFAULT_RING:
            raise KmsError(what, "KEY_RING_RESERVED_ERR")
        with self._change():
            self._need_ring(ring, what)
            states = [
                state
                for (state,) in self._db.execute("SELECT state FROM key WHERE ring = ?", (ring,))
            ]
            if any(state != DESTROYED for state in states) or (states and not force):
                raise KmsError(what, "KEY_RING_NOT_EMPTY_ERR")
            self._db.execute("UPDATE key SET ring = ? WHERE ring = ?", (DEFAULT_RING, ring))
            self._db.execute("DELETE FROM ring WHERE id = ?", (ring,))

    # --- Inside -------------------------------------------------------------------------------

    @contextmanager
    def _change(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _key(self, row: tuple[str, int, int, str, str | None, str]) -> Key:
        key_id, state, extractable, ring, payload, fields = row
        names = self._db.execute(
            "SELECT alias FROM alias WHERE key_id = ? ORDER BY position", (key_id,)
        )
        aliases = tuple(alias for (alias,) in names)
        return Key(key_id, state, bool(extractable), ring, payload, aliases, json.loads(fields))

    def _insert_alias(self, key_id: str, alias: str, by: str, now: str, what: str) -> None:
        (held,) = self._db.execute(
            "SELECT count(*) FROM alias WHERE key_id = ?", (key_id,)
        ).fetchone()
        if held >= ALIASES_MAX:
            raise KmsError(what, "KEY_ALIAS_QUOTA_ERR")
        self._db.execute("DELETE FROM leaving_alias WHERE free_at <= ?", (_now().timestamp(),))
        leaving = self._db.execute("SELECT 1 FROM leaving_alias WHERE alias = ?", (alias,))
        if leaving.fetchone():
            raise KmsError(what, "KEY_ALIAS_NOT_UNIQUE_ERR")
        try:
            self._db.execute(
                "INSERT INTO alias (alias, key_id, created_by, created) VALUES (?, ?, ?, ?)",
                (alias, key_id, by, now),
            )
        except sqlite3.IntegrityError as error:
            raise KmsError(what, "KEY_ALIAS_NOT_UNIQUE_ERR") from error

    def _update(self, key: Key, state: int, changes: Mapping[str, str | None]) -> None:
        fields = {**key.fields, **changes, "lastUpdateDate": _words(_now())}
        kept = {name: value for name, value in fields.items() if value is not None}
        self._db.execute(
            "UPDATE key SET state = ?, fields = ? WHERE id = ?", (state, json.dumps(kept), key.id)
        )

    def _need_ring(self, ring: str, what: str) -> None:
        if not any(known["id"] == ring for known in self.rings()):
            raise KmsError(what, "KEY_RING_NOT_FOUND_ERR")


def _search(expression: str) -> Callable[[Key], bool]:
    """Key Protect's search: modifiers, then text that is looked for in names and aliases."""
    modifiers, text = set(), expression
    while (found := text.partition(":"))[1] and found[0] in ("not", "exact", "alias", "name"):
        modifiers.add(found[0])
        text = found[2]
    text = text.removeprefix("escape:").lower()
    if not text:
        return lambda key: True  # noqa: ARG005

    def matches(key: Key) -> bool:
        places: list[str] = []
        if "alias" in modifiers or "name" not in modifiers:
            places += key.aliases
        if "name" in modifiers or "alias" not in modifiers:
            places.append(str(key.fields["name"]))
        words = [place.lower() for place in places]
        hit = text in words if "exact" in modifiers else any(text in word for word in words)
        hit = hit or text == key.id
        return hit is not ("not" in modifiers)

    return matches


def _now() -> datetime:
    return datetime.now(UTC)


def _words(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(words: str) -> datetime:
    return datetime.fromisoformat(words)
