# SPDX-License-Identifier: Apache-2.0
"""What changed in real repositories, and that nothing of a hostile one runs or hides a change."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgsec.adapters._process import Tools
from imgsec.adapters.git import Repository
from tests.support import plain_environment
from tests.unit.refusals import refused


def added_lines(repository: Repository, commit: str) -> list[str]:
    return [line for place in repository.changed_places(commit) for line in place.added]


@dataclass(frozen=True)
class Work:
    """A repository with a ledger on ``main``, and a branch that goes on from there."""

    top: Path

    def git(self, *words: str) -> str:
        settings = ("-c", "user.name=n", "-c", "user.email=n@example.com", "-c", "gc.auto=0")
        done = subprocess.run(
            ["git", "-C", str(self.top), *settings, "-c", "protocol.file.allow=always", *words],
            env=plain_environment(self.top, GIT_CONFIG_GLOBAL="/dev/null"),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def write(self, name: str, text: str) -> None:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def commit(self, **files: str) -> str:
        for name, text in files.items():
            self.write(name.replace("__", "."), text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "m")
        return self.git("rev-parse", "HEAD")

    @property
    def repository(self) -> Repository:
        return Repository(Tools(), self.top / "ledger.yaml")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    work = Work(tmp_path / "repo")
    work.top.mkdir()
    work.git("init", "--quiet", "--initial-branch", "main")
    work.commit(ledger__yaml="before\n", deploy__yaml="image: us.icr.io/team/app:1\n")
    work.git("checkout", "--quiet", "-b", "change")
    return work


def test_change_is_what_the_branch_did(work: Work) -> None:
    base = work.git("rev-parse", "main")
    work.commit(ledger__yaml="after\n", deploy__yaml="image: us.icr.io/team/app:2\n")
    work.git("checkout", "--quiet", "main")
    work.commit(other__yaml="image: us.icr.io/team/other:1\n")  # main went on; nobody's business
    work.git("checkout", "--quiet", "change")
    found = work.repository
    assert found.parted_from("main") == base
    assert found.content_at(base) == b"before\n"
    assert found.changed_files(base) == ["deploy.yaml"]
    assert added_lines(found, base) == ["image: us.icr.io/team/app:2"]


def test_ledger_in_a_folder_sees_the_whole_repository(work: Work) -> None:
    base = work.git("rev-parse", "main")
    work.write("policy/ledger.yaml", "x\n")
    work.write("Dockerfile", "FROM a\n")
    work.commit()
    found = Repository(Tools(), work.top / "policy" / "ledger.yaml")
    assert found.content_at(base) is None
    assert found.changed_files(base) == ["Dockerfile", "deploy.yaml"][:1]
    assert added_lines(found, base) == ["FROM a"]


def test_renamed_ledger_was_not_there_before(work: Work) -> None:
    base = work.git("rev-parse", "main")
    work.git("mv", "ledger.yaml", "new.yaml")
    work.commit()
    found = Repository(Tools(), work.top / "new.yaml")
    assert (found.content_at(base), found.changed_files(base)) == (None, ["ledger.yaml"])


def test_folder_is_no_ledger(work: Work) -> None:
    base = work.git("rev-parse", "main")
    work.write("new/x", "x")
    commit = work.commit()
    found = Repository(Tools(), work.top / "new")
    assert (found.content_at(commit), found.content_at(base)) == (None, None)


@pytest.mark.parametrize(
    "revision",
    ["", "-", "--all", "--output=x", " main", "ma in", "main\n", "nothing", "main:ledger.yaml",
     "HEAD~99", "^main", "main..change", "a" * 500, "\x00", "\udc80", "$(id)", "main^{tree}",
     "@{u}"],
)  # fmt: skip
def test_what_is_no_revision_is_refused(work: Work, revision: str) -> None:
    with refused("invalid-option") as reasons:
        work.repository.parted_from(revision)
    assert "fetch-depth" in reasons[0].hint


@pytest.mark.parametrize("revision", ["main", "HEAD", "HEAD~1", "@", "main^0", "feature+x#1", "ü"])
def test_any_name_of_a_commit_is_a_revision(work: Work, revision: str) -> None:
    work.commit(a="a")
    for name in ("feature+x#1", "ü"):
        work.git("branch", name)
    assert work.repository.parted_from(revision)


def test_no_common_history_is_no_answer(work: Work, tmp_path: Path) -> None:
    work.commit(a="a")
    work.git("checkout", "--quiet", "main")
    work.commit(b="b")
    shallow = Work(tmp_path / "shallow")
    url = work.top.as_uri()
    work.git("clone", "--quiet", "--depth=1", "--branch=change", url, str(shallow.top))
    with refused("invalid-option"):
        shallow.repository.parted_from("origin/main")
    shallow.git("fetch", "--quiet", "--depth=1", "origin", "main:main")
    with refused("invalid-option") as reasons:
        shallow.repository.parted_from("main")
    assert "fetch-depth" in reasons[0].hint


def test_outside_of_a_repository(tmp_path: Path, work: Work) -> None:
    with refused("input-unreadable"):
        Repository(Tools(), tmp_path / "ledger.yaml")
    with refused("input-unreadable"):
        Repository(Tools(), tmp_path / "nowhere" / "ledger.yaml")
    (tmp_path / "ledger.yaml").write_text("x")
    (work.top / "link.yaml").symlink_to(tmp_path / "ledger.yaml")
    with refused("input-unreadable"):
        Repository(Tools(), work.top / "link.yaml")
    work.git("config", "core.worktree", "/usr")
    with refused("input-unreadable"):
        Repository(Tools(), work.top / "ledger.yaml")


def test_link_in_the_repository_is_what_it_leads_to(work: Work) -> None:
    (work.top / "link.yaml").symlink_to("ledger.yaml")
    found = Repository(Tools(), work.top / "link.yaml")
    assert found.content_at(found.parted_from("main")) == b"before\n"


@pytest.mark.parametrize("name", ["HEAD", "main", "-x", "--output=y", "a\nb", ":(top)x", "*", "ü"])
def test_odd_names_of_files_are_files(work: Work, name: str) -> None:
    base = work.git("rev-parse", "main")
    work.write(name, "image: us.icr.io/team/app:3\n")
    work.commit()
    found = work.repository
    assert found.changed_files(base) == [name]
    assert added_lines(found, base) == ["image: us.icr.io/team/app:3"]
    odd = Repository(Tools(), work.top / name)
    assert odd.content_at(work.git("rev-parse", "HEAD")) == b"image: us.icr.io/team/app:3\n"
    assert odd.changed_files(base) == []


@pytest.mark.parametrize(
    "line", ["++ image: a/b:1", "+ x", "- x", "@@ -1 +1 @@", "> x", "\u2028x", ""]
)
def test_no_line_hides_behind_its_first_letters(work: Work, line: str) -> None:
    work.commit(a=f"{line}\n")
    assert added_lines(work.repository, work.git("rev-parse", "main")) == [line]


def test_lines_around_are_told_apart(work: Work) -> None:
    lines = ["images:", "- name: us.icr.io/team/app", "  newTag: 1", "  # as it was", "far: 1"]
    work.git("checkout", "--quiet", "main")
    base = work.commit(k="\n".join(lines))
    work.commit(k="\n".join(lines).replace("Tag: 1", "Tag: 2"))
    (place,) = work.repository.changed_places(base)
    assert place.added == ("  newTag: 2",)
    assert place.around == (*lines[:2], *lines[3:])
    assert [str(image) for image in place.images] == ["us.icr.io/team/app"]


def test_attributes_hide_no_change(work: Work) -> None:
    attributes = "* binary -diff\n*.yaml -text diff=x\n"
    work.commit(__gitattributes=attributes, deploy__yaml="image: us.icr.io/team/app:2\n")
    assert "image: us.icr.io/team/app:2" in added_lines(
        work.repository, work.git("rev-parse", "main")
    )


def hostile(work: Work, mark: Path) -> None:
    """Whatever of a repository's configuration makes git run a program, or see something else."""
    touch = f"touch {mark} #"
    for name in (
        *("core.fsmonitor", "diff.external", "core.pager", "core.editor", "core.sshCommand"),
        *("diff.x.textconv", "diff.x.command", "filter.x.clean", "filter.x.smudge"),
        *("filter.x.process", "credential.helper", "core.askPass", "core.gitProxy", "gpg.program"),
        *("uploadpack.packObjectsHook", "core.alternateRefsCommand", "pager.diff"),
    ):
        work.git("config", name, touch)
    for name in ("rev-parse", "merge-base", "diff", "ls-tree", "cat-file"):
        work.git("config", f"alias.{name}", f"!{touch}")
    hooks = work.top / ".git" / "hooks"
    for name in ("post-index-change", "reference-transaction", "fsmonitor-watchman", "pre-commit"):
        (hooks / name).parent.mkdir(exist_ok=True)
        (hooks / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (hooks / name).chmod(0o755)
    work.git("config", "core.hooksPath", str(hooks))
    for name, value in {
        "diff.relative": "true",
        "diff.orderFile": "/nowhere",
        "diff.noprefix": "true",
        "diff.renames": "copies",
        "diff.submodule": "log",
        "color.diff": "always",
        "color.ui": "always",
        "diff.interHunkContext": "99",
        "diff.context": "99",
        "log.showSignature": "true",
    }.items():
        work.git("config", name, value)
    (work.top / ".git" / "info").mkdir(exist_ok=True)
    (work.top / ".git" / "info" / "attributes").write_text("* filter=x diff=x\n")


def test_nothing_of_a_hostile_repository_runs(work: Work, tmp_path: Path) -> None:
    base = work.git("rev-parse", "main")
    work.write("sub/deploy.yaml", "image: us.icr.io/team/app:2\n")
    work.write("sub/ledger.yaml", "x\n")
    work.write(".gitattributes", "* filter=x diff=x merge=x\n")
    work.commit()
    mark = tmp_path / "ran"
    hostile(work, mark)
    found = Repository(Tools(), work.top / "sub" / "ledger.yaml")
    assert found.parted_from("main") == base
    assert found.content_at(base) is None
    assert found.changed_files(base) == [".gitattributes", "sub/deploy.yaml"]
    assert "image: us.icr.io/team/app:2" in added_lines(found, base)
    assert not mark.exists()


@pytest.mark.parametrize("protocol", ["ext", "file"])
def test_what_a_partial_clone_lacks_is_not_fetched(
    work: Work, tmp_path: Path, protocol: str
) -> None:
    """The remote of a repository can be a command; git runs it for an object that is missing."""
    work.commit(deploy__yaml="image: us.icr.io/team/app:2\n")
    blob = work.git("rev-parse", "main:deploy.yaml")
    (work.top / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    mark, script = tmp_path / "ran", tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {mark}\n")
    script.chmod(0o755)
    for name, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::{script}" if protocol == "ext" else str(work.top),
        "remote.origin.uploadpack": str(script),
        f"protocol.{protocol}.allow": "always",
    }.items():
        work.git("config", name, value)
    found = work.repository
    with refused("tool-failed"):
        added_lines(found, found.parted_from("main"))
    assert not mark.exists()


def test_replaced_commits_are_what_they_were(work: Work) -> None:
    base = work.git("rev-parse", "main")
    work.commit(deploy__yaml="image: us.icr.io/team/app:2\n")
    work.git("replace", base, "HEAD")
    assert added_lines(work.repository, base) == ["image: us.icr.io/team/app:2"]


def test_repository_of_somebody_else_is_read(work: Work) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(work.top, 12345, 12345)
    os.chown(work.top / ".git", 12345, 12345)
    assert work.repository.parted_from("HEAD")
