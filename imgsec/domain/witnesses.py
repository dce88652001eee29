# SPDX-License-Identifier: Apache-2.0
"""An image that one rule among others decides about."""

from __future__ import annotations

from imgsec.domain.pattern_sets import Read, image_of, is_name, samples_of
from imgsec.domain.reference import shown
from imgsec.domain.resolution import RulePool
from imgsec.errors import ImgsecError
from imgsec.reasons import INVALID_PATTERN

_TRIES_MAX = 12  # ours: other rules that have the images found so far


def witness_of(name: str, pool: RulePool, *, within: str = "") -> str | None:
    """An image that a rule of this name decides about; None where there is none.

    within: another name that it is to meet. Likely ones come first. Raises `ImgsecError`
    (invalid-pattern) where nobody could tell in time.

    >>> from imgsec.domain.engines import NEWEST
    >>> from imgsec.domain.policy_rules import Demand, PolicyId, PolicyRule
    >>> names, owner = ("*.icr.io/shop/*", "us.icr.io/shop/*"), PolicyId("ClusterImagePolicy", "p")
    >>> pool = RulePool((PolicyRule(one, Demand(), owner, 0) for one in names), NEWEST)
    >>> witness_of("*.icr.io/shop/*", pool)
    'a.icr.io/shop/a'
    """
    wanted = [Read(one, pool.engine) for one in (name, *([within] if within else []))]
    for image in samples_of(within or name):
        is_met = all(one.is_met(image) for one in wanted)
        if is_met and is_name(image) and _decider(image, pool) == name:
            return image
    unwanted: list[Read] = []
    for _ in range(_TRIES_MAX):
        found = image_of(wanted, unwanted)
        if found is None:
            return None
        decider = _decider(found, pool)
        if decider is None or decider == name:
            return found
        unwanted.append(Read(decider, pool.engine, is_bare=decider == found))
    text = f"{shown(name)}: too many other rules have its images to be compared"
    raise ImgsecError(INVALID_PATTERN(text))


def _decider(image: str, pool: RulePool) -> str | None:
    rule = pool.resolve(image).rule
    return rule.repository if rule is not None else None
