# SPDX-License-Identifier: Apache-2.0
"""Tasks and the Pipeline as data: from what the commands say, and from the plans.

Names, defaults and descriptions of params are the options' own, so they cannot drift. A value
reaches the command through its environment twin, where an empty text means unset. An option that
loosens a check has no twin: it is one argument, ``--NAME=VALUE``, that no value can end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from imgsec import __version__
from imgsec.cli.app import command_line
from scripts.tekton import plans
from scripts.tekton.plans import API_KEY, MOUNT, Document, TaskPlan


class RenderError(Exception):
    """The plans and the commands do not agree, or a template says something else."""


# --- What the commands say --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a command, as Typer knows it. twin: its variable, if it has one."""

    name: str
    twin: str | None
    help: str
    default: Any
    required: bool
    repeatable: bool


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its story and its options by name. image_help: of its IMAGE, if it takes one."""

    story: str
    options: Mapping[str, Option]
    image_help: str | None

    @property
    def results(self) -> list[str]:
        """The results that it can write to files, in the order of the plans."""
        return [name for name in plans.RESULTS if _result_option(name) in self.options]


def read_command(name: str) -> Command:
    """What the application says about one of its commands."""
    group: Any = command_line()
    command = group.commands[name]
    story = [part for part in command.help.split("\n\n") if not part.startswith("Example")]
    options = {}
    image_help = None
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            image_help = parameter.help
            continue
        flag = next(text for text in parameter.opts if text.startswith("--"))
        option = Option(
            flag.removeprefix("--"),
            parameter.envvar[0] if parameter.envvar else None,
            parameter.help or "",
            parameter.default,
            parameter.required,
            parameter.multiple,
        )
        options[option.name] = option
    return Command(" ".join(" ".join(story).split()), options, image_help)


def _result_option(result: str) -> str:
    return f"result-{result}-file"


def _require_decisions(plan: TaskPlan, command: Command) -> None:
    fixed = {text.removeprefix("--").partition("=")[0] for text in plan.fixed}
    results = {_result_option(name) for name in plans.RESULTS}
    decided = {*plan.params, *plan.without, *plans.LEFT_OUT, *plans.SET_BY_TASK, *fixed, *results}
    if unknown := sorted(set(command.options) - decided):
        raise RenderError(
            f"imgsec {plan.command} has options that scripts/tekton/plans.py does not mention:"
            f" {_flags(unknown)}. Make them params, or leave them out with a reason."
        )
    if gone := sorted({*plan.params, *plan.without, *fixed} - set(command.options)):
        raise RenderError(f"imgsec {plan.command} has no option {_flags(gone)} any more.")


def _flags(names: Iterable[str]) -> str:
    return ", ".join(f"--{name}" for name in names)


# --- A Task -----------------------------------------------------------------------------------


def task_document(plan: TaskPlan, image: str) -> Document:
    """The Task of one command, whose step runs an image. Raises `RenderError`."""
    command = read_command(plan.command)
    _require_decisions(plan, command)
    spec: Document = {
        "description": command.story,
        "params": [*_params(plan, command), *_secret_params(plan)],
        "results": [_result(name, plan.result(name)) for name in command.results],
    }
    if plan.workspaces:
        spec["workspaces"] = [plans.WORKSPACES[name] for name in plan.workspaces]
    mounts = list(_mounts(plan))
    spec["volumes"] = [{"name": mount.name, **mount.source} for mount in mounts]
    spec["steps"] = [_step(plan, command, image, mounts)]
    return _document("Task", plan.name, plan.title, plan.tags, spec)


def _document(kind: str, name: str, title: str, tags: Iterable[str], spec: Document) -> Document:
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "labels": {
                "app.kubernetes.io/name": name,
                "app.kubernetes.io/part-of": "imgsec",
                "app.kubernetes.io/version": __version__,
            },
            "annotations": {
                "tekton.dev/pipelines.minVersion": plans.MIN_PIPELINES_VERSION,
                "tekton.dev/categories": "Security",
                "tekton.dev/tags": ",".join(tags),
                "tekton.dev/displayName": title,
                "tekton.dev/platforms": "linux/amd64",
                "artifacthub.io/category": "security",
                "artifacthub.io/license": "Apache-2.0",
                "artifacthub.io/provider": "imgsec",
            },
        },
        "spec": spec,
    }


def _params(plan: TaskPlan, command: Command) -> list[Document]:
    """The image and the options; those that must be given come first."""
    params = []
    if command.image_help is not None:
        params.append(_param(plan.image_param, command.image_help))
    for name in plan.params:
        option = command.options[name]
        is_required = option.required or name in plan.required
        default = None if is_required else plans.DEFAULTS.get(name, _default_text(option.default))
        params.append(_param(plan.param(name), _description(option, plan), default))
    return _required_first(params)


def _secret_params(plan: TaskPlan) -> Iterator[Document]:
    for secret in plan.secrets:
        yield _param(
            secret.name_param, f"Secret with {secret.text}. It may be absent.", secret.name
        )
        if secret.key is not None:
            yield _param(secret.key_param, f"Its data key in {secret.name_param}.", secret.key)


def _param(name: str, description: str, default: str | None = None) -> Document:
    param: Document = {"name": name, "type": "string", "description": description}
    return param if default is None else {**param, "default": default}


def _required_first(params: Iterable[Document]) -> list[Document]:
    return sorted(params, key=lambda param: "default" in param)


def _default_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _description(option: Option, plan: TaskPlan) -> str:
    """The option's help, with the params' names in place of other options'."""
    known = "|".join(re.escape(name) for name in sorted(plan.params, key=len, reverse=True))
    text = re.sub(r" ?Repeatable[^.]*\.", "", option.help)
    words = [re.sub(rf"--({known})\b", lambda found: plan.param(found[1]), text)]
    if option.repeatable:
        words.append("Several are separated by spaces.")
    if isinstance(option.default, bool):
        words.append("true or false.")
    if note := plans.NOTES.get(option.name):
        words.append(note)
    return " ".join(words)


