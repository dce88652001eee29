# SPDX-License-Identifier: Apache-2.0
"""The gate file: what the gate asks of an image, reviewed and kept beside the code that it gates.

Options say the same for one run, and win. A field that nobody knows is an error: a misspelt one
would leave a rule out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date, timedelta
from typing import Any, Self

from imgsec.domain.exemption import parse_day
from imgsec.domain.gate import GateRules, Mode, Treatment, Trust
from imgsec.domain.reference import shown
from imgsec.domain.spelling import unknown_field
from imgsec.domain.vulnerability import Severity

ANY = "any"
DEFAULT_MAX_AGE = timedelta(hours=24)
SEVERITIES = tuple(one.word for one in Severity if one is not Severity.UNKNOWN)
_AGE = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_DISTRIBUTION = re.compile(r"[A-Za-z0-9._-]+ [A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class GateFile:
    """The rules, and how old a report may be. max_age: None for however old."""

    rules: GateRules = field(default_factory=GateRules)
    max_age: timedelta | None = DEFAULT_MAX_AGE

    @classmethod
    def parse(cls, document: Any) -> Self:
        """Raises `ValueError` with a sentence."""
        version = document.get("version") if isinstance(document, Mapping) else None
        if not isinstance(document, Mapping) or version != 1 or isinstance(version, bool):
            raise ValueError("it is not a mapping with version: 1")
        said = {str(name): value for name, value in document.items() if name != "version"}
        return cls().with_rules(said)

    def with_rules(self, said: Mapping[str, Any]) -> Self:
        """The same with these rules instead, by the names of the fields.

        Raises `ValueError` with a sentence.
        """
        rules = {one.name for one in fields(GateRules)}
        changes: dict[str, Any] = {}
        for name, value in said.items():
            if name not in _FIELDS:
                raise unknown_field(name, (*_FIELDS, "version"))
            member, read = _FIELDS[name]
            try:
                changes[member] = read(value)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return replace(
            self,
            rules=replace(
                self.rules, **{name: value for name, value in changes.items() if name in rules}
            ),
            **{name: value for name, value in changes.items() if name not in rules},
        )


@dataclass(frozen=True, slots=True)
class FileUsed:
    """A file that took part in a verdict, for the record."""

    name: str
    sha256: str


def parse_age(value: Any) -> timedelta:
    """A time such as 90m, 24h or 14d. Raises `ValueError` with a sentence.

    >>> parse_age("14d").days
    14
    """
    found = _AGE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{shown(str(value))} is not a time such as 90m, 24h or 14d")
    return int(found[1]) * _UNITS[found[2]]


def _limit(value: Any) -> Severity | None:
    if value == ANY:
        return None
    return Severity[_word((*SEVERITIES, ANY))(value).upper()]


def _max_age(value: Any) -> timedelta | None:
    return None if value == ANY else parse_age(value)


def _grace(value: Any) -> timedelta:
    if value == "0d":  # an option that takes the gate file's grace back
        return timedelta(0)
    age = parse_age(value)
    if age % timedelta(days=1):
        raise ValueError("it is counted in days, such as 14d")
    return age


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("it is true or false")
    return value


def _word(words: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"{shown(str(value))} is not one of {', '.join(words)}")
        return value

    return read


def _last_days(value: Any) -> dict[str, date]:
    if not isinstance(value, Mapping):
        raise ValueError("it is a mapping such as debian 12: 2028-06-30")
    days = {}
    for name, day in value.items():
        if not isinstance(name, str) or not _DISTRIBUTION.fullmatch(name):
            raise ValueError(f"{shown(str(name))} is not a distribution such as debian 12")
        days[name.lower()] = parse_day(day)
    return days


_TREATMENTS = tuple(map(str, Treatment))
_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "fail-on": ("fail_on", _limit),
    "unknown-severity": (
        "counts_unknown",
        lambda value: _word(("fail", "ignore"))(value) == "fail",
    ),
    "only-fixed": ("only_fixed", _flag),
    "grace": ("grace", _grace),
    "exemptions": (
        "trust",
        lambda value: Trust(_word(tuple(map(str, Trust)))(value)),
    ),
    "unsupported": ("unsupported", lambda value: Treatment(_word(_TREATMENTS)(value))),
    "end-of-life": ("end_of_life", lambda value: Treatment(_word(_TREATMENTS)(value))),
    "distributions": ("last_days", _last_days),
    "mode": ("mode", lambda value: Mode(_word(tuple(map(str, Mode)))(value))),
    "max-age": ("max_age", _max_age),
}
