# SPDX-License-Identifier: Apache-2.0
"""What of an object is read as a workload, and what in it is refused."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from imgsec.domain.workload import Workload, read_workload
from tests.unit.refusals import refused

CONTAINER = {"name": "c", "image": "icr.io/a:1"}
POD_SPEC: dict[str, Any] = {
    "containers": [CONTAINER],
    "initContainers": [CONTAINER],
    "ephemeralContainers": [CONTAINER],
    "imagePullSecrets": [{"name": "s"}],
    "volumes": [{"name": "v", "image": {"reference": "icr.io/v:1"}}],
    "serviceAccountName": "a",
}
METADATA: dict[str, Any] = {
    "name": "web",
    "namespace": "shop",
    "labels": {"a": "b"},
    "ownerReferences": [{"apiVersion": "v1", "kind": "Other", "name": "o"}],
}
TEMPLATE = {"metadata": METADATA, "spec": POD_SPEC}


def made(kind: str, api: str, spec: dict[str, Any]) -> dict[str, Any]:
    document = {"apiVersion": api, "kind": kind, "metadata": METADATA, "spec": spec}
    return copy.deepcopy(document)


DOCUMENTS = {
    "Pod": made("Pod", "v1", POD_SPEC),
    "Deployment": made("Deployment", "apps/v1", {"replicas": 2, "template": TEMPLATE}),
    "Job": made("Job", "batch/v1", {"template": TEMPLATE}),
    "CronJob": made(
        "CronJob", "batch/v1", {"jobTemplate": {"metadata": {}, "spec": {"template": TEMPLATE}}}
    ),
}


def read(document: dict[str, Any]) -> Workload | None:
    return read_workload(document, namespace="default")


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_objects_are_read(kind: str) -> None:
    workload = read(DOCUMENTS[kind])
    assert workload is not None
    assert workload.is_read
    assert [one.image for one in workload.pod.containers] == ["icr.io/a:1"] * 2
    assert workload.pod.unseen == (
        ("icr.io/a:1", "ephemeral container"),
        ("icr.io/v:1", "image volume"),
    )


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every field of a document; not the labels, which may have any name."""
    found: list[tuple[Any, ...]] = []
    if isinstance(value, dict) and path[-1:] != ("labels",):
        for name, member in value.items():
            found += [(*path, name), *_places(member, (*path, name))]
    elif isinstance(value, list):
        for place, member in enumerate(value):
            found += _places(member, (*path, place))
    return found


@pytest.mark.parametrize(
    ("kind", "path"),
    [(kind, path) for kind, one in DOCUMENTS.items() for path in _places(one)],
)
@pytest.mark.parametrize("change", [str.upper, lambda name: name[:-1] + name[-1] * 2, None])
def test_field_that_is_almost_another_is_refused(
    kind: str, path: tuple[Any, ...], change: Any
) -> None:
    """Beside the right one, too: else whatever else is missing might be what refuses it."""
    document = copy.deepcopy(DOCUMENTS[kind])
    at: Any = document
    for step in path[:-1]:
        at = at[step]
    name = path[-1]
    at[change(name) if change else f"{name[0]}{name[2]}{name[1]}{name[3:]}"] = at[name]
    with refused("workload-malformed") as reasons:
        read(document)
    assert f"did you mean {name}?" in reasons[0].text


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("ephemeralContainers", 0, "image"), ["x"]),
        (("volumes", 0, "image"), "icr.io/v:1"),
        (("volumes", 0, "image", "reference"), 5),
        (("imagePullSecrets", 0, "name"), 5),
    ],
)
def test_value_of_another_type_is_refused(path: tuple[Any, ...], value: Any) -> None:
    document = copy.deepcopy(DOCUMENTS["Pod"])
    at: Any = document["spec"]
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    with refused("workload-malformed"):
        read(document)


@pytest.mark.parametrize(
    ("api", "kind"),
    [
        *(("v1", "Podd"), ("v1", "pod"), ("v1", "Pdo"), ("v2", "Pods")),
        *(("apps/v1", "Deploymnet"), ("apps/v1beta1", "deployment"), ("apps/v1", "Demonset")),
        *(
            ("batch/v1", "Jobs"),
            ("batch/v2alpha1", "Cronjob"),
            ("extensions/v1beta1", "Replicaset"),
        ),
        *(("v1", "Lits"), ("v1", "Lst")),
    ],
)
def test_kind_that_is_almost_one_that_runs_is_refused(api: str, kind: str) -> None:
    with refused("workload-malformed") as reasons:
        read(made(kind, api, POD_SPEC))
    assert "did you mean " in reasons[0].text


@pytest.mark.parametrize(
    ("api", "kind"),
    [
        *(("v1", "PodTemplate"), ("v1", "ConfigMap"), ("apps/v1", "ControllerRevision")),
        *(("pods.example/v1", "Podd"), ("batch.example/v1", "CronJobs"), ("v1", "")),
    ],
)
def test_other_kinds_are_nobodys_mistake(api: str, kind: str) -> None:
    assert read(made(kind, api, {})) is None


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"kind": "Job", "metadata": [], "spec": {"template": {"spec": {"containers": [5]}}}},
        {"metadata": {"name": 5}, "spec": {"template": {"spec": {"containers": [{"image": 5}]}}}},
    ],
)
def test_nothing_is_looked_at_in_what_engines_refuse_by_its_resource(
    document: dict[str, Any],
) -> None:
    workload = read_workload(document, namespace="", request=("batch.volcano.sh/v1", "jobs"))
    assert workload is not None
    assert not workload.is_read
    assert (workload.namespace, workload.name, workload.pod.containers) == ("", "", ())
    assert workload.group_version_resource == "batch.volcano.sh/v1/jobs"
    assert str(workload).endswith(" ")
