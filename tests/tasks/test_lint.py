# SPDX-License-Identifier: Apache-2.0
"""The committed files keep every rule, and every rule can fail."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .crd_schemas import closed_schema, schema_errors
from .project_files import ROOT, pipelines, runs, tasks
from .tekton_lint import lint_pipeline, lint_readme, lint_run, lint_task

pytestmark = pytest.mark.once

Document = dict[str, Any]
Change = Callable[[Document], object]
PIPELINE = "image-release"


def all_documents() -> dict[str, Document]:
    return {**tasks(), **pipelines(), **runs()}


@pytest.mark.parametrize("name", sorted(all_documents()))
def test_committed_documents_fit_the_closed_schema(name: str) -> None:
    assert schema_errors(all_documents()[name]) == []


@pytest.mark.parametrize("name", sorted(tasks()))
def test_committed_tasks_keep_the_rules(name: str) -> None:
    assert lint_task(tasks()[name]) == []


def test_committed_pipelines_keep_the_rules() -> None:
    assert [lint_pipeline(pipeline, tasks()) for pipeline in pipelines().values()] == [[]]


@pytest.mark.parametrize("name", sorted(runs()))
def test_committed_samples_can_be_started(name: str) -> None:
    assert lint_run(runs()[name], {**tasks(), **pipelines()}) == []


@pytest.mark.parametrize("name", sorted({**tasks(), **pipelines()}))
def test_readme_tables_show_what_the_document_declares(name: str) -> None:
    (path,) = ROOT.glob(f"*/{name}/README.md")
    assert lint_readme(path.read_text(), {**tasks(), **pipelines()}[name]) == []


def test_each_stage_waits_for_the_one_before() -> None:
    stages = pipelines()[PIPELINE]["spec"]["tasks"]
    assert [item["name"] for item in stages] == [
        *("resolve", "scan-gate", "sign-image", "verify-image", "publish-policy")
    ]
    for before, after in itertools.pairwise(stages):
        assert after["runAfter"] == [before["name"]]


def test_each_task_has_a_folder_a_readme_and_a_sample() -> None:
    for name in tasks():
        folder = ROOT / "tasks" / name
        assert (folder / "README.md").is_file()
        assert (folder / "samples" / f"{name}-run.yaml").is_file()
    assert len(tasks()) == 7


# --- Each rule can fail -----------------------------------------------------------------------


def step(document: Document) -> Document:
    found: Document = document["spec"]["steps"][0]
    return found


def add(part: str, item: Document) -> Change:
    return lambda document: document["spec"].setdefault(part, []).append(item)


def set_in_step(field: str, value: Any) -> Change:
    return lambda document: step(document).update({field: value})


def argument(text: str) -> Change:
    return lambda document: step(document)["args"].append(text)


def variable(text: str) -> Change:
    return lambda document: step(document)["env"].append({"name": "X", "value": text})


def param(**fields: Any) -> Change:
    return add("params", {"name": "extra", "type": "string", "description": "x", **fields})


BAD_TASKS: list[tuple[str, Change]] = [
    ("no-steps", lambda d: d["spec"].update(steps=[])),
    ("image-xor-ref", lambda d: step(d).pop("image")),
    ("image-xor-ref", set_in_step("ref", {"name": "x"})),
    ("script-xor-command", set_in_step("script", "#!/bin/sh\n")),
    ("script-xor-command", lambda d: step(d).pop("command")),
    ("param-in-script", set_in_step("script", "echo $(params.image-url)")),
    ("step-name", set_in_step("name", "Not_A_Label")),
    ("step-name", lambda d: d["spec"]["steps"].append(step(d))),
    ("duplicate-param", param(name="IMAGE-URL")),
    ("param-type", param(type="number")),
    ("param-type", param(type="array", default=[])),
    ("param-type", param(type="object", properties={"x": {}})),
    ("default-kind", param(default=True)),
    ("default-kind", param(default=[])),
    ("on-error", set_in_step("onError", "ignore")),
    ("timeout", set_in_step("timeout", "-5m")),
    ("timeout", lambda d: step(d).pop("timeout")),
    ("unknown-reference", argument("$(params.nobody)")),
    ("unknown-reference", variable("$(params['nobody'])")),
    ("unknown-reference", argument("$(results.nobody.path)")),
    ("unknown-reference", argument("$(results.verdict)")),
    ("unknown-reference", argument("$(workspaces.nobody.path)")),
    ("unknown-reference", argument("$(workspaces.ca.size)")),
    ("unknown-reference", argument("$(steps.nobody.results.x)")),
    ("unknown-reference", argument("$(tasks.resolve.results.image-url)")),
    ("unknown-reference", argument("$(context.pipelineRun.name)")),
    ("unknown-reference", argument("$(HOME)")),
    ("param-kind", argument("$(params.image-url[*])")),
    ("not-substituted", set_in_step("timeout", "$(params.timeout)s")),
    ("mount-under-tekton", lambda d: step(d)["volumeMounts"][0].update(mountPath="/tekton/home")),
    ("mount-under-tekton", lambda d: d["spec"]["workspaces"][0].update(mountPath="/tekton")),
    ("duplicate-volume", lambda d: d["spec"]["volumes"].append(d["spec"]["volumes"][0])),
    ("unknown-volume", lambda d: step(d)["volumeMounts"].append({"name": "x", "mountPath": "/x"})),
    ("internal-name", add("volumes", {"name": "tekton-internal-x", "emptyDir": {}})),
    ("duplicate-workspace", lambda d: d["spec"]["workspaces"].append(d["spec"]["workspaces"][0])),
    ("duplicate-workspace", add("workspaces", {"name": "x", "mountPath": "/imgsec/ca"})),
    ("duplicate-result", lambda d: d["spec"]["results"].append(d["spec"]["results"][0])),
    ("chains-hint", add("results", {"name": "SIGNED_IMAGE_URL", "description": "x"})),
    ("chains-hint", add("results", {"name": "GATED_IMAGE_DIGEST", "description": "x"})),
    ("chains-hint", add("results", {"name": "IMAGES", "description": "x"})),
    ("unused", param(default="")),
    ("unused", add("results", {"name": "extra", "description": "x"})),
    ("unused", add("volumes", {"name": "extra", "emptyDir": {}})),
    ("image-not-pinned", set_in_step("image", "registry.example.com/tools:1.0")),
    ("image-not-pinned", set_in_step("image", f"registry.example.com/t@sha256:{'0' * 64}")),
    ("image-not-pinned", set_in_step("image", "$(params.image-url)")),
    ("resources", lambda d: step(d).pop("computeResources")),
    ("resources", lambda d: step(d)["computeResources"]["limits"].pop("memory")),
    ("security-context", lambda d: step(d).pop("securityContext")),
    ("security-context", lambda d: step(d)["securityContext"].update(runAsUser=1000)),
    ("security-context", lambda d: step(d)["securityContext"].update(runAsNonRoot=False)),
    ("security-context", lambda d: step(d)["securityContext"].pop("seccompProfile")),
    ("secret-in-env", set_in_step("envFrom", [{"secretRef": {"name": "x"}}])),
    (
        "secret-in-env",
        lambda d: step(d)["env"].append(
            {"name": "X", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}
        ),
    ),
    ("metadata", lambda d: d["metadata"]["labels"].pop("app.kubernetes.io/version")),
    ("metadata", lambda d: d["metadata"]["annotations"].pop("tekton.dev/categories")),
    ("metadata", lambda d: d["metadata"]["annotations"].update({"tekton.dev/platforms": "Linux"})),
    ("metadata", lambda d: d["spec"].pop("description")),
    ("metadata", lambda d: d["spec"]["params"][0].pop("description")),
    ("metadata", lambda d: d["spec"]["results"][0].pop("description")),
]


@pytest.mark.parametrize(("rule", "change"), BAD_TASKS)
def test_a_task_that_breaks_a_rule_is_noticed(rule: str, change: Change) -> None:
    task = copy.deepcopy(tasks()["imgsec-sign-image"])
    change(task)
    assert rule in {problem.partition(":")[0] for problem in lint_task(task)}


def stage(document: Document, name: str) -> Document:
    return next(item for item in document["spec"]["tasks"] if item["name"] == name)


def pass_on(name: str, value: Any) -> Change:
    return lambda d: stage(d, "sign-image")["params"].append({"name": name, "value": value})


def replace(name: str, value: Any) -> Change:
    def change(document: Document) -> None:
        params = stage(document, "sign-image")["params"]
        next(item for item in params if item["name"] == name)["value"] = value

    return change


BAD_PIPELINES: list[tuple[str, Change]] = [
    ("unknown-task", lambda d: stage(d, "resolve")["taskRef"].update(name="nobody")),
    ("unknown-task", lambda d: stage(d, "resolve").update(runAfter=["nobody"])),
    ("duplicate-task", lambda d: d["spec"]["tasks"].append(stage(d, "resolve"))),
    ("unknown-param", pass_on("nobody", "x")),
    ("duplicate-param", pass_on("key", "x")),
    ("missing-param", lambda d: stage(d, "sign-image").update(params=[])),
    ("param-kind", replace("key", ["x"])),
    ("param-kind", replace("key", "$(params.repository[*])")),
    ("goes-on", lambda d: stage(d, "scan-gate").update(onError="continue")),
    ("goes-on", lambda d: stage(d, "scan-gate").update(retries=2)),
    ("unknown-reference", replace("key", "$(params.nobody)")),
    ("unknown-reference", replace("key", "$(tasks.nobody.results.x)")),
    ("unknown-reference", replace("key", "$(context.taskRun.name)")),
    ("unknown-result", replace("key", "$(tasks.resolve.results.nobody)")),
    (
        "unknown-result",
        lambda d: d["spec"]["results"][0].update(value="$(tasks.resolve.results.x)"),
    ),
    ("cycle", lambda d: stage(d, "resolve").update(runAfter=["verify-image"])),
    ("cycle", lambda d: stage(d, "resolve").update(runAfter=["resolve"])),
    (
        "waits-for-finally",
        lambda d: d["spec"].update(
            {"tasks": d["spec"]["tasks"][1:], "finally": d["spec"]["tasks"][:1]}
        ),
    ),
    (
        "unknown-workspace",
        lambda d: stage(d, "resolve")["workspaces"].append({"name": "x", "workspace": "ca"}),
    ),
    (
        "unknown-workspace",
        lambda d: stage(d, "resolve").update(workspaces=[{"name": "ca", "workspace": "nobody"}]),
    ),
    ("unused", param(default="")),
    ("default-kind", param(default=1)),
    ("chains-hint", add("results", {"name": "AN_IMAGE_URL", "description": "x", "value": "x"})),
    ("metadata", lambda d: d["metadata"].pop("annotations")),
]


@pytest.mark.parametrize(("rule", "change"), BAD_PIPELINES)
def test_a_pipeline_that_breaks_a_rule_is_noticed(rule: str, change: Change) -> None:
    pipeline = copy.deepcopy(pipelines()[PIPELINE])
    change(pipeline)
    assert rule in {problem.partition(":")[0] for problem in lint_pipeline(pipeline, tasks())}


SETUP = "tasks/imgsec-setup-signing-keys/samples/imgsec-setup-signing-keys-run.yaml"
BAD_RUNS: list[tuple[str, str, Change]] = [
    ("unknown-task", SETUP, lambda d: d["spec"]["taskRef"].update(name="nobody")),
    ("unknown-param", SETUP, add("params", {"name": "nobody", "value": ""})),
    ("missing-param", SETUP, lambda d: d["spec"]["params"].pop(0)),
    ("missing-workspace", SETUP, lambda d: d["spec"].pop("workspaces")),
    ("unknown-workspace", SETUP, add("workspaces", {"name": "nobody", "emptyDir": {}})),
    (
        "unknown-task",
        f"pipelines/{PIPELINE}/samples/{PIPELINE}-run.yaml",
        lambda d: d["spec"]["taskRunSpecs"][0].update(pipelineTaskName="nobody"),
    ),
]


@pytest.mark.parametrize(("rule", "name", "change"), BAD_RUNS)
def test_a_run_that_cannot_start_is_noticed(rule: str, name: str, change: Change) -> None:
    run = copy.deepcopy(runs()[name])
    change(run)
    problems = lint_run(run, {**tasks(), **pipelines()})
    assert rule in {problem.partition(":")[0] for problem in problems}


@pytest.mark.parametrize(
    ("rule", "old", "new"),
    [
        ("readme-table", "| `kms-instance` |", "| `kms-instanze` |"),
        ("readme-table", "| `verdict` |", "verdict"),
        ("readme-table", "## Workspaces", "## Places"),
        ("readme-table", "| param `passphrase-secret` |", "| param `password-secret` |"),
        ("readme-default", "| `600` |", "| `60` |"),
        ("readme-default", "| string | required |", "| string | empty |"),
    ],
)
def test_a_readme_that_says_something_else_is_noticed(rule: str, old: str, new: str) -> None:
    text = (ROOT / "tasks/imgsec-sign-image/README.md").read_text()
    assert old in text
    problems = lint_readme(text.replace(old, new), tasks()["imgsec-sign-image"])
    assert rule in {problem.partition(":")[0] for problem in problems}


# --- The closed schemas -----------------------------------------------------------------------

MISSPELT: list[tuple[str, Change]] = [
    ("Task", set_in_step("workingdir", "/x")),
    ("Task", lambda d: d["spec"].update(Steps=[])),
    ("Task", lambda d: step(d)["securityContext"].update(runAsNonroot=True)),
    ("Task", lambda d: step(d).update(resources=step(d).pop("computeResources"))),
    ("Task", lambda d: step(d)["volumeMounts"][0].update(readonly=True)),
    ("Task", set_in_step("timeout", 5)),
    ("Task", lambda d: step(d)["env"].append({"name": "X", "value": 5})),
    ("Task", lambda d: step(d).pop("name")),
    ("Task", lambda d: d.update(apiVersion="tekton.dev/v1beta1")),
    ("Task", lambda d: d.update(kind="Task", spec=None)),
    ("Task", lambda d: d["metadata"]["labels"].update(x=True)),
    ("Task", lambda d: d["metadata"].update(anotations={})),
    ("Pipeline", lambda d: stage(d, "resolve").update(runafter=["x"])),
    ("TaskRun", lambda d: d["spec"].update(taskref={})),
    ("PipelineRun", lambda d: d["spec"].update(serviceAccountName="x")),
]


@pytest.mark.parametrize(("kind", "change"), MISSPELT)
def test_a_misspelt_field_does_not_fit_the_closed_schema(kind: str, change: Change) -> None:
    document = copy.deepcopy(next(d for d in all_documents().values() if d["kind"] == kind))
    change(document)
    assert schema_errors(document) != []


POLICY: Document = {
    "apiVersion": "portieris.cloud.ibm.com/v1",
    "kind": "ClusterImagePolicy",
    "metadata": {"name": "x"},
    "spec": {
        "repositories": [
            {
                "name": "us.icr.io/team/*",
                "policy": {
                    "mutateImage": True,
                    "simple": {"requirements": [{"type": "signedBy", "keySecret": "x"}]},
                },
            }
        ]
    },
}


def test_a_portieris_policy_fits_its_closed_schema() -> None:
    assert schema_errors(POLICY) == []
    assert schema_errors({**POLICY, "kind": "ImagePolicy"}) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["policy"]["simple"]["requirements"][0].update(keysecret="x"),
        lambda r: r["policy"]["simple"]["requirements"][0].update(type="signedby"),
        lambda r: r["policy"]["simple"]["requirements"][0].update(
            signedIdentity={"type": "matchRepoDigestOrExact"}
        ),
        lambda r: r["policy"].update(va={"enabled": True}),
        lambda r: r["policy"]["simple"].update(simpleStore={}),
        lambda r: r.update(policy=None),
    ],
)
def test_a_portieris_policy_with_a_misspelt_field_does_not_fit(change: Change) -> None:
    policy = copy.deepcopy(POLICY)
    change(policy["spec"]["repositories"][0])
    assert schema_errors(policy) != []


def test_there_is_no_schema_for_an_unknown_kind() -> None:
    with pytest.raises(LookupError):
        closed_schema("Pod")


def test_the_sources_of_the_schemas_are_named() -> None:
    import json

    for folder in ("tekton", "portieris"):
        sources = json.loads((Path(ROOT) / "tests/data" / folder / "SOURCES.json").read_bytes())
        for source in sources:
            assert source.keys() >= {"repository", "tag", "commit", "license", "sha256"}
