# SPDX-License-Identifier: Apache-2.0
"""The admission engines that imgsec can predict, and where they differ.

Portieris changed how it compares names in 0.14.2 (a slash parts host and path) and in 0.14.3 (a
name without a tag covers digests), whom it leaves unchecked in 0.14.0 (nothing without replicas)
and in 0.14.3 (nobody with an owner). CISE is IBM's managed add-on of 2018 to 2020, which came from
an early Portieris: https://github.com/IBM/portieris, its releases and `helpers/wildcard`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import ENGINE_UNKNOWN

PORTIERIS_API = "portieris.cloud.ibm.com/v1"
CISE_API = "securityenforcement.admission.cloud.ibm.com/v1beta1"


class Layer(StrEnum):
    """What an engine asks about a container's image, each by a part of a rule."""

    RESOLUTION = "resolution"  # is there a rule at all?
    ADVISOR = "advisor"
    SIMPLE = "simple"
    TRUST = "trust"


@dataclass(frozen=True, slots=True)
class Engine:
    """One version of an admission engine.

    api: the apiVersion of the policies that it reads. layers: in the order in which it asks.
    splits_hosts: whether a rule's host is compared with the image's host alone. covers_digests:
    whether a rule without a tag or digest covers ``@sha256:...``. skips_owned: whether an object
    with an owner of a known kind goes unchecked; skips_unreplicated: one that wants no replicas.
    """

    name: str
    api: str
    layers: tuple[Layer, ...]
    splits_hosts: bool
    covers_digests: bool
    skips_owned: bool
    skips_unreplicated: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """A known version, or ``cise``. Raises `ImgsecError` (engine-unknown).

        >>> Engine.parse("0.14.2").splits_hosts
        True
        """
        for engine in ENGINES:
            if engine.name == text:
                return engine  # type: ignore[return-value]
        known = ", ".join(engine.name for engine in ENGINES)
        raise ImgsecError(ENGINE_UNKNOWN(f"{shown(text)} is no engine that imgsec knows: {known}"))

    @property
    def is_cise(self) -> bool:
        return self.api == CISE_API

    def __str__(self) -> str:
        return self.name if self.is_cise else f"Portieris {self.name}"


_PORTIERIS_LAYERS = (Layer.ADVISOR, Layer.SIMPLE, Layer.TRUST)
_CISE_LAYERS = (Layer.TRUST, Layer.ADVISOR)


def _portieris(
    name: str,
    *,
    splits_hosts: bool = False,
    covers_digests: bool = False,
    skips_owned: bool = True,
    skips_unreplicated: bool = False,
) -> Engine:
    return Engine(
        name,
        PORTIERIS_API,
        _PORTIERIS_LAYERS,
        splits_hosts=splits_hosts,
        covers_digests=covers_digests,
        skips_owned=skips_owned,
        skips_unreplicated=skips_unreplicated,
    )


NEWEST = _portieris("0.14.3", splits_hosts=True, covers_digests=True, skips_owned=False)
CISE = Engine(
    "cise",
    CISE_API,
    _CISE_LAYERS,
    splits_hosts=False,
    covers_digests=False,
    skips_owned=False,  # it looked at Pods, which have owners
    skips_unreplicated=False,
)
# The oldest first.
ENGINES = (
    CISE,
    _portieris("0.13.38", skips_unreplicated=True),
    _portieris("0.14.1"),
    _portieris("0.14.2", splits_hosts=True),
    NEWEST,
)
