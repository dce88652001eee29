# SPDX-License-Identifier: Apache-2.0
"""Small parts of the sandbox by themselves: no process, no socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsec.errors import ImgsecError
from imgsec.sandbox.advisor.exemptions import Exemption, ExemptionStore, Scope
from imgsec.sandbox.advisor.reports import Assessment
from imgsec.sandbox.advisor.scenario import Scenario
from imgsec.sandbox.asgi import Headers, Message, Receive, Send
from imgsec.sandbox.environment import render_shell, sandbox_environment
from imgsec.sandbox.faults import FaultSwitches, parse_rules
from imgsec.sandbox.folder import StateFolder, default_directory
from imgsec.sandbox.front.signatures import SignatureStore, StoredSignature
from imgsec.sandbox.identity import Identity
from imgsec.sandbox.kms.errors import KmsError
from imgsec.sandbox.kms.requests import NewKey
from imgsec.sandbox.kms.store import KeyStore
from imgsec.sandbox.locks import Lock, is_held
from imgsec.sandbox.service import Service
from imgsec.sandbox.tokens import TokenMint

from .conftest import variables_of_the_real_services

pytestmark = pytest.mark.once

DIGEST = "sha256:" + "a" * 64


# --- Scenarios and reports --------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "version: 2",
        "version: 1\nversion: 1",
        "version: 1\nimages: 5",
        "version: 1\nimages: [5]",
        "version: 1\nimages: [{match: {repository: 5}}]",
        "version: 1\nimages: [{match: {digest: sha256:12}}]",
        "version: 1\nimages: [{match: {host: x}}]",
        "version: 1\nimages: [{steps: OK}]",
        "version: 1\nimages: [{steps: [1]}]",
        "version: 1\nimages: [{not_found: -1}]",
        "version: 1\nimages: [{not_found: true}]",
        "version: 1\nimages: [{vulnerabilities: [{summary: x}]}]",
        "version: 1\nimages: [{vulnerabilities: [{cve_id: 5}]}]",
        "version: 1\nimages: [{assume_pushed: maybe}]",
        "version: 1\nimages: [{os_distribution: {name: x}}]",
        "!!python/object/apply:os.system [true]",
        "a: &a [*a]",
        "{" * 2000,
        "\x00",
    ],
)
def test_malformed_scenarios_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Scenario.parse(text.encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_scenario_or_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        Scenario.parse(data)


def assessment(status: str, *exempt: Exemption) -> Assessment:
    text = (
        "version: 1\nimages: [{vulnerabilities: ["
        "{cve_id: CVE-1, security_notices: [{notice_id: N-1}, {notice_id: N-2}]}, "
        "{cve_id: CVE-2}]}]"
    )
    (rule,) = Scenario.parse(text.encode()).rules
    return Assessment("r/x:1", status, rule, exempt)


def exempt(kind: str, issue: str) -> Exemption:
    return Exemption(kind, issue, Scope())


@pytest.mark.parametrize(
    ("exemptions", "word", "states"),
    [
        ([], "FAIL", ["active", "active"]),
        ([exempt("sn", "N-1")], "FAIL", ["partial", "active"]),
        ([exempt("sn", "N-1"), exempt("sn", "N-2")], "FAIL", ["exempt", "active"]),
        ([exempt("cve", "CVE-1"), exempt("cve", "CVE-2")], "WARN", ["exempt", "exempt"]),
        ([exempt("configuration", "CVE-1")], "FAIL", ["active", "active"]),
    ],
)
def test_exemptions_decide_state_and_word(
    exemptions: list[Exemption], word: str, states: list[str]
) -> None:
    found = assessment("FAIL", *exemptions).report()
    assert found["status"] == word
    assert [item["exempt_status"] for item in found["vulnerabilities"]] == states
    summary = assessment("FAIL", *exemptions).summary()
    assert summary["issue_count"] + summary["exempt_issue_count"] == 2


@pytest.mark.parametrize("word", ["OK", "WARN", "ODD"])
def test_a_contradiction_can_be_made(word: str) -> None:
    found = assessment(word).report()
    assert (found["status"], len(found["vulnerabilities"])) == (word, 2)


@pytest.mark.parametrize(
    ("scope", "covered"),
    [
        ("*", True),
        ("team", True),
        ("tea", False),
        ("team/app", True),
        ("team/ap", False),
        ("team/app/sub", False),
        ("team/app:1", True),
        ("team/app:2", False),
        (f"team/app@{DIGEST}", True),
        ("host:5000/team/app:1", True),
    ],
)
def test_scopes_cover(scope: str, covered: bool) -> None:
    parsed = Scope.parse(scope, ["host:5000"])
    assert parsed.covers("team/app", frozenset({"1", DIGEST})) is covered


@pytest.mark.parametrize(
    "text", ["", "Team", "other:5000/team/app", "a//b", "../x", "a:b:c", "a@b"]
)
def test_malformed_scopes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a namespace"):
        Scope.parse(text, ["host:5000"])


# --- Faults -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"cloud": []},
        {"kms": {}},
        {"kms": [5]},
        {"kms": [{}]},
        {"kms": [{"kind": "500", "count": 0}]},
        {"kms": [{"kind": "500", "count": True}]},
        {"kms": [{"kind": "500", "every": "2"}]},
        {"kms": [{"kind": "500", "delay": -1}]},
        {"kms": [{"kind": "500", "path": "("}]},
        {"kms": [{"kind": "500", "path": 5}]},
        {"kms": [{"kind": "500", "unknown": 5}]},
        {"iam": [{"kind": "wrong-bytes"}]},
    ],
)
def test_malformed_faults_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_rules(json.dumps(value).encode())


def test_the_first_fault_that_is_not_used_up_wins(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    file.write_text('{"kms": [{"kind": "500", "count": 1}, {"kind": "503", "method": "get"}]}')
    switches = FaultSwitches(file, "kms")
    found = [switches.choose(method, "/x") for method in ("GET", "GET", "POST", "GET")]
    assert [rule and rule.kind for rule in found] == ["500", "503", None, "503"]
    file.unlink()
    assert switches.choose("GET", "/x") is None


# --- Requests ---------------------------------------------------------------------------------


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.sampled_from(["metadata", "resources", "name", "payload", "aliases", "tags", "expirationDate"]), s), max_leaves=12))  # noqa: E501  # fmt: skip
def test_any_json_is_a_key_or_a_refusal(resource: Any) -> None:
    kind = "application/vnd.ibm.kms.key+json"
    whole = {
        "metadata": {"collectionType": kind, "collectionTotal": 1},
        "resources": [resource],
    }
    for value in (resource, whole):
        with contextlib.suppress(KmsError):
            NewKey.parse(json.dumps(value).encode())


def test_deeply_nested_json_is_refused_as_any_other() -> None:
    deep = b"[" * 100_000
    for parse in (lambda body: StoredSignature.parse(body, DIGEST), parse_rules, Scenario.parse):
        with pytest.raises(ValueError, match=r"."):
            parse(deep)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_signature_or_a_value_error(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        StoredSignature.parse(body, DIGEST)


@given(st.text(max_size=100))
def test_no_text_is_a_token(text: str) -> None:
    mint = TokenMint(b"key")
    assert mint.read(text) is None
    assert mint.bearer(f"Bearer {text}") is None


# --- Folder, locks, environment ---------------------------------------------------------------


def test_a_foreign_folder_is_not_opened_and_not_purged(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    folder = StateFolder(tmp_path)
    for attempt in (folder.open, folder.purge):
        with pytest.raises(ImgsecError, match="foreign-object"):
            attempt()
    assert (tmp_path / "thesis.txt").exists()


def test_files_placed_beforehand_are_welcome(tmp_path: Path) -> None:
    (tmp_path / "faults.json").write_text("{}")
    tmp_path.chmod(0o755)
    StateFolder(tmp_path).open()
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.write(folder.faults, "one")
    folder.write(folder.faults, "two")
    assert folder.faults.read_text() == "two"
    assert folder.faults.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["faults.json"]
    with pytest.raises(ImgsecError, match="output-unwritable"):
        folder.write(tmp_path / "no" / "folder", "x")


def test_the_default_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert default_directory() == Path("/var/state/imgsec/sandbox")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/x")
    assert default_directory() == Path("/home/x/.local/state/imgsec/sandbox")


def test_a_lock_is_held_until_its_last_holder_goes(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    first, second = Lock(path), Lock(path)
    assert first.acquire(seconds=0)
    assert is_held(path)
    assert not second.acquire(seconds=0)
    inherited = os.dup(first.descriptor)
    first.close()
    assert is_held(path)
    os.close(inherited)
    assert second.acquire(seconds=0)
    second.close()


def test_what_a_store_confirms_is_on_the_disk(tmp_path: Path) -> None:
    stores = (
        KeyStore(tmp_path / "kms", str, restore_wait=0, alias_wait=0),
        SignatureStore(tmp_path / "signatures"),
        ExemptionStore(tmp_path / "exemptions"),
    )
    for store in stores:
        (level,) = store._db.execute("PRAGMA synchronous").fetchone()
        assert level == 2, store  # FULL
        store.close()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"NO_PROXY": "example.com, localhost"}, "example.com,localhost,127.0.0.1"),
        ({"no_proxy": "a", "NO_PROXY": "b"}, "a,127.0.0.1,localhost"),
    ],
)
def test_proxy_exceptions_are_extended(before: dict[str, str], after: str) -> None:
    identity = Identity.new().at_ports({"registry": 1, "iam": 2, "kms": 3})
    values = sandbox_environment(StateFolder(Path("/x")), identity, before)
    assert values["NO_PROXY"] == values["no_proxy"] == after


def test_no_option_is_left_to_what_is_set_for_the_real_services() -> None:
    identity = Identity.new().at_ports({"registry": 1, "iam": 2, "kms": 3})
    values = sandbox_environment(StateFolder(Path("/x")), identity, {})
    found = variables_of_the_real_services()
    assert ("IMGSEC_KMS_URL", "VAULT_URL") in found
    for names in found:
        covered = bool(values.get(names[0])) or all(values.get(name) == "" for name in names)
        assert covered, f"{names}: set it in imgsec/sandbox/environment.py, or keep it in conftest"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_shell_words_come_back(value: str) -> None:
    line = render_shell({"NAME": value})
    assert shlex.split(line) == ["export", f"NAME={value}"]


@pytest.mark.parametrize(
    ("method", "status", "head", "body"),
    [
        ("PUT", 201, [(b"Content-Length", b"0")], b""),
        ("GET", 200, [(b"content-length", b"4")], b"done"),
        ("HEAD", 200, [(b"content-length", b"4")], b""),
        ("DELETE", 204, [], b""),
    ],
)
def test_who_has_the_whole_answer_finds_its_line_in_the_log(
    tmp_path: Path, method: str, status: int, head: Headers, body: bytes
) -> None:
    folder = StateFolder(tmp_path)
    folder.open()
    log = folder.access_log("registry")
    seen: list[bytes] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": head})
        if body:
            await send({"type": "http.response.body", "body": body, "more_body": True})
        seen.append(log.read_bytes())  # the client has it all; the server does not say so yet
        await send({"type": "http.response.body"})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_message: Message) -> None:
        pass

    service = Service("registry", app, folder, lambda _scope, _status: (b"", []), "here")
    scope = {"type": "http", "method": method, "path": "/v2/a", "raw_path": b"/v2/a"}
    asyncio.run(service({**scope, "query_string": b"", "headers": []}, receive, send))
    assert json.loads(seen[0])["status"] == status
    assert log.read_bytes() == seen[0]
