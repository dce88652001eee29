# SPDX-License-Identifier: Apache-2.0
"""Which images the names of rules stand for: samples of them, and what two names have in common.

Names are read as the newest engine does it (`imgsec.domain.wildcard`), unless another is told.
"""

from __future__ import annotations

import string
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from imgsec.domain.engine_name import EngineName, Panic
from imgsec.domain.engines import NEWEST, Engine
from imgsec.domain.reference import Digest, shown
from imgsec.domain.wildcard import compare, is_met
from imgsec.errors import ImgsecError
from imgsec.reasons import INVALID_PATTERN

SAMPLE_DIGEST = Digest("sha256", "5a" * 32)
_ENDS = ("", ":*", "@*")
_FILLERS = ("any", "any/deeper")
_DIGEST_MARK, _HEX_DIGITS = "@sha256:", frozenset("0123456789abcdef")
_JOINTS = (".", "-", "_")  # no part of a name begins or ends with one
_INNER = ("/", ":", "@")  # no name ends in one, or has two of them together
_PLAIN = string.ascii_lowercase + string.digits
_SIGNS = f"{_PLAIN}{string.ascii_uppercase}._-/:@[]"  # no others are in an image's name
_WORK_MAX = 50_000  # ours, places looked at; names with a star or two take some hundreds
Places = frozenset[tuple[int, int]]


def covers(wider: str, narrower: str) -> bool:
    """Whether each image that meets one name meets the other, too.

    >>> covers("icr.io/ns/*", "icr.io/ns/app"), covers("icr.io/ns/app", "icr.io/ns/*")
    (True, False)
    """
    host, slash, rest = wider.partition("/")
    if not slash:
        return all(any(compare(wider + end, narrower + own) for end in _ENDS) for own in _ENDS)
    narrow_host, slash, narrow_rest = narrower.partition("/")
    if not slash or not compare(host, narrow_host):
        return False
    return all(any(compare(rest + end, narrow_rest + own) for end in _ENDS) for own in _ENDS)


@dataclass(frozen=True, slots=True)
class Read:
    """A rule's name as one engine reads it. is_bare: it stands for its own text alone."""

    name: str
    engine: Engine = NEWEST
    is_bare: bool = False

    @property
    def forms(self) -> tuple[str, ...]:
        """Itself, and with what may follow it."""
        if self.is_bare:
            return (self.name,)
        return tuple(f"{self.name}{end}" for end in _ENDS[: 3 if self.engine.covers_digests else 2])

    def is_met(self, image: str) -> bool:
        return image == self.name if self.is_bare else is_met(self.name, image, self.engine)


@dataclass(slots=True)
class Effort:
    """left: places that several searches may still look at together."""

    left: int


def image_of(
    wanted: Sequence[Read], unwanted: Sequence[Read] = (), effort: Effort | None = None
) -> str | None:
    """An image's text that meets all of these names and none of those, each read by its engine.

    effort: what it may take, if that is less than one search may anyway; what it took is taken off.

    Raises `ImgsecError` (invalid-pattern) for names with so many stars that it takes too long, and
    where all that was found is no image's name to the engines.

    >>> image_of([Read("icr.io/*/app"), Read("icr.io/team/*")], [Read("icr.io/team/app")])
    'icr.io/team/a/app'
    >>> from imgsec.domain.engines import Engine
    >>> older = Engine.parse("0.14.1")
    >>> image_of([Read("*.icr.io/ns/*", older)], [Read("*.icr.io/ns/*")])
    'a/a.icr.io/ns/a'
    """
    if len(wanted) > 1 and not may_share(wanted[0], wanted[1]):
        return None
    names = (form for one in (*wanted, *unwanted) for form in one.forms)
    used = {letter for form in names for letter in form} | set(_DIGEST_MARK)
    strange = next((letter for letter in _PLAIN if letter not in used), "a")
    letters = [one for one in _SIGNS if one in used or one == strange]
    effort = effort or Effort(_WORK_MAX)
    search = _Search(wanted, unwanted, letters, min(effort.left, _WORK_MAX))
    try:
        return search.first()
    finally:
        effort.left -= search.work


def is_name(text: str) -> bool:
    """Whether engines take it for an image's name.

    >>> is_name("nginx"), is_name("a:b:c")
    (True, False)
    """
    try:
        EngineName.parse(text)
    except (ValueError, Panic):
        return False
    return True


