# SPDX-License-Identifier: Apache-2.0
"""One stored key takes the place of another: what rotating and renewing have in common.

The KMS cannot change a stored key, so the successor is stored beside it as NAME-next; then the
alias moves. Taking an alias from a key needs up to five minutes (ten in HPCS), in which no other
key can get it. The predecessor is marked as NAME-old before that, so that no reader takes it for
the key of that name; NAME-next goes last, and says until then that the move is not over. As long as
it is there the move can be taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from imgsec.domain.keys import (
    RETIRED_PREFIX,
    SPARE_PREFIX,
    Fingerprint,
    KeyAlias,
    is_key_name,
    is_passing_name,
    marked,
)
from imgsec.domain.kubernetes import key_reference_document, key_reference_of
from imgsec.domain.policy import KeyReference, KeySecret
from imgsec.domain.report import Change
from imgsec.domain.verdict import Note
from imgsec.errors import ImgsecError, KeyExists
from imgsec.operations.published_keys import (
    PublishedSecret,
    PublishingPlace,
    republish,
    take_back_revoked,
)
from imgsec.operations.signing_key import (
    PUBLIC_PART,
    REVOCATION_PART,
    describe,
    find_or_none,
)
from imgsec.ports import (
    AliasMover,
    Clock,
    ClusterReader,
    KeyReader,
    Keyring,
    ManifestSink,
    SigningRegistry,
    StoredKey,
)
from imgsec.reasons import (
    KEY_CONFLICT,
    KEY_MOVING,
    KEY_NOT_FOUND,
    KEY_UNPUBLISHED,
    REQUEST_REFUSED,
)

ALIASES_MAX = 5  # Key Protect: of one key

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Site:
    """Where a key is changed. cluster: None where only files are at hand.

    registry: opens it, which most runs do not need; wait_seconds: for an alias.
    """

    kms: AliasMover
    keyring: Keyring
    place: PublishingPlace
    clock: Clock
    registry: Callable[[], SigningRegistry]
    progress: Progress
    wait_seconds: float
    cluster: ClusterReader | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """The two keys. old: None once its names are gone; new: None until it is made."""

    old: StoredKey | None
    new: StoredKey | None


def find_pair(alias: KeyAlias, kms: KeyReader) -> Pair:
    """Both keys, by their aliases. Raises `ImgsecError` (key-not-found, key-conflict).

    NAME-old without NAME-next is what two runs leave that undo each other's work.
    """
    new = find_or_none(kms, str(alias.successor))
    held = find_or_none(kms, str(alias))
    old = find_or_none(kms, str(alias.predecessor))
    if new is None:
        if old is not None:
            text = f"the KMS has {alias.predecessor} ({old.id}) and no {alias.successor}"
            hint = f"Put it right: imgsec keys rotate {alias} --cancel"
            raise ImgsecError(KEY_CONFLICT(text, hint=hint))
        if held is None:
            raise ImgsecError(KEY_NOT_FOUND(f"the KMS has no key {alias}"))
        return Pair(held, None)
    is_moved = held is None or held.id == new.id
    return Pair(old if is_moved else held, new)


def has_moved(alias: KeyAlias, kms: KeyReader) -> bool:
    """Whether all of the successor's parts have the alias's own names, and nothing else does."""
    for name, following in zip(alias.parts, alias.successor.parts, strict=True):
        held, target = find_or_none(kms, name), find_or_none(kms, following)
        if target is not None and (held is None or held.id != target.id):
            return False
    return True


def publish_keys(
    secret: PublishedSecret, fingerprints: Sequence[Fingerprint], site: Site
) -> list[Change]:
    """Let a Secret hold these keys, none of them as a good one that was revoked meanwhile."""
    place, keyring, now = site.place, site.keyring, site.clock.now()
    change = republish(secret, fingerprints, place, keyring, now=now)
    return [change, *take_back_revoked(fingerprints, place, site.kms, keyring, now=now)]


def require_named(
    said: KeyReference | None,
    where: KeySecret,
    keys: Iterable[tuple[StoredKey | None, Fingerprint]],
    kms: KeyReader,
) -> str:
    """Which of these keys the Secret names, by its id; a spare copy of one is that one.

    Raises `ImgsecError` (key-unpublished, key-conflict).
    """
    if said is None:
        raise ImgsecError(
            KEY_UNPUBLISHED(
                f"there is no Secret {where.namespace}/{where.name} that names the signing key"
            )
        )
    known = {key.id: fingerprint for key, fingerprint in keys if key is not None}
    if said.kms_key_id in known:
        return said.kms_key_id
    copied = copied_key(said.kms_key_id, kms)
    for key_id, fingerprint in known.items():
        if fingerprint == copied:
            return key_id
    named = find_or_none(kms, said.kms_key_id) if said.kms_key_id else None
    hint = None
    if named is not None and (retired := marked(RETIRED_PREFIX, named.aliases)):
        hint = (
            f"{retired} has been replaced elsewhere. Finish what is under way there, then bring"
            f" this along: imgsec keys rotate with --fingerprint {retired}"
        )
    text = f"the Secret {where.namespace}/{where.name} names the key {said.kms_key_id or 'none'}"
    raise ImgsecError(KEY_CONFLICT(f"{text}, and the KMS has {', '.join(known)} here", hint=hint))


def require_able(alias: KeyAlias, where: KeySecret, site: Site) -> None:
    """That the Secret can be written, and the keys can take their names, before anything changes.

    Half-way the alias would be nobody's. Raises `ImgsecError` (request-refused and what the sink
    raises).
    """
    said = read_reference(where, site.place)
    if said is not None:
        site.place.publish(key_reference_document(where, said))
    held = zip(alias.parts, alias.predecessor.parts, alias.successor.parts, strict=True)
    for names in held:
        for stored in filter(None, (find_or_none(site.kms, name) for name in names)):
            if len(stored.aliases) >= ALIASES_MAX and not set(names[:2]) <= set(stored.aliases):
                text = f"{stored.id} has {len(stored.aliases)} aliases, and needs another one"
                hint = "A key has five at most: take one of your own away in the KMS."
                raise ImgsecError(REQUEST_REFUSED(text, hint=hint))


def copied_key(key_id: str, kms: KeyReader) -> Fingerprint | None:
    """Of which key this id is a spare copy; None if it is none."""
    stored = find_or_none(kms, key_id) if key_id else None
    return marked(SPARE_PREFIX, stored.aliases) if stored is not None else None


def spare_copies(fingerprint: Fingerprint, kms: KeyReader) -> list[StoredKey]:
    """The secret halves that earlier or cancelled renewals of this key left."""
    return [
        key
        for key in kms.list_keys()
        if marked(SPARE_PREFIX, filter(is_key_name, key.aliases)) == fingerprint
    ]


def free_mark(plain: KeyAlias, further: KeyAlias, key: StoredKey, kms: KeyReader) -> KeyAlias:
    """The name that this copy of a key is marked with, since a name can be one object's only."""
    held = find_or_none(kms, str(plain))
    return plain if held is None or held.id == key.id else further


