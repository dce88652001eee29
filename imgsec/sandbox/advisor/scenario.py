# SPDX-License-Identifier: Apache-2.0
"""The scenario: what the advisor is to say about which image, poll by poll.

A YAML file (JSON is YAML too) with an ordered list of rules; the first that fits decides. It is
read again whenever it changes, and then every image is polled for the first time again: the
counters live in memory.
"""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

_MAX_BYTES = 4 * 2**20
_RULE_FIELDS = frozenset(
    "match steps not_found vulnerabilities os_distribution assume_pushed".split()
)
_MATCH_FIELDS = frozenset({"repository", "tag", "digest"})
_DISTRIBUTION = {
    "distribution_id": "debian",
    "version_id": "12",
    "version_code_name": "bookworm",
}
UNASSESSED = frozenset({"UNSCANNED", "INCOMPLETE", "UNSUPPORTED"})  # these come without findings


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package that is older than its fix."""

    name: str
    installed: str
    fix: str
    corrective_action: str
    description: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A security notice that fixes a vulnerability."""

    id: str
    link: str
    summary: str
    packages: tuple[Package, ...]


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """One CVE in an image."""

    cve_id: str
    summary: str
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True)
class ImageRule:
    """What is said about the images that fit."""

    repository: str = "*"
    tag: str = "*"
    digest: str | None = None
    steps: tuple[str, ...] = ()
    not_found: int = 0
    vulnerabilities: tuple[Vulnerability, ...] = ()
    distribution: Mapping[str, str] = field(default_factory=lambda: _DISTRIBUTION)
    assume_pushed: bool = False

    def fits(self, repository: str, tags: tuple[str, ...], digest: str | None) -> bool:
        """TAGS are all names of the image: a digest is met by any tag that points to it."""
        if self.digest is not None and self.digest != digest:
            return False
        if not fnmatch.fnmatchcase(repository, self.repository):
            return False
        return self.tag == "*" or any(fnmatch.fnmatchcase(tag, self.tag) for tag in tags)

    def status(self, poll: int) -> str | None:
        """The status word at the POLL-th question, from 0; None is the 404 form."""
        if poll < self.not_found:
            return None
        steps = self.steps or (("FAIL",) if self.vulnerabilities else ("OK",))
        return steps[min(poll - self.not_found, len(steps) - 1)]


NO_FINDINGS = ImageRule()


