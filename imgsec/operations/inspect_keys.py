# SPDX-License-Identifier: Apache-2.0
"""The inventory of signing keys, and whether each verifier reads one as it is published.

Public halves only: no secret payload is ever asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from imgsec.domain.keys import (
    PUBLIC_ALIAS_SUFFIX,
    SPARE_PREFIX,
    Fingerprint,
    PublicKey,
    is_key_name,
    is_passing_name,
    marked,
)
from imgsec.domain.kubernetes import trusted_by
from imgsec.domain.report import KeyEntry, PublishedAt, VerifierAnswer
from imgsec.domain.verdict import Note, Verdict, because, passed
from imgsec.domain.verifiers import READERS, judge_key
from imgsec.errors import ImgsecError, KeyNotFound
from imgsec.operations.published_keys import find_all, read_published
from imgsec.operations.signing_key import (
    DESCRIPTION_PREFIX,
    expiry_notes,
    find_moving,
    is_of_older_set_up,
    load_public_half,
    require_in_use,
)
from imgsec.ports import KeyReader, Keyring, PublishedReader, StoredKey
from imgsec.reasons import KEY_MALFORMED, KEY_MOVING, KEY_RETIRED, KEY_REVOKED

# What is wrong with one key and not with the KMS.
_SAID_OF_A_KEY = (KEY_MALFORMED.code, KEY_MOVING.code, KEY_RETIRED.code, KEY_REVOKED.code)
_SECRET_HALF = f"{DESCRIPTION_PREFIX}secret half"


def list_keys(
    kms: KeyReader, keyring: Keyring, published: PublishedReader | None, *, now: datetime
) -> Iterator[KeyEntry]:
    """Every signing key of the KMS: what has a public half beside it, or was stored as one.

    published: where to look for Secrets and policies; None to look nowhere.
    """
    keys = list(kms.list_keys())
    halves = {alias for key in keys for alias in key.aliases if alias.endswith(PUBLIC_ALIAS_SUFFIX)}
    places = _places(published, keyring) if published else None
    for key in keys:
        own = [alias for alias in key.aliases if is_key_name(alias)]
        paired = any(alias + PUBLIC_ALIAS_SUFFIX in halves for alias in own)
        if own and (paired or key.description.startswith(_SECRET_HALF)):
            yield _entry(key, kms, keyring, places, now)


def no_keys_notes(kms: KeyReader) -> tuple[Note, ...]:
    """What is said where no signing key is listed: one that an older script left is none yet."""
    older = ", ".join(key.id for key in kms.list_keys() if is_of_older_set_up(key))
    none = Note("no-signing-key", "the KMS has no signing key")
    if not older:
        return (none,)
    text = f"an older set-up left {older}; setup-signing-keys --adopt takes it over"
    return none, Note("older-key", text)


def show_key(
    name: str,
    kms: KeyReader,
    keyring: Keyring,
    published: PublishedReader | None,
    *,
    now: datetime,
) -> KeyEntry:
    """One signing key, by alias or id. Raises `KeyNotFound`, `ImgsecError` (key-moving)."""
    places = _places(published, keyring) if published else None
    return _entry(find_moving(kms, name), kms, keyring, places, now)


_Places = list[tuple[str, tuple[str, ...], tuple[PublicKey, ...]]]


def _places(published: PublishedReader, keyring: Keyring) -> _Places:
    """The Secrets with public keys: name, the policies that trust it, the keys in it."""
    policies = [
        *published.list_policies("ClusterImagePolicy"),
        *published.list_policies("ImagePolicy"),
    ]
    found = []
    for secret in find_all(published, keyring):
        found.append((secret.name, trusted_by(policies, secret.document), secret.keys))
    return found


def _entry(
    key: StoredKey, kms: KeyReader, keyring: Keyring, places: _Places | None, now: datetime
) -> KeyEntry:
    own = sorted(filter(is_key_name, key.aliases), key=is_passing_name)
    alias = own[0] if own else key.id
    public: PublicKey | None = None
    try:
        public = load_public_half(alias, key, kms, keyring)
        require_in_use(alias, key)
        flaws = public.flaws(now)
        verdict = because(*flaws) if flaws else passed(*_notes(key, public, now))
    except KeyNotFound as error:
        verdict = because(error.reason)
    except ImgsecError as error:
        if error.reason.code not in _SAID_OF_A_KEY:
            raise
        verdict = because(error.reason)
    return KeyEntry(
        alias=alias,
        key_id=key.id,
        created=key.created,
        public=public,
        verdict=verdict,
        further_aliases=tuple(own[1:]),
        published=None if places is None else _found_at(public, places),
        state=key.state,
        days_left=public.days_left(now) if public is not None else None,
    )


def _notes(key: StoredKey, public: PublicKey, now: datetime) -> tuple[Note, ...]:
    """That its end is near; of a spare copy, that another one has a later end."""
    if marked(SPARE_PREFIX, key.aliases) is None:
        return expiry_notes(now, public)
    text = f"{key.id} is a spare copy of {public.fingerprint}, with another end date"
    return (Note("spare-copy", text),)


def _found_at(public: PublicKey | None, places: _Places) -> tuple[PublishedAt, ...]:
    if public is None:
        return ()
    return tuple(
        PublishedAt(name, policies)
        for name, policies, keys in places
        if public.fingerprint in [key.fingerprint for key in keys]
    )


def check_published(
    content: bytes, signer: Fingerprint | None, keyring: Keyring, *, now: datetime
) -> tuple[Fingerprint, tuple[VerifierAnswer, ...]]:
    """What each verifier would say to signatures of one key, given this published content.

    signer: None for the only key in it. Raises `ImgsecError` (key-malformed).
    """
    keys = read_published(content, keyring)
    if signer is None:
        if len({key.fingerprint for key in keys.every}) != 1:
            raise ImgsecError(
                KEY_MALFORMED(
                    f"it holds {len(keys.every)} public keys",
                    hint="Say which one signs with --fingerprint.",
                )
            )
        signer = keys.every[0].fingerprint
    answers = [
        VerifierAnswer(str(verifier), judge_key(verifier, signer, keys, now))
        for verifier in READERS
    ]
    return signer, tuple(answers)


def all_accept(answers: tuple[VerifierAnswer, ...]) -> Verdict:
    """Refused as soon as one verifier would refuse."""
    reasons = [reason for answer in answers for reason in answer.verdict.reasons]
    return because(*dict.fromkeys(reasons)) if reasons else passed()
