# SPDX-License-Identifier: Apache-2.0
"""Changes of a ledger: only the lines that are meant change, and nobody's change is lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from imgsec.adapters.gate_files import read_ledger
from imgsec.adapters.ledger_file import LedgerFile
from imgsec.domain import exemption
from imgsec.domain.exemption import Exemption, ExemptionScope, IssueType
from imgsec.domain.ledger_edits import LedgerEdit
from tests.unit.refusals import refused

HEAD = "version: 1\nexemptions:\n"
FIRST = """\
  # why the first is here
  - id: CVE-2026-1000   # odd
    scope: team/app
    owner: "jane@example.com"
    reason: >-
      not
      reachable
    expires: 2026-12-31
"""
SECOND = """\

  # why the second is here
  - {id: CVE-2026-1001, scope: team/app, owner: joe, reason: 'a  b', expires: "2026-12-31"}
"""
TAIL = "# the end\n"


def entry(issue: str = "CVE-2026-2000", reason: str = "not reachable") -> Exemption:
    scope = ExemptionScope.parse("us.icr.io/team/app:1")
    return Exemption(
        issue, IssueType.of(issue), scope, "jane", reason, date(2026, 12, 31), ("openssl",)
    )


ADDED = """\
  - id: CVE-2026-2000
    type: cve
    scope: us.icr.io/team/app:1
    packages:
    - openssl
    owner: jane
    reason: not reachable
    expires: 2026-12-31
