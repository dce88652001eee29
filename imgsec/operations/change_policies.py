# SPDX-License-Identifier: Apache-2.0
"""Change policies in a cluster, unless a running pod would be locked out; and take it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from imgsec.domain.admission import Admission
from imgsec.domain.left_behind import id_of
from imgsec.domain.policy_history import previous_of, removed_from, removed_in
from imgsec.domain.policy_rules import PolicyId
from imgsec.domain.put_back import put_back_texts
from imgsec.domain.report import Change
from imgsec.domain.verdict import Note, Verdict, passed
from imgsec.errors import ImgsecError
from imgsec.operations.foresee_lockout import Foresight
from imgsec.ports import ObjectId, PolicyKeeper
from imgsec.reasons import NO_HISTORY

# What these objects, and the absence of those, would do to the pods that run.
Foresee = Callable[[Sequence[dict[str, Any]], frozenset[PolicyId]], Foresight]


@dataclass(frozen=True, slots=True)
class LookAhead:
    """Whether a change may be made. verdict: passed if it may, whatever it does to pods then.

    locked_out: the pods that would be denied, or of which that is not known.
    """

    verdict: Verdict
    locked_out: tuple[Admission, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """What was said about the pods that run, and what was applied if anything was."""

    verdict: Verdict
    locked_out: tuple[Admission, ...] = ()
    changes: tuple[Change, ...] = ()


def look_ahead(
    foresee: Foresee,
    documents: Sequence[dict[str, Any]],
    removed: frozenset[PolicyId] = frozenset(),
    *,
    accept_lockout: bool,
) -> LookAhead:
    """Judge the pods that run as they would be judged after the change.

    accept_lockout: the change may be made in any case, also if nothing can be told about them.
    Raises `ImgsecError` as reading the cluster does.
    """
    try:
        foresight = foresee(documents, removed)
    except ImgsecError as error:
        if not accept_lockout:
            raise
        return LookAhead(passed(Note("running-pods-not-judged", error.reason.text)))
    if foresight.bad and not accept_lockout:
        verdict = replace(foresight.verdict, notes=foresight.notes)
        return LookAhead(verdict, foresight.bad)
    count = len(foresight.judged)
    text = f"{foresight.looked_at} kinds of pods run or may run; the rules of {count} change"
    judged = Note("running-pods-judged", text)
    return LookAhead(passed(*foresight.notes, judged), foresight.bad)


def roll_back(
    kind: str,
    name: str,
    namespace: str | None,
    keeper: PolicyKeeper,
    foresee: Foresee,
    *,
    accept_lockout: bool = False,
) -> PolicyChange:
    """Put a policy back to what it was before its last change; one that was not there is removed.

    One that --prune removed is made again. Raises `ImgsecError` (no-history, foreign-object).
    """
    held = keeper.fetch(kind, name, namespace)
    policy = PolicyId(kind, name, namespace or "")
    if held is None:
        previous = removed_from(keeper.list_made_policies(), policy)
        if previous is None:
            raise ImgsecError(NO_HISTORY(f"the cluster has no {policy}"))
    else:
        keeper.require_ready(ObjectId(kind, name, namespace))
        previous = previous_of(held)
    removed = frozenset([policy] if previous is None else ())
    documents = [previous] if previous is not None else []
    ahead = look_ahead(foresee, documents, removed, accept_lockout=accept_lockout)
    told = tuple(Note("put-back", text) for text in put_back_texts(held, previous))
    ahead = replace(ahead, verdict=replace(ahead.verdict, notes=(*told, *ahead.verdict.notes)))
    if not ahead.verdict.passed:
        return PolicyChange(ahead.verdict, ahead.locked_out)
    change = (
        keeper.publish(previous) if previous is not None else keeper.remove(kind, name, namespace)
    )
    return PolicyChange(ahead.verdict, ahead.locked_out, (change,))


def list_history(keeper: PolicyKeeper, namespace: str | None) -> Verdict:
    """What could be rolled back, and to what. namespace: None for all.

    Raises `ImgsecError` (no-history) for nothing at all.
    """
    made = keeper.list_made_policies()
    there = {id_of(one) for one in made}
    pairs: list[tuple[dict[str, Any] | None, dict[str, Any] | None]] = [
        (None, one) for one in removed_in(made) if id_of(one) not in there
    ]
    for one in made:
        try:
            pairs.append((one, previous_of(one)))
        except ImgsecError:
            continue  # nobody kept what it was
    notes = [
        Note("can-be-put-back", text)
        for now, previous in pairs
        if namespace in (None, id_of(now or previous or {}).namespace)
        for text in put_back_texts(now, previous)
    ]
    if not notes:
        raise ImgsecError(NO_HISTORY("no policy of imgsec's there tells what it was before"))
    return passed(*notes)
