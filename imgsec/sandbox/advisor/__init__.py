# SPDX-License-Identifier: Apache-2.0
"""Vulnerability Advisor v4 and the image listing of the registry API v1. It scans nothing."""
