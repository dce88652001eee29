# SPDX-License-Identifier: Apache-2.0
"""What scripts/demo and scripts/test do to a machine before they start: here to a folder.

The scripts run whole, in a copy of the checkout whose setup.sh takes the folder for the machine.
On PATH are only stubs, which write down how they are called, and harmless programs. That the real
packages do what is asked of them is shown wherever the scripts run for real.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).resolve().parents[2]
AGENT = ("gpg-agent", "gpg-connect-agent", "gpgconf")
# What the scripts themselves run, and nothing that could change a machine.
HARMLESS = """bash cat chmod cut dirname flock grep mkdir mktemp mv rm rmdir sh sha256sum sleep tail
    test touch""".split()

# What apt-get needs after a run that was killed; it must not take the chance to remove anything.
REPAIR = [
    "dpkg --configure -a",
    "apt-get update",
    "apt-get install --yes --no-install-recommends --fix-broken --no-remove",
]

# Every stub begins so. A program waits at a gate for as long as the gate is there.
STUB = """#!/bin/sh
root='{root}'
echo "${{0##*/}} $*" >>"$root/calls"
wait_at() {{
  [ ! -e "$root/gate-$1" ] || touch "$root/at-$1"
  while [ -e "$root/gate-$1" ]; do sleep 0.02; done
}}
"""
# Unpacks what it is told to install, starts the service as its package does, then may fail.
APT_GET = r"""
[ "$1" = install ] || exec test ! -e "$root/update-fails"
while read -r program package; do
  case " $* " in *" $package "*)
    printf '#!/bin/sh\n' >"$root/usr/bin/$program"
    chmod 755 "$root/usr/bin/$program"
    [ "$program" != docker-registry ] || "$root/usr/sbin/policy-rc.d" || [ $? = 101 ] ||
      echo "service started" >>"$root/calls" ;;
  esac
done <"$root/packages"
wait_at apt-get
[ ! -e "$root/apt-get-fails" ]
"""
PYTHON = r"""
case "$*" in
  "-m venv "*)
    mkdir -p .venv/bin
    cat "$0" >.venv/bin/python
    chmod 755 .venv/bin/python ;;
  *" pip "*)
    wait_at pip
    [ ! -e "$root/pip-fails" ] || exit 1
    case "$*" in
      *test.txt) program=tox ;;
      *--editable*) program=imgsec ;;
      *) exit 0 ;;
    esac
    cat "$root/work" >.venv/bin/$program
    chmod 755 .venv/bin/$program ;;
