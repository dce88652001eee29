# SPDX-License-Identifier: Apache-2.0
"""Kubernetes manifests in files and folders: every document of them, with its lines.

Parsed by libyaml, which is what makes a thousand files quick, and as strictly as our own formats:
no anchor, no tag, no key twice. Dates stay texts, as a cluster takes them.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from imgsec.adapters.files import read_descriptor, read_file
from imgsec.domain.policy_fields import Path as FieldPath
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_MALFORMED, INPUT_UNREADABLE

MANIFEST_MAX_BYTES = 16 * 2**20  # ours; a rendered chart of hundreds of objects has a tenth of it
DEPTH_MAX = 100  # ours; a CRD, the deepest there is, has some thirty levels
_SUFFIXES = (".yaml", ".yml", ".json")
_BRACKETS_MAX = 1000
_DEEP_LINE = re.compile(rb"^[ ?-]{400}", re.MULTILINE)
_STDIN = "-"
_TAG = "tag:yaml.org,2002:"
_TEXTS = (f"{_TAG}str", f"{_TAG}timestamp", f"{_TAG}value")
_COMPOSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class ManifestDocument:
    """One document, or one item of a List. where: its file; standard input is ``-``."""

    content: dict[str, Any]
    where: str
    node: yaml.Node

    def line_of(self, path: FieldPath) -> int:
        """The line of a field, from 1; of its nearest parent where there is no such field."""
        node = self.node
        line = int(node.start_mark.line) + 1
        for step in path:
            found = _member(node, step)
            if found is None:
                break
            at, node = found
            line = int(at.start_mark.line) + 1
        return line


def read_documents(path: str) -> Iterator[ManifestDocument]:
    """The Kubernetes objects of a file, of a folder with its folders, or of standard input.

    What is no object (it has no kind) is passed over, as a chart's values are. Raises `ImgsecError`
    (input-unreadable, input-malformed).
    """
    if path == _STDIN:
        yield from parse_documents(read_descriptor(sys.stdin.fileno(), MANIFEST_MAX_BYTES), _STDIN)
    elif os.path.isdir(path):
        for name in _files_below(path):
            yield from parse_documents(read_file(name, max_bytes=MANIFEST_MAX_BYTES), name)
    else:
        yield from parse_documents(read_file(path, max_bytes=MANIFEST_MAX_BYTES), path)


def read_all(paths: Iterable[str]) -> Iterator[ManifestDocument]:
    """The same of several, each in its turn."""
    for path in paths:
        yield from read_documents(path)


def parse_documents(content: bytes, where: str) -> Iterator[ManifestDocument]:
    """The objects in a file's content. Raises `ImgsecError` (input-malformed)."""
    try:
        yield from _parsed(content, where)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        at = f", line {line + 1}" if line is not None else ""
        hint = (
            "Render templates first: helm template, kustomize build." if b"{{" in content else None
        )
        text = f"{shown(where)} is not plain YAML{at}: {why}"
        raise ImgsecError(INPUT_MALFORMED(text, hint=hint)) from None


def _parsed(content: bytes, where: str) -> Iterator[ManifestDocument]:
    if _needs_a_look(content):
        _require_plain(content)
    for node in yaml.compose_all(content, Loader=_COMPOSER):
        document = _constructed(node, 0)
        if isinstance(document, dict) and document.get("kind"):
            yield from _objects(ManifestDocument(document, where, node))


def _objects(found: ManifestDocument) -> Iterator[ManifestDocument]:
    """A document itself, or the items of a List."""
    items = found.content.get("items")
    if not str(found.content["kind"]).endswith("List") or not isinstance(items, list):
        yield found
        return
    nodes = _member(found.node, "items")
    for place, item in enumerate(items):
        node = _member(nodes[1], place) if nodes else None
        if isinstance(item, dict) and item.get("kind") and node is not None:
            yield from _objects(ManifestDocument(item, found.where, node[1]))


def _needs_a_look(content: bytes) -> bool:
    """Whether it may hold an anchor, a tag, or more levels than libyaml's composer survives.

    No anchor is without its ampersand; a level of depth takes a bracket, or a column of its line.
    """
    if b"&" in content or b"!" in content:
        return True
    brackets = content.count(b"[") + content.count(b"{")
    return brackets > _BRACKETS_MAX or _DEEP_LINE.search(content) is not None


def _require_plain(content: bytes) -> None:
    """Raises `yaml.YAMLError` for an alias, an anchor, a tag that is forced, or too many levels."""
    depth = 0
    for event in yaml.parse(content, Loader=_COMPOSER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_MAX:
            raise yaml.YAMLError("it is nested too deeply")
        if getattr(event, "anchor", None) is not None:
            raise yaml.YAMLError("an anchor or alias is not accepted")
        if getattr(event, "tag", None) is not None:
            raise yaml.YAMLError("a tag is not accepted")


def _constructed(node: yaml.Node, depth: int) -> Any:
    """The value of a node. Raises `yaml.YAMLError`."""
    if depth > DEPTH_MAX:
        raise yaml.YAMLError("it is nested too deeply")
    tag = node.tag
    if isinstance(node, yaml.ScalarNode):
        return node.value if tag in _TEXTS else _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_constructed(one, depth + 1) for one in node.value]
    found: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == f"{_TAG}merge":
            raise yaml.YAMLError("a key is no plain text")
        name = key.value
        if name in found:
            raise yaml.YAMLError(f"the key {shown(name)} stands twice in one mapping")
        found[name] = _constructed(value, depth + 1)
    return found


_SCALARS = yaml.constructor.SafeConstructor()
_MADE_BY = {
    f"{_TAG}null": lambda _: None,
    f"{_TAG}bool": _SCALARS.construct_yaml_bool,
    f"{_TAG}int": _SCALARS.construct_yaml_int,
    f"{_TAG}float": _SCALARS.construct_yaml_float,
}


def _scalar(node: yaml.ScalarNode) -> Any:
    make = _MADE_BY.get(node.tag)
    if make is None:
        raise yaml.YAMLError(f"{shown(node.value)} is nothing that a manifest holds")
    return make(node)


def _member(node: yaml.Node, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Where a member of a mapping or list begins, and the member."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None


def _files_below(folder: str) -> Sequence[str]:
    """Its manifests, in the order of their names; hidden ones and links to folders are left out."""

    def refuse(error: OSError) -> None:
        text = f"{shown(str(error.filename))} cannot be read: {error.strerror}"
        raise ImgsecError(INPUT_UNREADABLE(text))

    found = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            str(Path(place, name))
            for name in sorted(names)
            if name.endswith(_SUFFIXES) and not name.startswith(".")
        ]
    return found


def read_review(path: str) -> Any:
    """An AdmissionReview, JSON, from a file or from standard input.

    Raises `ImgsecError` (input-unreadable, input-malformed).
    """
    from imgsec.domain import strict_json

    if path == _STDIN:
        content = read_descriptor(sys.stdin.fileno(), MANIFEST_MAX_BYTES)
    else:
        content = read_file(path, max_bytes=MANIFEST_MAX_BYTES)
    try:
        return strict_json.parse(content, folds_case=False)
    except (ValueError, RecursionError) as error:
        raise ImgsecError(INPUT_MALFORMED(f"{shown(path)} is no strict JSON: {error}")) from None
