# SPDX-License-Identifier: Apache-2.0
"""Bring an image to where it is deployed from, and sign it there.

A copy goes to its new repository by digest, gets its signatures, and only then its tag, so that no
tag ever names it unsigned. What buildah pushes has its tag first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from imgsec.domain.keys import Fingerprint
from imgsec.domain.manifest import ManifestContent
from imgsec.domain.openpgp import shape_of
from imgsec.domain.reference import Digest, ImageReference, shown
from imgsec.domain.report import ImageReport, PushedImage, SignedImage
from imgsec.domain.signature import SIGNATURES_MAX, MessageForm, stored_signature
from imgsec.domain.verdict import Note, because, passed
from imgsec.errors import ImageNotFound, ImgsecError
from imgsec.operations.resolve import require_platforms, require_same_digest
from imgsec.operations.sign_image import (
    SigningPlan,
    count_missing,
    digests_to_sign,
    require_signing,
    sign_digests,
)
from imgsec.ports import (
    Clock,
    ImageCopier,
    ImagePusher,
    LocalImage,
    Manifest,
    MessageKeyring,
    PublishingRegistry,
)
from imgsec.reasons import (
    DIGEST_DRIFT,
    PUSHED_UNSIGNED,
    SIGNATURE_STORE_MISSING,
    TOO_MANY_SIGNATURES,
    Reason,
)

_Signatures = dict[Digest, tuple[bytes, ...]]
# A registry lists at most 4 MiB (containers/image, internal/iolimits), in base64 and with names.
_BROUGHT_MAX_BYTES = 2 * 2**20
_NO_IMAGE = Digest.of(b"")
TAG_WAITS = (0.5, 1.0, 2.0, 4.0)  # seconds between attempts to push or to set a tag


@dataclass(slots=True)
class Publication:
    """One image on its way to its target, which has a tag. Good for one `copy` or `push`.

    Whatever could be wrong with the key or the place for signatures is found before anything moves.
    say: told what takes long.
    """

    target: ImageReference
    signer: Fingerprint
    plan: SigningPlan
    registry: PublishingRegistry
    keyring: MessageKeyring
    clock: Clock
    say: Callable[[str], None]
    _unsigned: str = field(default="", init=False)  # what stands there without its signature
    _pushed: ImageReference | None = field(default=None, init=False)

    def copy(
        self, source: ImageReference, copier: ImageCopier, *, keeps_signatures: bool
    ) -> ImageReport:
        """Copy what the source names now, sign it, and let the target's tag name it.

        All that an index lists goes along; blobs of the same registry are not moved.
        keeps_signatures: those that the source carries go along. Raises `ImgsecError`
        (tag-required, platform-missing, digest-drift, signature-store-missing) and what the ports
        raise; what fails once it is there is reported as pushed-unsigned.
        """
        registry, target = self.registry, self.target
        _ = source.require_version()
        copier.require_copying()
        self._prepare()
        registry.require_own_token_service(source)
        if source.is_canonical:
            require_same_digest(source, registry)
        manifest = registry.fetch_manifest(source)
        origin, landed = source.at(manifest.digest), target.at(manifest.digest)
        content = ManifestContent.parse(manifest.content, manifest.media_type)
        digests = digests_to_sign(origin, manifest, self.plan, registry)
        before = _tagged(target, registry)
        parts = tuple(dict.fromkeys([manifest.digest, *(one.digest for one in content.children)]))
        is_new = not all(_is_there(landed.at(digest), registry) for digest in parts)
        brought, notes = self._signatures_of(origin, parts) if keeps_signatures else ({}, ())
        self._require_room(landed, parts, digests, brought)
        require_signing(self.signer, self.keyring)
        if is_new:
            if source.registry == target.registry:
                _mount(origin, landed, content, registry)
            self.say(f"copying {origin.canonical_name} to {target.name}")
            copier.copy(origin, replace(landed, tag=None))
            self._pushed = landed
        self._unsigned = f"{landed.canonical_name} is there, and {target.tag} does not name it"
        if before == landed.digest:
            self._unsigned = f"{landed} is not signed as it should be"
        try:
            signed = self._sign(landed, digests)
            for digest in parts:  # after ours: whatever they are, they take no room from it
                there = landed.at(digest)
                for signature in _added(brought, there, registry.fetch_signatures(there)):
                    registry.store_signature(there, signature)
        except ImgsecError as error:
            return self.unsigned(error.reason)
        self._unsigned = ""
        require_same_digest(origin, registry)
        is_new |= self._let_tag_name(landed, manifest, before)
        require_same_digest(landed, registry)
        if before not in (None, landed.digest):
            text = f"{target.tagged_name} named {before} before"
            notes = (*notes, Note("tag-moved", text))
        return ImageReport(target, passed(*notes), replace(signed, is_pushed=is_new))

    def push(self, name: str, pusher: ImagePusher) -> ImageReport:
        """Push an image, or a list of images, from local storage; sign the digest that it got.

        Raises `ImgsecError` (tag-required, image-not-found, platform-missing, digest-drift,
        signature-store-missing) and what the ports raise; what fails once it is there is reported
        as pushed-unsigned.
        """
        registry, target = self.registry, self.target
        pusher.require_pushing()
        self._prepare()
        held = pusher.inspect(name)
        if self.plan.platforms:
            require_platforms(
                shown(name), held.platforms, self.plan.platforms, is_index=held.is_list
            )
        require_signing(self.signer, self.keyring)
        _ = registry.fetch_signatures(target.at(_NO_IMAGE))  # does the place answer?
        self.say(f"pushing to {target.tagged_name}")
        try:
            landed = target.at(self._pushed_patiently(held, pusher))
        except ImgsecError as error:
            return self.unsigned(error.reason)
        self._pushed = landed
        self._unsigned = f"{target.tagged_name} was pushed as {landed.digest}, and is not signed"
        try:
            manifest = registry.fetch_manifest(replace(landed, tag=None))
            signed = self._sign(landed, digests_to_sign(landed, manifest, self.plan, registry))
        except ImgsecError as error:
            return self.unsigned(error.reason)
        self._unsigned = ""
        require_same_digest(landed, registry)
        return ImageReport(target, passed(), replace(signed, is_pushed=True))

    def _pushed_patiently(self, image: LocalImage, pusher: ImagePusher) -> Digest:
        """Push it, and again where the registry was busy or away, as long as the tag has not moved.

        Raises `ImgsecError` (pushed-unsigned) if it has: by a push that failed at its end, or by
        somebody else's.
        """
        before = _tagged(self.target, self.registry)
        waits = iter(TAG_WAITS)
        while True:
            self._unsigned = f"{self.target.tagged_name} may have been pushed, and is not signed"
            try:
                return pusher.push(image, self.target)
            except ImgsecError as error:
                failure = error
            now = _tagged(self.target, self.registry)
            if failure.reason.code == PUSHED_UNSIGNED.code or now != before:
                self._unsigned += f" (it names {now} now)"
                raise failure
            self._unsigned = ""
            wait = next(waits, None)
            if wait is None or not failure.reason.retryable:
                raise failure
            self.clock.sleep(wait)

    def _let_tag_name(
        self, landed: ImageReference, manifest: Manifest, before: Digest | None
    ) -> bool:
        """Set the tag, unless somebody else has; whether there was a need to.

        A look before each request: one that failed may be done, and others push meanwhile. Raises
        `ImgsecError` (digest-drift).
        """
        waits, was_asked = iter(TAG_WAITS), False
        while (now := _tagged(self.target, self.registry)) != landed.digest:
            if now != before:
                text = f"{self.target.tagged_name} was moved to {now} meanwhile, and stays there"
                raise ImgsecError(DIGEST_DRIFT(text))
            was_asked = True
            try:
                self.registry.tag_manifest(landed, manifest)
                break
            except ImgsecError as error:
                wait = next(waits, None) if error.reason.retryable else None
                if wait is None:
                    if _tagged(self.target, self.registry) == landed.digest:
                        break
                    raise
            self.clock.sleep(wait)
        return was_asked

    def told(self) -> str:
        """What stands there without its signature now, in words; empty for nothing."""
        return self._unsigned

    def unsigned(self, why: Reason) -> ImageReport:
        """What there is to report when the run ends here because of this: that, or more than that.

        Of an image that stands there without its signature the reason is pushed-unsigned.
        """
        reason = why
        if self._unsigned:
            hint = why.hint
            if why.code != PUSHED_UNSIGNED.code:
                hint = f"{hint} Then run the command again; it signs what is missing."
            reason = PUSHED_UNSIGNED(f"{self._unsigned}: {why.text}", hint=hint)
        found = PushedImage(self._pushed) if self._pushed and self._unsigned else None
        return ImageReport(self.target, because(reason), found)

    def _prepare(self) -> None:
        _ = self.plan.names(self.target), self.target.tagged_name
        self.registry.require_signature_store(self.target, writable=True)
        self.registry.require_own_token_service(self.target)

    def _require_room(
        self,
        landed: ImageReference,
        parts: tuple[Digest, ...],
        digests: tuple[Digest, ...],
        brought: _Signatures,
    ) -> None:
        """For our signatures and those that are brought. The target's place must answer for it.

        parts: what is copied; digests: what of it is signed.
        """
        hint = "Leave those of the source behind, with --remove-signatures." if brought else None
        for part in parts:
            there = landed.at(part)
            held = self.registry.fetch_signatures(there)
            both = (*held, *_added(brought, there, held))
            count = len(both)
            if part in digests:
                count += count_missing(there, self.signer, self.plan, held, self.keyring)
            if count > SIGNATURES_MAX or sum(map(len, both)) > _BROUGHT_MAX_BYTES:
                text = f"{there.canonical_name} would carry {count} signatures, or too large ones"
                raise ImgsecError(TOO_MANY_SIGNATURES(text, hint=hint))

    def _sign(self, landed: ImageReference, digests: tuple[Digest, ...]) -> SignedImage:
        return sign_digests(
            landed,
            digests,
            self.signer,
            self.plan,
            registry=self.registry,
            keyring=self.keyring,
            clock=self.clock,
        )

    def _signatures_of(
        self, origin: ImageReference, parts: tuple[Digest, ...]
    ) -> tuple[_Signatures, tuple[Note, ...]]:
        """What the source carries, and what must be said where nobody could look."""
        try:
            self.registry.require_signature_store(origin)
        except ImgsecError as error:
            if error.reason.code != SIGNATURE_STORE_MISSING.code:
                raise
            text = f"{origin.registry} keeps no signatures: if the image has any elsewhere,"
            return {}, (Note("signatures-left-behind", f"{text} they did not come along"),)
        found = {part: self.registry.fetch_signatures(origin.at(part)) for part in parts}
        kept = {part: tuple(filter(_may_be_stored, some)) for part, some in found.items()}
        left = sum(map(len, found.values())) - sum(map(len, kept.values()))
        if not left:
            return kept, ()
        text = f"{left} of what {origin.canonical_name} carries as signatures did not come along:"
        return kept, (Note("signatures-left-behind", f"{text} not every store takes them"),)


def _added(brought: _Signatures, image: ImageReference, held: tuple[bytes, ...]) -> Iterator[bytes]:
    """Of the signatures that are brought for a digest, those that it does not have, each once."""
    there = set(held)
    for one in brought.get(image.digest, ()) if image.digest else ():
        if one not in there:
            there.add(one)
            yield one


def _may_be_stored(signature: bytes) -> bool:
    """Whether it is a signature, and one that every store reads; an image with another is lost."""
    try:
        if stored_signature(signature, "a signature") != signature:
            return False
    except ImgsecError:
        return False
    shape = shape_of(signature)
    return shape is not None and shape.form in (MessageForm.ONE_PASS, MessageForm.SIGNATURE_FIRST)


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
