# SPDX-License-Identifier: Apache-2.0
"""Report files as a source: only what is about the very digest, whole and fresh counts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from imgsec.adapters.report_files import Freshness, ReportFiles
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.vulnerability import ScanReport, ScanStatus, ScanSubject
from imgsec.errors import ImgsecError
from imgsec.reasons import Reason
from tests.support import ROOT
from tests.unit.refusals import refused

REPORTS = ROOT / "tests" / "data" / "scan_reports"
MANIFEST = Digest.parse("sha256:00a866a083a4b8b398bfc6f8747c061f2fdcee1dfd94a462b3cce8326034e195")
CONFIG = Digest.parse("sha256:56aa2a2bc52e2b0be99cf3d4d8b385bbcfffa11ea7fc42ef0231443d574cbebc")
INDEX = Digest.parse("sha256:c2b419712a9e46bc46bfce5f84547e7128b4eeaeef73dc3965bf8cbeb38c4af2")
OTHER = Digest.of(b"other")
IMAGE = ImageReference.parse("registry.example.com/team/app:1")
SUBJECT = ScanSubject(IMAGE.at(MANIFEST), CONFIG)
DAY = timedelta(days=1)


def trivy(**changes: Any) -> dict[str, Any]:
    found = json.loads((REPORTS / "trivy-vulnerable.json").read_bytes())
    assert isinstance(found, dict)
    return {**found, **changes}


def made(content: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(content["CreatedAt"])


class Drawer:
    """Puts reports into files, and reads them at a certain moment."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "report.json"

    def put(
        self, content: Any, *, now: datetime | None = None, max_age: timedelta | None = None
    ) -> ReportFiles:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self._path.write_bytes(raw)
        moment = now or datetime(2026, 11, 22, tzinfo=UTC)
        return ReportFiles([str(self._path)], Freshness(moment, max_age))

    def fetch(self, content: Any, subject: ScanSubject = SUBJECT, **when: Any) -> ScanReport:
        (found,) = self.put(content, **when).fetch_reports(subject)
        if not isinstance(found, ScanReport):
            raise ImgsecError(found)
        return found


@pytest.fixture
def drawer(tmp_path: Path) -> Drawer:
    return Drawer(tmp_path)


def test_report_about_the_manifest_or_its_configuration_counts(drawer: Drawer) -> None:
    drawer.put(trivy()).require_served(IMAGE)
    assert drawer.fetch(trivy()).status is ScanStatus.FAIL
    by_config = trivy()
    by_config["Metadata"]["RepoDigests"] = []
    assert drawer.fetch(by_config).status is ScanStatus.FAIL
    by_manifest = trivy()
    del by_manifest["Metadata"]["ImageID"]
    assert drawer.fetch(by_manifest).status is ScanStatus.FAIL


@pytest.mark.parametrize(
    "subject",
    [
        ScanSubject(IMAGE.at(OTHER), Digest.of(b"config")),
        ScanSubject(IMAGE.at(OTHER)),
    ],
)
def test_report_about_another_digest_is_foreign(drawer: Drawer, subject: ScanSubject) -> None:
    with refused("foreign-report") as reasons:
        drawer.fetch(trivy(), subject)
    assert str(subject.digest) in reasons[0].text


def test_report_of_one_platform_says_nothing_of_another(drawer: Drawer) -> None:
    """Of an index Trivy looks at one platform, and names the index as what it looked at."""
    content = json.loads((REPORTS / "trivy-index.json").read_bytes())
    amd64 = ScanSubject(IMAGE.at(MANIFEST), CONFIG, INDEX, "linux/amd64")
    assert drawer.fetch(content, amd64).status is ScanStatus.FAIL
    arm64 = ScanSubject(IMAGE.at(OTHER), Digest.of(b"config"), INDEX, "linux/arm64")
    with refused("foreign-report"):
        drawer.fetch(content, arm64)


def test_report_without_any_digest_is_foreign(drawer: Drawer) -> None:
    content = trivy()
    content["Metadata"] = {"OS": content["Metadata"]["OS"]}
    with refused("foreign-report"):
        drawer.fetch(content)
    with refused("foreign-report"):
        drawer.fetch({"version": "2.1.0", "runs": []})


@pytest.mark.parametrize(
    ("age", "is_fresh"),
    [
        (timedelta(0), True),
        (DAY - timedelta(minutes=1), True),
        (DAY + timedelta(minutes=1), False),
        (-timedelta(minutes=9), True),
        (-timedelta(minutes=11), False),
        (timedelta(days=4000), False),
    ],
)
def test_report_must_be_of_today_and_not_of_tomorrow(
    drawer: Drawer, age: timedelta, is_fresh: bool
) -> None:
    content = trivy()
    now = made(content) + age
    drawer.fetch(content, now=now, max_age=None)  # however old
    if is_fresh:
        drawer.fetch(content, now=now, max_age=DAY)
    else:
        with refused("stale-report"):
            drawer.fetch(content, now=now, max_age=DAY)


@pytest.mark.parametrize("moment", [None, "", "0001-01-01T00:00:00Z"])
def test_report_without_a_time_is_stale_unless_any_is_accepted(drawer: Drawer, moment: Any) -> None:
    with refused("stale-report") as reasons:
        drawer.fetch(trivy(CreatedAt=moment), max_age=DAY)
    assert "--max-age any" in reasons[0].hint
    assert drawer.fetch(trivy(CreatedAt=moment)).made_at is None
    sarif = (REPORTS / "trivy-vulnerable.sarif").read_bytes()
    with refused("stale-report"):
        drawer.fetch(sarif, max_age=DAY)


