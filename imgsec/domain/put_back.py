# SPDX-License-Identifier: Apache-2.0
"""What putting a policy back would change, rule by rule, as people read it."""

from __future__ import annotations

from collections.abc import Iterator

from imgsec.domain.kubernetes import Document
from imgsec.domain.left_behind import id_of
from imgsec.domain.policy_diff import demand_text
from imgsec.domain.policy_rules import Policy
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError

_RULES_MAX = 50  # ours; more is no list that anybody reads


def put_back_texts(now: Document | None, previous: Document | None) -> tuple[str, ...]:
    """now, previous: the policy as it is and as it was; None where it is or was not there.

    The same rules in another order are told, too: order decides between equal names.
    """
    lines = list(_lines(now, previous))
    more = [f"and {len(lines) - _RULES_MAX} rules more"] if len(lines) > _RULES_MAX else []
    return tuple(lines[:_RULES_MAX] + more)


def _lines(now: Document | None, previous: Document | None) -> Iterator[str]:
    named = next((id_of(one) for one in (now, previous) if one is not None), None)
    if previous is None:
        yield f"{named} was not there before: it is removed"
        return
    if now is None:
        yield f"{named} was removed: it is made again"
    has, had = _rules_of(now), _rules_of(previous)
    if has is None or had is None:
        yield f"{named} is put back; its rules are not such as can be told"
        return
    for name, asked in had:
        if (name, asked) not in has:
            yield f"{named}: {shown(name)} comes back: {asked}"
    for name, asked in has:
        if (name, asked) not in had:
            yield f"{named}: {shown(name)} goes: {asked}"
    if sorted(has) == sorted(had):
        yield f"{named}: the same rules" + (" in another order" if has != had else ", as now")


def _rules_of(document: Document | None) -> list[tuple[str, str]] | None:
    """Each name, and what is asked; None where the fields are not what an engine reads."""
    if document is None:
        return []
    try:
        return [(one.repository, demand_text(one.demand)) for one in Policy.read(document).rules]
    except ImgsecError:
        return None
