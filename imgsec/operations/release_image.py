# SPDX-License-Identifier: Apache-2.0
"""A release: resolve once, gate that digest, sign it, verify it; each step only after the last.

The digest is what goes through all of it. What is refused, or cannot be decided, is not signed, and
nothing is copied to where it would be deployed from; the signing key is not even asked for.
"""

from __future__ import annotations

from collections.abc import Callable

from imgsec.domain.reference import ImageReference
from imgsec.domain.report import ImageReport
from imgsec.domain.verdict import all_of, because
from imgsec.errors import ImgsecError
from imgsec.operations.resolve import require_same_digest
from imgsec.ports import ManifestReader

Step = Callable[[ImageReference], ImageReport]


def release_image(
    image: ImageReference, *, registry: ManifestReader, gate: Step, sign: Step, verify: Step
) -> ImageReport:
    """One verdict with all parts; what was found is what was signed.

    gate, sign: get the image with its digest, sign gives the one that was signed, wherever it is;
    verify: gets that one. Raises `ImgsecError` (tag-required, digest-drift) and what the ports
    raise.
    """
    if image.is_canonical:
        require_same_digest(image, registry)
    subject = image.at(registry.fetch_manifest(image.require_version()).digest)
    steps: list[tuple[str, ImageReport]] = []
    for name, step in (("gate", gate), ("sign", sign), ("verify", verify)):
        report = _taken(step, subject)
        steps.append((name, report))
        if not report.verdict.passed:
            break
        if report.found is not None:
            subject = report.found.image
    signed = next((one.found for name, one in steps if name == "sign"), None)
    verdict = all_of(one.verdict for _, one in steps)
    answers = tuple(answer for _, one in steps for answer in one.answers)
    return ImageReport(image, verdict, signed, answers, tuple(steps))


def _taken(step: Step, image: ImageReference) -> ImageReport:
    """The step's report, or the reason why there is none."""
    try:
        return step(image)
    except ImgsecError as error:
        return ImageReport(image, because(error.reason))
