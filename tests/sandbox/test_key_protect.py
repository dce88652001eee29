# SPDX-License-Identifier: Apache-2.0
"""Key Protect v2 on the wire: what it keeps, to whom it shows it, how it refuses."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from imgsec.sandbox.kms.errors import KmsError
from imgsec.sandbox.kms.requests import NewKey
from imgsec.sandbox.kms.store import KeyStore
from imgsec.sandbox.lifecycle import Sandbox

from .conftest import Client, access_log, key_body

pytestmark = pytest.mark.once

KEYS = "/api/v2/keys"
PAYLOAD = base64.b64encode(b"armour").decode()


def fresh(prefix: str = "alias") -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def only(answer: Any) -> dict[str, Any]:
    value = answer.json()
    assert value["metadata"] == {
        "collectionType": answer.headers["Content-Type"],
        "collectionTotal": 1,
    }
    (resource,) = value["resources"]
    assert isinstance(resource, dict)
    return resource


def reason(answer: Any) -> str:
    """The reason code of an error answer, whose whole shape is checked."""
    assert answer.headers["Content-Type"] == "application/vnd.ibm.kms.error+json"
    resource = only(answer)
    (found,) = resource["reasons"]
    assert set(found) - {"target"} == {"code", "message", "status", "moreInfo"}
    assert found["status"] == answer.status_code
    assert resource["errorMsg"].endswith(f"Please see `reasons` for more details ({found['code']})")
    return str(found["code"])


def test_a_key_is_kept_and_found_by_id_and_alias(client: Client) -> None:
    alias = fresh()
    made = client.create(payload=PAYLOAD, aliases=[alias], description="of a test", tags=["t"])
    assert made.status_code == 201
    key = only(made)
    assert "payload" not in key
    for name in (key["id"], key["id"].upper(), alias):
        found = client.kms("GET", f"{KEYS}/{name}")
        assert found.status_code == 200
        assert only(found) == key | {"payload": PAYLOAD}
        assert only(client.kms("GET", f"{KEYS}/{name}/metadata")) == key
    assert key["crn"].endswith(f":key:{key['id']}")
    assert (key["state"], key["imported"], key["keyRingID"]) == (1, True, "default")


def test_prefer_decides_what_is_answered(client: Client) -> None:
    body = key_body(payload=PAYLOAD)
    for prefer, shown in (("return=representation", True), ("return=minimal", False)):
        made = client.kms("POST", KEYS, json=body, headers={"Prefer": prefer})
        assert ("payload" in only(made)) is shown
    gone = client.kms("DELETE", f"{KEYS}/{only(made)['id']}", headers={"Prefer": "return=minimal"})
    assert (gone.status_code, gone.content) == (204, b"")


def test_material_is_generated_and_root_keys_never_show_it(client: Client) -> None:
    standard = only(client.create())
    payload = only(client.kms("GET", f"{KEYS}/{standard['id']}"))["payload"]
    assert len(base64.b64decode(payload)) == 32
    root = only(client.create(extractable=False))
    assert "payload" not in only(client.kms("GET", f"{KEYS}/{root['id']}"))
    assert (
        reason(client.kms("POST", f"{KEYS}/{standard['id']}/actions/rotate")) == "KEY_ROOT_REQ_ERR"
    )


@pytest.mark.parametrize(
    ("role", "sees", "creates", "deletes"),
    [
        ("manager", True, True, True),
        ("writer", True, True, False),
        ("readerplus", True, False, False),
        ("reader", False, False, False),
    ],
)
def test_roles(client: Client, role: str, sees: bool, creates: bool, deletes: bool) -> None:
    key = only(client.create(payload=PAYLOAD))["id"]
    assert ("payload" in only(client.kms("GET", f"{KEYS}/{key}", role))) is sees
    assert client.kms("GET", KEYS, role).status_code == 200
    made = client.kms("POST", KEYS, role, json=key_body())
    assert made.status_code == (201 if creates else 401)
    named = client.kms("POST", f"{KEYS}/{key}/aliases/{fresh()}", role)
    assert named.status_code == (201 if creates else 401)
    gone = client.kms("DELETE", f"{KEYS}/{key}", role)
    assert gone.status_code == (200 if deletes else 401)
    if not deletes:
        assert reason(gone) == "UNAUTHORIZED_ERR"


@pytest.mark.parametrize("role", ["nokms", "foreign"])
def test_strangers_get_401_without_reasons(client: Client, role: str) -> None:
    refused = client.kms("GET", KEYS, role)
    assert refused.status_code == 401
    assert set(only(refused)) == {"errorMsg"}


def test_the_instance_is_checked_before_anything_else(client: Client, sandbox: Sandbox) -> None:
    url = sandbox.identity.url("kms") + KEYS
    for headers in ({}, {"Bluemix-Instance": "my-instance"}, {"Bluemix-Instance": ""}):
        refused = client.get(url, headers=headers)
        assert refused.status_code == 400
        assert set(only(refused)) == {"errorMsg"}
    other = client.kms("GET", KEYS, headers={"Bluemix-Instance": str(uuid.uuid4())})
    assert other.status_code == 401
    anonymous = client.get(url, headers={"Bluemix-Instance": sandbox.identity.kms_instance})
    assert anonymous.status_code == 401


def test_correlation_is_echoed_on_success_and_failure(client: Client) -> None:
    wanted = str(uuid.uuid4())
    for path in (KEYS, f"{KEYS}/no-such-alias"):
        answer = client.kms("GET", path, headers={"Correlation-Id": wanted})
        assert answer.headers["Correlation-Id"] == wanted


def test_lists_page_filter_and_hide(client: Client) -> None:
    ring = fresh("ring")
    client.kms("POST", f"/api/v2/key_rings/{ring}")
    inside = {"X-Kms-Key-Ring": ring}
    empty = client.kms("GET", KEYS, headers=inside).json()
    assert empty["metadata"]["collectionTotal"] == 0
    assert "resources" not in empty
    made = [
        only(
            client.kms(
                "POST", KEYS, headers=inside, json=key_body(name=name, aliases=[fresh(name)])
            )
        )
        for name in ("alpha", "beta", "gamma")
    ]

    def names(**query: Any) -> list[str]:
        value = client.kms("GET", KEYS, headers=inside, params=query).json()
        found = value.get("resources", [])
        assert value["metadata"]["collectionTotal"] == len(found)
        assert not any("payload" in key for key in found)
        return [key["name"] for key in found]

    assert names() == ["alpha", "beta", "gamma"]
    assert names(limit=2) == ["alpha", "beta"]
    assert names(limit=2, offset=2) == ["gamma"]
    assert names(offset=3) == []
    assert names(search="ET") == ["beta"]
    assert names(search="exact:name:beta") == ["beta"]
    assert names(search="not:beta") == ["alpha", "gamma"]
    assert names(search="exact:alias:beta") == []
    assert names(search=made[2]["id"]) == ["gamma"]
    assert names(extractable="false") == []
    client.kms("DELETE", f"{KEYS}/{made[0]['id']}")
    assert names() == ["beta", "gamma"]
    assert names(state="5") == ["alpha"]
    assert names(state="1,5") == ["alpha", "beta", "gamma"]
    head = client.kms("HEAD", KEYS, headers=inside)
    assert (head.headers["Key-Total"], head.content) == ("2", b"")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "5001"),
        ("limit", "x"),
        ("limit", "²"),
        ("offset", "-1"),
        ("state", "4"),
        ("extractable", "yes"),
        ("sort", "payload"),
        ("filter", "x"),
    ],
)
def test_impossible_queries_are_named(client: Client, name: str, value: str) -> None:
    refused = client.kms("GET", KEYS, params={name: value})
    assert refused.status_code == 400
    assert reason(refused) == "INVALID_QUERY_PARAM_ERR"
    assert only(refused)["reasons"][0]["target"] == {"type": "query_param", "name": name}


def test_7500_bytes_are_the_limit_before_base64(client: Client) -> None:
    fits = base64.b64encode(bytes(7500)).decode()
    assert client.create(payload=fits).status_code == 201
    over = client.create(payload=base64.b64encode(bytes(7501)).decode())
    assert reason(over) == "INVALID_FIELD_ERR"
    assert only(over)["reasons"][0]["target"] == {"type": "field", "name": "payload"}


@pytest.mark.parametrize(
    "resource",
    [
        {"payload": "not base64!"},
        {"payload": "YQ"},
        {"payload": ""},
        {"payload": 5},
        {"payload": "YWJj\n"},
        {"payload": PAYLOAD, "extractable": False},
        {"extractable": "true"},
        {"name": "a"},
        {"name": "a" * 91},
        {"name": "line\nbreak"},
        {"name": None},
        {"description": "a"},
        {"description": "a" * 241},
        {"tags": ["t" * 31]},
        {"tags": ["t"] * 31},
        {"aliases": [f"alias-{n}" for n in range(6)]},
        {"aliases": ["twice", "twice"]},
        {"aliases": ["has space"]},
        {"aliases": ["a"]},
        {"aliases": ["metadata"]},
        {"aliases": ["Versions"]},
        {"aliases": [str(uuid.uuid4())]},
        {"aliases": "text"},
        {"expirationDate": "2020-01-01T00:00:00Z"},
        {"expirationDate": "soon"},
        {"expirationDate": 5},
        {"expirationDate": "2099-01-01T00:00:00"},
        {"type": "key"},
        {"unknown": 1},
    ],
)
def test_bad_fields_are_refused(client: Client, resource: dict[str, Any]) -> None:
    refused = client.create(**resource)
    assert refused.status_code == 400
    assert reason(refused) == "INVALID_FIELD_ERR"


def test_bad_envelopes_are_refused(client: Client) -> None:
    good = key_body()
    two = {
        "metadata": {**good["metadata"], "collectionTotal": 2},
        "resources": good["resources"] * 2,
    }
    for body, code in (
        (b"", "NO_BODY_ERR"),
        (b"{", "BAD_BODY_ERR"),
        (b"[]", "BAD_BODY_ERR"),
        (b"[" * 100_000, "BAD_BODY_ERR"),
        (b"\xff\xfe", "BAD_BODY_ERR"),
        (json.dumps({"resources": good["resources"]}).encode(), "BAD_BODY_ERR"),
        (json.dumps({**good, "metadata": {"collectionTotal": 1}}).encode(), "BAD_BODY_ERR"),
        (json.dumps({**good, "resources": []}).encode(), "COLLECTION_TOTAL_MISMATCH_ERR"),
        (json.dumps(two).encode(), "NUM_COLLECTION_RESOURCE_ERR"),
        (b" " * (2**20 + 1), "BAD_BODY_ERR"),
    ):
        refused = client.kms("POST", KEYS, data=body)
        assert refused.status_code == 400
        assert reason(refused) == code, body[:50]


def test_an_expiration_date_is_kept(client: Client) -> None:
    moment = (datetime.now(UTC) + timedelta(days=90)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert only(client.create(expirationDate=moment))["expirationDate"] == moment


def test_a_taken_alias_prevents_the_whole_create(client: Client) -> None:
    alias, other = fresh(), fresh()
    assert client.create(aliases=[alias]).status_code == 201
    before = client.kms("HEAD", KEYS).headers["Key-Total"]
    refused = client.create(aliases=[other, alias])
    assert (refused.status_code, reason(refused)) == (409, "KEY_ALIAS_NOT_UNIQUE_ERR")
    assert client.kms("HEAD", KEYS).headers["Key-Total"] == before
    assert client.kms("GET", f"{KEYS}/{other}").status_code == 404


def test_alias_is_nobodys_for_a_while_before_another_key_can_have_it(tmp_path: Path) -> None:
    def opened(alias_wait: int) -> KeyStore:
        return KeyStore(tmp_path / "db", lambda _: "crn", restore_wait=0, alias_wait=alias_wait)

    store = opened(3600)
    new = NewKey.parse(json.dumps(key_body(aliases=["release"], payload=PAYLOAD)).encode())
    first = store.create(new, ring="default", by="me")
    store.remove_alias(first, "release")
    for key in (first, store.create(replace(new, aliases=()), ring="default", by="me")):
        with pytest.raises(KmsError, match="KEY_ALIAS_NOT_UNIQUE_ERR"):
            store.add_alias(key, "release", "me")
    with pytest.raises(KmsError):
        store.find("release", None, "read")
    store.close()


def test_aliases_come_and_go(client: Client) -> None:
    key, alias = only(client.create())["id"], fresh()
    made = client.kms("POST", f"{KEYS}/{key}/aliases/{alias}")
    assert made.status_code == 201
    assert (only(made)["keyId"], only(made)["alias"]) == (key, alias)
    assert reason(client.kms("POST", f"{KEYS}/{key}/aliases/{alias}")) == "KEY_ALIAS_NOT_UNIQUE_ERR"
    for _ in range(4):
        assert client.kms("POST", f"{KEYS}/{alias}/aliases/{fresh()}").status_code == 201
    full = client.kms("POST", f"{KEYS}/{key}/aliases/{fresh()}")
    assert (full.status_code, reason(full)) == (409, "KEY_ALIAS_QUOTA_ERR")
    assert client.kms("DELETE", f"{KEYS}/{key}/aliases/{alias}").status_code == 204
    assert client.kms("GET", f"{KEYS}/{alias}").status_code == 404
    assert client.kms("DELETE", f"{KEYS}/{key}/aliases/{alias}").status_code == 404
    assert client.kms("POST", f"{KEYS}/{key}/aliases/ring").status_code == 400


def test_delete_and_restore(client: Client) -> None:
    key = only(client.create(payload=PAYLOAD, aliases=[fresh()]))
    path = f"{KEYS}/{key['id']}"
    assert reason(client.kms("POST", f"{path}/restore")) == "KEY_ACTION_INVALID_STATE_ERR"
    gone = only(client.kms("DELETE", path, headers={"Prefer": "return=representation"}))
    assert (gone["state"], gone["deleted"], gone["restoreAllowed"]) == (5, True, True)
    assert "payload" not in only(client.kms("GET", path))
    again = client.kms("DELETE", path)
    assert (again.status_code, reason(again)) == (410, "KEY_DELETED_ERR")
    taken = client.create(aliases=key["aliases"])
    assert reason(taken) == "KEY_ALIAS_NOT_UNIQUE_ERR"
    back = client.kms("POST", f"{path}/restore", headers={"Prefer": "return=minimal"})
    assert back.status_code == 201
    assert only(back)["state"] == 1
    assert only(client.kms("GET", path))["payload"] == PAYLOAD


def test_rings(client: Client) -> None:
    ring = fresh("ring")
    path = f"/api/v2/key_rings/{ring}"
    assert client.kms("POST", path).status_code == 201
    listed = client.kms("GET", "/api/v2/key_rings", params={"totalCount": "true"}).json()
    assert listed["metadata"]["totalCount"] == len(listed["resources"])
    assert {"default", ring} <= {entry["id"] for entry in listed["resources"]}
    key = only(client.kms("POST", KEYS, json=key_body(), headers={"X-Kms-Key-Ring": ring}))
    assert key["keyRingID"] == ring
    elsewhere = client.kms("GET", f"{KEYS}/{key['id']}", headers={"X-Kms-Key-Ring": "default"})
    assert reason(elsewhere) == "KEY_NOT_FOUND_ERR"
    assert reason(client.kms("DELETE", path)) == "KEY_RING_NOT_EMPTY_ERR"
    moved = client.kms("PATCH", f"{KEYS}/{key['id']}", json={"keyRingID": "default"})
    assert only(moved)["keyRingID"] == "default"
    assert client.kms("DELETE", path).status_code == 204
    missing = client.kms("POST", KEYS, json=key_body(), headers={"X-Kms-Key-Ring": ring})
    assert (missing.status_code, reason(missing)) == (404, "KEY_RING_NOT_FOUND_ERR")
    assert client.kms("DELETE", "/api/v2/key_rings/default").status_code == 409
    assert client.kms("POST", "/api/v2/key_rings/a_b").status_code == 400


@pytest.mark.parametrize("path", ["/", "/api/v2/nothing", "/api/v2/keys/x/y/z", "/api/v1/keys"])
def test_unknown_paths_answer_in_the_services_form(client: Client, path: str) -> None:
    for method in ("GET", "PUT", "OPTIONS"):
        refused = client.kms(method, path)
        assert refused.status_code == 404
        assert refused.headers["Content-Type"] == "application/vnd.ibm.kms.error+json"


def test_the_access_log_tells_who_saw_what_and_no_secret(client: Client, sandbox: Sandbox) -> None:
    secret = base64.b64encode(b"never in a log").decode()
    key = only(client.create(payload=secret))["id"]
    wanted = str(uuid.uuid4())
    client.kms("GET", f"{KEYS}/{key}", headers={"Correlation-Id": wanted})
    client.kms("GET", f"{KEYS}/{key}/metadata", "reader")
    read, looked = access_log(sandbox, "kms")[-2:]
    assert (read["method"], read["path"], read["status"]) == ("GET", f"{KEYS}/{key}", 200)
    assert (read["role"], read["payload"], read["correlation-id"]) == ("manager", True, wanted)
    assert looked["role"] == "reader"
    assert "payload" not in looked
    logs = b"".join(path.read_bytes() for path in (sandbox.folder.root / "logs").iterdir())
    for hidden in (secret, sandbox.api_key("manager"), client.token().rpartition(".")[2]):
        assert hidden.encode() not in logs
