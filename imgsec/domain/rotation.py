# SPDX-License-Identifier: Apache-2.0
"""Replacing a signing key: which stage it is at, and what may be done then.

At every moment whatever signs is published: the new key's public half comes first, then signing
moves, and the old public half goes last. The stage is never written down; it is read off the KMS
and off what is published, so that a run that was cut short leaves nothing that is not true.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from imgsec.domain.keys import Fingerprint
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import INVALID_OPTION


class Stage(StrEnum):
    """How far a rotation is, in this order; none before and after."""

    NONE = "none"
    MADE = "made"  # the new key is in the KMS, and not published everywhere
    PUBLISHED = "published"  # both are published; the old one signs
    SWITCHING = "switching"  # the Secret names the new one; the alias is on its way
    SWITCHED = "switched"  # the new one signs; both are published
    RETIRING = "retiring"  # the old one is published no more; its names are being tidied up


_NEXT = {
    Stage.NONE: "no rotation is under way",
    Stage.MADE: "publish the new key: run the command again",
    Stage.PUBLISHED: "let every cluster and node get the new public key, then switch:"
    " --switch now, or a date",
    Stage.SWITCHING: "the alias is on its way, which takes minutes: run the command again",
    Stage.SWITCHED: "sign again what must stay deployable (--resign-from FILE), then retire the"
    " old key: --retire now, or a date",
    Stage.RETIRING: "the old key is published no more: run the command again to finish",
}


@dataclass(frozen=True, slots=True)
class KeySide:
    """One of the two keys of a rotation. key_id: in the KMS. expires: None for no end date."""

    key_id: str
    fingerprint: Fingerprint
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class Rotation:
    """Where the rotation of an alias stands.

    old: None once it is retired; new: None until it is made, and the key that signs where no
    rotation is under way. secrets: where the public halves are published, as ``NAMESPACE/NAME``.
    """

    alias: str
    stage: Stage
    old: KeySide | None
    new: KeySide | None
    secrets: tuple[str, ...] = ()

    @property
    def next_step(self) -> str:
        return _NEXT[self.stage]


def stage_of(
    *,
    old_is_published: bool,
    new_is_published: bool,
    new_is_named: bool,
    alias_has_moved: bool,
    old_is_retired: bool,
) -> Stage:
    """The stage of a rotation whose new key is made, from what can be seen of it.

    new_is_named: by the Secret that tells pipelines which key signs. old_is_published: anywhere;
    new_is_published: everywhere where one of the two is.
    """
    if not new_is_published:
        return Stage.MADE
    if not new_is_named:
        return Stage.PUBLISHED
    if not alias_has_moved:
        return Stage.SWITCHING
    return Stage.SWITCHED if old_is_published and not old_is_retired else Stage.RETIRING


@dataclass(frozen=True, slots=True)
class When:
    """The day from which a stage may be entered: its first moment in UTC. None: now.

    >>> When.parse("2026-12-01", "--switch").is_due(datetime(2026, 11, 30, tzinfo=UTC))
    False
    """

    moment: datetime | None

    @classmethod
    def parse(cls, text: str, option: str) -> When:
        """``now``, or a date as YYYY-MM-DD. Raises `ImgsecError` (invalid-option)."""
        if text == "now":
            return cls(None)
        try:
            if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
                raise ValueError
            return cls(datetime.fromisoformat(text).replace(tzinfo=UTC))
        except ValueError:
            wants = "takes now or a date such as 2027-01-31"
            raise ImgsecError(INVALID_OPTION(f"{option} {wants}, not {shown(text)}")) from None

    def is_due(self, now: datetime) -> bool:
        return self.moment is None or self.moment <= now

    def __str__(self) -> str:
        return "now" if self.moment is None else f"{self.moment:%Y-%m-%d}"
