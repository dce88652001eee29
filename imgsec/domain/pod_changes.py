# SPDX-License-Identifier: Apache-2.0
"""What an upgrade of the engine does to pods that nobody looked at before.

A template's image is rewritten to its digest. Engines up to 0.14.2 then let the pods of it in
unseen; the newest asks for a rule that names the digest, and for all that this rule demands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imgsec.domain.lint_demands import skips_children
from imgsec.domain.pattern_sets import is_name
from imgsec.domain.pod_samples import PodSearch, Template
from imgsec.domain.reference import shown
from imgsec.domain.resolution import Pools


@dataclass(frozen=True, slots=True)
class PodChange:
    """The pods of a template that are not decided as it is. why: in words."""

    image: str
    namespace: str
    why: str

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"pods of {shown(self.image)}{where} {self.why}"


@dataclass(frozen=True, slots=True)
class PodChanges:
    """left_out: whether there was more to compare than anybody waits for."""

    found: tuple[PodChange, ...] = ()
    left_out: bool = False


def pods_that_change(
    before: Pools, after: Pools, images: Sequence[str], namespaces: Sequence[str]
) -> PodChanges:
    """Where only one of both engines looks at pods; images: none for one of each rule."""
    if skips_children(before.cluster.engine) == skips_children(after.cluster.engine):
        return PodChanges()
    looks = before if skips_children(after.cluster.engine) else after
    found: dict[PodChange, None] = {}
    search = PodSearch()
    for namespace in dict.fromkeys(namespaces):
        template = Template(looks.of_namespace(namespace), namespace)
        if images:
            told = [(image, template.why_changed(image)) for image in images if is_name(image)]
        else:
            told = list(search.changes(template))
        for image, why in told:
            if why:
                found.setdefault(PodChange(image, namespace, why))
    return PodChanges(tuple(found), search.left_out)
