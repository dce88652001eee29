# SPDX-License-Identifier: Apache-2.0
"""``imgsec sign-image``: is this digest signed, under its name?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
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
from imgsec.config import Settings

if TYPE_CHECKING:
    from imgsec.adapters.registry import RegistryClient
    from imgsec.adapters.sequoia import SequoiaKeyring
    from imgsec.domain.keys import Fingerprint
    from imgsec.domain.reference import Digest, ImageReference
    from imgsec.domain.report import ImageReport
    from imgsec.domain.verdict import Note
    from imgsec.operations.publish_image import Publication
    from imgsec.operations.sign_image import SigningPlan
    from imgsec.ports import MessageKeyring
    from imgsec.wiring import World

_BRINGING = "Bringing the image there"


class Backend(StrEnum):
    """What makes the signatures; gpg checks them in any case."""

    GPG = "gpg"
    SEQUOIA = "sequoia"


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

ExpectOpt = Annotated[
    str | None,
    own(
        "sign-image",
        "--expect-digest",
        metavar="DIGEST",
        help="Sign only if the tag names this digest, as a step before has found it.",
    ),
]
IdentityOpt = Annotated[
    list[str] | None,
    own(
        "sign-image",
        "--sign-identity",
        metavar="NAME:TAG",
        help="A further name under which it will be pulled. Repeatable.",
    ),
]
BothHostsOpt = Annotated[
    bool,
    own(
        "sign-image",
        "--both-hosts",
        help="At icr.io: sign each name with its public and its private. host.",
    ),
]
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
RemoveSignaturesOpt = Annotated[
    bool,
    own(
        "sign-image",
        "--remove-signatures",
        help="With --to: leave the signatures behind that IMAGE carries.",
        rich_help_panel=_BRINGING,
    ),
]
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
    from imgsec.cli.images import named_images
    from imgsec.domain.keys import SECRET_KEY_SCHEMES, Fingerprint, KeyLocation
    from imgsec.domain.reference import Digest
    from imgsec.errors import ImgsecError
    from imgsec.operations.sign_image import SigningPlan
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
        references = [_at(references[0], Digest.parse(expect_digest))]
    plan = SigningPlan(
        tuple(map(_identity, sign_identity or ())), tuple(platform or ()), both_hosts
    )
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
        run = _Run(world, signer.fingerprint, plan, in_process, notes, progress(outputs))
        if target is not None:
            answer = run.copy(references[0], target, keeps_signatures=not remove_signatures)
        elif from_storage is not None:
            answer = run.push(from_storage, references[0], storage_driver)
        else:
            answer = run.sign(references, workers)
    return Answer(answer.report, {**answer.results, "fingerprint": str(signer.fingerprint)})


@dataclass(frozen=True, slots=True)
class _Run:
    """What every way to a signature needs. notes: what is to be recorded about the key.

    in_process: what signs in place of gpg.
    """

    world: World
    signer: Fingerprint
    plan: SigningPlan
    in_process: SequoiaKeyring | None
    notes: tuple[Note, ...]
    say: Callable[[str], None]

    def sign(self, references: Sequence[ImageReference], workers: int | None) -> Answer:
        """Sign images where they are, by several processes if there are several."""
        from contextlib import ExitStack, nullcontext
        from functools import partial

        from imgsec.cli.images import Judge, judge_each, workers_for
        from imgsec.operations import sign_image as operation

        world = self.world

        def judge(
            registry: RegistryClient, keyring: MessageKeyring, alone: operation.Alone
        ) -> Judge:
            return lambda image: operation.sign_image(
                *(image, self.signer, self.plan),
                registry=registry,
                keyring=keyring,
                clock=world.clock,
                alone=alone,
            )

        def worker(twin: MessageKeyring) -> Judge:
            return judge(world.separate_registry(), twin, world.alone_with)

        mine = judge(world.registry, self._keyring, lambda _: nullcontext())
        count = workers_for(references, workers)
        count = count if count > 1 else 0
        with ExitStack() as stack:
            twins: Sequence[MessageKeyring] = (
                [self.in_process] * count  # a fork has it, too
                if self.in_process
                else stack.enter_context(world.twin_keyrings(self.signer, count))
            )
            makers = [partial(worker, twin) for twin in twins]
            return judge_each("sign-image", references, makers or mine, self._notes, self.say)

    def copy(
        self, source: ImageReference, target: ImageReference, *, keeps_signatures: bool
    ) -> Answer:
        """Copy an image to where it is deployed from, and sign it there."""
        copier = self.world.container_tools(None)
        return self._bring(
            target, lambda it: it.copy(source, copier, keeps_signatures=keeps_signatures)
        )

    def push(self, name: str, target: ImageReference, storage_driver: str | None) -> Answer:
        """Push an image of local storage, and sign it."""
        pusher = self.world.container_tools(storage_driver)
        return self._bring(target, lambda it: it.push(name, pusher))

    def _bring(self, target: ImageReference, bring: Callable[[Publication], ImageReport]) -> Answer:
        from imgsec.cli.images import judge_each
        from imgsec.cli.lifetime import Terminated
        from imgsec.operations.publish_image import Publication

        world = self.world
        publication = Publication(
            target,
            self.signer,
            self.plan,
            registry=world.registry,
            keyring=self._keyring,
            clock=world.clock,
            say=self.say,
        )

        def judge(_: ImageReference) -> ImageReport:
            try:
                return bring(publication)
            except Terminated:  # there will be no report to say so
                if left := publication.told():
                    with suppress(OSError):
                        sys.stderr.write(f"imgsec: {left}\n")
                raise

        return judge_each(
            *("sign-image", [target], judge, self._notes, self.say),
            late=lambda _, reason: publication.unsigned(reason),
        )

    @property
    def _keyring(self) -> MessageKeyring:
        return self.in_process or self.world.keyring

    def _notes(self) -> tuple[Note, ...]:
        return (*self.notes, *self.world.notes())


def _bringing(
    to: str | None,
    remove_signatures: bool,
    from_storage: str | None,
    storage_driver: str | None,
    has_digest: bool,
) -> ImageReference | None:
    """Where the image is copied to; None for nowhere. Raises `ImgsecError` (invalid-option)."""
    from imgsec.domain.reference import ImageReference
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
    target = ImageReference.parse(to)
    if target.is_canonical or target.tag is None:
        raise ImgsecError(INVALID_OPTION(f"--to takes a name with a tag, not {target}"))
    return target


def _at(image: ImageReference, digest: Digest) -> ImageReference:
    """Raises `ImgsecError` (invalid-option) for two digests that contradict each other."""
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    if image.digest not in (None, digest):
        raise ImgsecError(INVALID_OPTION(f"--expect-digest is not the digest of {image}"))
    return image.at(digest)


def _identity(text: str) -> ImageReference:
    """A name to sign: with a tag, and without a digest, which is the image's."""
    from imgsec.domain.reference import ImageReference
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    name = ImageReference.parse(text)
    if name.is_canonical:
        raise ImgsecError(INVALID_OPTION(f"--sign-identity takes a name with a tag, not {name}"))
    _ = name.tagged_name
    return name
