# SPDX-License-Identifier: Apache-2.0
"""Image texts that show what a rule's name is met by: such as a workload could really have.

What is claimed of a rule is proved by a text that the engine takes for an image's name and that is
resolved as the engine does it; where no such text is found, nothing is claimed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from imgsec.domain.engine_name import EngineName, Panic
from imgsec.domain.engines import Engine
from imgsec.domain.wildcard import is_met

EXAMPLE_DIGEST = "sha256:" + "0123456789abcdef" * 4
_OTHER_DIGEST = "sha256:" + "5a" * 32
_TAGS = ("1.0", "latest", "any", "7.31-rc5")
FOREIGN_HOST = "evil.example"
# Longer than any image's text: a host, a path and a tag or digest at their longest.
PATTERN_MAX_CHARS = 1024
_WHOLE_IMAGE = "registry.example.com/team/app"
_HEX = "0123456789abcdef" * 4
_PORT = re.compile(r":[0-9*]*\Z")
_DIGEST_END = re.compile(r"^[^@]*@sha256:[0-9a-f]{64}\Z")


@lru_cache(maxsize=4096)
def engine_name(text: str) -> EngineName | None:
    """What the engine makes of it; None for what names no image that anybody could pull."""
    try:
        name = EngineName.parse(text)
    except (ValueError, Panic):
        return None
    has_digest = "@sha256:" in text
    return None if has_digest and not _DIGEST_END.search(text) else name


def is_image(text: str, pattern: str, engine: Engine) -> bool:
    """Whether it is an image's name, and meets the pattern."""
    return is_met(pattern, text, engine) and engine_name(text) is not None


def example_of(pattern: str, engine: Engine) -> str | None:
    """An image's text that meets the pattern, with a tag where it may have one.

    >>> from imgsec.domain.engines import NEWEST
    >>> example_of("*.icr.io/ns/*", NEWEST)
    'reg.icr.io/ns/app:1.0'
    """
    return next((text for text in _candidates(pattern) if is_image(text, pattern, engine)), None)


def examples_of(pattern: str, engine: Engine, ending: str = "*") -> tuple[str, ...]:
    """Several, of which rules for single tags or digests hardly have all.

    ending: what they have behind their name, such as ``:*``; by default any of them.

    >>> from imgsec.domain.engines import NEWEST
    >>> examples_of("icr.io/ns/app", NEWEST, ":*")[:2]
    ('icr.io/ns/app:1.0', 'icr.io/ns/app:latest')
    """
    if len(pattern) > PATTERN_MAX_CHARS:
        return ()
    found = []
    for filled in _filled(pattern):
        bare, tag = _cut(filled)
        tags = (tag,) if tag else _TAGS
        for each in tags:
            for digest in (EXAMPLE_DIGEST, _OTHER_DIGEST):
                if ending in ("*", ":*"):
                    found.append(f"{bare}:{each}")
                if ending in ("*", "@sha256:*"):
                    found.append(f"{bare}@{digest}")
                if ending in ("*", ":*@sha256:*"):
                    found.append(f"{bare}:{each}@{digest}")
    return tuple(one for one in dict.fromkeys(found) if is_image(one, pattern, engine))


def _cut(text: str) -> tuple[str, str]:
    """The name and the tag, without a digest."""
    name = text.partition("@")[0]
    if ":" not in name.rpartition("/")[2]:
        return name, ""
    bare, _, tag = name.rpartition(":")
    return bare, tag


def has_tag(text: str) -> bool:
    """Whether an image's or a rule's text has a tag or a digest, or the star of one.

    >>> has_tag("r.example:5000/app"), has_tag("app:*"), has_tag("r.example/app@sha256:*")
    (False, True, True)
    """
    last = text.rpartition("/")[2]
    return ":" in last or "@" in last


def ending_of(text: str) -> str:
    """What an image's text has behind its name: a tag, a digest, or both, with their signs.

    >>> ending_of("r.example:5000/app"), ending_of("app@sha256:00"), ending_of("app:1@sha256:00")
    ('', '@sha256:00', ':1@sha256:00')
    """
    last = text.rpartition("/")[2]
    return last[len(re.split("[:@]", last, maxsplit=1)[0]) :]


def _candidates(pattern: str) -> Iterator[str]:
    if len(pattern) > PATTERN_MAX_CHARS:
        return
    for filled in _filled(pattern):
        if not has_tag(filled):
            yield f"{filled}:1.0"
        yield filled
        yield f"{filled}@{EXAMPLE_DIGEST}"


