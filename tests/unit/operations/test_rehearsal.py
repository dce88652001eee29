# SPDX-License-Identifier: Apache-2.0
"""A rehearsal sees its own writes, and the KMS sees none."""

from __future__ import annotations

import pytest

from imgsec.domain.keys import SecretBytes
from imgsec.errors import KeyExists, KeyNotFound
from imgsec.operations.rehearsal import NO_ID, RehearsedKms
from tests.unit.operations.fakes import FakeKms


def test_what_is_stored_is_there_for_this_run_alone() -> None:
    kms = FakeKms({"taken": b"x"}, nameless={"old-id": ("n", b"old")})
    rehearsed = RehearsedKms(kms, kms.address)
    with pytest.raises(KeyNotFound):
        rehearsed.find_key("new")
    stored = rehearsed.store_key("new", SecretBytes(b"key"), name="n", description="d")
    assert stored.id == NO_ID
    assert rehearsed.fetch_key("new")[1] == SecretBytes(b"key")
    rehearsed.add_alias("old-id", "named")
    assert rehearsed.find_key("named").id == "old-id"
    assert rehearsed.fetch_key("named")[1] == SecretBytes(b"old")
    assert rehearsed.fetch_key("taken")[1] == SecretBytes(b"x")
    for alias in ("taken", "new", "named"):
        with pytest.raises(KeyExists):
            rehearsed.store_key(alias, SecretBytes(b"key"), name="n", description="d")
        with pytest.raises(KeyExists):
            rehearsed.add_alias("old-id", alias)
    assert (set(kms.keys), set(kms.nameless)) == ({"taken"}, {"old-id"})
    assert not {operation for operation, _ in kms.asked} & {"store", "alias"}
