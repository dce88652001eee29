# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from imgsec.domain.reference import ImageReference
from imgsec.domain.report import ImageReport, ScannedImage
from imgsec.domain.vulnerability import Finding, ScanReport, ScanStatus
from imgsec.errors import ImgsecError
from imgsec.operations.scan_gate import scan_gate
from imgsec.reasons import ANSWER_MALFORMED, CREDENTIAL_REJECTED, SERVICE_UNREACHABLE
from tests.unit.operations.fakes import INDEX, FakeClock, FakeRegistry, FakeScanner
from tests.unit.refusals import refused

NAME = "us.icr.io/team/app:1"
DIGEST = "sha256:" + "0" * 64
OK = ScanReport(ScanStatus.OK)
WAITING = ScanReport(ScanStatus.INCOMPLETE)
FAIL = ScanReport(ScanStatus.FAIL, (Finding("CVE-1", "", exempt=False),))
DOWN = ImgsecError(SERVICE_UNREACHABLE("down"))


def gate(
    *answers: ScanReport | ImgsecError,
    registry: FakeRegistry | None = None,
    wait: float = 100,
) -> tuple[ImageReport, FakeScanner, FakeClock]:
    if registry is None:
        registry = FakeRegistry()
        registry.push(NAME)
    scanner, clock = FakeScanner(list(answers)), FakeClock()
    report = scan_gate(
        ImageReference.parse(NAME),
        registry=registry,
        scanner=scanner,
        clock=clock,
        wait_seconds=wait,
        progress=lambda _: None,
    )
    return report, scanner, clock


def test_finished_scan_is_judged_at_once() -> None:
    report, scanner, clock = gate(OK)
    assert report.verdict.passed
    assert len(scanner.asked) == 1
    assert "@sha256:" in scanner.asked[0]
    assert clock.slept == []


def test_image_of_a_foreign_registry_is_not_assessed_and_nobody_is_asked() -> None:
    asked: list[ImageReference] = []
    scanner = FakeScanner([OK], serves=False)
    with refused("not-assessed"):
        scan_gate(
            ImageReference.parse("docker.io/library/alpine:3"),
            registry=FakeRegistry(on_fetch=asked.append),
            scanner=scanner,
            clock=FakeClock(),
            wait_seconds=100,
            progress=lambda _: None,
        )
    assert asked == []
    assert scanner.asked == []


def test_unfinished_scan_is_waited_for() -> None:
    unscanned = ScanReport(ScanStatus.UNSCANNED)
    report, _, clock = gate(unscanned, WAITING, FAIL)
    assert report.verdict.outcome.word == "refused"
    assert len(clock.slept) == 2


def test_deadline_ends_the_waiting_and_never_passes() -> None:
    report, _, clock = gate(WAITING, wait=35)
    assert [reason.code for reason in report.verdict.reasons] == ["scan-incomplete"]
    assert 35 <= clock.at < 36


def test_trouble_that_passes_is_waited_out() -> None:
    assert gate(DOWN, WAITING, DOWN, OK)[0].verdict.passed


def test_trouble_that_stays_is_the_reason_at_the_deadline() -> None:
    with refused("service-unreachable"):
        gate(DOWN, wait=30)


@pytest.mark.parametrize("kind", [ANSWER_MALFORMED, CREDENTIAL_REJECTED])
def test_trouble_that_will_not_pass_is_not_waited_for(kind: object) -> None:
    error = ImgsecError(kind("x"))  # type: ignore[operator]
    with refused(error.reason.code):
        gate(error, OK)


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
    strange = ScanReport(ScanStatus.UNSUPPORTED)
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
