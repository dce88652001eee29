# SPDX-License-Identifier: Apache-2.0
"""Key Protect's answers, and creates whose answer was lost."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from typing import Any

import pytest

from imgsec.adapters import kms as kms_module
from imgsec.adapters._http import ATTEMPTS, Http
from imgsec.adapters.kms import PAYLOAD_MAX_BYTES, Kms
from imgsec.domain.hosts import ServiceUrl
from imgsec.domain.keys import SecretBytes
from imgsec.errors import KeyExists, KeyNotFound
from imgsec.ports import StoredKey
from tests.unit.adapters.servers import Script, Server, raw, reply
from tests.unit.refusals import refused

ID = "0a1b2c3d-1234-4abc-8def-0123456789ab"
INSTANCE = "11111111-1234-4abc-8def-0123456789ab"
SECRET = SecretBytes(b"\x95secret key \xff")


@dataclass
class Tokens:
    """Any host may have this token. further: how many others can be had."""

    further: int = 0
    number: int = 1

    def authorization(self, _: str) -> dict[str, str]:
        return {"Authorization": f"Bearer t{self.number}"}

    def forget(self) -> bool:
        self.number += 1
        return self.number <= self.further + 1


@pytest.fixture(autouse=True)
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seen: list[float] = []
    monkeypatch.setattr(time, "sleep", seen.append)
    return seen


def kms(server: Server, ring: str | None = None, further: int = 0) -> Kms:
    return Kms(
        Http(),
        Tokens(further),  # type: ignore[arg-type]
        url=ServiceUrl.parse(server.url),
        instance=INSTANCE,
        key_ring=ring,
    )


def resource(**changes: Any) -> dict[str, Any]:
    return {"id": ID, "name": "n", "state": 1, "aliases": ["release"], **changes}


def found(status: int = 200, **changes: Any) -> Script:
    return reply(status, {"resources": [resource(**changes)]})


def error(status: int, *codes: str) -> Script:
    reasons = [{"code": code, "message": "m"} for code in codes]
    return reply(status, {"resources": [{"errorMsg": "Something: failed", "reasons": reasons}]})


def store(*scripts: Script) -> tuple[StoredKey, list[str]]:
    with Server(list(scripts)) as server:
        stored = kms(server).store_key("release", SECRET, name="n", description="d")
        return stored, [request.method for request in server.requests]


def test_key_is_created_under_its_alias_as_key_protect_wants_it() -> None:
    with Server([found(201)]) as server:
        stored = kms(server, "ring").store_key("release", SECRET, name="n", description="d")
        (request,) = server.requests
    assert stored.id == ID
    assert (request.method, request.path) == ("POST", "/api/v2/keys")
    assert request.headers["bluemix-instance"] == INSTANCE
    assert request.headers["x-kms-key-ring"] == "ring"
    assert request.headers["prefer"] == "return=minimal"
    (sent,) = json.loads(request.body)["resources"]
    assert base64.b64decode(sent["payload"]) == SECRET.reveal()
    assert (sent["aliases"], sent["extractable"]) == (["release"], True)


@pytest.mark.parametrize(
    "lost",
    [
        raw(),
        raw(b"HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n{"),
        reply(500),
        reply(503),
        reply(200, b"<html>"),
    ],
)
def test_create_whose_answer_was_lost_is_looked_up_and_not_repeated(lost: Script) -> None:
    stored, methods = store(lost, found())
    assert stored.id == ID
    assert methods == ["POST", "GET"]


def test_create_that_was_not_done_is_repeated() -> None:
    stored, methods = store(reply(503), error(404, "KEY_NOT_FOUND_ERR"), found(201))
    assert stored.id == ID
    assert methods == ["POST", "GET", "POST"]


def test_create_honours_retry_after(waited: list[float]) -> None:
    store(reply(429, Retry_After="9"), error(404, "KEY_NOT_FOUND_ERR"), found(201))
    assert waited == [9]


def test_attempts_to_create_have_an_end(waited: list[float]) -> None:
    scripts = [reply(503), error(404, "KEY_NOT_FOUND_ERR")] * 20
    with Server(scripts) as server:
        with refused("service-unreachable"):
            kms(server).store_key("release", SECRET, name="n", description="d")
        methods = [request.method for request in server.requests]
    assert methods == ["POST", "GET"] * ATTEMPTS
    assert len(waited) == ATTEMPTS - 1


@pytest.mark.parametrize("status", [400, 409, 422])
def test_alias_that_is_taken_is_told_apart_by_its_code(status: int) -> None:
    with pytest.raises(KeyExists):
        store(error(status, "KEY_ALIAS_NOT_UNIQUE_ERR"))


def test_message_that_only_speaks_of_a_taken_alias_is_none() -> None:
    body = {"resources": [{"errorMsg": "KEY_ALIAS_NOT_UNIQUE_ERR", "reasons": []}]}
    with refused("permission-denied"):
        store(reply(409, body))


def test_what_the_kms_cannot_do_is_told_in_its_words() -> None:
    for status, code in ((404, "KEY_RING_NOT_FOUND_ERR"), (400, "INVALID_FIELD_ERR")):
        with refused("request-refused") as reasons:
            store(error(status, code))
        assert code in reasons[0].text
        assert "Something: failed" in reasons[0].text
        assert not reasons[0].retryable


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (error(409, "KEY_CREATE_IMPORT_ACCESS_ERR"), "permission-denied"),
        (error(401, "UNAUTHORIZED_ERR"), "credential-rejected"),
        (error(403, "FEATURE_RESTRICTED_ERR"), "permission-denied"),
        (reply(401, b"<html>"), "credential-rejected"),
        (reply(201, b"<html>"), "answer-malformed"),
        (reply(201, {"resources": []}), "answer-malformed"),
    ],
)
def test_refused_create_is_not_repeated(script: Script, code: str) -> None:
    with Server([script]) as server:
        with refused(code):
            kms(server).store_key("release", SECRET, name="n", description="d")
        assert len(server.requests) == 1


def test_key_larger_than_the_kms_holds_is_not_sent() -> None:
    with Server([found(201)]) as server:
        large = SecretBytes(b"x" * (PAYLOAD_MAX_BYTES + 1))
        with refused("key-too-large"):
            kms(server).store_key("release", large, name="n", description="d")
        assert server.requests == []


def test_key_is_found_without_its_payload_being_asked_for() -> None:
    with Server([found()]) as server:
        assert kms(server).find_key("release").aliases == ("release",)
        assert server.requests[0].path == "/api/v2/keys/release/metadata"


def test_token_that_is_refused_is_replaced_once() -> None:
    with Server([error(401), found()]) as server:
        assert kms(server, further=1).find_key("release").id == ID
        sent = [request.headers["authorization"] for request in server.requests]
    assert sent == ["Bearer t1", "Bearer t2"]
    with Server([error(401), error(401)]) as server, refused("credential-rejected"):
        kms(server, further=1).find_key("release")


def test_payload_is_given_once_its_base64_is_undone() -> None:
    with Server([found(payload=base64.b64encode(b"key").decode())]) as server:
        assert kms(server).fetch_key("release")[1] == SecretBytes(b"key")


@pytest.mark.parametrize(
    "script",
    [
        error(404, "KEY_NOT_FOUND_ERR"),
        error(410, "KEY_DELETED_ERR"),
        found(state=5),
        found(deleted=True),
    ],
)
def test_key_that_is_gone_is_not_found(script: Script) -> None:
    with Server([script]) as server, pytest.raises(KeyNotFound):
        kms(server).fetch_key("release")


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (found(), "permission-denied"),
        (found(payload=""), "permission-denied"),
        (found(payload=None), "permission-denied"),
        (found(payload=["x"]), "key-malformed"),
        (found(payload="no base64!"), "key-malformed"),
        (found(payload="caf\u00e9"), "key-malformed"),
        (reply(200, b"<html>"), "answer-malformed"),
        (reply(200, {}), "answer-malformed"),
        (reply(200, {"resources": [None]}), "answer-malformed"),
        (reply(200, {"resources": [{}]}), "answer-malformed"),
        (found(id="../keys"), "answer-malformed"),
        (found(id=None), "answer-malformed"),
        (reply(200, []), "answer-malformed"),
        (error(401, "UNAUTHORIZED_ERR"), "credential-rejected"),
        (reply(302, Location="https://login.example/"), "redirect-refused"),
    ],
)
def test_answer_that_is_no_key_is_told_apart(script: Script, code: str) -> None:
    with Server([script]) as server, refused(code) as reasons:
        kms(server).fetch_key("release")
    assert reasons[0].text.isprintable()


# --- Lists and aliases ----------------------------------------------------------------------------


def page(count: int, first: int = 0) -> Script:
    ids = [f"{number:08x}-1234-4abc-8def-0123456789ab" for number in range(first, first + count)]
    return reply(200, listed([resource(id=one, aliases=[]) for one in ids]))


def listed(resources: list[Any], total: int | None = None) -> dict[str, Any]:
    metadata = {"collectionTotal": len(resources) if total is None else total}
    return {"metadata": metadata, **({"resources": resources} if resources else {})}


def test_list_goes_on_until_a_page_is_not_full() -> None:
    with Server([page(200), page(200, 200), page(3, 400)]) as server:
        keys = list(kms(server).list_keys())
        paths = [request.path for request in server.requests]
    assert len({key.id for key in keys}) == 403
    assert [path.partition("offset=")[2] for path in paths] == ["0", "200", "400"]
    assert all("extractable=true" in path for path in paths)


def test_empty_list_has_no_resources_at_all() -> None:
    with Server([reply(200, listed([]))]) as server:
        assert list(kms(server).list_keys()) == []


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (reply(200, {}), "answer-malformed"),
        (reply(200, []), "answer-malformed"),
        (reply(200, b"<html>"), "answer-malformed"),
        (reply(200, listed([], total=1)), "answer-malformed"),
        (reply(200, listed([resource()], total=2)), "answer-malformed"),
        (reply(200, listed([{"id": "x"}])), "answer-malformed"),
        (reply(200, listed([None])), "answer-malformed"),
        (error(401, "UNAUTHORIZED_ERR"), "credential-rejected"),
        (error(403, "FEATURE_RESTRICTED_ERR"), "permission-denied"),
        (error(400, "KEY_SEARCH_TOO_BROAD"), "request-refused"),
    ],
)
def test_list_that_is_no_whole_list_is_no_empty_one(script: Script, code: str) -> None:
    with Server([script]) as server, refused(code):
        list(kms(server).list_keys())


def test_endless_list_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kms_module, "_PAGES_MAX", 2)
    with Server([page(200), page(200)]) as server, refused("answer-too-large"):
        list(kms(server).list_keys())


def add_alias(*scripts: Script) -> list[tuple[str, str]]:
    with Server(list(scripts)) as server:
        kms(server).add_alias(ID, "release")
        return [(request.method, request.path) for request in server.requests]


ALIAS_PATH = f"/api/v2/keys/{ID}/aliases/release"
LOOK = ("GET", "/api/v2/keys/release/metadata")
ANOTHER = "ffffffff-1234-4abc-8def-0123456789ab"


@pytest.mark.parametrize("status", [200, 201])
def test_alias_is_added(status: int) -> None:
    assert add_alias(reply(status, {"resources": []})) == [("POST", ALIAS_PATH)]


@pytest.mark.parametrize("lost", [raw(), reply(500), reply(503)])
def test_alias_whose_answer_was_lost_is_looked_up(lost: Script) -> None:
    assert add_alias(lost, found()) == [("POST", ALIAS_PATH), LOOK]


def test_alias_that_another_key_has_is_not_taken_for_done() -> None:
    asked = add_alias(reply(503), found(id=ANOTHER), reply(201, {}))
    assert asked == [("POST", ALIAS_PATH), LOOK, ("POST", ALIAS_PATH)]


def test_alias_that_the_key_has_already_is_done() -> None:
    taken = error(409, "KEY_ALIAS_NOT_UNIQUE_ERR")
    assert add_alias(taken, found()) == [("POST", ALIAS_PATH), LOOK]
    with pytest.raises(KeyExists):
        add_alias(taken, found(id=ANOTHER))


def test_full_alias_list_is_told_in_the_kms_words() -> None:
    with refused("request-refused") as reasons:
        add_alias(error(409, "KEY_ALIAS_QUOTA_ERR"))
    assert "KEY_ALIAS_QUOTA_ERR" in reasons[0].text
    assert "five aliases" in (reasons[0].hint or "")


@pytest.mark.parametrize("script", [reply(204), reply(200), error(404, "KEY_NOT_FOUND_ERR")])
def test_alias_is_gone_after_it_was_removed(script: Script) -> None:
    with Server([script]) as server:
        kms(server).remove_alias(ID, "release")
        assert (server.requests[0].method, server.requests[0].path) == ("DELETE", ALIAS_PATH)


def test_alias_that_stays_is_told() -> None:
    with Server([error(401, "UNAUTHORIZED_ERR")]) as server, refused("credential-rejected"):
        kms(server).remove_alias(ID, "release")
