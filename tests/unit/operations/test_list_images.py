# SPDX-License-Identifier: Apache-2.0
"""A list is complete, or it says what is missing; and nobody is asked more than needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from imgsec.domain.image_list import ListedImage, RegistryImage, ScanSummary
from imgsec.domain.reference import ImageReference, RegistryScope
from imgsec.domain.verdict import Verdict
from imgsec.domain.vulnerability import ScanStatus
from imgsec.errors import ImgsecError
from imgsec.operations.list_images import ListRequest, TimeLimit, list_images
from imgsec.ports import ImageCatalogue
from imgsec.reasons import (
    ANSWER_MALFORMED,
    NOT_ASSESSED,
    PERMISSION_DENIED,
    SERVICE_UNREACHABLE,
    Reason,
    ReasonKind,
)
from tests.unit.refusals import refused

DIGEST = "sha256:" + "4f" * 32
OK, FAIL = ScanSummary(ScanStatus.OK), ScanSummary(ScanStatus.FAIL, 2)
TEAM = ListRequest(RegistryScope.parse("us.icr.io/team"))


def image(text: str) -> RegistryImage:
    return RegistryImage(ImageReference.parse(f"us.icr.io/{text}"))


@dataclass
class FakeRegistry:
    """Lists what it is given."""

    catalogue: ImageCatalogue
    namespaces: frozenset[str] | Reason = frozenset({"team"})
    is_served: bool = True
    asked: list[str] = field(default_factory=list)

    def require_served(self, registry: str) -> None:
        if not self.is_served:
            raise ImgsecError(NOT_ASSESSED(registry))

    def list_images(self, scope: RegistryScope, *, ibm: bool) -> ImageCatalogue:
        self.asked.append(f"images {scope} {ibm}")
        return self.catalogue

    def list_digests(self, scope: RegistryScope, *, ibm: bool) -> ImageCatalogue:
        self.asked.append(f"digests {scope} {ibm}")
        return self.catalogue

    def list_namespaces(self, registry: str) -> frozenset[str]:
        self.asked.append(f"namespaces {registry}")
        if isinstance(self.namespaces, Reason):
            raise ImgsecError(self.namespaces)
        return self.namespaces


@dataclass
class FakeAdvisor:
    """Knows some images at once, and of others only when it is asked for each."""

    known: Mapping[str, ScanSummary] | Reason = field(default_factory=dict)
    single: Mapping[str, ScanSummary | Reason] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def list_summaries(self, scope: RegistryScope, *, ibm: bool) -> Mapping[str, ScanSummary]:
        self.asked.append(f"{scope} {ibm}")
        if isinstance(self.known, Reason):
            raise ImgsecError(self.known)
        return self.known

    def fetch_summary(self, registry: str, image: RegistryImage) -> ScanSummary | None:
        assert registry == "us.icr.io"
        self.asked.append(image.name)
        found = self.single.get(image.name)
        if isinstance(found, Reason):
            raise ImgsecError(found)
        return found


@dataclass
class FakeClock:
    """A second for each look at it."""

    seconds: float = 0

    def monotonic(self) -> float:
        self.seconds += 1
        return self.seconds


def run(
    registry: FakeRegistry | list[RegistryImage],
    advisor: FakeAdvisor,
    request: ListRequest = TEAM,
    *,
    deadline: float = 1e9,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[tuple[ListedImage, ...], Verdict]:
    if isinstance(registry, list):
        registry = FakeRegistry(ImageCatalogue(tuple(registry)))
    limit = TimeLimit(FakeClock(), deadline, say)  # type: ignore[arg-type]
    return list_images(request, registry=registry, advisor=advisor, limit=limit)


def words(rows: tuple[ListedImage, ...]) -> dict[str, str]:
    return {row.known.name.partition("/")[2]: row.status.words for row in rows}


def test_complete_list_passes_whatever_stands_in_it() -> None:
    advisor = FakeAdvisor({"us.icr.io/team/a:1": FAIL, "us.icr.io/team/b:1": OK})
    rows, verdict = run([image("team/b:1"), image("team/a:1")], advisor)
    assert words(rows) == {"team/a:1": "2 Issues", "team/b:1": "No Issues"}
    assert verdict.passed
    assert advisor.asked == ["us.icr.io/team False"]


def test_only_what_the_advisor_left_out_is_asked_about_alone() -> None:
    untagged = image(f"team/a@{DIGEST}")
    advisor = FakeAdvisor(
        {"us.icr.io/team/a:1": OK},
        {"us.icr.io/team/a:2": ScanSummary(ScanStatus.UNSCANNED), untagged.name: FAIL},
    )
    images = [image("team/a:1"), image("team/a:2"), image("team/a:3"), untagged]
    rows, verdict = run(images, advisor)
    assert list(words(rows).values()) == ["No Issues", "Scanning", "Not assessed", "2 Issues"]
    assert verdict.passed
    asked = ["us.icr.io/team/a:2", "us.icr.io/team/a:3", untagged.name]
    assert advisor.asked[1:] == asked


def test_what_is_asked_for_reaches_both() -> None:
    registry = FakeRegistry(ImageCatalogue((image("team/a:1"),)))
    advisor = FakeAdvisor({"us.icr.io/team/a:1": OK})
    run(registry, advisor, replace(TEAM, untagged=True, ibm=True))
    run(registry, advisor)
    assert registry.asked == ["digests us.icr.io/team True", "images us.icr.io/team False"]
    assert advisor.asked == ["us.icr.io/team True", "us.icr.io/team False"]


def test_list_without_any_status_is_shown_and_undecided() -> None:
    advisor = FakeAdvisor(PERMISSION_DENIED("it needs the role Reader"))
    rows, verdict = run([image("team/a:1"), image("team/b:1")], advisor)
    assert set(words(rows).values()) == {"No answer"}
    assert [(reason.code, reason.text) for reason in verdict.reasons] == [
        ("permission-denied", "it needs the role Reader")
    ]
    assert len(advisor.asked) == 1


@pytest.mark.parametrize(
    ("scope", "kind", "is_told"),
    [
        ("us.icr.io", SERVICE_UNREACHABLE, True),
        ("us.icr.io/team/a", SERVICE_UNREACHABLE, False),
        ("us.icr.io", PERMISSION_DENIED, False),
    ],
)
def test_whole_account_may_be_too_much_to_ask(scope: str, kind: ReasonKind, is_told: bool) -> None:
    request = ListRequest(RegistryScope.parse(scope))
    _, verdict = run([image("team/a:1")], FakeAdvisor(kind("x")), request)
    assert ("one repository" in verdict.reasons[0].hint) is is_told


def test_status_that_is_missing_for_an_error_makes_it_undecided() -> None:
    single = {
        "us.icr.io/team/a:1": ANSWER_MALFORMED("html"),
        "us.icr.io/team/c:1": PERMISSION_DENIED("no"),
        "us.icr.io/team/d:1": ANSWER_MALFORMED("again"),
    }
    advisor = FakeAdvisor({"us.icr.io/team/b:1": OK}, single)
    rows, verdict = run([image(f"team/{name}:1") for name in "abcd"], advisor)
    assert list(words(rows).values()) == ["No answer", "No Issues", "No answer", "No answer"]
    assert verdict.outcome.word == "undecided"
    assert [reason.text for reason in verdict.reasons] == [
        "2 images have no status: html",
        "1 image has no status: no",
    ]


def test_service_that_fails_three_times_in_a_row_is_left_alone() -> None:
    single = {f"us.icr.io/team/{name}:1": SERVICE_UNREACHABLE("down") for name in "abdefgh"}
    advisor = FakeAdvisor({}, single)
    rows, verdict = run([image(f"team/{name}:1") for name in "abcdefgh"], advisor)
    assert len(advisor.asked) == 1 + 6  # c answers, and then d, e and f do not
    assert list(words(rows).values()).count("No answer") == 7
    assert [reason.text for reason in verdict.reasons] == ["7 images have no status: down"]


def test_time_limit_leaves_the_rest_without_a_status() -> None:
    advisor = FakeAdvisor({"us.icr.io/team/d:1": OK})
    rows, verdict = run([image(f"team/{name}:1") for name in "abcd"], advisor, deadline=2)
    assert list(words(rows).values()) == ["Not assessed", "No answer", "No answer", "No Issues"]
    assert [reason.code for reason in verdict.reasons] == ["timeout"]


def test_long_work_is_told() -> None:
    told: list[str] = []
    run([image(f"team/a:{number}") for number in range(250)], FakeAdvisor(), say=told.append)
    assert told == ["asked about 100 of 250 images", "asked about 200 of 250 images"]


def test_entries_that_cannot_be_read_make_it_undecided() -> None:
    catalogue = ImageCatalogue((image("team/a:1"),), tuple(f"entry {n}" for n in range(5)))
    rows, verdict = run(FakeRegistry(catalogue), FakeAdvisor({"us.icr.io/team/a:1": OK}))
    assert len(rows) == 1
    (reason,) = verdict.reasons
    assert reason.code == "answer-malformed"
    assert reason.text.endswith("entry 0, entry 1, entry 2 and 2 more")
    nothing = FakeRegistry(ImageCatalogue((), ("entry 1",)))
    with refused("answer-malformed"):
        run(nothing, FakeAdvisor())


def test_images_of_another_registry_are_on_record() -> None:
    catalogue = ImageCatalogue((image("team/a:1"),), foreign=("evil.example/a:1",))
    _, verdict = run(FakeRegistry(catalogue), FakeAdvisor({"us.icr.io/team/a:1": OK}))
    assert verdict.passed
    assert [note.code for note in verdict.notes] == ["foreign-images"]


@pytest.mark.parametrize(
    ("scope", "namespaces", "code"),
    [
        ("us.icr.io/team", frozenset({"other"}), "image-not-found"),
        ("us.icr.io/team/app", frozenset[str](), "image-not-found"),
        ("us.icr.io/team", frozenset({"team"}), "nothing-checked"),
        ("us.icr.io/team/app", frozenset({"team"}), "nothing-checked"),
        ("us.icr.io/team", PERMISSION_DENIED("no"), "nothing-checked"),
        ("us.icr.io", frozenset[str](), "nothing-checked"),
    ],
)
def test_empty_list_is_no_pass(scope: str, namespaces: frozenset[str] | Reason, code: str) -> None:
    advisor = FakeAdvisor()
    registry = FakeRegistry(ImageCatalogue(()), namespaces)
    with refused(code) as reasons:
        run(registry, advisor, ListRequest(RegistryScope.parse(scope)))
    assert advisor.asked == []
    assert ("--include-untagged" in reasons[0].hint) is (code == "nothing-checked")


def test_foreign_registry_is_not_asked() -> None:
    registry = FakeRegistry(ImageCatalogue(()), is_served=False)
    with refused("not-assessed"):
        run(registry, FakeAdvisor())
    assert registry.asked == []
