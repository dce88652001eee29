# SPDX-License-Identifier: Apache-2.0
"""The advisor comes to hold what the ledger says, and never more than that on the way."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date, timedelta

import pytest

from imgsec.domain.exemption import (
    ACCOUNT,
    Exemption,
    ExemptionScope,
    IssueType,
    KeptExemption,
    Ledger,
    LedgerProblem,
)
from imgsec.domain.report import Change
from imgsec.errors import ImgsecError
from imgsec.operations.sync_exemptions import SyncPlan, SyncRun, plan_sync
from imgsec.reasons import SERVICE_UNREACHABLE
from tests.unit.operations.fakes import FakeClock
from tests.unit.refusals import refused

TODAY = date(2026, 5, 1)
HOST = "us.icr.io"
DIGEST = "sha256:" + "1a" * 32


@dataclass
class FakeAdvisor:
    """What it holds; after so many changes it is out of reach."""

    held: set[str] = field(default_factory=set)
    changes: int = 1000
    done: list[str] = field(default_factory=list)

    def list_exemptions(self, _: str) -> tuple[KeptExemption, ...]:
        words = (one.split(" ") for one in self.held)
        return tuple(KeptExemption(kind, issue, scope) for kind, issue, scope in words)

    def list_types(self, _: str) -> tuple[tuple[str, str], ...]:
        return ()

    def _change(self, word: str, exemption: KeptExemption) -> str:
        if len(self.done) == self.changes:
            raise ImgsecError(SERVICE_UNREACHABLE("gone"))
        self.done.append(word)
        return f"{exemption.type} {exemption.issue} {exemption.scope}"

    def add_exemption(self, _: str, exemption: KeptExemption) -> None:
        self.held.add(self._change("add", exemption))

    def remove_exemption(self, _: str, exemption: KeptExemption) -> None:
        self.held.discard(self._change("remove", exemption))


@dataclass
class Forgetful(FakeAdvisor):
    """Says yes to changes, and shows them only when it was looked at so often after them."""

    late: int = 0
    shown: set[str] | None = None

    def list_exemptions(self, host: str) -> tuple[KeptExemption, ...]:
        if self.shown is None or not self.done:
            self.shown = set(self.held)
        elif self.late == 0:
            self.shown = self.held
        else:
            self.late -= 1
        return FakeAdvisor(self.shown).list_exemptions(host)


def entry(issue: str = "CVE-2026-1000", scope: str = "team/app", **changes: object) -> Exemption:
    where = ACCOUNT if scope == "*" else ExemptionScope.parse(scope)
    fields: dict[str, object] = {"expires": TODAY, "packages": (), **changes}
    return Exemption(issue, IssueType.of(issue), where, "jane", "why", **fields)  # type: ignore[arg-type]


def plan(advisor: FakeAdvisor, *entries: Exemption, prune: bool = False) -> SyncPlan:
    return plan_sync(Ledger(entries), HOST, advisor, today=TODAY, prune=prune)


def run(advisor: FakeAdvisor, found: SyncPlan, clock: FakeClock | None = None) -> SyncRun:
    return SyncRun(found, HOST, advisor, clock or FakeClock())


def synced(advisor: FakeAdvisor, *entries: Exemption, prune: bool = False) -> list[Change]:
    done = run(advisor, plan(advisor, *entries, prune=prune))
    done.apply(lambda _: None)
    return done.changes


@pytest.mark.parametrize(
    ("scope", "kept"),
    [
        ("*", "*"),
        ("team", "team"),
        ("us.icr.io/team", "team"),
        ("private.us.icr.io/team/app", "team/app"),
        ("team/app:1", "team/app:1"),
        (f"us.icr.io/team/a/b@{DIGEST}", f"team/a/b@{DIGEST}"),
    ],
)
def test_scope_is_what_the_advisor_is_told_and_a_second_run_does_nothing(
    scope: str, kept: str
) -> None:
    advisor = FakeAdvisor()
    assert synced(advisor, entry(scope=scope)) == [Change(f"cve CVE-2026-1000 for {kept}", "added")]
    assert advisor.held == {f"cve CVE-2026-1000 {kept}"}
    assert plan(advisor, entry(scope=scope)).is_empty


def test_plan_changes_nothing() -> None:
    advisor = FakeAdvisor({"cve CVE-2026-1001 team/app"})
    old = entry("CVE-2026-1001", expires=TODAY - timedelta(1))
    made = plan(advisor, entry(), old)
    assert [one.state for one in made.changes()] == ["to-remove", "to-add"]
    assert advisor.done == []


def test_host_within_the_private_network_is_the_same_registry() -> None:
    ledger = Ledger((entry(scope="us.icr.io/team"), entry(scope="team")))
    made = plan_sync(ledger, "private.us.icr.io", FakeAdvisor(), today=TODAY, prune=False)
    assert len(made.added) == 1


@pytest.mark.parametrize("scope", ["de.icr.io/team/app", "docker.io/team/app", "icr.io/team"])
def test_entry_of_another_registry_is_not_synced_and_not_the_ledger_s(scope: str) -> None:
    advisor = FakeAdvisor({"cve CVE-2026-1000 team/app"})
    made = plan(advisor, entry(scope=scope))
    assert (made.is_empty, len(made.foreign)) == (True, 1)
    assert [note.code for note in made.notes] == ["exemption-elsewhere"]


def test_expired_entry_is_removed_and_the_last_day_is_none() -> None:
    advisor = FakeAdvisor({"cve CVE-2026-1000 team/app"})
    assert plan(advisor, entry(expires=TODAY)).is_empty
    assert [one.state for one in synced(advisor, entry(expires=TODAY - timedelta(1)))] == [
        "removed"
    ]
    assert advisor.held == set()


def test_what_one_entry_still_says_is_kept() -> None:
    advisor = FakeAdvisor({"cve CVE-2026-1000 team/app"})
    assert plan(advisor, entry(expires=TODAY - timedelta(1)), entry()).is_empty


def test_foreign_exemptions_stay_unless_pruned() -> None:
    advisor = FakeAdvisor({"cve CVE-2020-1 team/app", "weather rain *"})
    made = plan(advisor, entry())
    assert (len(made.added), len(made.removed), len(made.foreign)) == (1, 0, 2)
    synced(advisor, entry())
    assert len(advisor.held) == 3
    synced(advisor, entry(), prune=True)
    assert advisor.held == {"cve CVE-2026-1000 team/app"}


@pytest.mark.parametrize("expires", [TODAY, TODAY - timedelta(1)])
def test_entry_for_some_packages_is_never_synced(expires: date) -> None:
    """The advisor would exempt them all; and what it holds of that width is somebody else's."""
    part = entry(packages=("openssl",), expires=expires)
    assert synced(advisor := FakeAdvisor(), part) == []
    assert advisor.held == set()
    made = plan(FakeAdvisor({"cve CVE-2026-1000 team/app"}), part)
    assert (made.is_empty, len(made.foreign)) == (True, 1)
    assert [note.code for note in made.notes] == ["exemption-not-synced"] * (expires == TODAY)


