# SPDX-License-Identifier: Apache-2.0
"""Whether one digest carries a signature that counts everywhere, under the usual rule for names.

What an index lists is not looked at: this is what Portieris asks, and what is asked of a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from imgsec.domain.keys import Fingerprint, PublicKey
from imgsec.domain.reference import ImageReference
from imgsec.domain.report import ImageReport, VerifiedImage
from imgsec.domain.signature import OpenPGPMessage, SimpleSigningPayload
from imgsec.domain.verdict import Verdict, because, passed
from imgsec.domain.verifiers import Verifier, message_flaws, spent
from imgsec.errors import ImgsecError
from imgsec.ports import MessageKeyring, Registry
from imgsec.reasons import SIGNATURE_MISSING, Reason


def verify_digest(
    image: ImageReference,
    keys: Sequence[PublicKey],
    registry: Registry,
    keyring: MessageKeyring,
    *,
    now: datetime,
) -> ImageReport:
    """Whether the image carries a signature of one of these keys for this name.

    A tag is resolved once; what was verified is ``repository@digest``. A signature of a revoked or
    ended key does not count, although gpg calls it valid and Portieris ignores the end date. Nor
    does one of a key so short that others could have found its secret half.
    """
    manifest = registry.fetch_manifest(image.require_version())
    canonical = image.at(manifest.digest)
    done = {key.fingerprint: reasons[0] for key in keys if (reasons := spent(key, now))}
    counting = [key.fingerprint for key in keys if key.fingerprint not in done]
    if not counting:
        return ImageReport(image, because(*done.values()))
    found = check_signatures(canonical, registry.fetch_signatures(canonical), keyring, *counting)
    if isinstance(found, Verdict):
        return ImageReport(image, because(*found.reasons, *done.values()))
    return ImageReport(image, passed(), found)


def check_signatures(
    image: ImageReference,
    signatures: Iterable[bytes],
    keyring: MessageKeyring,
    *signers: Fingerprint,
) -> VerifiedImage | Verdict:
    """The first signature that counts for a canonical image, or the verdict why none does.

    One good signature by one of these keys is enough, as for every verifier of simple signing.
    """
    return judge_opened(image, (open_signature(one, keyring, signers) for one in signatures))


def judge_opened(
    image: ImageReference, opened: Iterable[OpenPGPMessage | Reason]
) -> VerifiedImage | Verdict:
    """The same, of signatures that were opened already."""
    reasons: list[Reason] = []
    for message in opened:
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


def open_signature(
    signature: bytes, keyring: MessageKeyring, signers: Sequence[Fingerprint]
) -> OpenPGPMessage | Reason:
    """The message of one of these keys, if every verifier would believe it; else why not."""
    message = keyring.open_message(signature, signers)
    if isinstance(message, Reason):
        return message
    flaws = message_flaws(Verifier.STRICT, message)
    return flaws[0] if flaws else message
