# SPDX-License-Identifier: Apache-2.0
"""``imgsec scan-gate``: may this digest go out?"""

from __future__ import annotations

from typing import Annotated

from imgsec.cli.options import (
    ADVISOR,
    IAM,
    NETWORK,
    REGISTRY,
    ImagesArg,
    images_file_option,
    with_options,
)
from imgsec.cli.output import Answer, Outputs, progress
from imgsec.config import Settings

# The gate ends by itself, with what it saw last, before the whole command does: the last question
# may take this long with its repeats.
_MARGIN_SECONDS = 15

ImagesFileOpt = Annotated[str | None, images_file_option("scan-gate")]


@with_options(
    IAM, ADVISOR, REGISTRY, NETWORK, results=("digest", "image", "scan-status", "verdict")
)
def scan_gate(
    images: ImagesArg = None,
    *,
    images_file: ImagesFileOpt = None,
    settings: Settings,
    outputs: Outputs,
) -> Answer:
    """May IMAGE go out? Asks Vulnerability Advisor for its digest and judges the findings.

    Waits, within --timeout, while the scan is not finished. Every finding in force refuses; an
    image that nobody could assess is undecided, never passed.

    Example: imgsec scan-gate us.icr.io/team/app:1.0 --timeout 300
    """
    from imgsec.cli.images import judge_each, named_images
    from imgsec.domain.report import ScannedImage
    from imgsec.operations import scan_gate as operation
    from imgsec.wiring import wire

    references = [image.require_version() for image in named_images(images, images_file)]
    with wire(settings) as world:
        patience = settings.timeout - min(_MARGIN_SECONDS, settings.timeout / 2)
        deadline = world.clock.monotonic() + patience
        answer = judge_each(
            "scan-gate",
            references,
            lambda image: operation.scan_gate(
                image,
                registry=world.registry,
                scanner=world.scanner,
                clock=world.clock,
                wait_seconds=deadline - world.clock.monotonic(),
                progress=progress(outputs),
            ),
            world.notes,
            progress(outputs),
        )
    found = answer.report.images[0].found
    if isinstance(found, ScannedImage):
        words = ",".join(dict.fromkeys(str(scan.status) for _, scan in found.scans))
        return Answer(answer.report, {**answer.results, "scan-status": words})
    return answer