def _result(result: str, name: str) -> Document:
    return {"name": name, "type": "string", "description": plans.RESULTS[result][1]}


@dataclass(frozen=True, slots=True)
class _Mount:
    """A volume and where the step sees it. source: what kind of volume, as Kubernetes says it."""

    name: str
    path: str
    source: Document
    read_only: bool = True


def _mounts(plan: TaskPlan) -> Iterator[_Mount]:
    yield _Mount("home", f"{MOUNT}/home", {"emptyDir": {}}, read_only=False)
    if plan.private:
        memory = {"medium": "Memory", "sizeLimit": "32Mi"}
        yield _Mount("private", f"{MOUNT}/run", {"emptyDir": memory}, read_only=False)
    for secret in plan.secrets:
        source: Document = {"secretName": f"$(params.{secret.name_param})", "optional": True}
        if secret.key is not None:
            source["items"] = [{"key": f"$(params.{secret.key_param})", "path": secret.volume}]
        yield _Mount(secret.volume, secret.folder, {"secret": source})
    if API_KEY in plan.secrets:
        token = {"audience": "iam", "expirationSeconds": 3600, "path": "token"}
        projected = {"sources": [{"serviceAccountToken": token}]}
        yield _Mount("iam-token", plans.TOKEN_FOLDER, {"projected": projected})


def _step(plan: TaskPlan, command: Command, image: str, mounts: Iterable[_Mount]) -> Document:
    requested, limit = plan.memory
    return {
        "name": plan.command,
        "image": image,
        "command": ["imgsec"],
        "args": [plan.command, *_arguments(plan, command)],
        "env": [{"name": name, "value": value} for name, value in _variables(plan, command)],
        "timeout": plan.step_timeout,
        "computeResources": {
            "requests": {"cpu": "100m", "memory": requested},
            "limits": {"cpu": "1", "memory": limit},
        },
        "securityContext": {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": mount.name, "mountPath": mount.path}
            | ({"readOnly": True} if mount.read_only else {})
            for mount in mounts
        ],
    }


def _arguments(plan: TaskPlan, command: Command) -> Iterator[str]:
    yield from plan.fixed
    for result in command.results:
        yield f"--{_result_option(result)}=$(results.{plan.result(result)}.path)"
    for name in plan.params:
        if command.options[name].twin is None:
            yield f"--{name}=$(params.{plan.param(name)})"
    if command.image_help is not None:
        yield from ("--", f"$(params.{plan.image_param})")


