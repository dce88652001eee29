# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a ledger: what refuses a change of it, and what its keepers should know."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

from imgsec.domain.exemption import Exemption, ExemptionScope, Ledger
from imgsec.domain.hosts import other_icr_host
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
_WORD = re.compile(r"[A-Za-z0-9._:/@${}-]+")
_VARIABLE = re.compile(r"[${}]")
_PAGES = frozenset(("http", "https", "git", "ssh", "file", "ftp"))
_CODE_HOSTS = frozenset(("github.com", "gitlab.com", "bitbucket.org"))  # registries are elsewhere
_PARTS_MAX = 32  # ours; no image has as many
_SOURCE_FILE = re.compile(r"(?:.*[._-])?(?:docker|container)file(?:[._-].*)?", re.IGNORECASE)


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
    def images(self) -> Iterator[NamedImage]:
        """What it may bring into use; a manifest can have a tag on one line, and its name above."""
        yield from images_in(self.added)
        if any(_VERSION.match(line) for line in self.added):
            yield from images_in(self.around)


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image that a line names. host: empty where it does not say one, or by a variable."""

    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}" if self.host else self.path


@dataclass(frozen=True, slots=True)
class LedgerChange:
    """What happened to the repository of a ledger since an earlier revision.

    before: the ledger then. places: in every other file. sources: changed files that images are
    built from. is_alone: no other file changed at all.
    """

    before: Ledger
    places: tuple[ChangedPlace, ...] = ()
    sources: tuple[str, ...] = ()
    is_alone: bool = False


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
        if change.is_alone:
            text = "no other file changed in the commits since; what is not committed is not seen"
            notes.append(Note("nothing-beside", text))
    return because(*reasons, notes=notes) if reasons else passed(*notes)


def _flaws(entry: Exemption, name: str, rules: ReviewRules) -> Iterator[Reason]:
    if not entry.holds_on(rules.today):
        text = f"{name}, taken by {entry.owner}, ended on {entry.expires}"
        yield EXEMPTION_EXPIRED(text, hint="Remove it, or have somebody take the risk anew.")
    elif entry.expires > rules.today + rules.longest:
        text = f"{name} ends on {entry.expires}, in more than {rules.longest.days} days"
        yield EXEMPTION_TOO_WIDE(text)
    if entry.created is not None and entry.created > min(rules.today, entry.expires):
        when = "its own end" if entry.created > entry.expires else "today"
        yield EXEMPTION_INVALID(
            f"{name} was created on {entry.created}, after {when}", hint="Correct its dates."
        )
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
    named = _Named(image for place in change.places for image in place.images)
    for number, entry in zip(ledger.numbers, ledger.entries, strict=True):
        earlier = before.get(entry.about)
        if earlier is not None and earlier.expires >= entry.expires:
            continue
        what = "is new" if earlier is None else "holds longer than before"
        freed = named.freed_by(entry.scope)
        beside = str(freed) if freed else next(iter(change.sources), None)
        if beside is not None:
            yield EXEMPTION_WITH_IMAGE(
                f"entry {number} ({entry.issue}) {what}, and {beside} changed with it"
            )


class _Named:
    """The images that a change names, to be asked for many scopes."""

    def __init__(self, images: Iterable[NamedImage]) -> None:
        self._by_path: dict[str, list[NamedImage]] = {}
        for image in dict.fromkeys(images):
            for key in {image.path, image.path.partition("/")[0], ""}:
                self._by_path.setdefault(key, []).append(image)

    def freed_by(self, scope: ExemptionScope) -> NamedImage | None:
        """One in the scope, whatever its tag is: manifests keep that apart from the name."""
        hosts = (scope.registry, other_icr_host(scope.registry)) if scope.registry else ()
        for image in self._by_path.get(scope.path, ()):
            is_there = not hosts or not image.host or image.host in hosts
            if is_there and (scope.kind != "account" or image.host):
                return image
        return None


def builds_an_image(name: str) -> bool:
    """Whether images are built from a file of this name.

    >>> names = "a/Dockerfile", "Dockerfile.prod", "Dockerfile-prod", "app.Containerfile"
    >>> all(builds_an_image(name) for name in names)
    True
    """
    return _SOURCE_FILE.fullmatch(name.rpartition("/")[2]) is not None


def images_in(lines: Iterable[str]) -> Iterator[NamedImage]:
    """The images that lines of any file name, or may name.

    >>> [str(one) for one in images_in(["  image: us.icr.io/team/app:1.1 # new"])]
    ['us.icr.io/team/app']
    >>> [str(one) for one in images_in(["docker push $REGISTRY/team/app:$TAG"])]
    ['team/app', 'app']
    """
    for line in lines:
        for word in _WORD.findall(line):
            if "/" in word:
                yield from _named(word.rstrip(".:-/"))


def _named(word: str) -> Iterator[NamedImage]:
    scheme, colons, rest = word.rpartition("://")
    if scheme.lower() in _PAGES:
        return
    name = (rest if colons else word).partition("@")[0]
    head, colon, tag = name.rpartition(":")
    host, *path = parts = (head if colon and "/" not in tag else name).split("/")
    if len(parts) > _PARTS_MAX:
        return
    if (image := _hosted(host, path)) is not None:
        if image.host not in _CODE_HOSTS:
            yield image
        return
    for start in range(len(parts)):  # what a variable holds, nobody knows
        if start == 0 or _VARIABLE.search("/".join(parts[:start])):
            found = _hosted("any.host", parts[start:])
            if found is not None and (start or len(parts) > 1):
                yield replace(found, host="")


def _hosted(host: str, path: list[str]) -> NamedImage | None:
    try:
        image = ImageReference.parse(f"{host}/{'/'.join(path)}")
    except ImgsecError:
        return None
    return NamedImage(image.registry, image.repository)
