# SPDX-License-Identifier: Apache-2.0
"""What a manifest is: an image or an index, and the platforms and children that an index lists."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Self

from imgsec.domain.reference import Digest
from imgsec.errors import ImgsecError
from imgsec.reasons import ANSWER_MALFORMED

CHILDREN_MAX = 200  # ours; the largest public indexes list about 40
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


@dataclass(frozen=True, slots=True)
class Child:
    """A manifest that an index lists. platform: ``os/architecture[/variant]``."""

    digest: Digest
    platform: str

    @property
    def is_attestation(self) -> bool:
        """BuildKit lists provenance under the platform ``unknown/unknown``; it is never run."""
        return self.platform == "unknown/unknown"


@dataclass(frozen=True, slots=True)
class ManifestContent:
    """The children of an index; none for an image."""

    is_index: bool
    children: tuple[Child, ...] = ()

    @classmethod
    def parse(cls, content: bytes, media_type: str) -> Self:
        """Raises `ImgsecError` (answer-malformed)."""
        if media_type not in INDEX_TYPES:
            return cls(is_index=False)
        try:
            items = json.loads(content)["manifests"]
            if not isinstance(items, list) or len(items) > CHILDREN_MAX:
                raise ValueError
            return cls(True, tuple(_child(item) for item in items))
        except (KeyError, TypeError, ValueError, AttributeError, ImgsecError, RecursionError):
            raise ImgsecError(
                ANSWER_MALFORMED(f"the index is malformed or lists more than {CHILDREN_MAX} images")
            ) from None


def _child(item: dict[str, Any]) -> Child:
    platform = item.get("platform") or {}
    names = [platform.get("os"), platform.get("architecture"), platform.get("variant")]
    return Child(Digest.parse(item["digest"]), "/".join(str(name) for name in names if name))
