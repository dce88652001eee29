# SPDX-License-Identifier: Apache-2.0
"""A list of images as a table: the columns of ``ibmcloud cr image-list``, or a row for each group.

Nothing is cut where a program may read on. On a terminal that is too narrow the registry's host
goes first, which the last line has, and then the middle of the longest names.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from imgsec.domain.image_list import GroupKind, ImageListing, ListedImage, Standing, counted
from imgsec.render.columns import Row, aligned, column_widths, narrowed, total_width

_SHORT_DIGEST = 12  # hex digits, as other tools show
_NAMES = ("REPOSITORY", "TAG", "NAMESPACE", "MEDIA TYPE")
_UNITS = ("B", "kB", "MB", "GB", "TB")
_LABELS = {
    Standing.NO_ISSUES: "no issues",
    Standing.ISSUES: "with issues",
    Standing.SCANNING: "scanning",
    Standing.UNSUPPORTED: "unsupported",
    Standing.NOT_ASSESSED: "not assessed",
    Standing.UNKNOWN: "unknown",
    Standing.NO_ANSWER: "no answer",
}


def listing_lines(listing: ImageListing, *, verbose: bool, width: int | None) -> Iterator[str]:
    """The table and a line that sums it up."""
    rows = table(listing, verbose=verbose)
    widths = column_widths(rows)
    if width is not None and not listing.whole_digests and total_width(widths) > width:
        host = f"{listing.scope.partition('/')[0]}/"
        rows = [(row[0].removeprefix(host), *row[1:]) for row in rows]
        widths = narrowed(rows[0], column_widths(rows), _NAMES, width)
    yield from aligned(rows, widths, cuts=True)
    yield summary_line(listing)


def summary_line(listing: ImageListing) -> str:
    """How many images there are, of each status.

    >>> summary_line(ImageListing("us.icr.io", ()))
    'us.icr.io: 0 images'
    """
    counts = counted(listing.rows)
    total = "1 image" if len(listing.rows) == 1 else f"{len(listing.rows)} images"
    return ", ".join(
        [f"{listing.scope}: {total}", *(f"{count} {_LABELS[one]}" for one, count in counts.items())]
    )


def table(listing: ImageListing, *, verbose: bool) -> list[Row]:
    """The head and the rows. verbose: with times."""
    if listing.by is not None:
        return _groups(listing, listing.by)
    head: Row = ("REPOSITORY", "TAG", "DIGEST", "NAMESPACE", "CREATED", "SIZE", "SECURITY STATUS")
    more: Row = ("EXEMPT", "CHECKED", "MEDIA TYPE")
    rows = [head + (more if verbose else ())]
    for row in listing.rows:
        rows.append(_row(row, listing, verbose=verbose) + (_more(row) if verbose else ()))
    return rows


def _row(row: ListedImage, listing: ImageListing, *, verbose: bool) -> Row:
    image, known = row.image, row.known
    digest = "-"
    if image.digest is not None:
        digest = str(image.digest) if listing.whole_digests else image.digest.hex[:_SHORT_DIGEST]
    return (
        image.name,
        image.tag or "-",
        digest,
        row.namespace,
        _when(known.created, with_time=verbose),
        "-" if known.size is None else size_text(known.size),
        row.status.words,
    )


def _more(row: ListedImage) -> Row:
    summary = row.status.summary
    return (
        str(summary.exempt) if summary else "-",
        _when(summary.checked_at if summary else None, with_time=True),
        row.known.media_type or "-",
    )


def _groups(listing: ImageListing, by: GroupKind) -> list[Row]:
    others = (Standing.UNKNOWN, Standing.NO_ANSWER)
    shown = [
        one
        for one in Standing
        if one not in others or any(group.counts.get(one) for group in listing.groups)
    ]
    rows: list[Row] = [
        (by.upper(), "IMAGES", *(_LABELS[one].upper() for one in shown), "POLICY STATUS")
    ]
    for group in listing.groups:
        counts = (str(group.counts.get(one, 0)) for one in shown)
        rows.append((group.name, str(group.total), *counts, str(group.policy)))
    return rows


def size_text(size: int) -> str:
    """Bytes in the largest unit that they fill, in two or three digits.

    >>> size_text(999), size_text(48_210_331), size_text(1_500_000_000)
    ('999 B', '48 MB', '1.5 GB')
    """
    number = float(size)
    for unit in _UNITS:
        if number < 999.5 or unit == _UNITS[-1]:
            break
        number /= 1000
    digits = 1 if number < 9.95 and number != int(number) else 0
    return f"{number:.{digits}f} {unit}"


def _when(moment: datetime | None, *, with_time: bool) -> str:
    if moment is None:
        return "-"
    return f"{moment:%Y-%m-%d %H:%M}" if with_time else f"{moment:%Y-%m-%d}"
