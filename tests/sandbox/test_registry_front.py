# SPDX-License-Identifier: Apache-2.0
"""The registry as unmodified skopeo meets it, and the signature store on the wire."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from imgsec.sandbox.faults import set_rule
from imgsec.sandbox.lifecycle import Sandbox

from .conftest import OCI_INDEX, OCI_MANIFEST, Client, Tools

pytestmark = pytest.mark.once

SIGNER = "sandbox@example.com"
NO_SUCH = "sha256:" + "0" * 64


def make_key(tools: Tools) -> Path:
    tools.run(
        *("gpg", "--batch", "--passphrase", "", "--quick-generate-key", SIGNER),
        *("rsa2048", "sign", "never"),
    )
    public = tools.home / "public.asc"
    public.write_text(tools.run("gpg", "--armor", "--export", SIGNER))
    return public


def policy(tools: Tools, public: Path) -> str:
    rule = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(public)}
    path = tools.home / "policy.json"
    path.write_text(
        json.dumps(
            {
                "default": [{"type": "reject"}],
                "transports": {"docker": {tools.sandbox.registry: [rule]}},
            }
        )
    )
    return str(path)


def test_skopeo_signs_and_verifies_through_the_front(
    tools: Tools, client: Client, layout: Callable[..., Path]
) -> None:
    rules = policy(tools, make_key(tools))
    unsigned = tools.push(layout(), "signing/unsigned:1")
    signed = tools.push(layout(), "signing/deep/er/app:1", "--sign-by", SIGNER)
    into = f"dir:{tools.home}/out"
    tools.run("skopeo", "--policy", rules, "copy", f"docker://{signed}", into)
    refused = tools.run(
        "skopeo", "--policy", rules, "copy", f"docker://{unsigned}", into, fails=True
    )
    assert "no signature exists" in refused
    path = f"/extensions/v2/signing/deep/er/app/signatures/{tools.digest(signed)}"
    (stored,) = client.registry("GET", path).json()["signatures"]
    assert stored["schemaVersion"] == 2
    assert stored["type"] == "atomic"
    assert base64.b64decode(stored["content"])[0] & 0x80  # binary OpenPGP


def test_an_index_keeps_its_digest_and_all_is_signed(
    tools: Tools, client: Client, layout: Callable[..., Path]
) -> None:
    make_key(tools)
    target = tools.push(layout(platforms=2), "signing/multi:1", "--all", "--sign-by", SIGNER)
    digest = tools.digest(target)
    index = client.registry(
        "GET", "/v2/signing/multi/manifests/1", headers={"Accept": f"{OCI_INDEX}, {OCI_MANIFEST}"}
    )
    assert index.headers["Docker-Content-Digest"] == digest
    for one in [digest, *(entry["digest"] for entry in index.json()["manifests"])]:
        found = client.registry("GET", f"/extensions/v2/signing/multi/signatures/{one}")
        assert len(found.json()["signatures"]) == 1


def test_skopeo_deletes_and_signatures_go_too(
    tools: Tools, client: Client, layout: Callable[..., Path]
) -> None:
    make_key(tools)
    image = layout()
    target = tools.push(image, "signing/gone:1", "--sign-by", SIGNER)
    path = f"/extensions/v2/signing/gone/signatures/{tools.digest(target)}"
    tools.run("skopeo", "delete", f"docker://{target}")
    assert client.registry("GET", path).status_code == 404
    tools.push(image, "signing/gone:1")
    assert client.registry("GET", path).json() == {"signatures": []}


def test_large_blobs_stream_both_ways(
    sandbox: Sandbox, tools: Tools, layout: Callable[..., Path]
) -> None:
    front = json.loads(sandbox.folder.processes.read_bytes())["children"]["front"]
    target = tools.push(layout(96 * 2**20, packed=True), "large/app:1")
    tools.run("skopeo", "copy", "--insecure-policy", f"docker://{target}", f"dir:{tools.home}/out")
    status = Path(f"/proc/{front}/status").read_text().splitlines()
    (peak,) = (int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    assert peak < 100 * 1024, f"{peak} KiB"


@pytest.mark.parametrize(
    "path", ["/v2/", "/v2/x/manifests/1", f"/extensions/v2/x/signatures/{NO_SUCH}"]
)
def test_every_answer_announces_signatures(client: Client, path: str) -> None:
    for method in ("GET", "HEAD"):
        anonymous = client.request(method, client.registry_url(path))
        assert anonymous.status_code == 401
        assert anonymous.headers["WWW-Authenticate"].startswith("Basic ")
        known = client.registry(method, path)
        for answer in (anonymous, known):
            assert answer.headers["X-Registry-Supports-Signatures"] == "1"


@pytest.mark.parametrize(
    "login", [("iamapikey", "wrong"), ("someone", "x"), ("iambearer", "x"), ("", "")]
)
def test_wrong_logins_are_refused(client: Client, login: tuple[str, str]) -> None:
    assert client.get(client.registry_url("/v2/"), auth=login).status_code == 401


def test_logins_follow_their_roles(client: Client) -> None:
    bearer = ("iambearer", client.token())
    assert client.get(client.registry_url("/v2/"), auth=bearer).status_code == 200
    assert client.registry("GET", "/v2/", "foreign").status_code == 401
    upload = "/v2/roles/app/blobs/uploads/"
    assert client.registry("POST", upload, "reader").status_code == 403
    assert client.registry("POST", upload, "nokms").status_code == 202


def test_uploads_are_located_at_the_front(client: Client) -> None:
    begun = client.registry("POST", "/v2/upload/app/blobs/uploads/")
    assert begun.headers["Location"].startswith(f"https://{client.sandbox.registry}/v2/")


def test_tokens_of_the_registry_allow_what_they_name(client: Client) -> None:
    set_rule(client.sandbox.folder, "registry", {"kind": "bearer"})
    upload = "/v2/oauth/app/blobs/uploads/"
    asked = client.request("POST", client.registry_url(upload))
    said = asked.headers["WWW-Authenticate"]
    assert f'realm="https://{client.sandbox.registry}/oauth/token"' in said
    assert 'scope="repository:oauth/app:pull,push"' in said
    assert client.registry("GET", "/v2/").status_code == 401  # the login itself

    def token(role: str, *scopes: str) -> dict[str, str]:
        query = [("service", "registry"), *(("scope", scope) for scope in scopes)]
        given = client.registry("GET", "/oauth/token", role, params=query)
        return {"Authorization": f"Bearer {given.json()['token']}"}

    def status(method: str, path: str, headers: dict[str, str]) -> int:
        url = client.registry_url(path)
        return int(client.request(method, url, headers=headers).status_code)

    push = "repository:oauth/app:pull,push"
    assert status("GET", "/v2/", token("reader")) == 200
    assert status("POST", upload, token("reader", push)) == 401
    assert status("POST", upload, token("writer", push.replace("app", "other"))) == 401
    assert status("POST", upload, token("writer", push)) == 202
    mount = f"{upload}?mount={NO_SUCH}&from=oauth/source"
    assert status("POST", mount, token("writer", push)) == 401
    both = token("writer", f"{push} repository:oauth/source:pull")
    assert status("POST", mount, both) == 202
    assert status("GET", "/v2/oauth/app/tags/list", token("reader", push)) == 404
    kms = client.sandbox.identity.url("kms") + "/api/v2/keys"
    instance = {"Bluemix-Instance": client.sandbox.identity.kms_instance}
    assert client.get(kms, headers=instance | token("manager", push)).status_code == 401
    access = {"Authorization": f"Bearer {client.token()}"}
    assert status("GET", "/v2/", access) == 401
    assert client.get(client.registry_url("/oauth/token")).status_code == 401


# --- The signature store ----------------------------------------------------------------------


@pytest.fixture
def store(tools: Tools, layout: Callable[..., Path]) -> tuple[str, str]:
    """The path of an image's signatures, and its digest."""
    target = tools.push(layout(), "store/app:1")
    digest = tools.digest(target)
    return f"/extensions/v2/store/app/signatures/{digest}", digest


