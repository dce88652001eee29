# SPDX-License-Identifier: Apache-2.0
"""The Secret that tells pipelines which key signs, as it is mounted."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgsec.adapters.key_reference import read_key_reference
from imgsec.domain.policy import KeyReference
from tests.unit.refusals import refused


def test_what_is_not_there_or_null_says_nothing(tmp_path: Path) -> None:
    assert read_key_reference(str(tmp_path)) == KeyReference("", "", "", "")  # an absent Secret
    (tmp_path / "vault-key-id").write_text("my-key\n")
    (tmp_path / "vault-instance-id").write_text("null")
    assert read_key_reference(str(tmp_path)) == KeyReference("", "", "my-key", "")


@pytest.mark.parametrize("name", ["misspelt", "file", "file/within", "nul\0"])
def test_what_is_no_folder_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with refused("input-unreadable"):
        read_key_reference(str(tmp_path / name))


@pytest.mark.parametrize("content", [b"two\nlines", b"\xff", "k\u0435y".encode(), b"\x1b[2J"])
def test_what_is_no_plain_text_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "vault-url").write_bytes(content)
    with refused("input-malformed"):
        read_key_reference(str(tmp_path))
