# SPDX-License-Identifier: Apache-2.0
"""The engines that can be predicted, and where they differ."""

from __future__ import annotations

import pytest

from imgsec.domain.engines import CISE, CISE_API, ENGINES, NEWEST, PORTIERIS_API, Engine, Layer
from tests.unit.refusals import refused


@pytest.mark.parametrize(
    ("name", "splits_hosts", "covers_digests", "skips_owned", "skips_unreplicated"),
    [
        ("cise", False, False, False, False),
        ("0.13.38", False, False, True, True),
        ("0.14.1", False, False, True, False),
        ("0.14.2", True, False, True, False),
        ("0.14.3", True, True, False, False),
    ],
)
def test_engines_differ_as_their_releases_say(
    name: str, splits_hosts: bool, covers_digests: bool, skips_owned: bool, skips_unreplicated: bool
) -> None:
    engine = Engine.parse(name)
    assert engine.splits_hosts is splits_hosts
    assert engine.covers_digests is covers_digests
    assert engine.skips_owned is skips_owned
    assert engine.skips_unreplicated is skips_unreplicated


def test_all_of_them_are_listed_the_oldest_first() -> None:
    assert [engine.name for engine in ENGINES] == ["cise", "0.13.38", "0.14.1", "0.14.2", "0.14.3"]
    assert ENGINES[-1] is NEWEST


def test_order_of_the_layers_is_the_engine_s() -> None:
    assert CISE.layers == (Layer.TRUST, Layer.ADVISOR)
    for engine in ENGINES[1:]:
        assert engine.layers == (Layer.ADVISOR, Layer.SIMPLE, Layer.TRUST)


def test_each_reads_one_api() -> None:
    assert CISE.is_cise
    assert CISE.api == CISE_API
    assert {engine.api for engine in ENGINES[1:]} == {PORTIERIS_API}
    assert not any(engine.is_cise for engine in ENGINES[1:])


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_engine_is_found_by_its_name(engine: Engine) -> None:
    assert Engine.parse(engine.name) is engine


def test_engine_is_named_as_people_name_it() -> None:
    assert [str(engine) for engine in (CISE, NEWEST)] == ["cise", "Portieris 0.14.3"]


@pytest.mark.parametrize(
    "text",
    ["", "CISE", "0.14", "0.14.0", "0.14.4", "v0.14.3", "0.14.3 ", "<=0.14.1", "latest", "0.15.0"],
)
def test_engine_that_nobody_tried_is_refused_with_those_that_are_known(text: str) -> None:
    with refused("engine-unknown") as reasons:
        Engine.parse(text)
    for engine in ENGINES:
        assert engine.name in reasons[0].text
