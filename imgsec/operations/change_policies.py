# SPDX-License-Identifier: Apache-2.0
"""Change policies in a cluster, unless a running pod would be locked out; and take it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from imgsec.domain.admission import Admission
from imgsec.domain.policy_history import previous_of
from imgsec.domain.policy_rules import PolicyId
from imgsec.domain.report import Change
from imgsec.domain.verdict import Note, Verdict, passed
from imgsec.errors import ImgsecError
from imgsec.operations.foresee_lockout import Foresight
from imgsec.ports import ManifestSink, PolicyKeeper
from imgsec.reasons import NO_HISTORY

# What these objects, and the absence of those, would do to the pods that run.
Foresee = Callable[[Sequence[dict[str, Any]], frozenset[PolicyId]], Foresight]


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """What was said about the pods that run, and what was applied if anything was."""

    verdict: Verdict
    locked_out: tuple[Admission, ...] = ()
    changes: tuple[Change, ...] = ()


def apply_policies(
    documents: Sequence[dict[str, Any]],
    sink: ManifestSink,
    foresee: Foresee,
    *,
    accept_lockout: bool = False,
    adopt: bool = False,
) -> PolicyChange:
    """Apply them all, unless a pod that runs would be denied or that is not known.

    accept_lockout: in any case. Raises `ImgsecError` as the ports do, before anything is applied
    where that can be told.
    """
    foresight = foresee(documents, frozenset())
    if foresight.bad and not accept_lockout:
        return PolicyChange(foresight.verdict, foresight.bad)
    changes = tuple(sink.publish(document, adopt=adopt) for document in documents)
    return PolicyChange(passed(_looked_at(foresight)), foresight.bad, changes)


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

    Raises `ImgsecError` (no-history, foreign-object).
    """
    held = keeper.fetch(kind, name, namespace)
    if held is None:
        raise ImgsecError(NO_HISTORY(f"the cluster has no {kind} {name}"))
    previous = previous_of(held)
    if previous is not None:
        return apply_policies([previous], keeper, foresee, accept_lockout=accept_lockout)
    foresight = foresee([], frozenset([PolicyId(kind, name, namespace or "")]))
    if foresight.bad and not accept_lockout:
        return PolicyChange(foresight.verdict, foresight.bad)
    change = keeper.remove(kind, name, namespace)
    return PolicyChange(passed(_looked_at(foresight)), foresight.bad, (change,))


def _looked_at(foresight: Foresight) -> Note:
    text = f"{foresight.looked_at} kinds of pods run, of which {len(foresight.judged)} were judged"
    return Note("running-pods-judged", text)
