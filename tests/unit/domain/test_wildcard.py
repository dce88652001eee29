# SPDX-License-Identifier: Apache-2.0
"""How a rule's name is compared with an image's text: every row that was tried at the engines."""

from __future__ import annotations

import pytest

from imgsec.domain.engines import ENGINES, Engine
from imgsec.domain.wildcard import compare, is_met, literals_of, weight_of

D = "@sha256:" + "0" * 64
# Rule, image's text, and whether it is met: up to 0.14.1, by 0.14.2, from 0.14.3 on.
ROWS = [
    ("icr.io/ns/app", "icr.io/ns/app", True, True, True),
    ("icr.io/ns/app", "icr.io/ns/app:1", True, True, True),
    ("icr.io/ns/app", f"icr.io/ns/app{D}", False, False, True),
    ("icr.io/ns/app", f"icr.io/ns/app:1{D}", True, True, True),
    ("icr.io/ns/app:1", f"icr.io/ns/app:1{D}", False, False, True),
    ("icr.io/ns/app:*", f"icr.io/ns/app{D}", False, False, False),
    ("icr.io/ns/app@*", f"icr.io/ns/app{D}", True, True, True),
    ("icr.io/ns/app*", "icr.io/ns/application/evil:1", True, True, True),
    ("icr.io/*/app", "icr.io/a/b/c/app:1", True, True, True),
    ("*.icr.io/ns/*", "evil.com/x.icr.io/ns/y", True, False, False),
    ("*.icr.io/ns/*", "us.icr.io/ns/y", True, True, True),
    ("*icr.io*", "evil.com/icr.io/app", True, True, True),
    ("*icr.io/*", "evil.com/icr.io/app", True, False, False),
    ("*icr.io/*", "xicr.io/app", True, True, True),
    ("*.icr.io/ns/*", "icr.io/ns/app", False, False, False),
    ("docker.io/library/nginx", "nginx", False, False, False),
    ("docker.io/*", "nginx", False, False, False),
    ("*/nginx", "nginx", False, False, False),
    ("nginx", "nginx:1", True, True, True),
    ("nginx", f"nginx{D}", False, False, True),
    ("nginx", "docker.io/library/nginx", False, False, False),
    ("reg.example.com/ns/app", "reg.example.com:5000/ns/app", False, False, False),
    ("reg.example.com:*/ns/app", "reg.example.com:5000/ns/app", True, True, True),
    ("https://icr.io/ns/*", "icr.io/ns/app", False, False, False),
    (" icr.io/ns/*", "icr.io/ns/app", False, False, False),
    ("icr.io/ns/", "icr.io/ns/app", False, False, False),
    # A host alone has no slash, so its star and its `:*` reach into the path.
    ("icr.io", "icr.io:5000/ns/app", True, True, True),
    ("icr.io", "icr.io/ns/app", False, False, False),
    ("icr.io*", "icr.io.evil.com/app", True, True, True),
    # With a slash the host is the host: a port is no tag of it.
    ("icr.io/ns/app", "icr.io:443/ns/app", False, False, False),
    ("*/ns/app", "icr.io:443/ns/app", True, True, True),
    ("*/ns/app", "icr.io/more/ns/app", True, False, False),
    # Spoofed hosts, as those that 0.14.2 was made for.
    (
        "registry*.bluemix.net/armada/*",
        "registry.evil.com/x.bluemix.net/armada/y",
        True,
        False,
        False,
    ),
    ("registry*.bluemix.net/armada/*", "registry.ng.bluemix.net/armada/y", True, True, True),
    ("*.example.com/*", "evil.com/a.example.com/b", True, False, False),
    ("*.example.com/*", "evil.com:443/.example.com/b", True, False, False),
    # Letters, blanks and signs are what they are.
    ("icr.io/NS/app", "icr.io/ns/app", False, False, False),
    ("icr.io/ns/ap?", "icr.io/ns/app", False, False, False),
    ("icr.io/ns/[a]pp", "icr.io/ns/app", False, False, False),
    ("icr.io/ns/app", " icr.io/ns/app", False, False, False),
    ("icr.io/ns/app", "icr.io/ns/app ", False, False, False),
    # Empty names.
    ("", "", True, True, True),
    ("", "nginx", False, False, False),
    ("", ":1", True, True, True),
    ("", "@sha256:0", False, False, True),
    ("/", "icr.io/ns", False, False, False),
    ("*", "", True, True, True),
    ("*", "anything/at:all", True, True, True),
    ("*/*", "nginx", False, False, False),
    ("*/*", "a/b", True, True, True),
    ("**", "nginx", True, True, True),
]
_COLUMNS = {"cise": 2, "0.13.38": 2, "0.14.1": 2, "0.14.2": 3, "0.14.3": 4}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]!r}-{row[1][:40]!r}")
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_name_is_met_as_by_the_engine(
    engine: Engine, row: tuple[str, str, bool, bool, bool]
) -> None:
    assert is_met(row[0], row[1], engine) is row[_COLUMNS[engine.name]]


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("*", "a/b:c@d", True),
        ("a*a", "a", False),  # no sign counts for two pieces
        ("a*a", "aa", True),
        ("ab*ba", "aba", False),
        ("*ab*ab*", "abab", True),
        ("*ab*ab*", "aba", False),
        ("a*b*c", "abc", True),
        ("a*b*c", "acb", False),
        ("*b", "abb", True),  # the last piece is looked for at the end
        ("*ab", "abab", True),
        ("a*bc*bc", "abcbc", True),
        ("a*bc*bc", "abc", False),
        ("a\n*", "a\nb", True),
        ("é*", "éa", True),
        ("e*", "é", False),
    ],
)
def test_pattern_is_compared_piece_by_piece(pattern: str, text: str, expected: bool) -> None:
    assert compare(pattern, text) is expected


