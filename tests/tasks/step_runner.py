# SPDX-License-Identifier: Apache-2.0
"""Runs the steps of Tasks and Pipelines here, as Tekton and Kubernetes would, without a cluster.

Tekton replaces references once, in text; Kubernetes then expands $(NAME) from the environment.
Volumes become folders: where a value names a mount path, it gets the folder's path instead. The
environment is the image's and the step's, nothing of ours.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Document = dict[str, Any]
Value = str | list[str]

# Tekton's default transport is the container's termination message, its own data included.
RESULTS_MAX_BYTES = 3072
_REFERENCE = re.compile(r"\$\(([a-z]+\.[^()]+)\)")
_EXPANSION = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_STEP_SECONDS = 120


class NotRunnable(Exception):
    """Tekton would refuse the run before any step."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a pod finds around it. token: of its service account, for the audience that is asked."""

    environment: Mapping[str, str]  # of the tools image
    secrets: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    token: bytes = b""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a Task ended. argv, environment: what its last step was started with."""

    exit_code: int
    results: dict[str, str]
    log: str
    argv: list[str]
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class PipelineOutcome:
    """How a Pipeline ended: the stages that ran, the skipped ones, and its results."""

    stages: dict[str, Outcome]
    skipped: list[str]
    results: dict[str, str]

    @property
    def passed(self) -> bool:
        return all(stage.exit_code == 0 for stage in self.stages.values())


def run_task(
    task: Document,
    given: Mapping[str, Value],
    cluster: Cluster,
    workspaces: Mapping[str, Path] | None = None,
) -> Outcome:
    """Run the steps in order, until one fails."""
    spec = task["spec"]
    known: dict[str, Value] = _params(spec, given)
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tk-", dir="/tmp")))
        results = place / "results"
        results.mkdir()
        known |= {
            f"results.{item['name']}.path": str(results / item["name"]) for item in spec["results"]
        }
        mounts: dict[str, Path] = {}
        for item in spec.get("workspaces", []):
            path = (workspaces or {}).get(item["name"])
            if path is None and not item.get("optional"):
                raise NotRunnable(f"the workspace {item['name']} is not bound")
            known[f"workspaces.{item['name']}.bound"] = str(path is not None).lower()
            known[f"workspaces.{item['name']}.path"] = item["mountPath"] if path else ""
            if path is not None:
                mounts[item["mountPath"]] = path
        volumes = {item["name"]: _volume(item, known, cluster, stack) for item in spec["volumes"]}
        outcome = Outcome(0, {}, "", [], {})
        for step in spec["steps"]:
            here = {item["mountPath"]: volumes[item["name"]] for item in step["volumeMounts"]}
            outcome = _run_step(step, known, mounts | here, cluster, place)
            if outcome.exit_code != 0 and step.get("onError") != "continue":
                break
        found = {path.name: path.read_text() for path in results.iterdir()}
    assert sum(len(name) + len(text) for name, text in found.items()) <= RESULTS_MAX_BYTES
    assert set(found) <= {item["name"] for item in spec["results"]}, "an undeclared result"
    return Outcome(outcome.exit_code, found, outcome.log, outcome.argv, outcome.environment)


def run_pipeline(
    pipeline: Document,
    tasks: Mapping[str, Document],
    given: Mapping[str, Value],
    cluster: Cluster,
    workspaces: Mapping[str, Path] | None = None,
) -> PipelineOutcome:
    """Run the stages one after the other; the first that fails ends it."""
    spec = pipeline["spec"]
    known: dict[str, Value] = _params(spec, given)
    stages: dict[str, Outcome] = {}
    skipped: list[str] = []
    waiting = list(spec["tasks"])
    while waiting:
        done = {*stages, *skipped}
        stage = next(item for item in waiting if set(item.get("runAfter", [])) <= done)
        waiting.remove(stage)
        if not all(_holds(rule, known) for rule in stage.get("when", [])):
            skipped.append(stage["name"])
            continue
        params: dict[str, Value] = {}
        for param in stage["params"]:
            value = param["value"]
            params[param["name"]] = (
                _substitute(value, known) if isinstance(value, str) else _words(value, known)
            )
        bound = {
            item["name"]: (workspaces or {})[item["workspace"]]
            for item in stage.get("workspaces", [])
            if item["workspace"] in (workspaces or {})
        }
        outcome = run_task(tasks[stage["taskRef"]["name"]], params, cluster, bound)
        stages[stage["name"]] = outcome
        known |= {
            f"tasks.{stage['name']}.results.{name}": text for name, text in outcome.results.items()
        }
        if outcome.exit_code != 0:
            break
    results = {}
    for item in spec.get("results", []):
        name = item["value"].removeprefix("$(").removesuffix(")")
        if name in known and stages[name.split(".")[1]].exit_code == 0:
            results[item["name"]] = str(known[name])
    return PipelineOutcome(stages, skipped, results)


def _params(spec: Document, given: Mapping[str, Value]) -> dict[str, Value]:
    declared = {param["name"]: param for param in spec.get("params", [])}
    if unknown := set(given) - set(declared):
        raise NotRunnable(f"no such params: {unknown}")
    known: dict[str, Value] = {}
    for name, param in declared.items():
        if name not in given and "default" not in param:
            raise NotRunnable(f"the param {name} is missing")
        value = given.get(name, param.get("default"))
        if isinstance(value, list) is not (param["type"] == "array"):
            raise NotRunnable(f"the param {name} is no {param['type']}")
        known[f"params.{name}"] = value
    return known


def _substitute(text: str, known: Mapping[str, Value]) -> str:
    """Tekton's replacement: once, of text, without any escaping."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in known:
            raise NotRunnable(f"{found[0]} has no value")
        return str(known[found[1]])

    return _REFERENCE.sub(value, text)


