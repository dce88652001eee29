# SPDX-License-Identifier: Apache-2.0
"""Files in a folder that are no Kubernetes objects: what is not ours is not written over.

They have no label to know them by. Ours are known by their form: JSON with tabs, YAML under a line
that says so; a copy with other switches by what it is a copy of.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from imgsec.adapters.files import (
    load_yaml,
    read_file,
    remove_file,
    require_writable,
    write_file,
)
from imgsec.domain.reference import shown
from imgsec.domain.report import Change
from imgsec.errors import ImgsecError
from imgsec.reasons import FOREIGN_OBJECT, OUTPUT_UNWRITABLE

_MAX_BYTES = 16 * 2**20
_HEAD = b"# Made by imgsec.\n"


class PlainFolder:
    """Writes files below a folder; see `imgsec.ports.FileSink`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def require_ready(self, *names: str, adopt: bool = False) -> None:
        """See `imgsec.ports.FileSink`."""
        for name in names:
            self._held(self._folder / name, _is_ours, adopt=adopt)

    def publish(self, name: str, content: Mapping[str, Any], *, adopt: bool = False) -> Change:
        """See `imgsec.ports.FileSink`."""
        return self._write(name, _bytes_of(name, content), _is_ours, adopt=adopt)

    def is_made(self, name: str) -> bool:
        """See `imgsec.ports.FileSink`."""
        try:
            return self._held(self._folder / name, _is_ours, adopt=False) is not None
        except ImgsecError:
            return False

    def remove(self, name: str) -> Change:
        """See `imgsec.ports.FileSink`."""
        path = self._folder / name
        if self._held(path, _is_ours, adopt=False) is None:
            return Change(str(path), "unchanged")
        remove_file(str(path))
        return Change(str(path), "removed")

    def copy(
        self, name: str, content: bytes, is_copy: Callable[[bytes], bool], *, adopt: bool = False
    ) -> Change:
        """A copy of somebody's file. is_copy: whether what is there is another of the same."""
        return self._write(name, content, lambda _, held: is_copy(held), adopt=adopt)

    def _write(
        self, name: str, content: bytes, is_ours: Callable[[str, bytes], bool], *, adopt: bool
    ) -> Change:
        path = self._folder / name
        held = self._held(
            path, lambda name, held: held == content or is_ours(name, held), adopt=adopt
        )
        if held == content:
            return Change(str(path), "unchanged")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            text = f"the folder {shown(str(path.parent))}: {error.strerror}"
            raise ImgsecError(OUTPUT_UNWRITABLE(text)) from None
        write_file(path, content)
        return Change(str(path), "created" if held is None else "updated")

    def _held(
        self, path: Path, is_ours: Callable[[str, bytes], bool], *, adopt: bool
    ) -> bytes | None:
        """What the file holds; None where there is none. Raises (foreign-object)."""
        if not path.parent.exists():
            return None
        require_writable(str(path))
        if not path.exists():
            return None
        content = read_file(str(path), max_bytes=_MAX_BYTES)
        if not adopt and not is_ours(path.name, content):
            raise ImgsecError(FOREIGN_OBJECT(f"{path} exists and was not made by imgsec"))
        return content


def _bytes_of(name: str, content: Mapping[str, Any]) -> bytes:
    if name.endswith(".json"):
        return (json.dumps(content, indent="\t") + "\n").encode()
    import yaml

    from imgsec.adapters._yaml import PlainDumper

    text = yaml.dump(dict(content), Dumper=PlainDumper, sort_keys=False, width=2**16)
    return _HEAD + text.encode()


def _is_ours(name: str, content: bytes) -> bool:
    if not name.endswith(".json"):
        return content.startswith(_HEAD)
    try:
        return _bytes_of(name, load_yaml(content.replace(b"\t", b" "), name)) == content
    except (ImgsecError, TypeError, ValueError):
        return False
