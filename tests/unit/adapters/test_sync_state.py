# SPDX-License-Identifier: Apache-2.0
"""What earlier runs of sync put into an advisor, kept in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgsec.adapters.sync_state import SyncOwner, SyncState
from imgsec.domain.exemption import KeptExemption
from tests.unit.refusals import refused

OWNER = SyncOwner("us.icr.io", "a")
MADE = frozenset(
    {KeptExemption("cve", "CVE-2026-1", "team/app"), KeptExemption("sn", "DSA-1-1", "*")}
)


def test_state_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = str(tmp_path / "state.json")
    assert SyncState(path, OWNER).read() == frozenset()
    SyncState(path, OWNER).write(MADE)
    assert SyncState(path, OWNER).read() == MADE


def test_who_may_read_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    SyncState(str(path), OWNER).write(())
    path.chmod(0o600)
    SyncState(str(path), OWNER).write(MADE)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        '{"version": 1}',
        '{"version": 2, "host": "us.icr.io", "account": "a", "exemptions": []}',
        '{"version": 1, "host": "de.icr.io", "account": "a", "exemptions": []}',
        '{"version": 1, "host": "us.icr.io", "account": "b", "exemptions": []}',
        '{"version": 1, "host": "us.icr.io", "account": null, "exemptions": []}',
        '{"version": 1, "host": "us.icr.io", "exemptions": []}',
        '{"version": 1, "host": "us.icr.io", "account": "a", "exemptions": [7]}',
        '{"version": 1, "host": "us.icr.io", "account": "a", "exemptions":'
        ' [{"type": "cve", "id": "", "scope": "*"}]}',
        '{"version": 1, "host": "us.icr.io", "account": "a", "exemptions":'
        ' [{"type": "cve", "id": "CVE-1"}]}',
        '{"version": 1, "host": "us.icr.io", "account": "a", "exemptions":'
        ' [{"type": "cve", "id": "CVE-1", "scope": "../../x"}]}',
        '{"version": 1, "host": "us.icr.io", "host": "de.icr.io", "account": "a",'
        ' "exemptions": []}',
    ],
)
def test_state_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(content)
    with refused("input-malformed"):
        SyncState(str(path), OWNER).read()
