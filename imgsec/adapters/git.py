# SPDX-License-Identifier: Apache-2.0
"""What changed in a repository since a revision, by git, of commits only.

A repository under test brings its own configuration, which can name programs for git to run: hooks,
file system monitors, filters, other diffs, and ways to fetch what a partial clone lacks. None of
them is run: the working tree is not looked at, commits are compared without them, and no protocol
is allowed. Nor can its attributes hide a change by calling a file binary.
"""

from __future__ import annotations

import re
from pathlib import Path

from imgsec.adapters._process import Completed, Tools, run_briefly
from imgsec.domain.exemption_review import ChangedPlace
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_UNREADABLE, INVALID_OPTION

_SECONDS = 60.0
_REVISION = re.compile(r"[^\s\x00-\x1f\x7f-]\S{0,199}")  # no option; git knows the rest
_AROUND = 1000  # lines; hardly a file has an image's name and its tag further apart
_ADDED = ">"  # no line of a patch but an added one begins with it, whatever a file holds
_OURS = (
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.pager=cat"),
    *("-c", "protocol.allow=never", "-c", "core.quotePath=false"),
    *("-c", "safe.directory=*"),  # a pipeline's checkout belongs to another user of the pod
)
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    # Stronger than protocol.ext.allow in the repository, which would run its remote as a command.
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",  # commits as they are, and not as refs/replace has them
}


class Repository:
    """The one that a file is in."""

    def __init__(self, tools: Tools, file: Path) -> None:
        self._program = str(tools.find("git"))
        self._folder = file.absolute().parent
        self._file = file.absolute()
        found = self._run("rev-parse", "--show-toplevel")
        if found.exit_code != 0:
            raise ImgsecError(INPUT_UNREADABLE(f"{shown(str(file))} is in no git repository"))
        top = Path(found.stdout.decode("utf-8", "surrogateescape").removesuffix("\n"))
        try:
            self._name = self._file.resolve().relative_to(top.resolve()).as_posix()
        except (ValueError, RuntimeError):  # core.worktree points elsewhere, or the file is a link
            text = f"{shown(str(file))} lies outside the git repository that it is named in"
            raise ImgsecError(INPUT_UNREADABLE(text)) from None

    def parted_from(self, revision: str) -> str:
        """The commit at which HEAD and the revision parted, as a review of a change begins there.

        Raises `ImgsecError` (invalid-option).
        """
        if _REVISION.fullmatch(revision):
            found = self._run("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
            if found.exit_code == 0:
                base = self._run("merge-base", found.stdout.decode().strip(), "HEAD")
                if base.exit_code == 0:
                    return base.stdout.decode().strip()
        raise ImgsecError(
            INVALID_OPTION(
                f"--since {shown(revision)} is no commit here that HEAD has a history with",
                hint="In a pipeline, check out with its history (fetch-depth: 0).",
            )
        )

    def content_at(self, commit: str) -> bytes | None:
        """The file as it was in a commit; None where there was no such file."""
        where = f":(top,literal){self._name}"
        listed = self._run("ls-tree", "-z", "--full-name", commit, "--", where).require_success()
        if b" blob " not in listed.stdout.partition(b"\t")[0]:
            return None
        return self._run("cat-file", "blob", f"{commit}:{self._name}").require_success().stdout

    def changed_files(self, commit: str) -> list[str]:
        """The other files that differ between a commit and HEAD, from the top of the repository."""
        names = self._diff(commit, "--name-only", "-z").decode("utf-8", "surrogateescape")
        return [name for name in names.split("\0") if name]

    def changed_places(self, commit: str) -> list[ChangedPlace]:
        """Where other files have lines in HEAD that they had not in the commit."""
        form = (
            f"--unified={_AROUND}",
            "--inter-hunk-context=0",
            f"--output-indicator-new={_ADDED}",
        )
        patch = self._diff(commit, *form).decode("utf-8", "replace")
        places: list[tuple[list[str], list[str]]] = []
        for line in patch.split("\n"):
            if line.startswith("@@"):
                places.append(([], []))
            elif line.startswith(_ADDED):
                places[-1][0].append(line[1:])
            elif line.startswith(" "):
                places[-1][1].append(line[1:])
        return [ChangedPlace(tuple(added), tuple(around)) for added, around in places if added]

    def _diff(self, commit: str, *form: str) -> bytes:
        """Of all files but the ledger; each option here undoes a setting or an attribute."""
        plain = (
            *("--no-ext-diff", "--no-textconv", "--no-renames", "--no-color", "--text"),
            *("--no-relative", "--submodule=short", "--ignore-submodules=none", "-O/dev/null"),
        )
        others = (":(top)", f":(top,exclude,literal){self._name}")
        done = self._run("diff", *plain, *form, commit, "HEAD", "--", *others)
        return done.require_success().stdout

    def _run(self, *words: str) -> Completed:
        argv = [self._program, "-C", str(self._folder), *_OURS, *words]
        return run_briefly(argv, environment=_ENVIRONMENT, timeout=_SECONDS)