def other_names(alias: KeyAlias, stored: StoredKey | None) -> tuple[Note, ...]:
    """Who uses the key that is replaced by another alias is not brought along: say it early."""
    names = [
        name
        for name in (stored.aliases if stored is not None else ())
        if is_key_name(name) and not is_passing_name(name) and name != str(alias)
    ]
    if not names:
        return ()
    listed = ", ".join(f"kms://{name}" for name in names)
    text = f"the key is {listed} too, which stays with it: let those who use that name take"
    return (Note("other-alias-stays", f"{text} kms://{alias} first"),)


def require_not_cancelled(alias: KeyAlias, new: StoredKey | None) -> None:
    """Raises `ImgsecError` (key-conflict) for a move that is on its way back."""
    if new is None:
        return
    if marked(RETIRED_PREFIX, new.aliases) or marked(SPARE_PREFIX, new.aliases):
        text = f"the successor of kms://{alias} ({new.id}) is being taken back"
        hint = f"Finish that first: imgsec keys rotate {alias} --cancel"
        raise ImgsecError(KEY_CONFLICT(text, hint=hint))


def read_reference(where: KeySecret, sink: ManifestSink) -> KeyReference | None:
    """What the Secret that names the signing key says now, whoever wrote it."""
    held = sink.fetch("Secret", str(where.name), str(where.namespace))
    return key_reference_of(held) if held is not None else None


def switch_to(
    key_id: str, fingerprint: Fingerprint, where: KeySecret, kms: AliasMover, sink: ManifestSink
) -> Change:
    """Let the Secret name the new key: id and fingerprint together, which is what makes it safe."""
    said = KeyReference(*kms.address, key_id, str(fingerprint))
    return sink.publish(key_reference_document(where, said))


def mark_predecessor(alias: KeyAlias, pair: Pair, site: Site) -> None:
    """Let whoever asks for the alias see that it is about to move: from here on it is undecided.

    Before anything is signed by the successor, which nobody finds under the alias yet.
    """
    if pair.old is not None and str(alias) in pair.old.aliases:
        deadline = site.clock.monotonic() + site.wait_seconds
        _add_when_free(str(alias.predecessor), pair.old.id, site, deadline)


