# SPDX-License-Identifier: Apache-2.0
"""Take back the successor of a signing key: a rotation or a renewal that is not to go on.

As long as the successor has the name NAME-next there is a way back: the Secret that names the
signing key, the alias, what is published, the names. Each step that is done stays done, so that a
run that was cut short is finished by the next one; the successor is marked before them, so that no
other command goes on with it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from imgsec.domain.keys import (
    PREDECESSOR_SUFFIX,
    RETIRED_PREFIX,
    REVOKED_PREFIX,
    SPARE_PREFIX,
    SUCCESSOR_SUFFIX,
    Fingerprint,
    KeyAlias,
    PublicKey,
    is_key_name,
    is_mark,
    marked,
)
from imgsec.domain.policy import KeySecret
from imgsec.domain.report import Change
from imgsec.domain.verdict import Note, passed
from imgsec.errors import ImgsecError, KeyNotFound
from imgsec.operations.published_keys import find_published, require_all_ours
from imgsec.operations.rotate_key import Rotated, show_rotation
from imgsec.operations.signing_key import (
    described_key,
    find_or_none,
    is_made_to_replace,
    load_public_half,
)
from imgsec.operations.succession import (
    Pair,
    Site,
    find_pair,
    free_mark,
    move_alias_back,
    publish_keys,
    put_right,
    read_reference,
    require_named,
    switch_to,
    tidy_up,
)
from imgsec.ports import ObjectId, StoredKey
from imgsec.reasons import (
    KEY_CONFLICT,
    KEY_FINGERPRINT_MISMATCH,
    KEY_MOVING,
    KEY_NOT_FOUND,
    KEY_RETIRED,
    KEY_UNPUBLISHED,
)


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
    key-retired, if the old one is gone already; key-unpublished, if this is not the place;
    key-fingerprint-mismatch, key-expired and its like, and what the ports raise).
    """
    alias, kms = wanted.alias, site.kms
    where = ObjectId("Secret", str(wanted.reference.name), str(wanted.reference.namespace))
    site.place.require_ready(where)
    changes: list[Change] = []
    if find_or_none(kms, str(alias.successor)) is None:
        changes += _put_right(wanted, site)
        changes += _without_orphans(alias, site)
        changes += _cleared(wanted, find_pair(alias, kms).old, site)
        note = Note("nothing-to-do", f"no other key is to take the place of kms://{alias}")
        verdict = passed() if changes else passed(note)
        return Rotated(show_rotation(alias, wanted.reference, site), verdict, tuple(changes))
    pair = find_pair(alias, kms)
    if _is_all_but_over(alias, pair) and pair.new and marked(REVOKED_PREFIX, pair.new.aliases):
        mark = _spare_mark(pair.old)
        tidy_up(alias, alias.predecessor, mark, kms)  # only names were left, and nobody else may
        changes.append(Change(f"kms://{alias}", "restored"))
        return Rotated(show_rotation(alias, wanted.reference, site), passed(), tuple(changes))
    move = _read_move(wanted, site)
    _require_way_back(wanted, move, site)
    changes += _published(move, site, with_new=True)
    changes += _named_again(wanted, move, site)
    if move.spent is not None:  # first of what the KMS is told: a rotation that runs stops at it
        kms.add_alias(move.new.id, str(move.spent))
        changes += _named_again(wanted, move, site)
    changes += move_alias_back(alias, site)
    changes += _published(move, site, with_new=False)
    tidy_up(alias, alias.successor, move.spent, kms)
    changes.append(Change(f"kms://{alias.successor}", "taken-back"))
    notes = [] if move.spent is not None else [_somebody_elses(alias, move.new)]
    rotation = show_rotation(alias, wanted.reference, site)
    return Rotated(rotation, passed(*notes), tuple(changes))


def _is_all_but_over(alias: KeyAlias, pair: Pair) -> bool:
    """Whether nothing is left of a renewal than to take its names away."""
    old, new = pair.old, pair.new
    if old is None or new is None:
        return True
    spare = marked(SPARE_PREFIX, old.aliases)
    # A spare copy that was adopted, and is replaced by another key, is no such thing.
    return spare is not None and spare == described_key(new) and str(alias) not in old.aliases


def _somebody_elses(alias: KeyAlias, stored: StoredKey) -> Note:
    listed = ", ".join(name for name in stored.aliases if name != str(alias.successor))
    text = f"{stored.id} ({listed or 'no other alias'}) was not made by imgsec for this, and lost"
    return Note("not-made-for-this", f"{text} the alias {alias.successor} only")


def _spare_mark(stored: StoredKey | None) -> KeyAlias | None:
    fingerprint = marked(SPARE_PREFIX, stored.aliases) if stored else None
    return KeyAlias.spare(fingerprint, stored.id) if stored and fingerprint else None