esac
"""


@dataclass
class Machine:
    """A Debian in a folder, with all packages but some, and a fresh clone on it."""

    root: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def clone(self) -> Path:
        return self.root / "clone"

    @property
    def policy(self) -> Path:
        return self.root / "usr/sbin/policy-rc.d"

    @property
    def calls(self) -> list[str]:
        """What was called so far, but for questions about Python."""
        path = self.root / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if not re.match(r"python3 (-c|--version)|id ", line)]

    def called(self, words: str) -> int:
        return sum(words in line for line in self.calls)

    def forget_calls(self) -> None:
        (self.root / "calls").unlink(missing_ok=True)

    def stub(self, path: str, body: str = "") -> None:
        program = self.root / path
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(STUB.format(root=self.root) + body)
        program.chmod(0o755)

    def lose(self, *programs: str) -> None:
        for program in programs:
            (self.root / "usr/bin" / program).unlink()

    def start(self, script: str, *words: str) -> subprocess.Popen[str]:
        """Start a script in a process group of its own."""
        process = subprocess.Popen(
            [self.clone / "scripts" / script, *words],
            env={
                "PATH": f"{self.root}/usr/bin:{self.root}/usr/sbin",
                "HOME": str(self.root),
                "TMPDIR": str(self.root),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, script: str, *words: str) -> tuple[int, str]:
        """Run a script to its end; its exit code and what it said."""
        return ended(self.start(script, *words))

    def close(self, gate: str) -> None:
        """From now on the program waits in the middle of its work."""
        (self.root / f"gate-{gate}").touch()

    def wait_until_at(self, gate: str) -> None:
        wait_for((self.root / f"at-{gate}").exists)

    def open(self, gate: str) -> None:
        (self.root / f"gate-{gate}").unlink()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=30)
    return process.returncode, said


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    return process.stderr.readline()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    for folder in ("usr/bin", "usr/sbin", "run", "etc", "clone"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/debian_version").touch()
    for part in ("scripts", "requirements"):
        shutil.copytree(ROOT / part, machine.clone / part)
    shutil.copy(ROOT / "pyproject.toml", machine.clone)
    setup = machine.clone / "scripts/setup.sh"
    ours, changes = re.subn("(?m)^system=.*", f"system='{tmp_path}'", setup.read_text())
    assert changes == 1
    setup.write_text(ours)

    asked = "".join((ROOT / "scripts" / name).read_text() for name in ("demo", "test"))
    needs = sorted(set(re.findall(r"([\w-]+):([a-z-]+)", asked)))
    (tmp_path / "packages").write_text("".join(f"{need[0]} {need[1]}\n" for need in needs))
    for program, _ in needs:
        machine.stub(f"usr/bin/{program}")
    for program in HARMLESS:
        real = shutil.which(program)
        assert real, program
        path = tmp_path / "usr/bin" / program
        path.unlink(missing_ok=True)
        path.symlink_to(real)
    machine.stub("usr/bin/apt-get", APT_GET)
    machine.stub("usr/bin/python3", PYTHON)
    machine.stub("work", "wait_at work\n")
    for path in (
        "usr/bin/dpkg",
        "usr/bin/systemctl",
        "usr/sbin/update-rc.d",
        "etc/init.d/docker-registry",
    ):
        machine.stub(path)
    become(machine, 0)
    yield machine
    for gate in tmp_path.glob("gate-*"):
        gate.unlink()  # so that whoever lost its parent comes to its end, too
    for process in machine.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def become(machine: Machine, user: int) -> None:
    machine.stub("usr/bin/id", f"echo {user}\n")


def assert_registry_is_off(machine: Machine) -> None:
    last = max(n for n, call in enumerate(machine.calls) if call.startswith("apt-get install"))
    after = machine.calls[last:]
    assert "systemctl disable --now docker-registry.service" in after
    assert "update-rc.d docker-registry disable" in after
    assert "docker-registry stop" in after
    assert "service started" not in machine.calls


def guards(machine: Machine) -> list[str]:
    """What keeps systemd from starting the service."""
    return [path.read_text() for path in machine.root.glob("etc/systemd/system/*.service.d/*")]


# --- packages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("script", "work"), [("demo", "imgsec demo"), ("test", "tox run")])
def test_fresh_machine_gets_what_is_missing_and_the_second_run_nothing(
    machine: Machine, script: str, work: str
) -> None:
    machine.lose("skopeo", "docker-registry", *AGENT)
    code, said = machine.run(script, "--its-option")
    assert code == 0, said
    assert machine.calls[:2] == [
        "apt-get update",
        "apt-get install --yes --no-install-recommends skopeo gpg-agent gpgconf docker-registry",
    ]
    assert machine.calls[-1] == f"{work} --its-option"
    assert_registry_is_off(machine)
    assert not machine.policy.exists()
    assert not guards(machine)

    machine.forget_calls()
    assert machine.run(script) == (0, "")
    assert machine.calls == [work]


@pytest.mark.parametrize("script", ["demo", "test"])
@pytest.mark.parametrize("program", AGENT)
def test_gpg_alone_is_not_enough(machine: Machine, script: str, program: str) -> None:
    machine.lose(program)
    assert machine.run(script)[0] == 0
    package = "gpg-agent" if program == "gpg-agent" else "gpgconf"
    assert machine.called(f"--no-install-recommends {package}") == 1
    assert not machine.called("docker-registry")  # whoever installed the registry has a use for it


def test_who_is_not_root_is_told_the_packages(machine: Machine) -> None:
    become(machine, 1000)
    machine.lose("skopeo", *AGENT)
    code, said = machine.run("demo")
    assert code == 2
    assert "apt-get install skopeo gpg-agent gpgconf\n" in said
    assert machine.calls == []


def test_who_is_not_on_debian_is_told_the_packages(machine: Machine) -> None:
    (machine.root / "etc/debian_version").unlink()
    machine.lose("skopeo", *AGENT)
    code, said = machine.run("demo")
    assert code == 2
    assert "missing: skopeo gpg-agent gpgconf (Debian's package names)" in said
    assert machine.calls == []


def test_complete_machine_needs_neither_debian_nor_root(machine: Machine) -> None:
    become(machine, 1000)
    (machine.root / "etc/debian_version").unlink()
    assert machine.run("demo")[0] == 0
    assert not machine.called("apt-get")


# --- the service of docker-registry ---------------------------------------------------------------


def test_failed_installation_leaves_no_service_and_the_next_run_ends_it(machine: Machine) -> None:
    machine.lose("docker-registry")
    (machine.root / "apt-get-fails").touch()
    code, said = machine.run("demo")
    assert code == 3
    assert "installing docker-registry failed" in said
    assert_registry_is_off(machine)
    assert not machine.policy.exists()
    # Only unpacked, it would enable its service as soon as anybody goes on with it.
    (guard,) = guards(machine)
    assert "ConditionPathExists=!/" in guard

    (machine.root / "apt-get-fails").unlink()
    machine.forget_calls()
    assert machine.run("demo")[0] == 0
    assert machine.calls[:3] == [*REPAIR[:2], f"{REPAIR[2]} docker-registry"]
    assert_registry_is_off(machine)
    assert not guards(machine)


def test_service_of_the_machines_own_by_that_name_is_left_alone(machine: Machine) -> None:
    machine.lose("docker-registry")
    unit = machine.root / "etc/systemd/system/docker-registry.service"
    unit.parent.mkdir(parents=True, exist_ok=True)
    unit.write_text("[Service]\nExecStart=/opt/registry\n")
    assert machine.run("demo")[0] == 0
    assert not machine.called("systemctl disable")
    assert not guards(machine)
    assert unit.exists()


def test_machine_without_network_is_left_as_it_was(machine: Machine) -> None:
    machine.lose("docker-registry")
    (machine.root / "update-fails").touch()
    code, said = machine.run("demo")
    assert code == 3
    assert "apt-get update failed" in said
    assert not machine.policy.exists()
    assert not guards(machine)


def test_killed_installation_is_ended_by_the_next_run(machine: Machine) -> None:
    machine.lose("docker-registry")
    machine.close("apt-get")
    killed = machine.start("demo")
    machine.wait_until_at("apt-get")
    os.killpg(killed.pid, signal.SIGKILL)
    ended(killed)
    machine.open("apt-get")
    assert machine.policy.exists()
    assert guards(machine)

    become(machine, 1000)
    code, said = machine.run("demo")
    assert code == 2
    assert "as root" in said

    become(machine, 0)
    machine.forget_calls()
    assert machine.run("demo")[0] == 0
    assert machine.calls[:3] == [*REPAIR[:2], f"{REPAIR[2]} docker-registry"]
    assert_registry_is_off(machine)
    assert not machine.policy.exists()
    assert not guards(machine)


def test_killed_installation_of_something_else_is_ended_by_the_next_run(machine: Machine) -> None:
    machine.lose("skopeo")
    machine.close("apt-get")
    killed = machine.start("demo")
    machine.wait_until_at("apt-get")
    os.killpg(killed.pid, signal.SIGKILL)
    ended(killed)
    machine.open("apt-get")
    machine.forget_calls()
    assert machine.policy.exists()
    assert machine.run("demo")[0] == 0
    assert not machine.policy.exists()
    assert machine.calls[:3] == REPAIR
    assert not machine.called("docker-registry")

    machine.forget_calls()
    assert machine.run("demo") == (0, "")
    assert machine.calls == ["imgsec demo"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_waits_for_apt_get_and_the_service_is_off_then(
    machine: Machine, number: signal.Signals
) -> None:
    machine.lose("docker-registry")
    machine.close("apt-get")
    stopped = machine.start("demo")
    machine.wait_until_at("apt-get")
    os.killpg(stopped.pid, number)
    with pytest.raises(subprocess.TimeoutExpired):
        stopped.wait(timeout=0.2)
    assert machine.policy.exists()
    machine.open("apt-get")
    assert ended(stopped)[0] == 143
    assert_registry_is_off(machine)
    assert not machine.policy.exists()
    assert not machine.called("imgsec")


@pytest.mark.parametrize("fails", [False, True])
def test_policy_of_somebody_else_stays(machine: Machine, fails: bool) -> None:
    theirs = "#!/bin/sh\nexit 101\n"
    machine.policy.write_text(theirs)
    machine.policy.chmod(0o755)
    if fails:
        (machine.root / "apt-get-fails").touch()
    machine.lose("docker-registry")
    assert machine.run("demo")[0] == (3 if fails else 0)
    assert machine.policy.read_text() == theirs
    assert_registry_is_off(machine)


# --- .venv, and two runs at once ------------------------------------------------------------------


def test_second_of_two_runs_waits_for_the_packages_and_says_so(machine: Machine) -> None:
    machine.lose("docker-registry")
    machine.close("apt-get")
    first = machine.start("demo")
    machine.wait_until_at("apt-get")
    second = machine.start("demo")
    assert "waiting for another run" in next_line(second)
    machine.open("apt-get")
    for run in (first, second):
        code, said = ended(run)
        assert code == 0, said
    assert machine.called("apt-get install") == 1
    assert machine.called("venv .venv") == 1


def test_second_of_two_runs_waits_for_the_venv_and_says_so(machine: Machine) -> None:
    machine.close("pip")
    first = machine.start("demo")
    machine.wait_until_at("pip")
    second = machine.start("demo")
    assert "waiting for another run" in next_line(second)
    machine.open("pip")
    for run in (first, second):
        code, said = ended(run)
        assert code == 0, said
    assert machine.called("venv .venv") == 1
    assert machine.called("--requirement") == 1
    assert machine.called("imgsec demo") == 2


def test_run_waits_for_the_apt_get_of_a_killed_one(machine: Machine) -> None:
    machine.lose("docker-registry")
    machine.close("apt-get")
    killed = machine.start("demo")
    machine.wait_until_at("apt-get")
    killed.kill()  # this process only
    second = machine.start("demo")
    assert "waiting for another run" in next_line(second)
    machine.open("apt-get")
    assert ended(second)[0] == 0
    assert_registry_is_off(machine)
    assert not machine.policy.exists()


def test_nobody_waits_for_a_demo_that_runs_and_its_venv_stays(machine: Machine) -> None:
    machine.close("work")
    demo = machine.start("demo")
    machine.wait_until_at("work")
    place = machine.clone / ".venv/bin/imgsec"
    before = place.stat()
    tests = machine.start("test")
    wait_for(lambda: machine.called("tox run") == 1)
    assert machine.called("venv .venv") == 1
    assert place.stat() == before
    machine.open("work")
    code, said = ended(tests)
    assert code == 0
    assert "waiting" not in said
    assert ended(demo)[0] == 0


def test_what_the_tests_need_changes_nothing_that_the_demo_needs() -> None:
    def pins(name: str) -> set[str]:
        lines = (ROOT / "requirements" / name).read_text().splitlines()
        return {re.split(r"[ ;]", line)[0] for line in lines if "==" in line}

    assert pins("demo.txt") < pins("test.txt")


def test_changed_requirements_make_a_new_venv(machine: Machine) -> None:
    assert machine.run("test")[0] == 0
    for name in ("demo", "test"):
        with (machine.clone / f"requirements/{name}.txt").open("a") as file:
            file.write("# changed\n")
    assert machine.run("demo")[0] == 0
    assert machine.called("venv .venv") == 2


def test_failed_installation_into_a_demos_venv_leaves_it_whole(machine: Machine) -> None:
    assert machine.run("demo")[0] == 0
    (machine.root / "pip-fails").touch()
    code, said = machine.run("test")
    assert code == 3
    assert "installing requirements/test.txt failed" in said
    assert machine.run("demo")[0] == 0
    assert machine.called("venv .venv") == 1


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_venv_that_somebody_else_made_is_left_alone(machine: Machine, kind: str) -> None:
    theirs = machine.clone / (".venv" if kind == "folder" else "theirs")
    (theirs / "bin").mkdir(parents=True)
    (theirs / "bin" / "python").write_text("theirs")
    if kind == "link":
        (machine.clone / ".venv").symlink_to("theirs")
    code, said = machine.run("demo")
    assert code == 2
    assert "was not made by this script" in said
    assert (theirs / "bin" / "python").read_text() == "theirs"
    assert machine.called("venv .venv") == 0


def test_venv_of_a_run_that_was_killed_at_its_very_beginning_is_made_anew(
    machine: Machine,
) -> None:
    (machine.clone / ".venv").mkdir()
    (machine.clone / ".venv.gone" / "bin").mkdir(parents=True)
    assert machine.run("demo")[0] == 0
    assert not (machine.clone / ".venv.gone").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_half_a_venv_is_made_anew(machine: Machine, number: signal.Signals) -> None:
    machine.close("pip")
    stopped = machine.start("demo")
    machine.wait_until_at("pip")
    os.killpg(stopped.pid, number)
    assert ended(stopped)[0] != 0
    assert (machine.clone / ".venv").exists() is (number == signal.SIGKILL)
    machine.open("pip")
    assert machine.run("demo")[0] == 0
    assert machine.called("venv .venv") == 2
