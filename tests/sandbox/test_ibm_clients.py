# SPDX-License-Identifier: Apache-2.0
"""Contract: IBM's own clients, unchanged, against the sandbox."""

from __future__ import annotations

import base64
import io
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from ibm_cloud_sdk_core import ApiException
from ibm_cloud_sdk_core.authenticators import (
    ContainerAuthenticator,
    IAMAuthenticator,
    NoAuthAuthenticator,
)
from ibm_container_registry.container_registry_v1 import ContainerRegistryV1
from ibm_container_registry.vulnerability_advisor_v4 import (
    Exemption,
    ScanReport,
    ScanreportImageSummaryList,
    ScanreportSummary,
    VulnerabilityAdvisorV4,
)
from keyprotect import IbmKeyProtectApiV2

from imgsec.adapters._http import Answer
from imgsec.adapters.icr import ContainerRegistry
from imgsec.adapters.va import AdvisorSummaries
from imgsec.domain.image_list import RegistryImage
from imgsec.domain.reference import ImageReference, RegistryScope
from imgsec.sandbox.lifecycle import Sandbox
from tests.unit.adapters.test_icr import FakeHttp, api

from .conftest import Tools, key_body

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def login(sandbox: Sandbox) -> IAMAuthenticator:
    key = sandbox.folder.api_key.read_text()
    return IAMAuthenticator(key, url=sandbox.environment["IMGSEC_IAM_URL"])


def test_the_sdks_authenticators_get_tokens(sandbox: Sandbox, login: IAMAuthenticator) -> None:
    request: dict[str, Any] = {"headers": {}}
    login.authenticate(request)
    assert request["headers"]["Authorization"].startswith("Bearer ")
    compute = ContainerAuthenticator(
        cr_token_filename=sandbox.environment["IMGSEC_SANDBOX_CR_TOKEN_FILE"],
        iam_profile_id=sandbox.environment["IMGSEC_SANDBOX_PROFILE_ID"],
        url=sandbox.environment["IMGSEC_IAM_URL"],
    )
    compute.authenticate(request)
    wrong = IAMAuthenticator("wrong", url=sandbox.environment["IMGSEC_IAM_URL"])
    with pytest.raises(ApiException) as refused:
        wrong.authenticate(request)
    assert (refused.value.status_code, refused.value.message) == (400, "No such API key")


# --- Vulnerability Advisor --------------------------------------------------------------------


@pytest.fixture
def advisor(sandbox: Sandbox, login: IAMAuthenticator) -> VulnerabilityAdvisorV4:
    service = VulnerabilityAdvisorV4(account=sandbox.identity.account, authenticator=login)
    service.set_service_url(f"https://{sandbox.registry}")
    return service


@pytest.fixture
def image(tools: Tools, layout: Callable[..., Path]) -> str:
    return tools.push(layout(), "clients/vulnerable:1")


def test_reports(advisor: VulnerabilityAdvisorV4, sandbox: Sandbox, image: str) -> None:
    report = advisor.image_report_query_path(name=image).get_result()
    assert ScanReport.from_dict(report).status == "FAIL"
    summary = advisor.image_status_query_path(name=image).get_result()
    assert ScanreportSummary.from_dict(summary).issue_count == 2
    repository = image.removesuffix(":1")
    reports = advisor.account_report_query_path(repository=repository).get_result()
    assert ScanReport.from_dict(reports["assessments"][image]).status == "FAIL"
    statuses = advisor.account_status_query_path(
        repository=repository, include_ibm=False, include_private=True
    ).get_result()
    (only,) = ScanreportImageSummaryList.from_dict(statuses).images
    assert only.name == image
    with pytest.raises(ApiException) as missing:
        advisor.image_report_query_path(name=f"{sandbox.registry}/clients/nothing:1")
    assert (missing.value.status_code, missing.value.message) == (404, "Image was not found")


