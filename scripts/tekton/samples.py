# SPDX-License-Identifier: Apache-2.0
"""Runs that show how to start a Task or Pipeline, and the rights of the one that needs some.

Only what publishes a policy talks to the cluster; all other pods get no token for it.
"""

from __future__ import annotations

from scripts.tekton import plans
from scripts.tekton.documents import RenderError
from scripts.tekton.plans import PUBLISHER, Document

_NO_TOKEN = {"automountServiceAccountToken": False}
_PUBLISHES = "publish-policy"


def sample_run(document: Document) -> Document:
    """A TaskRun or PipelineRun with the params that it cannot do without, and a few more."""
    kind, name = document["kind"], document["metadata"]["name"]
    reference: Document = (
        {"taskRef": {"kind": "Task", "name": name}}
        if kind == "Task"
        else {"pipelineRef": {"name": name}}
    )
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": f"{kind}Run",
        "metadata": {"generateName": f"{name}-"},
        "spec": {**reference, **_given(document["spec"]), **_identity(kind, name)},
    }


def _given(spec: Document) -> Document:
    """The values and workspaces. Raises `RenderError` where one is needed and the plans lack it."""
    values, known = plans.SAMPLE_VALUES, plans.SAMPLE_WORKSPACES
    params, workspaces = spec["params"], spec.get("workspaces", [])
    needed = [item["name"] for item in params if "default" not in item]
    if missing := [name for name in needed if name not in values]:
        raise RenderError(f"no sample value for {', '.join(missing)}")
    given: Document = {
        "params": [
            {"name": item["name"], "value": values[item["name"]]}
            for item in params
            if item["name"] in values
        ]
    }
    if bound := [known[item["name"]] for item in workspaces if item["name"] in known]:
        given["workspaces"] = bound
    return given


def _identity(kind: str, name: str) -> Document:
    """As whom the pods run."""
    if kind == "Pipeline":
        publisher = {
            "pipelineTaskName": _PUBLISHES,
            "serviceAccountName": PUBLISHER,
            "podTemplate": {"automountServiceAccountToken": True},
        }
        return {
            "timeouts": {"pipeline": "2h0m0s"},
            "taskRunTemplate": {"podTemplate": _NO_TOKEN},
            "taskRunSpecs": [publisher],
        }
    if name == f"imgsec-{_PUBLISHES}":
        return {"serviceAccountName": PUBLISHER}
    return {"podTemplate": _NO_TOKEN}


def publisher_rights() -> list[Document]:
    """What the service account that publishes a policy may do, and nothing else.

    It looks at what runs, and reads one Secret: the one with the public key.
    """
    rbac = "rbac.authorization.k8s.io"
    metadata = {"name": PUBLISHER}
    account = {**metadata, "namespace": "default"}
    looked_at = (
        ("", "pods", "list"),
        ("", "serviceaccounts", "get"),
        ("apps", "deployments", "list"),
        ("apps", "statefulsets", "list"),
        ("apps", "daemonsets", "list"),
        ("batch", "cronjobs", "list"),
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", "list"),
    )
    rules: list[Document] = [
        {
            "apiGroups": ["portieris.cloud.ibm.com"],
            "resources": ["clusterimagepolicies", "imagepolicies"],
            "verbs": ["get", "list", "create", "patch"],
        },
        *(
            {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
            for group, resource, verb in looked_at
        ),
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": ["portieris-image-signing-public-key"],
            "verbs": ["get"],
        },
    ]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRole",
            "metadata": metadata,
            "rules": rules,
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": metadata,
            "subjects": [{"kind": "ServiceAccount", **account}],
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": PUBLISHER},
        },
    ]
