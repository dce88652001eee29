# SPDX-License-Identifier: Apache-2.0
"""Take back the successor of a signing key: a rotation or a renewal that is not to go on.

As long as the successor has the name NAME-next there is a way back: the Secret that names the
signing key, the alias, what is published, the names. Each step that is done stays done, so that a
run that was cut short is finished by the next one.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from imgsec.domain.keys import (
    RETIRED_PREFIX,
    Fingerprint,
    KeyAlias,
    PublicKey,
    marked,
)
from imgsec.domain.policy import KeySecret
from imgsec.domain.report import Change
from imgsec.domain.verdict import Note, passed
from imgsec.errors import ImgsecError, KeyNotFound
from imgsec.operations.published_keys import find_published, republish
from imgsec.operations.rotate_key import Rotated, show_rotation
from imgsec.operations.signing_key import described_key, is_made_to_replace, load_public_half
from imgsec.operations.succession import (
    Site,
    find_pair,
    free_mark,
    move_alias_back,
    read_reference,
    switch_to,
    tidy_up,
)
from imgsec.ports import StoredKey
from imgsec.reasons import KEY_CONFLICT, KEY_FINGERPRINT_MISMATCH, KEY_RETIRED


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Which change is taken back. replaced: the key that stays, None for whatever it is.

    reference: the Secret that names the signing key.
    """

    alias: KeyAlias
    reference: KeySecret
    replaced: Fingerprint | None = None
    accept_lockout: bool = False


@dataclass(frozen=True, slots=True)
class _Move:
    """The move that is taken back.

    new_key: None where there is no public half, or it is not ours to speak of. spent: what the new
    key is called from now on, None for nothing.
    """

    old: StoredKey
    old_key: PublicKey
    new: StoredKey
    new_key: PublicKey | None
    spent: KeyAlias | None

    @property
    def is_renewal(self) -> bool:
        return self.new_key is not None and self.new_key.fingerprint == self.old_key.fingerprint


def cancel_change(wanted: Cancellation, site: Site) -> Rotated:
    """Let the old key sign, and be published, alone again.

    Raises `ImgsecError` (key-moving, as long as the alias is on its way back; key-conflict, if
    images may need the new key, which is neither revoked nor given up with accept_lockout;
    key-retired, if the old one is gone already; key-fingerprint-mismatch, key-expired and its like,
    and what the ports raise).
    """
    alias, kms = wanted.alias, site.kms
    site.place.require_ready()
    pair = find_pair(alias, kms)
    if pair.new is None:
        note = Note("nothing-to-do", f"no other key is to take the place of kms://{alias}")
        return Rotated(show_rotation(alias, wanted.reference, site), passed(note))
    move = _read_move(wanted, pair.old, pair.new, site)
    said = read_reference(wanted.reference, site.place)
    is_named = said is not None and said.kms_key_id == move.new.id
    _require_way_back(wanted, move, site, is_used=is_named or str(alias) in move.new.aliases)
    changes = _published(move, site, with_new=True)
    if is_named:
        where, fingerprint = wanted.reference, move.old_key.fingerprint
        changes.append(switch_to(move.old.id, fingerprint, where, kms, site.place))
    changes += move_alias_back(alias, site)
    changes += _published(move, site, with_new=False)
    tidy_up(alias, alias.successor, move.spent, kms)
    changes.append(Change(f"kms://{alias.successor}", "taken-back"))
    return Rotated(show_rotation(alias, wanted.reference, site), passed(), tuple(changes))


def _read_move(wanted: Cancellation, old: StoredKey | None, new: StoredKey, site: Site) -> _Move:
    alias, kms, keyring = wanted.alias, site.kms, site.keyring
    if old is None or marked(RETIRED_PREFIX, old.aliases) is not None:
        hint = f"Finish what is left: imgsec keys rotate {alias}, or imgsec keys renew {alias}"
        raise ImgsecError(KEY_RETIRED(f"kms://{alias} has been replaced for good", hint=hint))
    old_key = load_public_half(str(alias), old, kms, keyring)
    if wanted.replaced not in (None, old_key.fingerprint):
        text = f"the key before is {old_key.fingerprint}, expected {wanted.replaced}"
        raise ImgsecError(KEY_FINGERPRINT_MISMATCH(text))
    new_key, spent = None, None
    if (fingerprint := described_key(new)) is not None and is_made_to_replace(alias, new):
        with suppress(KeyNotFound):  # a run was cut short between storing its halves
            new_key = load_public_half(str(alias), new, kms, keyring)
        if fingerprint == old_key.fingerprint:
            spent = KeyAlias.spare(fingerprint, new.id)
        else:
            plain, further = (KeyAlias.retired(fingerprint, key_id) for key_id in ("", new.id))
            spent = free_mark(plain, further, new, kms)
    return _Move(old, old_key, new, new_key, spent)


def _require_way_back(wanted: Cancellation, move: _Move, site: Site, *, is_used: bool) -> None:
    """Nothing that runs may be lost, and what signs afterwards must be fit to."""
    new = move.new_key
    if wanted.accept_lockout or new is None or new.is_revoked:
        return
    now = site.clock.now()
    flaws = move.old_key.flaws(now)
    if flaws and not new.flaws(now):
        raise ImgsecError(flaws[0])
    if is_used and not move.is_renewal:
        raise ImgsecError(
            KEY_CONFLICT(
                f"{new.fingerprint} signs already, and what only it signed would be refused",
                hint="Go on with the rotation; or say --accept-lockout, and sign that again.",
            )
        )


def _published(move: _Move, site: Site, *, with_new: bool) -> list[Change]:
    """Publish the old key wherever the new one is; then the old one without it."""
    new, old = move.new_key, move.old_key.fingerprint
    if new is None or move.is_renewal:
        return []
    changes = []
    for secret in find_published(site.place, site.keyring):
        held = secret.fingerprints
        if new.fingerprint not in held or (with_new and old in held):
            continue
        site.keyring.import_public_keys(secret.content)
        rest = [one for one in held if one != old and (with_new or one != new.fingerprint)]
        now = site.clock.now()
        changes.append(republish(secret, [old, *rest], site.place, site.keyring, now=now))
    return changes
