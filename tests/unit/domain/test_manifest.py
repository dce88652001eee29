# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest

from imgsec.domain.manifest import CHILDREN_MAX, INDEX_TYPES, ManifestContent
from imgsec.domain.reference import Digest
from tests.unit.refusals import refused

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DIGEST = "sha256:" + "1a" * 32


def child(**platform: Any) -> dict[str, Any]:
    return {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": 1, "platform": platform}


def index(*children: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": list(children)}).encode()


@pytest.mark.parametrize("kind", INDEX_TYPES)
def test_index_lists_its_platforms(kind: str) -> None:
    content = ManifestContent.parse(
        index(
            child(os="linux", architecture="amd64"),
            child(os="linux", architecture="arm", variant="v7"),
            child(os="unknown", architecture="unknown"),
            {"digest": DIGEST},
        ),
        kind,
    )
    assert content.is_index
    assert [part.platform for part in content.children] == [
        "linux/amd64",
        "linux/arm/v7",
        "unknown/unknown",
        "",
    ]
    assert [part.claims_attestation for part in content.children] == [False, False, True, False]


def test_image_names_its_configuration() -> None:
    document = {"config": {"mediaType": OCI_CONFIG, "digest": DIGEST}, "layers": []}
    content = ManifestContent.parse(json.dumps(document).encode(), OCI_MANIFEST)
    digest = Digest.parse(DIGEST)
    assert content == ManifestContent(False, (), digest, blobs=(digest,))


def test_artifact_has_no_configuration_to_read() -> None:
    document = {"config": {"mediaType": "application/vnd.example.thing+json", "digest": DIGEST}}
    content = ManifestContent.parse(json.dumps(document).encode(), OCI_MANIFEST)
    assert content.config is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 10_000,
        b'{"manifests": null}',
        b'{"manifests": {}}',
        b'{"manifests": "x"}',
        index(None),
        index("x"),
        index({}),
        index({"digest": None}),
        index({"digest": "sha256:../../x"}),
        index({"digest": DIGEST, "platform": "linux"}),
        index({"digest": DIGEST, "platform": ["linux"]}),
        index(*[child()] * (CHILDREN_MAX + 1)),
    ],
)
def test_malformed_or_endless_index_is_undecided(content: bytes) -> None:
    with refused("answer-malformed"):
        ManifestContent.parse(content, INDEX_TYPES[0])


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"config": None},
        {"config": []},
        {"config": {}},
        {"config": {"mediaType": OCI_CONFIG}},
        {"config": {"mediaType": OCI_CONFIG, "digest": 1}},
    ],
)
def test_malformed_image_is_undecided(document: object) -> None:
    with refused("answer-malformed"):
        ManifestContent.parse(json.dumps(document).encode(), OCI_MANIFEST)


@pytest.mark.parametrize(
    "text",
    [
        '{"manifests": [], "Manifests": []}',
        '{"manifests": [], "manifests": []}',
        '{"Manifests": [], "manifestS": []}',
        '{"manifests": [{"digest": "DIGEST", "Digest": "DIGEST"}]}',
        '{"manifests": [{"digest": "DIGEST", "Platform": {"os": "linux"}}]}',
        '{"manifests": [{"digest": "DIGEST", "platform": {"OS": "linux"}}]}',
        '{"manifests": [{"digest": "DIGEST", "platform": {"os": 1}}]}',
        '{"manifests": [{"digest": "DIGEST", "size": NaN}]}',
        '{"manifests": [{"digest": "DIGEST", "platform": "linux/amd64"}]}',
    ],
)
def test_index_that_two_readers_read_differently_is_malformed(text: str) -> None:
    """Go's JSON takes a member in any case, and of two equal ones another than Python's."""
    content = text.replace("DIGEST", "sha256:" + "0" * 64).encode()
    with refused("answer-malformed"):
        ManifestContent.parse(content, INDEX_TYPES[0])
