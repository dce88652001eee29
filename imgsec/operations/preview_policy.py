# SPDX-License-Identifier: Apache-2.0
"""Apply a policy, but say first which of the images that run now it would refuse.

A first look, by Portieris's own order of search: images that no rule names, and images that need
this key's signature and have none. What other rules demand (other keys, trust, the advisor) was
demanded before, and is not judged here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from imgsec.domain.engines import NEWEST
from imgsec.domain.keys import PublicKey
from imgsec.domain.kubernetes import policy_document
from imgsec.domain.policy import ImagePolicy, KeySecret
from imgsec.domain.policy_rules import POLICY_KINDS, Demand, Policy, Requirement
from imgsec.domain.reference import ImageReference, shown
from imgsec.domain.report import Change, RunningImage
from imgsec.domain.resolution import Pools
from imgsec.domain.verdict import Note, Verdict, all_of, because, passed
from imgsec.errors import ImgsecError
from imgsec.operations.publish_policy import publish_policy
from imgsec.operations.verify_digest import verify_digest
from imgsec.ports import ClusterReader, Keyring, ManifestSink, Registry
from imgsec.reasons import NO_RULE, RUNNING_IMAGES_REFUSED, Outcome

Verify = Callable[[ImageReference], Verdict]


@dataclass(frozen=True, slots=True)
class Enforcement:
    """What was said about the images that run, and what was applied if anything was."""

    running: tuple[RunningImage, ...]
    verdict: Verdict
    changes: tuple[Change, ...] = ()


def enforce_policy(
    policy: ImagePolicy,
    key: PublicKey,
    *,
    cluster: ClusterReader,
    sink: ManifestSink,
    registry: Registry,
    keyring: Keyring,
    now: datetime,
    accept_lockout: bool = False,
    adopt: bool = False,
) -> Enforcement:
    """Apply the policy, unless an image that runs would be refused or could not be judged.

    accept_lockout: apply it in any case. Raises `ImgsecError` as the ports do.
    """

    def verify(image: ImageReference) -> Verdict:
        return verify_digest(image, [key], registry, keyring, now=now).verdict

    running = preview_policy(policy, cluster, verify)
    bad = [one for one in running if not one.verdict.passed]
    if bad and not accept_lockout:
        worst = max(one.verdict.outcome for one in bad)
        reasons = all_of(one.verdict for one in bad).reasons
        if worst is Outcome.REFUSED:
            refused = [one for one in bad if one.verdict.outcome is Outcome.REFUSED]
            text = f"{len(refused)} of {len(running)} running images would be refused"
            reasons = (RUNNING_IMAGES_REFUSED(text), *reasons)
        return Enforcement(running, because(*reasons))
    return Enforcement(running, passed(), (publish_policy(policy, sink, adopt=adopt),))


def preview_policy(
    policy: ImagePolicy, cluster: ClusterReader, verify: Verify
) -> tuple[RunningImage, ...]:
    """A verdict for each image that runs where the cluster-wide policies count.

    verify: whether an image carries this policy's signature; asked once for each image text.
    """
    document = policy_document(policy)
    pools = _pools(cluster, document)
    running: dict[str, set[str]] = {}
    for namespace, image in cluster.list_running_images():
        if namespace not in pools.own:
            running.setdefault(image, set()).add(namespace)
    return tuple(
        RunningImage(image, tuple(sorted(namespaces)), _verdict(image, pools, policy, verify))
        for image, namespaces in sorted(running.items())
    )


def images_that_need(
    secrets: Collection[str], cluster: ClusterReader, verify: Verify
) -> tuple[RunningImage, ...]:
    """A verdict for each image that runs because a key in one of these Secrets signed it.

    secrets: as ``NAMESPACE/NAME``. The policies of a namespace count there instead of the
    cluster-wide ones.
    """
    pools = _pools(cluster)
    running: dict[str, set[str]] = {}
    for namespace, image in cluster.list_running_images():
        rule = pools.of_namespace(namespace).resolve(image).rule
        if rule is not None and not rule.demand.key_secrets(namespace).isdisjoint(secrets):
            running.setdefault(image, set()).add(namespace)
    return tuple(
        RunningImage(image, tuple(sorted(namespaces)), _verified(image, verify))
        for image, namespaces in sorted(running.items())
    )


def _verified(image: str, verify: Verify) -> Verdict:
    try:
        return verify(ImageReference.parse(image))
    except ImgsecError as error:
        return because(error.reason)


def _pools(cluster: ClusterReader, *new: dict[str, Any]) -> Pools:
    """The rules of the cluster, with these policies in place of those that it has.

    Raises `ImgsecError` (policy-malformed, policy-foreign).
    """
    replaced = {(one["kind"], one["metadata"]["name"]) for one in new}
    held = [
        one
        for kind in POLICY_KINDS
        for one in cluster.list_policies(kind)
        if (kind, one["metadata"]["name"]) not in replaced
    ]
    return Pools.of([Policy.read(one, where="the cluster") for one in (*held, *new)], NEWEST)


def _verdict(image: str, pools: Pools, policy: ImagePolicy, verify: Verify) -> Verdict:
    rule = pools.cluster.resolve(image).rule
    if rule is None:
        return because(NO_RULE(f"{shown(image)}: no rule of any ClusterImagePolicy names it"))
    if rule.demand.is_nothing:
        return passed()
    if not _is_met_by_key(rule.demand, policy.key_secret):
        return passed(Note("decided-elsewhere", f"{rule.owner} decides, before and after"))
    return _verified(image, verify)


def _is_met_by_key(demand: Demand, key: KeySecret) -> bool:
    """Whether one good signature by the key in this Secret is all that the rule demands."""
    if demand.trust is not None or demand.advisor is not None or demand.simple is None:
        return False
    wanted = Requirement("signedBy", str(key.name), str(key.namespace))
    return all(one == wanted for one in demand.simple.requirements)
