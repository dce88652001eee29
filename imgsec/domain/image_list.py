# SPDX-License-Identifier: Apache-2.0
"""A list of images with what the advisor says of each, in short: nothing is judged here.

The words are those of ``ibmcloud cr image-list``. They come from the advisor's status and never
from a registry's counts, by which an image that nobody scanned looks like one without issues.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from imgsec.domain.hosts import public_icr_host
from imgsec.domain.reference import ImageReference, shown
from imgsec.domain.vulnerability import ScanStatus
from imgsec.reasons import Reason

_STATUS_WORD = re.compile(r"[A-Z][A-Z0-9_]{0,39}")  # what the advisor's own words look like


@dataclass(frozen=True, slots=True)
class RegistryImage:
    """An image as the registry lists it: by a tag, or by its digest where it has none.

    created: UTC; it and size, in bytes, are None where the registry does not say.
    """

    image: ImageReference
    created: datetime | None = None
    size: int | None = None
    media_type: str = ""

    @property
    def name(self) -> str:
        """What it is called at the advisor, however it is reached; once in each list."""
        image = self.image
        image = replace(image, registry=public_icr_host(image.registry))
        return image.canonical_name if image.tag is None else image.tagged_name


@dataclass(frozen=True, slots=True)
class ScanSummary:
    """What the advisor says of one image, without the findings.

    issues: those in force, by its own count. exempt: the others. Both 0 for a scan that has not
    finished.
    """

    status: ScanStatus | str
    issues: int = 0
    exempt: int = 0
    checked_at: datetime | None = None

    @property
    def has_none_in_force(self) -> bool:
        """Its status and its counts agree that no issue is in force.

        Whether the first count holds the exempt ones as well is written nowhere: equal is none.
        """
        clean = self.status in (ScanStatus.OK, ScanStatus.WARN)
        return clean and self.issues in (0, self.exempt)


class Standing(StrEnum):
    """What is known of an image; the values are what programs read."""

    NO_ISSUES = "no-issues"
    ISSUES = "issues"
    SCANNING = "scanning"
    UNSUPPORTED = "unsupported"
    NOT_ASSESSED = "not-assessed"
    UNKNOWN = "unknown"  # a status word that nobody knows
    NO_ANSWER = "no-answer"  # an error


@dataclass(frozen=True, slots=True)
class SecurityStatus:
    """What stands in the column. summary: None where the advisor has no record of the image.

    reason: why nobody could be asked.
    """

    summary: ScanSummary | None = None
    reason: Reason | None = None

    @property
    def standing(self) -> Standing:
        if self.reason is not None:
            return Standing.NO_ANSWER
        if self.summary is None:
            return Standing.NOT_ASSESSED
        return _STANDINGS.get(self.summary.status) or _counted(self.summary)

    @property
    def words(self) -> str:
        """The column's words.

        >>> SecurityStatus(ScanSummary(ScanStatus.WARN, 0, 2)).words
        'No Issues (2 exempt)'
        >>> SecurityStatus(ScanSummary(ScanStatus.FAIL, 1)).words
        '1 Issue'
        >>> SecurityStatus(ScanSummary("No Issues")).words
        "'No Issues'"
        """
        fixed = _WORDS.get(self.standing)
        summary = self.summary
        if fixed is not None or summary is None:
            return fixed or ""
        if self.standing is Standing.NO_ISSUES:
            return f"No Issues ({summary.exempt} exempt)" if summary.exempt else "No Issues"
        if self.standing is Standing.ISSUES and summary.issues:
            return "1 Issue" if summary.issues == 1 else f"{summary.issues} Issues"
        word = str(summary.status)
        return word if _STATUS_WORD.fullmatch(word) else shown(word)


_STANDINGS: Mapping[ScanStatus | str, Standing] = {
    ScanStatus.UNSCANNED: Standing.SCANNING,
    ScanStatus.INCOMPLETE: Standing.SCANNING,
    ScanStatus.UNSUPPORTED: Standing.UNSUPPORTED,
}
_WORDS = {
    Standing.SCANNING: "Scanning",
    Standing.UNSUPPORTED: "Unsupported",
    Standing.NOT_ASSESSED: "Not assessed",
    Standing.NO_ANSWER: "No answer",
}


def _counted(summary: ScanSummary) -> Standing:
    """Of a finished scan. One that fails without an issue, or is clean with one, has issues."""
    if not isinstance(summary.status, ScanStatus):
        return Standing.UNKNOWN
    return Standing.NO_ISSUES if summary.has_none_in_force else Standing.ISSUES


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One row."""

    known: RegistryImage
    status: SecurityStatus

    @property
    def image(self) -> ImageReference:
        return self.known.image

    @property
    def namespace(self) -> str:
        return self.image.repository.partition("/")[0]


class GroupKind(StrEnum):
    """What rows can be summed up by."""

    REPOSITORY = "repository"
    NAMESPACE = "namespace"


class PolicyWord(StrEnum):
    """May a group's images be deployed? In the words that the gate ends with."""

    OK = "OK to Deploy"
    NOT_ASSESSED = "Not assessed"
    BLOCKED = "Deployment Blocked"


@dataclass(frozen=True, slots=True)
class ImageGroup:
    """The images of one repository or namespace, counted. name: with the registry's host."""

    name: str
    counts: Mapping[Standing, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def policy(self) -> PolicyWord:
        """The worst of its images' words; of no image, not assessed."""
        if self.counts.get(Standing.ISSUES):
            return PolicyWord.BLOCKED
        clean = self.counts.get(Standing.NO_ISSUES, 0)
        return PolicyWord.OK if 0 < clean == self.total else PolicyWord.NOT_ASSESSED


def counted(rows: Iterable[ListedImage]) -> dict[Standing, int]:
    """How many images there are of each standing that occurs."""
    standings = [row.status.standing for row in rows]
    return {one: standings.count(one) for one in Standing if one in standings}


def groups_of(rows: Iterable[ListedImage], kind: GroupKind) -> tuple[ImageGroup, ...]:
    """The rows summed up, by name."""
    parts: dict[str, list[ListedImage]] = {}
    for row in rows:
        image = row.image
        name = image.name if kind is GroupKind.REPOSITORY else f"{image.registry}/{row.namespace}"
        parts.setdefault(name, []).append(row)
    return tuple(ImageGroup(name, counted(part)) for name, part in sorted(parts.items()))


def in_order(images: Iterable[RegistryImage]) -> tuple[RegistryImage, ...]:
    """Each image once, by repository, then tag; untagged ones behind the tagged.

    Of two with one name the first stays; one without a tag goes where its digest is listed by one.
    """
    once: dict[str, RegistryImage] = {}
    for one in images:
        once.setdefault(one.name, one)
    tagged = {(one.image.name, one.image.digest) for one in once.values() if one.image.tag}
    kept = [
        one
        for one in once.values()
        if one.image.tag or (one.image.name, one.image.digest) not in tagged
    ]
    return tuple(sorted(kept, key=_place))


def _place(one: RegistryImage) -> tuple[str, bool, str]:
    image = one.image
    return image.name, image.tag is None, image.tag or str(image.digest)


@dataclass(frozen=True, slots=True)
class ImageListing:
    """The list, and how it is to be shown.

    scope: as it was asked for. by: summed up instead of listed. whole_digests: nothing is cut.
    """

    scope: str
    rows: tuple[ListedImage, ...]
    by: GroupKind | None = None
    whole_digests: bool = False

    @property
    def groups(self) -> tuple[ImageGroup, ...]:
        return groups_of(self.rows, self.by) if self.by is not None else ()
