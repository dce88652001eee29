# SPDX-License-Identifier: Apache-2.0
"""What to do first: the upgrades that clear the most findings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from imgsec.domain.vulnerability import Finding

_NAME_MAX_CHARS = 100
_PARTS = re.compile(r"~|[0-9]+|[^0-9~.+_-]+")


@dataclass(frozen=True, slots=True)
class Remedy:
    """Packages that are upgraded together, each with the version to reach, and what that clears."""

    packages: tuple[tuple[str, str], ...]
    clears: int
    of: int

    def __str__(self) -> str:
        named = [f"{_brief(name)} to {_brief(version)}" for name, version in self.packages[:4]]
        more = len(self.packages) - len(named)
        if more:
            named.append(f"{more} more packages")
        listed = " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
        return f"upgrade {listed}: clears {self.clears} of {self.of}"


def _brief(text: str) -> str:
    return text if len(text) <= _NAME_MAX_CHARS else f"{text[:_NAME_MAX_CHARS]}..."


def remedies(findings: Iterable[Finding]) -> tuple[Remedy, ...]:
    """The upgrades, the one that clears most first; findings without a fix are in none.

    Each stands for the packages that some finding needs together, and clears every finding that
    needs no others.
    """
    findings = tuple(findings)
    needs: dict[frozenset[str], int] = {}
    newest: dict[str, str] = {}
    for finding in findings:
        fixed = {package.name: package.fixed for package in finding.packages}
        if not fixed or not all(fixed.values()):
            continue
        needs[frozenset(fixed)] = needs.get(frozenset(fixed), 0) + 1
        for name, version in fixed.items():
            if version_key(version) > version_key(newest.get(name, "")):
                newest[name] = version
    # A set that another one holds has its first name there: only those need a look.
    by_first: dict[str, list[frozenset[str]]] = {}
    for names in needs:
        by_first.setdefault(min(names), []).append(names)
    found = [
        Remedy(
            tuple((name, newest[name]) for name in sorted(names)),
            sum(
                needs[other] for name in names for other in by_first.get(name, ()) if other <= names
            ),
            len(findings),
        )
        for names in needs
    ]
    return tuple(sorted(found, key=lambda one: (-one.clears, len(one.packages), one.packages)))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Orders the versions of one package for people: epoch, then numbers, then words.

    For showing only: distributions differ in the rest, and no verdict is built on it.

    >>> sorted(["1:1.2", "3.0.15-1", "3.0.9", "3.0.15~rc1", ""], key=version_key)
    ['', '3.0.9', '3.0.15~rc1', '3.0.15-1', '1:1.2']
    """
    epoch, colon, rest = version.partition(":")
    if not colon or not _is_number(epoch):
        epoch, rest = "0", version
    if not version:
        return ()
    key = [(2, int(epoch[:18]), "")]
    for part in _PARTS.findall(rest):
        if part == "~":
            key.append((-1, 0, ""))
        elif _is_number(part):
            key.append((2, int(part[:18]), ""))
        else:
            key.append((1, 0, part))
    return (*key, (0, 0, ""))
