# SPDX-License-Identifier: Apache-2.0
"""Sign a digest under its names, and believe it only after reading every signature back.

In place: no manifest and no tag is written, so that nobody's push can be reverted by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import groupby

from imgsec import __version__
from imgsec.domain.hosts import other_icr_host
from imgsec.domain.keys import Fingerprint
from imgsec.domain.manifest import Child, ManifestContent
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.report import ImageReport, SignedImage
from imgsec.domain.signature import SIGNATURES_MAX, OpenPGPMessage, SimpleSigningPayload
from imgsec.domain.verdict import Verdict, passed
from imgsec.errors import ImgsecError
from imgsec.operations.resolve import require_same_digest, wanted_children
from imgsec.operations.verify_digest import judge_opened, open_signature
from imgsec.ports import Clock, Manifest, MessageKeyring, Registry, SigningRegistry
from imgsec.reasons import (
    ANSWER_MALFORMED,
    INVALID_OPTION,
    KEY_UNUSABLE,
    NOTHING_CHECKED,
    PUSHED_UNSIGNED,
    TOO_MANY_SIGNATURES,
    Reason,
)

# Seconds between attempts to read a signature back. A registry may take a moment to show what it
# has taken: one on an object store, or one in which another run writes the same manifest just now.
READ_BACK_WAITS = (0.2, 0.4, 0.8, 1.6)
CREATOR = f"imgsec {__version__}"


@dataclass(frozen=True, slots=True)
class SigningPlan:
    """What of an image is signed, and as what.

    further: names besides the reference's own, each with a tag and no digest. platforms: those of
    an index whose manifests are signed with it, as ``os/architecture[/variant]``; none for all.
    has_both_hosts: each name at icr.io with its private and its public host.
    """

    further: tuple[ImageReference, ...] = ()
    platforms: tuple[str, ...] = ()
    has_both_hosts: bool = False

    def names(self, image: ImageReference) -> tuple[ImageReference, ...]:
        """Under which names the image is signed. Raises `ImgsecError` (tag-required,
        invalid-option)."""
        own = () if image.tag is None else (replace(image, digest=None),)
        names = [*own, *self.further]
        if not names:
            _ = image.tagged_name
        if self.has_both_hosts:
            names += [_with_other_host(name) for name in names]
        return tuple(dict.fromkeys(names))


_PLAIN = SigningPlan()
Alone = Callable[[Iterable[str]], AbstractContextManager[None]]
Carried = Callable[[ImageReference], Sequence[bytes]]  # the signatures of a digest


def sign_image(
    image: ImageReference,
    signer: Fingerprint,
    plan: SigningPlan = _PLAIN,
    *,
    registry: SigningRegistry,
    keyring: MessageKeyring,
    clock: Clock,
    alone: Alone = lambda _: nullcontext(),
) -> ImageReport:
    """Sign what the reference names now, and everything that it lists.

    The tag is resolved once. Before anything is signed: the tag still names the given digest, and
    the registry has a place for signatures. What is signed already is left alone. Afterwards every
    signature is read back, and the tag must not have moved. Raises `ImgsecError` (tag-required,
    digest-drift, platform-missing, signature-store-missing, pushed-unsigned) and what the ports
    raise.
    """
    _ = plan.names(image.require_version())
    registry.require_signature_store(image, writable=True)
    if image.is_canonical:  # first: a digest that the tag had once may be gone
        require_same_digest(image, registry)
    manifest = registry.fetch_manifest(image)
    canonical = image.at(manifest.digest)
    signed = sign_digests(
        canonical,
        digests_to_sign(canonical, manifest, plan, registry),
        signer,
        plan,
        registry=registry,
        keyring=keyring,
        clock=clock,
        alone=alone,
    )
    require_same_digest(canonical, registry)
    return ImageReport(image, passed(), signed)


def digests_to_sign(
    canonical: ImageReference, manifest: Manifest, plan: SigningPlan, registry: Registry
) -> tuple[Digest, ...]:
    """The manifest's own, and of an index those that are for one of the plan's platforms.

    Raises `ImgsecError` (platform-missing; nothing-checked for an index of nothing;
    answer-malformed for one that lists an index, whose images nobody could verify).
    """
    content = ManifestContent.parse(manifest.content, manifest.media_type)
    if content.is_index and not content.children:
        raise ImgsecError(NOTHING_CHECKED(f"{canonical} is an index that lists no image"))
    _require_flat(canonical, content.children)
    children = wanted_children(canonical, content, plan.platforms, registry)
    return tuple(dict.fromkeys([manifest.digest, *(child.digest for child in children)]))


def _require_flat(index: ImageReference, children: Iterable[Child]) -> None:
    """Raises `ImgsecError` (answer-malformed) for an index that lists an index."""
    for child in children:
        if child.is_index:
            text = f"{index} lists the index {child.digest}, which containers tools do not follow"
            hint = "List the images themselves in one index."
            raise ImgsecError(ANSWER_MALFORMED(text, hint=hint))


def count_missing(
    canonical: ImageReference,
    signer: Fingerprint,
    plan: SigningPlan,
    held: Sequence[bytes],
    keyring: MessageKeyring,
) -> int:
    """How many signatures a digest that holds these would get.

    Raises `ImgsecError` (too-many-signatures) where it has no room for them.
    """
    if canonical.digest is None:
        raise ValueError(f"{canonical} has no digest")
    claims = _claims(canonical, [canonical.digest], plan)
    return len(_unsigned(claims, signer, lambda _: held, keyring))


def require_signing(signer: Fingerprint, keyring: MessageKeyring) -> None:
    """Prove by a signature that the key signs. Raises `ImgsecError` (key-unusable)."""
    opened = open_signature(keyring.sign_message(b"imgsec test", signer), keyring, [signer])
    if isinstance(opened, Reason):
        raise ImgsecError(KEY_UNUSABLE(f"what key {signer} signs is no signature: {opened.text}"))


def sign_digests(
    canonical: ImageReference,
    digests: Sequence[Digest],
    signer: Fingerprint,
    plan: SigningPlan = _PLAIN,
    *,
    registry: SigningRegistry,
    keyring: MessageKeyring,
    clock: Clock,
    alone: Alone = lambda _: nullcontext(),
) -> SignedImage:
    """Sign digests of one repository under the plan's names, whatever the tag names now.

    canonical: with the tag as which they are signed. alone: keeps others of this run away from the
    digests meanwhile, for whom there would be room, or something missing, else. Raises
    `ImgsecError` (tag-required, too-many-signatures, pushed-unsigned) and what the ports raise.
    """
    claims = _claims(canonical, digests, plan)
    with alone([claim.where.lookaside_path for claim in claims]):
        missing = _unsigned(claims, signer, registry.fetch_signatures, keyring)
        for claim in missing:
            registry.store_signature(claim.where, claim.sign(signer, keyring, clock))
    if missing:
        still = _unsigned(missing, signer, registry.fetch_signatures, keyring)
        for seconds in READ_BACK_WAITS:
            if not still:
                break
            clock.sleep(seconds)
            still = _unsigned(still, signer, registry.fetch_signatures, keyring)
        if still:
            claim, verdict = next(iter(still.items()))
            raise ImgsecError(
                PUSHED_UNSIGNED(
                    f"the signature of {claim.where.canonical_name} as {claim.name} does not read"
                    f" back: {verdict.reasons[0].text}"
                )
            )
    names = tuple(name.tagged_name for name in plan.names(canonical))
    return SignedImage(canonical, signer, bool(missing), tuple(digests), names)


@dataclass(frozen=True, slots=True)
class _Claim:
    """That a digest goes by a name. where: the digest in its repository; name: with a tag."""

    where: ImageReference
    name: ImageReference

    def sign(self, signer: Fingerprint, keyring: MessageKeyring, clock: Clock) -> bytes:
        if self.where.digest is None:
            raise ValueError(f"{self.where} has no digest")
        made = int(clock.now().timestamp())
        payload = SimpleSigningPayload(self.name.tagged_name, self.where.digest, CREATOR, made)
        return keyring.sign_message(payload.serialize(), signer)

    def check(self, opened: Sequence[OpenPGPMessage | Reason]) -> Verdict | None:
        """Why none of the signatures counts; None if one does."""
        if self.where.digest is None:
            raise ValueError(f"{self.where} has no digest")
        found = judge_opened(self.name.at(self.where.digest), opened)
        return found if isinstance(found, Verdict) else None


def _claims(
    canonical: ImageReference, digests: Sequence[Digest], plan: SigningPlan
) -> list[_Claim]:
    names = plan.names(canonical)
    return [_Claim(canonical.at(digest), name) for digest in digests for name in names]


def _with_other_host(name: ImageReference) -> ImageReference:
    other = other_icr_host(name.registry)
    if other is None:
        text = f"{name.registry} is not at icr.io, and has no private and public host"
        raise ImgsecError(INVALID_OPTION(text, hint="Name further names with --sign-identity."))
    return replace(name, registry=other)


def _unsigned(
    claims: Iterable[_Claim], signer: Fingerprint, carried: Carried, keyring: MessageKeyring
) -> dict[_Claim, Verdict]:
    """Those without a signature that counts, each with the verdict that says why.

    Raises `ImgsecError` (too-many-signatures) where one more would keep verifiers from reading any.
    """
    found: dict[_Claim, Verdict] = {}
    for where, group in groupby(claims, key=lambda claim: claim.where):
        signatures = carried(where)
        opened = [open_signature(one, keyring, [signer]) for one in signatures]
        missing = {claim: verdict for claim in group if (verdict := claim.check(opened))}
        if len(signatures) + len(missing) > SIGNATURES_MAX:
            text = f"{where.canonical_name} carries {len(signatures)} signatures, and would get"
            raise ImgsecError(TOO_MANY_SIGNATURES(f"{text} {len(missing)} more"))
        found |= missing
    return found
