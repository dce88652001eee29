# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from imgsec.domain.exemption import Exemption, Ledger
from imgsec.domain.gate import GateRules
from imgsec.domain.reference import ImageReference
from imgsec.domain.report import ImageReport, ScannedImage
from imgsec.domain.vulnerability import ADVISOR, Finding, ScanReport, ScanStatus, ScanSubject
from imgsec.errors import ImgsecError
from imgsec.operations.scan_gate import ByTagToo, GatePlan, ImageGate, Patience
from imgsec.ports import Scanner
from imgsec.reasons import ANSWER_MALFORMED, CREDENTIAL_REJECTED, SERVICE_UNREACHABLE, TIMEOUT
from tests.unit.operations.fakes import (
    CONFIG,
    INDEX,
    NOW,
    FakeClock,
    FakeRegistry,
    FakeScanner,
)
from tests.unit.refusals import refused

NAME = "us.icr.io/team/app:1"
DIGEST = "sha256:" + "0" * 64
OK = ScanReport(ADVISOR, ScanStatus.OK)
WAITING = ScanReport(ADVISOR, ScanStatus.INCOMPLETE)
UNSCANNED = ScanReport(ADVISOR, ScanStatus.UNSCANNED)
FAIL = ScanReport(ADVISOR, ScanStatus.FAIL, (Finding("CVE-2026-1000"),))
DOWN = ImgsecError(SERVICE_UNREACHABLE("down"))


def gate(
    *answers: ScanReport | ImgsecError,
    registry: FakeRegistry | None = None,
    wait: float = 100,
) -> tuple[ImageReport, FakeScanner, FakeClock]:
    scanner, clock = FakeScanner(list(answers)), FakeClock()
    return judged([scanner], registry or pushed(), clock, wait=wait), scanner, clock


def pushed() -> FakeRegistry:
    registry = FakeRegistry()
    registry.push(NAME)
    return registry


def judged(
    scanners: list[Scanner],
    registry: FakeRegistry,
    clock: FakeClock | None = None,
    *,
    image: str = NAME,
    wait: float = 100,
    baseline: str | None = None,
    ledger: Ledger | None = None,
) -> ImageReport:
    return ImageGate(
        ImageReference.parse(image),
        GatePlan(
            GateRules(),
            ledger or Ledger(),
            NOW,
            ImageReference.parse(baseline) if baseline else None,
        ),
        sources=scanners,
        registry=registry,
        patience=Patience(clock or FakeClock(), wait, lambda _: None),
    ).judge()


def test_finished_scan_is_judged_at_once() -> None:
    report, scanner, clock = gate(OK)
    assert report.verdict.passed
    assert len(scanner.asked) == 1
    assert "@sha256:" in scanner.asked[0]
    assert clock.slept == []


def exempt_for(scope: str) -> Ledger:
    entry = {"id": "CVE-2026-1000", "scope": scope, "owner": "jane", "reason": "why"}
    return Ledger((Exemption.parse({**entry, "expires": "2026-12-31"}),))


def test_tag_beside_a_digest_frees_only_what_it_names() -> None:
    registry = pushed()
    digest = registry.fetch_manifest(ImageReference.parse(NAME)).digest
    asked: list[ImageReference] = []
    registry.on_fetch = asked.append
    by_tag = exempt_for("team/app:1")
    freed = judged([FakeScanner([FAIL])], registry, image=f"{NAME}@{digest}", ledger=by_tag)
    assert freed.verdict.passed
    assert ImageReference.parse(NAME) in asked
    other = registry.push("us.icr.io/team/app:2").digest
    for tag in ("1", "absent"):
        name = f"us.icr.io/team/app:{tag}"
        ledger = exempt_for(f"team/app:{tag}")
        part = judged([FakeScanner([FAIL])], registry, image=f"{name}@{other}", ledger=ledger)
        assert [reason.code for reason in part.verdict.reasons] == ["finding-in-force"]
        assert "tag-not-confirmed" in [note.code for note in part.verdict.notes]
    asked.clear()
    judged([FakeScanner([FAIL])], registry, image=f"{NAME}@{other}", ledger=exempt_for("team/app"))
    assert {image.digest for image in asked} == {other}


