# SPDX-License-Identifier: Apache-2.0
"""Set up a signing key: make it once, store both halves in the KMS, tell the cluster.

The aliases are the state. NAME without NAME-public is a run that was cut short and is finished;
NAME-public without NAME is a loss that nobody may paper over. A second run finds both and changes
nothing. Where there is no NAME, keys of an older set-up are looked for before one is made: its KMS
keys have a name and no alias, and its Secret says which one signs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from imgsec.domain.keys import (
    RETIRED_PREFIX,
    SPARE_PREFIX,
    SUCCESSOR_SUFFIX,
    Fingerprint,
    KeyAlias,
    KeyRequest,
    PublicKey,
    SecretBytes,
    is_mark,
    is_passing_name,
    marked,
    unwrapped,
)
from imgsec.domain.kubernetes import Document, key_reference_of
from imgsec.domain.policy import ImagePolicy, KeyReference, KeySecret
from imgsec.domain.reference import shown
from imgsec.domain.report import Change, KeySummary
from imgsec.domain.verdict import Note
from imgsec.errors import ImgsecError, KeyDeleted, KeyExists, KeyNotFound
from imgsec.operations.publish_policy import publish_key, publish_policy
from imgsec.operations.published_keys import (
    PublishingPlace,
    read_secret,
    require_readable,
    take_back_revoked,
)
from imgsec.operations.signing_key import (
    PRIVATE_KEY_NAME,
    PUBLIC_PART,
    REVOCATION_PART,
    SIGNING_PART,
    describe,
    described_key,
    find_or_none,
    is_made_to_replace,
    is_of_older_set_up,
    require_fit,
    require_in_use,
)
from imgsec.ports import (
    ClusterReader,
    KeyReader,
    Keyring,
    KeyWriter,
    ManifestSink,
    ObjectId,
    StoredKey,
)
from imgsec.reasons import (
    EXISTING_KEY_FOUND,
    INVALID_OPTION,
    KEY_CONFLICT,
    KEY_MOVING,
    KEY_NOT_FOUND,
    KEY_REVOKED,
    KEY_STORE_MISMATCH,
    KEY_TOO_LARGE,
)

PUBLIC_KEY_NAME = "portieris-image-signing-public-key"
REVOCATION_NAME = "portieris-image-signing-revocation"
_PLATFORM_NAMESPACES = ("portieris", "ibm-system", "kube-system")
_EDITORS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class ClusterNames:
    """The objects that set-up writes for the cluster. policy: None to leave policies alone."""

    public_key: KeySecret
    key_reference: KeySecret
    policy: ImagePolicy | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which key is to sign.

    source: how to make one, or a secret key that exists already. expected: the fingerprint that it
    must have. adopt: take over what an older set-up made; key_id: which of several keys.
    looks_back: whether keys of an older set-up are looked for. is_successor: of another signing
    key; then they are not.
    """

    alias: KeyAlias
    source: KeyRequest | SecretBytes
    expected: Fingerprint | None = None
    adopt: bool = False
    key_id: str | None = None
    looks_back: bool = True
    is_successor: bool = False


@dataclass(frozen=True, slots=True)
class SetUp:
    """What a run found or made. key: as the keyring has it."""

    key: PublicKey
    summary: KeySummary
    changes: tuple[Change, ...]


@dataclass(slots=True)
class _Run:
    """What the steps share, and what they changed so far."""

    wanted: Wanted
    kms: KeyWriter
    keyring: Keyring
    reference: KeyReference | None
    before_making: Callable[[Fingerprint | None], None]
    changes: list[Change] = field(default_factory=list)

    def note(self, alias: str, state: str) -> None:
        self.changes.append(Change(f"kms://{alias}", state))


