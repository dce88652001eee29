# SPDX-License-Identifier: Apache-2.0
"""Runs the steps of Tasks and Pipelines here, as Tekton and Kubernetes would, without a cluster.

Tekton replaces references once, in text; Kubernetes then expands $(NAME) from the environment.
Volumes become folders, mounted where the step mounts them. Where this machine cannot do that, a
value that names a mount path gets the folder's path instead. The environment is the image's and
the step's, nothing of ours.
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

from .pod import Bind, can_confine, confined

Document = dict[str, Any]

# Tekton's default transport is the container's termination message, its own data included.
RESULTS_MAX_BYTES = 3072
_REFERENCE = re.compile(r"\$\(([a-z]+\.[^()]+)\)")
_EXPANSION = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_STEP_SECONDS = 120
_RESULTS = "/tekton/results"


class NotRunnable(Exception):
    """Tekton would refuse the run before any step."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a pod finds around it.

    environment, image: the tools image's variables and folders. api: a folder that stands for the
    cluster's API. token: of the pod's service account, for the audience that is asked.
    """

    environment: Mapping[str, str]
    image: tuple[Path, ...]
    api: Path
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
    given: Mapping[str, str],
    cluster: Cluster,
    workspaces: Mapping[str, Path] | None = None,
) -> Outcome:
    """Run the steps in order, until one fails."""
    spec = task["spec"]
    known = _params(spec, given)
    known |= {
        f"results.{item['name']}.path": f"{_RESULTS}/{item['name']}" for item in spec["results"]
    }
    with ExitStack() as stack:
        results = _folder(stack)
        binds = [Bind(str(path), path, read_only=True) for path in cluster.image]
        binds += [Bind(str(cluster.api), cluster.api), Bind(_RESULTS, results)]
        for item in spec.get("workspaces", []):
            path = (workspaces or {}).get(item["name"])
            if path is None and not item.get("optional"):
                raise NotRunnable(f"the workspace {item['name']} is not bound")
            known[f"workspaces.{item['name']}.bound"] = str(path is not None).lower()
            known[f"workspaces.{item['name']}.path"] = item["mountPath"] if path else ""
            if path is not None:
                binds.append(Bind(item["mountPath"], path, item.get("readOnly", False)))
        volumes = {item["name"]: _volume(item, known, cluster, stack) for item in spec["volumes"]}
        outcome = Outcome(0, {}, "", [], {})
        for step in spec["steps"]:
            mounts = [
                Bind(item["mountPath"], volumes[item["name"]], item.get("readOnly", False))
                for item in step["volumeMounts"]
            ]
            outcome = _run_step(step, known, [*binds, *mounts], cluster)
            if outcome.exit_code != 0:
                break
        found = {path.name: path.read_text() for path in results.iterdir()}
    assert sum(len(name) + len(text) for name, text in found.items()) <= RESULTS_MAX_BYTES
    assert set(found) <= {item["name"] for item in spec["results"]}, "an undeclared result"
    return Outcome(outcome.exit_code, found, outcome.log, outcome.argv, outcome.environment)


def run_pipeline(
    pipeline: Document,
    tasks: Mapping[str, Document],
    given: Mapping[str, str],
    cluster: Cluster,
    workspaces: Mapping[str, Path] | None = None,
) -> PipelineOutcome:
    """Run the stages one after the other; the first that fails ends it."""
    spec = pipeline["spec"]
    known = _params(spec, given)
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
        params = {item["name"]: _substitute(item["value"], known) for item in stage["params"]}
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
            results[item["name"]] = known[name]
    return PipelineOutcome(stages, skipped, results)


def _params(spec: Document, given: Mapping[str, str]) -> dict[str, str]:
    declared = {param["name"]: param for param in spec.get("params", [])}
    if unknown := set(given) - set(declared):
        raise NotRunnable(f"no such params: {unknown}")
    if missing := [n for n, param in declared.items() if n not in given and "default" not in param]:
        raise NotRunnable(f"params are missing: {missing}")
    return {
        f"params.{name}": given[name] if name in given else param["default"]
        for name, param in declared.items()
    }


def _substitute(text: str, known: Mapping[str, str]) -> str:
    """Tekton's replacement: once, of text, without any escaping."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in known:
            raise NotRunnable(f"{found[0]} has no value")
        return known[found[1]]

    return _REFERENCE.sub(value, text)


def _expand(text: str, environment: Mapping[str, str]) -> str:
    """Kubernetes' own expansion; what it does not know stays as it is."""
    return _EXPANSION.sub(
        lambda found: "$" if found[1] is None else environment.get(found[1], found[0]), text
    )


def _holds(rule: Document, known: Mapping[str, str]) -> bool:
    is_in = _substitute(rule["input"], known) in rule["values"]
    return is_in is (rule["operator"] == "in")


def _volume(volume: Document, known: Mapping[str, str], cluster: Cluster, stack: ExitStack) -> Path:
    folder = _folder(stack, in_memory=volume.get("emptyDir", {}).get("medium") == "Memory")
    if "secret" in volume:
        secret = volume["secret"]
        data = cluster.secrets.get(_substitute(secret["secretName"], known))
        whole = [{"key": key, "path": key} for key in data or {}]
        for item in secret.get("items", whole):
            key = _substitute(item["key"], known)
            if data is not None and key in data:
                (folder / item["path"]).write_bytes(data[key])
            elif not secret.get("optional"):
                raise NotRunnable(f"the Secret {secret['secretName']} has no {key}")
    for source in volume.get("projected", {}).get("sources", []):
        (folder / source["serviceAccountToken"]["path"]).write_bytes(cluster.token)
    return folder


def _folder(stack: ExitStack, *, in_memory: bool = False) -> Path:
    """As the kubelet makes it: open to every user of the pod."""
    base = "/dev/shm" if in_memory and Path("/dev/shm").is_dir() else "/tmp"
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="v-", dir=base)))
    folder.chmod(0o777)
    return folder


def _run_step(
    step: Document, known: Mapping[str, str], binds: list[Bind], cluster: Cluster
) -> Outcome:
    environment = dict(cluster.environment)
    for variable in step["env"]:
        value = _substitute(variable["value"], known)
        environment[variable["name"]] = _expand(value, environment)
    words = [_substitute(word, known) for word in (*step["command"], *step["args"])]
    argv = [_expand(word, environment) for word in words]
    done = subprocess.run(
        confined(argv, binds) if can_confine() else [_outside(word, binds) for word in argv],
        env=environment
        if can_confine()
        else {name: _outside(value, binds) for name, value in environment.items()},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=_STEP_SECONDS,
        check=False,
    )
    return Outcome(done.returncode, {}, done.stdout + done.stderr, argv, environment)


def _outside(text: str, binds: list[Bind]) -> str:
    """A text whose mount paths are those of this machine."""
    for bind in binds:
        text = re.sub(rf"{re.escape(bind.path)}(?=/|\s|$)", str(bind.folder), text)
    return text