def test_image_of_a_foreign_registry_is_not_assessed_and_nobody_is_asked() -> None:
    asked: list[ImageReference] = []
    scanner = FakeScanner([OK], serves=False)
    with refused("not-assessed"):
        judged([scanner], FakeRegistry(on_fetch=asked.append), image="docker.io/library/alpine:3")
    assert asked == []
    assert scanner.asked == []


def test_unfinished_scan_is_waited_for() -> None:
    report, _, clock = gate(UNSCANNED, WAITING, FAIL)
    assert report.verdict.outcome.word == "refused"
    assert len(clock.slept) == 2


def test_deadline_ends_the_waiting_and_never_passes() -> None:
    report, _, clock = gate(WAITING, wait=35)
    assert [reason.code for reason in report.verdict.reasons] == ["scan-timeout"]
    assert 35 <= clock.at < 36


def test_trouble_that_passes_is_waited_out() -> None:
    assert gate(DOWN, WAITING, DOWN, OK)[0].verdict.passed


def test_trouble_that_stays_is_the_reason_at_the_deadline() -> None:
    report, _, _ = gate(DOWN, wait=30)
    assert [reason.code for reason in report.verdict.reasons] == ["service-unreachable"]


@pytest.mark.parametrize("kind", [ANSWER_MALFORMED, CREDENTIAL_REJECTED])
def test_trouble_that_will_not_pass_is_not_waited_for(kind: object) -> None:
    error = ImgsecError(kind("x"))  # type: ignore[operator]
    report, _, clock = gate(error, OK)
    assert [reason.code for reason in report.verdict.reasons] == [error.reason.code]
    assert clock.slept == []


def test_without_time_the_scan_is_looked_at_once() -> None:
    report, scanner, clock = gate(WAITING, OK, wait=0)
    assert not report.verdict.passed
    assert (len(scanner.asked), clock.slept) == (1, [])


ATTESTATION = json.dumps(
    {
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": DIGEST},
        "layers": [{"mediaType": "application/vnd.in-toto+json", "digest": DIGEST}],
    }
).encode()


def index(registry: FakeRegistry, *platforms: str, attested: bool = True) -> None:
    children = [
        {
            "digest": str(
                registry.push(
                    f"{NAME}-{platform.partition('/')[2]}",
                    *([ATTESTATION] if attested and platform == "unknown/unknown" else []),
                ).digest
            ),
            "platform": {
                "os": platform.partition("/")[0],
                "architecture": platform.partition("/")[2],
            },
        }
        for platform in platforms
    ]
    registry.push(NAME, json.dumps({"mediaType": INDEX, "manifests": children}).encode())


def test_index_passes_only_if_every_platform_does() -> None:
    registry = FakeRegistry()
    index(registry, "linux/amd64", "linux/arm64")
    assert gate(OK, OK, registry=registry)[0].verdict.passed
    for answers, word in (((OK, FAIL), "refused"), ((FAIL, OK), "refused")):
        assert gate(*answers, registry=registry)[0].verdict.outcome.word == word
    strange = ScanReport(ADVISOR, ScanStatus.UNSUPPORTED)
    assert gate(OK, strange, registry=registry)[0].verdict.outcome.word == "undecided"


def test_attestations_are_no_images() -> None:
    registry = FakeRegistry()
    index(registry, "linux/amd64", "unknown/unknown")
    report, scanner, _ = gate(OK, registry=registry)
    assert report.verdict.passed
    assert len(scanner.asked) == 1
    assert isinstance(report.found, ScannedImage)


