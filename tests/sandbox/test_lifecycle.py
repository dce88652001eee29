# SPDX-License-Identifier: Apache-2.0
"""A sandbox starts, is found, ends, and leaves nothing behind, however it is ended."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgsec.sandbox.lifecycle import find
from imgsec.sandbox.locks import is_held, wait_until_free

from .conftest import Client, CommandLine, variables_of_the_real_services

# What a user may have set for the real services, besides the options of the commands.
REAL = ("IMGSEC_API_KEY", "IBM_CLOUD_APIKEY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture
def state(tmp_path: Path, imgsec: CommandLine) -> Iterator[Path]:
    """A state folder whose sandbox, if one runs at the end, is ended."""
    folder = tmp_path / "state"
    yield folder
    imgsec("down", "--dir", str(folder))


def processes_of(state: Path) -> set[int]:
    """Every process that has the folder in its command line, as nobody else's has."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(word.startswith(os.fsencode(state)) for word in words):
                found.add(int(entry.name))
    return found


def assert_nothing_left(state: Path) -> None:
    assert wait_until_free(state / "family.lock", seconds=10)
    assert processes_of(state) == set()
    assert not (state / "run").exists() or not list((state / "run").iterdir())


def test_up_status_env_down(imgsec: CommandLine, state: Path) -> None:
    up = imgsec("up", "--dir", str(state))
    assert up.returncode == 0, up.stderr
    found = json.loads(imgsec("status", "--dir", str(state), "--output", "json").stdout)
    assert found["state"] == "running"
    assert {service["name"] for service in found["services"]} == {"registry", "iam", "kms"}
    assert all(service["answers"] for service in found["services"])
    assert set(found["processes"]) == {"docker-registry", "services", "front"}
    again = imgsec("up", "--dir", str(state))
    assert again.returncode == 0
    assert "running already" in again.stderr
    refused = imgsec("up", "--dir", str(state), "--new-ports")
    assert refused.returncode == 2
    values = json.loads(imgsec("env", "--dir", str(state), "--format", "json").stdout)
    assert values["IMGSEC_SANDBOX_DIR"] == str(state)
    down = imgsec("down", "--dir", str(state))
    assert down.returncode == 0
    assert_nothing_left(state)
    stopped = imgsec("status", "--dir", str(state))
    assert stopped.returncode == 3
    assert stopped.stdout.startswith("stopped")
    assert imgsec("env", "--dir", str(state)).returncode == 3
    assert imgsec("down", "--dir", str(state)).returncode == 0


