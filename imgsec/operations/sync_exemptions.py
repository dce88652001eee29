# SPDX-License-Identifier: Apache-2.0
"""Let an advisor hold exactly what the ledger says: first a plan, then the changes.

The advisor keeps no author, so whatever stands in the ledger, in force or over, is taken to be the
ledger's, and what earlier runs are known to have put there; everything else is somebody else's and
stays, unless told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from imgsec.domain.exemption import Exemption, KeptExemption, Ledger
from imgsec.domain.hosts import other_icr_host
from imgsec.domain.report import Change
from imgsec.domain.verdict import Note
from imgsec.errors import ImgsecError
from imgsec.ports import ExemptionReader, ExemptionWriter
from imgsec.reasons import EXEMPTION_INVALID


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What would change.

    foreign: somebody else's. wanted: everything that the ledger wants there.
    """

    added: tuple[KeptExemption, ...]
    removed: tuple[KeptExemption, ...]
    foreign: tuple[KeptExemption, ...]
    wanted: tuple[KeptExemption, ...] = ()
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
        wanted=_sorted(wanted),
        notes=(*_notes(ours, today), *_elsewhere(len(ledger.entries) - len(ours), registry)),
    )


def sync_exemptions(plan: SyncPlan, registry: str, advisor: ExemptionWriter) -> Iterator[Change]:
    """Do what the plan says, and tell of each change when it is done.

    What exempts less comes first, so that a failure leaves too few exemptions, and not too many.
    """
    for exemption in plan.removed:
        advisor.remove_exemption(registry, exemption)
        yield Change(str(exemption), "removed")
    for exemption in plan.added:
        advisor.add_exemption(registry, exemption)
        yield Change(str(exemption), "added")


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
