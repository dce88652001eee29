# SPDX-License-Identifier: Apache-2.0
"""Which names a signature may claim, so that it counts for an image.

The rules are those of containers/image (`signature/policy_reference_match.go`), which Podman,
CRI-O, skopeo and Portieris share. Names are compared as all of them normalise them (distribution/
reference, `normalize.go`): ``nginx:1`` means ``docker.io/library/nginx:1``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from imgsec.domain.reference import ImageReference, shown
from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_MALFORMED

_DOCKER_HUB, _LEGACY_HUB, _OFFICIAL = "docker.io", "index.docker.io", "library/"
_DOMAIN_PART = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
_PATH_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"((?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*(?::[0-9]+)?)/{_PATH_PART}(?:/{_PATH_PART})*)"
    r"(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}))?"
)
_NAME_MAX_CHARS = 255
_PREFIX = re.compile(rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*(?::[0-9]+)?)(?:/{_PATH_PART})*")
_HEX_ID = re.compile(r"[a-f0-9]{64}")


@dataclass(frozen=True, slots=True)
class ClaimedName:
    """A reference as the consumers of signatures read it: with its host, whatever was left out.

    >>> str(ClaimedName.parse("nginx:1"))
    'docker.io/library/nginx:1'
    """

    name: str
    tag: str | None
    digest: str | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ValueError` for what is no reference to them."""
        if _HEX_ID.fullmatch(text):
            raise ValueError("64 hexadecimal digits are an id")
        domain, slash, rest = text.partition("/")
        has_domain = slash and (
            "." in domain or ":" in domain or domain == "localhost" or domain != domain.lower()
        )
        if not has_domain:
            domain, rest = _DOCKER_HUB, text
        found = _REFERENCE.fullmatch(_normalised(domain, rest))
        if found is None or len(found[1]) > _NAME_MAX_CHARS:
            raise ValueError(f"{shown(text)} is no reference")
        return cls(found[1], found[2], found[3])

    @classmethod
    def of(cls, image: ImageReference) -> Self:
        """An image as it is pulled: by its tag if it has one, else by its digest."""
        by_digest = str(image.digest) if image.tag is None and image.digest else None
        return cls(_normalised(image.registry, image.repository), image.tag, by_digest)

    @property
    def is_bare(self) -> bool:
        return self.tag is None and self.digest is None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.name}{tag}{digest}"


def _normalised(domain: str, rest: str) -> str:
    """Docker Hub by its one name, and with the folder of what it publishes itself."""
    if domain == _LEGACY_HUB:
        domain = _DOCKER_HUB
    if domain == _DOCKER_HUB and "/" not in rest:
        rest = _OFFICIAL + rest
    return f"{domain}/{rest}"


class IdentityKind(StrEnum):
    """The forms of ``signedIdentity`` (containers-policy.json(5))."""

    MATCH_EXACT = "matchExact"
    MATCH_REPOSITORY = "matchRepository"
    MATCH_REPO_DIGEST_OR_EXACT = "matchRepoDigestOrExact"
    EXACT_REFERENCE = "exactReference"
    EXACT_REPOSITORY = "exactRepository"
    REMAP_IDENTITY = "remapIdentity"


_MEMBERS = {
    IdentityKind.EXACT_REFERENCE: ("dockerReference",),
    IdentityKind.EXACT_REPOSITORY: ("dockerRepository",),
    IdentityKind.REMAP_IDENTITY: ("prefix", "signedPrefix"),
}


@dataclass(frozen=True, slots=True)
class IdentityRule:
    """Which claimed names count for an image.

    first: the reference, the repository or the prefix of the kinds that have one; second: the
    signed prefix.
    """

    kind: IdentityKind = IdentityKind.MATCH_REPO_DIGEST_OR_EXACT
    first: str = ""
    second: str = ""

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """A ``signedIdentity`` object. Raises `ImgsecError` (input-malformed)."""
        try:
            kind = IdentityKind(document["type"])
            members = _MEMBERS.get(kind, ())
            if set(document) != {"type", *members}:
                raise ValueError(f"{kind} takes {', '.join(('type', *members))}")
            values = [document[member] for member in members]
            if not all(isinstance(value, str) for value in values):
                raise TypeError(f"a member of {kind} is not a text")
            rule = cls(kind, *values)
            rule._require_sense()
        except KeyError:
            raise _malformed("a signedIdentity has no type") from None
        except (ValueError, TypeError) as error:
            raise _malformed(f"a signedIdentity is not understood: {error}") from None
        return rule

    def _require_sense(self) -> None:
        if self.kind is IdentityKind.EXACT_REFERENCE and ClaimedName.parse(self.first).is_bare:
            raise ValueError(f"{shown(self.first)} has neither tag nor digest")
        if self.kind is IdentityKind.EXACT_REPOSITORY and not ClaimedName.parse(self.first).is_bare:
            raise ValueError(f"{shown(self.first)} is more than a repository")
        if self.kind is IdentityKind.REMAP_IDENTITY:
            for prefix in (self.first, self.second):
                if not is_prefix(prefix):
                    raise ValueError(f"{shown(prefix)} is no host with or without a path")

    def accepts(self, image: ImageReference, identity: str) -> bool:
        """Whether a signature that claims this identity counts for the image as it is pulled.

        >>> rule = IdentityRule()
        >>> rule.accepts(ImageReference.parse("r.example/app:1"), "r.example/app:2")
        False
        """
        return self.accepts_name(ClaimedName.of(image), identity)

    def accepts_name(self, pulled: ClaimedName, identity: str) -> bool:
        """The same for a name that is no reference of ours, such as one of a workload."""
        try:
            claimed = ClaimedName.parse(identity)
            if self.kind is IdentityKind.EXACT_REFERENCE:
                return not claimed.is_bare and claimed == ClaimedName.parse(self.first)
            if self.kind is IdentityKind.EXACT_REPOSITORY:
                return claimed.name == ClaimedName.parse(self.first).name
            if self.kind is IdentityKind.REMAP_IDENTITY:
                pulled = self._remapped(pulled)
        except ValueError:
            return False
        if self.kind is IdentityKind.MATCH_REPOSITORY:
            return claimed.name == pulled.name
        if claimed.is_bare or pulled.is_bare:
            return False
        if self.kind is IdentityKind.MATCH_EXACT or pulled.tag is not None:
            return claimed == pulled
        return claimed.name == pulled.name  # by digest, which the payload is held against as well

    def _remapped(self, pulled: ClaimedName) -> ClaimedName:
        """Raises `ValueError` for what is no name any more."""
        if pulled.name != self.first and not pulled.name.startswith(self.first + "/"):
            return pulled
        found = _REFERENCE.fullmatch(self.second + str(pulled)[len(self.first) :])
        if found is None:
            raise ValueError("what the prefix gives is no reference")
        return ClaimedName(found[1], found[2], found[3])

    def __str__(self) -> str:
        """As a sentence can name it."""
        return " ".join(filter(None, (self.kind, self.first, self.second)))


USUAL_RULE = IdentityRule()


def is_prefix(text: str) -> bool:
    """Whether it is a host, with or without a path, as remapIdentity takes it."""
    return _PREFIX.fullmatch(text) is not None


def _malformed(why: str) -> ImgsecError:
    return ImgsecError(INPUT_MALFORMED(why))
