# SPDX-License-Identifier: Apache-2.0
"""What every SARIF 2.1.0 document of imgsec has, whatever it is about.

Source of the limits: GitHub, "SARIF support for code scanning".
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from imgsec import __version__
from imgsec.reasons import Reason
from imgsec.render.text import clean

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
RESULTS_MAX = 25_000  # of one run
TEXT_MAX_CHARS = 1000
Document = dict[str, Any]


def sarif_run(
    name: str, rules: list[Document], undecided: list[Document], results: list[Document]
) -> Document:
    """One run. name: its category; undecided: why it does not tell all."""
    return {
        "tool": {
            "driver": {
                "name": "imgsec",
                "semanticVersion": __version__,
                "informationUri": "https://pypi.org/project/imgsec/",
                "rules": rules,
            }
        },
        "automationDetails": {"id": name},
        "invocations": [
            {"executionSuccessful": not undecided, "toolExecutionNotifications": undecided}
        ],
        "results": results,
    }


def notification(reason: Reason, where: str = "") -> Document:
    """Why something could not be decided."""
    text = f"{where}: {reason.text}" if where else reason.text
    return {
        "level": "error",
        "descriptor": {"id": reason.code},
        "message": {"text": message(text)},
    }


def message(text: str) -> str:
    """Foreign text in a message, where brackets make a link. Source: SARIF 2.1.0, 3.11.6."""
    plain = clean(text)[:TEXT_MAX_CHARS]
    return re.sub(r"([\\\[\]])", r"\\\1", plain)[:TEXT_MAX_CHARS].rstrip("\\")


def short_hash(text: str) -> str:
    """What tells one result from another, from run to run."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
