# SPDX-License-Identifier: Apache-2.0
"""The switches of a CISE policy, flipped in the text of its file: all else stays as it was written.

The file holds manifests, or is a `config.yaml` with the list.
A rule with neither switch lets its images through unchecked on purpose, and is left alone.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from imgsec.adapters.files import read_file
from imgsec.adapters.manifest_files import MANIFEST_MAX_BYTES, ManifestDocument, parse_documents
from imgsec.domain.engines import CISE_API
from imgsec.domain.policy_fields import CISE_FIELDS
from imgsec.domain.policy_rules import is_policy, require_fields
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_MALFORMED, INVALID_OPTION, POLICY_FOREIGN

_SWITCHES = ("trust", "va")
_LINE_END = re.compile(r"\r\n|\r|\n")
Edit = tuple[int, int, str]  # from where to where, in characters, and what stands there then


def read_switched(path: str, wanted: Mapping[str, bool]) -> tuple[bytes, int, bool]:
    """The file's content with these switches, how many rules have them, and if any was otherwise.

    wanted: of ``trust`` and ``va``. Raises `ImgsecError` (input-unreadable, input-malformed,
    policy-malformed, policy-foreign).
    """
    content = read_file(path, max_bytes=MANIFEST_MAX_BYTES)
    result, rules = switched(content, wanted, path)
    return result, rules, result != content


def require_copy(path: str, copy: Path) -> None:
    """Raises `ImgsecError` (invalid-option) if the copy is the file itself."""
    if Path(path).exists() and copy.exists() and copy.samefile(path):
        text = f"the copy would be written over {shown(path)} itself"
        raise ImgsecError(INVALID_OPTION(text, hint="Give --render another folder."))


def switched(content: bytes, wanted: Mapping[str, bool], where: str) -> tuple[bytes, int]:
    """The same of a file's content. Its line ends, and a byte order mark, stay as they are."""
    if content.startswith(BOM_UTF8):
        result, rules = switched(content[len(BOM_UTF8) :], wanted, where)
        return BOM_UTF8 + result, rules
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise ImgsecError(INPUT_MALFORMED(f"{shown(where)} is no UTF-8")) from None
    documents = list(parse_documents(content, where, configs=True))
    policies = [one for one in documents if is_policy(one.content)]
    if not policies:
        raise ImgsecError(INPUT_MALFORMED(f"{shown(where)} holds no policy"))
    edits: list[Edit] = []
    changed = 0
    for policy in policies:
        if policy.content.get("apiVersion") != CISE_API:
            reason = f"{shown(where)} has a policy that is not of {CISE_API}"
            hint = "Newer policies have no switches: write an intent, and publish that."
            raise ImgsecError(POLICY_FOREIGN(reason, hint=hint))
        require_fields(policy.content, CISE_FIELDS, where)
        for place in _switched_rules(policy.content):
            changed += 1
            rule = policy.content["spec"]["repositories"][place]["policy"]
            for name, is_on in wanted.items():
                if (rule.get(name) or {}).get("enabled") is not is_on:
                    edits.append(_edit(policy, place, name, is_on, text))
    if not changed:
        text = f"no rule in {shown(where)} has a switch, so each lets its images through unchecked"
        raise ImgsecError(INPUT_MALFORMED(text, hint="Add trust: and va: where it shall check."))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    result = text.encode()
    _require_meant(policies, result, wanted, where)
    return result, changed


def _switched_rules(document: Mapping[str, Any]) -> Iterator[int]:
    for place, entry in enumerate((document.get("spec") or {}).get("repositories") or []):
        if any((entry.get("policy") or {}).get(name) is not None for name in _SWITCHES):
            yield place


def _edit(policy: ManifestDocument, place: int, name: str, is_on: bool, text: str) -> Edit:
    """What to write where, so that the rule has the switch so. text: the file's."""
    word = "true" if is_on else "false"
    held = _walk(policy.node, "spec", "repositories", place, "policy")
    switch = _member(held, name)
    is_null = isinstance(switch, yaml.ScalarNode)
    if switch is None:
        return _insertion(held, f'"{name}": {{"enabled": {word}}}', text)
    if is_null:
        return switch.start_mark.index, switch.end_mark.index, f' {{"enabled": {word}}}'
    value = _member(switch, "enabled")
    if value is None:
        return _insertion(switch, f'"enabled": {word}', text)
    return value.start_mark.index, value.end_mark.index, word


def _insertion(mapping: yaml.MappingNode, member: str, text: str) -> Edit:
    """A further member, before the first that the mapping has."""
    at = mapping.start_mark.index
    if mapping.flow_style:
        return at + 1, at + 1, member + (", " if mapping.value else "")
    return at, at, member + _line_end(text, at) + " " * mapping.start_mark.column


def _line_end(text: str, at: int) -> str:
    """How the line ends that this place is in; if it is the last, how the one before it does."""
    found = _LINE_END.search(text, at)
    ends = [found[0]] if found else _LINE_END.findall(text[:at])
    return ends[-1] if ends else "\n"


def _walk(node: yaml.Node, *path: str | int) -> Any:
    for step in path:
        node = node.value[step] if isinstance(step, int) else _member(node, step)
    return node


def _member(node: Any, name: str) -> Any:
    return next((value for key, value in node.value if key.value == name), None)


def _require_meant(
    before: list[ManifestDocument], result: bytes, wanted: Mapping[str, bool], where: str
) -> None:
    """The text that was made says what was meant, and nothing else is different."""
    after = [
        one.content
        for one in parse_documents(result, where, configs=True)
        if is_policy(one.content)
    ]
    for policy in before:
        for place in _switched_rules(policy.content):
            rule = policy.content["spec"]["repositories"][place]["policy"]
            for name, is_on in wanted.items():
                rule[name] = (rule.get(name) or {}) | {"enabled": is_on}
    if after != [one.content for one in before]:
        text = f"{shown(where)} is written in a way whose switches cannot be flipped in place"
        raise ImgsecError(INPUT_MALFORMED(text, hint="Write it as plain YAML, one field a line."))