def _filled(pattern: str) -> Iterator[str]:
    """The pattern with something in place of its stars; the likeliest first."""
    if "*" not in pattern:
        yield pattern
        return
    if pattern.strip("*") == "":
        yield _WHOLE_IMAGE
        return
    pieces = pattern.split("*")
    if "/" not in pattern:
        yield _joined(pieces, _without_slash)
    yield _joined(pieces, _usual)
    yield _joined(pieces, lambda _before, _after: "")
    yield _joined(pieces, lambda _before, _after: "x")


def _joined(pieces: list[str], fill: Callable[[str, str], str]) -> str:
    """The pieces, and between them what their neighbours call for."""
    text = pieces[0]
    for piece in pieces[1:]:
        text += fill(text, piece) + piece
    return text


def _without_slash(before: str, after: str) -> str:
    if not before:
        return _WHOLE_IMAGE if after[:1] in (":", "@") else ""
    return "/team/app" if not after and "." in before else _usual(before, after)


def _usual(before: str, after: str) -> str:
    """What may stand in place of a star, by what is around it."""
    if "/" not in before and (after.startswith((".", "/")) or not before):
        return "5000" if before.endswith(":") else "reg"
    if before.endswith("@"):
        return EXAMPLE_DIGEST
    if before.endswith("@sha256:"):
        return _HEX
    if before.endswith(":"):
        return "1.0"
    return "app" if before.endswith("/") else "x"


def could_overlap(first: str, second: str) -> bool:
    """Whether what two patterns begin and end with goes together; cheap, and never wrongly False.

    >>> could_overlap("*.a.example", "*.b.example"), could_overlap("a*", "*b")
    (False, True)
    """
    if "*" not in first and "*" not in second:
        return first == second
    heads = first.partition("*")[0], second.partition("*")[0]
    ends = first.rpartition("*")[2], second.rpartition("*")[2]
    return (heads[0].startswith(heads[1]) or heads[1].startswith(heads[0])) and (
        ends[0].endswith(ends[1]) or ends[1].endswith(ends[0])
    )


def overlaid(first: str, second: str) -> str | None:
    """A pattern whose texts meet both; None where there is none.

    Takes time by the product of the lengths.

    >>> overlaid("*:prod", "icr.io/ns/*")
    'icr.io/ns/*:prod'
    """
    if not could_overlap(first, second):
        return None
    came: dict[tuple[int, int], tuple[tuple[int, int], str] | None] = {(0, 0): None}
    line = [(0, 0)]
    end = (len(first), len(second))
    for at in line:  # it grows while it is walked
        if at == end:
            return _way(came, end)
        for step, emitted in _steps(first, second, *at):
            if step not in came:
                came[step] = (at, emitted)
                line.append(step)
    return None


def _steps(first: str, second: str, i: int, j: int) -> Iterator[tuple[tuple[int, int], str]]:
    one, other = first[i : i + 1], second[j : j + 1]
    if one == other == "*":
        yield from (((i + 1, j + 1), "*"), ((i + 1, j), "*"), ((i, j + 1), "*"))
    elif one == "*":
        if other:
            yield (i, j + 1), other
        yield (i + 1, j), ""
    elif other == "*":
        if one:
            yield (i + 1, j), one
        yield (i, j + 1), ""
    elif one and one == other:
        yield (i + 1, j + 1), one


def _way(
    came: dict[tuple[int, int], tuple[tuple[int, int], str] | None], at: tuple[int, int]
) -> str:
    parts: list[str] = []
    while (step := came[at]) is not None:
        at, emitted = step
        if not (emitted == "*" and parts and parts[-1] == "*"):
            parts.append(emitted)
    return "".join(reversed(parts))


def first_image(texts: Iterable[str], pattern: str, engine: Engine) -> str | None:
    """The first of these that is an image's name and meets the pattern."""
    return next((text for text in texts if is_image(text, pattern, engine)), None)


@dataclass(frozen=True, slots=True)
class Host:
    """The host of a rule's name, as it is written; None where the name has no slash."""

    text: str | None
    rest: str

    @classmethod
    def of(cls, pattern: str) -> Host:
        host, slash, rest = pattern.partition("/")
        return cls(host, rest) if slash else cls(None, pattern)

    @property
    def port(self) -> str:
        """With its colon, be it a star; empty for none."""
        found = _PORT.search(self.text or "")
        return found[0] if found else ""

    @property
    def is_said(self) -> bool:
        """Whether it names a host, be it with a star, and no folder of Docker Hub."""
        text = self.text
        return text is not None and (
            "*" in text or "." in text or ":" in text or text == "localhost" or text != text.lower()
        )
