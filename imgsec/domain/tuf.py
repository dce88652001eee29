# SPDX-License-Identifier: Apache-2.0
"""Whom a Notary trust collection is believed, in the order in which Notary's client asks.

1. The root is signed by its own certificates, which bear the collection's name and are in date.
   Which these are is believed on first use: no root was seen before, as in an engine that starts.
2. The timestamp is signed by the root's key for it, and names the snapshot by its hash.
3. The snapshot is signed likewise and names root, targets and delegations by their hashes.
4. The targets are signed by the root's key for them, each delegation by the keys that its parent
   gives it.
5. Everything is in date at one fixed moment. A delegation that is not, or that too few keys signed,
   is passed over; for anything else nothing is trusted at all.

Notary 0.7: `tuf/builder.go`, `trustpinning/certs.go`, `client/reader.go`. An engine that runs has
seen roots before and keeps them; one that it has not seen may be refused there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Self

from imgsec.domain.go_time import go_date
from imgsec.domain.tuf_files import (
    BASE_ROLES,
    NO_META,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    FileMeta,
    Role,
    RolePassedOver,
    SignedFile,
    TrustDenied,
    invalid,
    parsed_delegations,
    parsed_keys,
)
from imgsec.domain.tuf_keys import (
    TrustKey,
    certificates,
    common_name,
    complaint_about,
    first_certificate,
    is_authority,
)

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


class RootRotated(Exception):
    """The root changed hands while the collection was read."""


@dataclass(frozen=True, slots=True)
class SignedTag:
    """A tag as one role signed it. sha256: as it stands there, empty for none."""

    role: Role
    sha256: bytes


@dataclass(slots=True)
class Collection:
    """What is believed so far of the collection of one name. content: the root's bytes."""

    name: str
    now: datetime
    content: bytes
    roles: dict[str, Role]
    versions: dict[str, int]
    snapshot: FileMeta = NO_META
    files: dict[str, FileMeta] = field(default_factory=dict)
    root_meta: FileMeta | None = None
    passed_over: list[str] = field(default_factory=list)
    _delegations: dict[str, tuple[Role, ...]] = field(default_factory=dict)
    _tags: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @classmethod
    def of_root(
        cls, name: str, content: bytes, now: datetime, previous: Collection | None = None
    ) -> Self:
        """Believe a root. previous: what was believed of another root just before.

        Raises `TrustDenied`, `RootRotated`; as all here, `ValueError`, `TypeError` and
        `RecursionError` for a file that cannot be read.
        """
        if previous is not None and previous.root_meta is not None:
            previous.root_meta.require_content(ROOT, content)
        file = SignedFile.parse(content)
        version = file.version_of(ROOT)
        roles = _base_roles(file)
        keys = _root_keys(roles[ROOT], name, now)
        if previous is not None:
            old = previous.roles[ROOT]
            trusted = _root_keys(old, name, None)
            try:
                file.require_signed(Role(ROOT, trusted, old.threshold))
            except TrustDenied as error:
                raise RootRotated(str(error)) from error
            if version < previous.versions[ROOT]:
                raise RootRotated("it went back to an older version")
        try:
            file.require_signed(Role(ROOT, keys, roles[ROOT].threshold))
        except TrustDenied:
            raise _no_path("failed to validate integrity of roots") from None
        _require_in_date(file, ROOT, now)
        return cls(name, now, content, roles, {ROOT: version})

    def believe_timestamp(self, content: bytes) -> None:
        """Raises `TrustDenied`."""
        file = SignedFile.parse(content)
        file.require_signed(self.roles[TIMESTAMP])
        self.versions[TIMESTAMP] = file.version_of(TIMESTAMP)
        meta = file.members("meta").get(SNAPSHOT)
        snapshot = NO_META if meta is None else FileMeta.parse(meta)
        snapshot.require_sane(TIMESTAMP, SNAPSHOT)
        _require_in_date(file, TIMESTAMP, self.now)
        self.snapshot = snapshot

    def believe_snapshot(self, content: bytes) -> None:
        """Raises `TrustDenied`, also for a root that is not the one of the snapshot."""
        self.snapshot.require_content(SNAPSHOT, content)
        file = SignedFile.parse(content)
        file.require_signed(self.roles[SNAPSHOT])
        self.versions[SNAPSHOT] = file.version_of(SNAPSHOT)
        files = {name: FileMeta.parse(meta) for name, meta in file.members("meta").items()}
        for name in (ROOT, TARGETS):
            files.get(name, NO_META).require_sane(SNAPSHOT, name)
        _require_in_date(file, SNAPSHOT, self.now)
        self.root_meta = files[ROOT]
        files[ROOT].require_content(ROOT, self.content)
        self.files = files

    def believe_targets(self, name: str, content: bytes) -> tuple[str, ...]:
        """Believe ``targets`` or a delegation; the names of those to which it delegates.

        Raises `TrustDenied`, and `RolePassedOver` where a delegation is done without.
        """
        if name in self._tags:
            raise TrustDenied(f"{name} has already been loaded")
        role = self._role(name)
        self.files[name].require_content(name, content)
        file = SignedFile.parse(content)
        if name == TARGETS:
            file.require_signed(role)
        version = file.version_of(name)
        delegations = parsed_delegations(name, file)
        tags = {tag: FileMeta.parse(meta).sha256 for tag, meta in file.members("targets").items()}
        if name != TARGETS:
            file.require_signed(role)
        _require_in_date(file, name, self.now)
        self.versions[name] = version
        self._delegations[name] = delegations
        self._tags[name] = tags
        return tuple(each.name for each in delegations)

    def _role(self, name: str) -> Role:
        if name == TARGETS:
            return self.roles[TARGETS]
        parent = name.rpartition("/")[0]
        role = next(each for each in self._delegations[parent] if each.name == name)
        for key in role.keys.values():
            if complaint := _complaint_about(key):
                raise TrustDenied(complaint)
        return role

    def signed_tags(self, tag: str) -> Iterator[SignedTag]:
        """The tag in every role that may sign it and does, parents before children."""
        targets = self.roles[TARGETS]
        roles = deque([Role(TARGETS, targets.keys, targets.threshold, ("",))])
        while roles:
            role = roles.popleft()
            if not role.covers(tag):
                continue
            if tag in self._tags[role.name]:
                yield SignedTag(role, self._tags[role.name][tag])
            for child in self._delegations[role.name]:
                if child.name not in self._tags:
                    continue
                allowed = tuple(path for path in child.paths if path.startswith(role.paths))
                roles.append(Role(child.name, child.keys, child.threshold, allowed))