def test_exemptions(advisor: VulnerabilityAdvisorV4, image: str) -> None:
    issue = {"issue_type": "cve", "issue_id": "CVE-2026-90001"}
    made = advisor.create_exemption_account(**issue)
    assert made.get_status_code() == 201
    assert Exemption.from_dict(made.get_result()).scope.scope_type == "account"
    assert advisor.get_exemption_account(**issue).get_result() == made.get_result()
    assert advisor.list_exemption_account().get_result() == [made.get_result()]
    advisor.delete_exemption_account(**issue)
    resource = "clients/vulnerable:1"
    made = advisor.create_exemption_resource(resource=resource, **issue)
    scope = Exemption.from_dict(made.get_result()).scope
    assert (scope.namespace, scope.repository, scope.tag) == ("clients", "vulnerable", "1")
    assert advisor.get_exemption_resource(resource=resource, **issue).get_status_code() == 200
    assert advisor.list_exemption_resource(resource=resource).get_result() == [made.get_result()]
    assert advisor.list_account_exemptions().get_result() == [made.get_result()]
    listed = advisor.list_image_exemptions(resource=resource, include_scope=True).get_result()
    assert listed == [made.get_result()]
    several = advisor.list_bulk_image_exemptions([image]).get_result()
    assert several == {image: [made.get_result()]}
    assert advisor.image_status_query_path(name=image).get_result()["exempt_issue_count"] == 1
    advisor.delete_exemption_resource(resource=resource, **issue)
    advisor.create_exemption_account(**issue)
    gone = advisor.exemptions_account_delete_handler().get_result()
    assert gone == {"number_of_exemptions_deleted": 1}
    types = advisor.exempt_handler().get_result()
    assert {entry["identifier"] for entry in types} == {"cve", "sn", "configuration"}


def test_another_account_is_refused(sandbox: Sandbox, login: IAMAuthenticator) -> None:
    service = VulnerabilityAdvisorV4(account="f" * 32, authenticator=login)
    service.set_service_url(f"https://{sandbox.registry}")
    with pytest.raises(ApiException) as refused:
        service.list_exemption_account()
    assert refused.value.status_code == 403


# --- Container Registry -----------------------------------------------------------------------


def test_image_lists(sandbox: Sandbox, login: IAMAuthenticator, image: str) -> None:
    service = ContainerRegistryV1(account=sandbox.identity.account, authenticator=login)
    service.set_service_url(f"https://{sandbox.registry}")
    (entry,) = service.list_images(
        repository=image.removesuffix(":1"), vulnerabilities=True, include_ibm=False
    ).get_result()
    assert entry["RepoTags"] == [image]
    assert entry["IssueCount"] == 2
    digests = service.list_image_digests(
        exclude_tagged=False, repositories=[image.removesuffix(":1")]
    ).get_result()
    assert entry["Id"] in {item["id"] for item in digests}
    assert "clients" in service.list_namespaces().get_result()


def test_our_requests_for_lists_are_those_of_ibm_s_clients() -> None:
    """Method, address, query and body; what each adds to the headers is its own."""
    nobody = NoAuthAuthenticator()
    registry = ContainerRegistryV1(account="mine", authenticator=nobody)
    advisor = VulnerabilityAdvisorV4(account="mine", authenticator=nobody)
    theirs: list[dict[str, Any]] = []
    for service in (registry, advisor):
        service.set_service_url("https://us.icr.io")
        service.send = lambda request, **_: theirs.append(request)
    digest = "sha256:" + "4f" * 32
    name = "us.icr.io/team/app"
    registry.list_images(include_ibm=False, include_manifest_lists=True, namespace="team")
    registry.list_images(include_ibm=True, include_manifest_lists=True, repository=name)
    registry.list_image_digests(
        exclude_tagged=False, exclude_va=True, include_ibm=True, repositories=[name]
    )
    registry.list_namespaces()
    advisor.account_status_query_path(include_ibm="true", repository=name)
    advisor.image_status_query_path(name=f"{name}:1")
    advisor.image_status_query_path(name=f"{name}@{digest}")
    http = FakeHttp(Answer(404, {}, b"{}", "https://us.icr.io"))
    ours = ContainerRegistry(http, api())  # type: ignore[arg-type]
    summaries = AdvisorSummaries(http, api())  # type: ignore[arg-type]
    place = RegistryScope.parse(name)
    ours.list_images(RegistryScope.parse("us.icr.io/team"), ibm=False)
    ours.list_images(place, ibm=True)
    ours.list_digests(place, ibm=True)
    ours.list_namespaces("us.icr.io")
    summaries.list_summaries(place, ibm=True)
    for text in (f"{name}:1", f"{name}@{digest}"):
        summaries.fetch_summary("us.icr.io", RegistryImage(ImageReference.parse(text)))
    for request, (method, url, headers, body) in zip(theirs, http.asked, strict=True):
        address, _, query = url.partition("?")
        assert (method, address) == (request["method"], request["url"])
        assert dict(parse_qsl(query)) == (request["params"] or {})
        assert json.loads(body or b"0") == json.loads(request["data"] or b"0")
        assert {"Account", "Accept"} <= set(headers) & set(request["headers"])


