# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a ledger: what refuses a change of it, and what its keepers should know."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

from imgsec.domain.exemption import Exemption, Ledger, subject_named
from imgsec.domain.reference import ImageReference
from imgsec.domain.verdict import Note, Verdict, because, passed
from imgsec.errors import ImgsecError
from imgsec.reasons import (
    EXEMPTION_EXPIRED,
    EXEMPTION_INVALID,
    EXEMPTION_TOO_WIDE,
    EXEMPTION_WITH_IMAGE,
    Reason,
)

# As in Kustomize's newTag, a chart's tag and many a script's IMAGE_VERSION.
_VERSION = re.compile(r"[^:=]*(?:tag|digest|version)[\"']?\s*[:=]", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]+")


@dataclass(frozen=True, slots=True)
class ReviewRules:
    """What the keepers of a ledger want. wide: kinds of scopes that nobody may use."""

    today: date
    expiring: timedelta = timedelta(days=14)
    longest: timedelta = timedelta(days=366)
    wide: tuple[str, ...] = ("account", "namespace")


@dataclass(frozen=True, slots=True)
class ChangedPlace:
    """The lines that a place in a file has now and had not before, and those around them."""

    added: tuple[str, ...]
    around: tuple[str, ...] = ()

    @property
    def images(self) -> Iterator[ImageReference]:
        """What it may bring into use; a manifest can have a tag on one line, and its name above."""
        yield from images_in(self.added)
        if any(_VERSION.match(line) for line in self.added):
            yield from images_in(self.around)


@dataclass(frozen=True, slots=True)
class LedgerChange:
    """What happened to the repository of a ledger since an earlier revision.

    before: the ledger then. places: in every other file. sources: changed files that images are
    built from.
    """

    before: Ledger
    places: tuple[ChangedPlace, ...] = ()
    sources: tuple[str, ...] = ()


def review_ledger(
    ledger: Ledger,
    rules: ReviewRules,
    *,
    used: Collection[tuple[str, str]] | None = None,
    change: LedgerChange | None = None,
) -> Verdict:
    """Refused for what exempts nothing or too much; what only deserves a look is a note.

    used: issue and scope of what gates used; None where nobody says. change: None likewise.
    """
    reasons = [EXEMPTION_INVALID(problem.text) for problem in ledger.problems]
    notes: list[Note] = []
    for number, entry in zip(ledger.numbers, ledger.entries, strict=True):
        name = f"entry {number} ({entry.issue})"
        reasons += _flaws(entry, name, rules)
        notes += _remarks(entry, name, rules, used)
    reasons += _repeated(ledger)
    if change is not None:
        reasons += _with_image(ledger, change)
    return because(*reasons, notes=notes) if reasons else passed(*notes)


def _flaws(entry: Exemption, name: str, rules: ReviewRules) -> Iterator[Reason]:
    if not entry.holds_on(rules.today):
        text = f"{name}, taken by {entry.owner}, ended on {entry.expires}"
        yield EXEMPTION_EXPIRED(text, hint="Remove it, or have somebody take the risk anew.")
    elif entry.expires > rules.today + rules.longest:
        text = f"{name} ends on {entry.expires}, in more than {rules.longest.days} days"
        yield EXEMPTION_TOO_WIDE(text)
    if entry.scope.kind in rules.wide:
        where = "the whole account" if entry.scope.kind == "account" else f"all of {entry.scope}"
        yield EXEMPTION_TOO_WIDE(f"{name} holds for {where}")


def _remarks(
    entry: Exemption,
    name: str,
    rules: ReviewRules,
    used: Collection[tuple[str, str]] | None,
) -> Iterator[Note]:
    if entry.holds_on(rules.today) and entry.expires <= rules.today + rules.expiring:
        left = (entry.expires - rules.today).days
        when = {0: "today", 1: "tomorrow"}.get(left, f"in {left} days")
        text = f"{name} ends on {entry.expires}, {when}; ask {entry.owner}"
        yield Note("exemption-expiring", text)
    unused = used is not None and (entry.issue, str(entry.scope)) not in used
    if unused and entry.holds_on(rules.today):
        yield Note("exemption-unused", f"{name} was used by no verdict that was looked at")


def _repeated(ledger: Ledger) -> Iterator[Reason]:
    """Two entries about one thing: a reader sees one end date and the gate another."""
    seen: dict[object, int] = {}
    for number, entry in zip(ledger.numbers, ledger.entries, strict=True):
        first = seen.setdefault(entry.about, number)
        if first != number:
            text = f"entry {number} ({entry.issue}) says again what entry {first} says"
            yield EXEMPTION_INVALID(text, hint="Keep one of them.")


def _with_image(ledger: Ledger, change: LedgerChange) -> Iterator[Reason]:
    """Entries that are new, or hold longer, beside an image that they free."""
    before = {entry.about: entry for entry in reversed(change.before.entries)}
    images = list(dict.fromkeys(image for place in change.places for image in place.images))
    for number, entry in zip(ledger.numbers, ledger.entries, strict=True):
        earlier = before.get(entry.about)
        if earlier is not None and earlier.expires >= entry.expires:
            continue
        what = "is new" if earlier is None else "holds longer than before"
        freed = next((one for one in images if _frees(entry, one)), None)
        beside = str(freed) if freed else next(iter(change.sources), None)
        if beside is not None:
            yield EXEMPTION_WITH_IMAGE(
                f"entry {number} ({entry.issue}) {what}, and {beside} changed with it"
            )


def _frees(entry: Exemption, image: ImageReference) -> bool:
    """Whether the image is in the scope, be it with another tag: manifests split it from names."""
    return replace(entry.scope, tag="", digest=None).covers(subject_named(image))


def images_in(lines: Iterable[str]) -> Iterator[ImageReference]:
    """The image references in lines of any file.

    >>> [str(one) for one in images_in(["  image: us.icr.io/team/app:1.1 # new"])]
    ['us.icr.io/team/app:1.1']
    """
    for line in lines:
        for word in _WORD.findall(line):
            if "/" in word:
                try:
                    yield ImageReference.parse(word.rpartition("://")[2].rstrip(".:-/"))
                except ImgsecError:
                    continue
