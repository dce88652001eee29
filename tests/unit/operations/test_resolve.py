# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from imgsec.domain.reference import Digest, ImageReference
from imgsec.errors import ImageNotFound
from imgsec.operations.resolve import require_same_digest, resolve_image
from tests.unit.operations.fakes import CONFIG, FakeRegistry
from tests.unit.refusals import refused

NAME = "r.example/team/app:1"


def image(registry: FakeRegistry, config: bytes) -> ImageReference:
    digest = Digest.of(config)
    registry.blobs[str(digest)] = config
    document = {"config": {"mediaType": CONFIG, "digest": str(digest)}, "layers": []}
    return registry.push(NAME, json.dumps(document).encode())


@pytest.mark.parametrize(
    ("config", "platforms"),
    [
        ({"os": "linux", "architecture": "amd64"}, ("linux/amd64",)),
        ({"os": "linux", "architecture": "arm", "variant": "v7"}, ("linux/arm/v7",)),
        ({"os": 1}, ()),
        ([], ()),
        ("text", ()),
    ],
)
def test_platform_of_an_image_is_in_its_configuration(
    config: object, platforms: tuple[str, ...]
) -> None:
    registry = FakeRegistry()
    canonical = image(registry, json.dumps(config).encode())
    found = resolve_image(ImageReference.parse(NAME), registry)
    assert (found.image, found.is_index, found.platforms) == (canonical, False, platforms)


@pytest.mark.parametrize("config", [b"", b"<html>", b"\xff", b"[" * 100_000])
def test_configuration_that_nobody_can_read_names_no_platform(config: bytes) -> None:
    registry = FakeRegistry()
    image(registry, config)
    assert resolve_image(ImageReference.parse(NAME), registry).platforms == ()


def test_artifact_that_is_no_image_has_no_platform() -> None:
    registry = FakeRegistry()
    registry.push(NAME)
    assert resolve_image(ImageReference.parse(NAME), registry).platforms == ()


@pytest.mark.parametrize("platforms", [[], ["unknown"]])
def test_index_that_lists_no_image_is_no_answer(platforms: list[str]) -> None:
    registry = FakeRegistry()
    listed = [
        {"digest": str(Digest.of(b"x")), "platform": {"os": name, "architecture": name}}
        for name in platforms
    ]
    registry.push(NAME, json.dumps({"manifests": listed}).encode())
    with refused("nothing-checked"):
        resolve_image(ImageReference.parse(NAME), registry)


def test_tag_beside_a_digest_is_kept_and_not_looked_at() -> None:
    registry = FakeRegistry()
    first = registry.push(NAME)
    registry.push(NAME, b'{"config": {"mediaType": "x"}, "second": 1}')
    assert resolve_image(first, registry).image == first


def test_moved_tag_is_drift() -> None:
    registry = FakeRegistry()
    first = registry.push(NAME)
    require_same_digest(first, registry)
    registry.push(NAME, b'{"config": {"mediaType": "x"}, "second": 1}')
    with refused("digest-drift"):
        require_same_digest(first, registry)
    require_same_digest(ImageReference.parse(first.canonical_name), registry)


def test_tag_that_has_gone_is_not_the_same() -> None:
    registry = FakeRegistry()
    first = registry.push(NAME)
    del registry.names[NAME]
    with pytest.raises(ImageNotFound):
        require_same_digest(first, registry)


def test_bare_name_is_not_taken_for_latest() -> None:
    with refused("tag-required"):
        resolve_image(ImageReference.parse("r.example/team/app"), FakeRegistry())
