# SPDX-License-Identifier: Apache-2.0
"""What a manifest is: an image or an index, and the platforms and children that an index lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from imgsec.domain import strict_json
from imgsec.domain.reference import Digest
from imgsec.domain.strict_json import require_spelling
from imgsec.errors import ImgsecError
from imgsec.reasons import ANSWER_MALFORMED

CHILDREN_MAX = 200  # ours; the largest public indexes list about 40
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    *INDEX_TYPES,
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_TELLING_NAMES = frozenset(("mediaType", "manifests", "layers", "config"))


# Configurations that name the platform that an image runs on; other artifacts have none.
_IMAGE_CONFIG_TYPES = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
_ATTESTATION_LAYER = "application/vnd.in-toto+json"  # BuildKit, `docs/attestations`
_NAMES = frozenset(
    "schemaVersion mediaType artifactType manifests layers config subject annotations "
    "digest size platform urls data".split()
)
_PLATFORM_NAMES = frozenset(("os", "architecture", "variant"))


@dataclass(frozen=True, slots=True)
class Child:
    """A manifest that an index lists. platform: ``os/architecture[/variant]``, as it claims.

    is_index: it claims to be an index itself.
    """

    digest: Digest
    platform: str
    is_index: bool = False

    def is_for(self, platform: str) -> bool:
        """Whether it is the one for ``os/architecture``, of whatever variant if none is named."""
        return is_same_platform(self.platform, platform)

    @property
    def claims_attestation(self) -> bool:
        """BuildKit lists provenance under ``unknown/unknown``. A claim: anybody can write that."""
        return self.platform == "unknown/unknown"


def media_type_of(content: bytes, told: str | None = None) -> str:
    """What a manifest is, by its own mediaType, which OCI 1.0 allows to be missing.

    told: what the registry calls it. Raises `ValueError` when the two contradict each other, or
    content and type do: a document that is one thing to one reader and another to the next.
    """
    try:
        document = require_spelling(strict_json.parse(content), _TELLING_NAMES)
    except (TypeError, RecursionError) as error:
        raise ValueError("no manifest") from error
    is_index = "manifests" in document
    usual = MANIFEST_TYPES[0] if is_index else MANIFEST_TYPES[2]
    own = document.get("mediaType", usual if told is None else told)
    both_kinds = is_index and ("layers" in document or "config" in document)
    if told not in (None, own) or own not in MANIFEST_TYPES or both_kinds:
        raise ValueError("its type is contradictory or unknown")
    return str(own)


def is_same_platform(held: str, asked: str) -> bool:
    """Whether a platform is the one that was asked for.

    >>> is_same_platform("linux/arm64/v8", "linux/arm64"), is_same_platform("linux/arm", "linux")
    (True, False)
    """
    return held == asked or (asked.count("/") == 1 and held.startswith(asked + "/"))


def chosen_platform(held: Sequence[str], asked: str) -> str | None:
    """Which of an index's platforms containers tools pull where ``os/architecture[/variant]`` runs.

    As containers/image chooses (`internal/manifest/oci_index.go`, `pkg/platform`): a variant or
    what it can run in its place, without one the image that names none first; then what names no
    platform at all, which is the empty text.

    >>> chosen_platform(["linux/arm/v6", "linux/arm/v7"], "linux/arm/v8")
    'linux/arm/v7'
    """
    return next((one for one in (*_in_order(asked), "") if one in held), None)


@dataclass(frozen=True, slots=True)
class ManifestContent:
    """The children of an index; or an image's configuration (None for another artifact), layers.

    blobs: everything that an image or artifact is made of.
    """

    is_index: bool
    children: tuple[Child, ...] = ()
    config: Digest | None = None
    layer_types: tuple[str, ...] = ()
    blobs: tuple[Digest, ...] = ()

    def child_for(self, platform: str) -> Child | None:
        """What containers tools pull of an index on ``os/architecture[/variant]``.

        See `chosen_platform`.
        """
        chosen = chosen_platform([child.platform for child in self.children], platform)
        return next((child for child in self.children if child.platform == chosen), None)

    @property
    def is_attestation(self) -> bool:
        """Holds statements about an image, and nothing that could run."""
        return bool(self.layer_types) and set(self.layer_types) == {_ATTESTATION_LAYER}

    @classmethod
    def parse(cls, content: bytes, media_type: str) -> Self:
        """Raises `ImgsecError` (answer-malformed), also for what two readers read differently."""
        try:
            document = require_spelling(strict_json.parse(content), _NAMES)
            if media_type in INDEX_TYPES:
                items = document["manifests"]
                if not isinstance(items, list) or len(items) > CHILDREN_MAX:
                    raise ValueError
                return cls(True, tuple(_child(item) for item in items))
            config = require_spelling(document["config"], _NAMES)
            is_image = config["mediaType"] in _IMAGE_CONFIG_TYPES
            layers = [require_spelling(layer, _NAMES) for layer in document.get("layers") or []]
            parts = [config, *layers]
            return cls(
                is_index=False,
                blobs=tuple(Digest.parse(part["digest"]) for part in parts if "digest" in part),
                config=Digest.parse(config["digest"]) if is_image else None,
                layer_types=tuple(str(layer["mediaType"]) for layer in layers),
            )
        except (KeyError, TypeError, ValueError, AttributeError, ImgsecError, RecursionError):
            raise ImgsecError(
                ANSWER_MALFORMED(
                    f"the manifest is malformed, ambiguous or lists more than {CHILDREN_MAX} images"
                )
            ) from None


_VARIANTS = {"arm": ("v8", "v7", "v6", "v5"), "arm64": ("v8",)}


def _in_order(platform: str) -> list[str]:
    """The platforms that would do for one, the best first.

    >>> _in_order("linux/arm/v6")
    ['linux/arm/v6', 'linux/arm/v5', 'linux/arm']
    """
    base = "/".join(platform.split("/")[:2])
    known = _VARIANTS.get(base.partition("/")[2], ())
    if platform == base:
        return [base, *(f"{base}/{variant}" for variant in known)]
    variant = platform.removeprefix(f"{base}/")
    variants = known[known.index(variant) :] if variant in known else (variant,)
    return [*(f"{base}/{one}" for one in variants), base]


def _child(item: Any) -> Child:
    described = require_spelling(item, _NAMES)
    platform = require_spelling(described.get("platform") or {}, _PLATFORM_NAMES)
    names = [platform.get("os"), platform.get("architecture"), platform.get("variant")]
    if not all(isinstance(name, str) for name in names if name is not None):
        raise TypeError("a platform is no text")
    if any("/" in name for name in names if name):
        raise ValueError("a platform's name has a slash")
    return Child(
        Digest.parse(described["digest"]),
        "/".join(name for name in names if name),
        is_index=described.get("mediaType") in INDEX_TYPES,
    )
