# SPDX-License-Identifier: Apache-2.0
"""Trivy as a source of findings: run on one manifest of a registry, in surroundings of its own.

It looks for known vulnerabilities in the packages of the operating system and of languages, and for
nothing else: secrets and misconfigurations are no findings that an update puts right, and what the
gate judges should not change with a default of Trivy. Nothing is suppressed: no configuration, no
ignore file and no variable of the caller reaches it.

Its registry client (go-containerregistry) tries plain HTTP where HTTPS fails, for private addresses
and names in ``.local``. It is given a proxy for plain HTTP that nobody can be behind.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from imgsec.adapters._process import Completed, proxy_variables, run
from imgsec.adapters.files import read_regular
from imgsec.adapters.report_files import matching, read_reports
from imgsec.adapters.scan_reports._parts import as_time
from imgsec.adapters.scanner_program import Pin, PinnedProgram, Surroundings, opened_program
from imgsec.domain import strict_json
from imgsec.domain.reference import ImageReference, shown
from imgsec.domain.vulnerability import IssueKind, ScanReport, ScanStatus, ScanSubject
from imgsec.errors import ImageNotFound, ImgsecError
from imgsec.ports import Scanner, TokenServiceGuard
from imgsec.reasons import (
    CREDENTIAL_REJECTED,
    FOREIGN_REPORT,
    IMAGE_NOT_FOUND,
    INPUT_UNREADABLE,
    RATE_LIMITED,
    REPORT_MALFORMED,
    REPORT_PARTIAL,
    SERVICE_UNREACHABLE,
    STORAGE_UNAVAILABLE,
    TOOL_FAILED,
    TOOL_OUTDATED,
    ReasonKind,
)

NAME = "trivy"
SCAN_SECONDS = 6 * 3600.0  # the command's own time limit comes first
_OWN_LIMIT = f"{SCAN_SECONDS / 3600:.0f}h"  # Trivy's own default is 5 minutes
REPORT_MAX_BYTES = 128 * 2**20  # ours; the largest public images come to some 20 MiB
_METADATA_MAX_BYTES = 64 * 1024
_SAID_CHARS = 600
_NO_PROXY_THERE = "http://127.0.0.1:0"  # no connection to port 0 can be made
_HUB_KEY = "https://index.docker.io/v1/"  # Docker's own word for docker.io in its file
_DATABASES = ("db", "java-db")  # Trivy's cache, `pkg/db` and `pkg/javadb`
_ALONE = ("--disable-telemetry", "--skip-version-check", "--no-progress")
_DATABASE_HINT = (
    "Give --scanner-cache DIR, filled by `trivy image --download-db-only --cache-dir DIR`, and with"
    " --download-java-db-only where images hold JAR files."
)
_UNKNOWN_OPTION = "unknown flag: "
# Of Trivy's warnings the one that says that it may have seen nothing.
_UNKNOWN_RELEASE = "This OS version is not on the EOL list"
# That it has no database, or one that is broken, on which its reader ends with a panic.
_DATABASE_TROUBLE = re.compile(
    r"\bDB error: |\bJava DB\b|\bvulnerability DB\b|^panic: (?:.|\n)*\bgo\.etcd\.io/bbolt\b",
    re.MULTILINE,
)
# It ends without an error where it could not read the list of packages to its end, or an entry.
_LEFT_OUT = re.compile(r"\t(?:WARN|ERROR)\t(?:\[[a-z-]+\] )?(?:Parse error|Invalid version)\b.*")
# Patterns of what it prints (0.76), and the reason that it is. Error codes: distribution API.
_MEANINGS: tuple[tuple[str, ReasonKind], ...] = (
    (r"\bx509: ", TOOL_FAILED),
    (r"\b(?:MANIFEST|NAME|BLOB)_UNKNOWN\b", IMAGE_NOT_FOUND),
    (r"\b(?:UNAUTHORIZED|DENIED)\b|status code 40[13]\b", CREDENTIAL_REJECTED),
    (r"\bTOOMANYREQUESTS\b|\b429 Too Many", RATE_LIMITED),
    ("no space left on device", STORAGE_UNAVAILABLE),
    ("connection re(?:fused|set)|no such host|i/o timeout", SERVICE_UNREACHABLE),
    (r"TLS handshake timeout|\bEOF\b|\b50[0234] [A-Z]", SERVICE_UNREACHABLE),
)
_ENDS = re.compile(r"(?:\tFATAL\t(?:Fatal error\t)?|^panic: )(.*)", re.DOTALL | re.MULTILINE)


class Trivy:
    """Trivy with a database at hand. Made once, before any image; safe to use after a fork."""

    def __init__(self, program: PinnedProgram, around: Surroundings) -> None:
        self._program = program
        self._around = around
        self._cache = _prepared(around.cache) if around.cache is not None else self._downloaded()

    def scanner(self, registry: TokenServiceGuard) -> TrivyScanner:
        """The source of findings of one process. registry: over its own connections."""
        return TrivyScanner(self, registry)

    def scan(self, subject: ScanSubject) -> ScanReport:
        """Run it on one manifest. Raises `ImgsecError`, and `ImageNotFound`."""
        place = _Place(self._around.room.folder(f"{NAME}-{os.getpid()}"))
        place.link_databases(self._cache)
        place.report.unlink(missing_ok=True)
        image = subject.image
        completed = self._run(
            place,
            scan_words(place, image, is_prepared=self._around.cache is not None),
            {**self._login(image), **_proxies(image), **self._authority(place)},
        )
        _require(completed, f"scanning {image.canonical_name}")
        _require_whole(completed)
        report = self._own(subject, _read(place.report))
        return self._dated(_warned(report, completed), place)

    def _own(self, subject: ScanSubject, content: bytes) -> ScanReport:
        """Its report, if it is about the manifest that was asked for."""
        found = matching(read_reports(content, "Trivy's output"), subject)
        if len(found) != 1:
            text = f"Trivy's output is not about {subject.digest}, which it was run on"
            raise ImgsecError(FOREIGN_REPORT(text))
        report = replace(found[0], sha256=self._program.sha256)
        if self._program.is_pinned:
            return replace(report, remarks=())
        text = f"{self._program.path} was run without a pin; its sha256 is {self._program.sha256}"
        return replace(report, remarks=(("unpinned-scanner", text),))

    def _dated(self, report: ScanReport, place: _Place) -> ScanReport:
        """With the age of the database, which must not be older than a report may be."""
        updated = _updated(place.cache / "db" / "metadata.json")
        of_data = replace(report, made_at=None, checked_at=updated)
        self._around.freshness.require(of_data, "Trivy's vulnerability database")
        return replace(report, checked_at=updated)

    def _downloaded(self) -> Path:
        """A cache with a database that Trivy has just loaded, for all scans of this run."""
        place = _Place(self._around.room.folder(NAME))
        words = [
            *("image", "--download-db-only", *_ALONE, *place.options),
            *("--timeout", _OWN_LIMIT),
        ]
        # The CA that was given, and the machine's: databases come from public registries.
        authority = self._authority(place)
        authority.pop("SSL_CERT_DIR", None)
        completed = self._run(place, words, {**proxy_variables(), **_NO_PLAIN_HTTP, **authority})
        if completed.exit_code != 0:
            text = f"Trivy has no vulnerability database: {_said(completed)}"
            raise ImgsecError(TOOL_FAILED(text, hint=_DATABASE_HINT))
        return place.cache

    def _run(self, place: _Place, words: Sequence[str], more: dict[str, str]) -> Completed:
        self._program.require_unchanged()
        completed = run(
            [self._program.start_path, *words],
            environment={
                **{"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
                **{"HOME": str(place.home), "TMPDIR": str(place.temporary)},
                **{"XDG_RUNTIME_DIR": str(place.home), "DOCKER_CONFIG": str(place.home)},
                **more,
            },
            timeout=SCAN_SECONDS,
            pass_fds=(self._program.descriptor,),
            ends_with_us=True,
            name=NAME,
            folder=place.working,
        )
        if completed.exit_code != 0 and _UNKNOWN_OPTION in _printed(completed):
            text = f"this Trivy does not know what imgsec asks it for: {_said(completed)}"
            raise ImgsecError(TOOL_OUTDATED(text))
        return completed

    def _login(self, image: ImageReference) -> dict[str, str]:
        """Where Trivy finds the credential of this image, and no other."""
        folder = self._around.secrets.folder(f"{NAME}-{os.getpid()}")
        auth_file = self._around.auth_file
        credential = auth_file.credential_for(image) if auth_file else None
        auths = {}
        if credential is not None:
            key = _HUB_KEY if image.registry == "docker.io" else image.registry
            auths[key] = {"auth": credential.basic.reveal().decode("ascii")}
        try:
            path = folder / "config.json"
            path.touch(mode=0o600)
            path.write_text(json.dumps({"auths": auths}), encoding="utf-8")
        except OSError as error:
            raise ImgsecError(STORAGE_UNAVAILABLE(f"{folder}: {error.strerror}")) from None
        return {"DOCKER_CONFIG": str(folder)}

    def _authority(self, place: _Place) -> dict[str, str]:
        if not self._around.ca_file:
            return {}
        # Go (crypto/x509, root_unix.go): both, or the usual ones count as well.
        path = Path(self._around.ca_file).absolute()
        return {"SSL_CERT_FILE": str(path), "SSL_CERT_DIR": str(place.working)}


class TrivyScanner(Scanner):
    """Trivy as the gate asks it."""

    def __init__(self, trivy: Trivy, registry: TokenServiceGuard) -> None:
        self._trivy = trivy
        self._registry = registry

    def require_served(self, image: ImageReference) -> None:
        """See `imgsec.ports.Scanner`: it scans images of every registry."""

    @property
    def may_change(self) -> bool:
        """See `imgsec.ports.Scanner`: it scans at once."""
        return False

    def fetch_reports(self, subject: ScanSubject) -> tuple[ScanReport, ...]:
        """See `imgsec.ports.Scanner`.

        Raises `ImgsecError` (tool-failed, timeout, foreign-report, stale-report, report-malformed,
        report-partial, scanner-mismatch, and what a registry's refusal is).
        """
        self._registry.require_own_token_service(subject.image)  # Trivy goes wherever it is led
        return (self._trivy.scan(subject),)


@contextmanager
def opened_trivy(
    pin: Pin, around: Surroundings
) -> Iterator[Callable[[TokenServiceGuard], Scanner]]:
    """Trivy for the life of the block: what makes the scanner of a process.

    Raises `ImgsecError` (tool-missing, scanner-mismatch, input-unreadable, tool-failed).
    """
    if around.cache is not None:
        _prepared(around.cache)
    with opened_program(around.tools.find(NAME), pin) as program:
        yield Trivy(program, around).scanner


class _Place:
    """The folders of one process; each is empty, or Trivy's own."""

    def __init__(self, folder: Path) -> None:
        self.report = folder / "report.json"
        self._nothing = folder / "nothing"
        self.home, self.temporary = folder / "home", folder / "tmp"
        self.working, self.cache = folder / "work", folder / "cache"
        try:
            for path in (self.home, self.temporary, self.working, self.cache):
                path.mkdir(mode=0o700, exist_ok=True)
            self._nothing.touch(mode=0o600)
        except OSError as error:
            raise ImgsecError(STORAGE_UNAVAILABLE(f"{folder}: {error.strerror}")) from None

    @property
    def options(self) -> tuple[str, ...]:
        """What makes Trivy look here, and at no file that happens to lie around."""
        nothing = str(self._nothing)
        return ("--cache-dir", str(self.cache), "--config", nothing)

    @property
    def scan_options(self) -> tuple[str, ...]:
        """Likewise, of a scan."""
        nothing = str(self._nothing)
        files = ("--ignorefile", nothing, "--secret-config", nothing)
        return (*self.options, *files, "--output", str(self.report))

    def link_databases(self, cache: Path) -> None:
        """Use the databases of another cache where they are; Trivy writes beside them only."""
        try:
            for name in _DATABASES:
                link = self.cache / name
                if not link.is_symlink() and not link.exists() and (cache / name).is_dir():
                    link.symlink_to(cache / name)
        except OSError as error:
            raise ImgsecError(STORAGE_UNAVAILABLE(f"{self.cache}: {error.strerror}")) from None


def scan_words(place: _Place, image: ImageReference, *, is_prepared: bool) -> list[str]:
    """Scan this very manifest. is_prepared: nothing is to be asked of anybody but the registry."""
    offline = ("--skip-java-db-update", "--offline-scan") if is_prepared else ()
    return [
        *("image", "--image-src", "remote", "--scanners", "vuln", "--pkg-types", "os,library"),
        *("--format", "json", "--list-all-pkgs", "--show-suppressed", "--skip-db-update"),
        *(*offline, *_ALONE, *place.scan_options, "--timeout", _OWN_LIMIT),
        image.canonical_name,
    ]


def _prepared(cache: str) -> Path:
    """The operator's cache. Raises `ImgsecError` (input-unreadable) if it has no database."""
    path = Path(cache).absolute()
    if not os.access(path / "db" / "trivy.db", os.R_OK):
        text = f"--scanner-cache {shown(cache)} holds no database: no db/trivy.db can be read there"
        raise ImgsecError(INPUT_UNREADABLE(text, hint=_DATABASE_HINT))
    return path


def _updated(path: Path) -> datetime | None:
    """When the data in the database were put together; None where nobody says."""
    try:
        content = read_regular(path, max_bytes=_METADATA_MAX_BYTES)
        return as_time(strict_json.parse(content or b"{}")["UpdatedAt"])
    except (ImgsecError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


_NO_PLAIN_HTTP = {"HTTP_PROXY": _NO_PROXY_THERE, "http_proxy": _NO_PROXY_THERE}


def _proxies(image: ImageReference) -> dict[str, str]:
    """The proxies for this registry; ``NO_PROXY`` is judged here and not passed on.

    For what is in it Trivy would leave out the proxy for plain HTTP, too.
    """
    from requests.utils import should_bypass_proxies

    if should_bypass_proxies(f"https://{image.registry}/", no_proxy=None):
        return dict(_NO_PLAIN_HTTP)
    passed = proxy_variables()
    passed.pop("NO_PROXY", None)
    return passed | _NO_PLAIN_HTTP


def _read(path: Path) -> bytes:
    content = read_regular(path, max_bytes=REPORT_MAX_BYTES)
    if not content:
        raise ImgsecError(REPORT_MALFORMED("Trivy ended without an error, and wrote no report"))
    return content


def _warned(report: ScanReport, completed: Completed) -> ScanReport:
    """What its database knows of a release that Trivy does not know may be nothing."""
    if _UNKNOWN_RELEASE not in _printed(completed):
        return report
    text = f"Trivy does not know the release {report.distribution} of the image's distribution"
    kinds = {finding.kind for finding in report.findings}
    status = report.status if IssueKind.VULNERABILITY in kinds else ScanStatus.UNSUPPORTED
    return replace(report, status=status, remarks=(*report.remarks, ("release-unknown", text)))


def _require(completed: Completed, doing: str) -> None:
    if completed.exit_code == 0:
        return
    said = _said(completed)
    text = f"{doing}: Trivy ended with {completed.exit_code}: {said}"
    if _DATABASE_TROUBLE.search(_printed(completed)):
        raise ImgsecError(TOOL_FAILED(text, hint=_DATABASE_HINT))
    kind = next((kind for pattern, kind in _MEANINGS if re.search(pattern, said)), TOOL_FAILED)
    error = ImageNotFound if kind is IMAGE_NOT_FOUND else ImgsecError
    raise error(kind(text))


def _require_whole(completed: Completed) -> None:
    """Raises `ImgsecError` (report-partial)."""
    found = _LEFT_OUT.search(_printed(completed))
    if found is not None:
        text = f"Trivy left out packages that it could not read: {_short(found[0])}"
        raise ImgsecError(
            REPORT_PARTIAL(text, hint="Mend the list of packages in the image, or rebuild it.")
        )


def _printed(completed: Completed) -> str:
    """Its log, without what a terminal would take for more than text."""
    return re.sub(r"[^\x20-\x7e\n\t]", "?", completed.stderr.decode("utf-8", "replace"))


def _said(completed: Completed) -> str:
    """The error that ended it, its end where it is long: the cause stands there."""
    text = _printed(completed)
    found = _ENDS.search(text)
    if found is not None:
        text = found[1].partition("\n\ngoroutine ")[0]
    return _short(text)


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= _SAID_CHARS else "..." + words[-_SAID_CHARS:]
