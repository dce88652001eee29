# SPDX-License-Identifier: Apache-2.0
"""Rendered policies held against the intent, by the engine's own order of search.

For every name of the intent images are made up that meet it. The rule that decides about each must
demand what is meant, however the image is spelt, and also once the engine has replaced its tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from imgsec.domain.engine_name import EngineName, Panic
from imgsec.domain.engines import Engine
from imgsec.domain.intent_rendering.coherence import Scope
from imgsec.domain.intent_rendering.rendered import Findings
from imgsec.domain.kubernetes import Document
from imgsec.domain.pattern_sets import SAMPLE_DIGEST, foreign_twin, other_spellings, samples_of
from imgsec.domain.policy_intent import ImageNames, IntentRule, is_tag_alone
from imgsec.domain.policy_rules import Demand, Policy, PolicyRule
from imgsec.domain.resolution import Pools, RulePool
from imgsec.reasons import INTENT_MISREAD

_WHOLE_HINT = "Name the repository itself, or say mutateImage: false."
Shape = Callable[[Demand], Demand]  # a demand as the engine's API can say it


def hold(
    documents: Sequence[Document],
    scopes: Iterable[Scope],
    engine: Engine,
    findings: Findings,
    shape: Shape = lambda demand: demand,
) -> None:
    """What the engine would decide otherwise than is meant."""
    pools = Pools.of([Policy.read(one) for one in documents], engine)
    for scope in scopes:
        court = _Court(scope, pools.of_namespace(scope.namespace), engine, findings, shape)
        for name, rule in scope.named:
            court.try_name(name, rule)


class _Court:
    """Compares, for one scope, what is meant with what the engine decides."""

    def __init__(
        self, scope: Scope, pool: RulePool, engine: Engine, findings: Findings, shape: Shape
    ) -> None:
        self._scope = scope
        self._pool = pool
        self._engine = engine
        self._findings = findings
        self._shape = shape

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
            self._try_spellings(own, rule)
            self._try_digests(own, rule)
        else:
            self._try_stranger(name, rule)

    def _try_spellings(self, own: Sequence[str], rule: IntentRule) -> None:
        """The same image under another text must not come in by another rule."""
        for sample in own:
            for spelt in other_spellings(sample):
                decided = self._demand(spelt)
                meant = self._shape(rule.demand)
                if decided and not _is_at_least(decided, meant) and not self._meant(spelt, rule):
                    text = f"{spelt} is the same image as {sample}, and {self._said(spelt)}"
                    hint = "Leave that rule out, or narrow it: no list of spellings is complete."
                    self._blame(rule, text, hint)
                    return

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


def _is_at_least(decided: Demand, meant: Demand) -> bool:
    """Whether nothing of what is meant is left out."""
    pairs = (
        (decided.simple, meant.simple),
        (decided.trust, meant.trust),
        (decided.advisor, meant.advisor),
    )
    return all(wanted is None or found == wanted for found, wanted in pairs)


def _by(rule: PolicyRule | None, engine: Engine) -> str:
    if rule is None:
        return f"{engine} denies it: no rule names it so"
    what = ", which lets it through unchecked" if rule.demand.is_nothing else ""
    return f"{engine} decides about it by {rule.repository}{what}"
