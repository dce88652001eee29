# SPDX-License-Identifier: Apache-2.0
"""Rendered policies held against the intent, by the engine's own order of search.

For every name of the intent images are made up that meet it. The rule that decides about each must
demand what is meant, however the image is spelt, and also once the engine has replaced its tag.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence

from imgsec.domain.demand_effect import asks_less, denial_by_host, effect_of
from imgsec.domain.engine_name import EngineName, Panic
from imgsec.domain.engines import NEWEST, Engine
from imgsec.domain.host_spellings import Respelt, respelt
from imgsec.domain.intent_rendering.coherence import Scope
from imgsec.domain.intent_rendering.rendered import Findings
from imgsec.domain.kubernetes import Document
from imgsec.domain.pattern_sets import SAMPLE_DIGEST, Effort, covers, foreign_twin, samples_of
from imgsec.domain.policy_intent import ImageNames, IntentRule, is_of_platform, is_tag_alone
from imgsec.domain.policy_rules import Demand, Policy, PolicyRule
from imgsec.domain.resolution import Pools, RulePool
from imgsec.domain.shared_images import NamesByPath, SharedImages
from imgsec.domain.wildcard import is_met
from imgsec.reasons import INTENT_MISREAD

_PLACES_MAX = 500_000  # ours; of names, that all searches look at together: some five seconds
_RESOLUTION = 5  # places; what an image costs that is resolved
_WHOLE_HINT = "Name the repository itself, or say mutateImage: false."
Shape = Callable[[Demand], Demand]  # a demand as the engine's API can say it


def hold(
    documents: Sequence[Document],
    scopes: Iterable[Scope],
    engine: Engine,
    findings: Findings,
    shape: Shape = lambda demand: demand,
) -> None:
    """What the engine would decide otherwise than is meant.

    Raises `ImgsecError` (invalid-pattern) for names that nobody can compare in a moment.
    """
    pools = Pools.of([Policy.read(one) for one in documents], engine)
    shared = SharedImages(engine, Effort(_PLACES_MAX))
    for scope in scopes:
        pool = pools.of_namespace(scope.namespace)
        court = _Court(scope, pool, engine, findings, shape, shared)
        for name, rule in scope.named:
            court.try_name(name, rule)


class _Court:
    """Compares, for one scope, what is meant with what the engine decides."""

    def __init__(
        self,
        scope: Scope,
        pool: RulePool,
        engine: Engine,
        findings: Findings,
        shape: Shape,
        shared: SharedImages,
    ) -> None:
        self._scope = scope
        self._pool = pool
        self._engine = engine
        self._findings = findings
        self._shape = shape
        self._shared = shared
        self._names = NamesByPath([one.repository for one in pool.rules], engine)

    def try_name(self, name: ImageNames, rule: IntentRule) -> None:
        """One finding of a kind at most."""
        own = [one for one in samples_of(name.text) if self._is_about(one, rule)]
        if rule.unchecked is not None and is_tag_alone(name):
            own = [one for one in own if one == name.text]
        for sample in own:
            if self._demand(sample) != self._shape(rule.demand):
                text = f"{sample} is meant for {name.text}, and {self._said(sample)}"
                self._blame(rule, text)
                return
        if rule.unchecked is None:
            self._try_spellings(name, rule)
            self._try_digests(own, rule)
        else:
            self._try_stranger(name, rule)

    def _try_spellings(self, name: ImageNames, rule: IntentRule) -> None:
        """The same image under another text must not come in by another rule."""
        meant = self._shape(rule.demand)
        for place in self._names.near(name.text):
            other = self._pool.rules[place]
            self._shared.take(1)
            if not self._asks_less(other.demand, meant):
                continue
            for spelt in respelt(name.text, other.repository, self._engine):
                found = self._shared.first(
                    spelt.name,
                    other.repository,
                    functools.partial(self._let_in, spelt, rule),
                    functools.partial(self._deciders, spelt),
                )
                if found is not None and self._tell_spelling(*found, rule):
                    return

    def _let_in(self, spelt: Respelt, rule: IntentRule, image: str) -> tuple[str, str] | None:
        """The image and what the rule calls it, where that is to be checked and this is not."""
        self._shared.take(_RESOLUTION)
        meant, decided = self._shape(rule.demand), self._demand(image)
        if decided is None or not self._asks_less(decided, meant) or self._meant(image, rule):
            return None
        if denial_by_host(decided, image, self._engine):
            return None
        usual = spelt.usual(image, NEWEST)
        if usual is None or not self._is_about(usual, rule):
            return None
        if self._demand(usual) != meant and not self._is_misread(usual):
            return None
        return None if self._is_taken_out(spelt, image, rule) else (image, usual)

    def _deciders(self, spelt: Respelt, image: str) -> Iterator[str]:
        """The names that decide about an image, in this spelling."""
        usual = spelt.usual(image, NEWEST)
        decides = self._pool.resolve(image).rule
        said = self._pool.resolve(usual).rule if usual is not None else None
        if decides is not None:
            yield decides.repository
        if said is not None and said.repository != spelt.of:
            yield spelt.likewise(said.repository)

    def _is_taken_out(self, spelt: Respelt, image: str, rule: IntentRule) -> bool:
        """Whether the user demands the same of this spelling, and takes the image out of that."""
        host = spelt.name.partition("/")[0]
        return any(
            one.demand == rule.demand
            and (name.text == spelt.of or name.text.partition("/")[0] == host)
            and covers(name.text, spelt.name)
            and any(_is_within(inner.text, spelt.name) for inner, _ in self._scope.meant_for(image))
            for name, one in self._scope.named
        )

    def _tell_spelling(self, image: str, usual: str, rule: IntentRule) -> bool:
        """Whether it is refused: a platform is let in wherever it says so, and that is told."""
        text = f"{image} is the same image as {usual}, and {self._said(image)}"
        decides = self._pool.resolve(image).rule
        met = self._scope.named if self._is_misread(image) else self._scope.meant_for(image)
        for name, one in met:
            if is_of_platform(one) and decides is not None and decides.repository == name.text:
                self._findings.note("platform-exception", text, alike=one.origin)
                return False
        hint = "Leave that rule out, or narrow it: no list of spellings is complete."
        self._blame(rule, text, hint)
        return True

    def _asks_less(self, decided: Demand, meant: Demand) -> bool:
        place = self._scope.namespace
        return asks_less(effect_of(decided, place), effect_of(meant, place))

    def _is_misread(self, image: str) -> bool:
        """Whether a star of the rule that decides stands for a host and more, as of old."""
        decides = self._pool.resolve(image).rule
        return decides is not None and not is_met(decides.repository, image, NEWEST)

    def _meant(self, image: str, rule: IntentRule) -> bool:
        """Whether the user's own rules say that of this spelling."""
        return any(
            not one.origin and one.demand == rule.demand for _, one in self._scope.meant_for(image)
        )

    def _try_digests(self, own: Sequence[str], rule: IntentRule) -> None:
        """What the engine makes of a tag is looked at again, in the pods that are made from it."""
        if not rule.mutates or rule.denied:
            return
        for sample in own:
            try:
                read = EngineName.parse(sample)
            except (ValueError, Panic):
                continue
            digest = f"sha256:{read.digest}" if read.digest else SAMPLE_DIGEST
            replaced = f"{read.repository}@{digest}"
            if self._demand(replaced) == self._shape(rule.demand):
                continue
            text = f"{sample} becomes {replaced}, and {self._said(replaced)}"
            if self._engine.is_cise:
                text += "; it looks at pods alone, and again only at one that is changed itself"
                self._findings.note("digest-undecided", text)
            elif self._engine.skips_owned:
                text += "; only objects without an owner are looked at again, until 0.14.3"
                self._findings.note("digest-undecided", text)
            else:
                self._blame(rule, text, _WHOLE_HINT)
            return

    def _try_stranger(self, name: ImageNames, rule: IntentRule) -> None:
        stranger = None if self._engine.splits_hosts else foreign_twin(name.text)
        if stranger is None:
            return
        decided = self._pool.resolve(stranger).rule
        if decided is not None and decided.demand.is_nothing and not self._meant(stranger, rule):
            text = f"{self._engine} lets {stranger} through by {decided.repository}, too"
            self._blame(rule, text, "Name each registry host instead of *, for this engine.")

    def _is_about(self, image: str, rule: IntentRule) -> bool:
        return any(one.demand == rule.demand for _, one in self._scope.meant_for(image))

    def _demand(self, image: str) -> Demand | None:
        rule = self._pool.resolve(image).rule
        return None if rule is None else rule.demand

    def _said(self, image: str) -> str:
        rule = self._pool.resolve(image).rule
        return _by(rule, self._engine)

    def _blame(self, rule: IntentRule, text: str, hint: str | None = None) -> None:
        where = f" (in {self._scope})" if self._scope.namespace else ""
        self._findings.blame(rule, INTENT_MISREAD, text + where, hint)


def _is_within(inner: str, outer: str) -> bool:
    return covers(outer, inner) and not covers(inner, outer)


def _by(rule: PolicyRule | None, engine: Engine) -> str:
    if rule is None:
        return f"{engine} denies it: no rule names it so"
    what = ", which lets it through unchecked" if rule.demand.is_nothing else ""
    return f"{engine} decides about it by {rule.repository}{what}"
