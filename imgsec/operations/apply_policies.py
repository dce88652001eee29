# SPDX-License-Identifier: Apache-2.0
"""Apply policies to a cluster, once nothing that is known of it stands against them.

Everything that does is told together: keys that the engine could not read, rules of others that
let in what these would check, pods that would be denied. Until then nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from imgsec.domain.laxer_rules import LaxerRule
from imgsec.domain.left_behind import NO_PRUNING, LeftBehind, Pruning, id_of
from imgsec.domain.policy_history import with_removed
from imgsec.domain.policy_rules import PolicyId
from imgsec.domain.report import Change
from imgsec.domain.verdict import Note, because, passed
from imgsec.errors import ImgsecError
from imgsec.operations.change_policies import PolicyChange, look_ahead
from imgsec.operations.foresee_lockout import Foresight
from imgsec.ports import ObjectId, PolicyKeeper, object_id
from imgsec.reasons import LAXER_RULE, PERMISSION_DENIED, Reason

Documents = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Terms:
    """What is accepted. lockout: pods that run may be denied, and keys be missing; laxer: others
    may let in what is to be checked; adopt: what imgsec did not make may be taken over; pruning:
    what it made earlier may be removed.
    """

    lockout: bool = False
    laxer: bool = False
    adopt: bool = False
    pruning: Pruning = NO_PRUNING


@dataclass(slots=True)
class Progress:
    """How far it has come, for whoever ends it from outside. at: the object that is being changed,
    of which nobody can tell then whether it is.
    """

    changes: list[Change] = field(default_factory=list)
    at: str = ""

    def told(self) -> str:
        """What was changed until now; empty where nothing was begun."""
        if not (self.changes or self.at):
            return ""
        done = ", ".join(f"{one.target} ({one.state})" for one in self.changes) or "nothing"
        rest = f"; whether {self.at} is changed, too, is not known" if self.at else ""
        return f"changed in the cluster until then: {done}{rest}"


class Prospect(Protocol):
    """What a cluster is like once it has these objects, and has those no more."""

    def foresee(self, documents: Documents, removed: frozenset[PolicyId]) -> Foresight:
        """What becomes of the pods that run."""

    def laxer_rules(
        self, documents: Documents, removed: frozenset[PolicyId]
    ) -> tuple[LaxerRule, ...]:
        """The rules of others that take images from the new ones."""


def apply_policies(
    documents: Documents,
    cluster: PolicyKeeper,
    prospect: Prospect,
    terms: Terms,
    *,
    judge_keys: Callable[[], Sequence[Reason]],
    progress: Progress,
) -> PolicyChange:
    """Apply all of them in their order, or none; what was applied before a failure is told.

    judge_keys: why the engine would not read the keys that they name. progress: kept up to date.
    All are rehearsed before the first is applied. Raises `ImgsecError` (foreign-object) and as
    reading the cluster does, before any change.
    """
    terms.pruning.require_unpublished(documents)
    cluster.require_ready(*map(object_id, documents), adopt=terms.adopt)
    left, left_notes = _left_behind(documents, cluster, terms)
    keys, key_notes = _judged_keys(judge_keys, terms)
    laxer, laxer_notes = _held_against_others(prospect, documents, left.removed, terms)
    ahead = look_ahead(prospect.foresee, documents, left.removed, accept_lockout=terms.lockout)
    notes = (*key_notes, *laxer_notes, *left_notes, *ahead.verdict.notes)
    if reasons := (*keys, *laxer, *ahead.verdict.reasons):
        return PolicyChange(because(*reasons, notes=notes), ahead.locked_out)
    documents = _keeping(left, documents)
    try:
        for document in documents:
            cluster.rehearse(document, adopt=terms.adopt)
        for document in documents:
            progress.at = str(id_of(document))
            progress.changes.append(cluster.publish(document, adopt=terms.adopt))
        for one in map(id_of, left.pruned):
            progress.at = str(one)
            progress.changes.append(cluster.remove(one.kind, one.name, one.namespace or None))
        progress.at = ""
    except ImgsecError as error:
        verdict = because(error.reason, notes=notes)
        return PolicyChange(verdict, ahead.locked_out, tuple(progress.changes))
    return PolicyChange(passed(*notes), ahead.locked_out, tuple(progress.changes))


def _left_behind(
    documents: Documents, cluster: PolicyKeeper, terms: Terms
) -> tuple[LeftBehind, tuple[Note, ...]]:
    """Raises `ImgsecError` (foreign-object), and if they may not be listed and one shall go."""
    try:
        made = cluster.list_made_policies()
    except ImgsecError as error:
        if terms.pruning != NO_PRUNING or error.reason.code != PERMISSION_DENIED.code:
            raise
        return LeftBehind(), (Note("left-behind-unknown", error.reason.text),)
    left = LeftBehind.of(made, documents, terms.pruning)
    names = [ObjectId(one.kind, one.name, one.namespace or None) for one in terms.pruning.names]
    cluster.require_ready(*names)
    return left, left.notes(enforced=True)


def _keeping(left: LeftBehind, documents: Documents) -> Documents:
    """The first keeps what is removed after it, so that there is a way back."""
    if not left.pruned or not documents:
        return documents
    return [with_removed(documents[0], left.pruned), *documents[1:]]


def _judged_keys(
    judge_keys: Callable[[], Sequence[Reason]], terms: Terms
) -> tuple[tuple[Reason, ...], tuple[Note, ...]]:
    """Raises `ImgsecError` as reading the Secrets does, unless a lock-out is accepted."""
    try:
        reasons = tuple(judge_keys())
    except ImgsecError as error:
        if not terms.lockout:
            raise
        return (), (Note("keys-not-judged", error.reason.text),)
    if not terms.lockout:
        return reasons, ()
    return (), tuple(Note(one.code, one.text) for one in reasons)


def _held_against_others(
    prospect: Prospect, documents: Documents, removed: frozenset[PolicyId], terms: Terms
) -> tuple[tuple[Reason, ...], tuple[Note, ...]]:
    """Raises `ImgsecError` as comparing the rules does, unless laxer ones are accepted."""
    try:
        found = prospect.laxer_rules(documents, removed)
    except ImgsecError as error:
        if not terms.laxer:
            raise
        return (), (Note("laxer-rules-not-judged", error.reason.text),)
    if terms.laxer:
        return (), tuple(Note(LAXER_RULE.code, str(one)) for one in found)
    return tuple(LAXER_RULE(str(one)) for one in found), ()
