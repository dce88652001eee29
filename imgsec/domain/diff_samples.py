# SPDX-License-Identifier: Apache-2.0
"""Images by which two sets of rules are compared, where nobody names any.

Some are made up from the rules' names. What else could change lies where a rule that decides on one
side meets one that decides on the other, so such an image is searched for each two of them that ask
for something else. Two rules that both sides have decide about each other as before, and need none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from imgsec.domain.engines import Engine
from imgsec.domain.image_search import ImageSearch
from imgsec.domain.lint_precedence import fresh_sign
from imgsec.domain.pattern_sets import Read, is_name, may_share
from imgsec.domain.policy_diff import Meaning
from imgsec.domain.policy_rules import Demand, PolicyRule
from imgsec.domain.resolution import RulePool
from imgsec.domain.wildcard import weight_of

# Ours: two hundred rules of different repositories, all of them changed, take a second.
_PAIRS_MAX = 1_000_000  # looked at by what they begin and end with
_SEARCHES_MAX = 1_000  # for an image
_PLACES_MAX = 2_000_000  # of names, that these look at together: some twenty seconds
_TRIES_MAX = 12  # rules that have the images found so far
_ALGORITHM, _HEX_CHARS = "sha256:", 64
_DIGEST = f"@{_ALGORITHM}{'0' * _HEX_CHARS}"
_HEX_DIGITS = frozenset("0123456789abcdef")
_STAR_STANDS_FOR, _FOREIGN = "any", "evil.example/any"
_Pair = tuple[PolicyRule | None, PolicyRule | None]  # before and after


@dataclass(frozen=True, slots=True)
class Compared:
    """The rules of a place before and after. namespace: empty for all without an ImagePolicy."""

    namespace: str
    before: RulePool
    after: RulePool

    @property
    def key(self) -> tuple[int, int, str]:
        """The same for places in which the same rules mean the same."""
        rules = (*self.before.rules, *self.after.rules)
        is_named = any(
            one.key_namespace == self.namespace
            for rule in rules
            if rule.demand.simple is not None
            for one in rule.demand.simple.requirements
        )
        return id(self.before), id(self.after), self.namespace if is_named else ""


@dataclass(frozen=True, slots=True)
class Samples:
    """left_out: whether there was more to compare than anybody waits for."""

    images: tuple[str, ...]
    left_out: bool = False


def samples_of_change(places: Iterable[Compared]) -> Samples:
    """Images that tell what changes in each of these places."""
    search = _Search()
    distinct = {one.key: one for one in places}.values()
    named = tuple(image for one in distinct for image in _named_by_rules(one.before, one.after))
    found = [image for one in distinct for image in search.between(one)]
    return Samples(tuple(dict.fromkeys((*named, *found))), search.left_out)


def can_be_pulled(image: str) -> bool:
    """Whether an image could have this name: engines take any text for a digest.

    >>> can_be_pulled("icr.io/ns/app:1"), can_be_pulled("icr.io/ns/app@sha256:any")
    (True, False)
    """
    digest = image.partition("@")[2]
    if not digest.startswith(_ALGORITHM):
        return is_name(image) and "@" not in digest
    hexadecimal = digest.removeprefix(_ALGORITHM)
    is_whole = len(hexadecimal) == _HEX_CHARS and _HEX_DIGITS.issuperset(hexadecimal)
    return is_whole and is_name(image)


def _named_by_rules(before: RulePool, after: RulePool) -> Iterator[str]:
    """Images of each rule: by a tag, by a digest, and as it is written."""
    compare_hosts_alike = before.engine.splits_hosts == after.engine.splits_hosts
    for rule in (*before.rules, *after.rules):
        yield from _named_by(rule.repository, _STAR_STANDS_FOR)
        yield from _named_by(rule.repository, "")
        if not compare_hosts_alike and "*" in rule.repository.partition("/")[0]:
            host, _, rest = rule.repository.partition("*")
            yield from _named_by(f"{host}{_FOREIGN}{rest}", _STAR_STANDS_FOR)


def _named_by(pattern: str, stands_for: str) -> Iterator[str]:
    name, mark, digest = pattern.partition("@")
    text = name.replace("*", stands_for)
    ends: tuple[str, ...] = ("", ":1", _DIGEST)
    if mark:
        begin = digest.partition("*")[0].removeprefix(_ALGORITHM)
        ends = (f"@{_ALGORITHM}{begin.ljust(_HEX_CHARS, '0')}",)
    for image in (text + end for end in ends):
        if can_be_pulled(image):
            yield image


class _Search:
    """For images that two rules share and decide about, one on each side."""

    def __init__(self) -> None:
        self._search = ImageSearch(pairs=_PAIRS_MAX, searches=_SEARCHES_MAX, places=_PLACES_MAX)

    @property
    def left_out(self) -> bool:
        """Whether there was more to compare than anybody waits for."""
        return self._search.left_out

    def between(self, place: Compared) -> Iterator[str]:
        """Those of which the images that the rules name show nothing."""
        before, after = place.before, place.after
        told = {_ids(_deciders(image, before, after)) for image in _named_by_rules(before, after)}
        for pair in _pairs_to_compare(place):
            if not self._search.takes_pair():
                return
            wanted = _reads(pair, before.engine, after.engine)
            if _ids(pair) in told or (len(wanted) > 1 and not may_share(*wanted)):
                continue
            for image in self._images(pair, wanted, place):
                told.add(_ids(_deciders(image, before, after)))
                yield image

    def _images(self, pair: _Pair, wanted: Sequence[Read], place: Compared) -> Iterator[str]:
        """Images that change, up to one about which these two decide."""
        before, after = place.before, place.after
        unwanted: list[Read] = []
        for image in self._search.images(wanted, unwanted, _TRIES_MAX):
            decide = _deciders(image, before, after)
            was, becomes = (Meaning(rule, place.namespace).effect for rule in decide)
            if was != becomes:
                yield image
            if _ids(decide) == _ids(pair):
                return
            unwanted += _others(decide, pair, image, before.engine, after.engine)


def _deciders(image: str, before: RulePool, after: RulePool) -> _Pair:
    return before.resolve(image).rule, after.resolve(image).rule


def _ids(pair: _Pair) -> tuple[int, int]:
    return id(pair[0]), id(pair[1])


def _reads(pair: _Pair, *engines: Engine) -> list[Read]:
    return [
        Read(rule.repository, engine)
        for rule, engine in zip(pair, engines, strict=True)
        if rule is not None
    ]


def _others(decide: _Pair, pair: _Pair, image: str, *engines: Engine) -> Iterator[Read]:
    """The names that decided instead of the two. One that won as the image's very text has no more
    than that for sure.
    """
    for winner, rule, engine in zip(decide, pair, engines, strict=True):
        if winner is not None and winner is not rule:
            yield Read(winner.repository, engine, is_bare=winner.repository == image)


def _pairs_to_compare(place: Compared) -> Iterator[_Pair]:
    """Each two rules that could decide about an image before and after, and ask for other things.

    None stands for no rule.
    """
    before, after = place.before, place.after
    old, new = _Side(before, after, place.namespace), _Side(after, before, place.namespace)
    if _compare_alike(before.engine, after.engine):
        pairs = _pairs_of_changed(old, new)
    else:
        pairs = _pairs_of(old.rules, old, new.rules, new)
    for one, other in pairs:
        if old.effect_of(one) != new.effect_of(other):
            yield one, other


def _pairs_of_changed(old: _Side, new: _Side) -> Iterator[_Pair]:
    """Without those that both sides have, unless the first of them decides, and is another now."""
    said_before, said_after = set(map(_said, old.rules)), set(map(_said, new.rules))
    gone = [rule for rule in old.rules if _said(rule) not in said_after]
    kept = [rule for rule in old.rules if _said(rule) in said_after]
    come = [rule for rule in new.rules if _said(rule) not in said_before]
    still = [rule for rule in new.rules if _said(rule) in said_before]
    yield from _pairs_of(gone, old, new.rules, new)
    yield from _pairs_of(kept, old, come, new, is_without=False)
    if list(map(_said, kept)) != list(map(_said, still)):
        for one, other in _pairs_of(kept, old, still, new, is_without=False):
            if one is not None and other is not None and _weight(one) == _weight(other):
                yield one, other


def _pairs_of(
    some: Sequence[PolicyRule],
    old: _Side,
    others: Sequence[PolicyRule],
    new: _Side,
    *,
    is_without: bool = True,
) -> Iterator[_Pair]:
    """is_without: each alone, too, where there could be no rule on the other side."""
    by_weight = sorted(others, key=_weight)
    for one in some:
        floor = old.floor_of(one)
        if is_without and floor < 0:
            yield one, None
        for other in by_weight[bisect_left(by_weight, floor, key=_weight) :]:
            if new.floor_of(other) <= _weight(one):
                yield one, other
    for other in others if is_without else ():
        if new.floor_of(other) < 0:
            yield None, other


class _Side:
    """The rules before, or after. Of several of one name only the first ever decides."""

    def __init__(self, pool: RulePool, opposite: RulePool, namespace: str) -> None:
        first: dict[str, PolicyRule] = {}
        for rule in pool.rules:
            first.setdefault(rule.repository, rule)
        self.rules = tuple(first.values())
        self._engine, self._opposite = pool.engine, opposite
        self._strange = fresh_sign((*first, *(rule.repository for rule in opposite.rules)))
        self._floors: dict[str, int] = {}
        self._effects = {rule.repository: Meaning(rule, namespace).effect for rule in self.rules}

    def effect_of(self, rule: PolicyRule | None) -> Demand | None:
        return self._effects[rule.repository] if rule is not None else None

    def floor_of(self, rule: PolicyRule) -> int:
        """What a rule of the other side weighs at least that decides about an image of this one;
        -1 where there could be none.
        """
        name = rule.repository
        if name not in self._floors:
            self._floors[name] = min(
                self._weight_above(form) for form in Read(name, self._engine).forms
            )
        return self._floors[name]

    def _weight_above(self, form: str) -> int:
        """Of the rule there that has all of these images, by a sign that only a star is met by."""
        rule = self._opposite.resolve(form.replace("*", self._strange)).rule
        if rule is None:
            return -1
        host, slash, _ = form.partition("/")
        is_host_known = bool(slash) and "*" not in host
        compares_hosts = self._opposite.engine.splits_hosts and "/" in rule.repository
        if compares_hosts and not self._engine.splits_hosts and not is_host_known:
            return -1  # a star of this form takes slashes, too
        return _weight(rule)


def _said(rule: PolicyRule) -> tuple[str, Demand]:
    return rule.repository, rule.demand


def _weight(rule: PolicyRule) -> int:
    return weight_of(rule.repository)


def _compare_alike(one: Engine, other: Engine) -> bool:
    return (one.splits_hosts, one.covers_digests) == (other.splits_hosts, other.covers_digests)
