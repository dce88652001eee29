# SPDX-License-Identifier: Apache-2.0
"""``imgsec verify-image``: who signed this digest, and for which name?"""

from __future__ import annotations

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
    own,
    with_options,
    workers_option,
)
from imgsec.cli.output import Answer, Outputs, progress
from imgsec.config import Settings

if TYPE_CHECKING:
    from imgsec.adapters.registry import RegistryClient

KeyOpt = Annotated[
    str,
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
    key: KeyOpt,
    fingerprint: FingerprintOpt = None,
    workers: WorkersOpt = None,
    settings: Settings,
    outputs: Outputs,
) -> Answer:
    """Who signed IMAGE? Reads its manifest and signatures, no layer, and the public key only.

    Passes with repository@digest if one signature by this key is for this digest and this name. If
    several keys are published together, as while one replaces another, one of them is enough.

    Example: imgsec verify-image --key kms://release us.icr.io/team/app:1.0
    """
    from imgsec.cli.images import Judge, judge_each, named_images, workers_for
    from imgsec.domain.keys import PUBLIC_KEY_SCHEMES, Fingerprint, KeyLocation
    from imgsec.domain.report import VerifiedImage
    from imgsec.operations import verify_image as operation
    from imgsec.operations.signing_key import expiry_notes, load_public_keys
    from imgsec.wiring import wire

    where = KeyLocation.parse(key, allowed=PUBLIC_KEY_SCHEMES)
    expected = Fingerprint.parse(fingerprint) if fingerprint else None
    references = [image.require_version() for image in named_images(images, images_file)]
    with wire(settings) as world:
        shelf = world.shelf(where.scheme)
        keys = load_public_keys(where, shelf, world.keyring, expected=expected)
        keyring = world.keyring
        for one in keys:  # before there are several processes
            keyring.export_public_key(one.fingerprint)

        def judge(registry: RegistryClient) -> Judge:
            return lambda image: operation.verify_image(
                image, keys, registry, keyring, now=world.clock.now()
            )

        mine = judge(world.registry)
        count = workers_for(references, workers)
        answer = judge_each(
            "verify-image",
            references,
            mine if count == 1 else [lambda: judge(world.separate_registry())] * count,
            lambda: (*expiry_notes(world.clock.now(), *keys), *world.notes()),
            progress(outputs),
        )
    found = answer.report.images[0].found
    signer = found.signer if isinstance(found, VerifiedImage) else keys[0].fingerprint
    return Answer(answer.report, {**answer.results, "fingerprint": str(signer)})