@dataclass(frozen=True, slots=True)
class Scenario:
    """All rules, in order."""

    rules: tuple[ImageRule, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a scenario file. Raises ValueError with a sentence that says where."""
        if len(data) > _MAX_BYTES:
            raise ValueError("the file is larger than 4 MiB")
        try:
            value = yaml.load(data, _StrictLoader)  # noqa: S506 - a SafeLoader
        except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
            raise ValueError(f"not YAML: {' '.join(str(error).split())[:300]}") from error
        if not isinstance(value, dict) or value.get("version") != 1:
            raise ValueError("the file must be a mapping with `version: 1`")
        if unknown := set(value) - {"version", "images"}:
            raise ValueError(f"unknown field {min(map(str, unknown))!r}")
        images = value.get("images") or []
        if not isinstance(images, list):
            raise ValueError("images must be a list")
        rules = []
        for position, item in enumerate(images, 1):
            try:
                rules.append(_rule(item))
            except ValueError as error:
                raise ValueError(f"image rule {position}: {error}") from error
        return cls(tuple(rules))

    def rule(self, repository: str, tags: tuple[str, ...], digest: str | None) -> ImageRule:
        """The first rule that fits."""
        for rule in self.rules:
            if rule.fits(repository, tags, digest):
                return rule
        return NO_FINDINGS


class ScenarioFile:
    """The scenario in force, and how often each image was asked about under it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._scenario = Scenario(())
        self._polls: dict[str, int] = {}

    def current(self) -> Scenario:
        """Read the file if it changed. A broken file leaves the former rules in force."""
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp != self._stamp:
                self._stamp = stamp
                self._scenario = Scenario.parse(self._path.read_bytes())
                self._polls.clear()
        except FileNotFoundError:
            self._stamp, self._scenario = None, Scenario(())
        except (OSError, ValueError) as error:
            print(f"scenario.yaml is ignored until it is mended: {error}", file=sys.stderr)
        return self._scenario

    def poll(self, image: str) -> int:
        """How often IMAGE was asked about before; this time counts from now on."""
        count = self._polls.get(image, 0)
        self._polls[image] = count + 1
        return count

    def peek(self, image: str) -> int:
        """Where IMAGE stands, for lists: looking there moves nothing."""
        return max(self._polls.get(image, 0) - 1, 0)


class _StrictLoader(yaml.SafeLoader):
    """Refuses a mapping that names a key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str) or key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key!r} stands twice or is not text",
                    problem_mark=key_node.start_mark,
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _rule(item: object) -> ImageRule:
    rule = _mapping(item, "a rule", _RULE_FIELDS)
    match = _mapping(rule.get("match") or {}, "match", _MATCH_FIELDS)
    digest = match.get("digest")
    if digest is not None and not re.fullmatch(r"sha256:[0-9a-f]{64}", str(digest)):
        raise ValueError("match.digest must be sha256: and 64 hexadecimal digits")
    steps = rule.get("steps") or []
    if not isinstance(steps, list) or not all(isinstance(step, str) and step for step in steps):
        raise ValueError("steps must be a list of status words")
    not_found = rule.get("not_found", 0)
    if isinstance(not_found, bool) or not isinstance(not_found, int) or not_found < 0:
        raise ValueError("not_found must be a number of polls")
    assume_pushed = rule.get("assume_pushed", False)
    if not isinstance(assume_pushed, bool):
        raise ValueError("assume_pushed must be true or false")
    distribution = rule.get("os_distribution", _DISTRIBUTION)
    return ImageRule(
        repository=_text(match, "repository", "*"),
        tag=_text(match, "tag", "*"),
        digest=digest,
        steps=tuple(steps),
        not_found=not_found,
        vulnerabilities=tuple(_vulnerability(entry) for entry in _list(rule, "vulnerabilities")),
        distribution={
            name: str(text)
            for name, text in _mapping(
                distribution or {}, "os_distribution", frozenset(_DISTRIBUTION)
            ).items()
        },
        assume_pushed=assume_pushed,
    )


def _vulnerability(item: object) -> Vulnerability:
    fields = _mapping(item, "a vulnerability", frozenset({"cve_id", "summary", "security_notices"}))
    notices = tuple(_notice(entry) for entry in _list(fields, "security_notices"))
    return Vulnerability(
        _text(fields, "cve_id"), _text(fields, "summary", "Made up for the sandbox"), notices
    )


def _notice(item: object) -> Notice:
    known = frozenset({"notice_id", "notice", "summary", "vulnerable_packages"})
    fields = _mapping(item, "a security notice", known)
    notice_id = _text(fields, "notice_id")
    return Notice(
        notice_id,
        _text(fields, "notice", f"https://security.example/{notice_id}"),
        _text(fields, "summary", "Made up for the sandbox"),
        tuple(_package(entry) for entry in _list(fields, "vulnerable_packages")),
    )


def _package(item: object) -> Package:
    known = frozenset(
        "package_name installed_version fix_version corrective_action description".split()
    )
    fields = _mapping(item, "a package", known)
    name, installed = _text(fields, "package_name"), _text(fields, "installed_version")
    fix = _text(fields, "fix_version")
    return Package(
        name,
        installed,
        fix,
        _text(fields, "corrective_action", f"Upgrade {name} to at least version {fix}"),
        _text(fields, "description", f"{name} {installed} is older than the fixed version"),
    )


def _mapping(value: object, what: str, known: frozenset[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} must be a mapping")
    if unknown := set(value) - known:
        raise ValueError(f"unknown field {min(unknown)!r} in {what}")
    return value


def _list(fields: Mapping[str, Any], name: str) -> list[object]:
    value = fields.get(name) or []
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a list")
    return value


def _text(fields: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} must be text (put numbers in quotes)")
    return value
