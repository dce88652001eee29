# SPDX-License-Identifier: Apache-2.0
"""Images of templates whose pods are decided otherwise, where nobody names any.

A pod has its template's repository with a digest. So what is searched is a pod's image: by a rule's
name with the tag taken out of it wherever that could stand, together with the name of each rule
that asks for something else, or with none. A template's image that the rule decides about is then
made from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imgsec.domain.demand_effect import SIGNED
from imgsec.domain.engine_name import EngineName
from imgsec.domain.hosts import HUB
from imgsec.domain.image_search import ImageSearch
from imgsec.domain.lint_precedence import fresh_sign
from imgsec.domain.pattern_sets import (
    SAMPLE_DIGEST,
    Read,
    is_name,
    may_share,
    samples_of,
)
from imgsec.domain.policy_diff import Meaning
from imgsec.domain.policy_rules import Demand, PolicyRule
from imgsec.domain.reference import shown
from imgsec.domain.resolution import RulePool
from imgsec.domain.wildcard import weight_of

# Ours: a few hundred rules of different repositories take a second.
_PAIRS_MAX = 1_000_000  # of rules, looked at by what they begin and end with
_SEARCHES_MAX = 1_000  # for an image
_PLACES_MAX = 1_000_000  # of names, that these look at together: some ten seconds
_TRIES_MAX = 12  # rules that have the images found so far
_EXACT = "matchExact"
_TAGGED = "*/*:*@*"  # which no pod's image is
_OF_DIGEST = frozenset("sha256:0123456789abcdef")
_HUB_PREFIXES = (f"{HUB}/", f"{HUB}/library/")
_TAGS = ("1.0", "1", "a")
_STANDS_FOR = ("1", "a", "")  # a star in a tag


@dataclass(frozen=True, slots=True)
class Template:
    """What becomes of a template's image in a namespace, by the rules of the engine that looks."""

    pool: RulePool
    namespace: str

    def why_changed(self, image: str, digest: str = str(SAMPLE_DIGEST)) -> str:
        """Why its pods are not decided as it is; empty where they are, or it is not rewritten."""
        effect = self.meaning(image).effect
        if effect is None or not is_rewritten(effect):
            return ""
        name = EngineName.parse(image)
        has_digest, is_tagged = "@" in image, ":" in image.partition("@")[0].rpartition("/")[2]
        if has_digest and is_tagged and effect.simple is not None:
            return ""  # simple signing takes no such image
        child = f"{name.repository}@{f'sha256:{name.digest}' if name.digest else digest}"
        decides = self.meaning(child)
        if decides.effect != effect:
            return f"get an image such as {shown(child)}, which {decides.clause}"
        return "" if has_digest and not is_tagged else other_answer(effect)

    def meaning(self, image: str) -> Meaning:
        return Meaning(self.pool.resolve(image).rule, self.namespace)


def is_rewritten(effect: Demand) -> bool:
    """Whether an image that meets it gets its digest."""
    return effect.mutates and (effect.simple is not None or effect.trust is not None)


def other_answer(effect: Demand) -> str:
    """Where the digest does not meet what the tag does."""
    if effect.trust is not None:
        return "get a digest, for which trust looks up the tag latest"
    requirements = effect.simple.requirements if effect.simple is not None else ()
    identities = (one.identity for one in requirements if one.kind == SIGNED)
    if any(one is not None and one.kind == _EXACT for one in identities):
        return f"get a digest, which {_EXACT} denies"
    return ""


@dataclass(frozen=True, slots=True)
class _Form:
    """The images of pods of one name. prefix: what a template's image leaves out of them. tag: the
    name's part that the template's tag meets, None for any tag or none. has_digest: whether the
    template's image has the digest, too.
    """

    name: str
    prefix: str
    tag: str | None
    has_digest: bool

    def may_share(self, other: Read) -> bool:
        """Whether a pod's image could meet both; cheap, and never wrongly False."""
        name = self.name
        if _has_templates_too(other.name):
            name = name.partition("@")[0]  # which is met without its digest, then
        return may_share(Read(name, other.engine), other)

    def images_of(self, child: str) -> Iterator[str]:
        """Images of templates whose pods get this one."""
        repository, _, digest = child.partition("@")
        bare = repository.removeprefix(self.prefix)
        tags = _TAGS if self.tag is None else [self.tag.replace("*", one) for one in _STANDS_FOR]
        end = f"@{digest}" if self.has_digest else ""
        for image in (*(f"{bare}:{tag}{end}" for tag in tags), f"{bare}{end}"):
            if is_name(image):
                yield image


def _forms_of(name: str, *, is_signed: bool) -> Iterator[_Form]:
    """All that a name's pods are called: with its tag taken out, and with Docker Hub's defaults.

    is_signed: simple signing is asked for, which takes no tag beside a digest.
    """
    text, mark, digest = name.partition("@")
    for repository, tag in _splits_of(text):
        for prefix in ("", *_prefixes_of(repository)):
            if not mark or not is_signed or (prefix and tag is None):
                yield _Form(f"{prefix}{repository}@{digest or '*'}", prefix, tag, bool(mark))


def _splits_of(text: str) -> Iterator[tuple[str, str | None]]:
    """A name parted before its tag, which may begin within a star."""
    yield text, None
    for place, sign in enumerate(text):
        rest = text[place + 1 :]
        if sign not in ":*" or "/" in rest or ":" in rest:
            continue
        if sign == ":":
            yield text[:place], rest
        elif rest:
            yield text[: place + 1], f"*{rest}"


