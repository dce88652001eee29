# SPDX-License-Identifier: Apache-2.0
"""Let an advisor hold exactly what the ledger says: first a plan, then the changes.

The advisor keeps no author, so whatever stands in the ledger, in force or over, is taken to be the
ledger's, and what earlier runs are known to have put there; everything else is somebody else's and
stays, unless told. What was changed is looked at afterwards: an answer alone proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from imgsec.domain.exemption import Exemption, KeptExemption, Ledger
from imgsec.domain.hosts import other_icr_host
from imgsec.domain.report import Change
from imgsec.domain.verdict import Note
from imgsec.errors import ImgsecError
from imgsec.ports import Clock, ExemptionReader, ExemptionWriter
from imgsec.reasons import EXEMPTION_INVALID, EXEMPTION_NOT_KEPT

_SHOWN_MAX = 5
_SECONDS = 30.0  # ours; for the advisor to show what it was told


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What would change.

    foreign: somebody else's. made: what earlier runs put there and is there still.
    """

    added: tuple[KeptExemption, ...]
    removed: tuple[KeptExemption, ...]
    foreign: tuple[KeptExemption, ...]
    made: frozenset[KeptExemption] = frozenset()
    notes: tuple[Note, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not self.added and not self.removed

    def changes(self) -> tuple[Change, ...]:
        """As they are only planned."""
        to_remove = (Change(str(one), "to-remove") for one in self.removed)
        return (*to_remove, *(Change(str(one), "to-add") for one in self.added))


def plan_sync(
    ledger: Ledger,
    registry: str,
    advisor: ExemptionReader,
    *,
    today: date,
    prune: bool,
    made: frozenset[KeptExemption] = frozenset(),
) -> SyncPlan:
    """What it takes. prune: what the ledger does not have goes, too. made: by earlier runs.

    Raises `ImgsecError` (exemption-invalid) for a ledger that does not say what its authors think.
    """
    if ledger.problems:
        raise ImgsecError(EXEMPTION_INVALID(ledger.problems[0].text))
    held = set(advisor.list_exemptions(registry))
    ours = [entry for entry in ledger.entries if is_at(entry, registry)]
    sayable = [entry for entry in ours if not entry.packages]
    kept = made | {kept_form(entry) for entry in sayable}
    wanted = {kept_form(entry) for entry in sayable if entry.holds_on(today)}
    foreign = held - kept
    gone = (held & kept) - wanted
    return SyncPlan(
        added=_sorted(wanted - held),
        removed=_sorted(gone | foreign if prune else gone),
        foreign=() if prune else _sorted(foreign),
        made=made & held,
        notes=(*_notes(ours, today), *_elsewhere(len(ledger.entries) - len(ours), registry)),
    )


class SyncRun:
    """Does what a plan says.

    changes: what was done so far. made: what runs of ours put there; also what one only tried to,
    since nobody knows what becomes of a request that fails.
    """

    def __init__(
        self, plan: SyncPlan, registry: str, advisor: ExemptionWriter, clock: Clock
    ) -> None:
        self._plan = plan
        self._registry = registry
        self._advisor = advisor
        self._clock = clock
        self.changes: list[Change] = []
        self.made = set(plan.made)

    def apply(self, remember: Callable[[Iterable[KeptExemption]], None]) -> None:
        """What exempts less comes first: a failure leaves too few exemptions, and not too many.

        remember: told what is ours, before and after; a run that is killed knows too much, not too
        little. Raises `ImgsecError`, also (exemption-not-kept).
        """
        remember({*self.made, *self._plan.added})
        try:
            for exemption in self._plan.removed:
                self._advisor.remove_exemption(self._registry, exemption)
                self.made.discard(exemption)
                self.changes.append(Change(str(exemption), "removed"))
            for exemption in self._plan.added:
                self.made.add(exemption)
                self._advisor.add_exemption(self._registry, exemption)
                self.changes.append(Change(str(exemption), "added"))
            self._confirm()
        finally:
            remember(self.made)

    def _confirm(self) -> None:
        """Wait until the advisor shows what it was told. Raises (exemption-not-kept)."""
        if self._plan.is_empty:
            return
        end = self._clock.monotonic() + _SECONDS
        for wait in self._clock.backoff():
            held = set(self._advisor.list_exemptions(self._registry))
            missing = [f"{one} is not there" for one in self._plan.added if one not in held]
            left = [one for one in self._plan.removed if one in held]
            wrong = [*missing, *(f"{one} is still there" for one in left)]
            if not wrong:
                return
            if self._clock.monotonic() + wait > end:
                self.made.update(left)
                more = f"; and {len(wrong) - _SHOWN_MAX} more" if len(wrong) > _SHOWN_MAX else ""
                raise ImgsecError(EXEMPTION_NOT_KEPT("; ".join(wrong[:_SHOWN_MAX]) + more))
            self._clock.sleep(wait)


def is_at(entry: Exemption, registry: str) -> bool:
    """Whether the entry holds at this registry, by either of its hosts."""
    return entry.scope.registry in ("", registry, other_icr_host(registry))


def kept_form(entry: Exemption) -> KeptExemption:
    """What an advisor can keep of an entry. It would hold for more, where that names packages."""
    return KeptExemption(str(entry.type), entry.issue, entry.scope.without_host())


def _notes(entries: Iterable[Exemption], today: date) -> Iterator[Note]:
    for entry in entries:
        if entry.packages and entry.holds_on(today):
            text = (
                f"{entry.issue} for {entry.scope} is for some packages only, which the advisor"
                " cannot say; it holds in the ledger alone"
            )
            yield Note("exemption-not-synced", text)


def _elsewhere(count: int, registry: str) -> Iterator[Note]:
    if count:
        verb = "entry is" if count == 1 else "entries are"
        yield Note("exemption-elsewhere", f"{count} {verb} for other registries than {registry}")


def _sorted(parts: Iterable[KeptExemption]) -> tuple[KeptExemption, ...]:
    return tuple(sorted(parts, key=lambda one: (one.scope, one.type, one.issue)))