def test_image_that_claims_to_be_an_attestation_is_judged() -> None:
    """Whoever may push may write unknown/unknown over anything."""
    registry = FakeRegistry()
    index(registry, "linux/amd64", "unknown/unknown", attested=False)
    report, scanner, _ = gate(OK, FAIL, registry=registry)
    assert report.verdict.outcome.word == "refused"
    assert len(scanner.asked) == 2


def test_index_inside_an_index_is_not_assessed() -> None:
    registry = FakeRegistry()
    index(registry, "linux/amd64")
    inner = registry.push(
        f"{NAME}-inner", json.dumps({"mediaType": INDEX, "manifests": []}).encode()
    )
    children = [{"digest": str(inner.digest), "platform": {"os": "linux", "architecture": "amd64"}}]
    registry.push(NAME, json.dumps({"mediaType": INDEX, "manifests": children}).encode())
    with refused("not-assessed"):
        gate(OK, registry=registry)


@pytest.mark.parametrize("platforms", [(), ("unknown/unknown",)])
def test_index_without_an_image_never_passes(platforms: tuple[str, ...]) -> None:
    registry = FakeRegistry()
    index(registry, *platforms)
    report, _, _ = gate(OK, registry=registry)
    assert [reason.code for reason in report.verdict.reasons] == ["nothing-checked"]


class Interrupted(BaseException):
    """The time is up."""


LATE = TIMEOUT("the time is up")


def interrupted(
    scanners: list[Scanner], registry: FakeRegistry, *, baseline: str | None = None
) -> ImageReport:
    """What is told of a gate whose time was up while it asked somebody."""
    rules, clock = GateRules(), FakeClock()
    base = ImageReference.parse(baseline) if baseline else None
    gate = ImageGate(
        ImageReference.parse(NAME),
        GatePlan(rules, Ledger(), NOW, base),
        sources=scanners,
        registry=registry,
        patience=Patience(clock, 100, lambda _: None),
    )
    with pytest.raises(Interrupted):
        gate.judge()
    return gate.late(LATE)


class Hanging(FakeScanner):
    """Answers so often, and then no more."""

    def answer(self, subject: ScanSubject) -> ScanReport:
        if len(self.asked) >= len(self.answers):
            raise Interrupted
        return super().answer(subject)


def codes(report: ImageReport) -> list[str]:
    return [reason.code for reason in report.verdict.reasons]


def test_what_cannot_change_is_asked_before_what_may_hang() -> None:
    report = interrupted([Hanging([]), FakeScanner([FAIL], may_change=False)], pushed())
    assert report.verdict.outcome.word == "refused"
    assert codes(report) == ["timeout", "finding-in-force"]
    assert isinstance(report.found, ScannedImage)
    assert report.found.scans[0].gated


def test_platforms_that_were_asked_are_judged_when_the_time_is_up() -> None:
    registry = FakeRegistry()
    index(registry, "linux/amd64", "linux/arm64")
    report = interrupted([Hanging([FAIL])], registry)
    assert codes(report) == ["finding-in-force", "timeout"]
    assert isinstance(report.found, ScannedImage)
    words = {scan.subject.platform: scan.verdict.outcome.word for scan in report.found.scans}
    assert words == {"linux/amd64": "refused", "linux/arm64": "undecided"}


def test_nothing_passes_when_the_time_is_up() -> None:
    report = interrupted([FakeScanner([OK], may_change=False), Hanging([])], pushed())
    assert codes(report) == ["timeout"]
    report = interrupted([Hanging([WAITING])], pushed())
    assert set(codes(report)) == {"timeout", "scan-incomplete"}


def test_baseline_that_nobody_could_ask_leaves_open_what_is_new() -> None:
    registry = pushed()
    registry.push("us.icr.io/team/app:0", b'{"config": {"mediaType": "x"}, "old": 1}')
    report = interrupted([Hanging([FAIL])], registry, baseline="us.icr.io/team/app:0")
    assert codes(report) == ["timeout"]
    assert isinstance(report.found, ScannedImage)
    assert report.found.scans[0].gated


