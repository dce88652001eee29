# SPDX-License-Identifier: Apache-2.0
"""What the commands over several images share: each is judged by itself, none stops the others."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace

from imgsec.cli.lifetime import (
    DeadlineReached,
    is_time_up,
    lift_deadline,
    seconds_left,
    set_deadline,
)
from imgsec.cli.output import Answer
from imgsec.domain.reference import ImageReference, shown
from imgsec.domain.report import ImageReport, PushedImage, Report, SignedImage
from imgsec.domain.verdict import Note, all_of, because
from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_MALFORMED, INVALID_OPTION, TIMEOUT, TOOL_FAILED, Reason

_TIME_IS_UP = "the command reached its time limit"
_LAST_SECONDS = 3.0  # of the time limit, for what the processes have found to come together
_AT_ONCE = 0.01
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


Judge = Callable[[ImageReference], ImageReport]


class PatientJudge(ABC):
    """A judge that may take long, and knows what it has found when the time is up."""

    @abstractmethod
    def __call__(self, image: ImageReference) -> ImageReport:
        """Judge an image."""

    @abstractmethod
    def late(self, image: ImageReference, why: Reason) -> ImageReport:
        """The report of an image that it did not finish, as far as it came."""


def judge_safely(judge: Judge, image: ImageReference) -> ImageReport:
    """The report, or the reason why there is none."""
    try:
        return judge(image)
    except ImgsecError as error:
        return ImageReport(image, because(error.reason))


MakeJudge = Callable[[], Judge]


def spread(
    images: Sequence[ImageReference], makers: Sequence[MakeJudge]
) -> Generator[tuple[int, ImageReport]]:
    """Each image's number and report as it is done, by one process for each judge that is made.

    makers: called in the process, so that no connection is shared. A process keeps the time limit
    itself, a little earlier, so that what it has found by then is known.
    """
    from imgsec.adapters.workers import in_workers

    made: list[Judge] = []
    left = seconds_left()
    end = None if left is None else time.monotonic() + left - min(_LAST_SECONDS, left / 4)

    def work(worker: int, image: ImageReference) -> ImageReport:
        if not made:
            made.append(makers[worker]())
        judge, report = made[0], None
        try:
            if end is not None:
                set_deadline(max(end - time.monotonic(), _AT_ONCE))
            report = judge_safely(judge, image)
            lift_deadline()
        except DeadlineReached:
            return report or _late(judge)(image, TIMEOUT(_TIME_IS_UP))
        return report

    with closing(in_workers(len(makers), images, work)) as done:
        for number, report in done:
            if report is None:
                reason = TOOL_FAILED("the process that worked on it was ended")
                yield number, ImageReport(images[number], because(reason))
            else:
                yield number, report


Late = Callable[[ImageReference, Reason], ImageReport]


def _late(judge: object) -> Late:
    return judge.late if isinstance(judge, PatientJudge) else _undecided


def _in_turn(images: Sequence[ImageReference], judge: Judge) -> Generator[tuple[int, ImageReport]]:
    for number, image in enumerate(images):
        yield number, judge_safely(judge, image)


def _undecided(image: ImageReference, late: Reason) -> ImageReport:
    return ImageReport(image, because(late))


def judge_each(
    command: str,
    images: Sequence[ImageReference],
    judge: Judge | Sequence[MakeJudge],
    notes: Callable[[], tuple[Note, ...]],
    say: Callable[[str], None] = lambda _: None,
    late: Late | None = None,
) -> Answer:
    """One report for all; any refused image refuses, else any undecided one is undecided.

    When the time is up, what was judged stands, and the rest is undecided. notes: what the whole
    run must record, asked for at the end. The results name the first image only: a pipeline step
    that needs them has one. say: told of each of several as it is done. judge: several work side by
    side, each in a process of its own. late: the report of an image for which there was no time,
    where the judge does not say it itself.
    """
    late = late or _late(judge)
    parts: dict[int, ImageReport] = {}
    try:
        with closing(_in_turn(images, judge) if callable(judge) else spread(images, judge)) as done:
            for count, (number, part) in enumerate(done, start=1):
                parts[number] = part
                if len(images) > 1:
                    word = part.verdict.outcome.word
                    say(f"{word}: {images[number]} ({count} of {len(images)})")
        if not is_time_up():
            lift_deadline()  # what there is stands
    except DeadlineReached:
        pass  # what was done stands
    reason = TIMEOUT(_TIME_IS_UP)
    reports = [parts.get(number) or late(image, reason) for number, image in enumerate(images)]
    verdict = all_of(part.verdict for part in reports)
    verdict = replace(verdict, notes=tuple(dict.fromkeys([*verdict.notes, *notes()])))
    return Answer(Report(command, verdict, tuple(reports)), _results(reports[0]))


def _results(part: ImageReport) -> dict[str, str]:
    found = part.found
    if found is None or isinstance(found, PushedImage):  # the next step is not to build on that
        return {}
    results = {"digest": str(found.image.digest), "image": str(found.image)}
    if isinstance(found, SignedImage) and found.is_pushed:
        results["pushed-image"] = found.image.tagged_name
        results["pushed-digest"] = str(found.image.digest)
    return results


def workers_for(images: Sequence[ImageReference], asked: int | None) -> int:
    """How many processes work on the images; 1 for none besides this one."""
    if len(images) == 1:
        return 1
    from imgsec.adapters.workers import usual_workers

    return min(len(images), asked or usual_workers())
