# SPDX-License-Identifier: Apache-2.0
"""``imgsec publish-policy``: is the cluster told what to enforce?"""

from __future__ import annotations

from typing import Annotated

import typer

from imgsec.cli.intents import (
    AdvisorSwitchOpt,
    Asked,
    ClusterDomainOpt,
    ForOpt,
    IntentOpt,
    PlatformOpt,
    PolicyFileOpt,
    SetOpt,
    TrustOpt,
    flip_switches,
    publish_intents,
    target_of,
)
from imgsec.cli.options import (
    ADVISOR,
    CLUSTER,
    IAM,
    NETWORK,
    REGISTRY,
    TOOLS,
    RenderOpt,
    from_shared_variables,
    loosening,
    own,
    with_options,
)
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
    RepositoriesOpt,
    UncheckedOpt,
    policy_of,
)
from imgsec.cli.predicting import PREDICTION, PredictionOptions
from imgsec.cli.publishing import Destination
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


PruneOpt = Annotated[
    list[str] | None,
    loosening(
        "--prune",
        metavar="NAME",
        panel="Policy",
        help="Remove a policy of imgsec's that this run does not make: NAME, NAMESPACE/NAME, or '*'"
        " for all that it made. Repeatable, recorded.",
    ),
]
AcceptLaxerOpt = Annotated[
    bool,
    loosening(
        "--accept-laxer",
        panel="Policy",
        help="With --apply: also if other rules of the cluster let in what these check. Recorded.",
    ),
]
AcceptLockoutOpt = Annotated[
    bool,
    loosening(
        "--accept-lockout",
        panel="Policy",
        help="With --apply: also if pods that run now would be denied. Recorded.",
    ),
]


@with_options(CLUSTER, TOOLS, IAM, ADVISOR, REGISTRY, NETWORK, PREDICTION, results=("verdict",))
def publish_policy(
    invoked: typer.Context,
    *,
    repository: RepositoriesOpt = None,
    allow_unchecked: UncheckedOpt = None,
    intent: IntentOpt = None,
    target: ForOpt = "portieris",
    sets: SetOpt = None,
    allow_platform: PlatformOpt = None,
    cluster_domain: ClusterDomainOpt = None,
    policy: PolicyFileOpt = None,
    trust: TrustOpt = None,
    va: AdvisorSwitchOpt = None,
    namespace: NamespaceOpt = None,
    policy_name: PolicyNameOpt = DEFAULT_POLICY_NAME,
    key_secret: KeySecretOpt = DEFAULT_KEY_SECRET,
    key_secret_namespace: KeyNamespaceOpt = DEFAULT_KEY_NAMESPACE,
    mutate_image: MutateOpt = True,
    render: RenderOpt = None,
    apply: ApplyOpt = False,
    dry_run: DryRunOpt = False,
    adopt: AdoptOpt = False,
    accept_lockout: AcceptLockoutOpt = False,
    accept_laxer: AcceptLaxerOpt = False,
    pruned: PruneOpt = None,
    prediction: PredictionOptions,
    settings: Settings,
) -> Answer:
    """Tell the cluster which images must be signed: render policies, or apply them.

    What is meant stands in an intent file, or in --repository and --allow-unchecked. Portieris
    denies what no rule names, so a ClusterImagePolicy with one repository stops every other image.

    In GitOps say mutateImage: false (--no-mutate-image): else the cluster runs a digest where your
    repository has a tag, and what synchronises the two sees a difference for ever.

    Before anything is applied, the pods that run and whose rule changes are judged as the cluster's
    engine will judge them; if one would be denied, nothing is applied. Nor is it where the engine
    could not read the keys, or where another rule of the cluster lets in what these would check.

    A policy that left the intent stays where it is, enforced; that is told, and --prune removes it.

    Example: imgsec publish-policy --repository 'us.icr.io/team/*' --render policies/

    Example: imgsec publish-policy --intent imgsec-policy.yaml --allow-platform iks --render out/

    Example: imgsec publish-policy --policy cise.yaml --trust on --va off --render out/
    """
    from dataclasses import replace

    from imgsec.domain.left_behind import Pruning
    from imgsec.errors import ImgsecError
    from imgsec.operations.apply_policies import Terms
    from imgsec.reasons import INVALID_OPTION
    from imgsec.wiring import wire

    shared = from_shared_variables(invoked, _COMMAND)
    if apply and "--render" in shared:
        render = None
    if (render is None) is not apply or (dry_run and not apply):
        raise ImgsecError(INVALID_OPTION("give either --render DIR or --apply [--dry-run]"))
    described = {
        "--repository": bool(repository),
        "--allow-unchecked": bool(allow_unchecked),
        "--namespace": namespace is not None,
        "--policy-name": policy_name != DEFAULT_POLICY_NAME,
        "--key-secret": key_secret != DEFAULT_KEY_SECRET,
        "--key-secret-namespace": key_secret_namespace != DEFAULT_KEY_NAMESPACE,
        "--no-mutate-image": not mutate_image,
    }
    described = {name: is_given and name not in shared for name, is_given in described.items()}
    asked = {
        "--intent": intent is not None,
        "--for": target != "portieris",
        "--engine": prediction.engine is not None and not apply and "--engine" not in shared,
        "--set": bool(sets),
        "--allow-platform": bool(allow_platform),
        "--cluster-domain": cluster_domain is not None,
    }
    if policy is not None:
        _refuse_with("--policy", described | asked | {"--prune": bool(pruned)})
        if render is None:
            raise ImgsecError(INVALID_OPTION("--policy gives a file: say --render DIR"))
        with wire(settings) as world:
            return flip_switches(policy, trust, va, world, render=render, adopt=adopt)
    _refuse_with("no --policy", {"--trust": trust is not None, "--va": va is not None})
    if intent is not None and "--repository" in shared:
        repository = None
    if target != "portieris" and "--engine" in shared:
        prediction = replace(prediction, engine=None)
    if intent is not None or not repository:
        _refuse_with("--intent" if intent else "no --repository", described)
        if intent is None and not sets:
            raise ImgsecError(INVALID_OPTION("give --repository, --intent FILE or --set NAME"))
    described_policy = None
    if repository:
        described_policy = policy_of(
            repository=repository,
            allow_unchecked=allow_unchecked,
            policy_name=policy_name,
            key_secret=key_secret,
            key_secret_namespace=key_secret_namespace,
            mutate_image=mutate_image,
            namespace=namespace,
        )
    wanted = target_of(target)
    destination = Destination(
        render,
        dry_run,
        Terms(
            lockout=accept_lockout,
            laxer=accept_laxer,
            adopt=adopt,
            pruning=Pruning.parse(pruned or ()),
        ),
    )
    with wire(settings) as world:
        return publish_intents(
            Asked(
                wanted,
                prediction,
                intent,
                described_policy,
                tuple(sets or ()),
                tuple(allow_platform or ()),
                cluster_domain,
            ),
            world,
            destination,
        )


def _refuse_with(what: str, given: dict[str, bool]) -> None:
    """Raises `ImgsecError` (invalid-option) for an option that would be passed over."""
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    if named := [name for name, is_given in given.items() if is_given]:
        raise ImgsecError(INVALID_OPTION(f"{', '.join(named)} cannot go with {what}"))
