# SPDX-License-Identifier: Apache-2.0
"""Give a signing key a later end date, everywhere where its public half is published.

GPGME's verifiers refuse all that an ended key ever signed; with a later end date in their copy they
accept it again. The fingerprint stays, so that nothing is signed anew. A stored key cannot be
changed in the KMS: the renewed one is stored beside it, and takes its names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from imgsec.domain.keys import KeyAlias, PublicKey, SecretBytes, unwrapped
from imgsec.domain.policy import KeySecret
from imgsec.domain.report import Change, KeySummary
from imgsec.domain.verdict import Note
from imgsec.errors import ImgsecError, KeyNotFound
from imgsec.operations.published_keys import (
    find_published,
    require_all_ours,
    take_back_revoked,
)
from imgsec.operations.setup_signing_keys import Wanted, store_signing_key
from imgsec.operations.signing_key import find_or_none, load_public_half
from imgsec.operations.succession import (
    Pair,
    Site,
    find_pair,
    mark_predecessor,
    move_alias,
    other_names,
    publish_keys,
    read_reference,
    require_able,
    require_named,
    require_not_cancelled,
    switch_to,
    tidy_up,
)
from imgsec.ports import StoredKey
from imgsec.reasons import (
    INVALID_OPTION,
    KEY_CONFLICT,
    KEY_CREATION_FAILED,
    KEY_MOVING,
    KEY_REVOKED,
    KEY_UNPUBLISHED,
)

# OpenPGP counts seconds in 32 bits (RFC 9580, 3.5); gpg wraps around silently.
_LAST_MOMENT = datetime(2106, 2, 7, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Renewal:
    """What is to be renewed, and until when; reference: the Secret that names the signing key."""

    alias: KeyAlias
    reference: KeySecret
    until: datetime

    def __post_init__(self) -> None:
        """Raises `ImgsecError` (invalid-option) for a date that no key can have."""
        if self.until >= _LAST_MOMENT:
            text = f"an OpenPGP key cannot end on {self.until:%Y-%m-%d}"
            raise ImgsecError(INVALID_OPTION(text, hint=f"Before {_LAST_MOMENT:%Y-%m-%d}."))


@dataclass(frozen=True, slots=True)
class Renewed:
    """The key as it is now, and what the run did."""

    key: PublicKey
    summary: KeySummary
    changes: tuple[Change, ...]
    notes: tuple[Note, ...]


@dataclass(slots=True)
class _Run:
    renewal: Renewal
    site: Site
    changes: list[Change] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def renew_key(renewal: Renewal, site: Site) -> Renewed:
    """Let the key end on a later date; one that ends then or later is only published here.

    A run that was cut short is finished first, with the end date that it chose. Raises
    `ImgsecError` (key-conflict while the key is being replaced, key-moving, key-unpublished,
    key-revoked, foreign-object, invalid-option and what the ports raise).
    """
    run = _Run(renewal, site)
    site.place.require_ready()
    pair = find_pair(renewal.alias, site.kms)
    key = _the_one_key(run, pair)
    keys = [(stored, key.fingerprint) for stored in (pair.old, pair.new)]
    said = read_reference(renewal.reference, site.place)
    require_named(said, renewal.reference, keys, site.kms)
    require_not_cancelled(renewal.alias, pair.new)
    require_all_ours([key.fingerprint], site.place, site.keyring)
    run.notes += other_names(renewal.alias, pair.old)
    if pair.new is None and key.expires is None:
        raise ImgsecError(INVALID_OPTION(f"the key {key.fingerprint} has no end date"))
    if pair.new is None and key.expires is not None and key.expires >= renewal.until:
        _publish(run, pair, key)  # it may have been renewed from another place
        if all(change.state == "unchanged" for change in run.changes):
            text = f"{key.fingerprint} ends on {key.expires:%Y-%m-%d} anyway"
            run.notes.append(Note("nothing-to-do", text))
        return _renewed(run, key)
    if pair.new is None or str(renewal.alias) not in pair.new.aliases:
        key = _store(run, pair, key)
        pair = find_pair(renewal.alias, site.kms)
        _require_unrevoked(run, pair, key)
        _publish(run, pair, key)
        require_able(renewal.alias, renewal.reference, site)
        mark_predecessor(renewal.alias, pair, site)
        _name(run, pair.new, key)
        run.changes += move_alias(renewal.alias, site)
    else:
        _publish(run, pair, key)
        _name(run, pair.new, key)
    spare = KeyAlias.spare(key.fingerprint, pair.old.id) if pair.old else None
    tidy_up(renewal.alias, renewal.alias.predecessor, spare, site.kms)
    if key.expires is not None and key.expires < renewal.until:
        ends = f"{key.expires:%Y-%m-%d}"
        text = f"a renewal that was cut short is finished now, and the key ends on {ends}"
        hint = f"Run the command again for {renewal.until:%Y-%m-%d}, once the KMS has freed names."
        raise ImgsecError(KEY_MOVING(text, hint=hint))
    return _renewed(run, key)


def _renewed(run: _Run, key: PublicKey) -> Renewed:
    alias, kms = run.renewal.alias, run.site.kms
    summary = KeySummary(
        alias=str(alias),
        key_id=kms.find_key(str(alias)).id,
        public_key_id=kms.find_key(alias.public).id,
        fingerprint=key.fingerprint,
        algorithm=key.algorithm,
        expires=key.expires,
    )
    return Renewed(key, summary, tuple(run.changes), tuple(run.notes))


def _the_one_key(run: _Run, pair: Pair) -> PublicKey:
    """The public half that both stored keys share. Raises `ImgsecError` (key-conflict)."""
    site, alias = run.site, str(run.renewal.alias)
    keys: list[PublicKey] = []
    for stored in (pair.old, pair.new):
        if stored is None:
            continue
        try:
            keys.append(load_public_half(alias, stored, site.kms, site.keyring))
        except KeyNotFound:
            if pair.new is None:
                raise
            continue  # a run was cut short while it stored the one or let go of the other
        if keys[-1].is_revoked:
            how = "--cancel" if pair.new else f"--fingerprint {keys[-1].fingerprint}"
            hint = f"imgsec keys rotate {alias} {how}"
            raise ImgsecError(KEY_REVOKED(f"key {keys[-1].fingerprint} is revoked", hint=hint))
    if len({key.fingerprint for key in keys}) != 1:
        raise _being_replaced(alias)
    return keys[-1]


def _being_replaced(alias: str) -> ImgsecError:
    return ImgsecError(
        KEY_CONFLICT(
            f"kms://{alias} is being replaced by another key",
            hint="Finish that first, with `imgsec keys rotate`; or take it back with --cancel.",
        )
    )


def _store(run: _Run, pair: Pair, key: PublicKey) -> PublicKey:
    """The renewed key under the successor's names: found there, or made from the stored one."""
    site, alias = run.site, run.renewal.alias
    stored = pair.new or pair.old
    if stored is None:
        raise ImgsecError(KEY_MOVING("another run has changed the key just now"))
    content = SecretBytes(unwrapped(site.kms.fetch_key(stored.id)[1].reveal()))
    if site.keyring.import_secret_key(content).fingerprint != key.fingerprint:
        raise _being_replaced(str(alias))
    if pair.new is None:
        made = site.keyring.extend_key(key.fingerprint, run.renewal.until)
        if made.expires != run.renewal.until:
            ends = f"{made.expires:%Y-%m-%d}" if made.expires else "never"
            text = f"gpg lets the key end {ends} instead of {run.renewal.until:%Y-%m-%d}"
            raise ImgsecError(KEY_CREATION_FAILED(text))
        content = site.keyring.export_secret_key(key.fingerprint)
    done = store_signing_key(
        Wanted(alias.successor, content, expected=key.fingerprint, is_successor=True),
        kms=site.kms,
        keyring=site.keyring,
        now=site.clock.now(),
    )
    run.changes += done.changes
    return done.key