def signature(digest: str, **changes: object) -> dict[str, object]:
    content = base64.b64encode(b"\x90 a signature").decode()
    name = f"{digest}@{os.urandom(16).hex()}"
    return {"schemaVersion": 2, "name": name, "type": "atomic", "content": content} | changes


def test_signatures_are_stored_once(client: Client, store: tuple[str, str]) -> None:
    path, digest = store
    one, two = signature(digest), signature(digest)
    assert client.registry("PUT", path, json=one).status_code == 201
    assert client.registry("PUT", path, json=two).status_code == 201
    again = client.registry("PUT", path, json=one)
    assert again.status_code == 409
    assert again.json()["errors"][0]["code"] == "SIGNATURE_EXISTS"
    assert client.registry("GET", path).json()["signatures"] == [one, two]


def test_malformed_signatures_are_refused(client: Client, store: tuple[str, str]) -> None:
    path, digest = store
    bad: list[object] = [
        signature(digest, schemaVersion=1),
        signature(digest, type="sigstore"),
        signature(digest, name=f"{NO_SUCH}@00"),
        signature(digest, name=digest),
        signature(digest, content="not base64"),
        signature(digest, content=""),
        [],
        "text",
        None,
    ]
    for value in bad:
        answer = client.registry("PUT", path, data=json.dumps(value))
        assert answer.status_code == 400, value
        assert answer.json()["errors"][0]["code"] == "SIGNATURE_INVALID"
    assert client.registry("PUT", path, data=b"{").status_code == 400
    assert client.registry("GET", path).json() == {"signatures": []}


