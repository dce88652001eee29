# SPDX-License-Identifier: Apache-2.0
"""Whose images meet a rule that lets them through unsigned, beside those that are meant."""

from __future__ import annotations

import re
from collections.abc import Iterator

from imgsec.domain.hosts import is_icr_host
from imgsec.domain.lint_catalogue import (
    ANY_NAMESPACE,
    HOST_NOT_ANCHORED,
    LONGER_NAMES,
    SPOOFABLE_HOST,
    Level,
    LintFinding,
)
from imgsec.domain.lint_demands import is_unsigned, open_to_all
from imgsec.domain.lint_examples import FOREIGN_HOST, Host, engine_name, first_image
from imgsec.domain.lint_names import HOST_NAME
from imgsec.domain.lint_pool import LintPool
from imgsec.domain.lint_sources import LintRule

# Where anybody can have a namespace.
_PUBLIC_HOSTS = frozenset(
    (
        *("docker.io", "index.docker.io", "registry-1.docker.io", "quay.io", "ghcr.io", "gcr.io"),
        *("registry.gitlab.com", "public.ecr.aws"),
    )
)
# Domains in which anybody can have a host: some of https://publicsuffix.org, and those of rented
# registries. The latter of the two have regions below them.
_SHARED_DOMAINS = frozenset(
    (
        *("azurecr.io", "jfrog.io", "github.io", "gitlab.io", "herokuapp.com", "ngrok.io"),
        *("azurewebsites.net", "cloudfront.net", "co.uk", "com.au", "co.jp", "com.br", "co.in"),
    )
)
_SHARED_BY_REGION = frozenset(("amazonaws.com", "appdomain.cloud", "aliyuncs.com", "azure.com"))
# A name there that is one account's: of AWS its number, before dkr.ecr; of IBM what an account has
# for a cluster's ingress, with its number. https://docs.aws.amazon.com/AmazonECR/latest/userguide/
# Registries.html, https://cloud.ibm.com/docs/containers?topic=containers-managed-ingress-about
_OWN_LABEL = re.compile(r"[0-9]+|.+-[0-9]{4}")
_HINT_FOR_CISE = "Write each host."
_LEVELS = tuple(Level)
# Which the engine takes for IBM's, and asks for the advisor's word.
_LOOKALIKE = "evilicr.io"
_LEAST_DOTS = 2  # the least of an own domain, from its first dot: .example.com


def spoofing(rule: LintRule, pool: LintPool) -> Iterator[LintFinding]:
    """Foreign images that this very rule lets through; nothing for a rule that demands a proof."""
    if rule.demand is None or not is_unsigned(rule.demand) or not rule.name.strip("*"):
        return
    engine = pool.engine
    foreign = FOREIGN_HOST if rule.demand.advisor is None else _LOOKALIKE
    kinds = (
        (SPOOFABLE_HOST, None, _foreign_hosts(rule.name, foreign), "an image of a foreign host"),
        (
            SPOOFABLE_HOST,
            Level.WARNING,
            _hosts_with_port(rule.name),
            "an image of a host of that name",
        ),
        (
            HOST_NOT_ANCHORED,
            None,
            () if engine.splits_hosts else _foreign_beginnings(rule.name, foreign),
            "an image of a foreign host",
        ),
        (ANY_NAMESPACE, None, _any_namespace(rule.name), "an image of anybody's namespace"),
        (LONGER_NAMES, Level.WARNING, _other_namespaces(rule.name), "a namespace of another name"),
        (LONGER_NAMES, Level.NOTE, _longer_names(rule.name), "a longer name"),
    )
    for kind, level, texts, what in kinds:
        image = next((text for text in texts if _lets_through(rule, text, pool)), None)
        if image is not None:
            if not _is_let_through_anyway(image, level or kind.level, pool):
                text = f"{rule} lets {what} through unsigned"
                hint = _HINT_FOR_CISE if kind is HOST_NOT_ANCHORED and engine.is_cise else None
                yield rule.tell(kind, text, image=image, level=level, hint=hint)
            return


def _is_let_through_anyway(image: str, level: Level, pool: LintPool) -> bool:
    """Whether that is told, as gravely, of a rule for all that no other names."""
    other = pool.found(next(iter(pool.resolve(image).others), None))
    told = open_to_all(other) if other is not None else None
    return told is not None and _LEVELS.index(told) <= _LEVELS.index(level)


def _lets_through(rule: LintRule, image: str, pool: LintPool) -> bool:
    """Whether it decides about the image, which the advisor does not deny for its host."""
    found = first_image((image,), rule.name, pool.engine)
    if found is None or rule.demand is None or pool.decide(found) is not rule:
        return False
    name = engine_name(found)
    return rule.demand.advisor is None or (name is not None and name.is_at_ibm)


def _tagged(name: str) -> str:
    """With a tag, unless it has one."""
    return name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:1.0"


def _plain(text: str) -> str:
    """A part of a name behind its host, with something in place of its stars."""
    text = re.sub(r"(?<![a-z0-9])\*", "app", text)
    return text.replace("*", "")


