# SPDX-License-Identifier: Apache-2.0
"""A rule's name by itself: whether any image meets it, and whether only odd spellings do."""

from __future__ import annotations

import re
from collections.abc import Iterator

from imgsec.domain.engines import Engine
from imgsec.domain.host_spellings import TLS_PORT, registry_of
from imgsec.domain.hosts import HUB_HOSTS
from imgsec.domain.lint_catalogue import (
    EMPTY_NAME,
    HOST_ONLY,
    HOST_SPELLING,
    NEVER_MET,
    SHORT_NAME,
    LintFinding,
)
from imgsec.domain.lint_examples import (
    EXAMPLE_DIGEST,
    PATTERN_MAX_CHARS,
    Host,
    is_image,
)
from imgsec.domain.lint_sources import LintRule
from imgsec.domain.reference import shown

_FOREIGN = re.compile(r"[^A-Za-z0-9._:/@*\[\]-]")
_BROKEN = re.compile(r"//|/[.:@_-]|[.:@_-]/|::|@@")
_EMPTY_ENDS = re.compile(r"^[/.:@_-]|/$")
_HEX = EXAMPLE_DIGEST.partition(":")[2]
# What may stand behind a name without a star, so that it is an image's.
_ENDINGS = (
    "",
    ":1.0",
    f"@{EXAMPLE_DIGEST}",
    ":5000/app",
    f":{_HEX}",
    f":{_HEX}{_HEX[:32]}",
    f":{_HEX}{_HEX}",
)
HOST_NAME = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,}(?::[0-9]+)?", re.IGNORECASE)


def usual_name(name: str) -> str:
    """A rule's name with its host as people spell it."""
    host = Host.of(name)
    return name if host.text is None else f"{registry_of(host.text)}/{host.rest}"


def name_findings(
    rule: LintRule, engine: Engine, *, is_used: bool, is_twin: bool = False
) -> Iterator[LintFinding]:
    """What is wrong with a rule's name.

    is_used: a workload has an image that it decides about. is_twin: a rule beside it has the same
    name with the host as people spell it.
    """
    name = rule.name
    if not name:
        yield rule.tell(EMPTY_NAME, f"a rule of {rule.source.about} has no name")
        return
    if why := never_met(name, engine):
        yield rule.tell(NEVER_MET, f"no image meets {rule}: {why}")
        return
    host = Host.of(name)
    if not is_used:
        yield from _shortness(rule, host)
    if host.text is None or is_twin:
        return
    if host.text != host.text.lower():
        text = f"{rule} has a host in upper case, and names are compared letter by letter"
        yield rule.tell(HOST_SPELLING, text)
    elif host.text in HUB_HOSTS:
        text = f"{rule} names Docker Hub by a host that workloads rarely write"
        yield rule.tell(HOST_SPELLING, text)
    elif host.text.endswith(TLS_PORT):
        text = f"{rule} writes out a port that workloads usually leave out"
        yield rule.tell(HOST_SPELLING, text)


def _shortness(rule: LintRule, host: Host) -> Iterator[LintFinding]:
    name = rule.name
    if host.text is None:
        if HOST_NAME.fullmatch(name):
            yield _host_only(rule)
        elif name[0] != "*" and "." not in name.partition(":")[0]:
            text = f"{rule} names no host, so docker.io/library/... does not meet it"
            yield rule.tell(SHORT_NAME, text)
    elif not host.is_said:
        text = f"{rule} names no host, so docker.io/{host.text}/... does not meet it"
        yield rule.tell(SHORT_NAME, text)


def _host_only(rule: LintRule) -> LintFinding:
    """What stands behind a name may be a tag or, to the eye, the port of a host with a path."""
    if ":" in rule.name:
        return rule.tell(HOST_ONLY, f"{rule} is a host, and no image of it meets that")
    image = f"{rule.name}:5000/any/app:1.0"
    text = f"{rule} is a host, and images of it meet that only if they name a port, whatever path"
    return rule.tell(HOST_ONLY, text, image=image)


def never_met(name: str, engine: Engine) -> str | None:
    """Why no image's text can meet the name; None where one can, or nobody knows.

    >>> from imgsec.domain.engines import NEWEST
    >>> never_met("https://icr.io/ns/*", NEWEST)
    'it has a scheme'
    """
    if len(name) > PATTERN_MAX_CHARS and len(name) - name.count("*") > PATTERN_MAX_CHARS:
        return "it is longer than any image's name"
    if "://" in name:
        return "it has a scheme"
    if found := _FOREIGN.search(name):
        return f"no image's name has {shown(found[0])} in it"
    if found := _BROKEN.search(name) or _EMPTY_ENDS.search(name):
        return f"no image's name has {shown(found[0])} there"
    _, slash, rest = name.partition("/")
    path = rest[: rest.rfind("/") + 1] + re.split(r"[:@*]", rest[rest.rfind("/") + 1 :])[0]
    if slash and path != path.lower():
        return "no image has upper case behind its host"
    texts = (f"{name}{ending}" for ending in _ENDINGS)
    if "*" not in name and not any(is_image(text, name, engine) for text in texts):
        return "it is not the name of an image"
    return None
