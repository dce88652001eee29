# SPDX-License-Identifier: Apache-2.0
"""What a CRD's schema does not check: the rules of Tekton's admission webhook, and our own.

Each problem begins with the code of its rule, so that a test can say which one it means.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DURATION = re.compile(r"(\d+(\.\d+)?(h|m|s|ms))+")
_REFERENCE = re.compile(r"\$\(([^()]*)\)")
_NAMED = re.compile(
    r"""(?P<kind>[a-z]+)
        (?:\.(?P<plain>[A-Za-z0-9_-]+)|\[(?P<quote>['"])(?P<quoted>[^'"]+)(?P=quote)\])
        (?P<rest>.*)""",
    re.VERBOSE,
)
_PINNED = re.compile(r"[^@\s]+/[^@\s:]+:[^@\s:]+@sha256:[0-9a-f]{64}")
_TASK_CONTEXT = frozenset(
    "taskRun.name taskRun.namespace taskRun.uid task.name task.retry-count".split()
)
_PIPELINE_CONTEXT = frozenset(
    "pipelineRun.name pipelineRun.namespace pipelineRun.uid pipeline.name "
    "pipelineTask.retries".split()
)
_WORKSPACE_FIELDS = frozenset(("path", "bound", "claim", "volume"))
_WRITTEN_IF_PUSHED = ("IMAGE_URL", "IMAGE_DIGEST")  # test_release_run.py shows when
# Tekton Chains signs what results with such names point to (chains pkg/artifacts/signable.go).
_CHAINS_SUFFIXES = tuple(
    "IMAGE_URL IMAGE_DIGEST ARTIFACT_URI ARTIFACT_DIGEST ARTIFACT_OUTPUTS ARTIFACT_INPUTS "
    "CHAINS-GIT_URL CHAINS-GIT_COMMIT".split()
)
_LABELS = ("app.kubernetes.io/version",)
_ANNOTATIONS = tuple(
    f"tekton.dev/{name}"
    for name in ("pipelines.minVersion", "categories", "tags", "displayName", "platforms")
) + tuple(f"artifacthub.io/{name}" for name in ("category", "license"))


@dataclass(frozen=True, slots=True)
class Declared:
    """What references inside a Task or Pipeline may name."""

    params: frozenset[str]
    results: frozenset[str]
    workspaces: frozenset[str]
    steps: frozenset[str]
    tasks: Mapping[str, frozenset[str]]
    context: frozenset[str]


def lint_task(task: Document) -> list[str]:
    """All problems of a Task."""
    spec = task["spec"]
    return [
        *_metadata(task),
        *_params(spec.get("params", [])),
        *_results(spec.get("results", [])),
        *_workspaces(spec.get("workspaces", [])),
        *_volumes(spec),
        *_steps(spec),
        *_task_references(spec),
    ]


def lint_pipeline(pipeline: Document, tasks: Mapping[str, Document]) -> list[str]:
    """All problems of a Pipeline; tasks: those that it may refer to, by name."""
    spec = pipeline["spec"]
    stages = [*spec.get("tasks", []), *spec.get("finally", [])]
    known = {
        stage["name"]: frozenset(
            result["name"]
            for result in tasks.get(stage["taskRef"]["name"], {"spec": {}})["spec"].get(
                "results", []
            )
        )
        for stage in stages
    }
    declared = Declared(
        frozenset(param["name"] for param in spec.get("params", [])),
        frozenset(),
        frozenset(item["name"] for item in spec.get("workspaces", [])),
        frozenset(),
        known,
        _PIPELINE_CONTEXT,
    )
    problems = [
        *_metadata(pipeline),
        *_params(spec.get("params", [])),
        *_results(spec.get("results", [])),
        *_workspaces(spec.get("workspaces", [])),
        *_repeated("duplicate-task", [stage["name"] for stage in stages]),
        *_references({**spec, "params": []}, declared),
        *_unused(declared, {**spec, "params": []}),
        *_order(spec),
    ]
    for stage in stages:
        task = tasks.get(stage["taskRef"]["name"])
        if task is None:
            problems.append(f"unknown-task: {stage['name']} runs {stage['taskRef']['name']}")
            continue
        problems += _passed(stage["name"], stage, task["spec"])
        problems += _goes_on(stage)
        for binding in stage.get("workspaces", []):
            if binding.get("workspace", binding["name"]) not in declared.workspaces:
                problems.append(f"unknown-workspace: {stage['name']} binds {binding}")
    return problems


def lint_run(run: Document, targets: Mapping[str, Document]) -> list[str]:
    """All problems of a TaskRun or PipelineRun; targets: what it may refer to, by name."""
    spec = run["spec"]
    name = (spec.get("taskRef") or spec["pipelineRef"])["name"]
    if name not in targets:
        return [f"unknown-task: {name}"]
    target = targets[name]["spec"]
    stages = {stage["name"] for stage in target.get("tasks", [])}
    unknown = [
        f"unknown-task: taskRunSpecs names {item['pipelineTaskName']}"
        for item in spec.get("taskRunSpecs", [])
        if item["pipelineTaskName"] not in stages
    ]
    return [*_passed(name, spec, target), *unknown]


def lint_readme(text: str, document: Document) -> list[str]:
    """Where the tables of a README and the document differ."""
    problems = []
    for heading, items in (
        ("Parameters", document["spec"].get("params", [])),
        ("Results", document["spec"].get("results", [])),
        ("Workspaces", document["spec"].get("workspaces", [])),
    ):
        section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        rows = re.findall(r"^\| `([^`]+)` \|(.*)\|$", section[1] if section else "", re.MULTILINE)
        shown, declared = [name for name, _ in rows], [item["name"] for item in items]
        if shown != declared:
            problems.append(f"readme-table: {heading} shows {shown}, declared are {declared}")
        for name, cells in rows:
            item: Document = next((item for item in items if item["name"] == name), {})
            default = item.get("default")
            if default and isinstance(default, str) and f"`{default}`" not in cells:
                problems.append(f"readme-default: {name} has the default {default!r}")
            if heading == "Parameters" and ("default" in item) == ("| required |" in cells):
                problems.append(f"readme-default: {name}")
    named = {item["name"] for item in document["spec"].get("params", [])}
    mounted = {name for name in named if name.endswith("-secret") and f"{name}-key" in named}
    listed = set(re.findall(r"^\| param `([^`]+)` \| param `\1-key` \|", text, re.MULTILINE))
    if listed != mounted:
        problems.append(f"readme-table: Secrets shows {listed}, declared are {mounted}")
    return problems


# --- Parts ------------------------------------------------------------------------------------


def _metadata(document: Document) -> Iterator[str]:
    metadata = document["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    for name in _LABELS:
        if not labels.get(name):
            yield f"metadata: no label {name}"
    for name in _ANNOTATIONS:
        if not annotations.get(name):
            yield f"metadata: no annotation {name}"
    for platform in annotations.get("tekton.dev/platforms", "").split(","):
        if not re.fullmatch(r"[a-z0-9]+/[a-z0-9]+", platform):
            yield f"metadata: {platform!r} is no platform"
    if not document["spec"].get("description"):
        yield "metadata: no description"


def _params(params: list[Document]) -> Iterator[str]:
    yield from _repeated("duplicate-param", [param["name"].lower() for param in params])
    for param in params:
        name, kind = param["name"], param.get("type", "string")
        if kind != "string":  # an array's elements would be arguments, options among them
            yield f"param-type: {name} is a {kind}"
        if not isinstance(param.get("default", ""), str):
            yield f"default-kind: the default of {name} is {param['default']!r}"
        if not param.get("description"):
            yield f"metadata: the param {name} has no description"


def _results(results: list[Document]) -> Iterator[str]:
    yield from _repeated("duplicate-result", [result["name"] for result in results])
    for result in results:
        name = result["name"]
        is_hint = name == "IMAGES" or name.endswith(_CHAINS_SUFFIXES)
        if is_hint and name not in _WRITTEN_IF_PUSHED:
            yield f"chains-hint: {name} tells Chains that an image was pushed"
        if not result.get("description"):
            yield f"metadata: the result {name} has no description"


def _workspaces(workspaces: list[Document]) -> Iterator[str]:
    yield from _repeated("duplicate-workspace", [item["name"] for item in workspaces])
    paths = [item.get("mountPath", f"/workspace/{item['name']}") for item in workspaces]
    yield from _repeated("duplicate-workspace", paths)
    for item in workspaces:
        yield from _mountable(item.get("mountPath", ""))


def _volumes(spec: Document) -> Iterator[str]:
    names = [volume["name"] for volume in spec.get("volumes", [])]
    yield from _repeated("duplicate-volume", names)
    for name in names:
        if name.startswith("tekton-internal-"):
            yield f"internal-name: {name}"
    mounts = [mount for step in spec.get("steps", []) for mount in step.get("volumeMounts", [])]
    for mount in mounts:
        yield from _mountable(mount["mountPath"])
        if mount["name"] not in names:
            yield f"unknown-volume: {mount['name']}"
    for name in set(names) - {mount["name"] for mount in mounts}:
        yield f"unused: the volume {name}"


def _mountable(path: str) -> Iterator[str]:
    if path == "/tekton" or path.startswith("/tekton/"):
        yield f"mount-under-tekton: {path}"


def _steps(spec: Document) -> Iterator[str]:
    steps = spec.get("steps") or []
    if not steps:
        yield "no-steps: a Task needs one"
    yield from _repeated("step-name", [step["name"] for step in steps])
    for step in steps:
        yield from _step(step)


def _step(step: Document) -> Iterator[str]:
    name = step["name"]
    if not _DNS_LABEL.fullmatch(name):
        yield f"step-name: {name!r} is no DNS label"
    if ("image" in step) == ("ref" in step):
        yield f"image-xor-ref: {name}"
    if ("script" in step) == ("command" in step):
        yield f"script-xor-command: {name}"
    if "$(params" in step.get("script", "") or "$(tasks" in step.get("script", ""):
        yield f"param-in-script: {name}"
    if step.get("onError", "stopAndFail") not in ("continue", "stopAndFail"):
        yield f"on-error: {name}"
    if "timeout" not in step or not _DURATION.fullmatch(step["timeout"]):
        yield f"timeout: {name} has no limit of its own"
    if "image" in step and not _PINNED.fullmatch(step["image"]):
        yield f"image-not-pinned: {step['image']}"
    resources = step.get("computeResources", {})
    for part in ("requests", "limits"):
        for kind in ("cpu", "memory"):
            if kind not in resources.get(part, {}):
                yield f"resources: {name} has no {part} for {kind}"
    yield from _security(name, step.get("securityContext", {}))
    yield from _environment(name, step)


def _environment(name: str, step: Document) -> Iterator[str]:
    if step.get("envFrom"):
        yield f"secret-in-env: {name} has envFrom"
    for variable in step.get("env", []):
        if "valueFrom" in variable:
            yield f"secret-in-env: {variable['name']}"


def _security(name: str, context: Document) -> Iterator[str]:
    wanted = {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for field, value in wanted.items():
        if context.get(field) != value:
            yield f"security-context: {name} has {field} {context.get(field)}"
    for field in set(context) - set(wanted):
        yield f"security-context: {name} sets {field}"


def _task_references(spec: Document) -> Iterator[str]:
    declared = Declared(
        frozenset(param["name"] for param in spec.get("params", [])),
        frozenset(result["name"] for result in spec.get("results", [])),
        frozenset(item["name"] for item in spec.get("workspaces", [])),
        frozenset(step["name"] for step in spec.get("steps", [])),
        {},
        _TASK_CONTEXT,
    )
    used = {**spec, "params": []}
    yield from _references(used, declared)
    yield from _unused(declared, used)
    for step in spec.get("steps", []):
        fixed = [step.get("timeout", ""), *_texts(step.get("computeResources", {}))]
        if any("$(" in text for text in fixed):
            yield f"not-substituted: {step['name']} has a reference where Tekton leaves it"


def _references(part: Any, declared: Declared) -> Iterator[str]:
    for text in _texts(part):
        for inner in _REFERENCE.findall(text):
            if problem := _resolve(inner, declared):
                yield f"{problem}: $({inner})"


def _resolve(inner: str, declared: Declared) -> str | None:
    """The code of the rule that a reference breaks; None if it resolves."""
    found = _NAMED.fullmatch(inner)
    if not found:
        return "unknown-reference"
    kind, name, rest = found["kind"], found["plain"] or found["quoted"], found["rest"]
    if kind == "params" and name in declared.params:
        return "param-kind" if rest else None
    is_known = {
        "results": name in declared.results and rest == ".path",
        "workspaces": name in declared.workspaces and rest[1:] in _WORKSPACE_FIELDS,
        "context": name + rest in declared.context,
        "steps": name in declared.steps and rest.startswith((".results.", ".exitCode.path")),
        "tasks": rest in (".status", ".reason") or name in declared.tasks,
    }.get(kind, False)
    if not is_known:
        return "unknown-reference"
    if kind == "tasks" and (result := re.fullmatch(r"\.results\.([A-Za-z0-9_-]+)", rest)):
        return None if result[1] in declared.tasks[name] else "unknown-result"
    return None


def _unused(declared: Declared, part: Any) -> Iterator[str]:
    texts = "\n".join(_texts(part))
    for name in declared.params:
        if not re.search(rf"\$\(params(\.|\[['\"]){re.escape(name)}(['\"]\])?\)", texts):
            yield f"unused: the param {name}"
    for name in declared.results:
        if f"$(results.{name}.path)" not in texts:
            yield f"unused: the result {name}"


def _passed(what: str, given: Document, target: Document) -> Iterator[str]:
    """Whether the params and workspaces that are given are those that the target takes."""
    params = {param["name"]: param for param in target.get("params", [])}
    names = [param["name"] for param in given.get("params", [])]
    yield from _repeated("duplicate-param", names)
    for param in given.get("params", []):
        name, value = param["name"], param["value"]
        if name not in params:
            yield f"unknown-param: {what} takes no {name}"
        elif not isinstance(value, str):
            yield f"param-kind: {what} gets {value!r} for {name}"
    for name, param in params.items():
        if "default" not in param and name not in names:
            yield f"missing-param: {what} needs {name}"
    workspaces = {item["name"]: item for item in target.get("workspaces", [])}
    bound = [item["name"] for item in given.get("workspaces", [])]
    for name in bound:
        if name not in workspaces:
            yield f"unknown-workspace: {what} has no {name}"
    for name, item in workspaces.items():
        if not item.get("optional") and name not in bound:
            yield f"missing-workspace: {what} needs {name}"


def _goes_on(stage: Document) -> Iterator[str]:
    """Whether a stage that refuses would not be the last."""
    if stage.get("onError", "stopAndFail") != "stopAndFail":
        yield f"goes-on: {stage['name']} fails, and the next stage runs"
    if stage.get("retries"):
        yield f"goes-on: {stage['name']} is asked again until it passes"


def _order(spec: Document) -> Iterator[str]:
    """Whether the stages can be put in order, and nothing waits for a finally task."""
    stages = {stage["name"]: stage for stage in spec.get("tasks", [])}
    last = {stage["name"] for stage in spec.get("finally", [])}
    needs: dict[str, set[str]] = {}
    for name, stage in stages.items():
        inside = {**stage, "name": "", "taskRef": {}}
        named = {
            found["plain"]
            for text in _texts(inside)
            for inner in _REFERENCE.findall(text)
            if (found := _NAMED.fullmatch(inner)) and found["kind"] == "tasks"
        }
        needs[name] = named | set(stage.get("runAfter", []))
        for other in needs[name] & last:
            yield f"waits-for-finally: {name} waits for {other}"
        for other in needs[name] - set(stages) - last:
            yield f"unknown-task: {name} waits for {other}"
    ready: set[str] = set()
    while more := {name for name, other in needs.items() if other & set(stages) <= ready} - ready:
        ready |= more
    if left := sorted(set(stages) - ready):
        yield f"cycle: {', '.join(left)}"


def _repeated(rule: str, names: Iterable[str]) -> Iterator[str]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"{rule}: {name} {count} times"


def _texts(part: Any) -> Iterator[str]:
    """Every text in a value, but no description."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, Mapping):
        for name, item in part.items():
            if name != "description":
                yield from _texts(item)
    elif isinstance(part, list):
        for item in part:
            yield from _texts(item)