@pytest.mark.parametrize(
    ("pattern", "weight"),
    [
        ("", 0),
        ("*", 0),
        ("***", 0),
        ("*:prod", 5),
        ("icr.io/ns/*", 10),
        ("icr.io/ns/app", 13),
        ("icr.io/ns/app*", 13),
        ("icr.io/ns/app:*", 14),
        ("é", 2),  # bytes, as Go counts
        ("\ud800", 3),
    ],
)
def test_weight_is_bytes_without_stars(pattern: str, weight: int) -> None:
    assert weight_of(pattern) == weight


def test_literals_are_the_pieces_between_stars() -> None:
    assert literals_of("*.icr.io/**/app:*") == (".icr.io/", "/app:")
    assert literals_of("*") == ()


class Watched(str):
    """A text that keeps where it was searched, from where on, and how far."""

    __slots__ = ("searches",)

    def __new__(cls, text: str) -> Watched:
        made = super().__new__(cls, text)
        made.searches = []
        return made

    def find(self, piece: str, at: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        found = super().find(piece, at, end)
        self.searches.append((at, len(self) if found < 0 else found + len(piece)))
        return found


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("a*" * 50_000 + "b", "a" * 100_000),
        ("*a" * 50_000 + "*b", "a" * 100_000),
        ("*" + "ab*" * 30_000 + "c", "ab" * 60_000),
        ("*" * 100_000, "a" * 100_000),
        ("*aa" * 30_000 + "b", "a" * 100_000),
        ("*" + "a" * 50_000 + "b*", "a" * 100_000),
    ],
)
def test_no_part_of_a_text_is_searched_twice(pattern: str, text: str) -> None:
    watched = Watched(text)
    compare(pattern, watched)
    assert len(watched.searches) <= pattern.count("*")
    for (_, end), (start, _) in zip(watched.searches, watched.searches[1:], strict=False):
        assert end == start
    assert sum(end - start for start, end in watched.searches) <= len(text)