"""


def change(path: Path, gone: Sequence[int] = (), new: Sequence[Exemption] = ()) -> None:
    LedgerFile(str(path)).change(lambda _: LedgerEdit(frozenset(gone), tuple(new)))


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "exemptions.yaml"
    path.write_text(HEAD + FIRST + SECOND + TAIL)
    return path


def test_ledger_is_made_where_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    change(path, new=[entry()])
    assert path.read_text().endswith("version: 1\nexemptions:\n" + ADDED)
    assert read_ledger(str(path))[0].entries == (entry(),)


def test_new_entry_stands_behind_the_last_and_nothing_else_moves(ledger: Path) -> None:
    change(ledger, new=[entry()])
    assert ledger.read_text() == HEAD + FIRST + SECOND + ADDED + TAIL


def test_removed_entry_takes_its_lines_and_no_comment(ledger: Path) -> None:
    change(ledger, gone=[1])
    assert ledger.read_text() == HEAD + "  # why the first is here\n" + SECOND + TAIL
    change(ledger, gone=[1])
    text = ledger.read_text()
    assert text.startswith("version: 1\nexemptions: []\n")
    assert text.count("#") == 3
    change(ledger, new=[entry()])
    assert read_ledger(str(ledger))[0].entries == (entry(),)
    assert ledger.read_text().count("#") == 3


def test_replaced_entry_leaves_the_others(ledger: Path) -> None:
    change(ledger, gone=[2], new=[entry()])
    assert ledger.read_text() == HEAD + FIRST + "\n  # why the second is here\n" + ADDED + TAIL


def test_nothing_to_change_writes_nothing(ledger: Path) -> None:
    before = ledger.stat()
    change(ledger)
    assert ledger.stat() == before


@pytest.mark.parametrize(
    "text",
    [
        HEAD + FIRST + SECOND,
        (HEAD + FIRST + SECOND + TAIL).replace("\n", "\r\n"),
        "\ufeff" + HEAD + FIRST,
        "---\n" + HEAD + FIRST + "...\n",
        HEAD + FIRST.rstrip("\n"),
        "exemptions:\n" + FIRST + SECOND + "version: 1\n",
        HEAD.replace("exemptions:", "exemptions:   # ours") + FIRST,
        "version: 1\nexemptions: []",
        "version: 1\nexemptions: [ ]  # none yet\n",
        "version: 1\nexemptions:\n  []\n",
        "exemptions: []\nversion: 1\n",
        '"exemptions": []\n"version": 1\n',
        HEAD + FIRST.replace("  #", "#").replace("\n  ", "\n"),
        HEAD + "-\n  id: CVE-2026-1\n  scope: a/b\n",
        HEAD + "- # so\n  id: CVE-2026-1\n",
        HEAD + "- &a\n  id: CVE-2026-1\n  reason: |\n    # no comment\n    b\n\n\n",
        HEAD + "- null\n- [a, b]\n- - a\n  - b\n- text\n- id:\n",
        HEAD + "- id: CVE-2026-1\n  reason: 'two\n\n    lines'\n  owner: «ü»\U0001f512\n",
        HEAD + "\n" * 3 + FIRST,
        '{"version": 1, "exemptions": [{"id": "CVE-2026-1", "expires": "2026-12-31"}]}',
        "{version: 1, exemptions: []}",
        "version: 1\nexemptions: [{id: CVE-2026-1},\n  {id: CVE-2026-2}]\n",
    ],
)
def test_form_of_a_ledger_is_kept_or_nothing_is_lost(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(text.encode())
    before = yaml.load(text, yaml.BaseLoader)["exemptions"]
    change(path, new=[entry()])
    written = path.read_bytes().decode()
    after = yaml.load(written, yaml.BaseLoader)["exemptions"]
    assert (len(after), [str(one) for one in after[:-1]]) == (
        len(before) + 1,
        [str(one) for one in before],
    )
    if "\r\n" in text:
        assert "\n" not in written.replace("\r\n", "")
    comments = [line for line in text.splitlines() if "#" in line]
    assert [line for line in written.splitlines() if "#" in line] == [
        line.replace("[ ] ", "") if "none yet" in line else line for line in comments
    ]
    for _ in range(len(after)):
        change(path, gone=[1])
    assert yaml.safe_load(path.read_bytes()) == {"version": 1, "exemptions": []}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"version: 2\nexemptions: []\n",
        b"version: true\nexemptions: []\n",
        b"version: 1\n",
        b"version: 1\nexemptions: {}\n",
        b"version: 1\nexemptions: []\nexemptions: []\n",
        b"version: 1\nexemptions: &a [*a]\n",
        b"a: &a [x]\nexemptions: *a\nversion: 1\n",
        b"version: !!int 1\nexemptions: []\n",
        b"version: 1\nexemptions: !!python/object/apply:os.system [id]\n",
        b"version: 1\nexemptions:\n\t- id: x\n",
        b"version: 1\nexemptions: []\n---\nversion: 1\nexemptions: []\n",
        b"version: 1\nexemptions: []\nunknown: 1\n",
        b"\xff\xfe",
        b"version: 1\nexemptions: [\x00]\n",
        b"[" * 10_000,
        b"{x: " * 10_000,
        b"version: 1\nexemptions: [{id: CVE-2026-1}] # in a line\n",  # a comment would be lost
        "version: 1\nexemptions: []\n".encode("utf-16"),
    ],
    ids=lambda content: repr(content[:40]),
)
def test_what_is_no_ledger_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(content)
    with refused("input-malformed"):
        change(path, new=[entry()])
    assert path.read_bytes() == content
    assert [one.name for one in tmp_path.iterdir()] == ["ledger"]


def test_ledger_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(b"#" * (8 * 2**20 + 1))
    with refused("answer-too-large"):
        change(path, new=[entry()])


def test_link_is_not_written_through(ledger: Path, tmp_path: Path) -> None:
    link, text = tmp_path / "link", ledger.read_text()
    link.symlink_to(ledger)
    with refused("output-unwritable"):
        change(link, new=[entry()])
    assert (link.is_symlink(), ledger.read_text()) == (True, text)
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    with refused("output-unwritable"):
        change(dangling, new=[entry()])


def test_pipe_and_folder_are_no_ledgers(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with refused("input-unreadable"):
            change(tmp_path / name, new=[entry()])


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_folder_that_cannot_be_written(ledger: Path) -> None:
    ledger.parent.chmod(0o500)
    try:
        with refused("output-unwritable"):
            change(ledger, new=[entry()])
    finally:
        ledger.parent.chmod(0o700)


def test_ledger_is_never_filled_beyond_what_can_be_read(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = ledger.read_text()
    monkeypatch.setattr(exemption, "ENTRIES_MAX", 3)
    with refused("input-malformed"):
        change(ledger, new=[entry(), entry("CVE-2026-2001")])
    assert ledger.read_text() == text


def _add(path: str, number: int) -> None:
    LedgerFile(path).change(lambda _: LedgerEdit(new=(entry(f"CVE-2026-{number}"),)))


def test_ten_at_once_lose_nothing(ledger: Path) -> None:
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=_add, args=(str(ledger), 5000 + n)) for n in range(10)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    found = {one.issue for one in read_ledger(str(ledger))[0].entries}
    assert found >= {f"CVE-2026-{5000 + number}" for number in range(10)}
    assert ledger.read_text().startswith(HEAD + FIRST + SECOND)


def _add_for_ever(path: str) -> None:
    for number in range(1000, 9999):
        _add(path, number)


def test_killed_run_leaves_a_whole_ledger(ledger: Path) -> None:
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        run = context.Process(target=_add_for_ever, args=(str(ledger),))
        run.start()
        time.sleep(0.05)
        assert run.pid is not None
        os.kill(run.pid, signal.SIGKILL)
        run.join(60)
        read, _ = read_ledger(str(ledger))
        assert not read.problems


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf", "Zl", "Zp")), min_size=1)


@given(reason=TEXTS, owner=TEXTS)
def test_any_text_of_an_entry_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, reason: str, owner: str
) -> None:
    try:
        document = {**entry().document(), "reason": reason, "owner": owner}
        meant = Exemption.parse(document)
    except ValueError:
        return
    path = tmp_path_factory.mktemp("any") / "ledger"
    path.write_text(HEAD + FIRST + SECOND + TAIL)
    change(path, new=[meant])
    assert read_ledger(str(path))[0].entries[-1] == meant
    assert path.read_text().startswith(HEAD + FIRST + SECOND)
