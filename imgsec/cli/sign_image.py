# SPDX-License-Identifier: Apache-2.0
"""``imgsec sign-image``: is this digest signed, under its name?"""

from __future__ import annotations

from typing import Annotated

from imgsec.cli.options import (
    IAM,
    KMS,
    NETWORK,
    PASSPHRASE,
    REGISTRY,
    TOOLS,
    ImagesArg,
    own,
    with_options,
)
from imgsec.cli.output import Answer
from imgsec.config import Settings

KeyOpt = Annotated[
    str,
    own(
        "sign-image",
        "--key",
        "VAULT_KEY_ID",
        metavar="LOCATION",
        help="The signing key: kms://ALIAS-OR-ID, file:PATH or env:NAME.",
    ),
]
FingerprintOpt = Annotated[
    str | None,
    own(
        "sign-image",
        "--fingerprint",
        "SIGNATURE_FINGERPRINT",
        metavar="HEX",
        help="The 40-digit fingerprint that the key must have.",
    ),
]


@with_options(
    IAM,
    KMS,
    PASSPHRASE,
    REGISTRY,
    NETWORK,
    TOOLS,
    results=("digest", "image", "fingerprint", "verdict"),
)
def sign_image(
    images: ImagesArg,
    *,
    key: KeyOpt,
    fingerprint: FingerprintOpt = None,
    settings: Settings,
) -> Answer:
    """Sign IMAGE in its registry: the digest, under the tag's name, with a key from the KMS.

    The tag is resolved once, and the digest is signed; no tag is ever moved. What is signed already
    is left alone. The signature is read back and checked before the command says that it exists.

    Example: imgsec sign-image --key kms://release us.icr.io/team/app:1.0
    """
    from imgsec.cli.images import judge_each
    from imgsec.domain.keys import SECRET_KEY_SCHEMES, Fingerprint, KeyLocation
    from imgsec.domain.reference import ImageReference
    from imgsec.operations import sign_image as operation
    from imgsec.operations.signing_key import load_signing_key
    from imgsec.wiring import wire

    where = KeyLocation.parse(key, allowed=SECRET_KEY_SCHEMES)
    expected = Fingerprint.parse(fingerprint) if fingerprint else None
    references = [ImageReference.parse(image) for image in images]
    for reference in references:
        _ = reference.tagged_name
    with wire(settings) as world:
        signer, notes = load_signing_key(
            where,
            world.shelf(where.scheme),
            world.keyring,
            expected=expected,
            now=world.clock.now(),
        )
        answer = judge_each(
            "sign-image",
            references,
            lambda image: operation.sign_image(
                image,
                signer.fingerprint,
                registry=world.registry,
                keyring=world.keyring,
                clock=world.clock,
            ),
            lambda: (*notes, *world.notes()),
        )
    return Answer(answer.report, {**answer.results, "fingerprint": str(signer.fingerprint)})
