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
from imgsec.domain.manifest import Child, ManifestContent
from imgsec.domain.reference import ImageReference
from imgsec.domain.report import ImageReport, UncheckedImage, VerifiedImage, VerifierAnswer
from imgsec.domain.signature import OpenPGPMessage, SimpleSigningPayload
from imgsec.domain.trust_policy import Blanket
from imgsec.domain.verdict import Note, Verdict, because, passed
from imgsec.domain.verifiers import Verifier, key_flaws, message_flaws
from imgsec.errors import ImgsecError
from imgsec.operations.resolve import wanted_children
from imgsec.operations.trusted_keys import LoadedRequirement, TrustedKeys
from imgsec.ports import Keyring, Registry
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
    """A digest that is looked at. platform: of a manifest that an index lists, else empty.

    is_index: it is listed, and claims to be an index itself.
    """

    image: ImageReference
    platform: str
    signatures: tuple[bytes, ...]
    is_index: bool = False


_Found = VerifiedImage | UncheckedImage | Verdict


def verify_image(
    image: ImageReference,
    requirements: Sequence[LoadedRequirement],
    registry: Registry,
    keyring: Keyring,
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
    children = wanted_children(canonical, content, platforms, registry)
    runnable = [child for child in children if not child.claims_attestation]
    if content.is_index and not runnable:
        raise ImgsecError(NOTHING_CHECKED(f"{canonical} is an index that lists no image"))
    checked = any(isinstance(one, TrustedKeys) for one in requirements)

    def place(at: ImageReference, child: Child | None = None) -> _Place:
        signatures = registry.fetch_signatures(at) if checked else ()
        if child is None:
            return _Place(at, "", signatures)
        return _Place(at, child.platform, signatures, child.is_index)

    top = [place(canonical)] if _wants(verifiers, content, top=True) else []
    below = (
        [place(canonical.at(child.digest), child) for child in runnable]
        if _wants(verifiers, content, top=False)
        else []
    )
    looked_at = {
        Verifier.PORTIERIS: top,
        Verifier.GPGME: below or top,
        Verifier.STRICT: [*top, *below],
    }
    judged = {
        (one.image, requirement): _judge(one, requirement, keyring, verifiers, now)
        for one in dict.fromkeys([*top, *below])
        for requirement in requirements
    }
    answers: dict[Verifier, tuple[Verdict, VerifiedImage | UncheckedImage | None]] = {}
    for verifier in verifiers:
        found = [
            (one, judged[one.image, requirement][verifier])
            for one in looked_at[verifier]
            for requirement in requirements
        ]
        answers[verifier] = _answer(found, verifier)
    verdict, accepted = answers[verifiers[0]]
    if accepted is not None:
        accepted = replace(accepted, image=canonical)
    told = tuple(VerifierAnswer(str(one), answer) for one, (answer, _) in answers.items())
    return ImageReport(image, verdict, accepted, told)


def _wants(verifiers: Iterable[Verifier], content: ManifestContent, *, top: bool) -> bool:
    """Whether one of the verifiers looks at the manifest itself, or at what it lists."""
    if not content.is_index:
        return top
    return any(one is not (Verifier.GPGME if top else Verifier.PORTIERIS) for one in verifiers)


def _answer(
    found: Sequence[tuple[_Place, _Found]], verifier: Verifier
) -> tuple[Verdict, VerifiedImage | UncheckedImage | None]:
    refused = [(place, one) for place, one in found if isinstance(one, Verdict)]
    if refused:
        reasons = [
            replace(reason, text=f"{place.platform}: {reason.text}") if place.platform else reason
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
    requirement: LoadedRequirement,
    keyring: Keyring,
    verifiers: Iterable[Verifier],
    now: datetime,
) -> dict[Verifier, _Found]:
    """What each verifier says of one digest to one requirement."""
    if place.is_index:
        text = "what the index lists here is an index, which containers tools do not follow"
        return dict.fromkeys(verifiers, because(ANSWER_MALFORMED(text)))
    if requirement is Blanket.ACCEPT:
        return dict.fromkeys(verifiers, UncheckedImage(place.image))
    if not isinstance(requirement, TrustedKeys):
        refusal = because(POLICY_REJECTS(f"the policy rejects {place.image}"))
        return dict.fromkeys(verifiers, refusal)
    return _judge_signatures(place, requirement, keyring, verifiers, now)


def _judge_signatures(
    place: _Place,
    requirement: TrustedKeys,
    keyring: Keyring,
    verifiers: Iterable[Verifier],
    now: datetime,
) -> dict[Verifier, _Found]:
    """The same, for signatures by some keys."""
    spent = {one: _spent(one, requirement, now) for one in verifiers}
    found: dict[Verifier, _Found] = {}
    said: dict[Verifier, list[Reason]] = {}
    for verifier, keys in spent.items():
        if len(keys) < len(requirement.keys):
            said[verifier] = []
        else:  # no signature could help
            found[verifier] = _refusal(reason for flaws in keys.values() for reason in flaws)
    for claim in _claims(place, requirement, keyring):
        for verifier, reasons in list(said.items()):
            flaws = (*_distrust(verifier, claim, spent[verifier]), *claim.flaws)
            if flaws or claim.says is None:
                reasons.extend(flaws)
            else:
                found[verifier] = claim.says
                del said[verifier]
        if not said:
            break
    if not place.signatures:
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


def _claims(place: _Place, wanted: TrustedKeys, keyring: Keyring) -> Iterator[_Claim]:
    """The signatures in their order; the next one is opened only when it is asked for."""
    for signature in place.signatures:
        message = keyring.open_message(signature, wanted.signers)
        if isinstance(message, Reason):
            yield _Claim(None, None, (message,))
            continue
        try:
            payload = SimpleSigningPayload.parse(message.content)
        except ImgsecError as error:
            yield _Claim(message, None, (error.reason,))
            continue
        says = VerifiedImage(place.image, message.signer, payload.identity, message.signed_at)
        yield _Claim(message, says, payload.flaws(place.image, wanted.rule))


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


def _refusal(reasons: Iterable[Reason]) -> Verdict:
    return because(*dict.fromkeys(reasons))
