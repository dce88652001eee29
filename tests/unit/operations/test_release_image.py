# SPDX-License-Identifier: Apache-2.0
"""A release: one step after the other, none after one that did not pass, and all of them told."""

from __future__ import annotations

import pytest

from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.report import ImageReport, ResolvedImage
from imgsec.domain.verdict import because, passed
from imgsec.errors import ImgsecError
from imgsec.operations.release_image import Release, Step
from imgsec.reasons import FINDING_IN_FORCE, KEY_NOT_FOUND, SCAN_TIMEOUT, TIMEOUT, Reason
from tests.unit.operations.fakes import FakeRegistry
from tests.unit.refusals import refused

NAME = "r.example/team/app:1"
TARGET = ImageReference.parse("r.example/prod/app:2").at(Digest.of(b"there"))
NAMES = ("gate", "sign", "verify")
LATE = TIMEOUT("the time is up")


class Works:
    """Steps that pass, but for those that are told not to; what each of them got."""

    def __init__(self, **ends: Reason | ImgsecError | None) -> None:
        self.got: dict[str, ImageReference] = {}
        self._ends = ends

    def steps(self) -> tuple[Step, ...]:
        return tuple(Step(name, lambda image, name=name: self._take(name, image)) for name in NAMES)

    def _take(self, name: str, image: ImageReference) -> ImageReport:
        self.got[name] = image
        end = self._ends.get(name)
        if isinstance(end, ImgsecError):
            raise end
        if end is not None:
            return ImageReport(image, because(end))
        found = ResolvedImage(TARGET, "x", is_index=False, platforms=()) if name == "sign" else None
        return ImageReport(image, passed(), found)


def pushed() -> FakeRegistry:
    registry = FakeRegistry()
    registry.push(NAME)
    return registry


def outcomes(report: ImageReport) -> dict[str, str]:
    return {name: step.verdict.outcome.word for name, step in report.steps}


def test_each_step_gets_what_the_one_before_left() -> None:
    works, registry = Works(), pushed()
    report = Release(ImageReference.parse(NAME), works.steps(), registry).run()
    assert report.verdict.passed
    assert outcomes(report) == dict.fromkeys(NAMES, "pass")
    digest = registry.fetch_manifest(ImageReference.parse(NAME)).digest
    assert works.got["gate"] == works.got["sign"] == ImageReference.parse(NAME).at(digest)
    assert works.got["verify"] == TARGET, "verified is what was signed, wherever it is"
    assert report.found is not None
    assert report.found.image == TARGET


@pytest.mark.parametrize(
    ("name", "end", "word"),
    [
        ("gate", FINDING_IN_FORCE("x"), "refused"),
        ("gate", SCAN_TIMEOUT("x"), "undecided"),
        ("gate", ImgsecError(SCAN_TIMEOUT("x")), "undecided"),
        ("sign", ImgsecError(KEY_NOT_FOUND("x")), "undecided"),
        ("verify", FINDING_IN_FORCE("x"), "refused"),
    ],
)
def test_first_step_that_does_not_pass_is_the_last(
    name: str, end: Reason | ImgsecError, word: str
) -> None:
    works = Works(**{name: end})
    report = Release(ImageReference.parse(NAME), works.steps(), pushed()).run()
    assert report.verdict.outcome.word == word
    before = NAMES[: NAMES.index(name)]
    assert outcomes(report) == {**dict.fromkeys(before, "pass"), name: word}
    assert set(works.got) == {*before, name}


def test_tag_that_names_something_else_is_not_released() -> None:
    works = Works()
    image = ImageReference.parse(NAME).at(Digest.of(b"other"))
    registry = pushed()
    registry.names[image.canonical_name] = b"{}"
    with refused("digest-drift"):
        Release(image, works.steps(), registry).run()
    assert works.got == {}


class Interrupted(BaseException):
    """The time is up."""


@pytest.mark.parametrize("name", NAMES)
def test_when_the_time_is_up_the_steps_until_then_are_told(name: str) -> None:
    works = Works()

    def hang(_: ImageReference) -> ImageReport:
        raise Interrupted

    def late(image: ImageReference, why: Reason) -> ImageReport:
        return ImageReport(image, because(FINDING_IN_FORCE("found by then"), why))

    steps = [Step(name, hang, late) if one.name == name else one for one in works.steps()]
    release = Release(ImageReference.parse(NAME), steps, pushed())
    with pytest.raises(Interrupted):
        release.run()
    report = release.late(LATE)
    before = NAMES[: NAMES.index(name)]
    assert outcomes(report) == {**dict.fromkeys(before, "pass"), name: "refused"}
    assert {reason.code for reason in report.verdict.reasons} == {"finding-in-force", "timeout"}
    assert report.asked == ImageReference.parse(NAME)


@pytest.mark.parametrize("end", [None, FINDING_IN_FORCE("x")])
def test_release_that_is_over_is_not_late(end: Reason | None) -> None:
    release = Release(ImageReference.parse(NAME), Works(gate=end).steps(), pushed())
    assert release.run() == release.late(LATE)


def test_nothing_is_told_of_a_release_that_did_not_begin() -> None:
    report = Release(ImageReference.parse(NAME), Works().steps(), FakeRegistry()).late(LATE)
    assert (report.steps, [one.code for one in report.verdict.reasons]) == ((), ["timeout"])
