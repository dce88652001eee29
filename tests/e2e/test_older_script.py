# SPDX-License-Identifier: Apache-2.0
"""The script for people who know the older one: its variables, this command's work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Bench
from tests.support import plain_environment

pytestmark = pytest.mark.once

SCRIPT = Path(__file__).parents[2] / "scripts" / "setup-image-signing-keys.sh"


def run(bench: Bench, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    tools = bench.folder / "bin"
    tools.mkdir(exist_ok=True)
    shim = tools / "imgsec"
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m imgsec "$@"\n')
    shim.chmod(0o755)
    copy = bench.folder / "project" / "scripts" / SCRIPT.name  # away from any .venv
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(SCRIPT.read_bytes())
    copy.chmod(0o755)
    variables = {
        name: value
        for name, value in bench.environment.items()
        if not name.startswith(("IMGSEC_KMS", "IMGSEC_API_KEY"))
    }
    variables |= {
        "PATH": f"{tools}:/usr/bin:/bin",
        "PYTHONPATH": str(SCRIPT.parents[1]),
        "IBM_CLOUD_APIKEY": bench.sandbox.api_key("manager"),
        "VAULT_URL": bench.sandbox.identity.url("kms"),
        "VAULT_INSTANCE_ID": bench.sandbox.identity.kms_instance,
        **changes,
    }
    return subprocess.run(
        [str(copy), *words],
        env=plain_environment(bench.folder) | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=bench.folder,
    )


def test_older_variables_are_enough(bench: Bench) -> None:
    alias = bench.alias()
    words = ("--repository", "us.icr.io/team/*", "--render", "out", "--alias", alias)
    done = run(bench, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (bench.folder / "out" / "portieris-keys.secret.yaml").exists()
    assert set(bench.keys(alias)) == {alias, f"{alias}-public", f"{alias}-revocation"}


def test_without_a_folder_the_cluster_is_meant(bench: Bench) -> None:
    done = run(bench, "--repository", "us.icr.io/team/*", KUBECONFIG="/nowhere")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "cluster-unreachable" in done.stdout + done.stderr
    assert bench.keys("image-signing") == {}


@pytest.mark.parametrize("name", ["IBM_CLOUD_APIKEY", "VAULT_URL", "VAULT_INSTANCE_ID"])
def test_missing_variable_is_named_and_one_with_a_space_is_none(bench: Bench, name: str) -> None:
    done = run(bench, "--repository", "us.icr.io/team/*", "--render", "out", **{name: ""})
    assert done.returncode == 2
    assert name in done.stderr
    done = run(bench, "--repository", "us.icr.io/team/*", "--render", "out", **{name: "a b"})
    assert done.returncode == 2, done.stdout + done.stderr
    assert "not found" not in done.stderr  # by the shell


def test_missing_program_is_said(bench: Bench) -> None:
    done = run(bench, "--repository", "r.example/*", PATH="/usr/bin:/bin")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "not installed" in done.stderr
