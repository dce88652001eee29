# SPDX-License-Identifier: Apache-2.0
"""Changes of a ledger file that leave the rest of it as people wrote it, byte for byte.

Only the lines of an entry are taken out, and new ones are put behind the last entry: no line of
anybody else moves in a review. What comes of it is read back by our own strict loader before it
replaces anything, and must be what was meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from imgsec.adapters.files import load_yaml, read_regular, write_file
from imgsec.adapters.gate_files import LEDGER_MAX_BYTES, read_ledger
from imgsec.adapters.manifest_folder import alone_in
from imgsec.domain.exemption import Exemption, Ledger
from imgsec.domain.ledger_edits import LedgerEdit
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_MALFORMED

_EMPTY = b"""\
# Exemptions from the scan gate. Each has an owner, a reason and a last day; see
# `imgsec exemptions lint`.
version: 1
exemptions: []
"""
_INDENT = 2  # of the first entry in an empty list


class LedgerFile:
    """See `imgsec.ports.LedgerReader` and `imgsec.ports.LedgerEditor`."""

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self) -> Ledger:
        """Raises `ImgsecError` (input-unreadable, input-malformed)."""
        return read_ledger(self._path)[0]

    def earlier(self, content: bytes | None) -> Ledger:
        """What the file was when it had this content; no ledger has no entries."""
        if content is not None and len(content) <= LEDGER_MAX_BYTES:
            with suppress(ImgsecError, ValueError):
                return Ledger.parse(load_yaml(content, self._path, keeps_dates=True))
        return Ledger()

    def change(self, choose: Callable[[Ledger], LedgerEdit]) -> LedgerEdit:
        """Take entries out, and write others at the end; gives what was chosen.

        The file is made where there is none; an edit of nothing writes nothing. Two at once do not
        lose what the other wrote. Raises `ImgsecError` (input-unreadable, input-malformed,
        output-unwritable).
        """
        path = self._path
        with alone_in(Path(path).absolute().parent, lambda: None):
            held = read_regular(Path(path), max_bytes=LEDGER_MAX_BYTES)
            content = _EMPTY if held is None else held
            before, items = _parsed(content, path)
            edit = choose(before)
            gone, new = edit.gone, edit.new
            if not gone and not new:
                return edit
            kept = [item for number, item in enumerate(items, start=1) if number not in gone]
            meant = {"version": 1, "exemptions": [*kept, *(entry.document() for entry in new)]}
            try:
                Ledger.parse(meant)
            except ValueError as error:  # one more than it may have
                raise ImgsecError(INPUT_MALFORMED(f"{shown(path)} is full: {error}")) from None
            written = _changed(content, gone, new, meant)
            if written is None:
                raise ImgsecError(
                    INPUT_MALFORMED(
                        f"{shown(path)} cannot be changed without changing more than was meant",
                        hint="Write exemptions as a list in UTF-8, each entry on lines of its own.",
                    )
                )
            write_file(path, written, keeps_mode=True)
            return edit


def _parsed(content: bytes, path: str) -> tuple[Ledger, list[Any]]:
    document = load_yaml(content, path, keeps_dates=True)
    try:
        return Ledger.parse(document), list(document["exemptions"])
    except ValueError as error:
        raise ImgsecError(INPUT_MALFORMED(f"{shown(path)} is no ledger: {error}")) from None


def _changed(
    content: bytes, gone: Collection[int], new: Sequence[Exemption], meant: dict[str, Any]
) -> bytes | None:
    """The file with the change; None where its form does not allow to change just that."""
    for write in (_edited, _written_anew):
        try:
            text = write(content.decode("utf-8"), gone, new, meant)
            result = text.encode()
            if load_yaml(result, "", keeps_dates=True) == meant:
                return result
        except (ImgsecError, ValueError, IndexError, AttributeError):
            continue
    return None


def _edited(text: str, gone: Collection[int], new: Sequence[Exemption], _: Any) -> str:
    """Without the lines of some entries, and with further lines. Raises `ValueError`."""
    key, listed = _list_in(text)
    if listed.value and listed.flow_style:
        raise ValueError("the list is not written in lines")
    newline = "\r\n" if "\r\n" in text else "\n"
    colon = text.index(":", key.end_mark.index) + 1
    changes = [(*_lines_of(text, listed, number), "") for number in gone]
    if len(gone) == len(listed.value) and listed.value and not new:
        changes.append((colon, colon, " []"))
    if new:
        if not listed.value:
            changes.append((colon, max(colon, listed.end_mark.index), ""))
        last = _end(text, listed.value[-1]) if listed.value else listed.end_mark.index
        behind = _end_of_line(text, last)
        indent = listed.start_mark.column if listed.value else _INDENT
        lines = [line + newline for line in _entry_lines(new, indent)]
        if text[behind - 1] != "\n":
            lines.insert(0, newline)
        changes.append((behind, behind, "".join(lines)))
    parts, done = [], 0
    for start, end, instead in sorted(changes):
        parts += [text[done:start], instead]
        done = end
    return "".join((*parts, text[done:]))


def _written_anew(text: str, _: Any, new: Sequence[Exemption], meant: dict[str, Any]) -> str:
    """The whole of it in lines, where nobody's comment would be lost. Raises `ValueError`."""
    if "#" in text:
        raise ValueError("it may have comments")
    kept = meant["exemptions"][: len(meant["exemptions"]) - len(new)]
    head = _dumped({"version": 1, "exemptions": [_dated(item) for item in kept]})
    if not kept:
        head = "version: 1\nexemptions:\n"
    return head + "".join(line + "\n" for line in _entry_lines(new, 0))


