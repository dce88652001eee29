# SPDX-License-Identifier: Apache-2.0
"""What Docker Content Trust makes an engine answer for one image, word for word.

Portieris `pkg/verifier/trust/verifier.go`: the server, the signers' Secrets, then what is signed.
CISE knew trust for IBM's registries only, and called everything else a denial.
"""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime
from typing import TYPE_CHECKING

from imgsec.domain.admission import LayerOutcome, LayerTrace
from imgsec.domain.engines import Engine, Layer
from imgsec.domain.kubernetes import secret_value
from imgsec.domain.policy_rules import TrustDemand
from imgsec.domain.verdict import Note
from imgsec.errors import ImgsecError
from imgsec.operations.image_evidence import Deployed
from imgsec.operations.simple_layer import as_open
from imgsec.ports import AdmissionState, TrustReader
from imgsec.reasons import ADMISSION_OPEN, PERMISSION_DENIED, Reason

if TYPE_CHECKING:  # few rules ask for trust
    from imgsec.domain.content_trust import Signer, TrustAnswer, TrustStop

_SIGNER_DATA = ("name", "publicKey")


class TrustLayer:
    """reader: None where no trust server may be asked."""

    def __init__(
        self, engine: Engine, state: AdmissionState, reader: TrustReader | None, now: datetime
    ) -> None:
        self._engine = engine
        self._state = state
        self._reader = reader
        self._now = now
        self._known: dict[Hashable, TrustAnswer | ImgsecError] = {}

    def check(self, deployed: Deployed, demand: TrustDemand, offline: Reason) -> LayerTrace:
        """What the engine says. offline: why nothing is asked, where nothing may be.

        Raises `Panic` where the engine's handler breaks.
        """
        from imgsec.domain.content_trust import TrustStop, judge_trust, trust_server_of

        server = trust_server_of(deployed.name, demand.server, self._engine)
        if isinstance(server, TrustStop):
            return self._stopped(server, deployed)
        signers = []
        for name in demand.signer_secrets:
            try:
                signer = self._signer(deployed.namespace, name)
            except ImgsecError as error:
                if error.reason.code != PERMISSION_DENIED.code:
                    raise
                return LayerTrace(Layer.TRUST, LayerOutcome.OPEN, why=as_open(error.reason))
            if isinstance(signer, TrustStop):
                return self._stopped(signer, deployed)
            signers.append(signer)
        if self._reader is None:
            return LayerTrace(Layer.TRUST, LayerOutcome.OPEN, why=offline)
        try:
            answer = self._asked(server, deployed, self._reader)
            found = judge_trust(answer, signers, self._now)
        except ImgsecError as error:
            return LayerTrace(Layer.TRUST, LayerOutcome.OPEN, why=as_open(error.reason))
        except ValueError as error:
            why = ADMISSION_OPEN(f"what is made of a signer's key is not known: {error}")
            return LayerTrace(Layer.TRUST, LayerOutcome.OPEN, why=why)
        notes = tuple(Note("trust-data", text) for text in found.notes)
        if found.stop is not None:
            return self._stopped(found.stop, deployed, notes)
        return LayerTrace(Layer.TRUST, LayerOutcome.PASSED, digest=found.digest, notes=notes)

    def _signer(self, namespace: str, name: str) -> Signer | TrustStop:
        from imgsec.domain.content_trust import Signer

        document = self._state.find_secret(namespace, name)
        if document is None:
            return Signer.missing(name)
        data = {key: secret_value(document, key) or b"" for key in _SIGNER_DATA}
        return Signer.of_secret(name, data)

    def _asked(self, server: str, deployed: Deployed, reader: TrustReader) -> TrustAnswer:
        """Each tag asked for once. Raises `ImgsecError` as the reader does."""
        pairs = tuple(one.pair.reveal() for one in deployed.credentials)
        key = (server, deployed.name.tagged, pairs)
        if key not in self._known:
            try:
                self._known[key] = reader.fetch_trusted(server, deployed.name, deployed.credentials)
            except ImgsecError as error:
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, ImgsecError):
            raise found
        return found

    def _stopped(
        self, stop: TrustStop, deployed: Deployed, notes: tuple[Note, ...] = ()
    ) -> LayerTrace:
        failed = stop.is_error and not self._engine.is_cise
        outcome = LayerOutcome.FAILED if failed else LayerOutcome.DENIED
        message = stop.message(deployed.name.text, self._engine)
        return LayerTrace(Layer.TRUST, outcome, message, notes=notes)
