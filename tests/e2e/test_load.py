# SPDX-License-Identifier: Apache-2.0
"""A KMS that is busy: every second request is turned away, and every key arrives all the same."""

from __future__ import annotations

import time

import pytest

from imgsec.config import Settings
from imgsec.wiring import wire
from tests.conftest import Bench, SigningKey

pytestmark = pytest.mark.once


@pytest.mark.parametrize("kind", ["429", "503"])
def test_hundred_fetches_succeed_on_a_busy_kms(
    bench: Bench, key: SigningKey, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = bench.imgsec.variables()
    names = ("iam_url", "kms_url", "kms_instance", "api_key_file", "ca_file")
    settings = Settings(**{name: environment["IMGSEC_" + name.upper()] for name in names})
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    bench.fault("kms", kind, every=2)
    before = len(bench.log("kms"))
    with wire(settings) as world:
        for _ in range(100):
            assert world.kms.fetch_key(key.alias)[1].reveal() == key.secret
    answers = [request["status"] for request in bench.log("kms")[before:]]
    assert answers.count(int(kind)) >= 99
    assert answers.count(200) == 100
    if kind == "429":  # it says how long to wait; a 503 is asked once more at once
        assert len(waited) == answers.count(429)
        assert min(waited) >= 1
