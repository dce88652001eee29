# SPDX-License-Identifier: Apache-2.0
"""The files of a Notary trust collection, as values: what is in them, before anybody trusts it.

Notary 0.7, `tuf/data`. What its reader would take in more than one way (a member twice, or spelt in
another case) is refused; so is what only Go's own words could complain about.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from imgsec.domain import strict_json
from imgsec.domain.canonical_json import EXACT_MAX, canonical
from imgsec.domain.go_time import go_moment
from imgsec.domain.tuf_keys import TrustKey

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
BASE_ROLES = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
_TYPES = {ROOT: "Root", TARGETS: "Targets", SNAPSHOT: "Snapshot", TIMESTAMP: "Timestamp"}
_SIGNATURES_MAX = 1000  # ours; a role has a handful of keys
_ROLES_MAX = 1000  # ours, in one file; most are never read, but each is walked
_PATHS_MAX = 1000  # ours, of one role; each is compared with each of its parent's
_DELEGATION = re.compile(r"targets/[-a-z0-9_/]{1,247}")
_HASHES = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}
_HEAD, _SIGNATURE = frozenset(["signed", "signatures"]), frozenset(["keyid", "method", "sig"])
_COMMON = frozenset(["_type", "expires", "version"])
_KEY, _VALUE = frozenset(["keytype", "keyval"]), frozenset(["private", "public"])
_ROLE = frozenset(["keyids", "threshold", "name", "paths"])
_FILE = frozenset(["length", "hashes", "custom"])


class TrustDenied(Exception):
    """What was read is not trusted; the text is the engine's own.

    others: what it may say instead, where it looks at things in no order.
    """

    def __init__(self, text: str, others: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.others = others


class RolePassedOver(TrustDenied):
    """As `TrustDenied`; of a delegation, the engine goes on without it."""


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What one file says of another. hashes: as they stand there, by algorithm."""

    length: int = 0
    hashes: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Raises `ValueError`, `TypeError`."""
        fields = strict_json.require_spelling(value, _FILE)
        hashes = _members(fields.get("hashes"))
        return cls(
            _whole(fields.get("length")),
            tuple((name, decoded(content)) for name, content in hashes.items()),
        )

    @property
    def is_known(self) -> bool:
        return bool(self.hashes or self.length)

    @property
    def sha256(self) -> bytes:
        """Empty for none."""
        return dict(self.hashes).get("sha256", b"")

    def require_sane(self, owner: str, name: str) -> None:
        """Raises `TrustDenied`."""
        if "sha256" not in dict(self.hashes):
            raise invalid(owner, f"missing {name} sha256 checksum information")
        for algorithm, content in self.hashes:
            if algorithm in _HASHES and len(content) != _HASHES[algorithm]().digest_size:
                text = f"invalid {name} checksum information, {algorithm} checksum invalid"
                raise invalid(owner, text)

    def require_content(self, name: str, content: bytes) -> None:
        """Raises `TrustDenied` unless every hash is the content's, and there is one."""
        known = [(algorithm, wanted) for algorithm, wanted in self.hashes if algorithm in _HASHES]
        wrong = [
            f"{algorithm} checksum for {name} did not match: expected {wanted.hex()}"
            for algorithm, wanted in sorted(known)
            if _HASHES[algorithm](content).digest() != wanted
        ]
        if wrong:
            raise TrustDenied(wrong[0], tuple(wrong[1:]))
        if not known:
            raise TrustDenied(f"no checksums for supported algorithms were provided for {name}")


NO_META = FileMeta()


@dataclass(frozen=True, slots=True)
class Role:
    """Who may sign a file. keys: by the id under which they are listed. paths: for which tags."""

    name: str
    keys: Mapping[str, TrustKey]
    threshold: int
    paths: tuple[str, ...] = ()

    @classmethod
    def parse(cls, owner: str, name: str, value: Any, keys: Mapping[str, TrustKey]) -> Self:
        """A role that a file of OWNER lists. Raises `TrustDenied`, `ValueError`, `TypeError`."""
        fields = strict_json.require_spelling(value, _ROLE)
        threshold = _whole(fields.get("threshold"))
        if threshold < 1:
            raise invalid(owner, f"invalid threshold specified for {name}: {threshold} ")
        ids = [_text(each) for each in _items(fields.get("keyids"))]
        for each in ids:
            if each not in keys:
                text = f"key ID {each} specified in {name} without corresponding key"
                raise invalid(owner, text)
        paths = tuple(_text(each) for each in _items(fields.get("paths")))
        if len(paths) > _PATHS_MAX:
            raise ValueError(f"a role has {len(paths)} paths")
        return cls(name, {each: keys[each] for each in ids}, threshold, paths)

    def covers(self, tag: str) -> bool:
        return any(tag.startswith(path) for path in self.paths)


@dataclass(frozen=True, slots=True)
class Signature:
    key_id: str
    method: str
    content: bytes


