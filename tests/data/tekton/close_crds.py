#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turn upstream's CRD files into small, closed JSON Schemas, the test data beside this script.

A CRD lets unknown fields pass (the API server drops them), so a misspelt field goes unnoticed. Here
every object with known fields is closed, and the root is held to its apiVersion and kind.
Descriptions and defaults are left out, and parts that occur more than once are written once.

    tests/data/tekton/close_crds.py FOLDER

FOLDER holds the files that SOURCES.json, here and in ../portieris, lists; each is checked against
its SHA-256 first. Run it when upstream's version changes, after editing SOURCES.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

DATA = Path(__file__).resolve().parent.parent
Schema = dict[str, Any]
_KEPT = frozenset(
    "type properties required items enum pattern format minLength maxLength minimum maximum "
    "minItems maxItems minProperties maxProperties uniqueItems additionalProperties "
    "anyOf oneOf allOf not const".split()
)
_BRANCHES = ("anyOf", "oneOf", "allOf")
_SHARED_MIN_CHARS = 200  # a smaller part costs less than a reference to it
_TEXTS: Schema = {"type": ["object", "null"], "additionalProperties": {"type": "string"}}
_METADATA: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "generateName": {"type": "string"},
        "namespace": {"type": "string"},
        "labels": _TEXTS,
        "annotations": _TEXTS,
    },
}


def close(schema: Schema, *, in_branch: bool = False) -> Schema:
    """A structural schema as JSON Schema 2020-12, closed; branches of anyOf and so on stay open."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    closed = {name: value for name, value in schema.items() if name in _KEPT}
    if "properties" in closed:
        closed["properties"] = {
            name: close(part, in_branch=in_branch) for name, part in closed["properties"].items()
        }
        is_open = in_branch or schema.get("x-kubernetes-preserve-unknown-fields")
        if "additionalProperties" not in closed and not is_open:
            closed["additionalProperties"] = False
    for name in ("items", "additionalProperties", "not"):
        if isinstance(closed.get(name), dict):
            closed[name] = close(closed[name], in_branch=in_branch or name == "not")
    for name in _BRANCHES:
        if name in closed:
            closed[name] = [close(part, in_branch=True) for part in closed[name]]
    if schema.get("nullable") and isinstance(closed.get("type"), str):
        closed["type"] = [closed["type"], "null"]
    return closed


def close_root(crd: Schema, version: str) -> Schema:
    """The schema of one version of a CRD."""
    spec = crd["spec"]
    found = next(entry for entry in spec["versions"] if entry["name"] == version)
    root = close(found["schema"]["openAPIV3Schema"])
    root["properties"] |= {
        "apiVersion": {"const": f"{spec['group']}/{version}"},
        "kind": {"const": spec["names"]["kind"]},
        "metadata": _METADATA,
    }
    root["properties"].pop("status", None)
    root |= {"additionalProperties": False, "required": ["apiVersion", "kind", "metadata", "spec"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **share(root)}


def share(root: Schema) -> Schema:
    """The same schema, with parts that occur more than once under ``$defs``."""
    seen = Counter(text for text in _texts(root) if len(text) >= _SHARED_MIN_CHARS)
    names = {text: f"d{at}" for at, text in enumerate(sorted(t for t in seen if seen[t] > 1))}
    definitions = {name: _shortened(json.loads(text), names, text) for text, name in names.items()}
    used = _shortened(root, names, "")
    return {**used, "$defs": definitions}


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "type" in part and isinstance(part["type"], str | list):
            yield _text(part)
        for item in part.values():
            yield from _texts(item)
    elif isinstance(part, list):
        for item in part:
            yield from _texts(item)


def _text(part: Any) -> str:
    return json.dumps(part, sort_keys=True)


def _shortened(part: Any, names: dict[str, str], own: str) -> Any:
    if isinstance(part, dict):
        if (text := _text(part)) in names and text != own:
            return {"$ref": f"#/$defs/{names[text]}"}
        return {key: _shortened(item, names, own) for key, item in part.items()}
    return [_shortened(item, names, own) for item in part] if isinstance(part, list) else part


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the schemas that the two SOURCES.json list."""
    parser = argparse.ArgumentParser(description="Close the CRDs in FOLDER for the tests.")
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    folder: Path = parser.parse_args(arguments).folder
    for target in (DATA / "tekton", DATA / "portieris"):
        for source in json.loads((target / "SOURCES.json").read_bytes()):
            content = (folder / source["file"]).read_bytes()
            if hashlib.sha256(content).hexdigest() != source["sha256"]:
                sys.stderr.write(f"{source['file']} is not the file that SOURCES.json lists\n")
                return 1
            for crd in filter(None, yaml.safe_load_all(content)):
                kind = crd["spec"]["names"]["kind"]
                schema = close_root(crd, source["version"])
                text = json.dumps(schema, sort_keys=True, separators=(",", ":"))
                (target / f"{kind}.schema.json").write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