@pytest.mark.parametrize("changes", range(5))
def test_failure_leaves_too_few_and_the_next_run_ends_it(changes: int) -> None:
    old = {f"cve CVE-2026-{number} team/app" for number in (2000, 2001)}
    advisor = FakeAdvisor(set(old), changes)
    ledger = [entry(f"CVE-2026-{n}", expires=TODAY - timedelta(1)) for n in (2000, 2001)]
    ledger += [entry(f"CVE-2026-{number}") for number in (3000, 3001)]
    work = run(advisor, plan(advisor, *ledger))
    try:
        work.apply(lambda _: None)
    except ImgsecError:
        assert changes < 4
    assert len(work.changes) == changes, "what was done is told"
    wanted = {f"cve CVE-2026-{number} team/app" for number in (3000, 3001)}
    assert not (advisor.held & wanted) or not (advisor.held & old)
    advisor.changes = 1000
    synced(advisor, *ledger)
    assert advisor.held == wanted


@pytest.mark.parametrize("prune", [True, False])
def test_ledger_that_is_not_whole_is_not_synced(prune: bool) -> None:
    advisor = FakeAdvisor({"cve CVE-2026-1000 team/app"})
    ledger = Ledger((entry(),), (LedgerProblem(2, "entry 2: owner is missing"),), (1,))
    with refused("exemption-invalid"):
        plan_sync(ledger, HOST, advisor, today=TODAY, prune=prune)


