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
from imgsec.domain.exemption import Ledger
from imgsec.domain.gate import GateRules, Mark, Trust, judge_manifest
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


CLEAN = Digest.of(b"clean")


def grype(**target: Any) -> dict[str, Any]:
    content = json.loads((REPORTS / "grype-vulnerable.json").read_bytes())
    content["source"]["target"] = {"userInput": "app", **target}
    assert isinstance(content, dict)
    return content


def trivy_of(**metadata: Any) -> dict[str, Any]:
    return trivy(Metadata={"OS": {"Family": "debian", "Name": "12.5"}, **metadata})


def sarif_of(**properties: Any) -> dict[str, Any]:
    content = json.loads((REPORTS / "trivy-vulnerable.sarif").read_bytes())
    content["runs"][0]["properties"] = properties
    assert isinstance(content, dict)
    return content


@pytest.mark.parametrize(
    "content",
    [
        # Another manifest can be pushed with the configuration of a clean one.
        trivy_of(ImageID=str(CONFIG), RepoDigests=[f"registry.example.com/team/app@{CLEAN}"]),
        trivy_of(ImageID=str(CONFIG), RepoDigests=[f"registry.example.com/other/app@{CLEAN}"]),
        grype(imageID=str(CONFIG), repoDigests=[f"docker.io/library/app@{CLEAN}"]),
        sarif_of(imageID=str(CONFIG), repoDigests=[f"r/a@{CLEAN}"]),
        sarif_of(imageID=str(CONFIG), imageDigest=str(CLEAN)),
        # And a report may say this manifest, and the configuration of another one.
        trivy_of(ImageID=str(CLEAN), RepoDigests=[f"registry.example.com/team/app@{MANIFEST}"]),
        grype(imageID=str(CLEAN), manifestDigest=str(MANIFEST)),
        sarif_of(imageID=str(CLEAN), repoDigests=[f"r/a@{MANIFEST}"]),
    ],
)
def test_report_that_contradicts_itself_is_about_neither_image(
    drawer: Drawer, content: dict[str, Any]
) -> None:
    with refused("foreign-report"):
        drawer.fetch(content, ScanSubject(IMAGE.at(MANIFEST), CONFIG, INDEX, "linux/amd64"))


@pytest.mark.parametrize(
    "content",
    [
        trivy_of(ImageID=str(CONFIG)),  # of an archive or a layout
        trivy_of(ImageID=str(CONFIG), RepoDigests=[f"localhost/app@{CLEAN}"]),  # not pushed yet
        trivy_of(ImageID=str(CONFIG), RepoDigests=[f"r/a@{INDEX}"]),  # by its index
        trivy_of(ImageID=str(CONFIG), RepoDigests=[f"r/old@{CLEAN}", f"r/new@{MANIFEST}"]),
        trivy_of(ImageID=str(MANIFEST), RepoDigests=[f"r/a@{MANIFEST}"]),  # containerd's store
        trivy_of(RepoDigests=[f"other.example.com/x@{MANIFEST}"]),  # copied to another registry
        grype(manifestDigest=str(MANIFEST)),
        grype(imageID=str(CONFIG), manifestDigest=str(CLEAN)),  # made up for a local image
        grype(imageID=str(CONFIG), manifestDigest=str(CLEAN), repoDigests=[f"r/a@{MANIFEST}"]),
        sarif_of(imageID=str(CONFIG)),
        sarif_of(imageDigest=str(MANIFEST)),
    ],
)
def test_report_by_any_of_the_images_own_names_counts(
    drawer: Drawer, content: dict[str, Any]
) -> None:
    subject = ScanSubject(IMAGE.at(MANIFEST), CONFIG, INDEX, "linux/amd64")
    assert drawer.fetch(content, subject).status is ScanStatus.FAIL


@pytest.mark.parametrize("named", ["ImageID", "RepoDigests"])
def test_name_of_an_index_is_enough_where_it_lists_one_image(drawer: Drawer, named: str) -> None:
    """As docker has it that keeps images in containerd's store: an image and its attestation."""
    value = str(INDEX) if named == "ImageID" else [f"r/a@{INDEX}"]
    content = trivy_of(**{named: value})
    of_index = (CONFIG, INDEX, "linux/amd64")
    only = ScanSubject(IMAGE.at(MANIFEST), *of_index, is_only=True)
    assert drawer.fetch(content, only).status is ScanStatus.FAIL
    with refused("foreign-report"):
        drawer.fetch(content, ScanSubject(IMAGE.at(MANIFEST), *of_index))


