# SPDX-License-Identifier: Apache-2.0
"""Which host may be sent what: addresses, loopback, and the homes of an IAM token."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import INSECURE_ADDRESS, INVALID_OPTION

_METADATA_HOST = "169.254.169.254"  # IBM Cloud VPC, Instance Metadata
_LOOPBACK = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}|::1")
# IBM Cloud's own domains; a host belongs to one label by label, so that xicr.io is foreign.
_ICR_DOMAIN, _PRIVATE = "icr.io", "private."
# Docker Hub under other names, which engines do not take for one another.
HUB = "docker.io"
HUB_HOSTS = ("index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_IAM_TOKEN_DOMAINS = (
    _ICR_DOMAIN,
    "iam.cloud.ibm.com",
    "kms.cloud.ibm.com",
    "kms.appdomain.cloud",
    "hs-crypto.cloud.ibm.com",
    "hs-crypto.appdomain.cloud",
)


def host_of(authority: str) -> str:
    """The host of ``host[:port]``, in lower case.

    >>> host_of("US.icr.io:443")
    'us.icr.io'
    """
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.rpartition(":")[0].lower() if ":" in authority else authority.lower()


def shown_address(text: str) -> str:
    """An address as it may be shown: without a password or a token that somebody put into it.

    >>> shown_address("https://user:secret@host/path?token=secret")
    "'https://...@host/path?...'"
    """
    return shown(re.sub(r"([?#]).*", r"\1...", without_login(text), flags=re.DOTALL))


def without_login(text: str) -> str:
    """An address without what somebody put before its host, however odd it is.

    >>> without_login("https://user:pass/word@host/path"), without_login("user:word@host")
    ('https://...@host/path', '...@host')
    """
    return re.sub(r"(?is)^((?:[a-z][a-z0-9+.-]*:)?//)?.*@", r"\1...@", text)


def is_loopback(authority: str) -> bool:
    """Whether ``host[:port]`` names this machine.

    >>> is_loopback("127.0.0.1:5000"), is_loopback("127.0.0.1.example.com")
    (True, False)
    """
    return bool(_LOOPBACK.fullmatch(host_of(authority)))


def may_have_iam_token(authority: str, trusted: tuple[str, ...] = ()) -> bool:
    """Whether an IAM token may be sent to ``host[:port]``; trusted: hosts named by the operator.

    >>> [may_have_iam_token(host) for host in ("private.us.icr.io", "xicr.io", "icr.io.evil.org")]
    [True, False, False]
    """
    host = host_of(authority)
    if is_loopback(authority) or host in {host_of(name) for name in trusted}:
        return True
    return any(host == domain or host.endswith("." + domain) for domain in _IAM_TOKEN_DOMAINS)


def other_icr_host(authority: str) -> str | None:
    """The same registry from within IBM Cloud's private network, or from outside; None elsewhere.

    >>> other_icr_host("us.icr.io"), other_icr_host("private.us.icr.io")
    ('private.us.icr.io', 'us.icr.io')
    """
    if not is_icr_host(authority):
        return None
    bare = authority.removeprefix(_PRIVATE)
    return bare if bare != authority else _PRIVATE + authority


def public_icr_host(authority: str) -> str:
    """The host that a registry's images are named by, however it is reached.

    >>> public_icr_host("private.us.icr.io"), public_icr_host("private.example.com")
    ('us.icr.io', 'private.example.com')
    """
    return authority.removeprefix(_PRIVATE) if is_icr_host(authority) else authority


def is_icr_host(authority: str) -> bool:
    """Whether this is one of IBM Cloud's registries.

    >>> is_icr_host("de.icr.io"), is_icr_host("xicr.io")
    (True, False)
    """
    return authority == _ICR_DOMAIN or authority.endswith("." + _ICR_DOMAIN)


@dataclass(frozen=True, slots=True)
class MetadataUrl:
    """A VPC's metadata service: on the link-local address, or loopback; without TLS by design.

    >>> MetadataUrl.parse("http://169.254.169.254").authority
    '169.254.169.254'
    """

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ImgsecError` (invalid-option)."""
        parts = re.fullmatch(r"http://([a-z0-9.]+(?::[0-9]{1,5})?)/?", text)
        if not parts or not (host_of(parts[1]) == _METADATA_HOST or is_loopback(parts[1])):
            raise ImgsecError(
                INVALID_OPTION(
                    f"{shown_address(text)} is not a metadata service: http://{_METADATA_HOST}"
                )
            )
        return cls(text.rstrip("/"))

    @property
    def authority(self) -> str:
        """``host[:port]``."""
        return urlsplit(self.text).netloc

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class ServiceUrl:
    """The base address of a service, without a trailing slash.

    >>> str(ServiceUrl.parse("https://us-south.kms.cloud.ibm.com/api/v2/"))
    'https://us-south.kms.cloud.ibm.com'
    """

    text: str

    @classmethod
    def parse(cls, text: str, *, strip: str = "/api/v2", needs_tls: bool = True) -> Self:
        """Raises `ImgsecError` (invalid-option, insecure-address).

        strip: a path that people often copy along and that the client adds by itself. needs_tls:
        except on loopback; False for what is told no secret, and whose answers prove themselves.
        """
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise ImgsecError(INVALID_OPTION(f"{shown_address(text)} is not an address")) from error
        well_formed = (
            parts.scheme in ("https", "http")
            and parts.hostname
            and re.fullmatch(r"[a-z0-9.-]+|[0-9a-f:]+", parts.hostname)
            and not (parts.username or parts.password or parts.query or parts.fragment)
            and (port is None or port > 0)
            and not parts.netloc.endswith(":")
            and re.fullmatch(r"[\x21-\x7e]+", text)
        )
        if not well_formed:
            raise ImgsecError(
                INVALID_OPTION(
                    f"{shown_address(text)} is not an address such as https://host[:port]"
                )
            )
        if needs_tls and parts.scheme == "http" and not is_loopback(parts.netloc):
            raise ImgsecError(INSECURE_ADDRESS(f"{shown_address(text)} is not https"))
        path = parts.path.rstrip("/").removesuffix(strip).rstrip("/")
        return cls(f"{parts.scheme}://{parts.netloc}{path}")

    @property
    def authority(self) -> str:
        """``host[:port]``."""
        return urlsplit(self.text).netloc

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class SignatureAddress:
    """Where signatures lie beside a registry. folder: as a path; None for one on the web.

    >>> SignatureAddress.parse("file:///srv/signatures").folder
    '/srv/signatures'
    >>> str(SignatureAddress.parse("https://files.example.com/signatures/"))
    'https://files.example.com/signatures'
    """

    text: str
    folder: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `ImgsecError` (invalid-option, insecure-address)."""
        scheme, separator, path = text.partition("://")
        if not separator:
            scheme, path = "file", text
        if scheme in ("http", "https"):
            return cls(str(ServiceUrl.parse(text, strip="")))
        if scheme != "file" or not path or "\0" in path or (separator and path[0] != "/"):
            hint = "Give a folder, or an https address."
            text = f"{shown_address(text)} is no place for signatures"
            raise ImgsecError(INVALID_OPTION(text, hint=hint))
        return cls(path.rstrip("/") or "/", path.rstrip("/") or "/")

    def __str__(self) -> str:
        return self.text
