# SPDX-License-Identifier: Apache-2.0
"""``imgsec publish-policy``: is the cluster told what to enforce?"""

from __future__ import annotations

from typing import Annotated

from imgsec.cli.options import CLUSTER, TOOLS, RenderOpt, own, with_options
from imgsec.cli.output import Answer
from imgsec.cli.policies import (
    DEFAULT_KEY_NAMESPACE,
    DEFAULT_KEY_SECRET,
    DEFAULT_POLICY_NAME,
    AdoptOpt,
    KeyNamespaceOpt,
    KeySecretOpt,
    MutateOpt,
    PolicyNameOpt,
    RepositoryOpt,
    UncheckedOpt,
    policy_of,
)
from imgsec.config import Settings

_COMMAND = "publish-policy"
NamespaceOpt = Annotated[
    str | None,
    own(
        _COMMAND,
        "--namespace",
        metavar="NAMESPACE",
        help="Make an ImagePolicy for this namespace instead of a ClusterImagePolicy.",
    ),
]
ApplyOpt = Annotated[bool, own(_COMMAND, "--apply", help="Apply it to the cluster with kubectl.")]
DryRunOpt = Annotated[
    bool,
    own(
        _COMMAND,
        "--dry-run",
        help="Have the cluster check what --apply would do, and keep nothing.",
    ),
]


@with_options(CLUSTER, TOOLS, results=("verdict",))
def publish_policy(
    *,
    repository: RepositoryOpt,
    allow_unchecked: UncheckedOpt = None,
    namespace: NamespaceOpt = None,
    policy_name: PolicyNameOpt = DEFAULT_POLICY_NAME,
    key_secret: KeySecretOpt = DEFAULT_KEY_SECRET,
    key_secret_namespace: KeyNamespaceOpt = DEFAULT_KEY_NAMESPACE,
    mutate_image: MutateOpt = True,
    render: RenderOpt = None,
    apply: ApplyOpt = False,
    dry_run: DryRunOpt = False,
    adopt: AdoptOpt = False,
    settings: Settings,
) -> Answer:
    """Tell the cluster which images must be signed: render a Portieris policy, or apply it.

    Portieris denies what no rule names, so a ClusterImagePolicy with one repository stops every
    other image; name those that may run unsigned with --allow-unchecked.

    Example: imgsec publish-policy --repository 'us.icr.io/team/*' --render policies/
    """
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import Note, passed
    from imgsec.errors import ImgsecError
    from imgsec.operations import publish_policy as operation
    from imgsec.reasons import INVALID_OPTION
    from imgsec.wiring import wire

    if (render is None) is not apply or (dry_run and not apply):
        raise ImgsecError(INVALID_OPTION("give either --render DIR or --apply [--dry-run]"))
    policy = policy_of(
        repository=repository,
        allow_unchecked=allow_unchecked,
        policy_name=policy_name,
        key_secret=key_secret,
        key_secret_namespace=key_secret_namespace,
        mutate_image=mutate_image,
        namespace=namespace,
    )
    with wire(settings) as world:
        sink = world.folder_sink(render) if render else world.cluster(dry_run=dry_run)
        change = operation.publish_policy(policy, sink, adopt=adopt)
        notes = []
        if dry_run:
            notes.append(Note("dry-run", "the cluster checked the policy and kept nothing"))
        verdict = passed(*notes, *world.notes())
    return Answer(Report(_COMMAND, verdict, changes=(change,)))