def test_image_that_was_scanned_in_local_storage_has_a_hint(drawer: Drawer) -> None:
    """Podman names it after its registry, by a digest that it has in no registry."""
    content = trivy_of(ImageID=str(CONFIG), RepoDigests=[f"us.icr.io/team/app@{CLEAN}"])
    with refused("foreign-report") as reasons:
        drawer.fetch(content)
    assert "before the push" in (reasons[0].hint or "")
    with refused("foreign-report") as reasons:
        drawer.fetch(trivy(), ScanSubject(IMAGE.at(OTHER)))
    assert "before the push" not in (reasons[0].hint or "")


def test_manifest_whose_configuration_nobody_asked_for_is_known_by_its_digest(
    drawer: Drawer,
) -> None:
    assert drawer.fetch(trivy(), ScanSubject(IMAGE.at(MANIFEST))).status is ScanStatus.FAIL


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


@pytest.mark.parametrize(
    ("looked", "data", "max_age", "is_fresh"),
    [
        (1, 30, 24, True),  # a healthy pipeline
        (23, 143, 24, True),
        (1, 145, 24, False),
        (1, 700 * 24, 24, False),
        (25, 26, 24, False),
        (1, None, 24, True),
        (None, 23, 24, True),
        (None, 25, 24, False),
        (1, -1, 24, False),
        (200, 300, 240, True),
        (700 * 24, 700 * 24, None, True),
    ],
)
def test_both_the_report_and_its_data_must_be_fresh(
    drawer: Drawer, looked: int | None, data: int | None, max_age: int | None, is_fresh: bool
) -> None:
    """All in hours before now."""
    now = datetime(2026, 11, 22, tzinfo=UTC)
    content = json.loads((REPORTS / "grype-vulnerable.json").read_bytes())
    dates = {
        name: (now - timedelta(hours=age)).isoformat() if age is not None else None
        for name, age in (("timestamp", looked), ("built", data))
    }
    content["descriptor"]["timestamp"] = dates["timestamp"]
    content["descriptor"]["db"] = {"status": {"built": dates["built"]}}
    limit = None if max_age is None else timedelta(hours=max_age)
    if is_fresh:
        drawer.fetch(content, now=now, max_age=limit)
        return
    with refused("stale-report") as reasons:
        drawer.fetch(content, now=now, max_age=limit)
    if looked == 1:
        assert "data" in reasons[0].text


def test_advisors_time_zero_is_no_time(drawer: Drawer) -> None:
    report = {
        **{"image": str(MANIFEST), "id": "x", "status": "OK", "scan_time": 0},
        **{"os_distribution": {}, "configuration_issues": [], "vulnerabilities": []},
    }
    with refused("stale-report") as reasons:
        drawer.fetch([report], max_age=DAY)
    assert "does not say when" in reasons[0].text
    assert drawer.fetch([report]).checked_at is None


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


@pytest.mark.parametrize(
    ("trust", "mark"), [(Trust.ADVISOR, Mark.GATED), (Trust.SOURCES, Mark.EXEMPT)]
)
@pytest.mark.parametrize("with_trivy", [False, True])
def test_exemption_in_a_file_frees_nothing_by_itself(
    tmp_path: Path, trust: Trust, mark: Mark, with_trivy: bool
) -> None:
    """Only the live service speaks for the account, and never a file for another source."""
    notice = {"notice_id": "DSA-9001-1", "notice_exempt": True, "vulnerable_packages": []}
    vulnerability = {"cve_id": "CVE-2026-0001", "exempt_status": "exempt", "cve_exempt": True}
    report = {
        **{"image": str(MANIFEST), "id": "x", "status": "WARN", "scan_time": 1767225600},
        **{"os_distribution": {}, "configuration_issues": []},
        "vulnerabilities": [{**vulnerability, "security_notices": [notice]}],
    }
    paths = [tmp_path / "advisor.json", tmp_path / "trivy.json"]
    paths[0].write_text(json.dumps([report]))
    paths[1].write_text(json.dumps(trivy()))
    given = [str(path) for path in paths[: 1 + with_trivy]]
    files = ReportFiles(given, Freshness(datetime(2026, 11, 22, tzinfo=UTC), None))
    reports = [one for one in files.fetch_reports(SUBJECT) if isinstance(one, ScanReport)]
    scan = judge_manifest(
        SUBJECT, reports, GateRules(trust=trust), ledger=Ledger(()), now=datetime.now(UTC)
    )
    marks = {one.finding.id: one.mark for one in scan.findings}
    assert marks["CVE-2026-0001"] is (Mark.GATED if with_trivy else mark)
    assert scan.verdict.passed is (not with_trivy and mark is Mark.EXEMPT)
