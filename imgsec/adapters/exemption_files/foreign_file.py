# SPDX-License-Identifier: Apache-2.0
"""A file of another tool's exemptions, read with a limit and never written over by chance."""

from __future__ import annotations

from pathlib import Path

from imgsec.adapters.exemption_files.formats import FORMATS
from imgsec.adapters.files import load_yaml, read_file, read_regular, update_file
from imgsec.domain import strict_json
from imgsec.domain.exemption_exchange import Defaults, Export, Exported, Imported
from imgsec.domain.reference import shown
from imgsec.domain.report import Change
from imgsec.errors import ImgsecError
from imgsec.reasons import FOREIGN_OBJECT, INPUT_MALFORMED, INVALID_OPTION

_MAX_BYTES = 8 * 2**20  # ours; ten thousand entries


class ForeignFile:
    """See `imgsec.ports.ForeignExemptions`. format: by name; raises (invalid-option)."""

    def __init__(self, path: str, format: str) -> None:
        if format not in FORMATS:
            raise ImgsecError(INVALID_OPTION(f"--format is one of {', '.join(FORMATS)}"))
        self._path = path
        self._form = FORMATS[format]
        self.format = format
        self.names_images = self._form.names_images
        self.caution = self._form.caution

    def read(self, defaults: Defaults) -> Imported:
        """Raises `ImgsecError` (input-unreadable, input-malformed)."""
        content = read_file(self._path, max_bytes=_MAX_BYTES)
        try:
            if self._form.is_json:
                document = strict_json.parse(content)
            else:
                document = load_yaml(content, self._path, keeps_dates=True)
            return self._form.read(document, defaults)
        except (ValueError, RecursionError) as error:
            text = f"{shown(self._path)} is not taken over: {error}"
            raise ImgsecError(INPUT_MALFORMED(text)) from None

    def write(self, export: Export) -> tuple[Exported, Change]:
        """Raises `ImgsecError` (foreign-object, input-unreadable, output-unwritable)."""
        exported = self._form.write(export)
        content = exported.text.encode()
        held = read_regular(Path(self._path), max_bytes=_MAX_BYTES)
        if held is not None and not self._form.is_ours(held):
            text = f"{shown(self._path)} was not made by export"
            hint = (
                "Choose another name, or take the file over with `exemptions import` and remove it."
            )
            raise ImgsecError(FOREIGN_OBJECT(text, hint=hint))
        if held is not None and self._form.is_same(held, content):
            content = held  # a new date alone is no change
        return exported, Change(self._path, update_file(self._path, content))