def may_share(one: Read, other: Read) -> bool:
    """Whether two names could be met by one image; cheap, and never wrongly False."""
    host, slash, rest = one.name.partition("/")
    other_host, other_slash, other_rest = other.name.partition("/")
    if not _may_end_alike(_end_of(one.name), _end_of(other.name)):
        return False
    if not (slash and other_slash and one.engine.splits_hosts and other.engine.splits_hosts):
        return _may_begin_alike(one.name, other.name)
    ends = _end_of(host), _end_of(other_host)
    may_hosts_end_alike = ends[0].endswith(ends[1]) or ends[1].endswith(ends[0])
    return (
        may_hosts_end_alike
        and _may_begin_alike(rest, other_rest)
        and _may_begin_alike(host, other_host)
    )


class _Search:
    """For the shortest text of these letters that meets some names and not others."""

    def __init__(
        self, wanted: Sequence[Read], unwanted: Sequence[Read], letters: Sequence[str], most: int
    ) -> None:
        self._wanted, self._unwanted, self._letters = wanted, unwanted, letters
        self._most, self.work = most, 0

    def first(self) -> str | None:
        """It; None if there is none. Raises `ImgsecError` (invalid-pattern)."""
        readers = [_Reader(one) for one in (*self._wanted, *self._unwanted)]
        count = len(self._wanted)
        start = tuple(reader.start for reader in readers), _Form()
        seen = {start}
        queue = deque([(start, "")])
        refused = ""
        while queue:
            (places, form), text = queue.popleft()
            ends = [reader.is_at_end(place) for reader, place in zip(readers, places, strict=True)]
            if all(ends[:count]) and not any(ends[count:]) and not (form.is_open or form.is_loose):
                whole = _with_whole_digest(text)
                if self._is_meant(whole):
                    if is_name(whole):
                        return whole
                    refused = whole
            for letter in self._letters:
                formed = form.read(letter)
                if formed is None:
                    continue
                after = tuple(
                    reader.read(place, letter)
                    for reader, place in zip(readers, places, strict=True)
                )
                if all(after[:count]) and (after, formed) not in seen:
                    seen.add((after, formed))
                    queue.append(((after, formed), text + letter))
            self.work += sum(map(len, places))
            if self.work > self._most:
                raise self._failure("too many stars to be compared")
        if refused:
            raise self._failure(f"{shown(refused)} is no image's name")
        return None

    def _is_meant(self, text: str) -> bool:
        return all(one.is_met(text) for one in self._wanted) and not any(
            one.is_met(text) for one in self._unwanted
        )

    def _failure(self, why: str) -> ImgsecError:
        names = " and ".join(shown(one.name) for one in self._wanted)
        return ImgsecError(INVALID_PATTERN(f"{names}: {why}"))


@dataclass(frozen=True, slots=True)
class _Form:
    """How far a text is an image's name. is_open: a part begins here; is_loose: it cannot end here.

    has_colon: before any slash, so that a port or, without a host, a tag follows; is_number: it
    could be a port. digest_chars: how many there are of a digest.
    """

    is_open: bool = True
    is_loose: bool = False
    has_host: bool = False
    has_tag: bool = False
    has_colon: bool = False
    is_number: bool = True
    digest_chars: int = 0

    def read(self, letter: str) -> _Form | None:
        """With one more letter; None for what is no name any more."""
        if self.digest_chars or (letter == "@" and not (self.is_open or self.is_loose)):
            return self._read_digest(letter)
        if letter in _INNER:
            return None if self.is_open or self.is_loose else self._read_mark(letter)
        is_number = self.is_number and (letter.isdigit() or not self.has_colon)
        if letter in _JOINTS:
            in_path = not (self.has_tag or self.has_colon)
            return None if self.is_open else replace(self, is_loose=in_path, is_number=is_number)
        if letter.isupper() and self.has_host and not self.has_tag:
            return None
        return replace(self, is_open=False, is_loose=False, is_number=is_number)

    def _read_mark(self, letter: str) -> _Form | None:
        if self.has_tag or (letter == ":" and self.has_colon):
            return None
        if letter == "/":
            return _Form(has_host=True) if self.is_number else None
        return _Form(has_host=self.has_host, has_tag=self.has_host, has_colon=not self.has_host)

    def _read_digest(self, letter: str) -> _Form | None:
        at = self.digest_chars
        is_mark = at < len(_DIGEST_MARK)
        if letter != _DIGEST_MARK[at] if is_mark else letter not in _HEX_DIGITS:
            return None
        if at == len(_DIGEST_MARK) + len(SAMPLE_DIGEST.hex):
            return None
        return replace(self, is_open=is_mark, digest_chars=at + 1)


