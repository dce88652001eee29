# SPDX-License-Identifier: Apache-2.0
"""The files that say how the gate judges: the gate file and the ledger of exemptions.

Named by option, never found in a working directory: a repository under test would bring its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from imgsec.adapters.files import load_yaml, read_file
from imgsec.domain.exemption import Ledger
from imgsec.domain.gate_file import FileUsed, GateFile
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_MALFORMED

if TYPE_CHECKING:  # the gate knows no admissions
    from imgsec.domain.admission_suite import AdmissionSuite

_GATE_FILE_MAX_BYTES = 64 * 1024  # ours; a score of lines
LEDGER_MAX_BYTES = 8 * 2**20  # ours; ten thousand entries
Parsed = TypeVar("Parsed")


def read_gate_file(path: str) -> tuple[GateFile, FileUsed]:
    """Raises `ImgsecError` (input-unreadable, input-malformed)."""
    return _read(path, _GATE_FILE_MAX_BYTES, "gate file", GateFile.parse)


def read_ledger(path: str) -> tuple[Ledger, FileUsed]:
    """Raises `ImgsecError` (input-unreadable, input-malformed); what an entry lacks is told by it.

    A ledger that is empty is none: an exemption that was cut off with the rest is not noticed else.
    """
    return _read(path, LEDGER_MAX_BYTES, "ledger of exemptions", Ledger.parse)


def read_suite(path: str) -> AdmissionSuite:
    """Raises `ImgsecError` (input-unreadable, input-malformed)."""
    from imgsec.domain.admission_suite import AdmissionSuite

    return _read(path, LEDGER_MAX_BYTES, "suite of admissions", AdmissionSuite.parse)[0]


def _read(
    path: str, max_bytes: int, what: str, parse: Callable[[Any], Parsed]
) -> tuple[Parsed, FileUsed]:
    content = read_file(path, max_bytes=max_bytes)
    document = load_yaml(content, path, keeps_dates=True)
    try:
        parsed = parse(document)
    except ValueError as error:
        raise ImgsecError(INPUT_MALFORMED(f"{shown(path)} is no {what}: {error}")) from None
    return parsed, FileUsed(path, hashlib.sha256(content).hexdigest())
