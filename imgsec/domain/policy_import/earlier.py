# SPDX-License-Identifier: Apache-2.0
"""The engine that read a policy until now: how it compares names, and what it takes of a rule.

The older API had no schema: what an engine did not know in it, it passed over. CISE knew ``trust``
and ``va``; Portieris knew ``trust``, from 0.6 on ``simple``, from 0.9 on ``vulnerability``, and
left the API with 0.10 (https://github.com/IBM/portieris, its releases). 0.6 had a bare list as
``simple``, and later ones an object: what one of both has, the other could not read at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from imgsec.domain.engines import CISE, CISE_API, Engine
from imgsec.domain.policy_fields import (
    CISE_FIELDS,
    PORTIERIS_FIELDS,
    Fields,
    older_fields,
)
from imgsec.errors import ImgsecError
from imgsec.reasons import ENGINE_UNKNOWN


class SimpleForm(StrEnum):
    """How ``simple`` is written."""

    LIST = "a bare list"
    OBJECT = "an object"


_OLDER = re.compile(r"0\.([5-9])(?:\.[0-9]{1,3})?")
_FIRST_WITH_SIMPLE, _FIRST_WITH_ADVISOR = 6, 9


@dataclass(frozen=True, slots=True)
class EarlierEngine:
    """compares: an engine that compares names as it does. fields: what it takes of a policy.

    simple: how it reads that; None where it passes it over.
    """

    name: str
    api: str
    compares: Engine
    fields: Fields
    simple: SimpleForm | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """``cise``, 0.5 to 0.9, or a version that imgsec knows.

        Raises `ImgsecError` (engine-unknown).

        >>> EarlierEngine.parse("0.9.5").name, EarlierEngine.parse("0.14.1").name
        ('Portieris 0.9.5', 'Portieris 0.14.1')
        """
        if found := _OLDER.fullmatch(text):
            minor = int(found[1])
            has_simple = minor >= _FIRST_WITH_SIMPLE
            form = SimpleForm.LIST if minor == _FIRST_WITH_SIMPLE else SimpleForm.OBJECT
            fields = older_fields(simple=has_simple, vulnerability=minor >= _FIRST_WITH_ADVISOR)
            simple = form if has_simple else None
            return cls(f"Portieris {text}", CISE_API, CISE, fields, simple)
        try:
            engine = Engine.parse(text)
        except ImgsecError as error:
            told = f"{error.reason.text}, and 0.5 to 0.9, which read the older API"
            hint = "Give the nearest older one that is known."
            raise ImgsecError(ENGINE_UNKNOWN(told, hint=hint)) from None
        return cls.of(engine)

    @classmethod
    def of(cls, engine: Engine) -> Self:
        fields = CISE_FIELDS if engine.is_cise else PORTIERIS_FIELDS
        simple = None if engine.is_cise else SimpleForm.OBJECT
        return cls(str(engine), engine.api, engine, fields, simple)

    @property
    def is_cise(self) -> bool:
        return self.fields is CISE_FIELDS

    def __str__(self) -> str:
        return self.name