def _variables(plan: TaskPlan, command: Command) -> Iterator[tuple[str, str]]:
    """Those that params fill come first: Kubernetes expands $(NAME) from those before it."""
    for name in plan.params:
        if twin := command.options[name].twin:
            yield twin, f"$(params.{plan.param(name)})"
    for name, value in plans.SET_BY_TASK.items():
        if name in command.options and (twin := command.options[name].twin):
            yield twin, value
    if "dockerconfig" in plan.workspaces:
        yield "DOCKER_CONFIG", "$(workspaces.dockerconfig.path)"
    yield "HOME", f"{MOUNT}/home"
    yield "TMPDIR", f"{MOUNT}/home"
    if plan.private:
        yield "XDG_RUNTIME_DIR", f"{MOUNT}/run"


# --- The Pipeline -----------------------------------------------------------------------------


def pipeline_document(tasks: Mapping[str, Document]) -> Document:
    """The Pipeline: the stages in order, each on the digest that the first one found.

    tasks: the Tasks by their commands. Raises `RenderError` where they disagree about a param.
    """
    stages: list[Document] = []
    for stage in plans.STAGES:
        stages.append(_stage(stage, tasks[stage], after=[item["name"] for item in stages[-1:]]))
    bound = {item["name"]: None for stage in stages for item in stage.get("workspaces", [])}
    declared = ("name", "description", "optional")
    spec = {
        "description": "Release an image by its digest: resolve it, gate it on its scan, sign it,"
        " verify the signature, publish the policy that demands it. Each stage runs only if the one"
        " before passed.",
        "params": _pipeline_params(tasks),
        "results": [
            {
                **_result(name, plans.RESULTS[name][0]),
                "value": f"$(tasks.{stage}.results.{plans.RESULTS[name][0]})",
            }
            for stage, name in plans.PIPELINE_RESULTS
        ],
        "workspaces": [{key: plans.WORKSPACES[name][key] for key in declared} for name in bound],
        "tasks": stages,
    }
    tags = ("image", "signing", "vulnerability", "portieris")
    return _document("Pipeline", plans.PIPELINE, "Release an image", tags, spec)


def _passed(stage: str, task: Document) -> dict[str, Document]:
    """The Task's params that the Pipeline gives a value, by what it calls them."""
    found = {}
    for param in task["spec"]["params"]:
        name = plans.RENAMED.get((stage, param["name"]), param["name"])
        if name not in plans.KEPT_DEFAULTS:
            found[name] = param
    return found


def _pipeline_params(tasks: Mapping[str, Document]) -> list[Document]:
    """One param for all stages that have it; what one gets from another is none."""
    params: dict[str, Document] = {}
    for stage in plans.STAGES:
        for name, param in _passed(stage, tasks[stage]).items():
            if (stage, name) in plans.FROM_STAGE:
                continue
            known = params.setdefault(name, param)
            if known.get("default") != param.get("default"):
                raise RenderError(f"the tasks of the pipeline disagree about the param {name}")
    return _required_first(
        {**param, "name": name, "description": _with_note(name, param["description"])}
        for name, param in params.items()
    )


def _with_note(name: str, words: str) -> str:
    note = plans.PIPELINE_NOTES.get(name)
    return f"{words} {note}" if note else words


def _stage(stage: str, task: Document, *, after: list[str]) -> Document:
    document: Document = {
        "name": stage,
        "displayName": task["metadata"]["annotations"]["tekton.dev/displayName"],
        "taskRef": {"kind": "Task", "name": task["metadata"]["name"]},
    }
    if after:
        document["runAfter"] = after
    if needed := plans.SKIPPED_WITHOUT.get(stage):
        document["when"] = [{"input": f"$(params.{needed})", "operator": "notin", "values": [""]}]
    document["params"] = [
        {"name": param["name"], "value": _reference(stage, name)}
        for name, param in _passed(stage, task).items()
    ]
    names = [item["name"] for item in task["spec"].get("workspaces", [])]
    if bound := [name for name in names if name not in plans.KEPT_UNBOUND]:
        document["workspaces"] = [{"name": name, "workspace": name} for name in bound]
    return document


def _reference(stage: str, name: str) -> str:
    if source := plans.FROM_STAGE.get((stage, name)):
        return f"$(tasks.{source}.results.{name})"
    return f"$(params.{name})"
