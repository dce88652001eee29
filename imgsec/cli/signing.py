# SPDX-License-Identifier: Apache-2.0
"""What the commands that sign share: the key, the names, and the ways to a signature."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from imgsec.cli.options import own
from imgsec.cli.output import Answer

if TYPE_CHECKING:
    from imgsec.domain.keys import Fingerprint
    from imgsec.domain.reference import ImageReference
    from imgsec.domain.report import ImageReport
    from imgsec.domain.verdict import Note
    from imgsec.operations.publish_image import Publication
    from imgsec.operations.sign_image import SigningPlan
    from imgsec.ports import MessageKeyring, SigningRegistry
    from imgsec.wiring import World


class Backend(StrEnum):
    """What makes the signatures; gpg checks them in any case."""

    GPG = "gpg"
    SEQUOIA = "sequoia"


def key_option(command: str) -> Any:
    """The signing key."""
    text = "The signing key: kms://ALIAS-OR-ID, file:PATH or env:NAME."
    return own(command, "--key", "VAULT_KEY_ID", metavar="LOCATION", help=text)


def fingerprint_option(command: str) -> Any:
    """Which key it must be."""
    text = "The 40-digit fingerprint that the key must have."
    names = ("--fingerprint", "SIGNATURE_FINGERPRINT")
    return own(command, *names, metavar="HEX", help=text)


def expect_option(command: str, verb: str) -> Any:
    """Which digest it must be. verb: what is done only then."""
    text = f"{verb} only if the tag names this digest, as a step before has found it."
    return own(command, "--expect-digest", metavar="DIGEST", help=text)


def identity_option(command: str) -> Any:
    """Further names."""
    text = "A further name under which it will be pulled. Repeatable."
    return own(command, "--sign-identity", metavar="NAME:TAG", help=text)


def both_hosts_option(command: str) -> Any:
    """The other host of icr.io."""
    text = "At icr.io: sign each name with its public and its private. host."
    return own(command, "--both-hosts", help=text)


def remove_signatures_option(command: str, **rest: Any) -> Any:
    """What of the image stays behind."""
    text = "With --to: leave the signatures behind that IMAGE carries."
    return own(command, "--remove-signatures", help=text, **rest)


@dataclass(frozen=True, slots=True)
class SigningRun:
    """What every way to a signature needs. notes: what is to be recorded about the key.

    in_process: what signs in place of gpg.
    """

    world: World
    signer: Fingerprint
    plan: SigningPlan
    in_process: MessageKeyring | None
    notes: tuple[Note, ...]
    say: Callable[[str], None]

    def sign(self, references: Sequence[ImageReference], workers: int | None) -> Answer:
        """Sign images where they are, by several processes if there are several."""
        from contextlib import ExitStack, nullcontext
        from functools import partial

        from imgsec.cli.judging import Judge, judge_each, workers_for
        from imgsec.operations import sign_image as operation

        world = self.world

        def judge(
            registry: SigningRegistry, keyring: MessageKeyring, alone: operation.Alone
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

        mine = judge(world.registry, self.keyring, lambda _: nullcontext())
        count = workers_for(references, workers)
        count = count if count > 1 else 0
        with ExitStack() as stack:
            twins: Sequence[MessageKeyring] = (
                [self.in_process] * count  # a fork has it, too
                if self.in_process
                else stack.enter_context(world.twin_keyrings(self.signer, count))
            )
            makers = [partial(worker, twin) for twin in twins]
            return judge_each("sign-image", references, makers or mine, self.all_notes, self.say)

    def copy(
        self, source: ImageReference, target: ImageReference, *, keeps_signatures: bool
    ) -> Answer:
        """Copy an image to where it is deployed from, and sign it there."""
        copier = self.world.container_tools(None)
        return self._bring(
            self.publication(target),
            lambda it: it.copy(source, copier, keeps_signatures=keeps_signatures),
        )

    def push(self, name: str, target: ImageReference, storage_driver: str | None) -> Answer:
        """Push an image of local storage, and sign it."""
        pusher = self.world.container_tools(storage_driver)
        return self._bring(self.publication(target), lambda it: it.push(name, pusher))

    def sign_one(self, image: ImageReference) -> ImageReport:
        """Sign one image where it is, in this process."""
        from imgsec.operations.sign_image import sign_image

        world = self.world
        return sign_image(
            *(image, self.signer, self.plan),
            registry=world.registry,
            keyring=self.keyring,
            clock=world.clock,
        )

    def publication(self, target: ImageReference) -> Publication:
        """What brings one image to its target."""
        from imgsec.operations.publish_image import Publication

        return Publication(
            target,
            self.signer,
            self.plan,
            registry=self.world.registry,
            keyring=self.keyring,
            clock=self.world.clock,
            say=self.say,
        )

    def _bring(
        self, publication: Publication, bring: Callable[[Publication], ImageReport]
    ) -> Answer:
        from imgsec.cli.judging import judge_each

        def judge(_: ImageReference) -> ImageReport:
            with says_what_is_left(publication):
                return bring(publication)

        return judge_each(
            *("sign-image", [publication.target], judge, self.all_notes, self.say),
            late=lambda _, reason: publication.unsigned(reason),
        )

    @property
    def keyring(self) -> MessageKeyring:
        """What signs."""
        return self.in_process or self.world.keyring

    def all_notes(self) -> tuple[Note, ...]:
        """What the verdict must record, of the key and of the run."""
        return (*self.notes, *self.world.notes())


@contextmanager
def says_what_is_left(publication: Publication) -> Iterator[None]:
    """If a signal ends the block, standard error tells what stands there unsigned."""
    from imgsec.cli.lifetime import Terminated

    try:
        yield
    except Terminated:
        if left := publication.told():
            with suppress(OSError):
                sys.stderr.write(f"imgsec: {left}\n")
        raise


def signing_plan(
    identities: Sequence[str] | None, platforms: Sequence[str] | None, *, both_hosts: bool
) -> SigningPlan:
    """What of an image is signed, and as what. Raises `ImgsecError` (invalid-option)."""
    from imgsec.operations.sign_image import SigningPlan

    return SigningPlan(tuple(map(_identity, identities or ())), tuple(platforms or ()), both_hosts)


def target_of(to: str) -> ImageReference:
    """Where an image is copied to. Raises `ImgsecError` (invalid-option, invalid-reference)."""
    from imgsec.domain.reference import ImageReference
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    target = ImageReference.parse(to)
    if target.is_canonical or target.tag is None:
        raise ImgsecError(INVALID_OPTION(f"--to takes a name with a tag, not {target}"))
    return target


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
