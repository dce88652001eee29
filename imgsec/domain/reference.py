# SPDX-License-Identifier: Apache-2.0
"""Image references, digests and repository patterns, each parsed by one strict grammar.

The grammar is that of distribution/reference (`reference.go`), narrowed: the registry host is
always written out and in lower case, and sha256 is the only digest algorithm. Short names such
as ``nginx`` are refused, since the engines that read signed names do not agree on what they mean.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Self

from imgsec.errors import ImgsecError
from imgsec.reasons import (
    INVALID_DIGEST,
    INVALID_OPTION,
    INVALID_PATTERN,
    INVALID_REFERENCE,
    TAG_REQUIRED,
)

NAME_MAX_CHARS = 255  # distribution/reference: NameTotalLengthMax, host included
_SHOWN_CHARS = 120

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REGISTRY = re.compile(rf"{_HOST}(?::[0-9]{{1,5}})?")
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"(sha256):([0-9a-f]{64})")


def shown(text: str) -> str:
    """The text as it may stand in a message: quoted, without control characters, bounded.

    >>> shown("a\\nb")
    "'a\\\\nb'"
    """
    return repr(text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "...")


@dataclass(frozen=True, slots=True)
class Digest:
    """A content address.

    >>> Digest.parse("sha256:" + "0" * 64).algorithm
    'sha256'
    """

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ImgsecError` (invalid-digest) unless the text is sha256: and 64 hex digits."""
        if not (found := _DIGEST.fullmatch(text)):
            raise ImgsecError(INVALID_DIGEST(f"{shown(text)} is not a sha256 digest"))
        return cls(*found.groups())

    @classmethod
    def of(cls, content: bytes) -> Self:
        """The digest of these bytes."""
        import hashlib

        return cls("sha256", hashlib.sha256(content).hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def parse_registry(text: str) -> str:
    """A registry's ``host[:port]``. Raises `ImgsecError` (invalid-reference)."""
    image = ImageReference.parse(f"{text}/any")
    if image.repository != "any":
        raise _refuse(text, "it is more than a registry host")
    return image.registry


@dataclass(frozen=True, slots=True)
class ImageReference:
    """An image's name: registry, repository, and a tag, a digest or both.

    *Canonical* means that it has a digest. With tag and digest together the digest is the image
    and the tag travels beside it as the name that is signed; tools never get such a text.

    >>> image = ImageReference.parse("registry.example.com:5000/team/app:1.0")
    >>> image.registry, image.repository, image.tag
    ('registry.example.com:5000', 'team/app', '1.0')
    >>> str(image)
    'registry.example.com:5000/team/app:1.0'
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ImgsecError` (invalid-reference, invalid-digest) for anything else."""
        rest, at, digest_text = text.partition("@")
        registry, slash, path = rest.partition("/")
        if not slash or not _is_host(registry):
            raise _refuse(text, "it does not begin with a registry host and a slash")
        if not _REGISTRY.fullmatch(registry):
            raise _refuse(text, "its registry host is not lower-case letters, digits, dots, dashes")
        repository, colon, tag = path.partition(":")
        if not _PATH.fullmatch(repository):
            raise _refuse(text, "its path has parts that no registry accepts")
        if colon and not _TAG.fullmatch(tag):
            raise _refuse(
                text, "its tag is not 1 to 128 letters, digits, dots, dashes, underscores"
            )
        if len(registry) + 1 + len(repository) > NAME_MAX_CHARS:
            raise _refuse(text, f"its name is longer than {NAME_MAX_CHARS} characters")
        digest = Digest.parse(digest_text) if at else None
        return cls(registry, repository, tag if colon else None, digest)

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    @property
    def is_canonical(self) -> bool:
        return self.digest is not None

    @property
    def is_bare(self) -> bool:
        """Neither tag nor digest: whoever reads it would have to assume latest."""
        return self.tag is None and self.digest is None

    def at(self, digest: Digest) -> Self:
        """The same name and tag, with this digest."""
        return replace(self, digest=digest)

    @property
    def canonical_name(self) -> str:
        """``repository@digest``, the form that tools get. Only for a canonical reference."""
        if self.digest is None:
            raise ValueError(f"{self} has no digest")
        return f"{self.name}@{self.digest}"

    @property
    def lookaside_path(self) -> str:
        """Where its signatures lie below the base of a lookaside store. Only for a canonical one.

        Source: containers/image, `docker/registries_d.go`; the registry's host is no part of it.
        """
        if self.digest is None:
            raise ValueError(f"{self} has no digest")
        return f"{self.repository}@{self.digest.algorithm}={self.digest.hex}"

    @property
    def tagged_name(self) -> str:
        """``repository:tag``, the name that is signed. Raises `ImgsecError` (tag-required)."""
        if self.tag is None:
            raise ImgsecError(TAG_REQUIRED(f"{self} has no tag"))
        return f"{self.name}:{self.tag}"

    def require_version(self) -> Self:
        """Itself, unless it is bare. Raises `ImgsecError` (tag-required)."""
        if self.is_bare:
            raise ImgsecError(TAG_REQUIRED(f"{self} has neither a tag nor a digest"))
        return self

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.name}{tag}{digest}"


