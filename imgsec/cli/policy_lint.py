# SPDX-License-Identifier: Apache-2.0
"""``imgsec policy lint``: is this policy what we mean?"""

from __future__ import annotations

from typing import Annotated

import typer

from imgsec.cli.options import TOOLS, own, shared, with_options
from imgsec.cli.output import Answer
from imgsec.config import Settings

_DAYS_MAX = 36_500  # ours; a hundred years

PathsArg = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH...",
        help="Files or folders of manifests, config.yaml; - is standard input.",
        show_default=False,
    ),
]
EngineOpt = Annotated[
    str,
    shared(
        "--engine",
        metavar="VERSION",
        panel="Options",
        help="The engine that reads the policies: 0.13.38, 0.14.1, 0.14.2, 0.14.3 or cise.",
    ),
]
StrictOpt = Annotated[bool, own("policy-lint", "--strict", help="Refuse for warnings, too.")]
ImageOpt = Annotated[
    list[str] | None,
    own(
        "policy-lint",
        "--image",
        metavar="IMAGE",
        help="Say which rule decides about this image, spelled as in a workload. Repeatable.",
    ),
]
RequireSecretsOpt = Annotated[
    bool,
    own(
        "policy-lint",
        "--require-secrets",
        help="Refuse policies that name a Secret which is not among the files.",
    ),
]
ExpiringOpt = Annotated[
    int,
    own(
        "policy-lint",
        "--expiring",
        metavar="DAYS",
        min=0,
        max=_DAYS_MAX,
        help="Tell of keys that end within so many days.",
    ),
]


@with_options(TOOLS, formats=("sarif", "junit", "markdown"), title="policy lint")
def policy_lint(
    paths: PathsArg,
    *,
    engine: EngineOpt = "0.14.3",
    strict: StrictOpt = False,
    image: ImageOpt = None,
    require_secrets: RequireSecretsOpt = False,
    expiring: ExpiringOpt = 30,
    settings: Settings,
) -> Answer:
    """Refuse policies that stop too much or protect nothing.

    Fields that the cluster drops, rules that never decide, names that foreign images meet, keys
    that the engine cannot read, and more; with the image that proves it. Needs no cluster.

    Example: imgsec policy lint policies/

    Example: imgsec policy lint policies/ --engine 0.14.1 --strict --output sarif=lint.sarif

    Example: imgsec policy lint policy.yaml --image icr.io/team/app:1.0
    """
    from datetime import timedelta

    from imgsec.domain.engines import Engine
    from imgsec.domain.report import Report
    from imgsec.operations.lint_policies import LintRules, lint_policies
    from imgsec.wiring import wire

    rules = LintRules(
        Engine.parse(engine), strict, require_secrets, timedelta(days=expiring), tuple(image or ())
    )
    with wire(settings) as world:
        lint, verdict = lint_policies(
            world.manifests(paths, configs=True),
            rules,
            open_keyring=lambda: world.keyring,
            now=world.clock.now(),
        )
    return Answer(Report("policy lint", verdict, lint=lint))
