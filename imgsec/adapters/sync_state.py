# SPDX-License-Identifier: Apache-2.0
"""What earlier runs of sync put into an advisor, which itself keeps no author: a file beside the
ledger, to be kept from run to run. Without it an entry that left the ledger is nobody's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from imgsec.adapters.files import read_regular, write_file
from imgsec.domain import strict_json
from imgsec.domain.exemption import ExemptionScope, KeptExemption
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_MALFORMED

_MAX_BYTES = 8 * 2**20  # ours; ten thousand entries


@dataclass(frozen=True, slots=True)
class SyncOwner:
    """Whose exemptions they are: of a region, and there of an account. None: nobody says which."""

    host: str
    account: str | None

    def __str__(self) -> str:
        return f"{self.host}, account {self.account}" if self.account else self.host


class SyncState:
    """The state of one owner, in a file. Of another owner's none is taken over."""

    def __init__(self, path: str, owner: SyncOwner) -> None:
        self._path = path
        self._owner = owner

    def read(self) -> frozenset[KeptExemption]:
        """What was put there by earlier runs; nothing where there is no file yet.

        Raises `ImgsecError` (input-unreadable, input-malformed).
        """
        content = read_regular(Path(self._path), max_bytes=_MAX_BYTES)
        if content is None:
            return frozenset()
        try:
            document = strict_json.parse(content)
            if document["version"] != 1:
                raise ValueError("another version")
            if (found := SyncOwner(document["host"], document["account"])) != self._owner:
                raise ValueError(f"it is of {shown(str(found))}")
            return frozenset(_kept(item) for item in document["exemptions"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            text = (
                f"{shown(self._path)} is no state of `exemptions sync` for {self._owner}: {error}"
            )
            raise ImgsecError(INPUT_MALFORMED(text)) from None

    def write(self, exemptions: Iterable[KeptExemption]) -> None:
        """Raises `ImgsecError` (output-unwritable)."""
        document = {
            "version": 1,
            "host": self._owner.host,
            "account": self._owner.account,
            "exemptions": [
                {"type": one.type, "id": one.issue, "scope": one.scope}
                for one in sorted(exemptions, key=str)
            ],
        }
        write_file(self._path, (json.dumps(document, indent=2) + "\n").encode(), keeps_mode=True)


def _kept(item: dict[str, str]) -> KeptExemption:
    words = (item["type"], item["id"], item["scope"])
    if not all(isinstance(word, str) and word for word in words):
        raise ValueError("an exemption is not whole")
    if item["scope"] != "*":
        ExemptionScope.parse(item["scope"])
    return KeptExemption(*words)
