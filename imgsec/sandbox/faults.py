# SPDX-License-Identifier: Apache-2.0
"""Fault switches: which request is to go wrong, and how. Rules and their file, nothing that acts.

The file maps a service to an ordered list of rules; the first rule that fits and is not used up
wins. A rule that carries an ``id`` (those made by `imgsec sandbox faults set`) keeps its count
when another rule is added; the counts of rules without one start again whenever the file changes.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_MALFORMED, INVALID_OPTION
from imgsec.sandbox.folder import StateFolder
from imgsec.sandbox.identity import FAULTY_SERVICES

_MAX_BYTES = 2**20

ALL = frozenset(FAULTY_SERVICES)


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to go wrong, and where it can."""

    word: str
    meaning: str
    services: frozenset[str] = ALL
    where: re.Pattern[str] = re.compile("")  # only requests with such a path


_REGISTRY = frozenset({"registry"})
_MANIFESTS = re.compile(r"^/v2/.+/manifests/[^/]+$")
_SIGNATURES = re.compile(r"^/extensions/v2/.+/signatures/[^/]+$")


KINDS = {
    kind.word: kind
    for kind in (
        Kind("429", "asks for patience: status 429 with Retry-After"),
        Kind("500", "fails: status 500, nothing done"),
        Kind("503", "is unavailable: status 503, nothing done"),
        Kind("500-after", "does the work, then answers 500"),
        Kind("slow", "answers rightly, after --delay seconds"),
        Kind("hang", "takes the request and never answers"),
        Kind("cut", "does the work, then drops the connection in the middle of the answer"),
        Kind("refuse", "closes the connection without an answer, nothing done"),
        Kind("malformed", "answers 200 with JSON that breaks off"),
        Kind("html", "answers 200 with an HTML login page"),
        Kind(
            "expired-token",
            "the token service mints tokens that are past their end; the others answer as if "
            "the token were",
            frozenset({"iam", "kms", "va"}),
        ),
        Kind(
            "wrong-payload",
            "hands out another payload than was stored",
            frozenset({"kms"}),
            re.compile(r"^/api/v2/keys/[^/]+$"),
        ),
        Kind("wrong-digest", "names another digest than the manifest has", _REGISTRY, _MANIFESTS),
        Kind("wrong-bytes", "hands out another manifest than was asked", _REGISTRY, _MANIFESTS),
        Kind("signatures-500", "the signature store answers 500", _REGISTRY, _SIGNATURES),
        Kind("signatures-403", "the signature store answers 403", _REGISTRY, _SIGNATURES),
        Kind("no-extension", "has no signature store, as most registries", _REGISTRY),
        Kind("bearer", "wants tokens of its own, as icr.io, and not the login itself", _REGISTRY),
    )
}


@dataclass(frozen=True, slots=True)
class FaultRule:
    """When to go wrong, and how."""

    kind: str
    path: str | None = None  # regular expression, searched in the decoded path
    method: str | None = None
    count: int | None = None  # so many times, then no more
    every: int = 1  # only each n-th request that fits
    retry_after: int = 1  # seconds
    delay: float = 2.0  # seconds
    id: str | None = None
    pattern: re.Pattern[str] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def parse(cls, service: str, value: object) -> Self:
        """Read one rule. Raises ValueError with a sentence."""
        if not isinstance(value, Mapping):
            raise ValueError("a rule must be an object")
        known = {item.name for item in fields(cls)} - {"pattern"}
        if unknown := set(value) - known:
            raise ValueError(f"unknown field {min(map(str, unknown))!r}")
        kind = KINDS.get(str(value.get("kind")))
        if kind is None:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")
        if service not in kind.services:
            raise ValueError(f"{kind.word} is not a fault of {service}")
        for name, least in (("count", 1), ("every", 1), ("retry_after", 0)):
            number = value.get(name, least)
            if number is not None and (
                isinstance(number, bool) or not isinstance(number, int) or number < least
            ):
                raise ValueError(f"{name} must be a whole number from {least}")
        delay = value.get("delay", 0)
        if isinstance(delay, bool) or not isinstance(delay, int | float) or delay < 0:
            raise ValueError("delay must be a number of seconds")
        path, method = value.get("path"), value.get("method")
        if not isinstance(path, str | None) or not isinstance(method, str | None):
            raise ValueError("path and method must be text")
        try:
            pattern = re.compile(path) if path else None
        except re.error as error:
            raise ValueError(f"path is not a regular expression: {error}") from error
        given = {name: item for name, item in value.items() if item is not None}
        if method:
            given["method"] = method.upper()
        return cls(**{**given, "kind": kind.word, "pattern": pattern})

    def to_json(self) -> dict[str, Any]:
        """The rule as the file holds it, defaults left out."""
        return {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name != "pattern" and getattr(self, item.name) != item.default
        }

    def fits(self, method: str, path: str) -> bool:
        """Is this the kind of request that the rule is about?"""
        if self.method is not None and self.method != method:
            return False
        if not KINDS[self.kind].where.search(path):
            return False
        return self.pattern is None or self.pattern.search(path) is not None


