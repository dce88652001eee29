# SPDX-License-Identifier: Apache-2.0
"""The same images under another text: hosts that a runtime takes for one, and engines do not.

No list of them is complete: any letter of a host may be in upper case. So a rule's own host is
looked at, too, whether it is one of these with other letters or with stars.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imgsec.domain.hosts import HUB, HUB_HOSTS, other_icr_host, public_icr_host
from imgsec.domain.wildcard import compare

_OFFICIAL = "library/"
TLS_PORT = ":443"


@dataclass(frozen=True, slots=True)
class Respelt:
    """A rule's name with its host spelt otherwise. host: as it was spelt, without a star.

    is_short: the name has no host any more.
    """

    name: str
    host: str
    is_short: bool = False

    def usual(self, image: str) -> Iterator[str]:
        """What an image that meets the name may be called with that host."""
        path = image if self.is_short else image.partition("/")[2]
        yield f"{self.host}/{path}"
        if self.host == HUB:
            yield f"{HUB}/{path.removeprefix(_OFFICIAL)}"
            yield f"{HUB}/{_OFFICIAL}{path}"


def registry_of(host: str) -> str:
    """A host, or a host with its port, as people spell it.

    >>> registry_of("private.US.icr.io:443"), registry_of("index.docker.io")
    ('us.icr.io', 'docker.io')
    """
    host = public_icr_host(host.lower().removesuffix(TLS_PORT))
    return HUB if host in HUB_HOSTS else host


def other_hosts(host: str) -> tuple[str, ...]:
    """Other texts for a host without a star.

    >>> other_hosts("us.icr.io")
    ('us.icr.io:443', 'US.icr.io', 'private.us.icr.io')
    """
    first, dot, rest = host.partition(".")
    found = [] if ":" in host else [host + TLS_PORT]
    found.append(f"{first.upper()}{dot}{rest}")
    if (twin := other_icr_host(host)) is not None:
        found.append(twin)
    if host == HUB:
        found += HUB_HOSTS
    return tuple(found)


def respelt(name: str, beside: str) -> Iterator[Respelt]:
    """A rule's name under other hosts, such as images have that another rule's name is met by.

    >>> [one.name for one in respelt("us.icr.io/team/*", "Us.icr.io/*")]
    ['Us.icr.io/team/*']
    """
    host, slash, rest = name.partition("/")
    if not slash or not host.strip("*"):
        return
    other, other_slash, _ = beside.partition("/")
    base = host.replace("*", "us")
    if "*" in host and other_slash and "*" not in other and compare(host, registry_of(other)):
        base = registry_of(other)
    known = (base, *other_hosts(base), f"{base}{TLS_PORT}".upper(), base.upper())
    own = [other] if other_slash and "*" not in other and _are_one(base, other) else []
    spelt = [_as_written(other, one) for one in known] if other_slash else [*known]
    for each in dict.fromkeys((*own, *filter(None, spelt))):
        if not compare(host, each):
            yield Respelt(f"{each}/{rest}", base)
    if base == HUB:
        yield from _short(rest, beside)


def _are_one(host: str, other: str) -> bool:
    return registry_of(host) == registry_of(other)


def _short(rest: str, beside: str) -> Iterator[Respelt]:
    """Docker Hub's names without its host; a star at their beginning stands for no host."""
    bare = rest.removeprefix(_OFFICIAL)
    if bare != rest:
        yield Respelt(f"{HUB}/{bare}", HUB)
    if not bare.startswith("*"):
        yield Respelt(bare, HUB, is_short=True)
        return
    yield Respelt(f"app{bare[1:]}", HUB, is_short=True)
    first, slash, _ = beside.partition("/")
    if first[:1] != "*" and not (slash and set(first) & set(".:")):
        yield Respelt(f"{beside.partition('*')[0]}{bare}", HUB, is_short=True)


def _as_written(pattern: str, host: str) -> str | None:
    """The host with the letters that a pattern has for it; None where they do not meet.

    >>> _as_written("US.*", "us.icr.io"), _as_written("*:443", "us.icr.io")
    ('US.icr.io', None)
    """
    if not compare(pattern.lower(), host.lower()):
        return None
    first, *pieces = pattern.split("*")
    if not pieces:
        return first
    last = pieces.pop()
    text, at = first, len(first)
    for piece in pieces:
        found = host.lower().find(piece.lower(), at)
        text += host[at:found] + piece
        at = found + len(piece)
    return text + host[at : len(host) - len(last)] + last
