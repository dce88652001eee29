# SPDX-License-Identifier: Apache-2.0
"""Every fault, as a client meets it, and the switches themselves."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from imgsec.sandbox.faults import FAULTY_SERVICES, KINDS, set_rule
from imgsec.sandbox.lifecycle import Sandbox

from .conftest import Client, CommandLine, Tools, access_log, key_body

pytestmark = pytest.mark.once

KEYS = "/api/v2/keys"
BROKEN = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
Ask = Callable[[], requests.Response]


@pytest.fixture
def asks(client: Client) -> dict[str, Ask]:
    """A request that works, per service."""
    token = client.token()
    va = {"Authorization": f"Bearer {token}", "Account": client.sandbox.identity.account}
    kms = {
        "Authorization": f"Bearer {token}",
        "Bluemix-Instance": client.sandbox.identity.kms_instance,
    }
    url = client.sandbox.identity.url
    return {
        "iam": lambda: client.post(
            url("iam") + "/identity/token",
            data={
                "grant_type": "urn:ibm:params:oauth:grant-type:apikey",
                "apikey": client.sandbox.api_key("manager"),
            },
        ),
        "kms": lambda: client.get(url("kms") + KEYS, headers=kms),
        "va": lambda: client.get(client.registry_url("/va/api/v4/exempt/types"), headers=va),
        "registry": lambda: client.registry("GET", "/v2/_catalog"),
    }


@pytest.fixture
def fault(sandbox: Sandbox) -> Callable[..., None]:
    def switch(service: str, kind: str, **given: Any) -> None:
        set_rule(sandbox.folder, service, {"kind": kind, **given})

    return switch


def each(kind: str) -> Any:
    return pytest.mark.parametrize("service", sorted(KINDS[kind].services))


@pytest.mark.parametrize("service", FAULTY_SERVICES)
def test_statuses(asks: dict[str, Ask], fault: Callable[..., None], service: str) -> None:
    good = asks[service]()
    assert good.status_code == 200
    for kind in ("429", "500", "503", "500-after"):
        fault(service, kind, count=1, retry_after=7)
        answer = asks[service]()
        assert answer.status_code == int(kind[:3])
        assert answer.headers.get("Retry-After") == ("7" if kind == "429" else None)
        if service == "kms":
            assert answer.json()["resources"][0]["errorMsg"]
        else:
            assert set(answer.json()) & {"errorCode", "code", "errors"}
        assert asks[service]().status_code == 200  # it was one


@each("slow")
def test_slow_is_right_in_the_end(
    asks: dict[str, Ask], fault: Callable[..., None], service: str
) -> None:
    fault(service, "slow", delay=0.3)
    begun = time.monotonic()
    assert asks[service]().status_code == 200
    assert time.monotonic() - begun >= 0.3


@each("hang")
def test_hang_never_answers(
    client: Client, fault: Callable[..., None], asks: dict[str, Ask], service: str
) -> None:
    fault(service, "hang")
    where = {"va": "registry"}.get(service, service)
    path = "/va/api/v4/exempt/types" if service == "va" else "/v2/"
    with pytest.raises(requests.ReadTimeout):
        client.get(client.sandbox.identity.url(where) + path, timeout=0.3)


@each("cut")
def test_cut_breaks_off_in_the_middle(
    asks: dict[str, Ask], fault: Callable[..., None], service: str
) -> None:
    fault(service, "cut", count=1)
    with pytest.raises(BROKEN):
        asks[service]()
    assert asks[service]().status_code == 200


@each("refuse")
def test_refuse_closes_without_an_answer(
    asks: dict[str, Ask], fault: Callable[..., None], service: str
) -> None:
    fault(service, "refuse", count=1)
    with pytest.raises(requests.ConnectionError):
        asks[service]()
    assert asks[service]().status_code == 200


@each("malformed")
def test_malformed_is_no_json(
    asks: dict[str, Ask], fault: Callable[..., None], service: str
) -> None:
    fault(service, "malformed")
    answer = asks[service]()
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    with pytest.raises(ValueError, match=r"JSON|Expecting|Unterminated"):
        answer.json()


@each("html")
def test_html_is_a_login_page(
    asks: dict[str, Ask], fault: Callable[..., None], service: str
) -> None:
    fault(service, "html")
    answer = asks[service]()
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")


def test_expired_tokens(asks: dict[str, Ask], fault: Callable[..., None], client: Client) -> None:
    for service in ("kms", "va"):
        fault(service, "expired-token", count=1)
        assert asks[service]().status_code == 401
        assert asks[service]().status_code == 200
    fault("iam", "expired-token")
    value = asks["iam"]().json()
    assert value["expiration"] < time.time()
    refused = client.kms("GET", KEYS)
    assert refused.status_code == 401


def test_work_that_is_done_and_not_answered(client: Client, fault: Callable[..., None]) -> None:
    for kind, alias in (("cut", "cut-off"), ("500-after", "failed-after")):
        fault("kms", kind, count=1, method="post", path=f"^{KEYS}$")
        body = key_body(aliases=[alias])
        with contextlib.suppress(*BROKEN):
            assert client.kms("POST", KEYS, json=body).status_code == 500
        assert client.kms("GET", f"{KEYS}/{alias}").status_code == 200


def test_an_empty_answer_can_be_cut(client: Client, fault: Callable[..., None]) -> None:
    ring = "/api/v2/key_rings/cut"
    fault("kms", "cut", method="POST")
    with pytest.raises(requests.ConnectionError):
        client.kms("POST", ring)
    assert "cut" in client.kms("GET", "/api/v2/key_rings").text


def test_a_wrong_payload(client: Client, fault: Callable[..., None]) -> None:
    key = client.create(payload="aGVsbG8=").json()["resources"][0]["id"]
    fault("kms", "wrong-payload")
    assert client.kms("GET", f"{KEYS}/{key}").json()["resources"][0]["payload"] == "aGVsbG4="


@pytest.fixture
def image(tools: Tools, layout: Callable[..., Path]) -> tuple[str, str]:
    target = tools.push(layout(), "faults/app:1")
    return target, tools.digest(target)


def test_a_registry_that_lies(
    client: Client, fault: Callable[..., None], tools: Tools, image: tuple[str, str]
) -> None:
    target, digest = image
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    path = f"/v2/faults/app/manifests/{digest}"
    fault("registry", "wrong-bytes", count=2)
    other = client.registry("GET", path, headers=accept)
    assert other.headers["Docker-Content-Digest"] == digest
    assert "sha256:" + hashlib.sha256(other.content).hexdigest() != digest
    at = f"docker://{target.removesuffix(':1')}@{digest}"
    tools.run("skopeo", "copy", "--insecure-policy", at, f"dir:{tools.home}/out", fails=True)
    fault("registry", "wrong-digest")
    other = client.registry("HEAD", path, headers=accept)
    assert other.headers["Docker-Content-Digest"] != digest
    other = client.registry("GET", path, headers=accept)
    assert "sha256:" + hashlib.sha256(other.content).hexdigest() == digest


@pytest.mark.parametrize("status", [403, 500])
def test_a_signature_store_that_fails(
    client: Client, fault: Callable[..., None], image: tuple[str, str], status: int
) -> None:
    fault("registry", f"signatures-{status}", method="PUT")
    path = f"/extensions/v2/faults/app/signatures/{image[1]}"
    assert client.registry("GET", path).status_code == 200
    refused = client.registry("PUT", path, json={})
    assert refused.status_code == status
    assert refused.headers["X-Registry-Supports-Signatures"] == "1"
    assert client.registry("GET", "/v2/").status_code == 200


# --- The switches -----------------------------------------------------------------------------


def test_every_counts_and_count_ends(asks: dict[str, Ask], fault: Callable[..., None]) -> None:
    fault("kms", "503", every=2, count=2)
    assert [asks["kms"]().status_code for _ in range(6)] == [200, 503, 200, 503, 200, 200]


def test_path_and_method_choose(client: Client, fault: Callable[..., None]) -> None:
    fault("kms", "500", path="key_rings", method="GET")
    assert client.kms("GET", KEYS).status_code == 200
    assert client.kms("GET", "/api/v2/key_rings").status_code == 500
    assert client.kms("POST", "/api/v2/key_rings/chosen").status_code == 201


def test_a_further_fault_keeps_the_counts_of_others(
    asks: dict[str, Ask], fault: Callable[..., None]
) -> None:
    fault("kms", "503", count=1)
    assert asks["kms"]().status_code == 503
    fault("iam", "503", count=1)
    assert asks["kms"]().status_code == 200
    fault("kms", "503", count=1)  # set anew, counts anew
    assert asks["kms"]().status_code == 503


def test_a_broken_file_leaves_the_former_faults(
    asks: dict[str, Ask], fault: Callable[..., None], sandbox: Sandbox
) -> None:
    fault("kms", "503")
    assert asks["kms"]().status_code == 503
    sandbox.folder.faults.write_text("{")
    assert asks["kms"]().status_code == 503
    sandbox.folder.faults.write_text("{}")
    assert asks["kms"]().status_code == 200


def test_faults_stand_in_the_access_log(
    asks: dict[str, Ask], fault: Callable[..., None], sandbox: Sandbox
) -> None:
    fault("va", "refuse", count=1)
    with pytest.raises(requests.ConnectionError):
        asks["va"]()
    asks["va"]()
    first, second = access_log(sandbox, "va")[-2:]
    assert (first["fault"], first["status"]) == ("refuse", 0)
    assert "fault" not in second


def test_the_command_line_sets_lists_and_clears(imgsec: CommandLine, tmp_path: Path) -> None:
    where = ("--dir", str(tmp_path / "state"))  # before any `up`
    assert imgsec("faults", "set", "kms", "429", "--count", "2", *where).returncode == 0
    assert imgsec("faults", "set", "va", "slow", "--delay", "0.5", *where).returncode == 0
    listed = json.loads(imgsec("faults", "list", *where).stdout)
    assert listed["kms"][0].items() >= {"kind": "429", "count": 2}.items()
    assert listed["va"][0]["delay"] == 0.5
    assert imgsec("faults", "clear", "kms", *where).returncode == 0
    assert list(json.loads(imgsec("faults", "list", *where).stdout)) == ["va"]
    assert imgsec("faults", "clear", *where).returncode == 0
    assert json.loads(imgsec("faults", "list", *where).stdout) == {}


@pytest.mark.parametrize(
    "words",
    [
        ("kms", "nonsense"),
        ("cloud", "500"),
        ("kms", "wrong-bytes"),
        ("kms", "500", "--path", "("),
        ("kms", "500", "--count", "0"),
    ],
)
def test_impossible_faults_are_usage_errors(
    imgsec: CommandLine, tmp_path: Path, words: tuple[str, ...]
) -> None:
    refused = imgsec("faults", "set", *words, "--dir", str(tmp_path / "state"))
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr
