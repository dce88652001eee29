# SPDX-License-Identifier: Apache-2.0
"""What the commands over several images share: each is judged by itself, none stops the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from imgsec.cli.lifetime import DeadlineReached
from imgsec.cli.output import Answer
from imgsec.domain.reference import ImageReference, shown
from imgsec.domain.report import ImageReport, Report
from imgsec.domain.verdict import Note, all_of, because
from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_MALFORMED, INVALID_OPTION, TIMEOUT

_IMAGES_MAX_BYTES = 1 * 2**20  # ours; some ten thousand names


def read_images(path: str) -> tuple[ImageReference, ...]:
    """The images in a file, each with a tag or a digest, one on a line; ``#`` begins a comment.

    Raises `ImgsecError` (input-unreadable, input-malformed, invalid-reference, tag-required).
    """
    from imgsec.adapters.files import read_file

    text = read_file(path, max_bytes=_IMAGES_MAX_BYTES).decode("utf-8", "replace")
    words = [line.partition("#")[0].strip() for line in text.splitlines()]
    images = [ImageReference.parse(word) for word in words if word]
    if not images:
        raise ImgsecError(INPUT_MALFORMED(f"{shown(path)} names no image"))
    return tuple(dict.fromkeys(image.require_version() for image in images))


def named_images(images: Sequence[str] | None, path: str | None) -> list[ImageReference]:
    """The images of the command line and of a file, each once.

    Raises `ImgsecError` (invalid-option) for none at all, and what `read_images` does.
    """
    found = [ImageReference.parse(image) for image in images or ()]
    if path is not None:
        found += read_images(path)
    if not found:
        raise ImgsecError(INVALID_OPTION("name an image, or a file of them with --images-file"))
    return list(dict.fromkeys(found))


def judge_each(
    command: str,
    images: Sequence[ImageReference],
    judge: Callable[[ImageReference], ImageReport],
    notes: Callable[[], tuple[Note, ...]],
    say: Callable[[str], None] = lambda _: None,
) -> Answer:
    """One report for all; any refused image refuses, else any undecided one is undecided.

    When the time is up, what was judged stands, and the rest is undecided. notes: what the whole
    run must record, asked for at the end. The results name the first image only: a pipeline step
    that needs them has one. say: told of each of several as it is done.
    """
    parts: list[ImageReport] = []
    try:
        for image in images:
            try:
                parts.append(judge(image))
            except ImgsecError as error:
                parts.append(ImageReport(image, because(error.reason)))
            if len(images) > 1:
                word = parts[-1].verdict.outcome.word
                say(f"{word}: {image} ({len(parts)} of {len(images)})")
    except DeadlineReached:
        reason = TIMEOUT("the command reached its time limit")
        parts += [ImageReport(image, because(reason)) for image in images[len(parts) :]]
    verdict = all_of(part.verdict for part in parts)
    verdict = replace(verdict, notes=tuple(dict.fromkeys([*verdict.notes, *notes()])))
    results = {}
    if parts and (found := parts[0].found) is not None:
        results = {"digest": str(found.image.digest), "image": str(found.image)}
    return Answer(Report(command, verdict, tuple(parts)), results)
