# SPDX-License-Identifier: Apache-2.0
"""`imgsec policy lint` as a policy repository's pipeline runs it: files in, a verdict out."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml

from tests.support import ROOT, CommandLine, Ended, Gpg

pytestmark = pytest.mark.once

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((ROOT / "schemas" / "report.schema.json").read_text())
)
POLICY = """\
apiVersion: portieris.cloud.ibm.com/v1
kind: ClusterImagePolicy
metadata: {name: default}
spec:
  repositories:
    - name: icr.io/ns/app
      policy:
        simple:
          requirements:
            - {type: signedBy, keySecret: key, keySecretNamespace: portieris}
"""
NAMED = "    - name: '{}'\n"


class Desk:
    """A folder of policies, and the command about it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "policies"
        self.folder.mkdir()
        self._imgsec = CommandLine(folder)

    def __call__(self, *words: str | Path, **options: Any) -> Ended:
        """Lint the folder; whatever it answers keeps the published schema."""
        done = self._imgsec("policy", "lint", self.folder, *words, **options)
        SCHEMA.validate(done.json)
        return done

    def plain(self, *words: str | Path, **options: Any) -> Ended:
        return self._imgsec.plain("policy", "lint", *words, **options)

    def write(self, text: str | bytes = POLICY, name: str = "policy.yaml") -> Path:
        path = self.folder / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def key(self, content: bytes, data: str = "key") -> None:
        value = {data: base64.b64encode(content).decode()}
        metadata = {"name": "key", "namespace": "portieris"}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": value}
        self.write(yaml.safe_dump(secret), "secret.yaml")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def ids(done: Ended) -> list[str]:
    return [one["id"] for one in done.json["lint"]["findings"]]


def test_exit_codes_tell_what_was_found(desk: Desk) -> None:
    desk.write()
    desk().expect(0)
    desk.write(POLICY + NAMED.format("nginx"))
    assert set(ids(desk().expect(0))) >= {"unchecked-rule", "short-name"}
    desk("--strict").expect(1, "policy-flawed")
    desk.write(POLICY + NAMED.format("*"))
    desk().expect(1, "policy-flawed")
    desk("--engine", "0.9").expect(2, "engine-unknown")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no-policy"),
        ("replicas: 1\n", "no-policy"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n", "no-policy"),
        (POLICY.replace("portieris.cloud.ibm.com/v1", "policy.sigstore.dev/v1"), "no-policy"),
        ("a: {{ .Values.x }}\n", "input-malformed"),
        ("a: &a [*a]\n", "input-malformed"),
        ("\x00", "input-malformed"),
        (b"\xff\x00\xff", "input-malformed"),
        ("[" * 5000, "input-malformed"),
        (POLICY + "kind: ImagePolicy\n", "input-malformed"),
    ],
)
def test_nothing_to_lint_is_never_a_pass(desk: Desk, content: str | bytes, reason: str) -> None:
    desk.write(content)
    desk().expect(2, reason)


def test_a_path_that_is_not_there_is_no_pass_either(desk: Desk) -> None:
    desk("missing.yaml").expect(2, "input-unreadable")
    desk().expect(2, "no-policy")


def test_policies_come_by_standard_input_and_in_lists(desk: Desk) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(POLICY)]}
    done = desk.plain("-", "--image", "icr.io/ns/app:1", stdin=json.dumps(listed))
    assert done.code == 0
    assert "icr.io/ns/app of ClusterImagePolicy default (-:1)" in done.stdout


def test_keys_are_looked_at(desk: Desk, gpg: Gpg) -> None:
    desk.write()
    gpg.make_key("good", "rsa2048")
    gpg.make_key("other", "rsa2048")
    gpg.make_key("curve", "ed25519")
    good, other = gpg.public("good", armour=True), gpg.public("other", armour=True)
    desk.key(good)
    assert ids(desk().expect(0)) == []
    for content, found in (
        (good + other, "key-unreadable"),
        (gpg.public("good"), "key-unreadable"),
        (gpg.public("curve", armour=True), "key-unreadable"),
        (gpg.secret("good", armour=True), "private-key"),
        (gpg.secret("good"), "private-key"),
        (b"", "key-data-missing"),
        (b"text", "key-unreadable"),
        (good[:200], "key-unreadable"),
    ):
        desk.key(content)
        assert ids(desk().expect(1, "policy-flawed")) == [found], content[:40]
    desk.key(good, "public.asc")
    assert "'public.asc'" in desk.plain(desk.folder).stdout


def test_a_key_that_ends_soon_is_told(desk: Desk, gpg: Gpg) -> None:
    desk.write()
    gpg.make_key("good", "rsa2048")
    desk.key(gpg.public("good", armour=True))
    assert set(ids(desk("--expiring", "36500").expect(0))) <= {"key-expiring"}


def test_missing_secrets_refuse_where_that_is_asked_for(desk: Desk) -> None:
    desk.write()
    assert ids(desk("--require-secrets").expect(1, "policy-flawed")) == ["key-secret-missing"]


def test_formats_name_file_and_line(desk: Desk, tmp_path: Path) -> None:
    path = desk.write(POLICY + NAMED.format("*"))
    words = [f"--output={name}={tmp_path / name}" for name in ("sarif", "junit", "markdown")]
    desk(*words).expect(1, "policy-flawed")
    (run,) = json.loads((tmp_path / "sarif").read_text())["runs"]
    result = run["results"][0]
    assert (result["level"], result["ruleId"]) == ("error", "catch-all-unchecked")
    place = result["locations"][0]["physicalLocation"]
    assert place["region"]["startLine"] == 11
    assert place["artifactLocation"]["uri"] == f"file://{path}"
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    suites = ElementTree.fromstring((tmp_path / "junit").read_text())
    assert (suites.get("tests"), suites.get("failures")) == ("2", "1")
    assert "`catch-all-unchecked`" in (tmp_path / "markdown").read_text()


def test_hostile_names_reach_no_terminal(desk: Desk, tmp_path: Path) -> None:
    name = '"\\e[31m\\n::error::x\\u202e/*"'
    desk.write(POLICY + f"    - name: {name}\n", "a\n::error::b\x1b.yaml")
    words = [f"--output={name}={tmp_path / name}" for name in ("sarif", "junit", "markdown")]
    done = desk.plain(desk.folder, "-v", *words)
    assert done.code == 1
    assert "\x1b" not in done.stdout
    assert not [line for line in done.stdout.splitlines() if line.startswith("::")]
    for each in ("sarif", "junit", "markdown"):
        assert "\x1b" not in (tmp_path / each).read_text()


def test_file_names_that_are_no_text_are_shown(desk: Desk) -> None:
    desk.write(POLICY + NAMED.format("*"), os.fsdecode(b"\xff.yaml"))
    desk().expect(1, "policy-flawed")
    assert desk.plain(desk.folder, "--output", "sarif").code == 1
    assert desk.plain(desk.folder).code == 1
    assert desk.plain(desk.folder, "--output", "junit").code == 1


def test_images_are_taken_byte_for_byte(desk: Desk) -> None:
    desk.write(POLICY + NAMED.format("docker.io/*"))
    done = desk("--image", "icr.io/ns/app:1", "--image", "nginx", "--image", "A B", "--image", "")
    found = {one["image"]: one for one in done.json["lint"]["decisions"]}
    assert found["icr.io/ns/app:1"]["rule"]["line"] == 6
    assert found["nginx"]["rule"] is None
    assert not found["A B"]["valid"]
    assert not found[""]["valid"]
