# SPDX-License-Identifier: Apache-2.0
"""The token endpoint: grants, tokens, and the errors of IBM IAM."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from imgsec.sandbox.lifecycle import Sandbox
from imgsec.sandbox.tokens import ROLES

from .conftest import APIKEY_GRANT, Client

pytestmark = pytest.mark.once

CR_GRANT = "urn:ibm:params:oauth:grant-type:cr-token"
CONTEXT = {
    *("requestId", "requestType", "userAgent", "url", "instanceId", "threadId", "host"),
    *("startTime", "endTime", "elapsedTime", "locale", "clusterName"),
}


def ask(client: Client, **form: str) -> Any:
    return client.post(client.sandbox.identity.url("iam") + "/identity/token", data=form)


def claims(token: str) -> dict[str, Any]:
    head, body, signature = token.split(".")
    assert head
    assert signature
    value = json.loads(base64.urlsafe_b64decode(body + "=="))
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("role", ROLES)
def test_api_keys_buy_tokens(client: Client, sandbox: Sandbox, role: str) -> None:
    answer = ask(
        client, grant_type=APIKEY_GRANT, apikey=sandbox.api_key(role), response_type="cloud_iam"
    )
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    value = answer.json()
    assert (value["token_type"], value["refresh_token"]) == ("Bearer", "not_supported")
    assert value["expires_in"] == 3600
    found = claims(value["access_token"])
    assert type(found["iat"]) is type(found["exp"]) is int
    assert value["expiration"] == found["exp"] == found["iat"] + 3600 > time.time()
    own = found["account"]["bss"] == sandbox.identity.account
    assert own is (role != "foreign")


def test_the_api_key_file_holds_the_managers_key(sandbox: Sandbox) -> None:
    assert Path(sandbox.environment["IMGSEC_API_KEY_FILE"]).read_text() == sandbox.api_key(
        "manager"
    )


def test_a_compute_resource_buys_tokens(client: Client, sandbox: Sandbox) -> None:
    token = Path(sandbox.environment["IMGSEC_SANDBOX_CR_TOKEN_FILE"]).read_text()
    profile = sandbox.environment["IMGSEC_SANDBOX_PROFILE_ID"]
    for field, value in (("profile_id", profile), ("profile_name", "imgsec-sandbox")):
        answer = ask(client, grant_type=CR_GRANT, cr_token=token, **{field: value})
        assert answer.status_code == 200, answer.text
        assert claims(answer.json()["access_token"])["account"]["bss"] == sandbox.identity.account
    for bad in (
        {"cr_token": token, "profile_id": "Profile-other"},
        {"cr_token": token + "\n", "profile_id": profile},
        {"cr_token": "a.b.c", "profile_id": profile},
        {"cr_token": ask_token(client), "profile_id": profile},  # not meant for IAM
    ):
        refused = ask(client, grant_type=CR_GRANT, **bad)
        assert (refused.status_code, refused.json()["errorCode"]) == (400, "BXNIM0398E")


def ask_token(client: Client) -> str:
    return client.token()


def test_unknown_keys_are_refused_with_400(client: Client) -> None:
    refused = ask(client, grant_type=APIKEY_GRANT, apikey="wrong")
    assert refused.status_code == 400
    assert refused.json()["errorCode"] == "BXNIM0415E"
    assert set(refused.json()["context"]) == CONTEXT
    assert "wrong" not in refused.text


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"apikey": "x"},
        {"grant_type": APIKEY_GRANT},
        {"grant_type": CR_GRANT, "cr_token": "x"},
        {"grant_type": "password", "apikey": "x"},
    ],
)
def test_missing_properties_are_named(client: Client, form: dict[str, str]) -> None:
    refused = ask(client, **form)
    assert (refused.status_code, refused.json()["errorCode"]) == (400, "BXNIM0109E")
    assert refused.json()["errorDetails"]


def test_only_forms_by_post(client: Client, sandbox: Sandbox) -> None:
    url = sandbox.identity.url("iam") + "/identity/token"
    for method in ("GET", "PUT", "DELETE"):
        refused = client.request(method, url)
        assert (refused.status_code, refused.json()["errorCode"]) == (405, "BXNIM0060E")
    as_json = client.post(
        url, json={"grant_type": APIKEY_GRANT, "apikey": sandbox.api_key("manager")}
    )
    assert as_json.status_code == 400
    assert client.post(url, data=b"\xff" * 100_000).status_code == 400
    assert client.get(sandbox.identity.url("iam") + "/").status_code == 404


@pytest.mark.parametrize("change", ["body", "signature", "none"])
def test_forged_tokens_open_nothing(client: Client, sandbox: Sandbox, change: str) -> None:
    head, body, signature = client.token("reader").split(".")
    if change == "body":
        better = claims(f"x.{body}.x") | {"sandbox_role": "manager"}
        body = base64.urlsafe_b64encode(json.dumps(better).encode()).rstrip(b"=").decode()
    elif change == "signature":
        signature = signature[::-1]
    else:
        head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
        signature = ""
    headers = {
        "Authorization": f"Bearer {head}.{body}.{signature}",
        "Bluemix-Instance": sandbox.identity.kms_instance,
        "Account": sandbox.identity.account,
    }
    assert (
        client.get(sandbox.identity.url("kms") + "/api/v2/keys", headers=headers).status_code == 401
    )
    url = client.registry_url("/va/api/v4/exempt/image")
    assert client.get(url, headers=headers).status_code == 401