def _prefixes_of(repository: str) -> tuple[str, ...]:
    first, slash, _ = repository.partition("/")
    if not slash:
        return _HUB_PREFIXES
    is_host = any(sign in first for sign in ".:") or first == "localhost" or first != first.lower()
    return () if is_host else _HUB_PREFIXES[:1]


class PodSearch:
    """For templates whose pods are decided otherwise."""

    def __init__(self) -> None:
        self._search = ImageSearch(pairs=_PAIRS_MAX, searches=_SEARCHES_MAX, places=_PLACES_MAX)

    @property
    def left_out(self) -> bool:
        """Whether there was more to compare than anybody waits for."""
        return self._search.left_out

    def changes(self, template: Template) -> Iterator[tuple[str, str]]:
        """An image for each rule whose pods are decided otherwise, and why."""
        rules = _Rules(template)
        for rule in rules.first:
            effect = rules.effects[rule.repository]
            if effect is None or not is_rewritten(effect):
                continue
            for image, digest in self._images_of(rule, rules):
                if why := template.why_changed(image, digest):
                    yield image, why
                    break

    def _images_of(self, rule: PolicyRule, rules: _Rules) -> Iterator[tuple[str, str]]:
        """Images that the rule decides about, each with a digest for its pods."""
        for image in samples_of(rule.repository):
            if is_name(image) and rules.pool.resolve(image).rule is rule:
                yield image, str(SAMPLE_DIGEST)
        is_signed = rule.demand.simple is not None
        forms = tuple(dict.fromkeys(_forms_of(rule.repository, is_signed=is_signed)))
        for form in forms:
            if rules.is_open(rule, form):
                yield from self._searched(rule, form, (), rules.pool)
        for form in forms:
            for other in rules.others(rule, form):
                if not self._search.takes_pair():
                    return
                if form.may_share(other):
                    yield from self._searched(rule, form, (other,), rules.pool)

    def _searched(
        self, rule: PolicyRule, form: _Form, others: tuple[Read, ...], pool: RulePool
    ) -> Iterator[tuple[str, str]]:
        wanted = (Read(form.name, pool.engine), *others)
        unwanted = [Read(_TAGGED, pool.engine)]
        for child in self._search.images(wanted, unwanted, _TRIES_MAX):
            images = [one for one in form.images_of(child) if pool.resolve(one).rule is rule]
            yield from ((image, child.partition("@")[2]) for image in images)
            decides = pool.resolve(child).rule
            if not images or decides is None:
                unwanted.append(_taken(child, form, rule, pool))
            else:
                unwanted.append(Read(decides.repository, pool.engine))


def _taken(child: str, form: _Form, rule: PolicyRule, pool: RulePool) -> Read:
    """The pods' images whose templates another rule has, as far as this one tells."""
    repository = child.partition("@")[0]
    name = repository
    if not form.prefix and not form.has_digest:
        takes = pool.resolve(repository).rule
        if takes is not None and weight_of(takes.repository) > weight_of(rule.repository):
            name = takes.repository  # which has all tags of what meets it
    return Read(f"{name}@*", pool.engine)


class _Rules:
    """first: of several of one name the one that decides. effects: by their names."""

    def __init__(self, template: Template) -> None:
        named: dict[str, PolicyRule] = {}
        for rule in template.pool.rules:
            named.setdefault(rule.repository, rule)
        self.pool, self.first = template.pool, tuple(named.values())
        self.effects = {
            name: Meaning(rule, template.namespace).effect for name, rule in named.items()
        }
        self._strange = fresh_sign(named)
        self._place = {name: place for place, name in enumerate(named)}
        self._with_pods = [rule for rule in self.first if _may_name_pods(rule.repository)]

    def is_open(self, rule: PolicyRule, form: _Form) -> bool:
        """Whether pods of this form may be named by no rule, or are denied whoever names them."""
        effect = self.effects[rule.repository]
        is_denied = effect is not None and bool(other_answer(effect))
        return is_denied or self._covers(form) is None

    def others(self, rule: PolicyRule, form: _Form) -> Iterator[Read]:
        """What could decide about pods of this form otherwise than the rule does."""
        effect = self.effects[rule.repository]
        covers = self._covers(form)
        floor = -1 if covers is None else weight_of(covers.repository)
        for other in self._with_pods:
            name = other.repository
            if weight_of(name) < floor or self.effects[name] == effect:
                continue
            if form.prefix or not (self._beats(other, rule) and _has_templates_too(name)):
                yield Read(name, self.pool.engine)

    def _covers(self, form: _Form) -> PolicyRule | None:
        """The rule that has all pods of this form, if others leave them to it."""
        return self.pool.resolve(form.name.replace("*", self._strange)).rule

    def _beats(self, other: PolicyRule, rule: PolicyRule) -> bool:
        mine, its = (
            (weight_of(one.repository), -self._place[one.repository]) for one in (rule, other)
        )
        return its > mine


def _may_name_pods(name: str) -> bool:
    """Whether a digest without a tag could meet it; cheap, and never wrongly False."""
    before, colon, _ = _path_of(name).partition(":")
    return not colon or "@" in before or before.endswith(("*", "6"))


def _has_templates_too(name: str) -> bool:
    """Whether it has all tags of the pods' images that it has, as no part of it is met by a digest;
    cheap, and never wrongly True.
    """
    path = _path_of(name)
    _, star, end = path.partition("*")
    is_plain = "*" not in end and not (set(end) <= _OF_DIGEST and end)
    return "@" not in path and (not star or is_plain)


def _path_of(name: str) -> str:
    _, slash, path = name.partition("/")
    return path if slash else name
