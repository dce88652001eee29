# SPDX-License-Identifier: Apache-2.0
"""Several images: every one is told, and nothing works on when the run is over."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from imgsec.cli.judging import Judge, judge_each, workers_for
from imgsec.domain.reference import ImageReference
from imgsec.domain.report import ImageReport
from imgsec.domain.verdict import passed
from imgsec.errors import ImgsecError
from imgsec.reasons import IMAGE_NOT_FOUND

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


def test_one_image_needs_no_worker() -> None:
    assert workers_for(IMAGES[:1], 8) == 1
    assert workers_for(IMAGES, 8) == 6
    assert workers_for(IMAGES, 2) == 2