def _publish(run: _Run, pair: Pair, key: PublicKey) -> None:
    """The public half with its later end date, in every Secret of this folder or cluster.

    Where the key is not being renewed, the Secret that names it as well.
    """
    site, fingerprint = run.site, key.fingerprint
    secrets = [
        one for one in find_published(site.place, site.keyring) if fingerprint in one.fingerprints
    ]
    if not secrets:
        raise ImgsecError(KEY_UNPUBLISHED(f"no Secret here holds the public half of {fingerprint}"))
    for secret in secrets:
        site.keyring.import_public_keys(secret.content)
        run.changes += publish_keys(secret, secret.fingerprints, site)
    _require_unrevoked(run, pair, key)
    if pair.new is None:
        _name(run, pair.old, key)


def _require_unrevoked(run: _Run, pair: Pair, key: PublicKey) -> None:
    """A run at the same time may have revoked the key, and knows nothing of its new copy.

    Raises `ImgsecError` (key-revoked), after that copy and what is published say so as well.
    """
    site, fingerprint = run.site, key.fingerprint
    mark = KeyAlias.revoked(fingerprint)
    if (revoked := find_or_none(site.kms, str(mark))) is None:
        return
    if pair.new is not None and revoked.id != pair.new.id:
        site.kms.add_alias(pair.new.id, str(KeyAlias.revoked(fingerprint, pair.new.id)))
    now = site.clock.now()
    take_back_revoked([fingerprint], site.place, site.kms, site.keyring, now=now)
    how = "--cancel" if pair.new else f"--fingerprint {fingerprint}"
    hint = f"imgsec keys rotate {run.renewal.alias} {how}"
    raise ImgsecError(KEY_REVOKED(f"key {fingerprint} was revoked just now", hint=hint))


def _name(run: _Run, stored: StoredKey | None, key: PublicKey) -> None:
    """Let the Secret that names the signing key mean this copy of it."""
    if stored is None:
        raise ImgsecError(KEY_MOVING("another run has changed the key just now"))
    site, where = run.site, run.renewal.reference
    run.changes.append(switch_to(stored.id, key.fingerprint, where, site.kms, site.place))