def test_time_without_a_zone_is_utc(drawer: Drawer) -> None:
    report = drawer.fetch(trivy(CreatedAt="2026-11-21T10:00:00"))
    assert report.made_at == datetime(2026, 11, 21, 10, tzinfo=UTC)


def sarif_of_two(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    content = json.loads((REPORTS / "trivy-vulnerable.sarif").read_bytes())
    (run,) = content["runs"]
    other = json.loads(json.dumps(run))
    other["tool"]["driver"] |= {"name": "Other", "version": "1"}
    content["runs"] = [{**run, **first}, {**other, **second}]
    assert isinstance(content, dict)
    return content


def _ended(hour: int) -> dict[str, Any]:
    moment = f"2026-11-21T{hour:02}:00:00Z"
    return {"invocations": [{"executionSuccessful": True, "endTimeUtc": moment}]}


def test_two_runs_about_one_image_are_two_reports_each_of_its_own_age(drawer: Drawer) -> None:
    both = sarif_of_two(_ended(9), {**_ended(7), "results": []})
    now = datetime(2026, 11, 21, 10, tzinfo=UTC)
    files = drawer.put(both, now=now, max_age=timedelta(hours=2))
    first, second = files.fetch_reports(SUBJECT)
    assert isinstance(first, ScanReport)
    assert str(first.source) == "trivy 0.76.0"
    assert isinstance(second, Reason)
    assert second.code == "stale-report"


def test_run_about_another_image_adds_nothing(drawer: Drawer) -> None:
    foreign = {"properties": {"imageID": str(OTHER)}}
    report = drawer.fetch(sarif_of_two({"results": []}, foreign))
    assert (report.status, report.findings) == (ScanStatus.OK, ())


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("word", ["INCOMPLETE", "UNSCANNED", "SOMETHING_NEW"])
def test_unfinished_report_beside_a_good_one_is_not_covered_up(
    drawer: Drawer, word: str, order: int
) -> None:
    unfinished = {"image": str(MANIFEST), "status": word, "vulnerabilities": []}
    good = {
        **unfinished,
        "status": "OK",
        "id": "x",
        "scan_time": 1767225600,
        "os_distribution": {},
        "configuration_issues": [],
    }
    found = drawer.put([unfinished, good][::order]).fetch_reports(SUBJECT)
    assert {str(one.status) for one in found if isinstance(one, ScanReport)} == {word, "OK"}


def test_files_answer_together_for_every_manifest(tmp_path: Path) -> None:
    """One for each platform of an index, and one that was about nothing that was asked for."""
    manifests = [Digest.of(name.encode()) for name in ("amd64", "arm64", "old")]
    paths = []
    for digest in manifests:
        path = tmp_path / digest.hex
        metadata = {"OS": {"Family": "debian", "Name": "12"}, "RepoDigests": [f"r/a@{digest}"]}
        path.write_text(json.dumps(trivy(Metadata=metadata)))
        paths.append(str(path))
    files = ReportFiles(paths, Freshness(datetime(2026, 11, 22, tzinfo=UTC), None))
    assert files.unused == tuple(paths)
    for digest in manifests[:2]:
        (report,) = files.fetch_reports(ScanSubject(IMAGE.at(digest)))
        assert isinstance(report, ScanReport)
        assert len(report.sha256) == 64
    assert files.unused == (paths[2],)
    with refused("foreign-report"):
        files.fetch_reports(ScanSubject(IMAGE.at(OTHER)))


def test_digest_with_more_behind_it_is_another_text(drawer: Drawer) -> None:
    longer = {"OS": {"Family": "debian", "Name": "12"}, "RepoDigests": [f"r/a@{MANIFEST}ffff"]}
    with refused("foreign-report"):
        drawer.fetch(trivy(Metadata=longer))


@pytest.mark.parametrize("content", [b"", b"{", (REPORTS / "trivy-clean.json").read_bytes()[:2000]])
def test_empty_or_cut_file_is_malformed_before_any_image_is_judged(
    drawer: Drawer, content: bytes
) -> None:
    with refused("report-malformed"):
        drawer.put(content)


def test_missing_and_oversized_files_are_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = Freshness(datetime.now(UTC), None)
    with refused("input-unreadable"):
        ReportFiles([str(tmp_path / "none")], fresh)
    monkeypatch.setattr("imgsec.adapters.report_files._FILE_MAX_BYTES", 100)
    with refused("input-malformed"):
        ReportFiles([str(REPORTS / "trivy-clean.json")], fresh)


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\nb", "x" * 100_000, "<script>", "\u202egnp"])
def test_hostile_names_are_quoted_and_bounded_in_messages(drawer: Drawer, name: str) -> None:
    content = trivy(ArtifactName=name)
    with refused("foreign-report") as reasons:
        drawer.fetch(content, replace(SUBJECT, image=IMAGE.at(OTHER), config=None))
    text = reasons[0].text
    assert len(text) < 1000
    assert "\x1b" not in text
    assert "\n" not in text
    assert "\u202e" not in text
