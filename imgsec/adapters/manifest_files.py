# SPDX-License-Identifier: Apache-2.0
"""Kubernetes manifests in files and folders: every document of them, with its lines.

Parsed by libyaml, which is what makes a thousand files quick, and as strictly as our own formats:
no anchor, no tag, no key twice. Dates stay texts, as a cluster takes them.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from imgsec.adapters.files import read_descriptor, read_file
from imgsec.domain.object_lists import is_empty_list, list_flaw
from imgsec.domain.policy_fields import Path as FieldPath
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_MALFORMED, INPUT_UNREADABLE

MANIFEST_MAX_BYTES = 8 * 2**20  # ours; a chart of hundreds of objects, rendered, has a fourth
DEPTH_MAX = 100  # ours; a CRD, the deepest there is, has some thirty levels
_SUFFIXES = (".yaml", ".yml", ".json")
_BRACKETS_MAX = 1000
_INDENTING = bytes.maketrans(b"?:-", b"   ")
_DEEP = b" " * 400
_PAIR = re.compile(
    rb"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
)
_STDIN = "-"
_HEAD = frozenset(("apiVersion", "kind"))
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
        return int(_nodes_of(self.node, path)[0].start_mark.line) + 1


def read_documents(path: str, *, configs: bool = False) -> Iterator[ManifestDocument]:
    """The Kubernetes objects of a file, of a folder with its folders, or of standard input.

    What is no object (it has no kind) is passed over, as a chart's values are. configs: the list of
    rules in a `config.yaml` is a policy, too. Raises `ImgsecError`
    (input-unreadable, input-malformed).
    """
    if path == _STDIN:
        content = read_descriptor(sys.stdin.fileno(), MANIFEST_MAX_BYTES)
        yield from parse_documents(content, _STDIN, configs=configs)
    elif os.path.isdir(path):
        for name in files_below(path):
            yield from parse_documents(_read_below(name), name, configs=configs)
    else:
        content = read_file(path, max_bytes=MANIFEST_MAX_BYTES)
        yield from parse_documents(content, path, configs=configs)


def read_all(paths: Iterable[str], *, configs: bool = False) -> Iterator[ManifestDocument]:
    """The same of several, each in its turn."""
    for path in paths:
        yield from read_documents(path, configs=configs)


def parse_documents(
    content: bytes, where: str, *, configs: bool = False
) -> Iterator[ManifestDocument]:
    """The objects in a file's content. Raises `ImgsecError` (input-malformed)."""
    try:
        yield from _parsed(content, where, configs=configs)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        why = getattr(error, "problem", None) or str(error) or type(error).__name__
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        at = f", line {line + 1}" if line is not None else ""
        hint = (
            "Render templates first: helm template, kustomize build." if b"{{" in content else None
        )
        text = f"{shown(where)} is not plain YAML{at}: {why.splitlines()[0]}"
        raise ImgsecError(INPUT_MALFORMED(text, hint=hint)) from None


def _parsed(content: bytes, where: str, *, configs: bool) -> Iterator[ManifestDocument]:
    content.decode()  # nothing but UTF-8: what is looked for in it would look otherwise
    content = _paired(content)
    if _needs_a_look(content):
        _require_plain(content)
    for node in yaml.compose_all(content, Loader=_COMPOSER):
        document = _constructed(node, 0)
        if isinstance(document, dict) and document.get("kind"):
            yield from _objects(ManifestDocument(document, where, node))
            continue
        _require_no_object(document, node)
        if isinstance(document, dict) and configs:
            from imgsec.adapters.config_policies import config_policy

            if (found := config_policy(document, where, node)) is not None:
                yield ManifestDocument(found[0], where, found[1])


def _require_no_object(document: Any, node: yaml.Node) -> None:
    """Raises `yaml.YAMLError` for what was meant to be an object, and is none to a cluster."""
    if isinstance(document, dict):
        for name in document:
            if name not in _HEAD and str(name).lower() in map(str.lower, _HEAD):
                raise _flaw(node, f"the field {shown(str(name))} is spelled otherwise")
        if "apiVersion" in document and ("metadata" in document or "spec" in document):
            raise _flaw(node, "an object without a kind")
    elif isinstance(document, list):
        if any(isinstance(one, dict) and not _HEAD.isdisjoint(one) for one in document):
            raise _flaw(node, "a list of objects: separate them by ---, or put them into a List")
    elif document is not None:
        raise _flaw(node, "a text where an object should be")