def _base_roles(file: SignedFile) -> dict[str, Role]:
    if not isinstance(file.signed.get("consistent_snapshot"), bool | None):
        raise TypeError("a value is neither true nor false")
    keys = parsed_keys(file.members("keys"))
    listed = file.members("roles")
    roles = {}
    for name in BASE_ROLES:
        if listed.get(name) is None:
            raise invalid(ROOT, f"missing {name} role specification")
        roles[name] = Role.parse(ROOT, name, listed[name], keys)
    return roles


def _root_keys(role: Role, name: str, now: datetime | None) -> dict[str, TrustKey]:
    """The root's certificates that bear the name and are in date, as keys. now: None for any time.

    Raises `TrustDenied`.
    """
    found = {}
    for key in role.keys.values():
        chain = _chain(key)
        if not chain or not _bears(chain[0], name) or complaint_about(chain[0], now):
            continue
        rest = [each for each in chain[1:] if not complaint_about(each, now)]
        if (made := TrustKey.of_chain([chain[0], *rest])) is not None:
            found[made.id] = made
    if not found:
        raise _no_path("unable to retrieve valid leaf certificates")
    return found


def _chain(key: TrustKey) -> list[Certificate]:
    """The certificates of a root key, if exactly the first may sign no other; else none."""
    try:
        chain = certificates(key.public)
        authorities = [is_authority(each) for each in chain]
    except ValueError:
        return []
    return chain if not authorities[0] and all(authorities[1:]) else []


def _bears(certificate: Certificate, name: str) -> bool:
    common = common_name(certificate)
    return name.startswith(common.rstrip("*")) if common.endswith("*") else common == name


def _complaint_about(key: TrustKey) -> str | None:
    try:
        certificate = first_certificate(key.public)
    except ValueError:
        return None
    return complaint_about(certificate, None)


def _no_path(text: str) -> TrustDenied:
    return TrustDenied(f"could not validate the path to a trusted root: {text}")


def _require_in_date(file: SignedFile, role: str, now: datetime) -> None:
    """Raises `RolePassedOver`."""
    if file.expires < now:
        raise RolePassedOver(f"{role} expired at {go_date(file.expires)}")
