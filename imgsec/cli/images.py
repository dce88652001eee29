# SPDX-License-Identifier: Apache-2.0
"""``imgsec images``: what does a registry hold, and what does the advisor say of it?"""

from __future__ import annotations

from typing import Annotated

import typer

from imgsec.cli.options import ADVISOR, IAM, NETWORK, own, with_options
from imgsec.cli.output import Answer, Outputs, progress
from imgsec.config import Settings
from imgsec.domain.image_list import GroupKind

# The advisor is asked until then, so that what it said before is still shown.
_MARGIN_SECONDS = 15
_OUTPUT = "Output"

ScopeArg = Annotated[
    str,
    typer.Argument(
        metavar="HOST[/NAMESPACE[/REPOSITORY]]",
        help="The registry, narrowed to a namespace or repository. There is no default region.",
    ),
]
UntaggedOpt = Annotated[
    bool, own("images", "--include-untagged", help="Digests without a tag, too.")
]
IbmOpt = Annotated[bool, own("images", "--include-ibm", help="IBM's public images, too.")]
ByOpt = Annotated[
    GroupKind | None,
    own(
        "images",
        "--by",
        rich_help_panel=_OUTPUT,
        help="Sum up by this, with a policy status for each.",
    ),
]
NoTruncOpt = Annotated[
    bool, own("images", "--no-trunc", rich_help_panel=_OUTPUT, help="Show digests whole.")
]


@with_options(IAM, ADVISOR, NETWORK, results=("verdict",), formats=("markdown",))
def images(
    scope: ScopeArg,
    *,
    include_untagged: UntaggedOpt = False,
    include_ibm: IbmOpt = False,
    by: ByOpt = None,
    no_trunc: NoTruncOpt = False,
    settings: Settings,
    outputs: Outputs,
) -> Answer:
    """What does a registry hold, and what does Vulnerability Advisor say of each image?

    Lists, and judges nothing: it ends in 0 when the list is complete, with issues or without. A
    status that could not be asked for, and a list without an image, is undecided.

    Example: imgsec images us.icr.io/team

    Example: imgsec images us.icr.io --by namespace --output json
    """
    from imgsec.domain.image_list import ImageListing
    from imgsec.domain.reference import RegistryScope
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import all_of, passed
    from imgsec.operations.list_images import ListRequest, TimeLimit, list_images
    from imgsec.wiring import wire

    request = ListRequest(RegistryScope.parse(scope), include_untagged, include_ibm)
    with wire(settings) as world:
        time = settings.timeout - min(_MARGIN_SECONDS, settings.timeout / 2)
        limit = TimeLimit(world.clock, world.clock.monotonic() + time, progress(outputs))
        rows, verdict = list_images(
            request, registry=world.image_lister, advisor=world.summaries, limit=limit
        )
        verdict = all_of([verdict, passed(*world.notes())])
    listing = ImageListing(str(request.scope), rows, by, no_trunc)
    return Answer(Report("images", verdict, listing=listing))
