# SPDX-License-Identifier: Apache-2.0
"""The grammar of repository names and digests in registry paths (distribution/reference)."""

from __future__ import annotations

import re

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY = rf"{_COMPONENT}(?:/{_COMPONENT})*"
TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
DIGEST = r"sha256:[0-9a-f]{64}"
REPOSITORY_MAX = 255  # characters; distribution/reference: RepositoryNameTotalLengthMax

SIGNATURES_PATH = re.compile(
    rf"/extensions/v2/(?P<repository>{REPOSITORY})/signatures/(?P<digest>{DIGEST})"
)
MANIFEST_PATH = re.compile(rf"/v2/(?P<repository>{REPOSITORY})/manifests/(?P<reference>[^/]+)")
