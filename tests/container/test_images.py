# SPDX-License-Identifier: Apache-2.0
"""What the images hold, and that they work where clusters run them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from imgsec import __version__
from imgsec.sandbox.lifecycle import Sandbox
from tests.container.conftest import OFFLINE, Images
from tests.container.restricted import Pod

# The images are built once, by one worker, and hold their own Python.
pytestmark = [pytest.mark.xdist_group("container"), pytest.mark.once]


def test_two_builds_of_the_same_input_give_the_same_image(images: Images) -> None:
    assert images.tools.id == images.again.id
    assert images.tools.said == f"sha256:{images.tools.id}"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("imgsec --version", f"imgsec {__version__}"),
        ("imgsec --help", "sign-image"),
        ("skopeo --version", "skopeo version"),
        ("kubectl version --client", "Client Version"),
        ("gpg --homedir /dev/shm --version", "gpg (GnuPG) 2."),
        ("gpgconf --list-dirs", "bindir"),
    ],
)
def test_every_tool_runs_as_any_uid_on_a_read_only_root(
    pod: Pod, command: str, expected: str
) -> None:
    done = pod.run(*command.split())
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_the_user_has_nothing_that_a_restricted_pod_lacks(pod: Pod) -> None:
    done = pod.run("sh", "-c", "id; grep ^Cap /proc/self/status; ! touch /x && ! touch /tmp/x")
    assert done.returncode == 0, done.stderr
    assert f"uid={pod.uid} gid=0(root) groups=0(root)" in done.stdout
    assert "CapEff:\t0000000000000000" in done.stdout
    assert "CapBnd:\t0000000000000000" in done.stdout
    assert done.stderr.count("Read-only file system") == 2


def test_the_image_signs_and_verifies_itself_in_a_restricted_pod(
    images: Images, sandbox: Sandbox, pod: Pod
) -> None:
    # What a step gets from its Secrets and workspaces: copies that its UID can read.
    environment = dict(sandbox.environment)
    for name, value in environment.items():
        source = Path(value)
        if value.startswith(f"{sandbox.folder.root}/") and source.is_file():
            environment[name] = f"/mnt/{source.name}"
            shutil.copy(source, pod.volume)
            os.chown(pod.volume / source.name, pod.uid, 0)
    name, _, digest = images.again.said.partition("@")
    assert name.endswith("/team/imgsec:1")
    image = f"{sandbox.registry}/team/imgsec:1"

    def imgsec(*words: str) -> dict[str, object]:
        done = pod.run("imgsec", *words, "--output", "json", environment=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        document = json.loads(done.stdout)
        assert isinstance(document, dict)
        return document

    imgsec(
        *("setup-signing-keys", "--alias", "image", "--repository", f"{sandbox.registry}/team/*"),
        *("--render", "/mnt/manifests"),
    )
    imgsec("sign-image", "--key", "kms://image", f"{image}@{digest}")
    verdict = imgsec("verify-image", "--key", "kms://image", image)
    assert verdict["outcome"] == "pass"
    assert digest in json.dumps(verdict["images"])
    left = pod.run("ls", "-A", "/dev/shm")
    assert left.stdout == ""


def test_the_tools_image_says_what_it_is_and_fixes_no_user(images: Images) -> None:
    settings = images.tools.settings
    assert settings["User"] == "1001"
    assert settings["Entrypoint"] == ["imgsec"]
    assert "HOME=/home/imgsec" in settings["Env"]
    assert (
        settings["Labels"]
        | {
            "org.opencontainers.image.title": "imgsec",
            "org.opencontainers.image.version": __version__,
            "org.opencontainers.image.licenses": "Apache-2.0",
        }
        == settings["Labels"]
    )


def test_home_is_writable_for_group_0_and_can_be_searched_by_everybody(tools_root: Path) -> None:
    home = (tools_root / "home/imgsec").stat()
    assert (home.st_gid, home.st_mode & 0o777) == (0, 0o775)


def test_nothing_of_the_build_is_left(tools_root: Path) -> None:
    packages = tools_root / "opt/imgsec/lib/python3.11/site-packages"
    names = {path.name.partition("-")[0].lower() for path in packages.iterdir()}
    assert {"imgsec", "typer", "requests"} <= names
    assert not names & {"pip", "setuptools", "hatchling", "starlette", "aiohttp", "pytest"}
    for gone in ("wheels", "pip.whl", "root/.cache", "home/imgsec/.cache"):
        assert not (tools_root / gone).exists()
    files = {
        str(path.relative_to(tools_root))
        for emptied in ("var/lib/apt/lists", "var/cache/apt", "tmp", "mnt")
        for path in (tools_root / emptied).rglob("*")
        if path.is_file()
    }
    assert {name for name in files if not name.endswith("/lock")} == set()


def test_byte_code_is_there_and_never_out_of_date(tools_root: Path) -> None:
    # Flags of PEP 552: 1 says "holds the source's hash, do not look at the source".
    flags = {
        path: int.from_bytes(path.read_bytes()[4:8], "little")
        for path in (tools_root / "opt/imgsec").rglob("*.pyc")
    }
    assert len(flags) > 100
    assert set(flags.values()) == {1}


def test_the_demo_runs_in_an_ordinary_container(images: Images) -> None:
    """As root of the container with its default capabilities and system call filter."""
    storage = images.demo.storage
    settings = images.demo.settings
    assert settings["Entrypoint"] == ["imgsec", "demo"]
    container = storage.buildah("from", "--pull-never", images.demo.tag)
    done = subprocess.run(
        [
            *(*OFFLINE, "buildah", "run", "--isolation", "chroot", container, "--"),
            *settings["Entrypoint"],
        ],
        env=storage.environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every outcome was the expected one" in done.stdout
    root = Path(storage.buildah("mount", container))
    assert (root / "home/imgsec/imgsec-demo/public-key.asc").is_file()
    assert not list((root / "tmp").iterdir())


def test_the_demo_image_starts_no_service(images: Images) -> None:
    storage = images.demo.storage
    container = storage.buildah("from", "--pull-never", images.demo.tag)
    policy = Path(storage.buildah("mount", container), "usr/sbin/policy-rc.d")
    assert subprocess.run([policy], check=False).returncode == 101
