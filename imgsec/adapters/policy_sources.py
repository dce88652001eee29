# SPDX-License-Identifier: Apache-2.0
"""Policies to be taken over: Kubernetes manifests, or a `config.yaml`, which has no kind."""

from __future__ import annotations

import os
from collections.abc import Iterator

from imgsec.adapters.files import load_yaml, read_file
from imgsec.adapters.manifest_files import (
    MANIFEST_MAX_BYTES,
    files_below,
    parse_documents,
    read_documents,
)
from imgsec.ports import FoundDocument

_STDIN = "-"


def read_policy_sources(path: str) -> Iterator[FoundDocument]:
    """Of a file, a folder with its folders, or standard input.

    Raises `ImgsecError` (input-unreadable, input-malformed).
    """
    if path == _STDIN:
        for one in read_documents(path):
            yield FoundDocument(one.content, one.where)
        return
    for name in files_below(path) if os.path.isdir(path) else (path,):
        content = read_file(name, max_bytes=MANIFEST_MAX_BYTES)
        found = [FoundDocument(one.content, name) for one in parse_documents(content, name)]
        if not found:
            document = load_yaml(content, name)
            found = [FoundDocument(document, name)] if isinstance(document, dict) else []
        yield from found