def test_unreadably_long_lists_are_not_made(client: Client, store: tuple[str, str]) -> None:
    path, digest = store
    half = base64.b64encode(os.urandom(2**20 * 3 // 2)).decode()
    assert client.registry("PUT", path, json=signature(digest, content=half)).status_code == 201
    assert client.registry("PUT", path, json=signature(digest, content=half)).status_code == 400
    big = base64.b64encode(bytes(2**22)).decode()
    assert client.registry("PUT", path, json=signature(digest, content=big)).status_code == 413
    assert len(client.registry("GET", path).content) < 4 * 2**20


def test_only_known_images_and_methods(client: Client, store: tuple[str, str]) -> None:
    path, digest = store
    for unknown in (
        f"/extensions/v2/store/app/signatures/{NO_SUCH}",
        f"/extensions/v2/store/other/signatures/{digest}",
        "/extensions/v2/store/app/signatures/latest",
        f"/extensions/v2/Store/APP/signatures/{digest}",
    ):
        assert client.registry("GET", unknown).status_code == 404, unknown
        assert client.registry("PUT", unknown, json=signature(digest)).status_code == 404
    assert client.registry("DELETE", path).status_code == 405
    assert client.registry("PUT", path, "reader", json=signature(digest)).status_code == 403


# --- Hostile requests -------------------------------------------------------------------------


def raw(sandbox: Sandbox, request: bytes) -> bytes:
    trust = ssl.create_default_context(cafile=str(sandbox.folder.ca))
    host, _, port = sandbox.registry.partition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        trust.wrap_socket(plain, server_hostname=host) as secure,
    ):
        secure.sendall(request)
        return secure.recv(4096)


@pytest.mark.parametrize(
    "path",
    [
        "/v2/..%2f..%2fetc/manifests/1",
        "/v2/%2e%2e/%2e%2e/manifests/1",
        "/v2/x/manifests/%00",
        "/v2/x/blobs/sha256:..%2f..%2f",
        "/v2/%ff%fe/tags/list",
        "/va/api/v4/report/image/..%2f..%2f..%2fetc%2fpasswd",
        "/va/api/v4/exempt/image/..%2f..%2fx",
        "/api/v1/images?repository=../../../../etc",
        "//v2//",
        "/",
        "/.sandbox/",
    ],
)
def test_odd_paths_are_refused_calmly(client: Client, path: str) -> None:
    headers = {
        "Authorization": "Basic "
        + base64.b64encode(f"iamapikey:{client.sandbox.api_key('manager')}".encode()).decode(),
        "Account": client.sandbox.identity.account,
        "Host": "x",
        "Connection": "close",
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    answer = raw(client.sandbox, ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    status = int(answer.split(b" ", 2)[1])
    assert 300 <= status < 500, answer
    assert b"root:" not in answer


def test_garbage_does_not_stop_the_service(client: Client) -> None:
    for request in (
        b"\x16\x03\x01 nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 500_000 + b"\r\nConnection: close\r\n\r\n",
    ):
        raw(client.sandbox, request)
    with socket.create_connection(
        ("127.0.0.1", client.sandbox.identity.ports["registry"])
    ) as plain:
        plain.sendall(b"GET /v2/ HTTP/1.1\r\n\r\n")  # not TLS
        plain.recv(100)
    assert client.registry("GET", "/v2/").status_code == 200


def test_an_abandoned_upload_does_no_harm(client: Client) -> None:
    login = base64.b64encode(f"iamapikey:{client.sandbox.api_key('manager')}".encode()).decode()
    place = client.registry("POST", "/v2/abandoned/app/blobs/uploads/").headers["Location"]
    path = place.partition(client.sandbox.registry)[2]
    head = (
        f"PATCH {path} HTTP/1.1\r\nHost: {client.sandbox.registry}\r\n"
        f"Authorization: Basic {login}\r\nContent-Length: 100000\r\n\r\n"
    )
    trust = ssl.create_default_context(cafile=str(client.sandbox.folder.ca))
    with (
        socket.create_connection(("127.0.0.1", client.sandbox.identity.ports["registry"])) as plain,
        trust.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        secure.sendall(head.encode() + b"x" * 1000)
    assert client.registry("GET", "/v2/").status_code == 200
