# SPDX-License-Identifier: Apache-2.0
"""The demo, whole and with each of its parts broken in turn: it must never succeed by luck."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from imgsec.cli.app import command_line
from imgsec.demo.stage import play
from imgsec.demo.story import Places, Step, first_steps, later_steps
from tests.unit.refusals import refused

README = Path(__file__).resolve().parents[2] / "README.md"


def hostile_environment() -> dict[str, str]:
    """What would break every step: each variable that one reads, set to nonsense."""
    commands: Any = command_line()
    read = {"IMGSEC_API_KEY", "IBM_CLOUD_APIKEY", "VAULT_KEY_ID"}
    for name in sorted({step.arguments[0] for step in steps()}):
        for parameter in commands.commands[name].params:
            named = parameter.envvar or []
            read |= {named} if isinstance(named, str) else set(named)
    assert {"IMGSEC_CA_FILE", "SIGNATURE_FINGERPRINT", "GITHUB_OUTPUT", "IMGSEC_TIMEOUT"} <= read
    # The demo has this option too; the parts that it looks for there are found elsewhere.
    return dict.fromkeys(read, "/nonexistent/hostile") | {"IMGSEC_TOOLS_DIR": "/nonexistent"}


def steps() -> list[Step]:
    places = Places(
        clean="c", vulnerable="v", pattern="p", manifests="m", public_key="k", workloads="w"
    )
    return [*first_steps(places), *later_steps(places, "c@d", "v@d")]


def run_demo(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imgsec", "demo", "--folder", str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **(environment or {})},
        check=False,
    )


def shape(text: str) -> list[str]:
    """The lines without what differs from run to run, or wraps differently."""
    for pattern, name in (
        (r"sha256:[0-9a-f]{12,64}", "DIGEST"),
        (r"\b[0-9A-F]{40}\b", "FINGERPRINT"),
        (r"127\.0\.0\.1:\d+", "REGISTRY"),
        (r"20\d\d-\d\d-\d\d", "DAY"),
        (r"/\S*?imgsec-demo", "FOLDER"),
    ):
        text = re.sub(pattern, name, text)
    return [line.rstrip() for line in text.strip().splitlines()]


def test_demo_prints_what_the_readme_shows_and_leaves_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "imgsec-demo"
    done = run_demo(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    block = README.read_text(encoding="utf-8").partition("<!-- demo: ")[2]
    shown = block.partition("```text\n")[2].partition("```")[0]
    assert shape(done.stdout) == shape(shown)

    assert (folder / "public-key.asc").read_text().startswith("-----BEGIN PGP PUBLIC KEY BLOCK")
    assert len(list((folder / "manifests").iterdir())) == 3
    verdicts = {path.stem: json.loads(path.read_text()) for path in (folder / "verdicts").iterdir()}
    assert verdicts["gate-vulnerable"]["outcome"] == "refused"
    assert verdicts["verify-unsigned"]["reasons"][0]["code"] == "signature-missing"
    assert verdicts["sign"]["images"][0]["signature"]["new"] is True
    assert verdicts["sign-again"]["images"][0]["signature"]["new"] is False


@pytest.mark.once
def test_second_demo_into_the_same_folder_works(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    (folder / "manifests").mkdir(parents=True)
    (folder / ".imgsec-demo").touch()
    (folder / "manifests" / "old.yaml").touch()
    done = run_demo(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (folder / "manifests" / "old.yaml").exists()


def test_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    done = run_demo(tmp_path)
    assert done.returncode == 1
    assert "foreign-object" in done.stderr
    assert "--folder" in done.stderr
    assert "--adopt" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_second_demo_at_once_in_the_same_folder_is_told(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "imgsec", "demo", "--folder", str(tmp_path / "d")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert b"A sandbox runs" in first.stdout.readline()
        second = run_demo(tmp_path / "d")
        assert second.returncode == 3
        assert "part-missing: another demo is running in" in second.stderr
        assert first.poll() is None
        first.terminate()


def test_folder_that_cannot_be_read_is_unwritable(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        with refused("output-unwritable"):
            play(closed / "d", None, None, print)
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.once
def test_demo_takes_nothing_from_the_users_environment_and_writes_nothing_there(
    tmp_path: Path,
) -> None:
    summary, output = tmp_path / "summary", tmp_path / "output"
    summary.touch()
    output.touch()
    files = {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)}
    done = run_demo(tmp_path / "d", environment=hostile_environment() | files)
    assert done.returncode == 0, done.stdout + done.stderr
    assert summary.read_bytes() == output.read_bytes() == b""


@pytest.mark.once
@pytest.mark.parametrize(
    "tool", ["skopeo", "buildah", "gpg", "gpg-connect-agent", "gpgv", "docker-registry"]
)
def test_broken_tool_fails_the_demo_and_is_named(tmp_path: Path, tool: str) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    broken = tools / tool
    broken.write_text("#!/bin/sh\necho it is broken >&2\nexit 9\n")
    broken.chmod(0o755)
    done = run_demo(tmp_path / "d", "--tools-dir", str(tools))
    assert done.returncode in (3, 70), done.stdout + done.stderr
    assert tool in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert "Every outcome was the expected one" not in done.stdout


@pytest.mark.once
@pytest.mark.parametrize(
    ("service", "words"),
    [
        ("iam", "setup-signing-keys"),
        ("kms", "setup-signing-keys"),
        ("va", "scan-gate"),
        ("registry", "pushing"),
    ],
)
def test_broken_service_fails_the_demo_and_is_named(
    tmp_path: Path, service: str, words: str
) -> None:
    sandbox = tmp_path / "s"
    sandbox.mkdir(mode=0o700)
    (sandbox / "faults.json").write_text(json.dumps({service: [{"kind": "500"}]}))
    done = run_demo(tmp_path / "d", "--sandbox-dir", str(sandbox))
    assert done.returncode == 70, done.stdout + done.stderr
    assert words in done.stderr, done.stderr
    assert "500" in done.stderr, done.stderr


def test_missing_tool_is_a_missing_part(tmp_path: Path) -> None:
    code = (
        "import imgsec.adapters._process as process, sys\n"
        "process._TOOL_DIRS = ()\n"
        "from imgsec.cli.failures import run\n"
        f"sys.exit(run(['demo', '--folder', {str(tmp_path / 'd')!r}]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3
    missing = "skopeo, buildah, gpg, gpg-agent, gpg-connect-agent, gpgconf, gpgv, docker-registry"
    assert missing in " ".join(done.stderr.split())
