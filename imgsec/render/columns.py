# SPDX-License-Identifier: Apache-2.0
"""Rows of cells as lines whose columns stand below each other, in the room that there is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

GAP = 2
CUT_MIN = 8  # characters that are left of a name
Row = tuple[str, ...]


def column_widths(rows: Iterable[Row], *, most: int | None = None) -> list[int]:
    """What each column needs. most: not more than that, however long a cell is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return widths if most is None else [min(most, width) for width in widths]


def total_width(widths: Sequence[int]) -> int:
    """Of a whole line, with the gaps.

    >>> total_width([3, 4])
    9
    """
    return sum(widths) + GAP * (len(widths) - 1)


def narrowed(
    head: Row, widths: Sequence[int], names: Collection[str], room: int, *, least: int = CUT_MIN
) -> list[int]:
    """The same, with these columns narrower until a line fits, or they have no more than least."""
    fitting = list(widths)
    columns = [column for column, title in enumerate(head) if title in names]
    while columns and total_width(fitting) > room:
        widest = max(columns, key=fitting.__getitem__)
        if fitting[widest] <= max(least, len(head[widest])):
            break
        fitting[widest] -= 1
    return fitting


def aligned(rows: Iterable[Row], widths: Sequence[int], *, cuts: bool) -> Iterator[str]:
    """The lines. cuts: a cell that is longer than its column loses its middle; else it sticks out.

    >>> list(aligned([("a", "b"), ("long", "c")], [2, 1], cuts=False))
    ['a   b', 'long  c']
    """
    for row in rows:
        cells = zip(row, widths, strict=True)
        line = (f"{middle_cut(cell, room) if cuts else cell:{room}}" for cell, room in cells)
        yield (" " * GAP).join(line).rstrip()


def middle_cut(text: str, room: int) -> str:
    """Its two ends: where names are long, they begin alike.

    >>> middle_cut("us.icr.io/team/application", 16)
    'us.icr..lication'
    """
    if len(text) <= room:
        return text
    end = (room - 1) // 2 + 1
    return f"{text[: room - end - 2]}..{text[-end:]}"
