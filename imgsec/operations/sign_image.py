# SPDX-License-Identifier: Apache-2.0
"""Sign a digest under its tagged name, and believe it only after reading the signature back.

In place: no manifest and no tag is written, so that nobody's push can be reverted by it.
"""

from __future__ import annotations

from imgsec import __version__
from imgsec.domain.keys import Fingerprint
from imgsec.domain.manifest import ManifestContent
from imgsec.domain.reference import ImageReference
from imgsec.domain.report import ImageReport, SignedImage
from imgsec.domain.signature import SimpleSigningPayload
from imgsec.domain.verdict import Verdict, passed
from imgsec.errors import ImgsecError
from imgsec.operations.resolve import require_same_digest
from imgsec.operations.verify_image import check_signatures
from imgsec.ports import Clock, Keyring, Manifest, Registry, SigningRegistry
from imgsec.reasons import PUSHED_UNSIGNED

# Seconds between attempts to read a signature back. A registry may take a moment to show what it
# has taken: one on an object store, or one in which another run writes the same manifest just now.
READ_BACK_WAITS = (0.2, 0.4, 0.8, 1.6)
CREATOR = f"imgsec {__version__}"


def sign_image(
    image: ImageReference,
    signer: Fingerprint,
    *,
    registry: SigningRegistry,
    keyring: Keyring,
    clock: Clock,
) -> ImageReport:
    """Sign what the reference names now, and everything that it lists.

    The tag is resolved once. Before anything is signed: the tag still names the given digest, and
    the registry has a place for signatures. What is signed already is left alone. Afterwards every
    signature is read back, and the tag must not have moved. Raises `ImgsecError` (tag-required,
    digest-drift, signature-store-missing, pushed-unsigned) and what the ports raise.
    """
    _ = image.tagged_name
    registry.require_signature_store(image)
    manifest = registry.fetch_manifest(image)
    canonical = image.at(manifest.digest)
    if image.is_canonical:
        require_same_digest(canonical, registry)
    signed = sign_manifest(
        canonical, manifest, signer, registry=registry, keyring=keyring, clock=clock
    )
    require_same_digest(canonical, registry)
    return ImageReport(image, passed(), signed)


def sign_manifest(
    canonical: ImageReference,
    manifest: Manifest,
    signer: Fingerprint,
    *,
    registry: SigningRegistry,
    keyring: Keyring,
    clock: Clock,
) -> SignedImage:
    """Sign a manifest that was read, and everything that it lists, whatever its tag names now.

    canonical: with the tag as which it is signed. Raises `ImgsecError` (tag-required,
    pushed-unsigned) and what the ports raise.
    """
    _ = canonical.tagged_name
    content = ManifestContent.parse(manifest.content, manifest.media_type)
    targets = tuple(
        canonical.at(digest)
        for digest in dict.fromkeys(
            [manifest.digest, *(child.digest for child in content.children)]
        )
    )
    if missing := _unsigned(targets, signer, registry, keyring):
        for target in missing:
            registry.store_signature(target, _signature(target, signer, keyring, clock))
        still = _unsigned(tuple(missing), signer, registry, keyring)
        for seconds in READ_BACK_WAITS:
            if not still:
                break
            clock.sleep(seconds)
            still = _unsigned(tuple(still), signer, registry, keyring)
        if still:
            where, verdict = next(iter(still.items()))
            raise ImgsecError(
                PUSHED_UNSIGNED(
                    f"the signature of {where.canonical_name} does not read back:"
                    f" {verdict.reasons[0].text}"
                )
            )
    digests = tuple(target.digest for target in targets if target.digest is not None)
    return SignedImage(canonical, signer, bool(missing), digests)


def _signature(image: ImageReference, signer: Fingerprint, keyring: Keyring, clock: Clock) -> bytes:
    """The claim that this digest goes by its tagged name, signed."""
    if image.digest is None:
        raise ValueError(f"{image} has no digest")
    made = int(clock.now().timestamp())
    payload = SimpleSigningPayload(image.tagged_name, image.digest, CREATOR, made)
    return keyring.sign_message(payload.serialize(), signer)


def _unsigned(
    targets: tuple[ImageReference, ...], signer: Fingerprint, registry: Registry, keyring: Keyring
) -> dict[ImageReference, Verdict]:
    """Those without a signature that counts, each with the verdict that says why."""
    found = {}
    for target in targets:
        checked = check_signatures(target, registry.fetch_signatures(target), keyring, signer)
        if isinstance(checked, Verdict):
            found[target] = checked
    return found
