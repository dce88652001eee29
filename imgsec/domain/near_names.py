# SPDX-License-Identifier: Apache-2.0
"""Names in Kubernetes objects that are almost those that decide about admissions.

A cluster drops a field that it does not know, or refuses the object, and neither is what was meant.
Stricter than `imgsec.domain.spelling`, which helps with a name that is known to be wrong: here no
real name of Kubernetes's may be taken for another.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from imgsec.domain.reference import shown

# What decides in each place.
OBJECT_FIELDS = ("apiVersion", "kind", "metadata", "spec")
METADATA_FIELDS = ("name", "namespace", "labels", "ownerReferences")
SECRET_FIELDS = ("apiVersion", "kind", "metadata", "data", "stringData")
ACCOUNT_FIELDS = ("apiVersion", "kind", "metadata", "imagePullSecrets")
_REAL = frozenset(("serviceAccount",))  # all others are further from these
_NEAR, _NAME_MAX_CHARS = 0.8, 64


def misspelt(given: Iterable[object], known: tuple[str, ...]) -> str | None:
    """What to say of the first field that is almost one of these; None where none is.

    >>> misspelt(["name", "namespce"], METADATA_FIELDS)
    "the field 'namespce' is unknown; did you mean namespace?"
    """
    name = near_field(given, known)
    if name is None:
        return None
    return f"the field {shown(name)} is unknown; did you mean {almost(name, known)}?"


def near_field(given: Iterable[object], known: tuple[str, ...]) -> str | None:
    """The first field that is almost one of these; None where none is."""
    others = (str(name) for name in given if name not in known)
    return next((name for name in others if almost(name, known) is not None), None)


def almost(name: str, known: tuple[str, ...]) -> str | None:
    """The one that a name is almost, or is in other letters' case; None for another name.

    >>> almost("Pdo", ("Pod", "Job")), almost("PodTemplate", ("Pod", "Job"))
    ('Pod', None)
    """
    return _almost(name[:_NAME_MAX_CHARS], known)


@lru_cache(maxsize=1024)
def _almost(name: str, known: tuple[str, ...]) -> str | None:
    if name in _REAL:
        return None
    import difflib  # few manifests are new to it

    word, names = name.lower(), {one.lower(): one for one in known}
    swapped = [one for one in names if sorted(one) == sorted(word)]
    near = swapped or difflib.get_close_matches(word, names, 1, _NEAR)
    return names[near[0]] if near else None