def _with_whole_digest(text: str) -> str:
    """Where it has the beginning of a digest, with the rest of one."""
    name, mark, digest = text.partition(_DIGEST_MARK)
    return f"{name}{mark}{digest.ljust(len(SAMPLE_DIGEST.hex), 'a')}" if mark else text


class _Reader:
    """Reads a text letter by letter, at all places of a name at once where it may be by then.

    The name stands for itself and for its tags and digests. A star in its host does not take a
    slash where the engine compares hosts by themselves.
    """

    def __init__(self, named: Read) -> None:
        self._forms = named.forms
        self._host_chars = named.name.find("/") if named.engine.splits_hosts else -1
        self.start = self._settled((form, 0) for form in range(len(self._forms)))

    def read(self, places: Places, letter: str) -> Places:
        """Where it may be after one more letter; nowhere for a text that does not meet the name."""
        found = []
        for form, at in places:
            expected = self._forms[form][at : at + 1]
            if expected == letter:
                found.append((form, at + 1))
            elif expected == "*" and not (letter == "/" and at < self._host_chars):
                found.append((form, at))
        return self._settled(found)

    def is_at_end(self, places: Places) -> bool:
        return any(at == len(self._forms[form]) for form, at in places)

    def _settled(self, places: Iterable[tuple[int, int]]) -> Places:
        """With the places behind stars that stand for nothing."""
        found = set()
        for form, at in places:
            found.add((form, at))
            behind = at
            while self._forms[form][behind : behind + 1] == "*":
                behind += 1
                found.add((form, behind))
        return frozenset(found)


def _may_begin_alike(one: str, other: str) -> bool:
    first, other_first = one.partition("*")[0], other.partition("*")[0]
    shorter = min(len(first), len(other_first))
    return first[:shorter] == other_first[:shorter]


def _end_of(name: str) -> str:
    return name.rpartition("*")[2]


def _may_end_alike(one: str, other: str) -> bool:
    """By what two names have behind their last star, with a tag or digest behind that or without.

    Neither has a slash in it, so that where both ends have one, an image's last part is that of
    both: the same, or of one the other with its tag or digest.
    """
    above, slash, last = one.rpartition("/")
    other_above, other_slash, other_last = other.rpartition("/")
    if not (slash and other_slash):
        return True
    if not (above.endswith(other_above) or other_above.endswith(above)):
        return False
    shorter, longer = sorted((last, other_last), key=len)
    return shorter == longer or longer.startswith((f"{shorter}:", f"{shorter}@"))


def samples_of(name: str) -> tuple[str, ...]:
    """Images that meet a name: by tag, by digest, by both and by neither, in two depths.

    >>> samples_of("icr.io/ns/*")[0]
    'icr.io/ns/any:1.0'
    """
    found: list[str] = []
    for filler in _FILLERS if name else ():
        filled = _filled(name, filler)
        if "@" in filled:
            ends: tuple[str, ...] = ("",)
        elif ":" in filled.rpartition("/")[2]:
            ends = ("", f"@{SAMPLE_DIGEST}")
        else:
            ends = (":1.0", f"@{SAMPLE_DIGEST}", f":1.0@{SAMPLE_DIGEST}", "")
        found += [filled + end for end in ends]
    return tuple(one for one in dict.fromkeys(found) if is_met(name, one, NEWEST))


def _filled(name: str, filler: str) -> str:
    """The name with something likely for each star."""
    if name.endswith("@*"):
        name = f"{name[:-1]}{SAMPLE_DIGEST}"
    host, slash, path = name.partition("/")
    if not slash:
        return f"registry.example.com/{filler}" if host == "*" else host.replace("*", filler)
    host_name, colon, port = host.partition(":")
    host = host_name.replace("*", "us") + colon + port.replace("*", "5000")
    repository, colon, tag = path.partition(":")
    tag = "1.0" if tag == "*" else tag.replace("*", "1")
    if repository.endswith("*") and not repository.endswith("/*") and repository != "*":
        repository = repository[:-1]  # as alpine* means alpine, above all
    return f"{host}/{repository.replace('*', filler)}{colon}{tag}"


def foreign_twin(name: str) -> str | None:
    """An image of a stranger's registry that engines before 0.14.2 take for one of the name's.

    >>> foreign_twin("*.icr.io/ns/*")
    'evil.example/us.icr.io/ns/any:1.0'
    """
    host, slash, _ = name.partition("/")
    if not slash or not host.startswith("*"):
        return None
    sample = next(iter(samples_of(name)), None)
    return None if sample is None else f"evil.example/{sample}"
