# SPDX-License-Identifier: Apache-2.0
"""A KMS that is busy: every second request is turned away, and every key arrives all the same."""

from __future__ import annotations

import time
from pathlib import Path

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


def test_many_images_are_signed_once_each_by_a_busy_registry(
    bench: Bench, key: SigningKey, tmp_path: Path
) -> None:
    """Every fifth request is turned away for a second, and every fiftieth answer breaks off."""
    pushed = [bench.push(bench.repository()) for _ in range(20)]
    images = tmp_path / "images.txt"
    images.write_text("".join(f"{name}\n" for name, _ in pushed))
    bench.fault("registry", "429", every=5)
    bench.fault("registry", "cut", every=50)
    run = ("sign-image", "--images-file", images, "--key", key.location, "--workers", "4")
    done = bench.imgsec(*run).expect(0)
    bench.clear_faults()
    assert [image["outcome"] for image in done.json["images"]] == ["pass"] * len(pushed)
    assert [len(bench.signatures(*image)) for image in pushed] == [1] * len(pushed)


@pytest.mark.parametrize(
    "words",
    [
        ("resolve",),
        ("sign-image", "--key", "{key}"),
        ("sign-image", "--key", "{key}", "--to", "{image}-copy"),
        ("verify-image", "--key", "{key}"),
        ("verify-image", "--key", "{key}", "--images-file", "{file}", "--workers", "2"),
    ],
)
def test_registry_that_hangs_ends_no_later_than_the_deadline(
    bench: Bench, key: SigningKey, tmp_path: Path, words: tuple[str, ...]
) -> None:
    name, _ = bench.push(bench.repository())
    file = tmp_path / "images.txt"
    file.write_text(f"{name}\n{name}2\n")
    bench.fault("registry", "hang")
    named = {"key": key.location, "image": name, "file": str(file)}
    began = time.monotonic()
    run = [word.format(**named) for word in words]
    bench.imgsec(run[0], name, *run[1:], "--timeout", "3").expect(3, "timeout")
    assert time.monotonic() - began < 60
