# SPDX-License-Identifier: Apache-2.0
"""Write what the ledger exempts for one image, in the form of another tool."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from imgsec.domain.exemption import subject_named
from imgsec.domain.exemption_exchange import Export
from imgsec.domain.reference import ImageReference
from imgsec.domain.report import Change
from imgsec.domain.verdict import Note
from imgsec.operations.scan_gate import tag_doubt
from imgsec.ports import ForeignExemptions, LedgerReader, ManifestReader


def export_exemptions(
    ledger: LedgerReader,
    other: ForeignExemptions,
    image: ImageReference,
    *,
    author: str,
    now: datetime,
    find_registry: Callable[[], ManifestReader],
) -> tuple[Change, tuple[Note, ...]]:
    """What became of the file; the notes tell what is in it, and what is not.

    image: with a digest. author: who vouches for the entries. find_registry: called only where an
    entry is for the image's tag. Raises `ImgsecError`, also (foreign-object) for a file that was
    not made so.
    """
    read = ledger.read()
    subject = subject_named(image)
    entries = tuple(one for one in read.in_force(now.date()) if one.scope.covers(subject))
    doubt = tag_doubt(image, find_registry()) if any(one.scope.tag for one in entries) else None
    if doubt is not None:
        entries = tuple(one for one in entries if not one.scope.tag)
    exported, change = other.write(Export(entries, subject, now, author))
    notes = [Note("exported", f"{len(exported.entries)} of {len(entries)} exemptions")]
    notes += [Note("exported-form", other.caution)] if exported.entries else []
    notes += [doubt] if doubt is not None else []
    notes += [Note("exemption-skipped", text) for text in exported.skipped]
    notes += [Note("exemption-ignored", problem.text) for problem in read.problems]
    return change, tuple(notes)
