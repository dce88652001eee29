# SPDX-License-Identifier: Apache-2.0
"""Rules that never decide, and rules of which others take a part.

A name's star is met by any text, so whether all that meets one name meets another is a question of
one text: the name with a sign in place of its stars that stands in no name of the pool. Another
name meets that text by its own stars only, and then meets whatever stands there instead, too. So a
rule that does not decide about that text decides about none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cached_property

from imgsec.domain.demand_effect import effect_of
from imgsec.domain.engines import Engine
from imgsec.domain.lint_catalogue import (
    DEAD_RULE,
    DUPLICATE_RULE,
    SHADOWED_RULE,
    Level,
    LintFinding,
)
from imgsec.domain.lint_examples import (
    Host,
    could_overlap,
    example_of,
    examples_of,
    is_image,
    overlaid,
)
from imgsec.domain.lint_losses import laxer_and_stricter, lost_to
from imgsec.domain.lint_pool import LintPool
from imgsec.domain.lint_sources import LintRule
from imgsec.domain.policy_rules import Demand
from imgsec.domain.reference import shown
from imgsec.domain.wildcard import is_met, weight_of
from imgsec.errors import ImgsecError

_WORK_MAX = 10_000_000  # steps of comparing names that could share images; ours, some 5 s
_SEARCH_WORK = 10_000  # steps that a search letter by letter counts for
_THIRDS_MAX = 4  # rules that have shared images by themselves; ours, few pairs have one
# What an image may have behind its name, and how it is told.
_FORMS = (
    (":*", "any tag"),
    ("@sha256:*", "any digest"),
    (":*@sha256:*", "any tag and digest"),
)
_PRIVATE_USE = range(0xE000, 0xF8FF)  # no image's name has such a sign


def precedence_findings(pool: LintPool) -> Iterator[LintFinding]:
    """Duplicates, dead rules, and those that lose images to a laxer one.

    Raises `TooManyPairs`, after what it could tell.
    """
    for rule, earlier in pool.repeated:
        yield _duplicate(rule, earlier, pool)
    strange = fresh_sign(rule.name for rule in pool.rules)
    living = []
    for rule in pool.rules:
        if rule.name and (winner := dead_by(rule, pool, strange)) is not None:
            yield _dead(rule, winner, pool)
        else:
            living.append(rule)
    for rule in living:
        if rule.name and not rule.name.strip("*"):  # every image of others is one of its own
            finding = _loses_a_form(rule, pool, strange)
            yield from () if finding is None else (finding,)
    yield from _Overlaps(living, pool, strange).findings()


def fresh_sign(names: Iterable[str]) -> str:
    """A sign that is in none of the names."""
    used = set("".join(names))
    return next(chr(code) for code in _PRIVATE_USE if chr(code) not in used)


def dead_by(rule: LintRule, pool: LintPool, strange: str) -> LintRule | None:
    """The rule that decides about all that meets this one; None where this one decides.

    A name without a star is met by the very same text, about which it then decides. Whatever meets
    the others bare meets them with a tag or a digest, too.
    """
    if "*" not in rule.name:
        return None
    winner = pool.decide(rule.name.replace("*", strange))
    return winner if winner is not rule else None


def _duplicate(rule: LintRule, earlier: LintRule, pool: LintPool) -> LintFinding:
    differs = _comes_to(rule) != _comes_to(earlier)
    what = "says something else, and never counts" if differs else "says the same again"
    place = f"{earlier.source.document.where}, line {_line(earlier)}"
    text = f"{rule} {what}: {earlier.source.about} has that name first ({place})"
    level = Level.ERROR if differs else Level.WARNING
    image = pool.example(rule) or ""
    return rule.tell(DUPLICATE_RULE, text, image=image, level=level)


def _comes_to(rule: LintRule) -> Demand | str | None:
    """What a rule says, without what changes nothing; a text for what a cluster refuses."""
    if rule.demand is None:
        return "refused"
    return effect_of(rule.demand, rule.rule.owner.namespace)


def _line(rule: LintRule) -> int:
    return rule.source.document.line_of(rule.path)


def _dead(rule: LintRule, winner: LintRule, pool: LintPool) -> LintFinding:
    image = pool.example(rule) or ""
    winner = (pool.decide(image) if image else None) or winner
    lost = lost_to(winner, rule, image)
    for text in () if lost else examples_of(rule.name, pool.engine):
        decided = pool.decide(text)
        if decided is not None and (lost := lost_to(decided, rule, text)):
            winner, image = decided, text
            break
    more = f", which does not ask for {' and '.join(lost)}" if lost else ""
    text = f"{rule} never decides: {winner} {_advantage(winner, rule)}{more}"
    level = Level.ERROR if lost else Level.WARNING
    return rule.tell(DEAD_RULE, text, image=image, level=level)


def _advantage(winner: LintRule, rule: LintRule) -> str:
    is_heavier = weight_of(winner.name) > weight_of(rule.name)
    return "is heavier" if is_heavier else "is as heavy and comes first"


def _loses_a_form(rule: LintRule, pool: LintPool, strange: str) -> LintFinding | None:
    """Whether another rule has all of its tags, or all of its digests, and demands less.

    Tags that a third rule names by themselves make no difference.
    """
    whole = rule.name.replace("*", strange)
    for ending, what in _FORMS:
        every = f"{whole}{ending.replace('*', strange)}"
        if not is_met(rule.name, every, pool.engine):
            continue
        winner = pool.decide(every)
        if winner is None or winner is rule or not (lost := lost_to(winner, rule, every)):
            continue
        for image in examples_of(rule.name, pool.engine, ending):
            if pool.decide(image) is winner:
                return _shadowed(rule, winner, lost, image, f"its images with {what}")
    return None


def _shadowed(
    rule: LintRule, winner: LintRule, lost: tuple[str, ...], image: str, which: str
) -> LintFinding:
    asked = " and ".join(lost)
    text = f"{rule} asks for {asked}, but {which} are decided by {winner}, which does not"
    return rule.tell(SHADOWED_RULE, f"{text} and {_advantage(winner, rule)}", image=image)


class _Group:
    """Rules by what their paths begin with, up to the first star."""

    def __init__(self) -> None:
        self.rules: list[LintRule] = []
        self._by_begin: dict[str, list[LintRule]] = {}

    def add(self, begin: str, rule: LintRule) -> None:
        self.rules.append(rule)
        self._by_begin.setdefault(begin, []).append(rule)

    @cached_property
    def _begins(self) -> list[str]:
        return sorted(self._by_begin)

    @cached_property
    def _lengths(self) -> tuple[int, ...]:
        return tuple(sorted(set(map(len, self._by_begin))))

    def alike(self, begin: str) -> Iterator[LintRule]:
        """Those whose beginning goes on from this one, or is gone on from by it."""
        for length in self._lengths:
            if length < len(begin):
                yield from self._by_begin.get(begin[:length], ())
        for found in self._begins[bisect_left(self._begins, begin) :]:
            if not found.startswith(begin):
                return
            yield from self._by_begin[found]


class TooManyPairs(Exception):
    """There is more to compare than anybody waits for."""


class _Overlaps:
    """Pairs of rules that share images without one's being a part of the other's.

    A part is what people mean by an exception. Pairs are found by their hosts and by what their
    paths begin with, so that rules about different repositories are never compared.
    """

    def __init__(self, rules: Iterable[LintRule], pool: LintPool, strange: str) -> None:
        self._pool, self._strange = pool, strange
        named = [rule for rule in rules if rule.name.strip("*") and rule.demand is not None]
        self._lax, self._strict = laxer_and_stricter(named)
        self._hosts: dict[str | None, _Group] = {}
        self._work = _WORK_MAX

    def findings(self) -> Iterator[LintFinding]:
        """For each rule the first that takes images from it."""
        for other in self._lax:
            host = Host.of(other.name)
            self._hosts.setdefault(host.text, _Group()).add(host.rest.partition("*")[0], other)
        for rule in self._strict:
            rivals = [
                other
                for other in self._near(rule)
                if self._beats(other, rule) and lost_to(other, rule)
            ]
            if not rivals:
                continue
            finding = _loses_a_form(rule, self._pool, self._strange)
            if finding is not None or (finding := self._overlap(rule, rivals)) is not None:
                yield finding

    def _overlap(self, rule: LintRule, rivals: Iterable[LintRule]) -> LintFinding | None:
        for other in rivals:
            if self._is_part(other, rule):
                continue
            for image in self._shared(rule, other):
                winner = self._pool.decide(image)
                if winner is not None and (lost := lost_to(winner, rule, image)):
                    return _shadowed(rule, winner, lost, image, f"images like {shown(image)}")
        return None

    def _near(self, rule: LintRule) -> Iterator[LintRule]:
        """Laxer rules that could share an image with it."""
        host = Host.of(rule.name)
        begin = host.rest.partition("*")[0]
        for text in (
            self._starred if host.text is not None and "*" not in host.text else self._hosts
        ):
            group = self._hosts[text]
            if host.text is None:
                if text is None or "*" in rule.name:
                    yield from group.rules
            elif text is None:
                yield from (other for other in group.rules if "*" in other.name)
            elif not self._pool.engine.splits_hosts and "*" in text + host.text:
                yield from group.rules  # a host's star is met by slashes there
            elif could_overlap(text, host.text):
                yield from group.alike(begin)
        if host.text is not None and "*" not in host.text and host.text in self._hosts:
            yield from self._hosts[host.text].alike(begin)

    @cached_property
    def _starred(self) -> list[str | None]:
        """The hosts that others could meet."""
        return [text for text in self._hosts if text is None or "*" in text]

    def _beats(self, other: LintRule, rule: LintRule) -> bool:
        mine, its = weight_of(rule.name), weight_of(other.name)
        place = self._pool.place
        return its > mine or (its == mine and place[id(other)] < place[id(rule)])

    def _is_part(self, other: LintRule, rule: LintRule) -> bool:
        return is_met(rule.name, other.name.replace("*", self._strange), self._pool.engine)

    def _shared(self, rule: LintRule, other: LintRule) -> Iterator[str]:
        """Images that both are met by; some of them, if there are any."""
        engine = self._pool.engine
        for first, second in _forms(rule.name, other.name):
            self._count((len(first) + 1) * (len(second) + 1))
            laid = _laid(first, second, engine)
            image = example_of(laid, engine) if laid is not None else None
            if (
                image is not None
                and is_met(rule.name, image, engine)
                and is_met(other.name, image, engine)
            ):
                yield image
        yield from self._searched(rule, other)

    def _searched(self, rule: LintRule, other: LintRule) -> Iterator[str]:
        """Images that both are met by, and no rule that has the one before."""
        from imgsec.domain.pattern_sets import Read, image_of  # few pools need it

        engine = self._pool.engine
        both = (Read(rule.name, engine), Read(other.name, engine))
        thirds: list[Read] = []
        while len(thirds) <= _THIRDS_MAX:
            self._count(_SEARCH_WORK)
            try:
                image = image_of(both, thirds)
            except ImgsecError:
                return
            if image is None:
                return
            if is_image(image, rule.name, engine):
                yield image
            third = self._pool.decide(image)
            if third is None or third is rule or third is other:
                return
            thirds.append(Read(third.name, engine))

    def _count(self, steps: int) -> None:
        self._work -= steps
        if self._work < 0:
            raise TooManyPairs


def _laid(one: str, other: str, engine: Engine) -> str | None:
    """A pattern whose texts meet both, as the engine compares hosts."""
    host, slash, rest = one.partition("/")
    other_host, other_slash, other_rest = other.partition("/")
    if not (slash and other_slash and engine.splits_hosts):
        return overlaid(one, other)
    hosts, rests = overlaid(host, other_host), overlaid(rest, other_rest)
    return None if hosts is None or rests is None else f"{hosts}/{rests}"


def _forms(one: str, other: str) -> Iterator[tuple[str, str]]:
    """Both names as they stand, and with what may follow them."""
    yield one, other
    for ending in (":*", "@*"):
        yield f"{one}{ending}", other
        yield one, f"{other}{ending}"
