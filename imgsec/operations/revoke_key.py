# SPDX-License-Identifier: Apache-2.0
"""Revoke a signing key: from then on none of its signatures counts, old ones included.

That is what the certificate is for that was stored when the key was made. Deleting the key in the
KMS would not do it: its signatures lie in registries, and verify as long as somebody publishes its
public half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imgsec.domain.keys import (
    PUBLIC_ALIAS_SUFFIX,
    Fingerprint,
    KeyAlias,
    PublicKey,
    is_key_name,
)
from imgsec.domain.reference import ImageReference
from imgsec.domain.report import Change, ImageReport, RunningImage
from imgsec.domain.verdict import Note, Verdict, because, passed
from imgsec.errors import ImgsecError
from imgsec.operations.preview_policy import images_that_need
from imgsec.operations.published_keys import PublishedSecret, find_published, republish
from imgsec.operations.signing_key import (
    fetch_public_half,
    fetch_revocation,
    find_or_none,
    import_public_half,
)
from imgsec.operations.succession import Site
from imgsec.operations.verify_image import verify_image
from imgsec.ports import StoredKey
from imgsec.reasons import (
    KEY_FINGERPRINT_MISMATCH,
    KEY_REVOKED,
    RUNNING_IMAGES_REFUSED,
    Outcome,
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
    """Mark the key as revoked in the KMS, and publish its public half no more.

    A Secret that holds no other key gets the revoked one, which every verifier refuses. Refused
    (running-images-refused) if an image that was asked about, or that runs, is signed by no other
    key, unless that is accepted. Raises `ImgsecError` (key-not-found, key-fingerprint-mismatch and
    what the ports raise).
    """
    site.place.require_ready()
    stored = site.kms.find_key(revocation.name)
    half = fetch_public_half(revocation.name, stored, site.kms)
    key = import_public_half(half, site.keyring)
    if key.fingerprint != revocation.fingerprint:
        raise ImgsecError(
            KEY_FINGERPRINT_MISMATCH(
                f"{revocation.name} is {key.fingerprint}, expected {revocation.fingerprint}"
            )
        )
    certificate = fetch_revocation(stored, site.kms)
    published = find_published(site.place, site.keyring)
    secrets = [one for one in published if key.fingerprint in one.fingerprints]
    for secret in secrets:
        site.keyring.import_public_keys(secret.content)
    key = site.keyring.revoke_key(key.fingerprint, certificate)
    images, running = _dependants(revocation, key, secrets, site)
    verdicts = [one.verdict for one in images] + [one.verdict for one in running]
    lost = list(filter(_depends, verdicts))
    if lost and not revocation.accept_lockout:
        text = f"{len(lost)} of {len(verdicts)} images are signed by no other key"
        hint = "Sign them with another key first, or say --accept-lockout."
        reason = RUNNING_IMAGES_REFUSED(text, hint=hint)
        return Revoked(key, because(reason), images=images, running=running)
    changes = [_marked(key, stored, revocation.name, site)]
    for secret in secrets:
        rest = [one for one in secret.fingerprints if one != key.fingerprint]
        change = republish(
            secret, rest or [key.fingerprint], site.place, site.keyring, now=site.clock.now()
        )
        changes.append(change)
    note = Note(
        "deleting-undoes-nothing",
        "deleting the key in the KMS does not undo its signatures: give the revoked half to every"
        " verifier that is not told by these Secrets (imgsec keys export)",
    )
    return Revoked(key, passed(note), tuple(changes), images, running)


def _dependants(
    revocation: Revocation, key: PublicKey, secrets: Sequence[PublishedSecret], site: Site
) -> tuple[tuple[ImageReport, ...], tuple[RunningImage, ...]]:
    """What the images that were asked about, and those that run, would be without the key.

    Each that only this key signed has the reason key-revoked.
    """
    if not revocation.images and site.cluster is None:
        return (), ()
    registry, _ = site.signing()
    others = {one.fingerprint: one for secret in secrets for one in secret.keys}
    others.pop(key.fingerprint, None)
    # Asked of gpgv, which has the certificate and says so of each signature by it.
    keys = [*others.values(), replace(key, is_revoked=False)]

    def judged(image: ImageReference) -> ImageReport:
        try:
            return verify_image(image, keys, registry, site.keyring, now=site.clock.now())
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


def _marked(key: PublicKey, stored: StoredKey, name: str, site: Site) -> Change:
    """Tell whoever reads the KMS: both halves get a further name that says it."""
    mark = KeyAlias.revoked(key.fingerprint)
    site.kms.add_alias(stored.id, str(mark))
    base = next((alias for alias in stored.aliases if is_key_name(alias)), name)
    half = find_or_none(site.kms, base + PUBLIC_ALIAS_SUFFIX)
    if half is not None:
        site.kms.add_alias(half.id, mark.public)
    return Change(f"kms://{name}", "revoked")
