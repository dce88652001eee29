# SPDX-License-Identifier: Apache-2.0
"""What is unwise about a workload, whatever an engine decides about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from imgsec.domain.engine_name import EngineName, Panic
from imgsec.domain.pull_secrets import PullCredential, UnusableSecret
from imgsec.domain.reference import shown
from imgsec.domain.verdict import Note
from imgsec.domain.workload import Workload


def hygiene_of(
    workload: Workload,
    secrets: Iterable[PullCredential | UnusableSecret],
    *,
    is_verified: bool,
    are_all: bool = True,
) -> Iterator[Note]:
    """is_verified: whether a rule makes the engine read one of its images. are_all: nothing was in
    the way of reading its secrets.
    """
    found = list(secrets)
    if is_verified and are_all and not found:
        text = "it has no imagePullSecrets, so that the engine asks registries anonymously only"
        yield Note("no-pull-secrets", text)
    for one in found:
        if isinstance(one, UnusableSecret):
            yield Note("pull-secret-unusable", f"the engine passes a pull secret over: {one.why}")
    images = dict.fromkeys(one.image for one in workload.pod.containers if one.image.strip())
    if tagged := [shown(image) for image in images if "@" not in image]:
        text = f"by a tag, another image can be pulled than was judged: {', '.join(tagged)}"
        yield Note("mutable-tag", text)
    if short := [shown(image) for image in images if not _names_host(image)]:
        text = f"rules that name a registry are not met by names without one: {', '.join(short)}"
        yield Note("short-name", text)


def _names_host(image: str) -> bool:
    try:
        name = EngineName.parse(image)
    except (ValueError, Panic):
        return True  # told otherwise
    return image.startswith((name.domain, "index.docker.io"))