Rules = dict[str, tuple[FaultRule, ...]]


def parse_rules(data: bytes) -> Rules:
    """Read the file's content. Raises ValueError with a sentence."""
    if len(data) > _MAX_BYTES:
        raise ValueError("the file is larger than 1 MiB")
    try:
        value = json.loads(data)
    except RecursionError:
        value = None
    if not isinstance(value, dict):
        raise ValueError("the file must hold an object")
    rules: Rules = {}
    for service, items in value.items():
        if service not in ALL:
            raise ValueError(f"{service!r} is not one of {', '.join(FAULTY_SERVICES)}")
        if not isinstance(items, list):
            raise ValueError(f"{service} must hold a list")
        rules[service] = tuple(FaultRule.parse(service, item) for item in items)
    return rules


def load_rules(folder: StateFolder) -> Rules:
    """The rules in force. Raises `ImgsecError` when the file is not what it should be."""
    try:
        return parse_rules(folder.faults.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ImgsecError(
            INPUT_MALFORMED(
                f"{folder.faults} is not a list of faults: {error}.",
                hint="Clear it with `imgsec sandbox faults clear`.",
            )
        ) from error


def set_rule(folder: StateFolder, service: str, given: Mapping[str, object]) -> FaultRule:
    """Add a rule; one of the same kind, path and method is replaced, and counts anew."""
    if service not in ALL:
        raise ImgsecError(INVALID_OPTION(f"SERVICE is one of {', '.join(FAULTY_SERVICES)}."))
    try:
        rule = FaultRule.parse(service, {**given, "id": secrets.token_hex(4)})
    except ValueError as error:
        raise ImgsecError(INVALID_OPTION(f"No such fault: {error}.")) from error
    rules = load_rules(folder)
    same = (rule.kind, rule.path, rule.method)
    kept = (r for r in rules.get(service, ()) if (r.kind, r.path, r.method) != same)
    _save(folder, {**rules, service: (*kept, rule)})
    return rule


def clear_rules(folder: StateFolder, service: str | None) -> None:
    """Take away the faults of one service, or all."""
    if service is not None and service not in ALL:
        raise ImgsecError(INVALID_OPTION(f"SERVICE is one of {', '.join(FAULTY_SERVICES)}."))
    rules = load_rules(folder) if service else {}
    _save(folder, {name: kept for name, kept in rules.items() if name != service})


def _save(folder: StateFolder, rules: Rules) -> None:
    value = {name: [rule.to_json() for rule in items] for name, items in rules.items() if items}
    folder.write(folder.faults, json.dumps(value, indent=2) + "\n")


class FaultSwitches:
    """Decides per request, inside a running service. Reads the file again when it changes."""

    def __init__(self, file: Path, service: str) -> None:
        self._file = file
        self._service = service
        self._stamp: tuple[int, int, int] | None = None
        self._rules: tuple[FaultRule, ...] = ()
        self._seen: dict[str, int] = {}
        self._used: dict[str, int] = {}

    def choose(self, method: str, path: str) -> FaultRule | None:
        """The fault for this request, if one is due; counts it."""
        self._refresh()
        for position, rule in enumerate(self._rules):
            key = rule.id or f"#{position}"
            if not rule.fits(method, path) or self._used.get(key, 0) >= (rule.count or sys.maxsize):
                continue
            self._seen[key] = self._seen.get(key, 0) + 1
            if self._seen[key] % rule.every == 0:
                self._used[key] = self._used.get(key, 0) + 1
                return rule
        return None

    def _refresh(self) -> None:
        stamp: tuple[int, int, int] | None = None
        try:
            found = self._file.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp == self._stamp:
                return
            rules = parse_rules(self._file.read_bytes()).get(self._service, ())
        except FileNotFoundError:
            rules = ()
        except (OSError, ValueError) as error:
            print(f"faults.json is ignored until it is mended: {error}", file=sys.stderr)
            self._stamp = stamp
            return
        self._stamp, self._rules = stamp, rules
        for counter in (self._seen, self._used):
            _forget(counter, (rule.id for rule in rules))


def _forget(counter: dict[str, int], kept: Iterable[str | None]) -> None:
    ids = set(kept)
    for key in [key for key in counter if key not in ids]:
        del counter[key]