def test_shell_environment_can_be_evaluated(imgsec: CommandLine, tmp_path: Path) -> None:
    state = tmp_path / "it's a $(folder)"
    assert imgsec("up", "--dir", str(state)).returncode == 0
    try:
        command = " ".join(f"'{word}'" for word in imgsec.argv("env"))
        shown = subprocess.run(
            ["sh", "-c", f'eval "$({command})" && printf %s "$IMGSEC_API_KEY_FILE"'],
            env={**os.environ, "IMGSEC_SANDBOX_DIR": str(state)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert shown.stdout == str(state / "apikey")
    finally:
        imgsec("down", "--dir", str(state), "--purge")
    assert not state.exists()


def test_state_is_private(imgsec: CommandLine, state: Path) -> None:
    imgsec("up", "--dir", str(state), umask=0o002)
    for path in [state, *state.rglob("*")]:
        if stat.S_ISSOCK(path.stat().st_mode) or "registry" in path.parts:
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_data_and_ports_survive_a_restart(imgsec: CommandLine, state: Path) -> None:
    imgsec("up", "--dir", str(state))
    before = find(state)
    with Client(before) as client:
        key = client.create(payload="aGVsbG8=", aliases=["lasting"]).json()["resources"][0]
    imgsec("down", "--dir", str(state))
    imgsec("up", "--dir", str(state))
    after = find(state)
    assert after.environment == before.environment
    with Client(after) as client:
        found = client.kms("GET", "/api/v2/keys/lasting").json()["resources"][0]
    assert (found["id"], found["payload"]) == (key["id"], "aGVsbG8=")


def test_two_ups_at_once_give_one_sandbox(imgsec: CommandLine, state: Path) -> None:
    both = [imgsec.start("up", "--dir", str(state)) for _ in range(2)]
    said = sorted(process.communicate(timeout=60)[1] for process in both)
    assert [process.returncode for process in both] == [0, 0], said
    assert "ready" in said[0] + said[1]
    assert "running already" in said[0] + said[1]
    assert len(processes_of(state)) == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_the_supervisor(
    imgsec: CommandLine, state: Path, number: signal.Signals
) -> None:
    imgsec("up", "--dir", str(state))
    note = json.loads((state / "run" / "processes.json").read_bytes())
    os.kill(note["supervisor"], number)
    assert_nothing_left(state)
    again = imgsec("up", "--dir", str(state))
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("child", ["docker-registry", "services", "front"])
def test_a_dead_child_ends_the_sandbox_and_is_named(
    imgsec: CommandLine, state: Path, child: str
) -> None:
    imgsec("up", "--dir", str(state))
    note = json.loads((state / "run" / "processes.json").read_bytes())
    os.kill(note["children"][child], signal.SIGKILL)
    assert_nothing_left(state)
    found = json.loads(imgsec("status", "--dir", str(state), "--output", "json").stdout)
    assert found["state"] == "stopped"
    assert found["reason"].startswith(f"{child} ended")


def test_a_silent_service_is_degraded(imgsec: CommandLine, state: Path) -> None:
    imgsec("up", "--dir", str(state))
    pid = json.loads((state / "run" / "processes.json").read_bytes())["children"]["services"]
    os.kill(pid, signal.SIGSTOP)
    try:
        found = imgsec("status", "--dir", str(state), "--output", "json")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert found.returncode == 3
    assert json.loads(found.stdout)["state"] == "degraded"


def test_a_stopped_supervisor_is_still_ended(imgsec: CommandLine, state: Path) -> None:
    imgsec("up", "--dir", str(state))
    note = json.loads((state / "run" / "processes.json").read_bytes())
    os.kill(note["children"]["services"], signal.SIGSTOP)
    assert imgsec("down", "--dir", str(state)).returncode == 0
    assert_nothing_left(state)


def test_an_up_that_is_killed_leaves_a_usable_folder(imgsec: CommandLine, state: Path) -> None:
    first = imgsec.start("up", "--dir", str(state))
    while not (state / "logs").is_dir():
        time.sleep(0.01)
    first.kill()
    first.communicate()
    again = imgsec("up", "--dir", str(state))
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("moment", ["command.lock", "logs/supervisor.log"])
def test_purge_removes_what_an_up_left_that_was_killed(
    imgsec: CommandLine, state: Path, moment: str
) -> None:
    first = imgsec.start("up", "--dir", str(state))
    while not (state / moment).exists():
        time.sleep(0.001)
    first.kill()
    first.communicate()
    done = imgsec("down", "--purge", "--dir", str(state))
    assert done.returncode == 0, done.stderr
    assert "state removed" in done.stderr
    assert not state.exists()
    assert processes_of(state) == set()


def test_interrupted_up_leaves_nothing(imgsec: CommandLine, state: Path) -> None:
    first = imgsec.start("up", "--dir", str(state))
    while not is_held(state / "supervisor.lock"):
        time.sleep(0.01)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=30)
    assert first.returncode == 130
    assert_nothing_left(state)


# --- run --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", 137)])
def test_run_passes_the_exit_code(imgsec: CommandLine, script: str, code: int) -> None:
    assert imgsec("run", "--", "sh", "-c", script).returncode == code


def test_run_gives_the_environment_and_removes_its_state(
    imgsec: CommandLine, tmp_path: Path
) -> None:
    script = 'printf "%s\\n" "$IMGSEC_SANDBOX_DIR"; curl -sf "https://$IMGSEC_SANDBOX_REGISTRY/.sandbox/health"'
    done = imgsec("run", "--", "sh", "-c", script, env={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    directory, health = done.stdout.splitlines()
    assert Path(directory).parent == tmp_path
    assert not Path(directory).exists()
    assert health


def test_run_wins_over_what_is_set_for_the_real_services(
    imgsec: CommandLine, tmp_path: Path
) -> None:
    program, verdict = f"{sys.executable} -m imgsec", tmp_path / "verdict.json"
    script = (
        f"{program} setup-signing-keys --alias demo --repository 'r.example/*' --quiet"
        f" --render {tmp_path / 'm'} &&"
        f" {program} keys check --key kms://demo --quiet && {program} keys list --quiet &&"
        f" {program} sign-image --key kms://demo --output json={verdict}"
        " $IMGSEC_SANDBOX_REGISTRY/team/app:1"
    )
    names = {*REAL, *itertools.chain(*variables_of_the_real_services())}
    hostile = dict.fromkeys(names, "/nonexistent/hostile")
    done = imgsec("run", "--", "sh", "-c", script, env=hostile)
    assert verdict.exists(), done
    reasons = json.loads(verdict.read_bytes())["reasons"]
    assert [reason["code"] for reason in reasons] == ["image-not-found"], reasons


def test_run_knows_missing_commands(imgsec: CommandLine) -> None:
    missing = imgsec("run", "--", "no-such-program")
    assert missing.returncode == 3
    assert "tool-missing" in missing.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_forwards_signals_and_leaves_nothing(
    imgsec: CommandLine, tmp_path: Path, number: signal.Signals
) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    caught = f"import signal, sys; signal.signal({int(number)}, lambda *_: sys.exit(40))"
    script = f"{caught}; open({str(ready)!r}, 'w').close(); signal.pause()"
    state = tmp_path / "state"
    running = imgsec.start("run", "--dir", str(state), "--", sys.executable, "-c", script)
    ready.open().close()
    running.send_signal(number)
    running.communicate(timeout=30)
    assert running.returncode == 40
    assert_nothing_left(state)


def test_nothing_outlives_a_killed_run(imgsec: CommandLine, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    os.mkfifo(ready)
    script = f'printf "%s" "$IMGSEC_SANDBOX_DIR" > {ready}; exec sleep 100'
    running = imgsec.start("run", "--", "sh", "-c", script, env={"TMPDIR": str(tmp_path)})
    state = Path(ready.read_text())
    running.kill()
    running.communicate()
    deadline = time.monotonic() + 10
    while (state.exists() or processes_of(state)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not state.exists()
    assert processes_of(state) == set()


# --- Bad beginnings ---------------------------------------------------------------------------


def test_a_foreign_folder_is_refused(imgsec: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    refused = imgsec("up", "--dir", str(tmp_path))
    assert refused.returncode == 1
    assert "foreign-object" in refused.stderr
    left = imgsec("down", "--purge", "--dir", str(tmp_path))
    assert left.returncode == 0
    assert "removed" not in left.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.txt", "home"}


def test_an_unwritable_folder_is_named(imgsec: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    refused = imgsec("up", "--dir", str(file / "state"))
    assert refused.returncode == 3
    assert "output-unwritable" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("command", ["status", "env", "down"])
def test_a_folder_that_cannot_be_looked_at_is_named(
    imgsec: CommandLine, tmp_path: Path, command: str
) -> None:
    refused = imgsec(command, "--dir", str(tmp_path / ("x" * 300)))
    assert refused.returncode == 2
    assert "input-unreadable" in refused.stderr


def test_a_missing_registry_is_named(imgsec: CommandLine, state: Path, tmp_path: Path) -> None:
    missing = imgsec("up", "--dir", str(state), env={"PATH": str(tmp_path)})
    assert missing.returncode == 3
    assert "part-missing" in missing.stderr
    assert "docker-registry is not installed" in missing.stderr


def test_a_broken_registry_is_reported_with_its_words(
    imgsec: CommandLine, state: Path, tmp_path: Path
) -> None:
    program = tmp_path / "tools" / "docker-registry"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'no space left' >&2; exit 9\n")
    program.chmod(0o755)
    broken = imgsec("up", "--dir", str(state), env={"IMGSEC_TOOLS_DIR": str(program.parent)})
    assert broken.returncode == 3
    assert "part-missing" in broken.stderr
    assert "no space left" in broken.stderr
    assert_nothing_left(state)


def test_a_taken_port_is_named_and_can_be_changed(imgsec: CommandLine, state: Path) -> None:
    imgsec("up", "--dir", str(state))
    port = find(state).identity.ports["kms"]
    imgsec("down", "--dir", str(state))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        taken = imgsec("up", "--dir", str(state))
        assert taken.returncode == 3
        assert str(port) in taken.stderr
        assert imgsec("up", "--dir", str(state), "--new-ports").returncode == 0
        assert find(state).identity.ports["kms"] != port


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("faults.json", "[]"),
        ("faults.json", '{"kms": [{"kind": "nonsense"}]}'),
        ("scenario.yaml", "a: b"),
    ],
)
def test_malformed_files_are_refused_before_the_start(
    imgsec: CommandLine, state: Path, name: str, content: str
) -> None:
    state.mkdir(mode=0o700)
    (state / name).write_text(content)
    refused = imgsec("up", "--dir", str(state))
    assert refused.returncode == 2
    assert "input-malformed" in refused.stderr
    assert not is_held(state / "supervisor.lock")


def test_a_long_path_is_no_hindrance(imgsec: CommandLine, tmp_path: Path) -> None:
    state = tmp_path / ("deep" * 20) / ("deeper" * 10)
    assert imgsec("up", "--dir", str(state)).returncode == 0
    elsewhere = Path((state / "run" / "runtime").read_text())
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o700
    with Client(find(state)) as client:
        assert client.registry("GET", "/v2/").status_code == 200
    assert imgsec("down", "--dir", str(state)).returncode == 0
    assert not elsewhere.exists()
    assert_nothing_left(state)


def test_help_loads_no_server() -> None:
    script = (
        "import sys; import imgsec.cli.sandbox; "
        "heavy = {'starlette', 'uvicorn', 'aiohttp', 'yaml', 'trustme', 'imgsec.sandbox'}; "
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
