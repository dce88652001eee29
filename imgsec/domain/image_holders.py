# SPDX-License-Identifier: Apache-2.0
"""Objects that run nothing by themselves, and name the images of pods that others make of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from imgsec.domain.workload import EVERY_CONTAINER_TYPE


def names_images(document: Mapping[str, Any]) -> bool:
    """Whether an object that is no workload names images that others make pods of: where containers
    stand, wherever that is, and in the spec of a custom resource.
    """
    group = str(document.get("apiVersion", "")).rpartition("/")[0]
    is_custom = "." in group and not group.endswith(".k8s.io")
    if is_custom and any(map(_names_image, _objects_in(document.get("spec")))):
        return True
    return any(
        isinstance(one.get(kind), list)
        and any(isinstance(container, dict) and _names_image(container) for container in one[kind])
        for one in _objects_in(document)
        for kind in EVERY_CONTAINER_TYPE
    )


def _names_image(holder: Mapping[str, Any]) -> bool:
    image = holder.get("image")
    return isinstance(image, str) and bool(image)


def _objects_in(value: Any) -> Iterator[dict[str, Any]]:
    """It, if it is one, and all below it."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
