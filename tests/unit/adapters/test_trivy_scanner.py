# SPDX-License-Identifier: Apache-2.0
"""What Trivy is started with, which file that is, and what its ends mean: a script in its place."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from imgsec.adapters._process import Tools
from imgsec.adapters.private_dir import PrivateDir
from imgsec.adapters.registry_auth import AuthFile, Credential
from imgsec.adapters.report_files import Freshness
from imgsec.adapters.scanner_program import Pin, Surroundings
from imgsec.adapters.trivy_scanner import TrivyScanner, opened_trivy
from imgsec.domain.keys import SecretBytes
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.vulnerability import ScanReport, ScanStatus, ScanSubject
from imgsec.errors import ImgsecError
from imgsec.reasons import AUTH_REALM_REFUSED
from tests.support import ROOT
from tests.unit.refusals import refused

REPORTS = ROOT / "tests" / "data" / "scan_reports"
MANIFEST = Digest.parse("sha256:00a866a083a4b8b398bfc6f8747c061f2fdcee1dfd94a462b3cce8326034e195")
IMAGE = ImageReference.parse("registry.example.com/team/app:1").at(MANIFEST)
SUBJECT = ScanSubject(IMAGE)
# It writes down how it was called, where and with which variables; then does as it is told.
SCRIPT = """#!/bin/sh
printf '%s\\n' "$@" > {folder}/words
env > {folder}/env
pwd > {folder}/where
ls -A . "$HOME" "$TMPDIR" > {folder}/lies-there
for word; do [ "$before" = --output ] && out=$word; before=$word; done
{body}
"""
GOOD = 'cp {report} "$out"'


class Guard:
    """A registry that keeps credentials to itself, or one that does not."""

    def __init__(self, *, leads_away: bool = False) -> None:
        self._leads_away = leads_away

    def require_own_token_service(self, _: ImageReference) -> None:
        if self._leads_away:
            raise ImgsecError(AUTH_REALM_REFUSED("elsewhere"))


class Stage:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tool = folder / "tools" / "trivy"
        self.tool.parent.mkdir()
        self.room, self.secrets = folder / "room", folder / "secrets"
        self.room.mkdir()
        self.secrets.mkdir(mode=0o700)
        self.cache = folder / "cache"
        (self.cache / "db").mkdir(parents=True)
        (self.cache / "db" / "trivy.db").write_bytes(b"data")
        self.renew(datetime.now(UTC))
        self.now = datetime.now(UTC)
        self.max_age: timedelta | None = None
        self.use()

    def renew(self, moment: datetime) -> None:
        document = {"Version": 2, "UpdatedAt": f"{moment:%FT%T}.123456789Z"}
        (self.cache / "db" / "metadata.json").write_text(json.dumps(document))

    def use(self, body: str = GOOD, report: str = "trivy-vulnerable.json") -> None:
        body = body.format(report=REPORTS / report)
        self.tool.write_text(SCRIPT.format(folder=self.folder, body=body))
        self.tool.chmod(0o755)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.tool.read_bytes()).hexdigest()

    def around(self, *, ca_file: str | None = None, is_prepared: bool = True) -> Surroundings:
        logins = {
            name: Credential(SecretBytes(base64.b64encode(f"user:{name}".encode())))
            for name in ("registry.example.com/team", "other.example", "docker.io")
        }
        return Surroundings(
            tools=Tools(self.tool.parent),
            room=PrivateDir(self.room, in_memory=False),
            secrets=PrivateDir(self.secrets, in_memory=True),
            auth_file=AuthFile("auth.json", logins),
            ca_file=ca_file,
            cache=str(self.cache) if is_prepared else None,
            freshness=Freshness(self.now, self.max_age),
        )

    def fetch(
        self,
        subject: ScanSubject = SUBJECT,
        *,
        pin: Pin | None = None,
        ca_file: str | None = None,
        is_prepared: bool = True,
    ) -> ScanReport:
        around = self.around(ca_file=ca_file, is_prepared=is_prepared)
        with opened_trivy(pin or Pin(self.sha256), around) as make:
            scanner = make(Guard())
            scanner.require_served(subject.image)
            return scanner.fetch_reports(subject)[0]

    def lines(self, name: str) -> list[str]:
        return (self.folder / name).read_text().splitlines()

    @property
    def words(self) -> list[str]:
        return self.lines("words")

    def after(self, option: str) -> str:
        return self.words[self.words.index(option) + 1]

    @property
    def variables(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.lines("env"))


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    hostile = ("TRIVY_IGNORE_UNFIXED", "TRIVY_CONFIG", "GITHUB_TOKEN", "IBM_CLOUD_APIKEY")
    for name in (*hostile, "AWS_SECRET_ACCESS_KEY", "DOCKER_CONFIG", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, "never-to-be-seen")
    return Stage(tmp_path)


# --- What it is started with ----------------------------------------------------------------------


def test_one_manifest_of_the_registry_is_scanned_for_vulnerabilities_alone(stage: Stage) -> None:
    report = stage.fetch()
    words = stage.words
    assert words[0] == "image"
    assert words[-1] == f"registry.example.com/team/app@{MANIFEST}"
    assert stage.after("--image-src") == "remote"
    assert stage.after("--scanners") == "vuln"
    assert stage.after("--pkg-types") == "os,library"
    assert stage.after("--format") == "json"
    assert {"--list-all-pkgs", "--show-suppressed", "--skip-db-update"} <= set(words)
    assert {"--disable-telemetry", "--skip-version-check", "--offline-scan"} <= set(words)
    assert (report.status, str(report.source)) == (ScanStatus.FAIL, "trivy 0.76.0")
    assert report.remarks == ()


def test_nothing_of_the_surroundings_reaches_it(stage: Stage) -> None:
    stage.fetch()
    variables = stage.variables
    assert "never-to-be-seen" not in str(variables)
    assert not any(name.startswith("TRIVY") for name in variables)
    for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR"):
        assert variables[name].startswith(str(stage.room))
    (where,) = stage.lines("where")
    assert where.startswith(str(stage.room))
    assert [line for line in stage.lines("lies-there") if line and line[-1] != ":"] == []
    for option in ("--config", "--ignorefile", "--secret-config"):
        own = Path(stage.after(option))
        assert own.is_relative_to(stage.room)
        assert own.read_bytes() == b""


@pytest.mark.parametrize(
    ("name", "key", "login"),
    [
        ("registry.example.com/team/app", "registry.example.com", "registry.example.com/team"),
        ("docker.io/library/nginx", "https://index.docker.io/v1/", "docker.io"),
        ("nobody.example/app", None, None),
    ],
)
def test_it_gets_the_login_of_this_registry_and_no_other(
    stage: Stage, name: str, key: str | None, login: str | None
) -> None:
    stage.fetch(ScanSubject(ImageReference.parse(name).at(MANIFEST)))
    path = Path(stage.variables["DOCKER_CONFIG"], "config.json")
    assert path.is_relative_to(stage.secrets)
    assert path.stat().st_mode & 0o777 == 0o600
    auths = json.loads(path.read_text())["auths"]
    found = {name: base64.b64decode(one["auth"]).decode() for name, one in auths.items()}
    assert found == ({key: f"user:{login}"} if key else {})
    assert not any("user:" in word for word in stage.words)


def test_credential_stays_where_the_registry_sends_it_away(stage: Stage) -> None:
    with opened_trivy(Pin(stage.sha256), stage.around()) as make, refused("auth-realm-refused"):
        make(Guard(leads_away=True)).fetch_reports(SUBJECT)
    assert not (stage.folder / "words").exists()


@pytest.mark.parametrize("given", [True, False])
def test_own_certificate_authority_is_the_only_one(stage: Stage, given: bool) -> None:
    authority = str(stage.folder / "ca.pem")
    stage.fetch(ca_file=authority if given else None)
    variables = stage.variables
    assert variables.get("SSL_CERT_FILE") == (authority if given else None)
    if given:
        assert list(Path(variables["SSL_CERT_DIR"]).iterdir()) == []
    else:
        assert "SSL_CERT_DIR" not in variables


def test_plain_http_leads_nowhere_whatever_proxies_there_are(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.fetch()
    assert stage.variables["HTTP_PROXY"] == stage.variables["http_proxy"] == "http://127.0.0.1:0"
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "other.example")
    stage.fetch()
    assert stage.variables["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert stage.variables["HTTP_PROXY"] == "http://127.0.0.1:0"
    assert "NO_PROXY" not in stage.variables
    monkeypatch.setenv("NO_PROXY", ".example.com")
    stage.fetch()
    assert "HTTPS_PROXY" not in stage.variables
    assert "NO_PROXY" not in stage.variables
    assert stage.variables["HTTP_PROXY"] == "http://127.0.0.1:0"


def test_prepared_databases_are_linked_and_nothing_is_written_beside_them(stage: Stage) -> None:
    (stage.cache / "java-db").mkdir()
    before = sorted(stage.cache.rglob("*"))
    stage.fetch()
    stage.fetch()
    own = Path(stage.after("--cache-dir"))
    assert own.is_relative_to(stage.room)
    assert (own / "db").readlink() == stage.cache / "db"
    assert (own / "java-db").readlink() == stage.cache / "java-db"
    assert sorted(stage.cache.rglob("*")) == before


def test_folder_without_a_database_is_refused_before_anything_runs(stage: Stage) -> None:
    (stage.cache / "db" / "trivy.db").unlink()
    with refused("input-unreadable") as reasons:
        stage.fetch()
    stage.cache = Path("x" * 5000)  # no name that a file could have
    with refused("input-unreadable"):
        stage.fetch()
    assert "--download-db-only" in reasons[0].hint
    assert not (stage.folder / "words").exists()


def test_without_a_prepared_one_it_loads_its_database_once_before_all_scans(stage: Stage) -> None:
    load = 'mkdir -p "$HOME/../cache/db"; cp {folder}/cache/db/* "$HOME/../cache/db/"'
    body = f'case "$*" in *--download-db-only*) {load}; exit 0;; esac; cp {{report}} "$out"'
    stage.use(body.replace("{folder}", str(stage.folder)))
    with opened_trivy(Pin(stage.sha256), stage.around(is_prepared=False)) as make:
        words = stage.words
        assert "--download-db-only" in words
        assert not any("registry.example.com" in word for word in words)
        assert stage.variables["DOCKER_CONFIG"].startswith(str(stage.room))
        (report,) = make(Guard()).fetch_reports(SUBJECT)
    assert "--skip-db-update" in stage.words
    assert "--offline-scan" not in stage.words
    assert report.checked_at is not None


def test_download_that_fails_says_what_to_do(stage: Stage) -> None:
    stage.use("printf 'x\\tFATAL\\tFatal error\\tinit error: no such host\\n\\n' >&2; exit 1")
    with refused("tool-failed") as reasons:
        stage.fetch(is_prepared=False)
    assert "init error: no such host" in reasons[0].text
    assert "--scanner-cache" in reasons[0].hint


# --- Which program it is --------------------------------------------------------------------------


@pytest.mark.parametrize("sha256", ["", "1" * 63, "A" * 64, "sha256:" + "1" * 64, "1" * 64 + "\n"])
def test_pin_is_64_lower_case_digits(sha256: str) -> None:
    for allowed in (True, False):
        with refused("invalid-option"):
            Pin.parse(sha256, allow_unpinned=allowed)


def test_without_a_pin_it_is_not_run_unless_allowed_and_then_on_record(stage: Stage) -> None:
    with refused("scanner-unpinned"):
        Pin.parse(None, allow_unpinned=False)
    report = stage.fetch(pin=Pin.parse(None, allow_unpinned=True))
    ((code, text),) = report.remarks
    assert code == "unpinned-scanner"
    assert stage.sha256 in text


def test_pin_counts_although_an_unpinned_scanner_were_allowed(stage: Stage) -> None:
    with refused("scanner-mismatch") as reasons:
        stage.fetch(pin=Pin.parse("1" * 64, allow_unpinned=True))
    assert stage.sha256 in reasons[0].text
    assert not (stage.folder / "words").exists()


def test_path_that_is_replaced_after_the_check_changes_nothing(stage: Stage) -> None:
    evil = stage.folder / "evil"
    evil.write_text("#!/bin/sh\ntouch " + str(stage.folder / "evil-ran"))
    evil.chmod(0o755)
    with opened_trivy(Pin(stage.sha256), stage.around()) as make:
        evil.rename(stage.tool)
        # Even the file's last name is gone, which the kernel counts as a change of it.
        with refused("scanner-mismatch"):
            make(Guard()).fetch_reports(SUBJECT)
    assert not (stage.folder / "evil-ran").exists()


def test_link_that_is_turned_after_the_check_changes_nothing(stage: Stage) -> None:
    real = stage.tool.rename(stage.folder / "real")
    stage.tool.symlink_to(real)
    with opened_trivy(Pin(stage.sha256), stage.around()) as make:
        stage.tool.unlink()
        stage.tool.symlink_to("/bin/false")
        assert make(Guard()).fetch_reports(SUBJECT)[0].status is ScanStatus.FAIL


def test_file_that_is_written_to_after_the_check_is_not_run(stage: Stage) -> None:
    with opened_trivy(Pin(stage.sha256), stage.around()) as make:
        time.sleep(0.02)  # the kernel's clock for files is coarse
        state = stage.tool.stat()
        with stage.tool.open("r+b") as file:
            file.write(b"#!/bin/no")
        os.utime(stage.tool, ns=(state.st_atime_ns, state.st_mtime_ns))
        with refused("scanner-mismatch"):
            make(Guard()).fetch_reports(SUBJECT)


def test_program_must_be_a_file_that_is_there(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsec.adapters._process._TOOL_DIRS", ())
    pin = Pin(stage.sha256)
    stage.tool.chmod(0o644)
    with refused("tool-missing"):
        stage.fetch(pin=pin)
    stage.tool.unlink()
    with refused("tool-missing"):
        stage.fetch(pin=pin)
    os.mkfifo(stage.tool)
    with refused("tool-missing"):
        stage.fetch(pin=pin)


# --- How it ends ----------------------------------------------------------------------------------


def fatal(text: str, code: int = 1) -> str:
    line = f"2026-11-21T23:32:36Z\\tFATAL\\tFatal error\\trun error: {text}\\n\\n"
    return f"printf '{line}' >&2; exit {code}"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("remote error: GET https://r/v2/x: MANIFEST_UNKNOWN: manifest unknown", "image-not-found"),
        ("remote error: GET https://r/v2/x: UNAUTHORIZED: auth", "credential-rejected"),
        ("remote error: GET https://r/v2/x: DENIED: no", "credential-rejected"),
        ("unexpected status code 403 Forbidden", "credential-rejected"),
        ("GET https://r/v2/x: TOOMANYREQUESTS: slow down", "rate-limited"),
        ("dial tcp 10.0.0.1:443: connect: connection refused", "service-unreachable"),
        ("lookup r: no such host", "service-unreachable"),
        ("unexpected status code 503 Service Unavailable", "service-unreachable"),
        ("tls: failed: x509: unknown authority; Get http://r/v2/: EOF", "tool-failed"),
        ("write /tmp/x: no space left on device", "storage-unavailable"),
        ("something else", "tool-failed"),
    ],
)
def test_what_it_says_of_the_registry_has_its_own_reason(
    stage: Stage, text: str, code: str
) -> None:
    stage.use(fatal(text))
    with refused(code) as reasons:
        stage.fetch()
    assert text in reasons[0].text


@pytest.mark.parametrize(
    "text",
    [
        "init error: DB error: --skip-db-update cannot be specified on the first run",
        "init error: DB error: error in vulnerability DB initialization: invalid database",
        "Unable to initialize the Java DB: Java DB update failed",
    ],
)
def test_missing_database_has_a_hint_of_how_to_prepare_one(stage: Stage, text: str) -> None:
    stage.use(fatal(text))
    with refused("tool-failed") as reasons:
        stage.fetch()
    assert "--download-db-only" in reasons[0].hint


def test_panic_is_told_by_its_first_line(stage: Stage) -> None:
    trace = "goroutine 1 [running]:\\ngo.etcd.io/bbolt.(*Tx).page()\\n\\t/home/x.go:92\\n" * 50
    stage.use(f"printf 'INFO x\\npanic: assertion failed: Page\\n\\n{trace}' >&2; exit 2")
    with refused("tool-failed") as reasons:
        stage.fetch()
    assert "ended with 2: assertion failed: Page" in reasons[0].text
    assert "goroutine" not in reasons[0].text
    assert "--download-db-only" in reasons[0].hint  # its reader of the database did that


@pytest.mark.parametrize(
    "line",
    [
        'WARN\\t[dpkg] Parse error\\tfile_path="var/lib/dpkg/status" err="malformed"',
        'WARN\\t[dpkg] Invalid version\\tOS="debian" package="x" version="1\\033[2J"',
    ],
)
def test_packages_that_it_left_out_make_the_report_partial(stage: Stage, line: str) -> None:
    stage.use(f"printf 'x\\t{line}\\n' >&2; cp {{report}} \"$out\"")
    with refused("report-partial") as reasons:
        stage.fetch()
    assert "[dpkg]" in reasons[0].text
    assert "\x1b" not in reasons[0].text


@pytest.mark.parametrize("is_prepared", [True, False])
def test_older_trivy_is_called_so(stage: Stage, is_prepared: bool) -> None:
    stage.use(
        "printf 'x\\tFATAL\\tFatal error\\tunknown flag: --skip-version-check\\n' >&2; exit 1"
    )
    with refused("tool-outdated") as reasons:
        stage.fetch(is_prepared=is_prepared)
    assert "--skip-version-check" in reasons[0].text


def test_killed_scanner_is_no_answer(stage: Stage) -> None:
    stage.use('cp {report} "$out"; kill -9 $$')
    with refused("tool-failed") as reasons:
        stage.fetch()
    assert "-9" in reasons[0].text


def test_scanner_that_does_not_end_reaches_the_limit(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsec.adapters.trivy_scanner.SCAN_SECONDS", 0.5)
    stage.use("sleep 60")
    with refused("timeout") as reasons:
        stage.fetch()
    assert reasons[0].text.startswith("trivy did not end")


@pytest.mark.parametrize(
    "body",
    ["true", ': > "$out"', 'head -c 3000 {report} > "$out"', 'echo {{}} > "$out"'],
)
def test_success_without_a_whole_report_is_no_answer(stage: Stage, body: str) -> None:
    stage.fetch()  # so that there is an older one to be mistaken for it
    stage.use(body)
    with refused("report-malformed"):
        stage.fetch()


def test_report_that_is_too_large_is_not_read(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgsec.adapters.trivy_scanner.REPORT_MAX_BYTES", 100)
    with refused("answer-too-large"):
        stage.fetch()


def test_report_about_another_digest_is_foreign(stage: Stage) -> None:
    with refused("foreign-report"):
        stage.fetch(ScanSubject(IMAGE.at(Digest.of(b"other"))))


def test_age_is_that_of_the_database(stage: Stage) -> None:
    day = timedelta(days=1)
    moment = datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC)
    stage.renew(moment)
    stage.now, stage.max_age = moment + day - timedelta(hours=1), day
    assert stage.fetch().checked_at == moment.replace(microsecond=123456)
    stage.now = moment + day + timedelta(hours=1)
    with refused("stale-report"):
        stage.fetch()
    for content in ("", "{}", "[", '{"UpdatedAt": 5}', '{"UpdatedAt": "soon"}'):
        (stage.cache / "db" / "metadata.json").write_text(content)
        with refused("stale-report"):
            stage.fetch()
    stage.max_age = None
    assert stage.fetch().checked_at is None


@pytest.mark.parametrize(
    ("report", "status"),
    [("trivy-clean.json", ScanStatus.UNSUPPORTED), ("trivy-vulnerable.json", ScanStatus.FAIL)],
)
def test_release_that_it_does_not_know_is_not_clean(
    stage: Stage, report: str, status: ScanStatus
) -> None:
    warning = "WARN\\tThis OS version is not on the EOL list\\tfamily=debian version=99\\n"
    stage.use(f'printf "{warning}" >&2; cp {{report}} "$out"', report)
    found = json.loads((REPORTS / report).read_bytes())
    digest = Digest.parse(found["Metadata"]["RepoDigests"][0].rpartition("@")[2])
    result = stage.fetch(ScanSubject(IMAGE.at(digest)))
    assert result.status is status
    assert [code for code, _ in result.remarks] == ["release-unknown"]


def test_scanner_is_what_the_gate_asks_for(stage: Stage) -> None:
    with opened_trivy(Pin(stage.sha256), stage.around()) as make:
        assert isinstance(make(Guard()), TrivyScanner)