def _list_in(text: str) -> tuple[Any, Any]:
    """The nodes of the word exemptions and of its list. Raises `ValueError`."""
    from imgsec.adapters._yaml import UndatedLoader

    loader = UndatedLoader(text)
    try:
        root: Any = loader.get_single_node()
    finally:
        loader.dispose()
    found = [pair for pair in root.value if pair[0].value == "exemptions"]
    if root.flow_style or len(found) != 1 or not isinstance(found[0][1].value, list):
        raise ValueError("it is not a mapping with one list, in lines")
    key, listed = found[0]
    return key, listed


def _lines_of(text: str, listed: Any, number: int) -> tuple[int, int]:
    """Where the lines of an entry begin and end, without comments on lines of their own."""
    node = listed.value[number - 1]
    dash = re.compile(rf" {{{listed.start_mark.column}}}-\s")
    start = text.rfind("\n", 0, node.start_mark.index) + 1
    while not dash.match(text, start):  # it may stand some lines above
        start = text.rindex("\n", 0, max(start - 1, 0)) + 1
    return start, _end_of_line(text, _end(text, node))


def _end(text: str, node: Any) -> int:
    """Where a node ends; PyYAML's own mark of a block is where the next one begins."""
    if isinstance(node.value, str) or node.flow_style:
        start: int = node.start_mark.index
        return start + len(text[start : node.end_mark.index].rstrip())
    last = node.value[-1]
    return _end(text, last[1] if isinstance(last, tuple) else last)


def _end_of_line(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def _entry_lines(entries: Sequence[Exemption], indent: int) -> list[str]:
    written = _dumped([_dated(entry.document()) for entry in entries]) if entries else ""
    return [" " * indent + line if line else "" for line in written.split("\n")[:-1]]


def _dumped(data: Any) -> str:
    import yaml

    from imgsec.adapters._yaml import PlainDumper

    return yaml.dump(data, Dumper=PlainDumper, sort_keys=False, allow_unicode=True, width=100)


def _dated(document: Any) -> Any:
    """With its dates as such, which YAML writes without quotation marks."""
    if not isinstance(document, dict):
        return document
    named = {}
    for name in ("created", "expires"):
        try:
            named[name] = date.fromisoformat(document[name])
        except (KeyError, TypeError, ValueError):
            continue
    return {**document, **named}
