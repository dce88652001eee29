# SPDX-License-Identifier: Apache-2.0
"""What signing keys are made with; no part of `imgsec.domain.keys`, which --help does not need."""

from __future__ import annotations

DEFAULT_ALGORITHM = "rsa4096"
KEY_ALGORITHMS = (  # what every verifier reads
    DEFAULT_ALGORITHM,
    "rsa3072",
    "nistp256",
    "nistp384",
    "nistp521",
)
