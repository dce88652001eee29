# SPDX-License-Identifier: Apache-2.0
"""Verify an image's signature: manifest and signatures only, never a layer, never a secret key."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from imgsec.domain.keys import Fingerprint, PublicKey
from imgsec.domain.reference import ImageReference
from imgsec.domain.report import ImageReport, VerifiedImage
from imgsec.domain.signature import SimpleSigningPayload
from imgsec.domain.verdict import Verdict, because, passed
from imgsec.errors import ImgsecError
from imgsec.ports import Keyring, Registry
from imgsec.reasons import KEY_EXPIRED, KEY_REVOKED, KEY_UNUSABLE, SIGNATURE_MISSING, Reason


def verify_image(
    image: ImageReference, key: PublicKey, registry: Registry, keyring: Keyring, *, now: datetime
) -> ImageReport:
    """Whether the image carries a signature of this key for this name.

    A tag is resolved once; what was verified is ``repository@digest``. A signature of a revoked or
    ended key does not count, although gpg calls it valid and Portieris ignores the end date. Nor
    does one of a key so short that others could have found its secret half.
    """
    manifest = registry.fetch_manifest(image.require_version())
    canonical = image.at(manifest.digest)
    if key.is_revoked:
        return ImageReport(image, because(KEY_REVOKED(f"key {key.fingerprint} is revoked")))
    if key.expires is not None and key.expires <= now:
        ended = f"key {key.fingerprint} ended on {key.expires:%Y-%m-%d}"
        return ImageReport(image, because(KEY_EXPIRED(ended)))
    if key.is_short:
        weak = f"key {key.fingerprint} is {key.algorithm}, too short to prove anything"
        return ImageReport(image, because(KEY_UNUSABLE(weak)))
    found = check_signatures(
        canonical, registry.fetch_signatures(canonical), keyring, key.fingerprint
    )
    if isinstance(found, Verdict):
        return ImageReport(image, found)
    return ImageReport(image, passed(), found)


def check_signatures(
    image: ImageReference, signatures: Iterable[bytes], keyring: Keyring, signer: Fingerprint
) -> VerifiedImage | Verdict:
    """The first signature that counts for a canonical image, or the verdict why none does.

    One good signature is enough, as for every verifier of simple signing.
    """
    reasons: list[Reason] = []
    for signature in signatures:
        message = keyring.open_message(signature, signer)
        if isinstance(message, Reason):
            reasons.append(message)
            continue
        try:
            payload = SimpleSigningPayload.parse(message.content)
        except ImgsecError as error:
            reasons.append(error.reason)
            continue
        if flaws := payload.flaws(image):
            reasons.extend(flaws)
            continue
        return VerifiedImage(image, message.signer, payload.identity, message.signed_at)
    if not reasons:
        return because(SIGNATURE_MISSING(f"{image} carries no signature"))
    return because(*dict.fromkeys(reasons))
