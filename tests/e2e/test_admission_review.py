# SPDX-License-Identifier: Apache-2.0
"""AdmissionReviews in and out: what the webhook would answer, one to one, and how the run ends."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import CommandLine, Ended

pytestmark = pytest.mark.once
API = "portieris.cloud.ibm.com/v1"
UID = "705ab4f5-6393-11e8-b7cc-42010a800002"
IMAGE = "icr.io/team/app:1"
HEX = "a" * 64


class Webhook:
    """The command line as the webhook of one policy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._imgsec = CommandLine(folder)
        self.rules({"name": "icr.io/*"})

    def rules(self, *rules: dict[str, Any]) -> None:
        document = {
            **{"apiVersion": API, "kind": "ClusterImagePolicy", "metadata": {"name": "p"}},
            "spec": {"repositories": list(rules)},
        }
        (self.folder / "policy.yaml").write_text(yaml.safe_dump(document))

    def answers(self, review: Any, *words: str) -> Ended:
        text = review if isinstance(review, str) else json.dumps(review)
        return self._imgsec.plain(
            *("admit", "--review", "-", "--policies", str(self.folder / "policy.yaml"), *words),
            stdin=text,
        )


@pytest.fixture
def webhook(tmp_path: Path) -> Webhook:
    return Webhook(tmp_path)


def review(
    *images: str, resource: str = "v1/pods", version: str = "v1", **request: Any
) -> dict[str, Any]:
    api, _, plural = resource.rpartition("/")
    group, _, version_ = api.rpartition("/")
    containers = [{"name": "c", "image": image} for image in images]
    return {
        "kind": "AdmissionReview",
        "apiVersion": f"admission.k8s.io/{version}",
        "request": {
            "uid": UID,
            "kind": {"group": group, "version": version_, "kind": "Any"},
            "resource": {"group": group, "version": version_, "resource": plural},
            "namespace": "shop",
            "operation": "CREATE",
            "object": {"metadata": {"name": "web"}, "spec": {"containers": containers}},
            **request,
        },
    }