def test_what_earlier_runs_made_goes_when_the_ledger_lets_go() -> None:
    """And only that: nobody else's, and nothing that is gone already."""
    ours, gone = (KeptExemption("cve", f"CVE-2026-{number}", "team/app") for number in (1111, 2222))
    others = KeptExemption("cve", "CVE-2026-3333", "team/app")
    advisor = FakeAdvisor({f"{one.type} {one.issue} {one.scope}" for one in (ours, others)})
    found = plan_sync(
        Ledger(), HOST, advisor, today=TODAY, prune=False, made=frozenset((ours, gone))
    )
    assert (found.removed, found.foreign, found.made) == ((ours,), (others,), {ours})


def test_only_what_a_run_adds_itself_is_its_own() -> None:
    """What was there already may be somebody else's, though the ledger says the same."""
    held, new, earlier = "CVE-2026-1000", "CVE-2026-2000", "CVE-2026-3000"
    advisor = FakeAdvisor({f"cve {issue} team/app" for issue in (held, earlier)})
    ledger = Ledger((entry(held), entry(new), entry(earlier)))
    kept = {issue: KeptExemption("cve", issue, "team/app") for issue in (held, new, earlier)}
    made = frozenset((kept[earlier],))
    found = plan_sync(ledger, HOST, advisor, today=TODAY, prune=False, made=made)
    told: list[set[KeptExemption]] = []
    run(advisor, found).apply(lambda ours: told.append(set(ours)))
    assert told == [{kept[new], kept[earlier]}] * 2


@pytest.mark.parametrize("changes", range(4))
def test_state_after_a_failure_has_what_may_be_there(changes: int) -> None:
    advisor = FakeAdvisor({"cve CVE-2026-1000 team/app"}, changes)
    gone = KeptExemption("cve", "CVE-2026-1000", "team/app")
    new = [KeptExemption("cve", f"CVE-2026-{n}", "team/app") for n in (2000, 3000)]
    ledger = Ledger((entry("CVE-2026-2000"), entry("CVE-2026-3000")))
    found = plan_sync(ledger, HOST, advisor, today=TODAY, prune=False, made=frozenset((gone,)))
    told: list[set[KeptExemption]] = []
    with nullcontext() if changes == 3 else refused("service-unreachable"):
        run(advisor, found).apply(lambda ours: told.append(set(ours)))
    assert told[0] == {gone, *new}
    assert told[1] == [{gone}, {new[0]}, set(new), set(new)][changes]


@pytest.mark.parametrize("late", [0, 1, 2])
def test_change_that_shows_late_is_waited_for(late: int) -> None:
    clock, advisor = FakeClock(), Forgetful(late=late)
    run(advisor, plan(advisor, entry()), clock).apply(lambda _: None)
    assert len(clock.slept) == late


def test_yes_without_a_deed_is_no_success() -> None:
    """As a page in front of the service says it: 200, and nothing is done."""
    advisor = Forgetful({"cve CVE-2026-1000 team/app"}, late=1000)
    gone = KeptExemption("cve", "CVE-2026-1000", "team/app")
    ledger = Ledger((entry("CVE-2026-2000"),))
    found = plan_sync(ledger, HOST, advisor, today=TODAY, prune=False, made=frozenset((gone,)))
    told: list[set[KeptExemption]] = []
    with refused("exemption-not-kept") as reasons:
        run(advisor, found).apply(lambda ours: told.append(set(ours)))
    assert "is not there" in reasons[0].text
    assert "is still there" in reasons[0].text
    assert gone in told[-1], "it is ours until it is gone"
