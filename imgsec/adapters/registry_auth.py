# SPDX-License-Identifier: Apache-2.0
"""Registry credentials: which entry of an auth file belongs to a repository, and how it is used.

File format: containers-auth.json(5), which Docker's ``config.json`` shares. The most specific key
wins: host/path/parts, then its parents, then the host alone.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any, Protocol

from imgsec.adapters.files import read_file
from imgsec.domain.hosts import host_of, is_loopback
from imgsec.domain.keys import SecretBytes
from imgsec.domain.reference import ImageReference, shown
from imgsec.errors import ImgsecError
from imgsec.reasons import (
    ANSWER_MALFORMED,
    AUTH_REALM_REFUSED,
    INPUT_MALFORMED,
)

AUTH_FILE_MAX_BYTES = 1 * 2**20
# Docker Hub's registry goes by another name than its images.
API_HOSTS = {"docker.io": "registry-1.docker.io"}
# Registries and trust servers whose token service is known to live on another host.
_REALM_HOSTS = {
    "notary.docker.io": "auth.docker.io",
    "registry-1.docker.io": "auth.docker.io",
    "registry.gitlab.com": "gitlab.com",
    "registry.redhat.io": "sso.redhat.com",
}
_CHALLENGE = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"([^"]*)"|([^\s",]+))')


@dataclass(frozen=True, slots=True)
class Credential:
    """A user and password; `basic` is their base64, as the file and the header have it."""

    basic: SecretBytes

    def header(self) -> str:
        return "Basic " + self.basic.reveal().decode("ascii")


class Credentials(Protocol):
    """Knows the credential for a repository."""

    def credential_for(self, image: ImageReference) -> Credential | None:
        """None: ask anonymously."""


@dataclass(frozen=True, slots=True)
class AuthFile:
    """The entries of one auth file, by the key as written."""

    path: str
    entries: dict[str, Credential]

    @classmethod
    def read(cls, path: str) -> AuthFile:
        """Raises `ImgsecError` (input-unreadable, input-malformed)."""
        content = read_file(path, max_bytes=AUTH_FILE_MAX_BYTES)
        try:
            document = json.loads(content)
            auths: Any = document.get("auths", {})
            if auths is None:
                auths = {}
            entries = {
                key: Credential(SecretBytes(_basic(entry)))
                for key, entry in auths.items()
                if entry and {"auth", "username"} & entry.keys()
            }
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError, binascii.Error):
            raise ImgsecError(
                INPUT_MALFORMED(f"the auth file {shown(path)} is not a registry auth file")
            ) from None
        return cls(path, entries)

    def credential_for(self, image: ImageReference) -> Credential | None:
        """The most specific entry for the image's repository; None: ask anonymously."""
        parts = image.name.split("/")
        for count in range(len(parts), 0, -1):
            if found := self.entries.get("/".join(parts[:count])):
                return found
        for key, credential in self.entries.items():
            if _host_of_key(key) == image.registry:
                return credential
        return None


def _basic(entry: dict[str, str]) -> bytes:
    if entry.get("auth"):
        pair = base64.b64decode(entry["auth"], validate=True).rstrip(b"\0")
    else:
        pair = b":".join(entry[name].encode() for name in ("username", "password"))
    if b":" not in pair:
        raise ValueError("no colon between user and password")
    return base64.b64encode(pair)


def _host_of_key(key: str) -> str:
    """Docker writes some keys as addresses: https://index.docker.io/v1/ means docker.io.

    Only an address has a path that means nothing; that of another key is a namespace.
    """
    address = re.sub(r"^https?://", "", key)
    host = address.partition("/")[0] if address != key else key
    return "docker.io" if host == "index.docker.io" else host


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a 401 asks for: ``basic``, or ``bearer`` with its token service."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""

    @classmethod
    def parse(cls, header: str) -> Challenge:
        """From ``WWW-Authenticate``; values may be unquoted, as cp.icr.io sends them."""
        scheme, _, rest = header.strip().partition(" ")
        fields = {name.lower(): quoted or bare for name, quoted, bare in _CHALLENGE.findall(rest)}
        parts = (fields.get(name, "") for name in ("realm", "service", "scope"))
        return cls(scheme.lower(), *parts)

    def require_realm(self, registry: str, trusted: tuple[str, ...]) -> str:
        """The token service's address, if the credential may go there.

        Raises `ImgsecError` (auth-realm-refused, answer-malformed).
        """
        found = re.fullmatch(r"(https?)://([a-z0-9.:-]+)(/[^\s?#]*)?", self.realm)
        if not found:
            raise ImgsecError(
                ANSWER_MALFORMED(f"{registry} names no token service: {shown(self.realm)}")
            )
        scheme, authority = found[1], found[2]
        if scheme == "http" and not is_loopback(authority):
            raise ImgsecError(AUTH_REALM_REFUSED(f"the token service {authority} is not https"))
        at_home = authority == registry or (
            host_of(authority) == host_of(registry) and not is_loopback(authority)
        )
        known = _REALM_HOSTS.get(registry) == authority
        if not (at_home or known or host_of(authority) in {host_of(host) for host in trusted}):
            raise ImgsecError(
                AUTH_REALM_REFUSED(f"{registry} sends credentials to {shown(authority)}")
            )
        return self.realm
