# SPDX-License-Identifier: Apache-2.0
"""Resolve a reference once: from then on the digest is the image and the tag only its name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from imgsec.domain import strict_json
from imgsec.domain.manifest import Child, ManifestContent, chosen_platform, is_same_platform
from imgsec.domain.reference import ImageReference, shown
from imgsec.domain.report import ResolvedImage
from imgsec.errors import ImgsecError
from imgsec.ports import ConfigReader, ManifestReader, Registry
from imgsec.reasons import DIGEST_DRIFT, NOTHING_CHECKED, PLATFORM_MISSING


def resolve_image(image: ImageReference, registry: Registry) -> ResolvedImage:
    """What the reference names now. An index that lists no image is no answer.

    Raises `ImgsecError` (tag-required, nothing-checked).
    """
    manifest = registry.fetch_manifest(image.require_version())
    canonical = image.at(manifest.digest)
    content = ManifestContent.parse(manifest.content, manifest.media_type)
    platforms = (
        tuple(child.platform for child in content.children if not child.claims_attestation)
        if content.is_index
        else own_platform(canonical, content, registry)
    )
    if content.is_index and not platforms:
        raise ImgsecError(
            NOTHING_CHECKED(
                f"{canonical} is an index that lists no image",
                hint="Push the images that it is to list, and then the index again.",
            )
        )
    return ResolvedImage(canonical, manifest.media_type, content.is_index, platforms)


def require_same_digest(image: ImageReference, registry: ManifestReader) -> None:
    """Raises `ImgsecError` (digest-drift) if the tag names another digest than the image's own."""
    if image.tag is None:
        return
    now = registry.fetch_manifest(ImageReference(image.registry, image.repository, image.tag))
    if now.digest != image.digest:
        raise ImgsecError(
            DIGEST_DRIFT(f"{image.tagged_name} names {now.digest} now, not {image.digest}")
        )


def wanted_children(
    image: ImageReference,
    content: ManifestContent,
    platforms: tuple[str, ...],
    registry: ConfigReader,
) -> tuple[Child, ...]:
    """Of what an index lists, the manifests for these platforms; all of them for none.

    Raises `ImgsecError` (platform-missing) for one that is not there, also of a single image.
    """
    if not platforms:
        return content.children
    held = (
        tuple(child.platform for child in content.children)
        if content.is_index
        else own_platform(image, content, registry)
    )
    require_platforms(str(image), held, platforms, is_index=content.is_index)
    pulled = [content.child_for(platform) for platform in platforms]
    return tuple(
        one for one in content.children if one in pulled or any(map(one.is_for, platforms))
    )


def require_platforms(
    image: str, held: Sequence[str], platforms: Iterable[str], *, is_index: bool
) -> None:
    """Raises `ImgsecError` (platform-missing) for a platform that none of those held serves.

    is_index: containers tools choose among them.
    """
    for platform in platforms:
        chosen = chosen_platform(held, platform) if is_index else None
        if chosen is None and not any(is_same_platform(one, platform) for one in held):
            raise platform_missing(image, held, platform)


def platform_missing(image: str, held: Iterable[str], platform: str) -> ImgsecError:
    """The error (platform-missing) for a platform that an image is not there for."""
    text = f"{image} is there for {', '.join(held) or 'no platform'}"
    return ImgsecError(PLATFORM_MISSING(f"{text}, and not for {shown(platform)}"))


def own_platform(
    image: ImageReference, content: ManifestContent, registry: ConfigReader
) -> tuple[str, ...]:
    """The platform in an image's configuration; none for an artifact that is no container image."""
    if content.config is None:
        return ()
    try:
        config = strict_json.parse(registry.fetch_config(image, content.config))
        names = [config.get(name) for name in ("os", "architecture", "variant")]
    except (ValueError, AttributeError, RecursionError):
        return ()
    platform = "/".join(name for name in names if isinstance(name, str) and name)
    return (platform,) if platform else ()