def test_image_that_was_not_resolved_in_time_has_its_reason() -> None:
    def hang(_: ImageReference) -> None:
        raise Interrupted

    report = interrupted([FakeScanner([OK])], FakeRegistry(on_fetch=hang))
    assert (codes(report), report.found) == (["timeout"], None)


def test_unfinished_platform_does_not_keep_the_next_from_being_asked() -> None:
    registry = FakeRegistry()
    index(registry, "linux/amd64", "linux/arm64")
    report, scanner, clock = gate(WAITING, FAIL, registry=registry, wait=35)
    assert "finding-in-force" in codes(report)
    assert scanner.asked[0] != scanner.asked[1]
    assert len(clock.slept) >= 1


def test_baseline_with_two_images_for_a_platform_is_ambiguous() -> None:
    """As Windows has them, one for each version of the system."""
    registry = FakeRegistry()
    index(registry, "windows/amd64")
    digests = [str(registry.push(f"{NAME}-w{number}").digest) for number in range(2)]
    platform = {"os": "windows", "architecture": "amd64"}
    children = [{"digest": digest, "platform": platform} for digest in digests]
    old = "us.icr.io/team/app:0"
    registry.push(old, json.dumps({"mediaType": INDEX, "manifests": children}).encode())
    report = judged([FakeScanner([FAIL])], registry, baseline=old)
    assert codes(report) == ["baseline-unusable"]
    registry.push(NAME, json.dumps({"mediaType": INDEX, "manifests": children}).encode())
    index_of_one = "us.icr.io/team/app:3"
    one = [{"digest": str(registry.push(f"{NAME}-v").digest), "platform": platform}]
    registry.push(index_of_one, json.dumps({"mediaType": INDEX, "manifests": one}).encode())
    report = judged([FakeScanner([FAIL])], registry, baseline=index_of_one)
    assert set(codes(report)) == {"baseline-unusable"}


# --- Several sources, tags, a baseline ------------------------------------------------------------


def test_every_source_is_asked_and_none_outvotes_another() -> None:
    first, second = FakeScanner([OK]), FakeScanner([FAIL])
    report = judged([first, second], pushed())
    assert report.verdict.outcome.word == "refused"
    assert first.asked == second.asked != []


def test_source_that_does_not_serve_the_registry_is_left_out_and_said() -> None:
    advisor, scanner = FakeScanner([OK], serves=False), FakeScanner([OK])
    report = judged([advisor, scanner], pushed())
    assert report.verdict.passed
    assert advisor.asked == []
    assert [note.code for note in report.verdict.notes] == ["source-not-asked"]


def test_no_source_at_all_is_not_assessed() -> None:
    with refused("not-assessed"):
        judged([], pushed())


def test_subject_of_a_platform_names_its_index_and_configuration() -> None:
    registry, subjects = FakeRegistry(), []
    config = f'{{"config": {{"mediaType": "{CONFIG}", "digest": "{DIGEST}"}}}}'.encode()
    child = registry.push(f"{NAME}-amd64", config)
    children = [{"digest": str(child.digest), "platform": {"os": "linux", "architecture": "amd64"}}]
    index_image = registry.push(
        NAME, json.dumps({"mediaType": INDEX, "manifests": children}).encode()
    )

    class Recording(FakeScanner):
        def answer(self, subject: ScanSubject) -> ScanReport:
            subjects.append(subject)
            return OK

    judged([Recording([OK])], registry)
    (subject,) = subjects
    assert (subject.digest, str(subject.config)) == (child.digest, DIGEST)
    assert (subject.index, subject.platform) == (index_image.digest, "linux/amd64")


class ByTag(FakeScanner):
    """An advisor that has scanned a tag, and the digest not."""

    def answer(self, subject: ScanSubject) -> ScanReport:
        self.asked.append(subject.image.canonical_name)
        return UNSCANNED

    def fetch_tag_report(self, image: ImageReference) -> ScanReport:
        self.asked.append(str(image))
        return self.answers[0]


