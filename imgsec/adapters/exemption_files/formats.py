# SPDX-License-Identifier: Apache-2.0
"""The formats by the names that the command line knows them by."""

from __future__ import annotations

from imgsec.adapters.exemption_files import ExemptionFormat, grype, openvex, trivyignore

FORMATS: dict[str, ExemptionFormat] = {
    "trivyignore": trivyignore.FORMAT,
    "grype": grype.FORMAT,
    "openvex": openvex.FORMAT,
}