def _foreign_hosts(name: str, foreign: str) -> Iterator[str]:
    """Texts of foreign hosts that could meet the name, since its host is open at one end.

    foreign: such a host, which is tried wherever it could stand.
    """
    host = Host.of(name)
    if host.text is None:
        if name.startswith("*"):
            yield _tagged(f"{foreign}/{_plain(name.lstrip('*')).strip('/.-_') or 'app'}")
            yield _tagged(f"{foreign}/app{_plain(name.lstrip('*'))}")
        head, star, rest = name.partition("*")
        if star and head:
            yield _tagged(f"{head}.{foreign}/app{_plain(rest)}")
            yield _tagged(f"{head}.{foreign}/{_plain(rest)}")
        return
    if "*" not in host.text:
        return
    open_host = host.text.removesuffix(host.port)
    port = host.port.replace("*", "5000")
    end = open_host.rpartition("*")[2]
    if "*" not in open_host:
        return
    path = _tagged(_plain(host.rest))
    if end.startswith(".") and end.count(".") >= _LEAST_DOTS and not _is_shared(end[1:]):
        return
    texts: tuple[str, ...]
    if not end:
        texts = (f".{foreign}", foreign)
    elif end.startswith("."):
        texts = (".evil", "evil")
    else:
        texts = ("evil", ".evil", "evil.x")
    if end and foreign.endswith(end):
        texts += (foreign.removesuffix(end),)
    for text in texts:
        pieces = open_host.split("*")
        filled = "x".join(pieces[:-1]) + text + pieces[-1]
        yield f"{filled}{port}/{path}"


def _is_shared(domain: str) -> bool:
    """Whether anybody can have a host in a domain."""
    domain = domain.lower()
    if domain in _SHARED_DOMAINS or domain in _SHARED_BY_REGION:
        return True
    in_regions = any(domain.endswith(f".{one}") for one in _SHARED_BY_REGION)
    return in_regions and not any(map(_OWN_LABEL.fullmatch, domain.split(".")))


def _hosts_with_port(name: str) -> Iterator[str]:
    """Texts of hosts that are called as an image is: what is meant for its tag is their port."""
    bare, colon, tag = name.partition(":")
    if "/" in name or "@" in name or "*" in bare or HOST_NAME.fullmatch(bare):
        return
    port, star, rest = tag.partition("*")
    if star or not colon:
        yield _tagged(f"{bare}:{port or '80'}/evil/app{_plain(rest)}")


def _foreign_beginnings(name: str, foreign: str) -> Iterator[str]:
    """Texts of foreign hosts, for the engines whose star in a host is met by slashes."""
    host = Host.of(name)
    if host.text is None or "*" not in host.text:
        return
    head, _, end = host.text.partition("*")
    if ":" in head:
        return
    begin = f"{head}.{foreign}" if head else foreign
    end = _plain(end)
    yield f"{begin}/x{end}/{_tagged(_plain(host.rest))}"


def is_public(host: str) -> bool:
    """Whether anybody can have a namespace at a registry."""
    plain = host.replace("*", "x").lower()
    return plain in _PUBLIC_HOSTS or is_icr_host(plain)


def _any_namespace(name: str) -> Iterator[str]:
    host = Host.of(name)
    if host.text is None or not is_public(host.text) or not host.rest.startswith("*"):
        return
    place = host.text.replace("*", "us")
    rest = host.rest.lstrip("*")
    yield _tagged(f"{place}/evil/app{_plain(rest)}")
    yield _tagged(f"{place}/evil{_plain(rest)}")
    yield _tagged(f"{place}/evil/{_plain(rest)}")


def _other_namespaces(name: str) -> Iterator[str]:
    """Where the first part behind a public host is open at its end."""
    host = Host.of(name)
    first, star, rest = host.rest.partition("*")
    if host.text is None or not is_public(host.text) or not star or not first:
        return
    if "/" in first or ":" in first or "@" in first:
        return
    yield _tagged(f"{host.text.replace('*', 'us')}/{first}evil/app{_plain(rest)}")
    yield _tagged(f"{host.text.replace('*', 'us')}/{first}evil{_plain(rest)}")


def _longer_names(name: str) -> Iterator[str]:
    """Where a name is open at its end; a dash, dot or underscore there says that it is meant."""
    host = Host.of(name)
    found = re.search(r"(?<=[a-z0-9])\*", host.rest)
    if host.text is None or found is None:
        return
    head, rest = host.rest[: found.start()], host.rest[found.end() :]
    if ":" in head.rpartition("/")[2] or "@" in head:
        return
    place = re.sub(r"^\*|\*", "x", host.text)
    for text in (f"{head}-evil{_plain(rest)}", f"{head}-evil/app{_plain(rest)}"):
        filled = f"{place}/{_tagged(re.sub(r'[*]', 'x', text))}"
        if engine_name(filled) is not None:
            yield filled
