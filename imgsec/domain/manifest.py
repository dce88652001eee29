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


# Configurations that name the platform that an image runs on; other artifacts have none.
_IMAGE_CONFIG_TYPES = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)


@dataclass(frozen=True, slots=True)
class ManifestContent:
    """The children of an index, or the configuration of an image (None for another artifact)."""

    is_index: bool
    children: tuple[Child, ...] = ()
    config: Digest | None = None

    @classmethod
    def parse(cls, content: bytes, media_type: str) -> Self:
        """Raises `ImgsecError` (answer-malformed)."""
        try:
            document = json.loads(content)
            if media_type in INDEX_TYPES:
                items = document["manifests"]
                if not isinstance(items, list) or len(items) > CHILDREN_MAX:
                    raise ValueError
                return cls(True, tuple(_child(item) for item in items))
            config = document["config"]
            is_image = config["mediaType"] in _IMAGE_CONFIG_TYPES
            return cls(False, (), Digest.parse(config["digest"]) if is_image else None)
        except (KeyError, TypeError, ValueError, AttributeError, ImgsecError, RecursionError):
            raise ImgsecError(
                ANSWER_MALFORMED(
                    f"the manifest is malformed or lists more than {CHILDREN_MAX} images"
                )
            ) from None


def _child(item: dict[str, Any]) -> Child:
    platform = item.get("platform") or {}
    names = [platform.get("os"), platform.get("architecture"), platform.get("variant")]
    return Child(Digest.parse(item["digest"]), "/".join(str(name) for name in names if name))