def setup_signing_keys(
    wanted: Wanted,
    *,
    kms: KeyWriter,
    keyring: Keyring,
    sink: PublishingPlace,
    names: ClusterNames,
    now: datetime,
) -> SetUp:
    """Bring KMS and manifests to the state in which signing works; whatever is right stays.

    The sink is looked at first: a key that nobody is told of helps nobody. Raises `ImgsecError`
    (existing-key-found, key-conflict, key-fingerprint-mismatch, key-store-mismatch, key-unusable
    and its like, and what the ports raise).
    """
    sink.require_ready()
    where = names.public_key
    held = sink.fetch("Secret", str(where.name), str(where.namespace))

    def before_making(given: Fingerprint | None) -> None:
        sink.require_ready(*_objects(names), adopt=wanted.adopt)
        _require_only(given, held, keyring)

    done = store_signing_key(
        wanted,
        kms=kms,
        keyring=keyring,
        reference=_reference_in(sink, names),
        before_making=before_making,
        now=now,
    )
    _require_only(done.key.fingerprint, held, keyring)
    said = KeyReference(*kms.address, done.summary.key_id, str(done.key.fingerprint))
    armoured = keyring.export_block([done.key.fingerprint])
    require_readable(armoured, [done.key.fingerprint], keyring, now=now)
    changes = [
        *done.changes,
        *publish_key(
            (names.public_key, armoured),
            (names.key_reference, said),
            sink,
            adopt=wanted.adopt,
        ),
    ]
    if find_or_none(kms, str(KeyAlias.revoked(done.key.fingerprint))) is not None:
        take_back_revoked([done.key.fingerprint], sink, kms, keyring, now=now)
        hint = f"Let another one take its place: imgsec keys rotate {wanted.alias}"
        raise ImgsecError(
            KEY_REVOKED(f"key {done.key.fingerprint} was revoked just now", hint=hint)
        )
    if names.policy is not None:
        changes.append(publish_policy(names.policy, sink, adopt=wanted.adopt))
    return replace(done, changes=tuple(changes))


def store_signing_key(
    wanted: Wanted,
    *,
    kms: KeyWriter,
    keyring: Keyring,
    reference: KeyReference | None = None,
    before_making: Callable[[Fingerprint | None], None] = lambda _: None,
    now: datetime,
) -> SetUp:
    """The KMS's part of it: both halves under their aliases, made, taken over or found.

    reference: what the Secret that names the signing key says. before_making: the last word
    before there is a key that was not there, with its fingerprint if that is known. Raises as
    `setup_signing_keys`.
    """
    alias = wanted.alias
    run = _Run(wanted, kms, keyring, reference, before_making)
    successor = None if wanted.is_successor else find_or_none(kms, str(alias.successor))
    if successor is not None:
        raise ImgsecError(
            KEY_CONFLICT(
                f"kms://{alias} is being replaced by {successor.id}",
                hint="Go on with `imgsec keys rotate` (or `renew`) until it is done.",
            )
        )
    # In this order: a run at the same time stores NAME first, and would look like a loss otherwise.
    orphan = find_or_none(kms, alias.public) or find_or_none(kms, alias.revocation)
    if orphan is not None and find_or_none(kms, str(alias)) is None:
        listed = ", ".join(orphan.aliases)
        raise ImgsecError(
            KEY_CONFLICT(f"the KMS has {listed} ({orphan.id}) and no {alias} beside it")
        )
    secret, key = _secret_half(run, now)
    _require_still(run, secret)
    public = _public_half(run, key)
    _require_still(run, secret)
    _revocation(run, key)
    _require_still(run, secret)
    summary = KeySummary(
        alias=str(alias),
        key_id=secret.id,
        public_key_id=public.id,
        fingerprint=key.fingerprint,
        algorithm=key.algorithm,
        expires=key.expires,
    )
    return SetUp(key, summary, tuple(run.changes))


def warnings(secret: KeySecret, cluster: ClusterReader | None) -> tuple[Note, ...]:
    """Who may edit the Secret with the public key decides what is trusted: say who that is.

    cluster: None where no cluster is at hand; then only an unusual namespace is noticed.
    """
    namespace, code = str(secret.namespace), "key-secret-editable"
    if cluster is None:
        text = f"whoever may edit Secrets in {namespace} decides whose signatures count"
        return () if namespace in _PLATFORM_NAMESPACES else (Note(code, text),)
    try:
        editors = cluster.list_secret_editors(namespace)
    except ImgsecError as error:
        text = f"who may edit Secrets in {namespace} could not be read: {error.reason.text}"
        return (Note(code, text),)
    listed = ", ".join(editors[:_EDITORS_SHOWN])
    text = f"{listed} may edit Secrets in {namespace}, and so decide whose signatures count"
    return (Note(code, text),) if editors else ()


