# SPDX-License-Identifier: Apache-2.0
"""Which objects that are no workloads name images that others make pods of."""

from __future__ import annotations

from typing import Any

import pytest

from imgsec.domain.image_holders import names_images

CONTAINERS = [{"name": "c"}, {"name": "d", "image": "icr.io/a:1"}]


@pytest.mark.parametrize(
    ("api", "content"),
    [
        ("v1", {"template": {"spec": {"containers": CONTAINERS}}}),
        ("v1", {"objects": [{"spec": {"template": {"spec": {"initContainers": CONTAINERS}}}}]}),
        ("x.example/v1", {"objects": [{"containers": CONTAINERS}]}),
        ("x.example/v1", {"spec": {"image": "icr.io/a:1"}}),
        ("x.example/v1", {"spec": {"parts": [{"of": [{"image": "icr.io/a:1"}]}]}}),
        ("jobset.x-k8s.io/v1", {"spec": {"image": "icr.io/a:1"}}),
    ],
)
def test_images_stand_where_containers_do_or_in_the_spec_of_a_custom_resource(
    api: str, content: dict[str, Any]
) -> None:
    assert names_images({"apiVersion": api, "kind": "K", **content})


@pytest.mark.parametrize(
    ("api", "content"),
    [
        ("v1", {"data": {"image": "logo.png"}}),
        ("v1", {"data": {"containers": "image: logo.png"}}),
        ("v1", {"spec": {"image": "logo.png"}}),
        ("networking.k8s.io/v1", {"spec": {"image": "logo.png"}}),
        ("x.example/v1", {"data": {"image": "logo.png"}}),
        ("x.example/v1", {"metadata": {"annotations": {"image": "logo.png"}}}),
        ("x.example/v1", {"spec": {"image": ""}}),
        ("x.example/v1", {"spec": {"image": {"tag": "1"}}}),
        ("x.example/v1", {"spec": None}),
        ("v1", {"containers": ["image"]}),
        ("v1", {"containers": {"image": "logo.png"}}),
        ("v1", {"containers": [{"image": ""}]}),
    ],
)
def test_other_members_called_image_are_none(api: str, content: dict[str, Any]) -> None:
    assert not names_images({"apiVersion": api, "kind": "K", **content})