def _is_host(text: str) -> bool:
    """Whether the first part of a name is a registry's host, and no part of a path."""
    return "." in text or ":" in text or text == "localhost"


def _refuse(text: str, why: str) -> ImgsecError:
    return ImgsecError(INVALID_REFERENCE(f"{shown(text)} is not an image reference: {why}"))


@dataclass(frozen=True, slots=True)
class RegistryScope:
    """A registry, or the part of it below a namespace, or one repository of it.

    A path of one part is a namespace, as at icr.io, where each repository is in one.

    >>> RegistryScope.parse("us.icr.io/team").namespace
    'team'
    >>> str(RegistryScope.parse("localhost:5000/team/app"))
    'localhost:5000/team/app'
    """

    registry: str
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ImgsecError` (invalid-option) for anything else, a tag or digest included."""
        registry, slash, path = text.partition("/")
        if not _is_host(registry) or not _REGISTRY.fullmatch(registry):
            raise _refuse_scope(text, "it does not begin with a registry host")
        if ":" in path or "@" in path:
            raise _refuse_scope(text, "tags and digests do not narrow a list; leave them out")
        if slash and not _PATH.fullmatch(path):
            raise _refuse_scope(text, "its path has parts that no registry accepts")
        if len(text) > NAME_MAX_CHARS:
            raise _refuse_scope(text, f"it is longer than {NAME_MAX_CHARS} characters")
        return cls(registry, path)

    @property
    def namespace(self) -> str | None:
        return self.path.partition("/")[0] or None

    @property
    def repository(self) -> str | None:
        """The path of the one repository; None for more than that."""
        return self.path if "/" in self.path else None

    def covers(self, repository: str) -> bool:
        """Whether a repository of this registry is in the scope.

        >>> RegistryScope.parse("us.icr.io/team").covers("teammates/app")
        False
        """
        if self.repository is not None:
            return repository == self.path
        return not self.path or repository.partition("/")[0] == self.path

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}" if self.path else self.registry


def _refuse_scope(text: str, why: str) -> ImgsecError:
    hint = "Write a registry host, and a namespace or repository to narrow it: us.icr.io/team/app"
    return ImgsecError(INVALID_OPTION(f"{shown(text)} is no registry: {why}", hint=hint))


_PATTERN_HOST = re.compile(r"[a-z0-9*](?:[a-z0-9.*-]*[a-z0-9*])?(?::[0-9*]{1,5})?")
_PATTERN_PATH = re.compile(r"[a-z0-9*][a-z0-9._*/-]*(?::[A-Za-z0-9_.*-]+)?")


def names_tags(pattern: str) -> bool:
    """Whether a rule's name says by which tags its images are meant, and not by which digests.

    >>> [names_tags(f"localhost:5000/app{end}") for end in (":1", ":*-debug", ":1*", "", ":*")]
    [True, True, True, False, False]
    """
    is_any = pattern.endswith(":*")
    return ":" in pattern.rpartition("/")[2] and "@" not in pattern and not is_any


@dataclass(frozen=True, slots=True)
class RepositoryPattern:
    """A rule's name in a Portieris policy: host and path, ``*`` for any run of characters.

    Stricter than the engine (Portieris `helpers/wildcard`), which takes any text: a pattern
    without a slash would be met by every host, and ``app*`` by ``application/evil``.

    >>> RepositoryPattern.parse("registry.example.com/team/*").is_open
    True
    """

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ImgsecError` (invalid-pattern) for a pattern that cannot be meant."""
        host, slash, path = text.partition("/")
        if "@" in text:
            raise _refuse_pattern(text, "digests are covered by themselves; leave @ out")
        if not slash or not path:
            raise _refuse_pattern(text, "it needs a registry host, a slash and a path")
        if not _PATTERN_HOST.fullmatch(host) or host.strip("*.") == "":
            raise _refuse_pattern(text, "its host is not a host name, with * for a part")
        if not re.search(r"[.:]", host) and host != "localhost":
            raise _refuse_pattern(text, f"{host} is no registry host; write the host in front")
        if "*" in host.partition(":")[0].removeprefix("*."):
            raise _refuse_pattern(
                text,
                "in a host, * stands for leading labels only, as in *.icr.io; anywhere else"
                " foreign hosts would meet it",
            )
        if not _PATTERN_PATH.fullmatch(path) or "//" in path or path.endswith("/"):
            raise _refuse_pattern(text, "its path has parts that no image has")
        repository = path.partition(":")[0]
        if repository.endswith("*") and not (repository == "*" or repository.endswith("/*")):
            raise _refuse_pattern(text, "a * behind a name is met by longer names; write name/*")
        return cls(text)

    @property
    def is_open(self) -> bool:
        """Ends in a star, so that digest references are covered without a further rule."""
        return self.text.endswith("*")

    def __str__(self) -> str:
        return self.text


def _refuse_pattern(text: str, why: str) -> ImgsecError:
    return ImgsecError(INVALID_PATTERN(f"{shown(text)} is not a repository pattern: {why}"))
