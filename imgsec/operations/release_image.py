# SPDX-License-Identifier: Apache-2.0
"""A release: resolve once, gate that digest, sign it, verify it; each step only after the last.

The digest is what goes through all of it. What is refused, or cannot be decided, is not signed, and
nothing is copied to where it would be deployed from; the signing key is not even asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imgsec.domain.reference import ImageReference
from imgsec.domain.report import ImageReport
from imgsec.domain.verdict import all_of, because
from imgsec.errors import ImgsecError
from imgsec.operations.resolve import require_same_digest
from imgsec.ports import ManifestReader
from imgsec.reasons import Reason


def _nothing_found(image: ImageReference, why: Reason) -> ImageReport:
    return ImageReport(image, because(why))


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a release.

    take: gets the image with its digest, as the step before left it, and gives what came of it.
    late: what there is to report of it when the time is up.
    """

    name: str
    take: Callable[[ImageReference], ImageReport]
    late: Callable[[ImageReference, Reason], ImageReport] = _nothing_found


class Release:
    """One release, step by step. What was done so far is known, however the run ends."""

    def __init__(
        self, image: ImageReference, steps: Sequence[Step], registry: ManifestReader
    ) -> None:
        self._image = image
        self._steps = steps
        self._registry = registry
        self._subject: ImageReference | None = None
        self._done: list[tuple[str, ImageReport]] = []

    def run(self) -> ImageReport:
        """One verdict with all parts; what was found is what was signed.

        Raises `ImgsecError` (tag-required, digest-drift) and what the registry raises.
        """
        image, registry = self._image, self._registry
        if image.is_canonical:
            require_same_digest(image, registry)
        subject = image.at(registry.fetch_manifest(image.require_version()).digest)
        for step in self._steps:
            self._subject = subject
            report = _taken(step, subject)
            self._done.append((step.name, report))
            if not report.verdict.passed:
                break
            if report.found is not None:
                subject = report.found.image
        return self._report()

    def late(self, why: Reason) -> ImageReport:
        """The report when the time is up, as far as the release came."""
        if self._subject is None:
            return _nothing_found(self._image, why)
        if len(self._done) == len(self._steps) or not all(
            report.verdict.passed for _, report in self._done
        ):
            return self._report()
        step = self._steps[len(self._done)]
        self._done.append((step.name, step.late(self._subject, why)))
        return self._report()

    def _report(self) -> ImageReport:
        parts = self._done
        signed = next((one.found for name, one in parts if name == "sign"), None)
        verdict = all_of(one.verdict for _, one in parts)
        answers = tuple(answer for _, one in parts for answer in one.answers)
        return ImageReport(self._image, verdict, signed, answers, tuple(parts))


def _taken(step: Step, image: ImageReference) -> ImageReport:
    """The step's report, or the reason why there is none."""
    try:
        return step.take(image)
    except ImgsecError as error:
        return ImageReport(image, because(error.reason))
