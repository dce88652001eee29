# SPDX-License-Identifier: Apache-2.0
"""Bring an image to where it is deployed from, and sign it there: no tag names it unsigned.

The image goes to its new repository by digest, gets its signatures, and only then its tag.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from imgsec.domain.keys import Fingerprint
from imgsec.domain.manifest import ManifestContent
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.report import ImageReport, SignedImage
from imgsec.domain.signature import stored_signature
from imgsec.domain.verdict import passed
from imgsec.errors import ImageNotFound, ImgsecError
from imgsec.operations.resolve import require_same_digest, wanted_children
from imgsec.operations.sign_image import SigningPlan, sign_manifest
from imgsec.ports import Clock, ImageCopier, ImagePusher, Keyring, Manifest, PublishingRegistry
from imgsec.reasons import DIGEST_DRIFT, PUSHED_UNSIGNED, SIGNATURE_STORE_MISSING, Reason

Say = Callable[[str], None]


def copy_and_sign(
    source: ImageReference,
    target: ImageReference,
    signer: Fingerprint,
    plan: SigningPlan,
    *,
    keeps_signatures: bool,
    registry: PublishingRegistry,
    copier: ImageCopier,
    keyring: Keyring,
    clock: Clock,
    say: Say,
) -> ImageReport:
    """Copy what the source names now to the target, sign it there, and let the tag name it.

    All that an index lists goes along; blobs of the same registry are not moved. Whatever could be
    wrong with the key or the place for signatures is found before anything is copied.
    keeps_signatures: those that the source carries go along. Raises `ImgsecError` (tag-required,
    platform-missing, digest-drift, signature-store-missing, pushed-unsigned) and what the ports
    raise.
    """
    _ = plan.names(target), target.tagged_name
    registry.require_signature_store(target, writable=True)
    for image in (source, target):
        registry.require_own_token_service(image)
    if source.is_canonical:
        require_same_digest(source, registry)
    manifest = registry.fetch_manifest(source)
    origin = source.at(manifest.digest)
    landed = target.at(manifest.digest)
    content = ManifestContent.parse(manifest.content, manifest.media_type)
    _ = wanted_children(origin, content, plan.platforms, registry)
    before = _tagged(target, registry)
    is_new = not _is_there(landed, registry)
    if is_new:
        if source.registry == target.registry:
            _mount(origin, landed, content, registry)
        say(f"copying {origin.canonical_name} to {target.name}")
        copier.copy(origin, replace(landed, tag=None))
    try:
        if keeps_signatures:
            _bring_signatures(origin, landed, content, registry)
        signed = sign_manifest(
            landed, manifest, signer, plan, registry=registry, keyring=keyring, clock=clock
        )
    except ImgsecError as error:
        told = f"{landed.canonical_name} was pushed, and no tag names it"
        if before == landed.digest:
            told = f"{landed} is not signed as it should be"
        raise ImgsecError(_unsigned(error.reason, told)) from error
    require_same_digest(origin, registry)
    now = _tagged(target, registry)
    if now != landed.digest:
        if now != before:
            text = f"{target.tagged_name} was moved to {now} meanwhile, and stays there"
            raise ImgsecError(DIGEST_DRIFT(text))
        copier.copy(replace(landed, tag=None), target)
        is_new = True
    require_same_digest(landed, registry)
    return ImageReport(target, passed(), replace(signed, is_pushed=is_new))


def push_and_sign(
    name: str,
    target: ImageReference,
    signer: Fingerprint,
    plan: SigningPlan,
    *,
    registry: PublishingRegistry,
    pusher: ImagePusher,
    keyring: Keyring,
    clock: Clock,
    say: Say,
) -> ImageReport:
    """Push an image from local storage, and sign the digest that it got.

    Raises `ImgsecError` (tag-required, digest-drift, signature-store-missing, pushed-unsigned) and
    what the ports raise.
    """
    _ = plan.names(target), target.tagged_name
    registry.require_signature_store(target, writable=True)
    registry.require_own_token_service(target)
    say(f"pushing to {target.tagged_name}")
    digest = pusher.push(name, target)
    landed = target.at(digest)
    try:
        manifest: Manifest = registry.fetch_manifest(replace(landed, tag=None))
        signed: SignedImage = sign_manifest(
            landed, manifest, signer, plan, registry=registry, keyring=keyring, clock=clock
        )
    except ImgsecError as error:
        told = f"{target.tagged_name} was pushed as {digest}, and is not signed"
        raise ImgsecError(_unsigned(error.reason, told)) from error
    require_same_digest(landed, registry)
    return ImageReport(target, passed(), replace(signed, is_pushed=True))


def _may_be_stored(signature: bytes) -> bool:
    """Whether every store reads it: one that does not could never be signed again."""
    try:
        return stored_signature(signature, "a signature") is not None
    except ImgsecError:
        return False


def _unsigned(why: Reason, told: str) -> Reason:
    return PUSHED_UNSIGNED(f"{told}: {why.text}")


def _is_there(image: ImageReference, registry: PublishingRegistry) -> bool:
    try:
        registry.fetch_manifest(replace(image, tag=None))
    except ImageNotFound:
        return False
    return True


def _tagged(image: ImageReference, registry: PublishingRegistry) -> Digest | None:
    """What a tag names now."""
    try:
        return registry.fetch_manifest(image).digest
    except ImageNotFound:
        return None


def _mount(
    origin: ImageReference,
    landed: ImageReference,
    content: ManifestContent,
    registry: PublishingRegistry,
) -> None:
    """Let the registry link every blob into the other repository, so that none is moved.

    A registry that does not is no failure: what copies moves the blobs then.
    """
    parts = [content]
    for child in content.children:
        manifest = registry.fetch_manifest(replace(origin, tag=None, digest=child.digest))
        parts.append(ManifestContent.parse(manifest.content, manifest.media_type))
    blobs: dict[Digest, None] = dict.fromkeys(blob for part in parts for blob in part.blobs)
    with suppress(ImgsecError):
        for blob in blobs:
            registry.mount_blob(origin, landed, blob)


def _bring_signatures(
    origin: ImageReference,
    landed: ImageReference,
    content: ManifestContent,
    registry: PublishingRegistry,
) -> None:
    """Store what the source carries beside what the target has already, each once.

    Where the source's registry keeps no signatures, there are none.
    """
    try:
        registry.require_signature_store(origin)
    except ImgsecError as error:
        if error.reason.code != SIGNATURE_STORE_MISSING.code:
            raise
        return
    digests = [origin.digest, *(child.digest for child in content.children)]
    for digest in dict.fromkeys(digest for digest in digests if digest is not None):
        held = set(registry.fetch_signatures(landed.at(digest)))
        for signature in registry.fetch_signatures(origin.at(digest)):
            if signature not in held and _may_be_stored(signature):
                registry.store_signature(landed.at(digest), signature)
