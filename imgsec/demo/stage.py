# SPDX-License-Identifier: Apache-2.0
"""Plays the story: real programs in a sandbox, every step's files kept, every outcome checked."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgsec.adapters._process import Tools, run
from imgsec.adapters.files import load_yaml, read_file, write_file
from imgsec.demo.story import Places, Step, first_steps, later_steps
from imgsec.errors import ImgsecError
from imgsec.reasons import (
    FOREIGN_OBJECT,
    OUTPUT_UNWRITABLE,
    PART_MISSING,
    UNEXPECTED_OUTCOME,
)
from imgsec.sandbox.lifecycle import Options, running_sandbox
from imgsec.sandbox.locks import Lock

STEP_SECONDS = 120.0
_TOOLS = (
    *("skopeo", "buildah", "gpg", "gpg-agent", "gpg-connect-agent", "gpgconf", "gpgv"),
    "docker-registry",
)
# What a user, or a pipeline that the demo runs in, has set for real runs of these commands.
_MEANT_FOR_OTHERS = (
    *("IMGSEC_", "VAULT_", "GITHUB_", "SIGNATURE_FINGERPRINT", "IBM_CLOUD_APIKEY"),
    *("DOCKER_CONFIG", "KUBECONFIG"),
)
_MARKER = ".imgsec-demo"
_CONTAINERFILE = "FROM scratch\nCOPY message /message\n"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """What every step needs. folder: where its files are left."""

    folder: Path
    tools: Tools
    environment: Mapping[str, str]
    say: Say


def play(folder: Path, tools_dir: str | None, sandbox_dir: Path | None, say: Say) -> None:
    """Walk the whole story. Raises `ImgsecError` (part-missing, unexpected-outcome and others).

    folder: made, or emptied if an earlier demo made it; for one demo at a time. sandbox_dir: where
    the sandbox keeps its state; None for a temporary folder.
    """
    own_tools = Path(tools_dir).absolute() if tools_dir else None
    tools = Tools(own_tools)
    _require_parts(tools)
    with ExitStack() as stack:
        stack.callback(_take_folder(folder).close)
        sandbox = stack.enter_context(running_sandbox(sandbox_dir, Options(tools_dir=own_tools)))
        environment = {**_inherited(os.environ), **sandbox.environment}
        if own_tools:
            environment["IMGSEC_TOOLS_DIR"] = str(own_tools)
        stage = Stage(folder, tools, environment, say)
        registry = sandbox.environment["IMGSEC_SANDBOX_REGISTRY"]
        say(f"A sandbox runs on loopback; its registry is {registry}.")
        places = Places(
            clean=f"{registry}/team/app:1.0",
            vulnerable=f"{registry}/team/vulnerable:1.0",
            pattern=f"{registry}/team/*",
            manifests=str(folder / "manifests"),
            public_key=str(folder / "public-key.asc"),
            workloads=str(folder / "workloads"),
        )
        say("\n* Build two images with buildah and push them with skopeo")
        for image in (places.clean, places.vulnerable):
            _build_and_push(stage, image)
            say(f"  {image}")
        documents = [_take(stage, step) for step in first_steps(places)]
        _keep_public_key(folder, places)
        _write_workloads(Path(places.workloads), places.clean, places.vulnerable)
        clean, vulnerable = (_canonical(document) for document in documents[-2:])
        for step in later_steps(places, clean, vulnerable):
            _take(stage, step)
    say(f"\nEvery outcome was the expected one. Look at {folder}:")
    say("  manifests/  verdicts/  workloads/  public-key.asc")


def _inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """Without everything that would bend a step, or be written to by one.

    >>> _inherited({"PATH": "/bin", "IMGSEC_QUIET": "1", "GITHUB_OUTPUT": "/tmp/out"})
    {'PATH': '/bin'}
    """
    return {
        name: value for name, value in environment.items() if not name.startswith(_MEANT_FOR_OTHERS)
    }


def _require_parts(tools: Tools) -> None:
    missing = []
    for name in _TOOLS:
        try:
            tools.find(name)
        except ImgsecError:
            missing.append(name)
    if missing:
        raise ImgsecError(PART_MISSING(f"not installed: {', '.join(missing)}"))


def _take_folder(folder: Path) -> Lock:
    """Make the folder, or empty it if an earlier demo made it. The lock keeps other demos out.

    Raises `ImgsecError` (foreign-object) over a folder with anything that no demo left, and
    (part-missing) while another one runs in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {entry.name for entry in folder.iterdir()}
        if names and _MARKER not in names:
            raise ImgsecError(
                FOREIGN_OBJECT(
                    f"{folder} exists and was not made by a demo",
                    hint="Name an empty or new folder with --folder.",
                )
            )
        lock = Lock(folder / _MARKER)
        if not lock.acquire(seconds=0):
            raise ImgsecError(
                PART_MISSING(
                    f"another demo is running in {folder}",
                    hint="Wait for its end, or name another folder with --folder.",
                )
            )
        for part in ("manifests", "verdicts"):
            shutil.rmtree(folder / part, ignore_errors=True)
        (folder / "verdicts").mkdir(exist_ok=True)
    except OSError as error:
        raise ImgsecError(OUTPUT_UNWRITABLE(f"{folder}: {error.strerror}")) from None
    return lock