def response(done: Ended, code: int) -> dict[str, Any]:
    """The one document on standard output, and nothing of it on the other."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.code == code, f"{done.code}\n{done.stdout}\n{done.stderr}"
    document = done.json
    assert document["kind"] == "AdmissionReview"
    found = document["response"]
    assert isinstance(found, dict)
    assert found["allowed"] is (code == 0)
    return found


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_allowed_in_the_version_that_was_asked_in(webhook: Webhook, version: str) -> None:
    done = webhook.answers(review(IMAGE, version=version))
    assert response(done, 0) == {"uid": UID, "allowed": True}
    assert done.json["apiVersion"] == f"admission.k8s.io/{version}"
    assert "pass: Pod" in done.stderr or "web would be admitted" in done.stderr


def test_patch_is_the_webhooks(webhook: Webhook, tmp_path: Path) -> None:
    accepts = {"simple": {"requirements": [{"type": "insecureAcceptAnything"}]}}
    webhook.rules({"name": "icr.io/*", "policy": accepts})
    copy = tmp_path / "images" / IMAGE
    copy.mkdir(parents=True)
    manifest = b'{"schemaVersion":2}'
    (copy / "manifest.json").write_bytes(manifest)
    (copy / "version").write_text("Directory Transport Version: 1.1\n")
    done = webhook.answers(review(IMAGE), "--signatures", str(tmp_path / "images"))
    found = response(done, 0)
    assert found["patchType"] == "JSONPatch"
    assert json.loads(base64.b64decode(found["patch"])) == [
        {
            "op": "replace",
            "path": "/spec/containers/0/image",
            "value": f"icr.io/team/app@sha256:{hashlib.sha256(manifest).hexdigest()}",
        }
    ]


def test_name_alone_proves_no_image(webhook: Webhook, tmp_path: Path) -> None:
    accepts = {"simple": {"requirements": [{"type": "insecureAcceptAnything"}]}}
    webhook.rules({"name": "icr.io/*", "policy": accepts})
    done = webhook.answers(review(f"icr.io/team/app@sha256:{HEX}"), "--signatures", str(tmp_path))
    assert "only its name was looked at" in response(done, 3)["status"]["message"]


def test_denied_with_the_message_alone(webhook: Webhook) -> None:
    done = webhook.answers(review("quay.io/a/b", IMAGE))
    found = response(done, 1)
    said = (
        '\nDeny "quay.io/a/b", no matching repositories in ClusterImagePolicy and no ImagePolicies'
        ' in the "shop" namespace'
    )
    assert found["status"]["message"] == said
    assert set(found["status"]) <= {"metadata", "message"}
    assert "patch" not in found


def test_requests_namespace_counts_and_not_the_objects(webhook: Webhook) -> None:
    document = review("quay.io/a/b")
    document["request"]["object"]["metadata"]["namespace"] = "elsewhere"
    message = response(webhook.answers(document), 1)["status"]["message"]
    assert message.endswith('in the "shop" namespace')


@pytest.mark.parametrize("namespace", [None, ""])
def test_request_without_a_namespace_is_denied(webhook: Webhook, namespace: str | None) -> None:
    document = review(IMAGE)
    document["request"]["namespace"] = namespace
    assert "no namespace" in response(webhook.answers(document), 2)["status"]["message"]


@pytest.mark.parametrize(
    "more", [{"initContainers": {}}, {"imagePullSecrets": ""}, {"volumes": False}, {"image": "x"}]
)
def test_object_that_go_could_not_decode_is_denied(webhook: Webhook, more: dict[str, Any]) -> None:
    document = review(IMAGE)
    spec = document["request"]["object"]["spec"]
    if "image" in more:
        spec["containers"][0]["imagee"] = spec["containers"][0].pop("image")
    else:
        spec |= more
    response(webhook.answers(document), 2)


def test_undecided_is_not_allowed(webhook: Webhook) -> None:
    accepts = {"simple": {"requirements": [{"type": "insecureAcceptAnything"}]}}
    webhook.rules({"name": "icr.io/*", "policy": accepts})
    found = response(webhook.answers(review(IMAGE), "--offline"), 3)
    assert "is not known" in found["status"]["message"]


@pytest.mark.parametrize(
    "resource",
    ["apps.openshift.io/v1/deploymentconfigs", "batch.volcano.sh/v1alpha1/jobs", "v1/services"],
)
def test_unknown_resource_is_denied(webhook: Webhook, resource: str) -> None:
    for operation, object_ in (("CREATE", {"spec": {}}), ("DELETE", None)):
        document = review(resource=resource, operation=operation, object=object_)
        found = response(webhook.answers(document), 1)
        api, _, plural = resource.rpartition("/")
        group, _, version = api.rpartition("/")
        assert f'The resource "{group}/{version}/{plural}" is not' in found["status"]["message"]


def test_third_partys_jobs_are_denied_whatever_is_in_them_and_wherever(webhook: Webhook) -> None:
    containers = [{"name": "c", "image": 5}]
    document = review(
        resource="batch.volcano.sh/v1/jobs",
        namespace=None,
        object={"metadata": [], "spec": {"template": {"spec": {"containers": containers}}}},
    )
    done = webhook.answers(document, "--output", "json")
    assert done.code == 1
    found = response(webhook.answers(document), 1)
    assert 'The resource "batch.volcano.sh/v1/jobs" is not' in found["status"]["message"]
    assert found["uid"] == UID


@pytest.mark.parametrize(
    "more",
    [
        *({"namespace": ["shop"]}, {"namespace": "Shop"}, {"namespace": "shop "}),
        *({"operation": 7}, {"dryRun": "false"}, {"userInfo": {"groups": "x"}}),
        {"requestResource": {"group": []}},
    ],
)
def test_value_of_another_type_is_a_bad_request_with_its_uid(
    webhook: Webhook, more: dict[str, Any]
) -> None:
    found = response(webhook.answers(review(IMAGE, **more)), 2)
    said = "bad request, unable to decode admission review body: "
    assert found["status"]["message"].startswith(f"\n{said}")
    assert found["uid"] == UID


def test_deletion_brings_nothing_to_look_at(webhook: Webhook) -> None:
    done = webhook.answers(review(operation="DELETE", object=None))
    assert response(done, 0) == {"uid": UID, "allowed": True}


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE", "", None])
def test_other_operations_need_an_object(webhook: Webhook, operation: str | None) -> None:
    found = response(webhook.answers(review(operation=operation, object=None)), 2)
    said = "bad request, unable to decode admission review body: "
    assert found["status"]["message"].startswith(f"\n{said}")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "bad request, unable to decode admission review body: "),
        ("{", "bad request, unable to decode admission review body: "),
        ("kind: AdmissionReview", "bad request, unable to decode admission review body: "),
        ("[]", "bad request, unable to decode admission review body: "),
        ('{"apiVersion":"v1","kind":"Pod"}', "bad request, unable to decode admission review"),
        ('{"apiVersion":"admission.k8s.io/v1"}', "bad request, unable to decode admission review"),
        (
            '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}',
            "bad request, no admission request present",
        ),
        (
            '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"a"},'
            '"request":{}}',
            "bad request, unable to decode admission review body: ",
        ),
        (
            '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":5}',
            "bad request, unable to decode admission review body: ",
        ),
        ("[" * 100_000, "bad request, unable to decode admission review body: "),
    ],
)
def test_what_is_no_review_is_denied(webhook: Webhook, text: str, says: str) -> None:
    found = response(webhook.answers(text), 2)
    assert found["status"]["message"].startswith(f"\n{says}")
    assert found["uid"] == ""


@pytest.mark.parametrize(
    "spec",
    [{}, {"containers": []}, {"containers": 5}, {"containers": [{"image": ["x"]}]}, None, "x"],
)
def test_object_that_is_no_workload_is_denied(webhook: Webhook, spec: Any) -> None:
    response(webhook.answers(review(object={"metadata": {"name": "x"}, "spec": spec})), 2)


def test_policies_that_cannot_be_read_deny(webhook: Webhook) -> None:
    webhook.rules({"name": "icr.io/*", "polcy": {}})
    found = response(webhook.answers(review(IMAGE)), 2)
    assert "polcy" in found["status"]["message"]
    assert found["uid"] == UID


def test_review_can_be_asked_for_as_a_report(webhook: Webhook) -> None:
    done = webhook.answers(review("quay.io/a/b"), "--output", "json")
    assert done.code == 1
    assert done.json["workloads"][0]["messages"]


@pytest.mark.parametrize("odd", ["\x1b[31mred", "a\nb", "\u202egnp", "\ud83d", "é" * 3000])
def test_odd_text_stays_inside_its_document(webhook: Webhook, odd: str) -> None:
    document = review(odd)
    document["request"]["object"]["metadata"]["name"] = odd
    document["request"]["uid"] = odd
    done = webhook.answers(document)
    found = response(done, 1)
    assert "\x1b" not in done.stdout + done.stderr
    assert "\u202e" not in done.stdout + done.stderr
    assert found["uid"] in (odd, "")
    assert len(done.stdout) < 100_000
