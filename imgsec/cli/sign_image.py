# SPDX-License-Identifier: Apache-2.0
"""``imgsec sign-image``: is this digest signed, under its name?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from imgsec.cli.options import (
    IAM,
    KMS,
    NETWORK,
    PASSPHRASE,
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
from imgsec.cli.signing import (
    Backend,
    SigningRun,
    both_hosts_option,
    expect_option,
    fingerprint_option,
    identity_option,
    key_option,
    remove_signatures_option,
    signing_plan,
    target_of,
)
from imgsec.config import Settings

if TYPE_CHECKING:
    from imgsec.domain.reference import Digest, ImageReference

_BRINGING = "Bringing the image there"


_COMMAND = "sign-image"
KeyOpt = Annotated[str, key_option(_COMMAND)]
FingerprintOpt = Annotated[str | None, fingerprint_option(_COMMAND)]
ExpectOpt = Annotated[str | None, expect_option(_COMMAND, "Sign")]
IdentityOpt = Annotated[list[str] | None, identity_option(_COMMAND)]
BothHostsOpt = Annotated[bool, both_hosts_option(_COMMAND)]
PlatformOpt = Annotated[
    list[str] | None,
    own(
        "sign-image",
        "--platform",
        metavar="OS/ARCH",
        help="Of an index: sign it, and this platform's manifest, not all. Repeatable.",
    ),
]

ToOpt = Annotated[
    str | None,
    own(
        "sign-image",
        "--to",
        metavar="NAME:TAG",
        help="Copy IMAGE there, sign it there, and only then let the tag name it.",
        rich_help_panel=_BRINGING,
    ),
]
RemoveSignaturesOpt = Annotated[bool, remove_signatures_option(_COMMAND, rich_help_panel=_BRINGING)]
FromStorageOpt = Annotated[
    str | None,
    own(
        "sign-image",
        "--from-storage",
        metavar="NAME",
        help="Push this image from local storage to IMAGE, with buildah, and sign it.",
        rich_help_panel=_BRINGING,
    ),
]
StorageDriverOpt = Annotated[
    str | None,
    own(
        "sign-image",
        "--storage-driver",
        metavar="DRIVER",
        help="With --from-storage: buildah's storage driver, such as overlay or vfs.",
        rich_help_panel=_BRINGING,
    ),
]

BackendOpt = Annotated[
    Backend,
    own(
        "sign-image",
        "--backend",
        help="What signs: gpg, or sequoia, which is faster for many images (needs pysequoia).",
    ),
]
WorkersOpt = Annotated[int | None, workers_option("sign-image")]
ImagesFileOpt = Annotated[str | None, images_file_option("sign-image")]


@with_options(
    IAM,
    KMS,
    PASSPHRASE,
    REGISTRY,
    SIGNATURES,
    NETWORK,
    TOOLS,
    results=(
        *("digest", "image", "fingerprint", "verdict"),
        *("pushed-image", "pushed-digest"),
    ),
)
def sign_image(
    images: ImagesArg = None,
    *,
    images_file: ImagesFileOpt = None,
    key: KeyOpt,
    fingerprint: FingerprintOpt = None,
    expect_digest: ExpectOpt = None,
    sign_identity: IdentityOpt = None,
    both_hosts: BothHostsOpt = False,
    platform: PlatformOpt = None,
    to: ToOpt = None,
    remove_signatures: RemoveSignaturesOpt = False,
    from_storage: FromStorageOpt = None,
    storage_driver: StorageDriverOpt = None,
    workers: WorkersOpt = None,
    backend: BackendOpt = Backend.GPG,
    settings: Settings,
    outputs: Outputs,
) -> Answer:
    """Sign IMAGE in its registry: the digest, under the tag's name, with a key from the KMS.

    The tag is resolved once, and the digest is signed, of an index every manifest that it lists.
    What is signed already is left alone. Every signature is read back and checked before the
    command says that it exists.

    No tag is moved but that of --to, once its image is signed, and of --from-storage. What copies
    and pushes is skopeo and buildah.

    Example: imgsec sign-image --key kms://release us.icr.io/team/app:1.0
    """
    from imgsec.cli.judging import named_images
    from imgsec.domain.keys import SECRET_KEY_SCHEMES, Fingerprint, KeyLocation
    from imgsec.domain.reference import Digest
    from imgsec.errors import ImgsecError
    from imgsec.operations.signing_key import load_signing_key
    from imgsec.reasons import INVALID_OPTION
    from imgsec.wiring import wire

    where = KeyLocation.parse(key, allowed=SECRET_KEY_SCHEMES)
    expected = Fingerprint.parse(fingerprint) if fingerprint else None
    references = named_images(images, images_file)
    if len(references) > 1 and (expect_digest or sign_identity or to or from_storage):
        text = "--expect-digest, --sign-identity, --to and --from-storage are for one image"
        raise ImgsecError(INVALID_OPTION(text))
    by_digest = expect_digest or references[0].is_canonical
    target = _bringing(to, remove_signatures, from_storage, storage_driver, bool(by_digest))
    if expect_digest:
        references = [at_digest(references[0], Digest.parse(expect_digest))]
    plan = signing_plan(sign_identity, platform, both_hosts=both_hosts)
    for reference in references if target is None else [target]:
        _ = plan.names(reference)
    with wire(settings) as world:
        signer, notes = load_signing_key(
            where,
            world.shelf(where.scheme),
            world.keyring,
            expected=expected,
            now=world.clock.now(),
        )
        in_process = None
        if backend is Backend.SEQUOIA:
            in_process = world.in_process_keyring(signer.fingerprint)
        run = SigningRun(world, signer.fingerprint, plan, in_process, notes, progress(outputs))
        if target is not None:
            answer = run.copy(references[0], target, keeps_signatures=not remove_signatures)
        elif from_storage is not None:
            answer = run.push(from_storage, references[0], storage_driver)
        else:
            answer = run.sign(references, workers)
    return Answer(answer.report, {**answer.results, "fingerprint": str(signer.fingerprint)})


def _bringing(
    to: str | None,
    remove_signatures: bool,
    from_storage: str | None,
    storage_driver: str | None,
    has_digest: bool,
) -> ImageReference | None:
    """Where the image is copied to; None for nowhere. Raises `ImgsecError` (invalid-option)."""
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    wrong = (
        "--to and --from-storage are two ways"
        if to and from_storage
        else "--remove-signatures goes with --to"
        if remove_signatures and not to
        else "--storage-driver goes with --from-storage"
        if storage_driver and not from_storage
        else "no digest goes with --from-storage: it is known after the push only"
        if has_digest and from_storage
        else None
    )
    if wrong:
        raise ImgsecError(INVALID_OPTION(wrong))
    if from_storage and from_storage.startswith("-"):
        raise ImgsecError(INVALID_OPTION("--from-storage takes the name of an image"))
    if to is None:
        return None
    return target_of(to)


def at_digest(image: ImageReference, digest: Digest) -> ImageReference:
    """Raises `ImgsecError` (invalid-option) for two digests that contradict each other."""
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    if image.digest not in (None, digest):
        raise ImgsecError(INVALID_OPTION(f"--expect-digest is not the digest of {image}"))
    return image.at(digest)
