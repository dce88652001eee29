# SPDX-License-Identifier: Apache-2.0
"""Which documents are lists, and whether their objects stand where they are looked for."""

from __future__ import annotations

from typing import Any

import pytest

from imgsec.domain.object_lists import list_flaw

POLICIES = "portieris.cloud.ibm.com/v1"


@pytest.mark.parametrize(
    "document",
    [
        {"apiVersion": "v1", "kind": "List", "items": []},
        {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [{"kind": "Pod"}]},
        {"apiVersion": POLICIES, "kind": "ImagePolicyList", "metadata": {}, "items": []},
        {"apiVersion": "v1", "kind": "List", "items": None},
        {"kind": "wishlist", "entries": []},
        {"kind": "Whatever", "items": [], "functionConfig": {}},
        {
            "apiVersion": "config.kubernetes.io/v1",
            "kind": "ResourceList",
            "items": [],
            "results": 1,
        },
        {"apiVersion": "x.example/v1", "kind": "AllowList", "metadata": {"name": "a"}, "spec": 1},
        {"apiVersion": "x.example/v1", "kind": "AllowList", "metadata": {"name": "a"}, "items": {}},
        {"kind": "Whatever", "item": 1},
        {"kind": "Lister"},
        {},
    ],
)
def test_what_is_no_list_or_has_items(document: dict[str, Any]) -> None:
    assert list_flaw(document) is None


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"apiVersion": "v1", "kind": "List"}, ()),
        ({"apiVersion": "v1", "kind": "List", "metadata": {"name": "a"}}, ()),
        ({"apiVersion": "v1", "kind": "List", "items": {"a": 1}}, ("items",)),
        ({"apiVersion": "v1", "kind": "LIST", "items": "x"}, ("items",)),
        ({"apiVersion": "v1", "kind": "List", "itmes": []}, ("itmes",)),
        ({"apiVersion": "v1", "kind": "List", "items": [], "spec": {}}, ("spec",)),
        ({"apiVersion": POLICIES, "kind": "ImagePolicyList", "metadata": {}}, ()),
        ({"apiVersion": "x.example/v1", "kind": "AllowList", "spec": {}}, ()),
        (
            {"apiVersion": "x.y/v1", "kind": "AList", "metadata": {"name": "a"}, "item": []},
            ("item",),
        ),
        (
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleList", "metadata": {}},
            (),
        ),
    ],
)
def test_list_without_its_objects_is_flawed(
    document: dict[str, Any], path: tuple[str, ...]
) -> None:
    flaw = list_flaw(document)
    assert flaw is not None
    assert flaw.path == path