def _objects(names: ClusterNames) -> list[ObjectId]:
    """What set-up is going to publish."""
    secrets = (names.public_key, names.key_reference)
    found = [ObjectId("Secret", str(one.name), str(one.namespace)) for one in secrets]
    if (policy := names.policy) is not None:
        where = str(policy.namespace) if policy.namespace else None
        found.append(ObjectId(str(policy.kind), str(policy.name), where))
    return found


def _require_only(wanted: Fingerprint | None, held: Document | None, keyring: Keyring) -> None:
    """The Secret is this key's alone: whoever else's it holds may be what clusters rely on.

    wanted: None for a key that is still to be made. Raises `ImgsecError` (key-conflict).
    """
    if held is None:
        return
    secret = read_secret(held, keyring)
    if others := set(secret.fingerprints) - {wanted}:
        listed, meant = ", ".join(sorted(map(str, others))), wanted or "a new key"
        raise ImgsecError(
            KEY_CONFLICT(
                f"the Secret {secret.name} publishes {listed}, and is to publish {meant} alone",
                hint="Let another one take its place with `imgsec keys rotate`, or delete the"
                " Secret if nothing relies on it.",
            )
        )


def _reference_in(sink: ManifestSink, names: ClusterNames) -> KeyReference | None:
    """What the Secret that names the signing key says now, whoever wrote it."""
    where = names.key_reference
    held = sink.fetch("Secret", str(where.name), str(where.namespace))
    return key_reference_of(held) if held is not None else None


def _require_still(run: _Run, secret: StoredKey) -> None:
    """A successor can be taken back at any moment: what belongs to it would be left behind.

    Raises `ImgsecError` (key-moving).
    """
    if not run.wanted.is_successor:
        return
    held = find_or_none(run.kms, str(run.wanted.alias))
    if held is None or held.id != secret.id or any(map(is_mark, held.aliases)):
        text = f"{run.wanted.alias} is being taken back, or revoked, by another run"
        raise ImgsecError(KEY_MOVING(text))


# --- The secret half ------------------------------------------------------------------------------


def _secret_half(run: _Run, now: datetime) -> tuple[StoredKey, PublicKey]:
    """The stored secret half: found, taken over, or made now; fit to sign in any case."""
    alias = str(run.wanted.alias)
    found = find_or_none(run.kms, alias)
    looks_back = run.wanted.looks_back and not run.wanted.is_successor
    if found is None and looks_back and (older := _older_keys(run)):
        return _adopted(run, older, now)
    if found is None:
        content, made = _new_key(run, now)
        try:
            stored = run.kms.store_key(
                alias,
                content,
                name=PRIVATE_KEY_NAME,
                description=describe(SIGNING_PART, made.fingerprint),
            )
        except KeyExists:
            pass  # another run was faster
        except ImgsecError as error:
            raise _too_large(error, made) from None
        else:
            _require_equal(run.kms, alias, content)
            run.note(alias, "created")
            return stored, made
    stored, payload = _fetch_held(run.kms, alias)
    require_in_use(alias, stored)
    _require_no_other(run, stored)
    replaced = KeyAlias(alias.removesuffix(SUCCESSOR_SUFFIX))
    if run.wanted.is_successor and not is_made_to_replace(replaced, stored):
        raise _not_made_for_this(alias, stored)
    key = run.keyring.import_secret_key(SecretBytes(unwrapped(payload.reveal())))
    if run.wanted.is_successor and described_key(stored) != key.fingerprint:
        raise _not_made_for_this(alias, stored)
    require_fit(key, run.wanted.expected, f"kms://{alias}", now)
    _require_given(run, key, f"kms://{alias}")
    run.note(alias, "unchanged")
    return stored, key


