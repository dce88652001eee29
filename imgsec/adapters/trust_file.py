# SPDX-License-Identifier: Apache-2.0
"""What `docker trust inspect IMAGE...` printed, kept as a file: a trust server's word without it.

docker verified the signatures when it made the file; nothing in it can be verified again, or says
when that was. It leaves out tags that nobody released and delegations that signed another digest,
and names keys without their certificates (docker/cli, `cli/command/trust`). Where the engine's
answer hangs on what is left out, none is given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from imgsec.adapters.files import read_file
from imgsec.domain import strict_json
from imgsec.domain.content_trust import (
    RELEASES,
    Stop,
    TrustAnswer,
    TrustedTarget,
    TrustStop,
)
from imgsec.domain.engine_name import EngineName, Panic
from imgsec.domain.engine_texts import no_trusted_tag
from imgsec.domain.pull_secrets import PullCredential
from imgsec.domain.reference import shown
from imgsec.domain.tuf_files import TARGETS
from imgsec.errors import ImgsecError
from imgsec.reasons import ADMISSION_OPEN, INPUT_MALFORMED

TRUST_FILE_MAX_BYTES = 16 * 2**20  # ours; tens of thousands of tags
_ADMINISTRATOR, _REPOSITORY = "Repo Admin", "Repository"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class _Row:
    """One released tag."""

    tag: str
    digest: str
    signers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the file says about one image. tag: None where it speaks of all tags."""

    repository: str
    tag: str | None
    rows: tuple[_Row, ...]
    signers: dict[str, frozenset[str]]
    administrators: dict[str, frozenset[str]]

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Raises `ValueError`, `TypeError`, `KeyError`, `Panic`."""
        text = _text(value["Name"])
        name = EngineName.parse(text)
        return cls(
            name.repository,
            name.tag if text.endswith(f":{name.tag}") else None,
            tuple(_row(each) for each in _list(value.get("SignedTags"))),
            _keys(value.get("Signers")),
            _keys(value.get("AdministrativeKeys")),
        )

    def answer(self, image: EngineName) -> TrustAnswer:
        """Raises `ImgsecError` (admission-open)."""
        rows = {row for row in self.rows if row.tag == image.tag}
        if len(rows) > 1:
            raise _left_open(f"two digests of {image.tagged} are released, and not said by whom")
        notes = ("as docker verified it when the file was made",)
        if not rows:
            if self.signers:
                raise _left_open(f"{image.tagged} is not released; a delegation may have signed it")
            stop = TrustStop(Stop.READING, no_trusted_tag(image.tag))
            return TrustAnswer(image.tag, stop=stop, notes=notes)
        (row,) = rows
        delegations = [name for name in row.signers if name != _ADMINISTRATOR]
        keys = self.administrators.get(_REPOSITORY, frozenset[str]())
        released = (RELEASES, frozenset[str]()) if delegations else (TARGETS, keys)
        targets = [TrustedTarget(*released, row.digest)]
        for name in delegations:
            known = self.signers.get(name, frozenset[str]())
            targets.append(TrustedTarget(f"{TARGETS}/{name}", known, row.digest))
        return TrustAnswer(image.tag, tuple(targets), notes=notes, has_bare_keys=True)


@dataclass(frozen=True, slots=True)
class TrustFile:
    """See `imgsec.ports.TrustReader`; the server and the credentials are not looked at."""

    path: str
    _entries: tuple[_Entry, ...]

    @classmethod
    def read(cls, path: str) -> Self:
        """Raises `ImgsecError` (input-unreadable, input-malformed)."""
        content = read_file(path, max_bytes=TRUST_FILE_MAX_BYTES)
        try:
            document = strict_json.parse(content)
            return cls(path, tuple(_Entry.parse(each) for each in _list(document)))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, Panic):
            text = f"{shown(path)} is not what `docker trust inspect` prints"
            raise ImgsecError(INPUT_MALFORMED(text)) from None

    def knows(self, image: EngineName) -> bool:
        """Whether it says anything about an image."""
        return any(
            entry.repository == image.repository and entry.tag in (None, image.tag)
            for entry in self._entries
        )

    def fetch_trusted(
        self, server: str, image: EngineName, credentials: Sequence[PullCredential]
    ) -> TrustAnswer:
        """See `imgsec.ports.TrustReader`. Raises (admission-open) for what the file leaves out."""
        del server, credentials
        found = [
            entry
            for entry in self._entries
            if entry.repository == image.repository and entry.tag in (None, image.tag)
        ]
        answers = [entry.answer(image) for entry in found]
        if not answers:
            raise _left_open(f"{shown(self.path)} says nothing about {image.tagged}")
        if any(answer != answers[0] for answer in answers):
            raise _left_open(f"{shown(self.path)} says different things about {image.tagged}")
        return answers[0]


def _left_open(text: str) -> ImgsecError:
    return ImgsecError(
        ADMISSION_OPEN(text, hint="Make the file anew for this image, or ask the trust server.")
    )


def _row(value: Any) -> _Row:
    signers = tuple(_text(each) for each in _list(value.get("Signers")))
    digest = _text(value["Digest"])
    if not _SHA256.fullmatch(digest):
        raise ValueError("no digest")
    return _Row(_text(value["SignedTag"]), digest, signers)


def _keys(value: Any) -> dict[str, frozenset[str]]:
    """Key ids by the name of their holder."""
    found: dict[str, frozenset[str]] = {}
    for each in _list(value):
        ids = [_text(key["ID"]) for key in _list(each.get("Keys"))]
        if not all(_SHA256.fullmatch(one) for one in ids):
            raise ValueError("no key's id")
        name = _text(each["Name"])
        found[name] = found.get(name, frozenset()) | frozenset(ids)
    return found


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list | None):
        raise TypeError("no list")
    return value or []


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value
