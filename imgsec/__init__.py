# SPDX-License-Identifier: Apache-2.0
"""imgsec: scan, sign and enforce container images from Tekton, GitHub Actions or a terminal."""

__version__ = "0.1.0"
