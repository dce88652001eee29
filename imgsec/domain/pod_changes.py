# SPDX-License-Identifier: Apache-2.0
"""What an upgrade of the engine does to pods that nobody looked at before.

A template's image is rewritten to its digest. Engines up to 0.14.2 then let the pods of it in
unseen; the newest asks for a rule that names the digest, and for all that this rule demands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imgsec.domain.demand_effect import SIGNED
from imgsec.domain.engine_name import EngineName
from imgsec.domain.lint_demands import skips_children
from imgsec.domain.pattern_sets import SAMPLE_DIGEST, is_name, samples_of
from imgsec.domain.policy_diff import Meaning
from imgsec.domain.policy_rules import Demand
from imgsec.domain.reference import shown
from imgsec.domain.resolution import Pools, RulePool

_EXACT = "matchExact"


@dataclass(frozen=True, slots=True)
class PodChange:
    """The pods of a template that are not decided as it is. why: in words."""

    image: str
    namespace: str
    why: str

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"pods of {shown(self.image)}{where} {self.why}"


def pods_that_change(
    before: Pools, after: Pools, images: Sequence[str], namespaces: Sequence[str]
) -> tuple[PodChange, ...]:
    """Where only one of both engines looks at pods; images: none for one of each rule."""
    if skips_children(before.cluster.engine) == skips_children(after.cluster.engine):
        return ()
    looks = before if skips_children(after.cluster.engine) else after
    found = []
    for namespace in namespaces:
        pool = looks.of_namespace(namespace)
        for image in dict.fromkeys(filter(is_name, images or _images_of(pool))):
            if why := _why(image, pool):
                found.append(PodChange(image, namespace, why))
    return tuple(found)


def _images_of(pool: RulePool) -> Iterator[str]:
    for rule in pool.rules:
        for image in samples_of(rule.repository):
            if "@" not in image and pool.resolve(image).rule is rule:
                yield image
                break


def _why(image: str, pool: RulePool) -> str:
    effect = Meaning(pool.resolve(image).rule).effect
    if effect is None or not effect.mutates or (effect.simple is None and effect.trust is None):
        return ""
    child = f"{EngineName.parse(image).repository}@{SAMPLE_DIGEST}"
    decides = Meaning(pool.resolve(child).rule)
    if decides.effect != effect:
        return f"get an image such as {shown(child)}, which is {decides}"
    return _other_answer(effect)


def _other_answer(effect: Demand) -> str:
    """Where the digest does not meet what the tag does."""
    if effect.trust is not None:
        return "get a digest, for which trust looks up the tag latest"
    requirements = effect.simple.requirements if effect.simple is not None else ()
    identities = (one.identity for one in requirements if one.kind == SIGNED)
    if any(one is not None and one.kind == _EXACT for one in identities):
        return f"get a digest, which {_EXACT} denies"
    return ""