def _put_right(wanted: Cancellation, site: Site) -> tuple[Change, ...]:
    """What two runs at once left: the alias, or a part of it, is nobody's or a retired key's.

    Whose it is, is the word of whoever has it, and else of the Secret that names the signing key.
    """
    alias, kms = wanted.alias, site.kms
    said = read_reference(wanted.reference, site.place)
    named = find_or_none(kms, said.kms_key_id) if said and said.kms_key_id else None
    held = find_or_none(kms, str(alias))
    is_free = held is None or marked(RETIRED_PREFIX, held.aliases) is not None
    is_its_own = named is not None and str(alias.predecessor) in named.aliases
    if is_free and named and not is_its_own and (others := _own_aliases(alias, named)):
        text = f"the KMS has no key {alias}; the key that is named here is {', '.join(others)}"
        raise ImgsecError(KEY_NOT_FOUND(text, hint="Give that alias."))
    for meant in (held, named):
        if meant is None or marked(RETIRED_PREFIX, meant.aliases):
            continue
        fingerprint = described_key(meant)  # its public half may be nobody's
        if fingerprint is None and said and said.kms_key_id == meant.id and said.fingerprint:
            fingerprint = Fingerprint.parse(said.fingerprint)
        if fingerprint is None:
            fingerprint = load_public_half(meant.id, meant, kms, site.keyring).fingerprint
        return put_right(alias, meant, fingerprint, site)
    return _reinstated(wanted, named, site)


def _reinstated(wanted: Cancellation, named: StoredKey | None, site: Site) -> tuple[Change, ...]:
    """Bring a retired key back, where two runs at once have replaced each of the two by the other.

    It is one that is published here, so that nothing else is accepted than before. named: by the
    Secret that names the signing key. Raises `ImgsecError` (key-not-found) unless it is asked for:
    nothing tells such a key from one that was replaced under another alias.
    """
    alias, kms = wanted.alias, site.kms
    held = find_or_none(kms, str(alias))
    secrets = find_published(site.place, site.keyring)
    published = [fingerprint for one in secrets for fingerprint in one.fingerprints]
    shelved = [find_or_none(kms, str(KeyAlias.retired(one))) for one in published]
    for stored in filter(None, (held, named, *shelved)):
        spent = marked(RETIRED_PREFIX, stored.aliases)
        if spent not in published or marked(REVOKED_PREFIX, stored.aliases):
            continue
        if not (wanted.accept_lockout and wanted.replaced == spent):
            hint = (
                "If two runs at once have retired each other's key, bring back the one that is"
                f" published: --cancel --accept-lockout --fingerprint {spent}"
            )
            raise ImgsecError(KEY_NOT_FOUND(f"the KMS has no key {alias}", hint=hint))
        put_right(alias, stored, spent, site)
        for mark in (KeyAlias.retired(spent), KeyAlias.retired(spent, stored.id)):
            for part in reversed(mark.parts):
                if (key := find_or_none(kms, part)) is not None and described_key(key) == spent:
                    kms.remove_alias(key.id, part)
        change = Change(f"kms://{alias}", "restored")
        return change, switch_to(stored.id, spent, wanted.reference, kms, site.place)
    return ()


def _own_aliases(alias: KeyAlias, stored: StoredKey) -> list[str]:
    """Which other aliases it is the signing key of, or was, or is to be."""
    names = [name for name in stored.aliases if is_key_name(name) and not is_mark(name)]
    bases = [name.removesuffix(SUCCESSOR_SUFFIX).removesuffix(PREDECESSOR_SUFFIX) for name in names]
    return [base for base in dict.fromkeys(bases) if base != str(alias)]


def _without_orphans(alias: KeyAlias, site: Site) -> list[Change]:
    """Take away what a run stored for a successor that was taken back from under it.

    The parts of a key that is retired get its name, so that they are found with it.
    """
    kms, changes = site.kms, list[Change]()
    suffixes = alias.successor.parts[1:]
    for name, number in zip(suffixes, (1, 2), strict=True):
        part = find_or_none(kms, name)
        if part is None:
            continue
        fingerprint = described_key(part)
        if fingerprint is not None:
            mark = KeyAlias.retired(fingerprint)
            is_shelved = find_or_none(kms, str(mark)) is not None
            if is_shelved and find_or_none(kms, mark.parts[number]) is None:
                kms.add_alias(part.id, mark.parts[number])
        kms.remove_alias(part.id, name)
        changes.append(Change(f"kms://{name}", "taken-back"))
    return changes