def _build_and_push(stage: Stage, image: str) -> None:
    """Build in a storage of its own, and push the result: no daemon, no trace left."""
    with tempfile.TemporaryDirectory(prefix="imgsec-demo-") as name:
        work = Path(name)
        (work / "message").write_text(f"{image}\n", encoding="ascii")
        (work / "Containerfile").write_text(_CONTAINERFILE, encoding="ascii")
        storage = [
            *("--storage-driver", "vfs"),
            *("--root", str(work / "root"), "--runroot", str(work / "runroot")),
        ]
        environment = {
            **stage.environment,
            "HOME": name,
            "TMPDIR": name,
            "XDG_RUNTIME_DIR": name,
            "BUILDAH_ISOLATION": "chroot",
        }
        layout = f"oci:{work / 'layout'}:demo"
        for tool, arguments in (
            ("buildah", [*storage, "build", "--quiet", "--tag", "localhost/demo", name]),
            ("buildah", [*storage, "push", "--quiet", "localhost/demo", layout]),
            ("skopeo", ["copy", "--quiet", layout, f"docker://{image}"]),
        ):
            argv = [str(stage.tools.find(tool)), *arguments]
            completed = run(argv, environment=environment, timeout=STEP_SECONDS)
            if completed.exit_code != 0:
                raise ImgsecError(
                    UNEXPECTED_OUTCOME(f"building and pushing {image}: {completed.failure().text}")
                )


def _take(stage: Stage, step: Step) -> dict[str, Any]:
    """Run one step, show it, keep its verdict, and hold the outcome against the expected one."""
    verdict = stage.folder / "verdicts" / f"{step.name}.json"
    if step.title:
        stage.say(f"\n* {step.title}")
    if step.why:
        stage.say(f"  {step.why}")
    stage.say(f"  $ imgsec {_short(shlex.join(step.arguments))}")
    completed = run(
        [
            *(sys.executable, "-m", "imgsec"),
            *(*step.arguments, "--output", "text", "--output", f"json={verdict}"),
        ],
        environment=stage.environment,
        timeout=STEP_SECONDS,
    )
    text = (completed.stdout + completed.stderr).decode("utf-8", "replace")
    for line in text.splitlines():
        stage.say(f"    {_short(line)}")
    document = _document(verdict)
    reasons = [reason["code"] for reason in document.get("reasons", [])]
    wrong = (
        document.get("outcome") != step.outcome
        or document.get("exitCode") != completed.exit_code
        or (step.reason is not None and reasons[:1] != [step.reason])
        or any(words not in text for words in step.expects)
    )
    if wrong:
        wanted = f"{step.outcome} {step.reason or ''}".strip()
        said = "; ".join(f"{r['code']}: {r['text']}" for r in document.get("reasons", []))
        raise ImgsecError(
            UNEXPECTED_OUTCOME(
                f"`imgsec {step.arguments[0]}` ({step.name}) ended with {completed.exit_code}"
                f" instead of {wanted}: {said or text[-300:] or 'it said nothing'}"
            )
        )
    return document


def _short(line: str) -> str:
    """The line with its digests cut, for eyes only; the files have them whole."""
    return re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}", r"\1...", line)


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _canonical(document: dict[str, Any]) -> str:
    """The image of a ``resolve`` verdict: name and tag as asked, with the digest."""
    image = document["images"][0]
    return f"{image['image']}@{image['digest']}"


def _write_workloads(folder: Path, *images: str) -> None:
    """A Deployment for each image, named after it."""
    folder.mkdir(exist_ok=True)
    for image in images:
        name = image.rpartition("/")[2].partition(":")[0]
        document = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "demo"},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": name, "image": image}]},
                },
            },
        }
        write_file(folder / f"{name}.yaml", json.dumps(document, indent=2).encode())


def _keep_public_key(folder: Path, places: Places) -> None:
    """The armoured public key out of the Secret, as a file for everybody who verifies."""
    secret = next(Path(places.manifests).glob("*public-key.secret.yaml"))
    document = load_yaml(read_file(str(secret), max_bytes=2**20), str(secret))
    write_file(folder / "public-key.asc", base64.b64decode(document["data"]["key"]))
