# SPDX-License-Identifier: Apache-2.0
"""``imgsec policy import``: older policies, taken over, and what changes in meaning."""

from __future__ import annotations

from typing import Annotated

import typer

from imgsec.cli.options import RenderOpt, own, shared, with_options
from imgsec.cli.output import Answer
from imgsec.cli.policies import AdoptOpt
from imgsec.config import Settings

_COMMAND = "policy-import"
_FORMS = ("portieris", "intent")

FilesArg = Annotated[
    list[str],
    typer.Argument(metavar="FILE...", help="Manifests, folders, config.yaml, or - for a pipe."),
]
ToOpt = Annotated[
    list[str] | None,
    own(
        _COMMAND,
        "--to",
        metavar="FORM",
        rich_help_panel="Policy",
        help="portieris (documents of its v1, by default), or intent. Repeatable.",
    ),
]
FromOpt = Annotated[
    str | None,
    own(
        _COMMAND,
        "--from",
        metavar="VERSION",
        rich_help_panel="Policy",
        help="The engine until now: cise, or a version of Portieris (0.5 to 0.9 for the older API)."
        " By default the older API's: cise, or 0.9 where a rule has what cise never read; for the"
        " newer one the same as --engine.",
    ),
]
EngineOpt = Annotated[
    str | None,
    shared(
        "--engine",
        metavar="VERSION",
        panel="Policy",
        help="The Portieris from now on: 0.13.38, 0.14.1, 0.14.2 or 0.14.3. By default the newest.",
    ),
]
NamespaceOpt = Annotated[
    str | None,
    own(
        _COMMAND,
        "--namespace",
        metavar="NAMESPACE",
        help="For ImagePolicies whose manifest names none.",
    ),
]


@with_options(title="policy import")
def policy_import(
    files: FilesArg,
    *,
    to: ToOpt = None,
    before: FromOpt = None,
    engine: EngineOpt = None,
    namespace: NamespaceOpt = None,
    render: RenderOpt = None,
    adopt: AdoptOpt = False,
    settings: Settings,
) -> Answer:
    """Take older policies over, and tell what changes in meaning, with an image for each change.

    Policies of both APIs, and the list in a config.yaml, become documents of Portieris's v1, an
    intent file, or both. What cannot be taken over is refused. Without --render nothing is written.

    Example: imgsec policy import cise.yaml --render policies/

    Example: imgsec policy import config.yaml --to intent --render .
    """
    from imgsec.domain.engines import NEWEST, Engine
    from imgsec.domain.policy import Namespace
    from imgsec.domain.policy_import.earlier import EarlierEngine
    from imgsec.domain.reference import shown
    from imgsec.domain.report import Change, Report
    from imgsec.domain.verdict import Note, because, passed
    from imgsec.errors import ImgsecError
    from imgsec.operations.import_policy import ImportRules, import_policies
    from imgsec.ports import ObjectId
    from imgsec.reasons import INVALID_OPTION
    from imgsec.wiring import wire

    forms = tuple(dict.fromkeys(to or _FORMS[:1]))
    for word in (word for word in forms if word not in _FORMS):
        raise ImgsecError(INVALID_OPTION(f"--to {shown(word)}: give {' or '.join(_FORMS)}"))
    after = Engine.parse(engine) if engine is not None else NEWEST
    if after.is_cise:
        raise ImgsecError(INVALID_OPTION("--engine is the version of Portieris from now on"))
    with wire(settings) as world:
        rules = ImportRules(
            EarlierEngine.parse(before) if before is not None else None,
            after,
            str(Namespace.parse(namespace)) if namespace is not None else "",
            "intent" in forms,
            world.clock.now().date(),
        )
        made = import_policies(world.policy_sources(files), rules)
        if made.reasons:
            return Answer(Report("policy import", because(*made.reasons, notes=made.notes)))
        changes: list[Change] = []
        notes = list(made.notes)
        if render is None:
            notes.append(Note("nothing-written", "say --render DIR to have it written"))
        else:
            documents = made.documents if "portieris" in forms else ()
            sink = world.folder_sink(render)
            names = [
                ObjectId(one["kind"], one["metadata"]["name"], one["metadata"].get("namespace"))
                for one in documents
            ]
            sink.require_ready(*names, adopt=adopt)
            if rules.as_intent:
                changes.append(world.intent_file(render, made.intents, adopt=adopt))
            changes += [sink.publish(one, adopt=adopt) for one in documents]
    return Answer(Report("policy import", passed(*notes), changes=tuple(changes)))
