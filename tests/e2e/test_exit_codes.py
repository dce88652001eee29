# SPDX-License-Identifier: Apache-2.0
"""The exit code is a contract, whatever goes wrong: 1 means refused and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, CommandLine

BARE = ("verify-image", "nonsense", "--key", "kms://release")
DIES_ON_IMPORT = "raise ImportError('broken on purpose')\n"
FAILS_INSIDE = """
import imgsec.domain.reference as module
def fail(*_):
    raise {error}
module.ImageReference.parse = classmethod(fail)
"""


@pytest.fixture
def imgsec(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def planted(folder: Path, name: str, content: str) -> dict[str, str]:
    """An environment in which Python finds this module first."""
    place = folder / "planted"
    place.mkdir()
    (place / f"{name}.py").write_text(content)
    return {"PYTHONPATH": f"{place}{os.pathsep}{ROOT}"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 2),
        (("--help",), 0),
        (("--version",), 0),
        (("-h",), 0),
        (("sign-image",), 2),
        (("verify-image",), 2),
        (("scan-gate",), 2),
        (("resolve",), 2),
        (("images",), 2),
        (("setup-signing-keys",), 2),
        (("publish-policy",), 2),
        (("no-such-command",), 2),
        (("--no-such-option",), 2),
        (("resolve", "--help"), 0),
        (("resolve", "r.example/app:1", "--no-such-option"), 2),
        (("resolve", "r.example/app:1", "--timeout", "soon"), 2),
        (("resolve", "r.example/app:1", "--output", "yaml"), 2),
        (("resolve", "r.example/app:1", "r.example/app:2"), 2),
        (("sandbox",), 2),
        (("sandbox", "no-such-command"), 2),
    ],
)
def test_words_alone_decide(imgsec: CommandLine, words: tuple[str, ...], code: int) -> None:
    done = imgsec.plain(*words)
    assert done.code == code, done.stderr
    assert "Traceback" not in done.stderr


def test_usage_error_is_json_where_json_was_asked_for(imgsec: CommandLine) -> None:
    imgsec("resolve", "r.example/app:1", "--no-such-option").expect(2, "invalid-option")
    imgsec(*BARE).expect(2, "invalid-reference")
    imgsec(*BARE, env={"IMGSEC_OUTPUT": "json"}).expect(2, "invalid-reference")


@pytest.mark.parametrize("words", [(), ("--no-such-option",)])
def test_output_without_a_file_name_is_one_mistake(
    imgsec: CommandLine, words: tuple[str, ...]
) -> None:
    done = imgsec("resolve", "r.example/app:1", "--output", "json=", *words)
    done.expect(2, "invalid-option")
    assert len(done.json["reasons"]) == 1


def test_output_that_cannot_be_written_is_told_once_and_where_it_can(
    imgsec: CommandLine, tmp_path: Path
) -> None:
    report, folder = tmp_path / "report.json", str(tmp_path)
    done = imgsec(
        *("resolve", "r.example/app:1", "--output", f"json={report}"),
        env={"GITHUB_OUTPUT": folder, "IMGSEC_RESULT_DIGEST_FILE": "/nonexistent/x"},
    )
    done.expect(3, "output-unwritable")
    assert [folder in reason["text"] for reason in done.json["reasons"]].count(True) == 1
    assert len(done.json["reasons"]) == 2
    assert json.loads(report.read_bytes()) == done.json


@pytest.mark.parametrize(
    "error", ["RuntimeError('no', 'way')", "KeyError('x')", "RecursionError()"]
)
def test_bug_is_70_and_never_a_verdict(imgsec: CommandLine, tmp_path: Path, error: str) -> None:
    environment = planted(tmp_path, "sitecustomize", FAILS_INSIDE.format(error=error))
    imgsec(*BARE, env=environment).expect(70, "internal-error")
    shown = imgsec.plain(*BARE, env={**environment, "IMGSEC_TRACEBACK": "1"})
    assert shown.code == 70
    assert "Traceback" in shown.stderr


def test_library_that_ends_the_process_does_not_decide(imgsec: CommandLine, tmp_path: Path) -> None:
    environment = planted(tmp_path, "sitecustomize", FAILS_INSIDE.format(error="SystemExit(1)"))
    assert imgsec.plain(*BARE, env=environment).code in (3, 70)


@pytest.mark.parametrize("module", ["requests", "gnupg", "ibm_cloud_sdk_core"])
def test_library_that_cannot_be_imported_is_70(
    imgsec: CommandLine, tmp_path: Path, module: str
) -> None:
    environment = planted(tmp_path, module, DIES_ON_IMPORT)
    environment["IBM_CLOUD_APIKEY"] = "x"
    instance = ("--kms-instance", "0a1b2c3d-1234-4abc-8def-0123456789ab")
    words = ("verify-image", "127.0.0.1:1/app:1", "--key", "kms://release", *instance)
    imgsec(*words, env=environment).expect(70, "internal-error")


@pytest.mark.parametrize("module", ["typer", "dataclasses"])
def test_framework_that_cannot_be_imported_is_70(
    imgsec: CommandLine, tmp_path: Path, module: str
) -> None:
    done = imgsec.plain(*BARE, env=planted(tmp_path, module, DIES_ON_IMPORT))
    assert done.code == 70, done.stderr
    assert "broken on purpose" in done.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signal_has_its_code(
    imgsec: CommandLine, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    # The run sends the signal to itself as soon as its own code is reached.
    body = f"import os\n{FAILS_INSIDE}".replace("raise {error}", f"os.kill(os.getpid(), {number})")
    done = imgsec.plain(*BARE, env=planted(tmp_path, "sitecustomize", body))
    assert done.code == code
    assert "Traceback" not in done.stderr


def run_with(
    words: tuple[str, ...], folder: Path, *, stdout: int | None, stderr: int | None
) -> int:
    """The exit code of a run with these descriptors."""
    return subprocess.run(
        CommandLine.argv(*words),
        env=CommandLine(folder).variables(),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        check=False,
        timeout=60,
    ).returncode


@pytest.fixture
def broken_pipe() -> object:
    """A descriptor whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@pytest.mark.parametrize("words", [("--help",), ("--version",), BARE, (*BARE, "--output", "json")])
