# SPDX-License-Identifier: Apache-2.0
"""Revoke a signing key: from then on none of its signatures counts, old ones included.

That is what the certificate is for that was stored when the key was made. Deleting the key in the
KMS would not do it: its signatures lie in registries, and verify as long as somebody publishes its
public half.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from imgsec.domain.keys import (
    PUBLIC_ALIAS_SUFFIX,
    RETIRED_PREFIX,
    Fingerprint,
    KeyAlias,
    PublicKey,
    SecretBytes,
    marked,
    unwrapped,
)
from imgsec.domain.reference import ImageReference
from imgsec.domain.report import Change, ImageReport, RunningImage
from imgsec.domain.verdict import Note, Verdict, because, passed
from imgsec.errors import ImgsecError, KeyExists, KeyNotFound
from imgsec.operations.preview_policy import images_that_need
from imgsec.operations.published_keys import (
    PublishedSecret,
    find_foreign,
    find_published,
    foreign_secret,
    kept_without,
    republish,
    take_back_revoked,
)
from imgsec.operations.setup_signing_keys import REVOCATION_NAME
from imgsec.operations.signing_key import (
    PUBLIC_PART,
    REVOCATION_PART,
    SIGNING_PART,
    describe,
    described_key,
    fetch_public_half,
    fetch_revocation,
    find_moving,
    find_or_none,
    import_public_half,
    own_names,
)
from imgsec.operations.succession import Site
from imgsec.operations.verify_digest import verify_digest
from imgsec.ports import StoredKey
from imgsec.reasons import (
    KEY_FINGERPRINT_MISMATCH,
    KEY_REVOKED,
    KEY_UNPUBLISHED,
    RUNNING_IMAGES_REFUSED,
    Outcome,
    Reason,
)


@dataclass(frozen=True, slots=True)
class Revocation:
    """Which key is to be revoked; name: its alias or id. images: what is asked about, besides what
    runs."""

    name: str
    fingerprint: Fingerprint
    images: tuple[ImageReference, ...] = ()
    accept_lockout: bool = False


@dataclass(frozen=True, slots=True)
class Revoked:
    """What depends on the key, and what was done."""

    key: PublicKey
    verdict: Verdict
    changes: tuple[Change, ...] = ()
    images: tuple[ImageReport, ...] = ()
    running: tuple[RunningImage, ...] = ()


def revoke_key(revocation: Revocation, site: Site) -> Revoked:
    """Mark the key as revoked in the KMS, every copy of it, and publish its public half no more.

    A Secret that holds no other key gets the revoked one, which every verifier refuses. Refused
    (running-images-refused) if an image that was asked about, or that runs, is signed by no other
    key, and (key-unpublished) if nothing here publishes the key, unless that is accepted. Where one
    step fails the others are taken all the same, and the verdict has its reason. Raises
    `ImgsecError` (key-not-found, key-moving, key-fingerprint-mismatch and what the ports raise).
    """
    site.place.require_ready()
    stored = find_moving(site.kms, revocation.name)
    half = fetch_public_half(revocation.name, stored, site.kms)
    key = import_public_half(half, site.keyring)
    if key.fingerprint != revocation.fingerprint:
        raise ImgsecError(
            KEY_FINGERPRINT_MISMATCH(
                f"{revocation.name} is {key.fingerprint}, expected {revocation.fingerprint}"
            )
        )
    certificate, is_stored = _certificate(key, stored, site)
    published = find_published(site.place, site.keyring)
    secrets = [one for one in published if key.fingerprint in one.fingerprints]
    is_out_of_use = marked(RETIRED_PREFIX, stored.aliases) is not None
    foreign = [
        foreign_secret(one) for one in find_foreign([key.fingerprint], site.place, site.keyring)
    ]
    if not (secrets or is_out_of_use or revocation.accept_lockout):
        if foreign:
            raise ImgsecError(foreign[0])
        text = f"nothing here publishes {key.fingerprint}, and so nothing here would be told"
        hint = "Name the folder or cluster that publishes it; or say --accept-lockout."
        raise ImgsecError(KEY_UNPUBLISHED(text, hint=hint))
    for secret in secrets:
        site.keyring.import_public_keys(secret.content)
    key = site.keyring.revoke_key(key.fingerprint, certificate)
    images, running = _dependants(revocation, key, secrets, site)
    verdicts = [one.verdict for one in images] + [one.verdict for one in running]
    lost = list(filter(_depends, verdicts))
    if lost and not revocation.accept_lockout:
        text = f"{len(lost)} of {len(verdicts)} images have no other signature that could be found"
        hint = "Sign them with another key first, or say --accept-lockout."
        reason = RUNNING_IMAGES_REFUSED(text, hint=hint)
        return Revoked(key, because(reason), images=images, running=running)
    changes: list[Change] = []
    reasons: list[Reason] = []

    def take(step: Callable[[], Change]) -> None:
        try:
            changes.append(step())
        except ImgsecError as error:
            reasons.append(error.reason)

    if not is_stored:  # first: whoever sees the mark needs the certificate
        take(partial(_kept, key, certificate, site))
    _mark_copies(key, stored, site, take)
    # Read again: a run at the same time may have changed them before it could see the mark.
    for secret in find_published(site.place, site.keyring):
        if key.fingerprint in secret.fingerprints:
            take(partial(_published_without, key, secret, site))
    if others := {one for secret in secrets for one in secret.fingerprints} - {key.fingerprint}:
        try:
            changes += take_back_revoked(
                others, site.place, site.kms, site.keyring, now=site.clock.now()
            )
        except ImgsecError as error:
            reasons.append(error.reason)
    reasons += foreign
    notes = [
        Note(
            "deleting-undoes-nothing",
            "deleting the key in the KMS does not undo its signatures: give the revoked half to"
            " every verifier that is not told by these Secrets (imgsec keys export)",
        )
    ]
    if not verdicts:
        text = "no image was looked at, so what only this key signed is not known (--images-from)"
        notes.append(Note("nothing-looked-at", text))
    verdict = because(*dict.fromkeys(reasons), notes=notes) if reasons else passed(*notes)
    return Revoked(key, verdict, tuple(changes), images, running)


def _mark_copies(
    key: PublicKey,
    stored: StoredKey,
    site: Site,
    take: Callable[[Callable[[], Change]], None],
) -> None:
    """Twice: a renewal at the same time may have made one more before it could see the mark."""
    done: set[str] = set()
    for _ in range(2):
        copies, halves = _copies(key, stored, site)
        suffixes = [*((copy, "") for copy in copies), *((h, PUBLIC_ALIAS_SUFFIX) for h in halves)]
        for copy, suffix in suffixes:
            if copy.id not in done:
                done.add(copy.id)
                take(partial(_marked, key, copy, site, suffix=suffix))


def _published_without(key: PublicKey, secret: PublishedSecret, site: Site) -> Change:
    site.keyring.import_public_keys(secret.content)
    rest = kept_without(secret.fingerprints, {key.fingerprint}, site.kms)
    return republish(secret, rest, site.place, site.keyring, now=site.clock.now())


def _dependants(
    revocation: Revocation, key: PublicKey, secrets: Sequence[PublishedSecret], site: Site
) -> tuple[tuple[ImageReport, ...], tuple[RunningImage, ...]]:
    """What the images that were asked about, and those that run, would be without the key.

    Each that only this key signed has the reason key-revoked.
    """
    if not revocation.images and site.cluster is None:
        return (), ()
    registry = site.registry()
    others = {one.fingerprint: one for secret in secrets for one in secret.keys}
    for secret in secrets:  # a Secret that has it not would refuse what it signed
        others = {one: others[one] for one in others if one in secret.fingerprints}
    others.pop(key.fingerprint, None)
    # Asked of gpgv, which has the certificate and says so of each signature by it.
    keys = [*others.values(), replace(key, is_revoked=False)]

    def judged(image: ImageReference) -> ImageReport:
        try:
            return verify_digest(image, keys, registry, site.keyring, now=site.clock.now())
        except ImgsecError as error:
            return ImageReport(image, because(error.reason))

    images = tuple(map(judged, revocation.images))
    running: tuple[RunningImage, ...] = ()
    if site.cluster is not None:
        names = {one.name for one in secrets}
        running = images_that_need(names, site.cluster, lambda image: judged(image).verdict)
    return images, running


def _depends(verdict: Verdict) -> bool:
    """Whether an image is signed by the revoked key alone, or nobody could tell."""
    codes = [reason.code for reason in verdict.reasons]
    return verdict.outcome is Outcome.UNDECIDED or KEY_REVOKED.code in codes


def _kept(key: PublicKey, certificate: bytes, site: Site) -> Change:
    """Store a certificate that was made now, by a name that needs none of the key's own.

    Raises `ImgsecError`.
    """
    alias = KeyAlias.revoked(key.fingerprint).revocation
    description = describe(REVOCATION_PART, key.fingerprint)
    with suppress(KeyExists):  # another run was faster: no other has that name
        site.kms.store_key(
            alias, SecretBytes(certificate), name=REVOCATION_NAME, description=description
        )
    return Change(f"kms://{alias}", "created")


def _certificate(key: PublicKey, stored: StoredKey, site: Site) -> tuple[bytes, bool]:
    """The certificate that was stored with the key, made now for one that came without; whether
    it is stored."""
    try:
        return fetch_revocation(stored, site.kms), True
    except KeyNotFound:
        _, payload = site.kms.fetch_key(stored.id)
    secret = site.keyring.import_secret_key(SecretBytes(unwrapped(payload.reveal())))
    if secret.fingerprint != key.fingerprint:
        text = f"{stored.id} is {secret.fingerprint}, and its public half {key.fingerprint}"
        raise ImgsecError(KEY_FINGERPRINT_MISMATCH(text))
    return site.keyring.make_revocation(key.fingerprint), False


def _copies(
    key: PublicKey, stored: StoredKey, site: Site
) -> tuple[list[StoredKey], list[StoredKey]]:
    """Everything in the KMS that signs with this key, the one that was named first; its halves."""
    copies, halves = [stored], []
    for one in site.kms.list_keys():
        if one.description == describe(PUBLIC_PART, key.fingerprint):
            halves.append(one)
        elif one.id != stored.id and _whose(one, site) == key.fingerprint:
            copies.append(one)
    return copies, halves


def _whose(stored: StoredKey, site: Site) -> Fingerprint | None:
    """Whose secret half it is, told by its description or its public half; None for no key."""
    if (said := described_key(stored)) is not None:
        return said if stored.description == describe(SIGNING_PART, said) else None
    names = own_names("", stored)
    if not names:
        return None
    try:
        half = fetch_public_half(names[0], stored, site.kms)
        return site.keyring.inspect_public_key(unwrapped(half)).fingerprint
    except ImgsecError as error:
        if error.reason.retryable:
            raise
        return None  # somebody else's, who knows of what


def _marked(key: PublicKey, stored: StoredKey, site: Site, suffix: str = "") -> Change:
    """Tell whoever reads the KMS, by a further name that says it."""
    plain, further = (
        f"{KeyAlias.revoked(key.fingerprint, key_id)}{suffix}" for key_id in ("", stored.id)
    )
    if not {plain, further} & set(stored.aliases):
        held = find_or_none(site.kms, plain)
        site.kms.add_alias(stored.id, plain if held is None else further)
    names = [*own_names("", stored), *stored.aliases, stored.id]
    return Change(f"kms://{names[0]}", "revoked")