def _require_given(run: _Run, key: PublicKey, where: str) -> None:
    """Raises `ImgsecError` (key-conflict) if another key was given than the one that is there."""
    if isinstance(run.wanted.source, SecretBytes):
        given = run.keyring.import_secret_key(run.wanted.source)
        if given.fingerprint != key.fingerprint:
            text = f"{where} is {key.fingerprint}, the given key is {given.fingerprint}"
            raise ImgsecError(KEY_CONFLICT(text))


def _not_made_for_this(alias: str, stored: StoredKey) -> ImgsecError:
    return ImgsecError(
        KEY_CONFLICT(
            f"kms://{alias} ({', '.join([stored.id, *stored.aliases])}) was not made by imgsec for"
            " this",
            hint="Take that alias from it; it is where the key would be made that comes next.",
        )
    )


def _new_key(run: _Run, now: datetime) -> tuple[SecretBytes, PublicKey]:
    """The key to store: the one that was given, else one made now."""
    source, expected = run.wanted.source, run.wanted.expected
    if isinstance(source, SecretBytes):
        key = run.keyring.import_secret_key(source)
        require_fit(key, expected, "the given key", now)
        if (revoked := find_or_none(run.kms, str(KeyAlias.revoked(key.fingerprint)))) is not None:
            raise ImgsecError(KEY_REVOKED(f"key {key.fingerprint} ({revoked.id}) is revoked"))
        run.before_making(key.fingerprint)
    elif expected is not None:
        raise KeyNotFound(
            KEY_NOT_FOUND(
                f"the KMS has no {run.wanted.alias}, and a new key cannot have the fingerprint"
                f" {expected}",
                hint="Leave --fingerprint out to make a new key.",
            )
        )
    else:
        run.before_making(None)
        key = run.keyring.generate_key(source)
        require_fit(key, None, "the new key", now)
    return run.keyring.export_secret_key(key.fingerprint), key


def _require_no_other(run: _Run, stored: StoredKey) -> None:
    """The Secret that names the signing key must mean this one, or nobody knows which one signs."""
    said, (_, instance) = run.reference, run.kms.address
    if said is None or (said.kms_key_id, said.kms_instance) == (stored.id, instance):
        return
    hint = "Set up the alias of that key, or delete the Secret if its key is meant to go."
    named = find_or_none(run.kms, said.kms_key_id) if said.kms_instance == instance else None
    if named is not None and marked(SPARE_PREFIX, named.aliases):
        hint = f"It was renewed elsewhere: imgsec keys renew {run.wanted.alias} brings this along."
    elif named is not None and (retired := marked(RETIRED_PREFIX, named.aliases)):
        hint = (
            "It was replaced elsewhere; this is brought along by: imgsec keys rotate"
            f" {run.wanted.alias} --fingerprint {retired}"
        )
    raise ImgsecError(
        KEY_CONFLICT(
            f"kms://{run.wanted.alias} is the key {stored.id} of the instance {instance}; the"
            f" Secret that names the signing key means {_shown(said)}",
            hint=hint,
        )
    )


def _shown(said: KeyReference) -> str:
    return f"{said.kms_key_id or 'no key'} of {said.kms_instance or 'no instance'}"


# --- Keys of an older set-up ----------------------------------------------------------------------


def _older_keys(run: _Run) -> list[StoredKey]:
    """Secret halves that an older set-up left: by their name, without an alias; or by its Secret.

    Raises `ImgsecError` (key-conflict) if the Secret names a key that is not there.
    """
    said, (_, instance) = run.reference, run.kms.address
    found = [
        key
        for key in run.kms.list_keys()
        if is_of_older_set_up(key) or (said is not None and key.id == said.kms_key_id)
    ]
    if said is not None and (
        said.kms_instance != instance or said.kms_key_id not in [key.id for key in found]
    ):
        raise ImgsecError(
            KEY_CONFLICT(
                f"the Secret that names the signing key means {_shown(said)}, and the instance"
                f" {instance} has no such key",
                hint="Name that instance with --kms-instance, and its key ring if it is in one;"
                " or delete the Secret, if nothing can be signed with its key any more.",
            )
        )
    return found