def test_scan_of_the_tag_counts_if_the_tag_still_names_the_digest() -> None:
    registry = pushed()
    scanner = ByTag([OK])
    report = judged([ByTagToo(scanner, registry)], registry)
    assert report.verdict.passed
    assert [note.code for note in report.verdict.notes] == ["scanned-by-tag"]
    assert scanner.asked[1] == NAME


def test_scan_of_a_tag_that_moved_meanwhile_counts_for_nothing() -> None:
    registry = pushed()

    class Moving(ByTag):
        def fetch_tag_report(self, _: ImageReference) -> ScanReport:
            registry.push(NAME, b'{"config": {"mediaType": "x"}, "other": 1}')
            return OK

    report = judged([ByTagToo(Moving([OK]), registry)], registry, wait=0)
    assert [reason.code for reason in report.verdict.reasons] == ["scan-incomplete"]


def test_tag_of_an_index_says_nothing_of_its_platforms() -> None:
    registry = FakeRegistry()
    index(registry, "linux/amd64")
    scanner = ByTag([OK])
    report = judged([ByTagToo(scanner, registry)], registry, wait=0)
    assert not report.verdict.passed
    assert NAME not in scanner.asked


def test_baseline_is_asked_for_only_when_something_would_refuse() -> None:
    registry = pushed()
    old = registry.push("us.icr.io/team/app:0", b'{"config": {"mediaType": "x"}, "old": 1}')
    scanner = FakeScanner([OK])
    judged([scanner], registry, baseline="us.icr.io/team/app:0")
    assert len(scanner.asked) == 1
    scanner = FakeScanner([FAIL])
    report = judged([scanner], registry, baseline="us.icr.io/team/app:0")
    assert report.verdict.passed
    assert scanner.asked[1] == old.canonical_name
    assert "baseline" in [note.code for note in report.verdict.notes]


def test_baseline_that_is_not_assessed_decides_nothing() -> None:
    registry = pushed()
    registry.push("us.icr.io/team/app:0", b'{"config": {"mediaType": "x"}, "old": 1}')
    report = judged([FakeScanner([FAIL, WAITING])], registry, baseline="us.icr.io/team/app:0")
    assert [reason.code for reason in report.verdict.reasons] == ["baseline-unusable"]


def test_baseline_that_is_not_there_hides_no_finding() -> None:
    report = judged([FakeScanner([FAIL])], pushed(), baseline="us.icr.io/team/app:0")
    assert [reason.code for reason in report.verdict.reasons] == ["image-not-found"]
    assert isinstance(report.found, ScannedImage)
    assert report.found.scans[0].gated


def test_image_is_no_baseline_of_itself() -> None:
    report = judged([FakeScanner([FAIL])], pushed(), baseline=NAME)
    assert [reason.code for reason in report.verdict.reasons] == ["baseline-unusable"]
    assert report.verdict.outcome.word == "undecided"


def test_source_that_cannot_change_its_mind_is_asked_once() -> None:
    clock = FakeClock()
    report = judged([FakeScanner([WAITING], may_change=False)], pushed(), clock)
    assert [reason.code for reason in report.verdict.reasons] == ["scan-incomplete"]
    assert clock.slept == []


def test_trouble_of_one_source_leaves_the_findings_of_another() -> None:
    report = judged([FakeScanner([FAIL]), FakeScanner([DOWN])], pushed(), wait=0)
    assert report.verdict.outcome.word == "refused"
    codes = {reason.code for reason in report.verdict.reasons}
    assert codes == {"service-unreachable", "finding-in-force"}


def test_entries_of_the_ledger_that_are_not_whole_are_told() -> None:
    ledger = Ledger.parse({"version": 1, "exemptions": [{"id": "CVE-2026-1000"}]})
    report = judged([FakeScanner([FAIL])], pushed(), ledger=ledger)
    assert report.verdict.outcome.word == "refused"
    assert [note.code for note in report.verdict.notes] == ["exemption-ignored"]
