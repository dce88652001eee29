# SPDX-License-Identifier: Apache-2.0
"""The same images under another text: hosts that a runtime takes for one, and engines do not.

No list of them is complete: any letter of a host may be in upper case. So a rule's own host is
looked at, too, whether it is one of these with other letters or with stars.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from imgsec.domain.engines import Engine
from imgsec.domain.hosts import HUB, HUB_HOSTS, other_icr_host, public_icr_host
from imgsec.domain.lint_examples import overlaid
from imgsec.domain.wildcard import compare, is_met

_OFFICIAL = "library/"
TLS_PORT = ":443"
_ANY_PORT = ":*"
_REGION = "us"  # stands for a star in a host of which the other rule's host tells nothing
_AT_IBM = "us.icr.io"  # whose advisor denies what is elsewhere
_HOST = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*\.[a-z0-9]+(?::[0-9]+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Respelt:
    """A rule's name in another spelling.

    of: the name as the rule has it. host: the rule's own, without a star; empty for a name of
    Docker Hub without one. is_short: the other spelling has no host.
    """

    name: str
    of: str
    host: str = ""
    is_short: bool = False

    def usual(self, image: str, engine: Engine) -> str | None:
        """What the rule calls an image that meets the other spelling; None where it does not."""
        if self.is_short and not is_short(image):
            return None
        path = image if self.is_short else image.partition("/")[2]
        bare = path.removeprefix(_OFFICIAL)
        is_official = "/" not in bare and _is_hub(self.host)
        for each in (f"{_OFFICIAL}{bare}", bare) if is_official else (path,):
            text = f"{self.host}/{each}" if self.host else each
            if text != image and is_met(self.of, text, engine):
                return text
        return None

    def likewise(self, name: str) -> str:
        """The name of another rule for that host, in this spelling."""
        path = name.partition("/")[2] if self.host else name
        if self.is_short:
            return path.removeprefix(_OFFICIAL)
        return f"{self.name.partition('/')[0]}/{path}"


def registry_of(host: str) -> str:
    """A host, or a host with its port, as people spell it.

    >>> registry_of("private.US.icr.io:443"), registry_of("index.docker.io")
    ('us.icr.io', 'docker.io')
    """
    host = public_icr_host(host.lower().removesuffix(TLS_PORT))
    return HUB if host in HUB_HOSTS else host


def spellings_of(registry: str) -> tuple[str, ...]:
    """Texts for the host of a registry, which is told as people spell it.

    >>> spellings_of("us.icr.io")[:4]
    ('us.icr.io', 'us.icr.io:443', 'US.icr.io', 'private.us.icr.io')
    """
    first, dot, rest = registry.partition(".")
    ports = ("",) if ":" in registry else ("", TLS_PORT)
    twin = other_icr_host(registry)
    others = (*((twin,) if twin is not None else ()), *(HUB_HOSTS if registry == HUB else ()))
    usual = [f"{registry}{port}" for port in ports]
    found = [*usual, f"{first.upper()}{dot}{rest}"]
    found += [f"{other}{port}" for other in others for port in ports]
    return tuple(dict.fromkeys((*found, *(one.upper() for one in reversed(usual)))))


def respelt(name: str, beside: str, engine: Engine) -> Iterator[Respelt]:
    """A rule's name in other spellings, such as images have that another rule's name is met by.

    >>> from imgsec.domain.engines import NEWEST
    >>> [one.name for one in respelt("us.icr.io/team/*", "Us.icr.io/*", NEWEST)]
    ['Us.icr.io/team/*']
    """
    host, rest = _divided(name)
    if not rest:
        return
    for spelt, own in _spelt_hosts(host, _hosts_of(beside, engine)).items():
        for path in _hub_paths(rest) if _is_hub(own) else (rest,):
            if path != rest or spelt != own:
                yield Respelt(f"{spelt}/{path}", name, own)
    if may_be_hub(host) and may_be_short(beside, engine):
        for path in _hub_paths(rest):
            for short in _shortened(path, beside):
                if short != name:
                    yield Respelt(short, name, HUB if "*" in host else host, is_short=True)


def paths_of(name: str) -> tuple[str, ...]:
    """What the images of a name have behind their host, however that is spelt; patterns as well.

    >>> paths_of("us.icr.io/team/*"), paths_of("nginx")
    (('team/*',), ('nginx', 'library/nginx'))
    """
    if is_short(name):
        return _hub_paths(name)
    host, _, rest = name.partition("/")
    return _hub_paths(rest) if may_be_hub(host) else (rest,)


def short_forms_of(name: str) -> tuple[str, ...]:
    """The paths of a name whose images may be named without a host."""
    return paths_of(name) if is_short(name) or may_be_hub(name.partition("/")[0]) else ()


def is_short(name: str) -> bool:
    """Whether it is a name of Docker Hub without its host.

    >>> [is_short(name) for name in ("nginx:1", "team/*", "localhost/app", "us.icr.io*", "*")]
    [True, True, False, False, False]
    """
    first, slash, _ = name.partition("/")
    if slash:
        return not (set(first) & set("*.:") or first == "localhost" or first != first.lower())
    bare = first.partition(":")[0]
    is_open = "*" in first and bool(set(first) & set(".:"))
    return bare[:1] not in ("", "*") and bare == bare.lower() and not is_open


def _divided(name: str) -> tuple[str, str]:
    """A name's host and the rest; no rest where nobody can say."""
    if is_short(name):
        return "", name
    host, slash, rest = name.partition("/")
    if slash:
        return host, rest
    host, star, rest = name.partition("*")
    return (host, f"*{rest}") if star and _HOST.fullmatch(host) else (name, "")


