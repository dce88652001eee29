# SPDX-License-Identifier: Apache-2.0
"""The closed schemas in tests/data, by kind, and what they say against a document.

tests/data/tekton/close_crds.py made them from upstream's CRDs; SOURCES.json there says which.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped, unused-ignore]

DATA = Path(__file__).resolve().parent.parent / "data"
_FOLDERS = ("tekton", "portieris")


@cache
def closed_schema(kind: str) -> jsonschema.Draft202012Validator:
    """The validator for Task, TaskRun, Pipeline, PipelineRun, ImagePolicy, ClusterImagePolicy."""
    for folder in _FOLDERS:
        path = DATA / folder / f"{kind}.schema.json"
        if path.exists():
            return jsonschema.Draft202012Validator(json.loads(path.read_bytes()))
    raise LookupError(f"there is no schema for the kind {kind}")


def schema_errors(document: dict[str, Any]) -> list[str]:
    """What is wrong with a document, each with the path to it; empty if nothing is."""
    found = closed_schema(document["kind"]).iter_errors(document)
    return sorted(f"{error.json_path}: {error.message}" for error in found)
