# SPDX-License-Identifier: Apache-2.0
"""``imgsec scan-gate``: may this digest go out?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from imgsec.cli.gate_options import GATE, EvidenceOpt
from imgsec.cli.options import (
    ADVISOR,
    IAM,
    KMS,
    NETWORK,
    PASSPHRASE,
    REGISTRY,
    TOOLS,
    ImagesArg,
    images_file_option,
    own,
    with_options,
    workers_option,
)
from imgsec.cli.output import Answer, Outputs, progress
from imgsec.config import GateSettings, Settings

if TYPE_CHECKING:
    from imgsec.cli.gating import FindSigner
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import Note
    from imgsec.wiring import World

# The gate ends by itself, with what it saw last, before the whole command does: the last question
# may take this long with its repeats.
_MARGIN_SECONDS = 15
GATE_FORMATS = ("sarif", "junit", "markdown", "html")

ImagesFileOpt = Annotated[str | None, images_file_option("scan-gate")]
WorkersOpt = Annotated[int | None, workers_option("scan-gate")]
EvidenceKeyOpt = Annotated[
    str | None,
    own(
        "scan-gate",
        "--evidence-key",
        metavar="LOCATION",
        rich_help_panel="Evidence",
        help="Sign the record with this key, into FILE.asc: kms://ALIAS-OR-ID, file: or env:.",
    ),
]
FingerprintOpt = Annotated[
    str | None,
    own(
        "scan-gate",
        "--fingerprint",
        "SIGNATURE_FINGERPRINT",
        metavar="HEX",
        rich_help_panel="Evidence",
        help="The 40-digit fingerprint that the key of the record must have.",
    ),
]


@with_options(
    GATE,
    IAM,
    ADVISOR,
    REGISTRY,
    KMS,
    PASSPHRASE,
    NETWORK,
    TOOLS,
    results=("digest", "image", "scan-status", "verdict"),
    formats=GATE_FORMATS,
)
def scan_gate(
    images: ImagesArg = None,
    *,
    images_file: ImagesFileOpt = None,
    workers: WorkersOpt = None,
    evidence: EvidenceOpt = None,
    evidence_key: EvidenceKeyOpt = None,
    fingerprint: FingerprintOpt = None,
    gate: GateSettings,
    settings: Settings,
    outputs: Outputs,
) -> Answer:
    """May IMAGE go out? Judges what Vulnerability Advisor, reports and scanners find in its digest.

    Waits, within --timeout, while a scan is not finished. Every finding in force refuses, unless a
    gate file or an exemption says otherwise; an image that nobody could assess is undecided, never
    passed. Of an index, every platform must pass.

    Example: imgsec scan-gate us.icr.io/team/app:1.0 --timeout 300

    Example: imgsec scan-gate docker.io/library/nginx:1.29 --report trivy.json --fail-on high
    """
    from imgsec.cli.gating import GateRun
    from imgsec.cli.judging import Judge, judge_each, named_images, workers_for
    from imgsec.wiring import wire

    references = [image.require_version() for image in named_images(images, images_file)]
    say = progress(outputs)
    with wire(settings) as world:
        patience = settings.timeout - min(_MARGIN_SECONDS, settings.timeout / 2)
        run = GateRun.prepare(gate, world, say, patience=patience)
        signer, key_notes = _signer(evidence, evidence_key, fingerprint, world)
        count = workers_for(references, workers)

        def separate() -> Judge:
            return run.judge(world.separate_link(), references, count)

        if count > 1 and not gate.no_advisor:
            world.fetch_token_for(references)  # once, and not by each process
        answer = judge_each(
            "scan-gate",
            references,
            [separate] * count if count > 1 else run.judge(world.link, references),
            lambda: (*run.notes, *key_notes, *world.notes()),
            say,
        )
        answer = run.with_unused_files(answer)
        if evidence is not None:
            answer = run.record(answer, evidence, signer)
    return Answer(answer.report, {**answer.results, **scan_status(answer.report)})


def _signer(
    evidence: str | None, key: str | None, fingerprint: str | None, world: World
) -> tuple[FindSigner | None, tuple[Note, ...]]:
    """What signs the record, and what is to be noted; its key is there before an image is judged.

    Raises `ImgsecError` (invalid-option) and what loading the key raises.
    """
    from imgsec.domain.keys import SECRET_KEY_SCHEMES, Fingerprint, KeyLocation
    from imgsec.errors import ImgsecError
    from imgsec.operations.signing_key import load_signing_key
    from imgsec.reasons import INVALID_OPTION

    if key is None:
        return None, ()
    if evidence is None:
        raise ImgsecError(INVALID_OPTION("--evidence-key goes with --evidence"))
    where = KeyLocation.parse(key, allowed=SECRET_KEY_SCHEMES)
    found, notes = load_signing_key(
        where,
        world.shelf(where.scheme),
        world.keyring,
        expected=Fingerprint.parse(fingerprint) if fingerprint else None,
        now=world.clock.now(),
    )
    return lambda: (world.keyring, found.fingerprint), notes


def scan_status(report: Report) -> dict[str, str]:
    """The status words of the first image, for the next step of a pipeline."""
    found = report.images[0].scan if report.images else None
    if found is None:
        return {}
    words = [str(one.status) for scan in found.scans for one in scan.reports]
    return {"scan-status": ",".join(dict.fromkeys(words))}
