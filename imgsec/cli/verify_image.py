# SPDX-License-Identifier: Apache-2.0
"""``imgsec verify-image``: who signed this digest, and would each consumer accept that?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

from imgsec.cli.options import (
    IAM,
    KMS,
    NETWORK,
    REGISTRY,
    SIGNATURES,
    TOOLS,
    ImagesArg,
    images_file_option,
    loosening,
    own,
    with_options,
    workers_option,
)
from imgsec.cli.output import Answer, Outputs, progress
from imgsec.config import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from imgsec.domain.reference import ImageReference
    from imgsec.domain.report import ImageReport
    from imgsec.domain.verdict import Note
    from imgsec.domain.verifiers import Verifier
    from imgsec.errors import ImgsecError
    from imgsec.operations.trusted_keys import LoadedRequirement, TrustedKeys
    from imgsec.ports import Registry
    from imgsec.wiring import World

_WHOSE_ANSWER = "Whose answer"

KeyOpt = Annotated[
    str | None,
    own(
        "verify-image",
        "--key",
        "VAULT_KEY_ID",
        metavar="LOCATION",
        help="The public key: kms://ALIAS-OR-ID, file:FILE, secret:MANIFEST or https://... .",
    ),
]
FingerprintOpt = Annotated[
    str | None,
    own(
        "verify-image",
        "--fingerprint",
        "SIGNATURE_FINGERPRINT",
        metavar="HEX",
        help="The 40-digit fingerprint that the key must have.",
    ),
]
PolicyOpt = Annotated[
    str | None,
    own(
        "verify-image",
        "--policy",
        metavar="FILE",
        help="Instead of a key: a signature policy, as containers tools read it (policy.json).",
    ),
]
AsOpt = Annotated[
    str | None,
    loosening(
        "--as",
        panel=_WHOSE_ANSWER,
        metavar="CONSUMER",
        help="One consumer's: portieris, or podman (CRI-O, skopeo). By default strict: what all of"
        " them accept, and each one's answer where they differ.",
    ),
]
PlatformOpt = Annotated[
    list[str] | None,
    loosening(
        "--platform",
        panel=_WHOSE_ANSWER,
        metavar="OS/ARCH",
        help="Of an index: this platform only, as it is pulled there. Repeatable.",
    ),
]
ImageDirOpt = Annotated[
    str | None,
    loosening(
        "--image-dir",
        panel=_WHOSE_ANSWER,
        metavar="DIR",
        help="The image as skopeo copied it to dir:DIR; no registry is asked.",
    ),
]

WorkersOpt = Annotated[int | None, workers_option("verify-image")]
ImagesFileOpt = Annotated[str | None, images_file_option("verify-image")]


@with_options(
    IAM,
    KMS,
    REGISTRY,
    SIGNATURES,
    NETWORK,
    TOOLS,
    results=("digest", "image", "fingerprint", "verdict"),
)
def verify_image(
    images: ImagesArg = None,
    *,
    images_file: ImagesFileOpt = None,
    key: KeyOpt = None,
    fingerprint: FingerprintOpt = None,
    policy: PolicyOpt = None,
    as_: AsOpt = None,
    platform: PlatformOpt = None,
    image_dir: ImageDirOpt = None,
    workers: WorkersOpt = None,
    settings: Settings,
    outputs: Outputs,
) -> Answer:
    """Who signed IMAGE, and would each consumer accept that? Reads no layer and no secret key.

    Passes with repository@digest if a signature by this key is for this digest and this name; of an
    index, and of every manifest that it lists, since Portieris looks at the one and Podman at the
    others. If several keys are published together, one of them is enough.

    Example: imgsec verify-image --key kms://release us.icr.io/team/app:1.0
    """
    from imgsec.cli.judging import Judge, judge_each, named_images, workers_for
    from imgsec.domain.report import VerifiedImage
    from imgsec.errors import ImgsecError
    from imgsec.operations import verify_image as operation
    from imgsec.operations.signing_key import expiry_notes
    from imgsec.reasons import INVALID_OPTION
    from imgsec.wiring import wire

    verifiers = _consumers(as_)
    platforms = tuple(platform or ())
    references = [image.require_version() for image in named_images(images, images_file)]
    if image_dir is not None and len(references) > 1:
        raise ImgsecError(INVALID_OPTION("--image-dir holds one image"))
    with wire(settings) as world:
        wanted = _requirements(key, fingerprint, policy, references, world)
        trusted = list(dict.fromkeys(_trusted_keys(wanted.values())))
        for one in trusted:  # before there are several processes
            for signer in one.signers:
                one.keyring.export_public_key(signer)
        keys = tuple(dict.fromkeys(key for one in trusted for key in one.keys))

        def judge(registry: Registry) -> Judge:
            def verify(image: ImageReference) -> ImageReport:
                requirements = wanted[image]
                if isinstance(requirements, ImgsecError):
                    raise requirements
                return operation.verify_image(
                    image,
                    requirements,
                    registry,
                    verifiers=verifiers,
                    platforms=platforms,
                    now=world.clock.now(),
                )

            return verify

        mine = judge(world.image_folder(image_dir) if image_dir is not None else world.registry)
        count = workers_for(references, workers)
        answer = judge_each(
            "verify-image",
            references,
            mine if count == 1 else [lambda: judge(world.separate_registry())] * count,
            lambda: (
                *_narrowed(verifiers, platforms, image_dir),
                *expiry_notes(world.clock.now(), *keys),
                *world.notes(),
            ),
            progress(outputs),
        )
    found = answer.report.images[0].found
    results = dict(answer.results)
    if isinstance(found, VerifiedImage):
        results["fingerprint"] = str(found.signer)
    elif keys:
        results["fingerprint"] = str(keys[0].fingerprint)
    return Answer(answer.report, results)


def _consumers(name: str | None) -> tuple[Verifier, ...]:
    """Whose answers are given; the first one is the verdict. Raises (invalid-option)."""
    from imgsec.domain.reference import shown
    from imgsec.domain.verifiers import READERS, Verifier
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    if name is None:
        return Verifier.STRICT, *READERS
    try:
        return (Verifier(name),)
    except ValueError:
        text = f"{shown(name)} is no consumer; --as takes {', '.join(Verifier)}"
        raise ImgsecError(INVALID_OPTION(text)) from None


def _narrowed(
    verifiers: Sequence[Verifier], platforms: Sequence[str], image_dir: str | None
) -> Iterator[Note]:
    """What must be on record: that others, other platforms, or the registry were not asked."""
    from imgsec.domain.reference import shown
    from imgsec.domain.verdict import Note
    from imgsec.domain.verifiers import Verifier

    if verifiers[0] is not Verifier.STRICT:
        yield Note("one-consumer", f"this is the answer of {verifiers[0]} alone")
    if platforms:
        listed = ", ".join(map(shown, platforms))
        yield Note("some-platforms", f"of an index, only what {listed} pulls was looked at")
    if image_dir is not None:
        text = f"no registry was asked: image and signatures are those in {shown(image_dir)}"
        yield Note("no-registry-asked", text)


def _requirements(
    key: str | None,
    fingerprint: str | None,
    policy: str | None,
    images: Sequence[ImageReference],
    world: World,
) -> dict[ImageReference, tuple[LoadedRequirement, ...] | ImgsecError]:
    """What is wanted of each image, or why that cannot be told.

    A policy that is named goes before the key of an older pipeline's environment. Raises
    (invalid-option) unless it is told in one way.
    """
    from imgsec.domain.keys import PUBLIC_KEY_SCHEMES, Fingerprint, KeyLocation
    from imgsec.domain.trust_policy import TrustPolicy
    from imgsec.errors import ImgsecError
    from imgsec.operations.trusted_keys import load_requirements, load_trusted_keys
    from imgsec.reasons import INVALID_OPTION

    if policy is not None:
        key = None if key == os.environ.get("VAULT_KEY_ID") else key
        known = os.environ.get("SIGNATURE_FINGERPRINT")
        fingerprint = None if fingerprint == known else fingerprint
    if (key is None) == (policy is None):
        raise ImgsecError(INVALID_OPTION("give --key, or --policy"))
    if policy is not None:
        if fingerprint:
            raise ImgsecError(INVALID_OPTION("--fingerprint goes with --key; a policy has its own"))
        return load_requirements(
            TrustPolicy.parse(world.read_trust_policy(policy)),
            images,
            lambda path: world.key_files.read_public_key(KeyLocation("file", path)),
            world.new_keyring,
        )
    where = KeyLocation.parse(key or "", allowed=PUBLIC_KEY_SCHEMES)
    expected = Fingerprint.parse(fingerprint) if fingerprint else None
    keys = load_trusted_keys(where, world.shelf(where.scheme), world.keyring, expected=expected)
    return dict.fromkeys(images, (keys,))


def _trusted_keys(
    wanted: Iterable[tuple[LoadedRequirement, ...] | ImgsecError],
) -> Iterator[TrustedKeys]:
    from imgsec.operations.trusted_keys import TrustedKeys

    for requirements in wanted:
        if isinstance(requirements, tuple):
            yield from (one for one in requirements if isinstance(one, TrustedKeys))
