# SPDX-License-Identifier: Apache-2.0
"""Words that need no work load nothing heavy: each pipeline step would pay for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import CommandLine, Ended, plain_environment

HEAVY = ("requests", "urllib3", "jinja2", "yaml", "ibm_cloud_sdk_core", "jwt", "gnupg", "sh")
SERVICES = ("starlette", "uvicorn", "httptools", "aiohttp", "trustme", "sqlite3", "asyncio")


def loaded(folder: Path, words: tuple[str, ...]) -> tuple[Ended, set[str]]:
    """The run, and every module that the interpreter imported in it, by its own account."""
    done = CommandLine(folder).plain(*words, env={"PYTHONPROFILEIMPORTTIME": "1"})
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return done, {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize(
    "words",
    [
        ("--version",),
        ("--help",),
        (),
        ("sign-image", "--help"),
        ("setup-signing-keys", "--help"),
        ("scan-gate", "--help"),
        ("verify-image", "--help"),
        ("resolve", "--help"),
        ("publish-policy", "--help"),
        ("images", "--help"),
        ("demo", "--help"),
        ("keys", "--help"),
        ("keys", "list", "--help"),
        ("sandbox", "--help"),
        ("sandbox", "run", "--help"),
        ("no-such-command",),
        ("sign-image",),
        ("sign-image", "--no-such-option"),
        ("sign-image", "nonsense", "--key", "kms://release"),
        ("verify-image", "nonsense", "--key", "kms://release"),
        ("scan-gate", "nonsense"),
        ("resolve", "nonsense"),
        ("images", "nonsense"),
    ],
)
def test_words_without_work_import_nothing_heavy(tmp_path: Path, words: tuple[str, ...]) -> None:
    done, modules = loaded(tmp_path, words)
    assert done.code in (0, 2), done.stderr
    assert "imgsec.cli.app" in modules
    assert not modules & set(HEAVY)
    if words[:1] != ("sandbox",):
        assert not modules & set(SERVICES)
        assert not {name for name in modules if name.startswith("imgsec.sandbox")}


@pytest.mark.parametrize(
    ("words", "asked_for"),
    [
        (("--version",), set()),
        (("no-such-command",), set()),
        (("sign-image", "--help"), {"sign_image"}),
        (("keys", "list", "--no-such-option"), {"keys"}),
    ],
)
def test_one_command_does_not_import_the_others(
    tmp_path: Path, words: tuple[str, ...], asked_for: set[str]
) -> None:
    code = (
        "import sys; from imgsec.cli.failures import run; run(sys.argv[1:]);"
        "print(*sys.modules, sep='\\n', file=open('modules', 'w'))"
    )
    subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        env=plain_environment(tmp_path),
        check=True,
        timeout=60,
    )
    modules = set((tmp_path / "modules").read_text().split())
    commands = {"sign_image", "verify_image", "scan_gate", "resolve", "publish_policy", "keys"}
    commands |= {"setup_signing_keys", "demo", "sandbox", "images"}
    assert {name for name in commands if f"imgsec.cli.{name}" in modules} == asked_for


def test_production_never_knows_the_sandbox(tmp_path: Path) -> None:
    done, modules = loaded(tmp_path, ("resolve", "127.0.0.1:1/app:1", "--timeout", "1"))
    assert done.code == 3
    assert "requests" in modules
    assert not {name for name in modules if name.startswith("imgsec.sandbox")}
