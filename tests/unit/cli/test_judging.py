# SPDX-License-Identifier: Apache-2.0
"""Several images: every one is told, and nothing works on when the run is over."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imgsec.cli.judging import Judge, PatientJudge, judge_each, workers_for
from imgsec.domain.reference import ImageReference
from imgsec.domain.report import ImageReport
from imgsec.domain.verdict import because, passed
from imgsec.errors import ImgsecError
from imgsec.reasons import FINDING_IN_FORCE, IMAGE_NOT_FOUND, Reason
from tests.support import ROOT

IMAGES = [ImageReference.parse(f"r.example/app:{number}") for number in range(6)]


def test_reports_stand_in_the_order_of_the_images() -> None:
    def make() -> Judge:
        def judge(image: ImageReference) -> ImageReport:
            if image.tag == "3":
                raise ImgsecError(IMAGE_NOT_FOUND("gone"))
            return ImageReport(image, passed())

        return judge

    said: list[str] = []
    answer = judge_each("sign-image", IMAGES, [make, make], lambda: (), said.append)
    assert [part.asked for part in answer.report.images] == IMAGES
    outcomes = [part.verdict.passed for part in answer.report.images]
    assert outcomes == [True, True, True, False, True, True]
    assert len(said) == 6
    assert said[-1].endswith("(6 of 6)")


def test_who_cannot_say_it_any_more_leaves_no_worker_behind(tmp_path: Path) -> None:
    def make() -> Judge:
        (tmp_path / str(os.getpid())).touch()

        def judge(image: ImageReference) -> ImageReport:
            time.sleep(60 * (image != IMAGES[0]))
            return ImageReport(image, passed())

        return judge

    def say(_: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        judge_each("sign-image", IMAGES, [make, make], lambda: (), say)
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


class Slow(PatientJudge):
    """Takes too long over one image, and knows what it has found until then."""

    def __call__(self, image: ImageReference) -> ImageReport:
        time.sleep(60 * (image == IMAGES[0]))
        return ImageReport(image, passed())

    def late(self, image: ImageReference, why: Reason) -> ImageReport:
        found = (FINDING_IN_FORCE("found by then"),) if image == IMAGES[0] else ()
        return ImageReport(image, because(*found, why))


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_judge_has_found_when_the_time_is_up_is_told(workers: int) -> None:
    """In a process of its own: the time limit belongs to the whole process."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from imgsec.cli.judging import judge_each
from imgsec.cli.lifetime import set_deadline
from tests.unit.cli.test_judging import IMAGES, Slow
set_deadline(2)
judges = [Slow] * {workers} if {workers} > 1 else Slow()
answer = judge_each("scan-gate", IMAGES[:2], judges, lambda: ())
for part in answer.report.images:
    print(part.verdict.outcome.word, *(reason.code for reason in part.verdict.reasons))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    second = "pass" if workers > 1 else "undecided timeout"
    assert done.stdout.splitlines() == ["refused finding-in-force timeout", second], done.stderr


def test_one_image_needs_no_worker() -> None:
    assert workers_for(IMAGES[:1], 8) == 1
    assert workers_for(IMAGES, 8) == 6
    assert workers_for(IMAGES, 2) == 2