def _cleared(wanted: Cancellation, held: StoredKey | None, site: Site) -> list[Change]:
    """Let go of a key that was taken back in another place, and is published or named here still.

    Raises `ImgsecError` (key-retired) for a place that is behind instead.
    """
    if held is None:
        return []
    kms, keyring, place = site.kms, site.keyring, site.place
    key = load_public_half(str(wanted.alias), held, kms, keyring)
    if not any(key.fingerprint in one.fingerprints for one in find_published(place, keyring)):
        return []  # it is another alias's place, or behind
    changes: list[Change] = []
    for secret in find_published(place, keyring):
        later = {
            one.fingerprint
            for one in secret.keys
            if one.created > key.created
            and find_or_none(kms, str(KeyAlias.retired(one.fingerprint))) is not None
        }
        if key.fingerprint in secret.fingerprints and later:
            keyring.import_public_keys(secret.content)
            rest = [one for one in secret.fingerprints if one not in later]
            changes += publish_keys(secret, rest, site)
    said = read_reference(wanted.reference, place)
    named = find_or_none(kms, said.kms_key_id) if said and said.kms_key_id else None
    spent = marked(RETIRED_PREFIX, named.aliases) if named else None
    if spent is None or named is None:
        return changes
    if load_public_half(named.id, named, kms, keyring).created < key.created:
        hint = f"Bring it along: imgsec keys rotate {wanted.alias} --fingerprint {spent}"
        raise ImgsecError(KEY_RETIRED(f"{spent} was replaced for good elsewhere", hint=hint))
    where, fingerprint = wanted.reference, key.fingerprint
    return [*changes, switch_to(held.id, fingerprint, where, kms, place)]


def _named_again(wanted: Cancellation, move: _Move, site: Site) -> list[Change]:
    """Let the Secret that names the signing key mean the old one, if it means the new one."""
    where, fingerprint = wanted.reference, move.old_key.fingerprint
    said = read_reference(where, site.place)
    if said is None or said.kms_key_id != move.new.id:
        return []
    return [switch_to(move.old.id, fingerprint, where, site.kms, site.place)]


def _read_move(wanted: Cancellation, site: Site) -> _Move:
    """The two keys, of which this place publishes one at least, and names one."""
    alias, kms, keyring = wanted.alias, site.kms, site.keyring
    pair = find_pair(alias, kms)
    old, new = pair.old, pair.new
    if new is None:
        raise ImgsecError(KEY_MOVING(f"another run has changed kms://{alias} just now"))
    if old is None or marked(RETIRED_PREFIX, old.aliases) or _is_all_but_over(alias, pair):
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
    move = _Move(old, old_key, new, new_key, spent)
    _require_place(wanted, move, site)
    return move


def _require_place(wanted: Cancellation, move: _Move, site: Site) -> None:
    """Raises `ImgsecError` (key-unpublished, key-conflict, foreign-object)."""
    named = [(move.old, move.old_key.fingerprint)]
    if move.new_key is not None:
        named.append((move.new, move.new_key.fingerprint))
    own = {fingerprint for _, fingerprint in named}
    require_all_ours(own, site.place, site.keyring)
    published = find_published(site.place, site.keyring)
    if all(own.isdisjoint(one.fingerprints) for one in published):
        listed = " or ".join(map(str, own))
        raise ImgsecError(KEY_UNPUBLISHED(f"no Secret here holds the public half of {listed}"))
    said = read_reference(wanted.reference, site.place)
    require_named(said, wanted.reference, named, site.kms)


def _require_way_back(wanted: Cancellation, move: _Move, site: Site) -> None:
    """Nothing that runs may be lost, and what signs afterwards must be fit to.

    Once the way back has begun it is gone to its end.
    """
    new = move.new_key
    has_begun = move.spent is not None and str(move.spent) in move.new.aliases
    if wanted.accept_lockout or new is None or new.is_revoked or has_begun:
        return
    now = site.clock.now()
    if (flaws := move.old_key.flaws(now)) and not new.flaws(now):
        hint = "Go on with the rotation; or go back all the same with --accept-lockout, then renew."
        raise ImgsecError(replace(flaws[0], hint=hint))
    # From NAME-old on some place may sign with the new one, here or elsewhere.
    has_switched = str(wanted.alias.predecessor) in move.old.aliases
    if has_switched and not move.is_renewal:
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
    changes: list[Change] = []
    for secret in find_published(site.place, site.keyring):
        held = secret.fingerprints
        if new.fingerprint not in held or (with_new and old in held):
            continue
        site.keyring.import_public_keys(secret.content)
        rest = [one for one in held if one != old and (with_new or one != new.fingerprint)]
        changes += publish_keys(secret, [old, *rest], site)
    return changes
