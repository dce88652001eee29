# SPDX-License-Identifier: Apache-2.0
"""The Secrets that a rule names, and what an engine reads of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imgsec.domain.demand_effect import SIGNED
from imgsec.domain.kubernetes import Document, secret_value
from imgsec.domain.policy_rules import Demand

_KEY, _STORE, _SIGNER = ("key",), ("username", "password"), ("name", "publicKey")


@dataclass(frozen=True, slots=True)
class NamedSecret:
    """One Secret as a rule names it. read: the items that the engine takes of it."""

    namespace: str
    name: str
    read: tuple[str, ...]

    def content_of(self, document: Document) -> tuple[bytes | None, ...]:
        """What the engine reads: of a key the one armoured block that counts."""
        found = tuple(secret_value(document, item) for item in self.read)
        return tuple(map(_block, found)) if self.read == _KEY else found


def secrets_of(effect: Demand | None, namespace: str) -> Iterator[NamedSecret]:
    """Those that a demand names, for a workload in this namespace; see
    `imgsec.domain.demand_effect.effect_of`.
    """
    if effect is None:
        return
    if effect.simple is not None:
        for one in effect.simple.requirements:
            if one.kind == SIGNED:
                yield NamedSecret(one.key_namespace or namespace, one.key_secret, _KEY)
        if effect.simple.store_secret:
            yield NamedSecret(namespace, effect.simple.store_secret, _STORE)
    if effect.trust is not None:
        for name in effect.trust.signer_secrets:
            yield NamedSecret(namespace, name, _SIGNER)


def _block(content: bytes | None) -> bytes | None:
    from imgsec.domain.engine_keys import SetUpError, public_block

    try:
        return None if content is None else public_block(content)
    except SetUpError:
        return content
