# SPDX-License-Identifier: Apache-2.0
"""The scan gate: wait for the scan of one digest, then judge its findings."""

from __future__ import annotations

from collections.abc import Callable

from imgsec.domain.gate import judge_scan
from imgsec.domain.manifest import ManifestContent
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.report import ImageReport, ScannedImage
from imgsec.domain.verdict import all_of
from imgsec.domain.vulnerability import ScanReport
from imgsec.errors import ImgsecError
from imgsec.ports import Clock, ManifestReader, Scanner
from imgsec.reasons import NOT_ASSESSED, RATE_LIMITED, SERVICE_UNREACHABLE, TIMEOUT

Progress = Callable[[str], None]
# What a service gets over by itself; anything else will be the same after the next poll.
_PASSING_TROUBLE = (SERVICE_UNREACHABLE.code, RATE_LIMITED.code, TIMEOUT.code)


def scan_gate(
    image: ImageReference,
    *,
    registry: ManifestReader,
    scanner: Scanner,
    clock: Clock,
    wait_seconds: float,
    progress: Progress,
) -> ImageReport:
    """Whether the digest that the reference names may go out.

    An index passes only if every platform that it lists does; attestations are not images and are
    left out. wait_seconds: how long to wait for scans to finish, for all of them together. Nobody
    is asked about an image that the scanner does not serve: (not-assessed).
    """
    image.require_version()
    scanner.require_served(image)
    manifest = registry.fetch_manifest(image)
    canonical = image.at(manifest.digest)
    content = ManifestContent.parse(manifest.content, manifest.media_type)
    digests = _runnable(canonical, content, registry) if content.is_index else [manifest.digest]
    deadline = clock.monotonic() + wait_seconds
    scans: list[tuple[Digest, ScanReport]] = []
    for digest in digests:
        report = _finished_report(canonical.at(digest), scanner, clock, deadline, progress)
        scans.append((digest, report))
    verdict = all_of(judge_scan(report) for _, report in scans)
    return ImageReport(image, verdict, ScannedImage(canonical, tuple(scans)))


def _runnable(
    image: ImageReference, index: ManifestContent, registry: ManifestReader
) -> list[Digest]:
    """What an index lists and a node could run. Only content makes an attestation, not its claim.

    Raises `ImgsecError` (not-assessed) for an index inside an index: nobody says what it holds.
    """
    found = []
    for child in index.children:
        manifest = registry.fetch_manifest(image.at(child.digest))
        content = ManifestContent.parse(manifest.content, manifest.media_type)
        if content.is_index:
            raise ImgsecError(NOT_ASSESSED(f"{image} lists another index, {child.digest}"))
        if not (child.claims_attestation and content.is_attestation):
            found.append(child.digest)
    return found


def _finished_report(
    image: ImageReference, scanner: Scanner, clock: Clock, deadline: float, progress: Progress
) -> ScanReport:
    """The report as soon as the scan has finished, or as it stands at the deadline.

    Trouble that passes is waited out like an unfinished scan, and raised at the deadline.
    """
    for wait in clock.backoff():
        left = deadline - clock.monotonic()
        try:
            report = scanner.fetch_report(image)
        except ImgsecError as error:
            # Its repeats took their time already: no last attempt that could outlast the command.
            if error.reason.code not in _PASSING_TROUBLE or left <= 2 * wait:
                raise
            state = error.reason.text
        else:
            if report.is_finished or left <= 0:
                return report
            state = f"the scan is {str(report.status).lower()}"
        progress(f"{image.canonical_name}: {state}, asking again ({left:.0f} s left)")
        clock.sleep(min(wait, max(left, 0)))
    raise AssertionError("backoff() has no end")