def test_reader_that_has_gone_is_never_a_refusal(
    tmp_path: Path, broken_pipe: int, words: tuple[str, ...]
) -> None:
    code = run_with(words, tmp_path, stdout=broken_pipe, stderr=subprocess.PIPE)
    assert code in (0, 2, 3)


@pytest.mark.parametrize("words", [("--help",), BARE, (*BARE, "--output", "json")])
def test_listener_that_has_gone_is_never_a_refusal(
    tmp_path: Path, broken_pipe: int, words: tuple[str, ...]
) -> None:
    code = run_with(words, tmp_path, stdout=broken_pipe, stderr=broken_pipe)
    assert code in (0, 2, 3)


@pytest.mark.parametrize("words", [("--version",), BARE, (*BARE, "--output", "json")])
def test_full_device_is_never_a_refusal(tmp_path: Path, words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        code = run_with(words, tmp_path, stdout=full.fileno(), stderr=subprocess.PIPE)
    assert code in (2, 3)


@pytest.mark.parametrize("descriptor", ["1", "2"])
def test_closed_descriptor_is_never_a_refusal(tmp_path: Path, descriptor: str) -> None:
    script = f'exec "$@" {descriptor}>&-'
    done = subprocess.run(
        ["/bin/sh", "-c", script, "sh", *CommandLine.argv(*BARE)],
        env=CommandLine(tmp_path).variables(),
        cwd=tmp_path,
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode in (2, 3), done.stderr


def test_terminal_of_another_encoding_is_no_bug(imgsec: CommandLine) -> None:
    done = imgsec.plain("resolve", "r.example/\u00e4pp:1", env={"PYTHONIOENCODING": "ascii"})
    assert done.code == 2, done.stderr


def test_arguments_that_are_no_text_are_a_usage_error(tmp_path: Path) -> None:
    for extra in ([], ["--output", "json"]):
        done = subprocess.run(
            [sys.executable, "-m", "imgsec", "resolve", b"r.example/\xff\xfe:1", *extra],
            env=CommandLine(tmp_path).variables(),
            check=False,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 2, done.stderr
