# SPDX-License-Identifier: Apache-2.0
"""``imgsec resolve``: which digest does this reference name now, and what is it?"""

from __future__ import annotations

from typing import Annotated

import typer

from imgsec.cli.options import NETWORK, REGISTRY, with_options
from imgsec.cli.output import Answer
from imgsec.config import Settings

ImageArg = Annotated[str, typer.Argument(metavar="IMAGE", help="registry/path:tag or @digest.")]


@with_options(REGISTRY, NETWORK, results=("digest", "image", "media-type", "platforms", "verdict"))
def resolve(image: ImageArg, *, settings: Settings) -> Answer:
    """Which digest does IMAGE name now, and what is it: an image or an index, for which platforms?

    Example: imgsec resolve us.icr.io/team/app:1.0 --output json
    """
    from imgsec.domain.reference import ImageReference
    from imgsec.domain.report import ImageReport, Report
    from imgsec.domain.verdict import passed
    from imgsec.operations.resolve import resolve_image
    from imgsec.wiring import wire

    reference = ImageReference.parse(image)
    with wire(settings) as world:
        found = resolve_image(reference, world.registry)
        verdict = passed(*world.notes())
    report = Report("resolve", verdict, (ImageReport(reference, verdict, found),))
    results = {
        "digest": str(found.image.digest),
        "image": str(found.image),
        "media-type": found.media_type,
        "platforms": ",".join(found.platforms),
    }
    return Answer(report, results)