# --- Key Protect ------------------------------------------------------------------------------


class Keys:
    """The generated client, with what every call repeats filled in."""

    def __init__(self, sandbox: Sandbox, login: IAMAuthenticator) -> None:
        self._service = IbmKeyProtectApiV2(authenticator=login)
        self._service.set_service_url(sandbox.environment["IMGSEC_KMS_URL"])
        self._instance = sandbox.environment["IMGSEC_KMS_INSTANCE"]

    def __call__(self, method: str, **arguments: Any) -> Any:
        call = getattr(self._service, method)
        return call(bluemix_instance=self._instance, **arguments)

    def resource(self, method: str, **arguments: Any) -> dict[str, Any]:
        """The one resource; vendor media types come back as raw responses."""
        result = self(method, **arguments).get_result()
        value = result if isinstance(result, dict) else result.json()
        (found,) = value["resources"]
        assert isinstance(found, dict)
        return found


@pytest.fixture
def keys(sandbox: Sandbox, login: IAMAuthenticator) -> Keys:
    return Keys(sandbox, login)


def stream(**resource: Any) -> io.BytesIO:
    return io.BytesIO(json.dumps(key_body(**resource)).encode())


def test_the_life_of_a_key(keys: Keys) -> None:
    payload = base64.b64encode(b"the client's").decode()
    alias, other = (f"client-{uuid.uuid4().hex[:8]}" for _ in range(2))
    made = keys.resource(
        "create_key",
        key_create_body=stream(payload=payload, aliases=[alias]),
        prefer="return=minimal",
        correlation_id=str(uuid.uuid4()),
    )
    assert keys.resource("get_key", id=alias)["payload"] == payload
    assert "payload" not in keys.resource("get_key_metadata", id=made["id"])
    total = keys("get_key_collection_metadata", extractable=True).get_headers()["Key-Total"]
    assert int(total) >= 1
    listed = keys("get_keys", limit=5000, state=[1, 5], extractable=True).get_result().json()
    assert made["id"] in {entry["id"] for entry in listed["resources"]}
    found = keys.resource("get_keys", search=f"exact:alias:{alias}")
    assert found["id"] == made["id"]
    named = keys("create_key_alias", id=alias, alias=other)
    assert named.get_status_code() == 201
    assert keys("delete_key_alias", id=made["id"], alias=alias).get_status_code() == 204
    gone = keys.resource("delete_key", id=other, prefer="return=representation", force=True)
    assert gone["state"] == 5
    with pytest.raises(ApiException) as again:
        keys("delete_key", id=made["id"])
    assert again.value.status_code == 410
    assert keys.resource("restore_key", id=made["id"])["state"] == 1
    policy = keys(
        "create_key_with_policies_overrides", key_with_policy_overrides_create_body=stream()
    )
    assert policy.get_status_code() == 201
    assert keys("get_policy", id=made["id"]).get_status_code() == 200


def test_key_rings(keys: Keys) -> None:
    ring = f"client-{uuid.uuid4().hex[:8]}"
    assert keys("create_key_ring", key_ring_id=ring).get_status_code() == 201
    result = keys("list_key_rings", total_count=True).get_result()
    value = result if isinstance(result, dict) else result.json()
    assert ring in {entry["id"] for entry in value["resources"]}
    key = keys.resource("create_key", key_create_body=stream(), x_kms_key_ring=ring)
    body = io.BytesIO(b'{"keyRingID": "default"}')
    moved = keys.resource("patch_key", id=key["id"], key_patch_body=body)
    assert moved["keyRingID"] == "default"
    assert keys("delete_key_ring", key_ring_id=ring, force=True).get_status_code() == 204


def test_key_errors_reach_the_client(keys: Keys) -> None:
    with pytest.raises(ApiException) as missing:
        keys("get_key", id="no-such-alias")
    assert missing.value.status_code == 404
    (resource,) = missing.value.http_response.json()["resources"]
    assert resource["reasons"][0]["code"] == "KEY_NOT_FOUND_ERR"
    with pytest.raises(ApiException) as over:
        keys("create_key", key_create_body=stream(payload=base64.b64encode(bytes(7501)).decode()))
    assert over.value.status_code == 400
