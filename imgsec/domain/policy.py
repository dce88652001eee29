# SPDX-License-Identifier: Apache-2.0
"""Portieris policies as data: which repositories need whose signature.

API: ``portieris.cloud.ibm.com/v1`` (Portieris `pkg/apis/portieris.cloud.ibm.com/v1/types.go`).
A null policy is left out, an empty one means "allowed unchecked", and the engine's default identity
rule is written by leaving ``signedIdentity`` out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from imgsec.domain.engines import Engine
from imgsec.domain.reference import RepositoryPattern, names_tags, shown
from imgsec.errors import ImgsecError
from imgsec.reasons import INVALID_NAME, INVALID_OPTION

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
ANY_DIGEST = "any-digest"
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class ObjectName:
    """The name of a Kubernetes object: a DNS-1123 subdomain of at most 253 characters."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ImgsecError` (invalid-name)."""
        if not _NAME.fullmatch(text) or ".." in text or ".-" in text or "-." in text:
            raise ImgsecError(INVALID_NAME(f"{shown(text)} is not a Kubernetes object name"))
        return cls(text)

    def __str__(self) -> str:
        return self.text


def is_namespace(value: object) -> bool:
    """Whether it names a Kubernetes namespace."""
    return isinstance(value, str) and _NAMESPACE.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Namespace:
    """The name of a Kubernetes namespace: a DNS-1123 label of at most 63 characters."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ImgsecError` (invalid-name)."""
        if not is_namespace(text):
            raise ImgsecError(INVALID_NAME(f"{shown(text)} is not a Kubernetes namespace"))
        return cls(text)

    def __str__(self) -> str:
        return self.text


class PolicyKind(StrEnum):
    """ClusterImagePolicy counts only in namespaces without any ImagePolicy."""

    CLUSTER = "ClusterImagePolicy"
    NAMESPACED = "ImagePolicy"


@dataclass(frozen=True, slots=True)
class KeySecret:
    """A Secret about the signing key: with its public half, or telling which one signs.

    namespace is always written: without it Portieris looks in the namespace of each pod.
    """

    name: ObjectName
    namespace: Namespace


@dataclass(frozen=True, slots=True)
class ImagePolicy:
    """What one policy object says: these repositories signed, those let through unchecked.

    namespace is set for an ImagePolicy and None for a ClusterImagePolicy. mutate_image: whether
    the engine replaces the tag by the digest that it verified.
    """

    name: ObjectName
    kind: PolicyKind
    signed: tuple[RepositoryPattern, ...]
    key_secret: KeySecret
    unchecked: tuple[RepositoryPattern, ...] = ()
    namespace: Namespace | None = None
    mutate_image: bool = True

    def __post_init__(self) -> None:
        if (self.namespace is None) is not (self.kind is PolicyKind.CLUSTER):
            raise ValueError(f"{self.kind} and namespace {self.namespace} do not go together")
        for name in ("signed", "unchecked"):  # frozen, and each pattern once
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        if not self.signed:
            raise ImgsecError(INVALID_OPTION("a policy needs at least one --repository"))
        if both := set(self.signed) & set(self.unchecked):
            listed = ", ".join(sorted(map(str, both)))
            raise ImgsecError(INVALID_OPTION(f"{listed} cannot be both signed and unchecked"))

    def patterns(self, pattern: RepositoryPattern) -> tuple[str, ...]:
        """The rule names for one pattern: itself and, for engines before 0.14.3, its digests.

        Until 0.14.3 Portieris (`CompareAnyTag`) lets a name without a tag match every tag of it,
        but no reference by digest. What is let through by its tag is let through by that alone.
        """
        is_whole = pattern.is_open or pattern in self.unchecked_tags
        return (pattern.text,) if is_whole else (pattern.text, f"{pattern.text}@*")

    @property
    def unchecked_tags(self) -> tuple[RepositoryPattern, ...]:
        """What is let through by its tag."""
        return tuple(one for one in self.unchecked if names_tags(one.text))


def any_digest_text(name: str, engine: Engine) -> str:
    """What the engine makes of images that are let through by their tag."""
    text = f"{name}: {engine} lets in whatever digest is written behind the tag, too"
    return f"{text}; name a digest in an intent (exactly), to let in that alone"


@dataclass(frozen=True, slots=True)
class KeyReference:
    """What a Secret like portieris-keys says, as it says it: older scripts wrote ``null``, too."""

    kms_url: str
    kms_instance: str
    kms_key_id: str
    fingerprint: str