def _adopted(run: _Run, older: list[StoredKey], now: datetime) -> tuple[StoredKey, PublicKey]:
    """Give the alias to the key of an older set-up, once its fingerprint is vouched for."""
    listed = ", ".join(_described(key) for key in older)
    if not run.wanted.adopt:
        hint = _what_else(older)
        raise ImgsecError(
            EXISTING_KEY_FOUND(f"another set-up left a signing key in the KMS: {listed}", hint=hint)
        )
    chosen = _choice(run, older)
    if chosen is None:
        raise ImgsecError(
            EXISTING_KEY_FOUND(
                f"older set-ups left several signing keys in the KMS: {listed}",
                hint="Say which one signs with --adopt-key ID.",
            )
        )
    stored, payload = run.kms.fetch_key(chosen.id)
    require_in_use(chosen.id, stored)  # or its public half would be published as a good one again
    if (copied := marked(SPARE_PREFIX, stored.aliases)) is not None:
        text = f"{chosen.id} is a copy of {copied} with another end date, and not the one in use"
        hint = "Set up the alias of the one in use (imgsec keys list), or name it: --adopt-key ID."
        raise ImgsecError(KEY_CONFLICT(text, hint=hint))
    key = run.keyring.import_secret_key(SecretBytes(unwrapped(payload.reveal())))
    if (revoked := find_or_none(run.kms, str(KeyAlias.revoked(key.fingerprint)))) is not None:
        raise ImgsecError(KEY_REVOKED(f"key {key.fingerprint} ({revoked.id}) is revoked"))
    require_fit(key, _vouched(run, chosen, key), f"the KMS key {chosen.id}", now)
    _require_given(run, key, f"the KMS key {chosen.id}")
    run.kms.add_alias(chosen.id, str(run.wanted.alias))
    run.note(str(run.wanted.alias), "adopted")
    return stored, key


def _what_else(older: list[StoredKey]) -> str | None:
    """What may have been meant instead of adopting a key that imgsec made."""
    names = [name for key in older if described_key(key) for name in key.aliases]
    if own := [name for name in names if not is_passing_name(name)]:
        return f"Was its alias meant, {own[0]}? Else --adopt gives it a second one."
    if names:
        return (
            "It is out of use, and signs no more: the Secret that names it is behind, or belongs to"
            " another alias. To make a new key, delete that Secret, or give another folder."
        )
    return None


def _described(key: StoredKey) -> str:
    made = f", made {key.created:%Y-%m-%d}" if key.created else ""
    named = f", alias {', '.join(key.aliases)}" if key.aliases else ""
    return f"{key.id}{made}{named}"


def _choice(run: _Run, older: list[StoredKey]) -> StoredKey | None:
    """The one that was asked for, else the one that the Secret names, else the only one."""
    asked = run.wanted.key_id or (run.reference.kms_key_id if run.reference else None)
    if asked is None:
        return older[0] if len(older) == 1 else None
    return next((key for key in older if key.id == asked), None)


def _vouched(run: _Run, chosen: StoredKey, key: PublicKey) -> Fingerprint:
    """The fingerprint that the key must have: as asked, as its Secret says, or its public half's.

    Raises `ImgsecError` (invalid-option) if nothing vouches for it.
    """
    if run.wanted.expected is not None:
        return run.wanted.expected
    said = run.reference
    if said is not None and said.kms_key_id == chosen.id and said.fingerprint:
        return Fingerprint.parse(said.fingerprint)
    for candidate in run.kms.list_keys():
        if candidate.name == PUBLIC_KEY_NAME and not candidate.aliases:
            half = _inspected(run.kms, run.keyring, candidate.id)
            if half is not None and half.fingerprint == key.fingerprint:
                return half.fingerprint
    raise ImgsecError(
        INVALID_OPTION(
            f"nothing vouches for the KMS key {chosen.id}, which is {key.fingerprint}",
            hint="Give --fingerprint, as you know it from another place.",
        )
    )


