# SPDX-License-Identifier: Apache-2.0
"""One intent, told to several engines; refused where one would understand something else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from enum import StrEnum

from imgsec.domain.engines import NEWEST, Engine
from imgsec.domain.intent_rendering.cise import cise_documents, config_files
from imgsec.domain.intent_rendering.coherence import check_coherence
from imgsec.domain.intent_rendering.containers import containers_files
from imgsec.domain.intent_rendering.portieris import portieris_documents
from imgsec.domain.intent_rendering.rendered import Findings, PlainFile, Rendered
from imgsec.domain.kubernetes import Document
from imgsec.domain.policy_intent import PolicyIntent


class Target(StrEnum):
    """What an intent is rendered for."""

    PORTIERIS = "portieris"
    CISE = "cise"
    CONTAINERS = "containers"
    CONFIG = "config"


def render_intents(
    intents: Sequence[PolicyIntent], target: Target, today: date, engine: Engine = NEWEST
) -> Rendered:
    """All documents of an intent together. engine: the version of Portieris, for that target."""
    findings = Findings()
    check_coherence(intents, today, findings)
    documents: tuple[Document, ...] = ()
    files: tuple[PlainFile, ...] = ()
    if target is Target.PORTIERIS:
        documents = portieris_documents(intents, engine, findings)
    elif target is Target.CISE:
        documents = cise_documents(intents, findings)
    elif target is Target.CONTAINERS:
        files = containers_files(intents, findings)
    else:
        files = config_files(intents, findings)
    return Rendered(documents, files, findings.reasons, findings.notes)