def may_be_hub(host: str) -> bool:
    """Whether a rule's host can stand for Docker Hub's."""
    return _is_hub(host) or compare(_without_port(host), HUB)


def _is_hub(host: str) -> bool:
    return not host or registry_of(host) == HUB


def _without_port(host: str) -> str:
    return host.removesuffix(TLS_PORT).removesuffix(_ANY_PORT)


def _hosts_of(beside: str, engine: Engine) -> tuple[str, ...]:
    """What images that meet a name may have as their host: a star may go on behind it."""
    host, slash, _ = beside.partition("/")
    if slash and engine.splits_hosts:
        return (host,)
    if not slash:
        host += _ANY_PORT  # what may follow as a tag
    reaching = [host[: at + 1] for at, letter in enumerate(host) if letter == "*"]
    return tuple(dict.fromkeys((*([host] if slash else []), *reaching)))


def _spelt_hosts(host: str, others: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for other in others:
        found |= dict(_spelt_as(host, other))
    return found


@lru_cache(maxsize=4096)
def _spelt_as(host: str, other: str) -> tuple[tuple[str, str], ...]:
    """Hosts that meet the other rule's, each with what this rule's has for it."""
    found: dict[str, str] = {}
    for registry in _registries(host, other):
        texts = spellings_of(registry)
        own = next((one for one in texts if compare(host, one)), None) if "*" in host else host
        if own is None:
            continue
        if "*" not in other and registry_of(other) == registry:
            found.setdefault(other, own)
        for text in texts:
            if (spelt := _as_written(other, text)) is not None:
                found.setdefault(spelt, own)
    return tuple(found.items())


def _registries(host: str, other: str) -> Iterator[str]:
    """Such as both hosts may stand for."""
    if "*" not in host:
        yield registry_of(host) if host else HUB
        return
    laid = [
        overlaid(mine, its)
        for mine in (registry_of(_without_port(host)), host.lower())
        for its in (registry_of(_without_port(other)), other.lower())
    ]
    filled = [_filled(one) for one in laid if one is not None] or [_filled(host)]
    if may_be_hub(host):
        filled.append(HUB)
    if compare(_without_port(host), _AT_IBM):
        filled.append(_AT_IBM)
    yield from dict.fromkeys(registry_of(one) for one in filled)


def _filled(host: str) -> str:
    bare = host.replace("*", "")
    return bare if _HOST.fullmatch(bare) else host.replace("*", _REGION)


def _hub_paths(path: str) -> tuple[str, ...]:
    """A path of Docker Hub, with and without the folder that its own images are in."""
    found = [path, *sorted(filter(None, _behind(_OFFICIAL, path)))]
    if "/" not in path and path[:1] != "*":
        found.append(f"{_OFFICIAL}{path}")
    return tuple(dict.fromkeys(found))


def _behind(text: str, pattern: str) -> set[str]:
    """What is left of a pattern for what follows the text.

    >>> sorted(_behind("library/", "*/nginx"))
    ['*/nginx', 'nginx']
    """
    places = {0}
    for letter in text:
        after = set()
        for place in places:
            at = place
            while pattern[at : at + 1] == "*":
                after.add(at)
                at += 1
            if pattern[at : at + 1] == letter:
                after.add(at + 1)
        places = after
    return {pattern[at:] for at in places}


def may_be_short(beside: str, engine: Engine) -> bool:
    """Whether an image without a host can meet a name."""
    first, slash, _ = beside.partition("/")
    if is_short(beside) or not slash:
        return is_short(beside) or first[:1] == "*"
    return "*" in first and not (engine.splits_hosts and set(first) & set(".:"))


def _shortened(path: str, beside: str) -> Iterator[str]:
    """Paths by themselves; a star at the beginning must not stand for a host."""
    if path[:1] != "*":
        yield path
        return
    yield f"app{path}"
    if head := beside.partition("*")[0]:
        yield f"{head}{path}"


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