def move_alias(alias: KeyAlias, site: Site) -> tuple[Change, ...]:
    """Give the alias, and those of what belongs to it, to the successor; done already is done.

    The public half goes before the secret one, so that whoever finds the new key under its name
    finds its public half as well. Raises `ImgsecError` (key-moving) if the KMS has not freed an
    alias in time.
    """
    return _move(alias, alias.predecessor, alias.successor, site)


def put_right(
    alias: KeyAlias, named: StoredKey, fingerprint: Fingerprint, site: Site
) -> tuple[Change, ...]:
    """Give the alias, and those of what belongs to it, to the key that the Secret names.

    Two runs that undo each other's work can leave them to others, or to nobody.
    """
    kms, deadline = site.kms, site.clock.monotonic() + site.wait_seconds
    stored = {one.description: one for one in kms.list_keys()}
    halves = [stored.get(describe(part, fingerprint)) for part in (PUBLIC_PART, REVOCATION_PART)]
    changed = False
    for name, target in zip(alias.parts, (named, *halves), strict=True):
        held = find_or_none(kms, name)
        if target is None or (held is not None and held.id == target.id):
            continue
        if held is not None and held.description == target.description:
            continue  # a part of the same key, of another copy
        if held is not None:
            kms.remove_alias(held.id, name)
        _add_when_free(name, target.id, site, deadline)
        changed = True
    for name in reversed(alias.predecessor.parts):
        if (key := find_or_none(kms, name)) is not None:
            kms.remove_alias(key.id, name)
            changed = True
    return (Change(f"kms://{alias}", "restored"),) if changed else ()


def move_alias_back(alias: KeyAlias, site: Site) -> tuple[Change, ...]:
    """The same the other way round, for those parts that have moved already."""
    return _move(alias, alias.successor, alias.predecessor, site)


def _move(alias: KeyAlias, leaves: KeyAlias, comes: KeyAlias, site: Site) -> tuple[Change, ...]:
    """leaves, comes: by which other names the keys are found that lose and get the alias."""
    kms, deadline = site.kms, site.clock.monotonic() + site.wait_seconds
    leaving: list[tuple[str, StoredKey, str]] = []
    coming: list[tuple[str, str]] = []
    for name, kept, sought in zip(alias.parts, leaves.parts, comes.parts, strict=True):
        target, held = find_or_none(kms, sought), find_or_none(kms, name)
        if target is None or (held is not None and held.id == target.id):
            continue  # an older key has no certificate
        coming.append((name, target.id))
        if held is not None:
            leaving.append((name, held, kept))
    is_back = comes == alias.predecessor

    def require_same_way() -> None:
        """Another run may have turned round meanwhile."""
        new = find_or_none(kms, str(alias.successor))
        if new is None:
            raise ImgsecError(KEY_MOVING(f"another run has changed kms://{alias} just now"))
        if not is_back:
            require_not_cancelled(alias, new)

    for _, held, kept in leaving:  # all of them first: each is found by its other name then
        require_same_way()
        _add_when_free(kept, held.id, site, deadline)
    for name, held, _ in leaving:
        require_same_way()
        kms.remove_alias(held.id, name)
    for name, key_id in sorted(coming, key=lambda one: one[0] == str(alias)):
        require_same_way()
        _add_when_free(name, key_id, site, deadline, require_same_way)
    return (Change(f"kms://{alias}", "moved" if coming else "unchanged"),)


def _add_when_free(
    name: str,
    key_id: str,
    site: Site,
    deadline: float,
    before: Callable[[], None] = lambda: None,
) -> None:
    for wait in site.clock.backoff():
        before()
        try:
            site.kms.add_alias(key_id, name)
        except KeyExists:
            left = deadline - site.clock.monotonic()
            if left <= wait:
                break
            site.progress(f"waiting until the KMS frees the alias {name} ({left:.0f} s left)")
            site.clock.sleep(wait)
        else:
            return
    raise ImgsecError(KEY_MOVING(f"the KMS has not freed the alias {name} yet"))


def tidy_up(alias: KeyAlias, going: KeyAlias, spent: KeyAlias | None, kms: AliasMover) -> None:
    """Take the names of the move away again; NAME-next of the secret half goes last.

    going: by which name the key is found whose move this was; spent: what its parts are called from
    now on, None for nothing.
    """
    if spent is not None:
        for name, mark in zip(going.parts, spent.parts, strict=True):
            if (key := find_or_none(kms, name)) is not None:
                kms.add_alias(key.id, mark)
    for name in (*reversed(alias.predecessor.parts), *reversed(alias.successor.parts)):
        if (key := find_or_none(kms, name)) is not None:
            kms.remove_alias(key.id, name)