@dataclass(frozen=True, slots=True)
class SignedFile:
    """One file, taken apart. signed: the part that the signatures are about."""

    signed: dict[str, Any]
    message: bytes
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Raises `ValueError`, `TypeError`, `RecursionError`."""
        document = strict_json.require_spelling(strict_json.parse(content, folds_case=False), _HEAD)
        signed = strict_json.require_spelling(document.get("signed"), _COMMON)
        listed = _items(document.get("signatures"))
        if len(listed) > _SIGNATURES_MAX:
            raise ValueError(f"it has {len(listed)} signatures")
        return cls(signed, canonical(signed), tuple(_signature(each) for each in listed))

    def require_signed(self, role: Role) -> None:
        """By as many of the role's keys as it wants. Raises `TrustDenied`, `RolePassedOver`."""
        if not self.signatures:
            raise TrustDenied("tuf: data has no signatures")
        valid = set()
        for each in self.signatures:
            key = role.keys.get(each.key_id)
            if key is None or each.key_id in valid:
                continue
            if key.id != each.key_id:
                raise TrustDenied("key ID is not valid for key content")
            if key.accepts(each.method, each.content, self.message):
                valid.add(each.key_id)
        if len(valid) < role.threshold:
            raise RolePassedOver(f"valid signatures did not meet threshold for {role.name}")

    def version_of(self, role: str) -> int:
        """Raises `TrustDenied` for a file of another type, or without a version."""
        kind = _text(self.signed.get("_type"))
        wanted = _TYPES.get(role, _TYPES[TARGETS])
        if kind != wanted:
            raise invalid(role, f"expected type {wanted}, not {kind}")
        version = _whole(self.signed.get("version"))
        if version < 1:
            word = "1" if role == ROOT else "one"
            raise invalid(role, f"version cannot be less than {word}")
        return version

    @property
    def expires(self) -> datetime:
        """Raises `ValueError`, `TypeError`."""
        return go_moment(_text(self.signed.get("expires")))

    def members(self, name: str) -> dict[str, Any]:
        """An object of the signed part; empty where there is none. Raises `TypeError`."""
        fields = strict_json.require_spelling(self.signed, _COMMON | {name})
        return _members(fields.get(name))


def parsed_keys(value: Any) -> dict[str, TrustKey]:
    """Keys by the id under which they are listed. Raises `ValueError`, `TypeError`."""
    keys = {}
    for key_id, entry in _members(value).items():
        fields = strict_json.require_spelling(entry, _KEY)
        halves = strict_json.require_spelling(fields.get("keyval"), _VALUE)
        decoded(halves.get("private"))  # which no key's id is about, but which must be readable
        keys[key_id] = TrustKey(_text(fields.get("keytype")), decoded(halves.get("public")))
    return keys


def parsed_delegations(owner: str, file: SignedFile) -> tuple[Role, ...]:
    """The roles to which a file of targets delegates; of several of one name, the first counts.

    Raises `TrustDenied`, `ValueError`, `TypeError`.
    """
    names = frozenset(["keys", "roles"])
    delegations = strict_json.require_spelling(file.members("delegations"), names)
    keys = parsed_keys(delegations.get("keys"))
    listed = _items(delegations.get("roles"))
    if len(listed) > _ROLES_MAX:
        raise ValueError(f"it delegates to {len(listed)} roles")
    roles: list[Role] = []
    for entry in listed:
        name = _text(strict_json.require_spelling(entry, _ROLE).get("name"))
        if not is_delegation(name) or posixpath.dirname(name) != owner:
            raise invalid(owner, f"delegation role {name} invalid")
        roles.append(Role.parse(owner, name, entry, keys))
    return tuple(roles)


def is_delegation(name: str) -> bool:
    return bool(_DELEGATION.fullmatch(name)) and posixpath.normpath(name) == name


def invalid(role: str, text: str) -> TrustDenied:
    return TrustDenied(f"{role} type metadata invalid: {text}")


def decoded(value: Any) -> bytes:
    """Base64 as Go reads it, with line ends anywhere. Raises `ValueError`, `TypeError`."""
    if value is None:
        return b""
    try:
        return base64.b64decode(re.sub(r"[\r\n]", "", _text(value)), validate=True)
    except binascii.Error as error:
        raise ValueError("a value is not base64") from error


def _signature(value: Any) -> Signature:
    fields = strict_json.require_spelling(value, _SIGNATURE)
    method = _text(fields.get("method")).lower()
    return Signature(_text(fields.get("keyid")), method, decoded(fields.get("sig")))


def _members(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TypeError("a value is no object")
    return value


def _items(value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise TypeError("a value is no list")
    return value


def _text(value: Any) -> str:
    """Empty for null, as Go has it; likewise below."""
    if not isinstance(value, str | None):
        raise TypeError("a value is no text")
    return value or ""


def _whole(value: Any) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > EXACT_MAX:
        raise TypeError("a value is no whole number")
    return value