def _words(words: list[str], known: Mapping[str, Value]) -> list[str]:
    """Arguments; one that is a whole array becomes as many as that has."""
    found: list[str] = []
    for word in words:
        if whole := re.fullmatch(r"\$\((params\.[^()]+)\[\*\]\)", word):
            found += known[whole[1]]
        else:
            found.append(_substitute(word, known))
    return found


def _expand(text: str, environment: Mapping[str, str]) -> str:
    """Kubernetes' own expansion; what it does not know stays as it is."""
    return _EXPANSION.sub(
        lambda found: "$" if found[1] is None else environment.get(found[1], found[0]), text
    )


def _holds(rule: Document, known: Mapping[str, Value]) -> bool:
    is_in = _substitute(rule["input"], known) in _words(rule["values"], known)
    return is_in is (rule["operator"] == "in")


def _volume(
    volume: Document, known: Mapping[str, Value], cluster: Cluster, stack: ExitStack
) -> Path:
    in_memory = volume.get("emptyDir", {}).get("medium") == "Memory"
    base = "/dev/shm" if in_memory and Path("/dev/shm").is_dir() else "/tmp"
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="v-", dir=base)))
    if "secret" in volume:
        secret = volume["secret"]
        data = cluster.secrets.get(_substitute(secret["secretName"], known))
        for item in secret["items"]:
            key = _substitute(item["key"], known)
            if data is not None and key in data:
                (folder / item["path"]).write_bytes(data[key])
            elif not secret.get("optional"):
                raise NotRunnable(f"the Secret {secret['secretName']} has no {key}")
    for source in volume.get("projected", {}).get("sources", []):
        (folder / source["serviceAccountToken"]["path"]).write_bytes(cluster.token)
    return folder


def _run_step(
    step: Document,
    known: Mapping[str, Value],
    mounts: Mapping[str, Path],
    cluster: Cluster,
    place: Path,
) -> Outcome:
    def mounted(text: str) -> str:
        for path, folder in mounts.items():
            text = re.sub(rf"{re.escape(path)}(?=/|\s|$)", str(folder), text)
        return text

    environment = dict(cluster.environment)
    for variable in step["env"]:
        value = _expand(_substitute(variable["value"], known), environment)
        environment[variable["name"]] = mounted(value)
    words = _words([*step["command"], *step["args"]], known)
    argv = [mounted(_expand(word, environment)) for word in words]
    work = place / "work"
    work.mkdir(exist_ok=True)
    done = subprocess.run(
        argv,
        env=environment,
        cwd=work,
        capture_output=True,
        text=True,
        timeout=_STEP_SECONDS,
        check=False,
    )
    assert not list(work.iterdir()), "a step wrote into its working directory"
    return Outcome(done.returncode, {}, done.stdout + done.stderr, argv, environment)
