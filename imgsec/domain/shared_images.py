# SPDX-License-Identifier: Apache-2.0
"""Images that two rules' names share, looked for until one is found that matters.

What all searches may take together is bounded, and beyond it nothing is taken for compared.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from imgsec.domain.engines import NEWEST, Engine
from imgsec.domain.host_spellings import may_be_short, paths_of, short_forms_of
from imgsec.domain.lint_examples import could_overlap, example_of, is_image, overlaid
from imgsec.domain.pattern_sets import Effort, Read, covers, image_of, may_share
from imgsec.domain.reference import shown
from imgsec.domain.wildcard import is_met
from imgsec.errors import ImgsecError
from imgsec.reasons import INVALID_PATTERN

_TRIES_MAX = 12  # ours: images that other rules decide about as is meant, before one that does not
_ENDS = ("", ":*", "@*")
_PORTS = ("", ":*")
_OVERLAY_CHARS = 6  # of two names laid upon each other cost as much as one place of a search
_HINT = "Compare fewer rules at once, or name hosts and paths with fewer stars."
Found = TypeVar("Found")


class SharedImages:
    """effort: what all searches may take together."""

    def __init__(self, engine: Engine, effort: Effort) -> None:
        self._engine, self._effort = engine, effort

    def first(
        self,
        one: str,
        other: str,
        judge: Callable[[str], Found | None],
        deciders: Callable[[str], Iterable[str]],
        hosts: Sequence[str] = (),
    ) -> Found | None:
        """What is found of an image that meets both names; likely images come first.

        judge: None for an image that does not matter. deciders: the names that take an image from
        both, so that theirs are passed by. hosts: of what may matter though an image elsewhere does
        not; as `EngineName.host` meets them. Raises `ImgsecError` (invalid-pattern).
        """
        self.take(1)
        if not may_share(Read(one, self._engine), Read(other, self._engine)):
            return None
        are_open = all("*" in name.partition("/")[0] for name in (one, other))
        places = (f"{host}{port}/*" for host in hosts if are_open for port in _PORTS)
        tries = (self._first_at(place, one, other, judge, deciders) for place in ("", *places))
        return next((found for found in tries if found is not None), None)

    def _first_at(
        self,
        place: str,
        one: str,
        other: str,
        judge: Callable[[str], Found | None],
        deciders: Callable[[str], Iterable[str]],
    ) -> Found | None:
        """place: a name that the image is to meet as well, by its host alone; empty for none."""
        where = (Read(place),) if place else ()
        if not all(
            may_share(Read(name, self._engine), at) for name in (one, other) for at in where
        ):
            return None
        is_taken = False
        for likely in self._likely(one, other, place):
            if (found := judge(likely)) is not None:
                return found
            taking = {*deciders(likely)} - {other, likely}
            if is_taken := any(_takes_all(each, one, other) for each in taking):
                break
        for own in (one, other):  # which a rule of this very text wins, whatever others weigh
            if self._is_met(own, one, other, place) and (found := judge(own)) is not None:
                return found
        if is_taken:
            return None
        passed_by: dict[str, None] = {}
        for _ in range(_TRIES_MAX):
            unwanted = [Read(each) for each in passed_by]
            image = image_of((Read(one), Read(other), *where), unwanted, self._effort)
            if image is None:
                return None
            if self._is_met(image, one, other, place) and (found := judge(image)) is not None:
                return found
            further = set(deciders(image)) - {other, *passed_by}
            if not further or any(_takes_all(each, one, other) for each in further - {image}):
                return None
            passed_by |= dict.fromkeys(sorted(further))
        text = f"{shown(one)} and {shown(other)}: too many other rules have images of both"
        raise ImgsecError(INVALID_PATTERN(text, hint=_HINT))

    def take(self, places: int) -> None:
        """For other work. Raises `ImgsecError` (invalid-pattern) if too much was done by then."""
        self._effort.left -= places
        if self._effort.left < 0:
            text = "these rules have too much in common to be compared in a moment"
            raise ImgsecError(INVALID_PATTERN(text, hint=_HINT))

    def _likely(self, one: str, other: str, place: str) -> Iterator[str]:
        """Images such as people name."""
        for first, second in ((one + mine, other + its) for mine in _ENDS for its in _ENDS):
            if not could_overlap(first, second):
                continue
            stars = 1 + first.count("*") * second.count("*")
            self.take(1 + (len(first) + len(second)) * stars // _OVERLAY_CHARS)
            laid = overlaid(first, second)
            if laid is not None and place:
                self.take(1 + (len(laid) + len(place)) * (1 + laid.count("*")) // _OVERLAY_CHARS)
                laid = overlaid(laid, place)
            image = example_of(laid, self._engine) if laid is not None else None
            if image is not None and self._is_met(image, one, other, place):
                yield image

    def _is_met(self, image: str, one: str, other: str, place: str) -> bool:
        if place and not is_met(place, image, NEWEST):
            return False
        return all(is_image(image, name, self._engine) for name in (one, other))


def _takes_all(name: str, one: str, other: str) -> bool:
    """Whether each image that two names share meets a third, as far as that is quickly told."""
    host, rest = one.partition("/")[0], other.partition("/")[2]
    return covers(name, one) or covers(name, other) or covers(name, f"{host}/{rest}")


class NamesByPath:
    """Finds names that may share an image with another one, by how the paths of both begin.

    Hosts are left to be compared: they are spelt in many ways, and paths in one or two.
    """

    def __init__(self, names: Sequence[str], engine: Engine) -> None:
        self._engine = engine
        behind_hosts, without_hosts = _Beginnings(), _Beginnings()
        for place, name in enumerate(names):
            _, slash, rest = name.partition("/")
            is_told = slash and not self._reaches_over(name)
            behind_hosts.add(place, (rest, *paths_of(name)) if is_told else ("",))
            without_hosts.add(place, short_forms_of(name) if is_told else ("",))
        self._behind_hosts, self._without_hosts = behind_hosts, without_hosts

    def near(self, name: str) -> Sequence[int]:
        """Their places; names that are not told share nothing with it, however they are spelt."""
        _, slash, rest = name.partition("/")
        found = self._behind_hosts.near(rest if slash and not self._reaches_over(name) else "")
        if may_be_short(name, self._engine):
            found |= self._without_hosts.near(name if slash else "")
        return sorted(found)

    def _reaches_over(self, name: str) -> bool:
        return not self._engine.splits_hosts and "*" in name.partition("/")[0]


class _Beginnings:
    """Patterns by what they have before their first star."""

    def __init__(self) -> None:
        self._sorted: list[tuple[str, int]] = []
        self._places: dict[str, list[int]] = {}

    def add(self, place: int, patterns: Iterable[str]) -> None:
        for begin in {one.partition("*")[0] for one in patterns}:
            insort(self._sorted, (begin, place))
            self._places.setdefault(begin, []).append(place)

    def near(self, pattern: str) -> set[int]:
        """The places of those that begin as this one does, or this one as they do."""
        begin = pattern.partition("*")[0]
        found = {place for end in range(len(begin)) for place in self._places.get(begin[:end], ())}
        for at in range(bisect_left(self._sorted, (begin, -1)), len(self._sorted)):
            longer, place = self._sorted[at]
            if not longer.startswith(begin):
                break
            found.add(place)
        return found
