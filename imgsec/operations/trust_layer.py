# SPDX-License-Identifier: Apache-2.0
"""What Docker Content Trust makes an engine answer for one image, word for word.

Portieris `pkg/verifier/trust/verifier.go`. CISE knew trust for IBM's registries only.
"""

from __future__ import annotations

from imgsec.domain import engine_texts as texts
from imgsec.domain.admission import LayerOutcome, LayerTrace
from imgsec.domain.engines import Engine, Layer
from imgsec.domain.policy_rules import TrustDemand
from imgsec.operations.image_evidence import Deployed
from imgsec.reasons import Reason


class TrustLayer:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def check(self, deployed: Deployed, demand: TrustDemand, offline: Reason) -> LayerTrace:
        """What the engine says. offline: why nothing is asked, where nothing may be."""
        if self._engine.is_cise and not deployed.name.is_at_ibm:
            return LayerTrace(Layer.TRUST, LayerOutcome.DENIED, texts.CISE_TRUST_FOREIGN)
        if not self._engine.is_cise and not (demand.server or deployed.name.trust_server):
            return LayerTrace(Layer.TRUST, LayerOutcome.FAILED, "")
        return LayerTrace(Layer.TRUST, LayerOutcome.OPEN, why=offline)
