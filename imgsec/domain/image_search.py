# SPDX-License-Identifier: Apache-2.0
"""Searches for images of names, bounded together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imgsec.domain.pattern_sets import Effort, Read, image_of
from imgsec.errors import ImgsecError


class ImageSearch:
    """pairs, searches, places: the most rules to look at two by two, images to look for, and places
    of names that these look at. left_out: whether there was more to compare than that.
    """

    def __init__(self, *, pairs: int, searches: int, places: int) -> None:
        self.left_out = False
        self._pairs, self._searches, self._effort = pairs, searches, Effort(places)

    def takes_pair(self) -> bool:
        """Whether two more rules may be looked at."""
        if self._pairs == 0:
            self.left_out = True
            return False
        self._pairs -= 1
        return True

    def images(self, wanted: Sequence[Read], unwanted: Sequence[Read], tries: int) -> Iterator[str]:
        """Images that meet all of the wanted and none of the unwanted names, to which the caller
        adds as each one is found.
        """
        for _ in range(tries):
            if self._searches == 0 or self._effort.left <= 0:
                break
            self._searches -= 1
            try:
                image = image_of(wanted, unwanted, self._effort)
            except ImgsecError:
                break
            if image is None:
                return
            yield image
        self.left_out = True
