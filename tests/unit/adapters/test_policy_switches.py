# SPDX-License-Identifier: Apache-2.0
"""The switches of a CISE policy, flipped where they stand; nothing else of the file changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imgsec.adapters.policy_switches import require_copy, switched
from tests.unit.refusals import refused

HEAD = """\
# ours, reviewed
apiVersion: securityenforcement.admission.cloud.ibm.com/v1beta1
kind: ClusterImagePolicy
metadata: {name: x}
spec:
  repositories:
"""


def flipped(rules: str, *, trust: bool | None = None, va: bool | None = None) -> str:
    wanted = {name: on for name, on in (("trust", trust), ("va", va)) if on is not None}
    content, _ = switched((HEAD + rules).encode(), wanted, "a file")
    text = content.decode()
    assert text.startswith(HEAD)
    return text.removeprefix(HEAD)


def test_comments_order_and_odd_letters_stay() -> None:
    before = """\
  - name: "icr.io/größe/*"   # 🚢 unchecked, on purpose
    policy:
  - name: '*'
    policy:
      trust:
        enabled: false   # for now
      va: {enabled: true}
"""
    after = flipped(before, trust=True, va=False)
    assert after == before.replace("enabled: false  ", "enabled: true  ").replace(
        "{enabled: true}", "{enabled: false}"
    )


@pytest.mark.parametrize(
    ("rule", "after"),
    [
        ("{va: {enabled: true}}", '{"trust": {"enabled": true}, va: {enabled: true}}'),
        ("{trust: , va: {}}", '{trust:  {"enabled": true}, va: {}}'),
        ("{trust: {trustServer: a}}", '{trust: {"enabled": true, trustServer: a}}'),
        (
            "\n      va:\n        enabled: true",
            '\n      "trust": {"enabled": true}\n      va:\n        enabled: true',
        ),
        (
            "\n      trust:\n        trustServer: a",
            '\n      trust:\n        "enabled": true\n        trustServer: a',
        ),
        ("\n      trust:\n      va: {}", '\n      trust: {"enabled": true}\n      va: {}'),
    ],
)
def test_a_switch_that_is_not_there_is_put_in(rule: str, after: str) -> None:
    head = "  - name: a\n    policy: "
    if "trust:\n      va" in rule or "trust: ," in rule:  # null switches are no switches
        rule, after = rule.replace("{}", "{enabled: true}"), after.replace("{}", "{enabled: true}")
    assert flipped(f"{head}{rule}\n", trust=True) == f"{head}{after}\n"


def test_json_stays_json() -> None:
    rule = {"name": "*", "policy": {"va": {"enabled": True}}}
    document = {
        "apiVersion": "securityenforcement.admission.cloud.ibm.com/v1beta1",
        "kind": "ImagePolicy",
        "metadata": {"name": "x"},
        "spec": {"repositories": [rule]},
    }
    content, count = switched(json.dumps(document).encode(), {"trust": True, "va": False}, "x")
    policy = json.loads(content)["spec"]["repositories"][0]["policy"]
    assert (policy, count) == ({"trust": {"enabled": True}, "va": {"enabled": False}}, 1)


def test_every_policy_of_a_file_is_flipped() -> None:
    one = HEAD + "  - {name: a, policy: {va: {enabled: true}}}\n"
    content, count = switched(f"{one}---\n{one}".encode(), {"va": False}, "x")
    assert (content.count(b"enabled: false"), count) == (2, 2)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "input-malformed"),
        (b"\xff", "input-malformed"),
        (b"kind: Secret", "input-malformed"),
        (HEAD.encode() + b"  - {name: a}\n", "input-malformed"),
        (HEAD.encode() + b"  - {name: a, policy: {simple: {}, va: {}}}\n", "policy-malformed"),
        (HEAD.encode() + b"  - {name: a, policy: {va: {enabled: 'on'}}}\n", "policy-malformed"),
        (HEAD.encode() + b"  - {name: a, policy: &x {va: {}}}\n", "input-malformed"),
        (
            HEAD.encode().replace(
                b"securityenforcement.admission.cloud.ibm.com/v1beta1",
                b"portieris.cloud.ibm.com/v1",
            )
            + b"  - {name: a}\n",
            "policy-foreign",
        ),
    ],
)
def test_what_cannot_be_flipped_is_refused(content: bytes, code: str) -> None:
    with refused(code):
        switched(content, {"va": True}, "a file")


CONFIG = """\
# the installer's
version: 3.2
image-security-enforcement:
  enabled: true
  clusterImagePolicy:
  - name: 'docker.io/ibmcom/*'
    policy:
  - name: us.icr.io/team/*
    policy: {trust: {enabled: false}, va: {enabled: true}}  # for now
"""


def test_the_list_of_a_config_has_switches_too() -> None:
    content, rules = switched(CONFIG.encode(), {"trust": True, "va": False}, "config.yaml")
    assert rules == 1
    assert content.decode() == CONFIG.replace(
        "{trust: {enabled: false}, va: {enabled: true}}",
        "{trust: {enabled: true}, va: {enabled: false}}",
    )


@pytest.mark.parametrize(
    "text",
    [
        "image-security-enforcement:\n  clusterImagePolicy:\n",
        "image-security-enforcement:\n  clusterImagePolicy: {a: b}\n",
        "image-security-enforcement:\n  enabled: true\n",
        CONFIG + "  - {name: a, polici: {trust: {enabled: true}}}\n",
    ],
)
def test_a_config_without_a_list_has_none(text: str) -> None:
    with refused("input-malformed", "policy-malformed"):
        switched(text.encode(), {"trust": True}, "config.yaml")


@pytest.mark.parametrize("word", ["true", "True", "yes", "on"])
def test_what_is_so_already_stays_as_it_is_written(word: str) -> None:
    before = f"  - name: a\n    policy: {{trust: {{enabled: {word}}}, va: {{enabled: no}}}}\n"
    assert flipped(before, trust=True, va=False) == before


def test_line_ends_and_a_byte_order_mark_stay() -> None:
    before = (HEAD + "  - name: '*'\n    policy:\n      va: {enabled: true}\n").replace(
        "\n", "\r\n"
    )
    after, _ = switched(b"\xef\xbb\xbf" + before.encode(), {"trust": True}, "a file")
    added = b'      "trust": {"enabled": true}\r\n'
    assert after == b"\xef\xbb\xbf" + before.encode().replace(b"      va:", added + b"      va:")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("others", ["\n", "\r\n", "\r"])
def test_a_line_that_is_added_ends_as_the_line_at_hand(end: str, others: str) -> None:
    line = f"      va: {{enabled: true}}{end}"
    before = (HEAD + "  - name: '*'\n    policy:\n").replace("\n", others) + line
    after, _ = switched(before.encode(), {"trust": True}, "a file")
    added = f'      "trust": {{"enabled": true}}{end}'
    assert after.decode() == before.replace(line, added + line)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_that_is_added_before_the_last_ends_as_the_one_before(end: str) -> None:
    before = (HEAD + "  - name: '*'\n    policy:\n      va: {enabled: true}").replace("\n", end)
    after, _ = switched(before.encode(), {"trust": True}, "a file")
    added = f'      "trust": {{"enabled": true}}{end}'
    assert after.decode() == before.replace("      va:", f"{added}      va:")


def test_the_file_itself_is_no_copy_of_it(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("text")
    (tmp_path / "other").mkdir()
    require_copy(str(policy), tmp_path / "other" / "policy.yaml")
    for same in (policy, tmp_path / "other" / ".." / "policy.yaml"):
        with refused("invalid-option"):
            require_copy(str(policy), same)
