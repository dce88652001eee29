# SPDX-License-Identifier: Apache-2.0
"""Rules that almost decided, and why they did not."""

from __future__ import annotations

from typing import Any

import pytest

from imgsec.domain.engines import NEWEST, Engine
from imgsec.domain.near_misses import NEAR_MAX, near_misses
from imgsec.domain.policy_rules import Policy
from imgsec.domain.resolution import Pools

DIGEST = f"@sha256:{'0' * 64}"


def pools(*names: str, own: tuple[str, ...] | None = None, engine: Engine = NEWEST) -> Pools:
    found = [document("ClusterImagePolicy", names)]
    if own is not None:
        found.append(document("ImagePolicy", own))
    return Pools.of([Policy.read(one, namespace="shop") for one in found], engine)


def document(kind: str, names: tuple[str, ...]) -> dict[str, Any]:
    return {
        **{"apiVersion": "portieris.cloud.ibm.com/v1", "kind": kind, "metadata": {"name": "p"}},
        "spec": {"repositories": [{"name": name, "policy": {}} for name in names]},
    }


def near(image: str, held: Pools, engine: Engine = NEWEST) -> list[tuple[str, str]]:
    resolution = held.of_namespace("shop").resolve(image)
    found = near_misses(image, "shop", held, resolution, engine)
    return [(one.rule.repository, one.why) for one in found]


@pytest.mark.parametrize(
    ("image", "rule", "why"),
    [
        ("nginx", "docker.io/*", "the image's full name, docker.io/library/nginx:latest"),
        ("icr.io:443/ns/app:1", "icr.io/*", "host without its port"),
        ("ICR.io/ns/app:1", "icr.io/*", "in lower case"),
        ("icr.io/ns/App:1", "icr.io/ns/app:1", "blanks or upper case"),
        (f"icr.io/ns/app{DIGEST}", "icr.io/ns/app:latest", "by a tag, and not by a digest"),
        ("icr.io/ns/app:1", "icr.io/ns/app@*", "by a digest, and not by a tag"),
        ("icr.io/ns/app:2", "icr.io/ns/app:1", "the same repository, by another tag"),
        (f"icr.io/ns/app{DIGEST}", "icr.io/ns/app:7", "the same repository, by another tag"),
        ("us.icr.io/ns/app:1", "icr.io/*", "another host"),
        ("icr.io/ns/app:1", "us.icr.io/*", "another host"),
    ],
)
def test_other_way_to_write_it_is_told(image: str, rule: str, why: str) -> None:
    held = pools(rule, "registry.example/*")
    if held.cluster.resolve(image).rule is not None:
        pytest.fail(f"{rule} is met by {image}")
    ((name, said),) = near(image, held)
    assert name == rule
    assert why in said


def test_lighter_rules_and_those_of_the_cluster_are_told() -> None:
    assert near("icr.io/a:1", pools("*", "icr.io/*")) == [
        ("*", "it is met, but weighs 0 characters against 7")
    ]
    ((name, said),) = near("icr.io/a:1", pools("icr.io/*", own=()))
    assert (name, "do not count in shop" in said) == ("icr.io/*", True)


def test_other_engine_is_told_once_for_each_way_of_comparing() -> None:
    old = Engine.parse("0.14.1")
    held = pools("*.icr.io/*", engine=old)
    image = "evil.example/x.icr.io/y:1"
    assert held.cluster.resolve(image).rule is not None
    newest = pools("*.icr.io/*")
    ((name, said),) = near(image, newest)
    assert name == "*.icr.io/*"
    assert "would find it met" in said


def test_no_more_are_told_than_people_read() -> None:
    held = pools(*("*",) * 5000)
    assert len(near("icr.io/a:1", held)) == NEAR_MAX


def test_nothing_near_is_nothing() -> None:
    assert near("icr.io/a:1", pools("registry.example/b")) == []
