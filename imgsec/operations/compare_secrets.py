# SPDX-License-Identifier: Apache-2.0
"""Whether the Secrets that rules name hold the same before and after, as far as both tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from imgsec.domain.named_secrets import NamedSecret, secrets_of
from imgsec.domain.policy_diff import Meaning
from imgsec.domain.reference import shown
from imgsec.domain.resolution import Pools
from imgsec.errors import ImgsecError
from imgsec.ports import AdmissionState
from imgsec.reasons import PERMISSION_DENIED


class _Known(StrEnum):
    """What is known of a Secret on both sides."""

    SAME = "same"
    OTHER = "other"
    ONE_SIDED = "one-sided"
    UNREAD = "unread"


@dataclass(frozen=True, slots=True)
class SecretChange:
    """A Secret that rules name on both sides. is_read: else nobody may look whether it differs."""

    namespace: str
    name: str
    is_read: bool = True

    def __str__(self) -> str:
        where = shown(f"{self.namespace}/{self.name}")
        if not self.is_read:
            return f"whether the Secret {where} holds the same before and after is not known"
        return f"the Secret {where}, which rules name, holds something else"


class SecretComparison:
    """before, after: what holds the Secrets."""

    def __init__(self, before: AdmissionState, after: AdmissionState) -> None:
        self._before, self._after = before, after

    def changes(
        self, before: Pools, after: Pools, images: Sequence[str], namespaces: Iterable[str]
    ) -> tuple[SecretChange, ...]:
        """Those that rules name on both sides and both sides tell of; images: none for all."""
        found: dict[SecretChange, None] = {}
        for namespace in namespaces:
            old, new = (_named(one, images, namespace) for one in (before, after))
            for one in sorted(old & new, key=repr):
                others = [] if one.namespace else self._places(one.name)
                own = before.own.keys() & after.own.keys()  # no rule of the whole cluster there
                for place in (one.namespace, *(other for other in others if other not in own)):
                    change = self._change(NamedSecret(place, one.name, one.read))
                    if change is not None:
                        found.setdefault(change)
        return tuple(found)

    def is_alike(self, meanings: Iterable[Meaning]) -> bool:
        """Whether the Secrets that these name are known to hold the same on both sides."""
        return all(
            self._compare(one) is _Known.SAME
            for meaning in meanings
            for one in secrets_of(meaning.effect, meaning.namespace)
        )

    def _places(self, name: str) -> list[str]:
        return sorted({*self._before.told_places(name), *self._after.told_places(name)})

    def _change(self, secret: NamedSecret) -> SecretChange | None:
        known = self._compare(secret) if secret.namespace else _Known.ONE_SIDED
        if known not in (_Known.OTHER, _Known.UNREAD):
            return None
        return SecretChange(secret.namespace, secret.name, known is _Known.OTHER)

    def _compare(self, secret: NamedSecret) -> _Known:
        found, is_unread = [], False
        for side in (self._before, self._after):
            try:
                found.append(side.find_secret(secret.namespace, secret.name))
            except ImgsecError as error:
                if error.reason.code != PERMISSION_DENIED.code:
                    raise
                is_unread = True
        held = [secret.content_of(one) for one in found if one is not None]
        if len(held) < len(found):
            return _Known.ONE_SIDED if held or is_unread else _Known.SAME
        if is_unread:
            return _Known.UNREAD
        return _Known.SAME if held[0] == held[1] else _Known.OTHER


def _named(pools: Pools, images: Sequence[str], namespace: str) -> set[NamedSecret]:
    pool = pools.of_namespace(namespace)
    rules = [pool.resolve(one).rule for one in images] if images else pool.rules
    effects = (Meaning(rule, namespace).effect for rule in rules)
    return {one for effect in effects for one in secrets_of(effect, namespace)}
