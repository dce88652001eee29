# SPDX-License-Identifier: Apache-2.0
"""Verify an image as each of its consumers would: manifests and signatures only, never a layer.

They do not look at the same thing. Portieris asks for a signature of what the name means, of an
index too; Podman and CRI-O choose the manifest of their platform, and ask for a signature of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from imgsec.domain.keys import Fingerprint
from imgsec.domain.manifest import INDEX_TYPES, Child, ManifestContent
from imgsec.domain.reference import ImageReference
from imgsec.domain.report import ImageReport, UncheckedImage, VerifiedImage, VerifierAnswer
from imgsec.domain.signature import OpenPGPMessage, SimpleSigningPayload
from imgsec.domain.trust_policy import Blanket
from imgsec.domain.verdict import Note, Verdict, because, passed
from imgsec.domain.verifiers import Verifier, key_flaws, message_flaws
from imgsec.errors import ImgsecError
from imgsec.operations.resolve import platform_missing, wanted_children
from imgsec.operations.trusted_keys import LoadedRequirement, TrustedKeys
from imgsec.ports import Registry
from imgsec.reasons import (
    ANSWER_MALFORMED,
    NOTHING_CHECKED,
    POLICY_REJECTS,
    SIGNATURE_MISSING,
    Reason,
)

_UNCHECKED = Note("unchecked", "the policy lets the image through without a look at signatures")


@dataclass(frozen=True, slots=True)
class _Place:
    """A digest that is looked at. platform: of a manifest that an index lists, None for the top.

    readers: who looks at it. is_index: it is listed, and is an index itself.
    """

    image: ImageReference
    platform: str | None
    readers: tuple[Verifier, ...]
    is_index: bool = False


_Found = VerifiedImage | UncheckedImage | Verdict


def verify_image(
    image: ImageReference,
    requirements: Sequence[LoadedRequirement],
    registry: Registry,
    *,
    verifiers: Sequence[Verifier] = (Verifier.STRICT, Verifier.PORTIERIS, Verifier.GPGME),
    platforms: tuple[str, ...] = (),
    now: datetime,
) -> ImageReport:
    """Whether the image meets all requirements, as each of the verifiers sees it.

    The first verifier's answer is the verdict. A tag is resolved once; what was verified is
    ``repository@digest``. platforms: those of an index that are pulled; none for all. Raises
    `ImgsecError` (tag-required, platform-missing, nothing-checked) and what the ports raise.
    """
    manifest = registry.fetch_manifest(image.require_version())
    canonical = image.at(manifest.digest)
    content = ManifestContent.parse(manifest.content, manifest.media_type)
    found: dict[Verifier, list[tuple[_Place, _Found]]] = {verifier: [] for verifier in verifiers}
    for place in _places(canonical, content, platforms, verifiers, registry):
        counts = any(isinstance(one, TrustedKeys) for one in requirements)
        read = counts and not place.is_index
        signatures = registry.fetch_signatures(place.image) if read else ()
        for requirement in requirements:
            judged = _judge(place, signatures, requirement, canonical, now)
            for verifier, one in judged.items():
                found[verifier].append((place, one))
    answers = {verifier: _answer(found[verifier], verifier) for verifier in verifiers}
    verdict, accepted = answers[verifiers[0]]
    if accepted is not None:
        accepted = replace(accepted, image=canonical)
    told = tuple(VerifierAnswer(str(one), answer) for one, (answer, _) in answers.items())
    return ImageReport(image, verdict, accepted, told)


def _places(
    canonical: ImageReference,
    content: ManifestContent,
    platforms: tuple[str, ...],
    verifiers: Sequence[Verifier],
    registry: Registry,
) -> Iterator[_Place]:
    """What the verifiers look at: the top, or what it lists, each only if somebody does.

    A listed manifest is read, so that it is there, and is what the index says. Raises `ImgsecError`
    (platform-missing, nothing-checked) and what reading does.
    """
    if not content.is_index:
        _ = wanted_children(canonical, content, platforms, registry)  # is it for that platform?
        yield _Place(canonical, None, tuple(verifiers))
        return
    pulled = _pulled(canonical, content, platforms)
    if not pulled:
        raise ImgsecError(NOTHING_CHECKED(f"{canonical} is an index that lists no image"))
    top = tuple(one for one in verifiers if one is not Verifier.GPGME)
    if top:
        yield _Place(canonical, None, top)
    for child, is_first in pulled:
        readers = [one for one in verifiers if one is not Verifier.PORTIERIS]
        if not is_first:  # consumers pull the first one of a platform
            readers = [one for one in readers if one is not Verifier.GPGME]
        if readers:
            where = canonical.at(child.digest)
            manifest = registry.fetch_manifest(replace(where, tag=None))
            is_index = child.is_index or manifest.media_type in INDEX_TYPES
            yield _Place(where, child.platform, tuple(readers), is_index)


def _pulled(
    canonical: ImageReference, content: ManifestContent, platforms: tuple[str, ...]
) -> list[tuple[Child, bool]]:
    """What is pulled of an index, and whether it is the first one of its platform.

    Raises `ImgsecError` (platform-missing).
    """
    found: list[tuple[Child, bool]] = []
    if not platforms:
        seen: set[str] = set()
        for child in content.children:
            if not child.claims_attestation:
                found.append((child, child.platform not in seen))
                seen.add(child.platform)
        return found
    for platform in platforms:
        chosen = content.child_for(platform)
        if chosen is None:
            held = [child.platform for child in content.children]
            raise platform_missing(str(canonical), held, platform)
        found.append((chosen, True))
    return found


def _answer(
    found: Sequence[tuple[_Place, _Found]], verifier: Verifier
) -> tuple[Verdict, VerifiedImage | UncheckedImage | None]:
    refused = [(place, one) for place, one in found if isinstance(one, Verdict)]
    if refused:
        reasons = [
            reason if place.platform is None else _of_platform(place.platform, reason)
            for place, verdict in refused
            for reason in verdict.reasons
        ]
        return because(*dict.fromkeys(reasons)), None
    signed = [one for _, one in found if isinstance(one, VerifiedImage)]
    if signed:
        return passed(), signed[0]
    unchecked = [one for _, one in found if isinstance(one, UncheckedImage)]
    if unchecked and verifier is not Verifier.STRICT:
        return passed(_UNCHECKED), unchecked[0]
    text = "the policy asks for no signature of the image"
    hint = "Ask as the consumer does with --as, or name a key with --key."
    return because(NOTHING_CHECKED(text, hint=hint)), None


def _judge(
    place: _Place,
    signatures: tuple[bytes, ...],
    requirement: LoadedRequirement,
    pulled: ImageReference,
    now: datetime,
) -> dict[Verifier, _Found]:
    """What each of its readers says of one digest to one requirement.

    pulled: the name and digest that was asked for.
    """
    if place.is_index:
        text = "what the index lists here is an index, which containers tools do not follow"
        hint = "List the images themselves in one index."
        return dict.fromkeys(place.readers, because(ANSWER_MALFORMED(text, hint=hint)))
    if requirement is Blanket.ACCEPT:
        return dict.fromkeys(place.readers, UncheckedImage(place.image))
    if not isinstance(requirement, TrustedKeys):
        refusal = because(POLICY_REJECTS(f"the policy rejects {place.image}"))
        return dict.fromkeys(place.readers, refusal)
    return _judge_signatures(place, signatures, requirement, pulled, now)


def _judge_signatures(
    place: _Place,
    signatures: tuple[bytes, ...],
    requirement: TrustedKeys,
    pulled: ImageReference,
    now: datetime,
) -> dict[Verifier, _Found]:
    """The same, of what the digest carries."""
    spent = {one: _spent(one, requirement, now) for one in place.readers}
    found: dict[Verifier, _Found] = {}
    said: dict[Verifier, list[Reason]] = {}
    for verifier, keys in spent.items():
        if len(keys) < len(requirement.keys):
            said[verifier] = []
        else:  # no signature could help
            found[verifier] = _refusal(reason for flaws in keys.values() for reason in flaws)
    for claim in _claims(place, signatures, requirement, pulled):
        for verifier, reasons in list(said.items()):
            flaws = (*_distrust(verifier, claim, spent[verifier]), *claim.flaws)
            if flaws or claim.says is None:
                reasons.extend(flaws)
            else:
                found[verifier] = claim.says
                del said[verifier]
        if not said:
            break
    if not signatures:
        for reasons in said.values():
            reasons.append(SIGNATURE_MISSING(f"{place.image} carries no signature"))
    return found | {
        verifier: _refusal(
            [*reasons, *(one for flaws in spent[verifier].values() for one in flaws)]
        )
        for verifier, reasons in said.items()
    }


@dataclass(frozen=True, slots=True)
class _Claim:
    """One signature. flaws: what it says, if anything, is not about the image, or means nothing."""

    message: OpenPGPMessage | None
    says: VerifiedImage | None
    flaws: tuple[Reason, ...]


def _claims(
    place: _Place, signatures: Iterable[bytes], wanted: TrustedKeys, pulled: ImageReference
) -> Iterator[_Claim]:
    """The signatures in their order; the next one is opened only when it is asked for."""
    for signature in signatures:
        message = wanted.keyring.open_message(signature, wanted.signers)
        if isinstance(message, Reason):
            yield _Claim(None, None, (message,))
            continue
        try:
            payload = SimpleSigningPayload.parse(message.content)
        except ImgsecError as error:
            yield _Claim(message, None, (error.reason,))
            continue
        says = VerifiedImage(place.image, message.signer, payload.identity, message.signed_at)
        yield _Claim(message, says, payload.flaws(place.image, wanted.rule, pulled=pulled))


_Spent = dict[Fingerprint, tuple[Reason, ...]]


def _spent(verifier: Verifier, wanted: TrustedKeys, now: datetime) -> _Spent:
    """The keys of which this verifier believes nothing, and why."""
    flaws = {
        signer: key_flaws(verifier, signer, wanted.published, now) for signer in wanted.signers
    }
    return {signer: reasons for signer, reasons in flaws.items() if reasons}


def _distrust(verifier: Verifier, claim: _Claim, spent: _Spent) -> tuple[Reason, ...]:
    """Why this verifier does not believe the signature, whatever it says."""
    if claim.message is None:
        return ()
    return spent.get(claim.message.signer) or message_flaws(verifier, claim.message)


def _of_platform(platform: str, reason: Reason) -> Reason:
    return replace(reason, text=f"{platform or 'no platform'}: {reason.text}")


def _refusal(reasons: Iterable[Reason]) -> Verdict:
    return because(*dict.fromkeys(reasons))
