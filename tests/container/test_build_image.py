# SPDX-License-Identifier: Apache-2.0
"""scripts/build-image by itself: what it refuses, and that its page tells no other story."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.container.base import PROJECT

# The images are built once, by one worker, and hold their own Python.
pytestmark = [pytest.mark.xdist_group("container"), pytest.mark.once]
PAGE = PROJECT / "docs/container.md"


def build_image(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROJECT / "scripts/build-image", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "all"], "--target is tools or demo, not all"),
        (["--colour"], "unknown option --colour"),
        (["--tag"], "--tag needs a value"),
        (["--base="], "--base needs a value"),
        (["--python", "3"], "--python is a version like 3.11"),
        (["--push", "imgsec:1"], "--push needs a repository with a tag"),
        (["--push", "localhost:5000/imgsec"], "--push needs a repository with a tag"),
        (["--push", f"localhost:5000/imgsec@sha256:{'0' * 64}"], "not localhost:5000/imgsec@sha"),
    ],
)
def test_a_wrong_question_builds_nothing(words: list[str], message: str) -> None:
    done = build_image(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_the_page_names_options_and_arguments_that_exist() -> None:
    page = PAGE.read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if "scripts/build-image" in line]
    named = set(re.findall(r"(?<=\s)--[a-z-]+", " ".join(lines)))
    offered = set(re.findall(r"--[a-z-]+", build_image("--help").stdout))
    assert {"--push", "--target", "--base", "--only-wheels"} <= named
    assert named - {"--image"} <= offered
    containerfile = (PROJECT / "Containerfile").read_text(encoding="utf-8")
    for argument in re.findall(r"--build-arg ([A-Z]+)=", page):
        assert re.search(rf"^ARG {argument}\b", containerfile, re.MULTILINE)
