# SPDX-License-Identifier: Apache-2.0
"""What Vulnerability Advisor makes an engine answer for one image.

Portieris asks the advisor's third version, which is withdrawn, with the pod's own credentials
(`pkg/verifier/vulnerability/ibm_va.go`); here the gate's client asks the fourth, by the digest that
the image names now. CISE asked for images of IBM's registries only.
"""

from __future__ import annotations

from imgsec.domain import engine_texts as texts
from imgsec.domain.admission import LayerOutcome, LayerTrace
from imgsec.domain.engines import Engine, Layer
from imgsec.domain.policy_rules import AdvisorDemand
from imgsec.domain.reference import ImageReference, shown
from imgsec.domain.verdict import Note
from imgsec.domain.vulnerability import ScanReport, ScanStatus, ScanSubject
from imgsec.errors import ImgsecError
from imgsec.operations.image_evidence import UNAUTHORISED, Deployed, RememberedImages
from imgsec.operations.simple_layer import Unread, as_open, read_manifest
from imgsec.ports import Scanner
from imgsec.reasons import Reason

_DEPLOYS = (ScanStatus.OK, ScanStatus.WARN, ScanStatus.UNSUPPORTED)
_FOURTH = Note("advisor-version", "the advisor's API v4 was asked; the engine asks v3, or none")


class AdvisorLayer:
    """scanner: None where it may not be asked. images: to learn which digest a name means."""

    def __init__(
        self, engine: Engine, scanner: Scanner | None, images: RememberedImages | None
    ) -> None:
        self._engine = engine
        self._scanner = scanner
        self._images = images
        self._known: dict[str, str | Reason] = {}  # by the canonical name

    def check(self, deployed: Deployed, demand: AdvisorDemand, offline: Reason) -> LayerTrace:
        """What the engine says. offline: why nothing is asked, where nothing may be."""
        image = deployed.name.text
        if not deployed.name.is_at_ibm:
            foreign = texts.CISE_ADVISOR_FOREIGN
            return _denied(foreign if self._engine.is_cise else texts.advisor_foreign(image))
        if not deployed.credentials and deployed.closed is not None:
            return _open(deployed.closed)
        if not deployed.credentials and not self._engine.is_cise:
            return _denied(texts.ADVISOR_NO_CREDENTIALS)
        if self._scanner is None or self._images is None:
            return _open(offline)
        found = read_manifest(deployed, self._images, None)
        if isinstance(found, Unread):
            if found.why is not None or self._engine.is_cise:
                return _open(found.why or found.last)
            return _denied(_no_result(image, found.last))
        status = self._status(found.image.at(found.digest), self._scanner)
        if isinstance(status, Reason):
            return _open(status, "" if self._engine.is_cise else _no_result(image, status))
        if status in _DEPLOYS:
            notes = (_FOURTH, *_other_account(demand))
            return LayerTrace(Layer.ADVISOR, LayerOutcome.PASSED, notes=notes)
        if self._engine.is_cise:
            return _denied(texts.CISE_ADVISOR_DENIED)
        return _denied(texts.advisor_denied(image, str(status)))

    def _status(self, canonical: ImageReference, scanner: Scanner) -> str | Reason:
        name = canonical.canonical_name
        if name not in self._known:
            try:
                scanner.require_served(canonical)
                reports = scanner.fetch_reports(ScanSubject(canonical))
                self._known[name] = _worst(reports)
            except ImgsecError as error:
                self._known[name] = error.reason
        return self._known[name]


def _worst(reports: tuple[ScanReport | Reason, ...]) -> str | Reason:
    """The word of the report; with several the one that does not let it through."""
    words = []
    for report in reports:
        if isinstance(report, Reason):
            return report
        words.append(report.status)
    return next((word for word in words if word not in _DEPLOYS), words[0])


def _other_account(demand: AdvisorDemand) -> tuple[Note, ...]:
    if not demand.account:
        return ()
    text = (
        f"the rule asks in the name of the account {shown(demand.account)}; here --account counts"
    )
    return (Note("advisor-account", text),)


def _denied(message: str) -> LayerTrace:
    return LayerTrace(Layer.ADVISOR, LayerOutcome.DENIED, message)


def _no_result(image: str, why: Reason) -> str:
    """What the engine says if it is told the same."""
    if why.code in UNAUTHORISED:
        return texts.advisor_unauthorised(image)
    if why.code == "image-not-found":
        return texts.advisor_failed(image, "Not found")
    return texts.advisor_failed(image, "Internal server error")


def _open(why: Reason, message: str = "") -> LayerTrace:
    return LayerTrace(Layer.ADVISOR, LayerOutcome.OPEN, message, why=as_open(why))