def _inspected(kms: KeyReader, keyring: Keyring, key_id: str) -> PublicKey | None:
    try:
        return keyring.inspect_public_key(unwrapped(kms.fetch_key(key_id)[1].reveal()))
    except ImgsecError as error:
        if error.reason.retryable:
            raise
        return None  # it is no public key, whatever its name says


# --- The public half ------------------------------------------------------------------------------


def _public_half(run: _Run, key: PublicKey) -> StoredKey:
    """The stored public half, made now or found and held against the secret one."""
    alias, public = str(run.wanted.alias), run.wanted.alias.public
    if find_or_none(run.kms, public) is None:
        content = SecretBytes(run.keyring.export_public_key(key.fingerprint))
        description = describe(PUBLIC_PART, key.fingerprint)
        try:
            stored = run.kms.store_key(
                public, content, name=PUBLIC_KEY_NAME, description=description
            )
        except KeyExists:
            pass
        else:
            _require_equal(run.kms, public, content)
            run.note(public, "created")
            return stored
    stored, payload = _fetch_held(run.kms, public)
    half = run.keyring.inspect_public_key(unwrapped(payload.reveal()))
    if half.fingerprint != key.fingerprint:
        raise ImgsecError(
            KEY_CONFLICT(f"kms://{alias} is {key.fingerprint}, kms://{public} {half.fingerprint}")
        )
    run.note(public, "unchanged")
    return stored


def _revocation(run: _Run, key: PublicKey) -> None:
    """The stored certificate that can revoke the key: made while its secret half is at hand."""
    alias, said = run.wanted.alias.revocation, describe(REVOCATION_PART, key.fingerprint)
    held = find_or_none(run.kms, alias)
    if held is None:
        content = SecretBytes(run.keyring.make_revocation(key.fingerprint))
        try:
            run.kms.store_key(alias, content, name=REVOCATION_NAME, description=said)
        except KeyExists:
            held = run.kms.find_key(alias)
        else:
            _require_equal(run.kms, alias, content)
            run.note(alias, "created")
            return
    if held.description != said:
        raise ImgsecError(
            KEY_CONFLICT(
                f"kms://{alias} is described as {shown(held.description)}, and not as the"
                f" revocation certificate of {key.fingerprint}"
            )
        )
    run.note(alias, "unchanged")


def _too_large(error: ImgsecError, key: PublicKey) -> ImgsecError:
    """What makes a key too large for the KMS, and how to make it smaller; other errors as is."""
    if error.reason.code != KEY_TOO_LARGE.code:
        return error
    text = f"{error.reason.text}: its user ids, and what others signed of it, take the room"
    way = f"gpg --export-options export-minimal --export-secret-keys {key.fingerprint}"
    if key.subkeys:
        listed = ", ".join(subkey.algorithm for subkey in key.subkeys)
        text = f"{error.reason.text}: it has subkeys ({listed}), and signing needs none"
        way = f"gpg --export-secret-keys {key.fingerprint}!"
    return ImgsecError(KEY_TOO_LARGE(text, hint=f"Export it smaller, and import that: {way}"))


def _fetch_held(kms: KeyReader, alias: str) -> tuple[StoredKey, SecretBytes]:
    """What an alias names that is not free. Raises `ImgsecError` (key-moving) if nothing."""
    try:
        return kms.fetch_key(alias)
    except KeyDeleted:
        raise
    except KeyNotFound:
        text = f"the KMS has no key {alias}, and does not let another have that alias yet"
        raise ImgsecError(KEY_MOVING(text)) from None


def _require_equal(kms: KeyReader, alias: str, content: SecretBytes) -> None:
    """Read back what was stored. Raises `ImgsecError` (key-store-mismatch)."""
    if kms.fetch_key(alias)[1] != content:
        raise ImgsecError(KEY_STORE_MISMATCH(f"the KMS gives back another key for {alias}"))