def _objects(found: ManifestDocument) -> Iterator[ManifestDocument]:
    """A document itself, or the items of a list, which is what kubectl takes one with items for.

    Raises `yaml.YAMLError` for an item that is no object, and for a list without items: what stands
    there under another name would be passed over.
    """
    kind, items = found.content["kind"], found.content.get("items")
    if not isinstance(kind, str) and "apiVersion" in found.content:
        raise _flaw(_nodes_of(found.node, ("kind",))[1], "the kind is no text")
    flaw = list_flaw(found.content)
    if flaw is not None:
        raise _flaw(_nodes_of(found.node, flaw.path)[0], flaw.text)
    if not isinstance(items, list):
        if not is_empty_list(found.content):
            yield found
        return
    for place, item in enumerate(items):
        node = _nodes_of(found.node, ("items", place))[1]
        if not isinstance(item, dict):
            raise _flaw(node, "an item of a list is no object")
        content = item if item.get("kind") or item.get("apiVersion") else item | _typed(found)
        if not content.get("kind"):
            raise _flaw(node, "an item of a list has no kind")
        yield from _objects(ManifestDocument(content, found.where, node))


def _typed(found: ManifestDocument) -> dict[str, Any]:
    """What an API server leaves out of the items of a PodList, and kubectl puts in again."""
    kind = str(found.content["kind"]).removesuffix("List")
    return {"apiVersion": found.content.get("apiVersion"), "kind": kind}


def _paired(content: bytes) -> bytes:
    """JSON with the characters that it writes as pairs of surrogates, which YAML does not know."""
    if b"\\u" not in content or _PAIR.search(content) is None:
        return content
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return content

    def character(found: re.Match[bytes]) -> bytes:
        units = bytes.fromhex((found[2] + found[3]).decode())
        return found[1] + units.decode("utf-16-be").encode()

    return _PAIR.sub(character, content)


def _needs_a_look(content: bytes) -> bool:
    """Whether it may hold an anchor, a tag, or more levels than libyaml's composer survives.

    No anchor is without its ampersand; a level of depth takes a bracket, or a column of its line.
    Columns are looked for anywhere, since libyaml ends lines at CR, NEL, LS and PS, too.
    """
    if b"&" in content or b"!" in content:
        return True
    brackets = content.count(b"[") + content.count(b"{")
    return brackets > _BRACKETS_MAX or _DEEP in content.translate(_INDENTING)


def _flaw(at: yaml.Node | yaml.Event, problem: str) -> yaml.MarkedYAMLError:
    """Something that is YAML, and is not taken all the same; at: the place of it."""
    mark: Any = at.start_mark
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _require_plain(content: bytes) -> None:
    """Raises `yaml.YAMLError` for an alias, an anchor, a tag that is forced, or too many levels."""
    depth = 0
    for event in yaml.parse(content, Loader=_COMPOSER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_MAX:
            raise _flaw(event, "it is nested too deeply")
        if getattr(event, "anchor", None) is not None:
            raise _flaw(
                event, "an anchor or alias is not accepted: write it out, as kustomize does"
            )
        if getattr(event, "tag", None) is not None:
            raise _flaw(event, "a tag is not accepted")


def _constructed(node: yaml.Node, depth: int) -> Any:
    """The value of a node. Raises `yaml.YAMLError`."""
    if depth > DEPTH_MAX:
        raise _flaw(node, "it is nested too deeply")
    tag = node.tag
    if isinstance(node, yaml.ScalarNode):
        return node.value if tag in _TEXTS else _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_constructed(one, depth + 1) for one in node.value]
    found: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == f"{_TAG}merge":
            raise _flaw(key, "a key is no plain text")
        name = key.value
        if name in found:
            raise _flaw(key, f"the key {shown(name)} stands twice in one mapping")
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
        raise _flaw(node, f"{shown(node.value)} is nothing that a manifest holds")
    try:
        return node.value if ":" in node.value else make(node)  # 1:30 is 90 to PyYAML alone
    except ValueError:
        raise _flaw(node, f"{shown(node.value)} is no number") from None


def _nodes_of(node: yaml.Node, path: FieldPath) -> tuple[yaml.Node, yaml.Node]:
    """Where a field begins, and its value; of its nearest parent where there is none."""
    at = node
    for step in path:
        found = _member(node, step)
        if found is None:
            break
        at, node = found
    return at, node


def _member(node: yaml.Node, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """Where a member of a mapping or list begins, and the member."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None


def _read_below(name: str) -> bytes:
    """A file that nobody named, so it is not waited for, as for a pipe."""
    if not os.path.isfile(name):
        raise ImgsecError(INPUT_UNREADABLE(f"{shown(name)} is no file, and leads to none"))
    return read_file(name, max_bytes=MANIFEST_MAX_BYTES)


def files_below(folder: str) -> Sequence[str]:
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
