# SPDX-License-Identifier: Apache-2.0
"""Files that are no Kubernetes objects: stable bytes, and nobody else's is written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgsec.adapters.plain_folder import PlainFolder
from tests.unit.refusals import refused

CONTENT = {"default": [{"type": "reject"}], "b": {"a": "ü"}}


@pytest.mark.parametrize("name", ["policy.json", "registries.d/imgsec.yaml"])
def test_ours_is_written_again_and_equal_bytes_stay(tmp_path: Path, name: str) -> None:
    folder = PlainFolder(tmp_path / "new")
    states = [folder.publish(name, one).state for one in (CONTENT, CONTENT, {}, CONTENT)]
    assert states == ["created", "unchanged", "updated", "updated"]
    folder.require_ready(name)


@pytest.mark.parametrize("name", ["policy.json", "config.yaml"])
@pytest.mark.parametrize("held", ["", "{}", '{\n  "default": []\n}\n', "a: 1\n", "\x00"])
def test_others_stay_unless_they_are_taken_over(tmp_path: Path, name: str, held: str) -> None:
    (tmp_path / name).write_text(held)
    folder = PlainFolder(tmp_path)
    with refused("foreign-object"):
        folder.require_ready(name)
    with refused("foreign-object"):
        folder.publish(name, CONTENT)
    assert (tmp_path / name).read_text() == held
    assert folder.publish(name, CONTENT, adopt=True).state == "updated"


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("x")
    (tmp_path / "policy.json").symlink_to(tmp_path / "target")
    with refused("output-unwritable"):
        PlainFolder(tmp_path).publish("policy.json", CONTENT, adopt=True)
