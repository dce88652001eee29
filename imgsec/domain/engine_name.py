# SPDX-License-Identifier: Apache-2.0
"""An image's text as Portieris reads it, for everything but the comparison with rules.

Credentials, trust servers, patches and the keys of denials hang on it (Portieris
`helpers/image/image.go`: NewReference; grammar and defaults: distribution/reference, `normalize.go`
and `reference.go`). It is laxer than `imgsec.domain.reference`, since the text is the workload's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from imgsec.domain.wildcard import compare

_HUB, _LEGACY_HUB, _OFFICIAL = "docker.io", "index.docker.io", "library/"
_DIGEST_MARK = "@sha256:"
_PATH_MAX_CHARS = 255  # distribution/reference: RepositoryNameTotalLengthMax, without the host
_REST_MAX_CHARS = _PATH_MAX_CHARS + len(":") + 128 + len("@sha512:") + 128
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])"
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_NAMED = re.compile(
    rf"(?:(?P<domain>{_HOST}(?::[0-9]+)?)/)?(?P<path>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?P<digest>@(?:sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}))?"
)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
# Host's end -> the Notary server that the engine knows for it.
_TRUST_SERVERS = {"docker.io": "https://notary.docker.io", "quay.io": "https://quay.io:443"}
# Hosts as the engine tells them, by their letters: those that it has a trust server for, and IBM's.
# None is both.
TRUSTED_HOSTS = tuple(f"*{end}" for end in _TRUST_SERVERS)
IBM_HOSTS = ("*icr.io", "registry*.bluemix.net")


class Panic(Exception):
    """The engine's handler breaks on this image: the webhook call fails, failurePolicy decides."""


@dataclass(frozen=True, slots=True)
class EngineName:
    """What the engine makes of an image's text.

    repository: with the host, ``docker.io/library/nginx`` for ``nginx``. domain: the host with its
    port; empty where what should be one has an underscore, and so is read as part of the path.
    digest: what stands behind ``@sha256:``, unchecked; empty for none.

    >>> EngineName.parse("nginx").tagged
    'docker.io/library/nginx:latest'
    """

    text: str
    repository: str
    domain: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ValueError` for a name that the engine calls invalid, and `Panic`."""
        name, *digests = text.split(_DIGEST_MARK)
        if _IDENTIFIER.fullmatch(name):
            raise ValueError("64 hexadecimal digits are an id, and no name")
        domain, rest = _split(name)
        if len(rest) > _REST_MAX_CHARS:
            raise ValueError("it is too long for a name")
        found = _NAMED.fullmatch(f"{domain}/{rest}")
        if found is None or len(found["path"]) > _PATH_MAX_CHARS:
            raise ValueError("it is no image's name")
        tag = found["tag"]
        if found["digest"] and tag is None:
            raise Panic(f"a digest of another algorithm and no tag: {text}")
        domain, path = found["domain"] or "", found["path"]
        repository = f"{domain}/{path}" if domain else path
        return cls(text, repository, domain, tag or "latest", (*digests, "")[0])

    @property
    def host(self) -> str:
        """Without a port, which is how credentials are looked up."""
        if self.domain.startswith("["):
            return self.domain[1:].partition("]")[0]
        return self.domain.partition(":")[0]

    @property
    def tagged(self) -> str:
        return f"{self.repository}:{self.tag}"

    @property
    def is_at_ibm(self) -> bool:
        """As the engine asks it: by the letters that the host ends in, so ``xicr.io`` counts."""
        return any(compare(pattern, self.host) for pattern in IBM_HOSTS)

    @property
    def trust_server(self) -> str | None:
        """The Notary server that the engine asks where a rule names none."""
        servers = (url for end, url in _TRUST_SERVERS.items() if self.host.endswith(end))
        return next(servers, None)

    @property
    def denial_key(self) -> str:
        """What the engine files denials under; a later container of the same key starts anew."""
        return f"{self.repository}:{self.digest or self.tag}"


def _split(name: str) -> tuple[str, str]:
    """Host and the rest, with Docker Hub's defaults."""
    first, slash, rest = name.partition("/")
    if not slash:
        return _HUB, _OFFICIAL + name
    is_host = first == "localhost" or "." in first or ":" in first or first != first.lower()
    domain, rest = (first, rest) if is_host else (_HUB, name)
    if domain == _LEGACY_HUB:
        domain = _HUB
    if domain == _HUB and "/" not in rest:
        rest = _OFFICIAL + rest
    return domain, rest
