# SPDX-License-Identifier: Apache-2.0
"""What is in the registry: asked of docker-registry over its unix socket.

Untagged manifests are found in its storage folder, because its API lists none. Blocking calls;
the application runs them in threads.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

_TYPES = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_TIMEOUT = 10.0  # seconds
_MANIFEST_MAX = 4 * 2**20  # bytes
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest of a repository."""

    digest: str
    media_type: str
    content: dict[str, Any]

    @property
    def is_list(self) -> bool:
        """True for an index or manifest list."""
        return "manifests" in self.content

    @property
    def size(self) -> int:
        """Bytes of everything that it names directly."""
        parts = [*self.content.get("layers", ()), *self.content.get("manifests", ())]
        if config := self.content.get("config"):
            parts.append(config)
        return sum(int(part.get("size", 0)) for part in parts)


class Catalogue:
    """Reads the registry."""

    def __init__(self, socket_path: Path, storage: Path) -> None:
        self._socket = socket_path
        self._repositories = storage / "docker" / "registry" / "v2" / "repositories"

    def repositories(self) -> list[str]:
        """All repositories that hold something."""
        found: list[str] = []
        path: str | None = "/v2/_catalog?n=1000"
        while path:
            value, headers = self._get_json(path)
            found += value.get("repositories") or []
            path = _next(headers.get("link"))
        return found

    def tags(self, repository: str) -> list[str]:
        """The tags of one repository; none when it does not exist."""
        value, _ = self._get_json(f"/v2/{quote(repository)}/tags/list")
        return sorted(value.get("tags") or [])

    def digests(self, repository: str) -> list[str]:
        """Every manifest of one repository, tagged or not."""
        folder = self._repositories / repository / "_manifests" / "revisions" / "sha256"
        try:
            links = sorted(entry.name for entry in folder.iterdir() if (entry / "link").exists())
        except OSError:
            return []
        return [f"sha256:{name}" for name in links if _HEX.fullmatch(name)]

    def digest(self, repository: str, reference: str) -> str | None:
        """The digest behind a tag or digest; None when the registry has no such image."""
        status, _, headers = self._request("HEAD", _manifest_path(repository, reference))
        return headers.get("docker-content-digest") if status == 200 else None

    def tags_of(self, repository: str, digest: str) -> tuple[str, ...]:
        """The tags that point to DIGEST now."""
        return tuple(tag for tag in self.tags(repository) if self.digest(repository, tag) == digest)

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        """A manifest with its content."""
        status, body, headers = self._request("GET", _manifest_path(repository, reference))
        if status != 200:
            return None
        digest, media_type = headers.get("docker-content-digest"), headers.get("content-type")
        return Manifest(digest or "", media_type or "", _object(body))

    def config(self, repository: str, manifest: Manifest) -> dict[str, Any]:
        """The image configuration; empty for an index or another kind of artifact."""
        digest = str((manifest.content.get("config") or {}).get("digest", ""))
        if not digest:
            return {}
        value, _ = self._get_json(f"/v2/{quote(repository)}/blobs/{quote(digest)}")
        return value

    def _get_json(self, path: str) -> tuple[dict[str, Any], dict[str, str]]:
        status, body, headers = self._request("GET", path)
        return (_object(body) if status == 200 else {}), headers

    def _request(self, method: str, path: str) -> tuple[int, bytes, dict[str, str]]:
        connection = _UnixConnection(self._socket)
        try:
            connection.request(method, path, headers={"Accept": _TYPES})
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return response.status, response.read(_MANIFEST_MAX), headers
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("sandbox", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(str(self._path))


def labels(config: dict[str, Any]) -> dict[str, Any]:
    """The labels of an image; whoever pushed the configuration may have written anything."""
    inner = config.get("config")
    found = inner.get("Labels") if isinstance(inner, dict) else None
    return found if isinstance(found, dict) else {}


def created(config: dict[str, Any]) -> int:
    """When an image was built, in Unix seconds; 0 when it does not say."""
    try:
        return int(datetime.fromisoformat(str(config["created"])[:19] + "+00:00").timestamp())
    except (KeyError, ValueError):
        return 0


def images(catalogue: Catalogue, repositories: list[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Repository, digest and tags of every tagged image."""
    for repository in repositories:
        by_digest: dict[str, list[str]] = {}
        for tag in catalogue.tags(repository):
            if digest := catalogue.digest(repository, tag):
                by_digest.setdefault(digest, []).append(tag)
        for digest, tags in by_digest.items():
            yield repository, digest, tags


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _manifest_path(repository: str, reference: str) -> str:
    return f"/v2/{quote(repository)}/manifests/{quote(reference)}"


def _next(link: str | None) -> str | None:
    found = re.match(r'<([^>]+)>; rel="next"', link or "")
    return found[1] if found else None
