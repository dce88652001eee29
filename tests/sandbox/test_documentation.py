# SPDX-License-Identifier: Apache-2.0
"""docs/sandbox.md says what the sandbox really does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imgsec.sandbox.advisor.scenario import Scenario
from imgsec.sandbox.faults import KINDS
from imgsec.sandbox.lifecycle import Sandbox
from imgsec.sandbox.seeds import DEFAULT_SCENARIO
from imgsec.sandbox.tokens import ROLES

from .conftest import CommandLine, plain_environment

pytestmark = pytest.mark.once

PAGE = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()


def names_in_table(heading: str) -> set[str]:
    """What stands in code style in the first column of the table under HEADING."""
    table = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_variable_is_described(sandbox: Sandbox) -> None:
    assert names_in_table("variable") == set(sandbox.environment)


def test_every_fault_and_role_is_described() -> None:
    assert names_in_table("kind") == set(KINDS)
    assert names_in_table("role") == set(ROLES)


def test_help_names_every_fault(imgsec: CommandLine) -> None:
    shown = imgsec("faults", "set", "--help", env={"COLUMNS": "400"}).stdout
    assert set(KINDS) <= set(re.findall(r"[\w-]+", shown))


def test_the_shown_scenario_is_one() -> None:
    shown = PAGE.partition("```yaml\n")[2].partition("```")[0]
    (rule,) = Scenario.parse(shown.encode()).rules
    assert rule.steps == ("UNSCANNED", "INCOMPLETE", "FAIL")
    assert rule.vulnerabilities[0].notices[0].packages[0].fix == "2.5.0-1+deb12u1"


def test_the_default_scenario_is_as_told() -> None:
    scenario = Scenario.parse(DEFAULT_SCENARIO.read_bytes())
    for word in re.findall(r"`(\w+)`", PAGE.partition("all of it fictional")[2].partition("##")[0]):
        if word.islower():
            assert scenario.rule(f"team/{word}-app", (), None) is not scenario.rule("x", (), None)
    assert not scenario.rule("team/app", (), None).vulnerabilities


def test_the_shown_commands_work(
    imgsec: CommandLine, tmp_path: Path, layout: Callable[..., Path]
) -> None:
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    assert len(lines) >= 11
    layout().rename(tmp_path / "layout")
    program = tmp_path / "bin" / "imgsec"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m imgsec "$@"\n')
    program.chmod(0o755)
    environment = plain_environment(imgsec.home) | {"XDG_STATE_HOME": str(tmp_path / "state")}
    environment["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    environment.setdefault("PYTHONPATH", str(Path(__file__).parents[2]))
    try:
        done = subprocess.run(
            ["sh", "-ec", "\n".join(lines)],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    finally:
        imgsec("down", "--purge", env=environment)
    assert done.returncode == 0, done.stderr
    assert '{"repositories":[]}' in done.stdout
