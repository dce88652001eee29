# SPDX-License-Identifier: Apache-2.0
"""Lists of Kubernetes objects: whether one has its objects where kubectl looks for them.

kubectl takes anything with a list of ``items`` for one; a List without any applies nothing. Go
writes an empty list as null, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imgsec.domain.near_names import almost
from imgsec.domain.reference import shown

_ITEMS = "items"
_FIELDS = ("apiVersion", "kind", "metadata", _ITEMS)
_SUFFIX = "list"


@dataclass(frozen=True, slots=True)
class ListFlaw:
    """Why objects of a list would be passed over. path: of what is wrong, empty for the whole."""

    path: tuple[str, ...]
    text: str


def is_empty_list(document: Mapping[str, Any]) -> bool:
    """Whether it is a list of nothing, as Go writes one."""
    has_none = _ITEMS in document and document[_ITEMS] is None
    return has_none and _is_list_kind(document) and not _is_own_kind(document)


def list_flaw(document: Mapping[str, Any]) -> ListFlaw | None:
    """None for a list as it should be, and for what is none.

    >>> list_flaw({"apiVersion": "v1", "kind": "List", "item": []})
    ListFlaw(path=('item',), text="the field 'item' is unknown in a list; did you mean items?")
    """
    kind, items = str(document.get("kind", "")), document.get(_ITEMS)
    is_list = _is_list_kind(document)
    if not is_list and not isinstance(items, list):
        return None
    near = next((name for name in document if _is_near(name)), None)
    if near is not None:
        text = f"the field {shown(near)} is unknown in a list; did you mean {_ITEMS}?"
        return ListFlaw((near,), text)
    if not is_list or (not isinstance(items, list) and _is_own_kind(document)):
        return None
    if _ITEMS not in document:
        return ListFlaw((), f"a {shown(kind)} without {_ITEMS}")
    if items is not None and not isinstance(items, list):
        return ListFlaw((_ITEMS,), f"{_ITEMS} is no list")
    other = next((name for name in document if name not in _FIELDS), None)
    if other is not None and kind.lower() == _SUFFIX:
        return ListFlaw((other,), f"the field {shown(other)} is unknown in a list")
    return None


def _is_list_kind(document: Mapping[str, Any]) -> bool:
    kind = str(document.get("kind", "")).lower()
    return kind == _SUFFIX or (kind.endswith(_SUFFIX) and "apiVersion" in document)


def _is_near(name: str) -> bool:
    return name not in _FIELDS and almost(name, (_ITEMS,)) is not None


def _is_own_kind(document: Mapping[str, Any]) -> bool:
    """Whether it is a custom resource that is called a list, as an AllowList is: it has a name."""
    group = str(document.get("apiVersion", "")).rpartition("/")[0]
    metadata = document.get("metadata")
    is_named = isinstance(metadata, dict) and any(map(metadata.get, ("name", "generateName")))
    return is_named and "." in group and not group.endswith(".k8s.io")
