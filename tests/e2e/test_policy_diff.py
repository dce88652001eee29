# SPDX-License-Identifier: Apache-2.0
"""`imgsec policy diff` of files, as a policy repository's pipeline runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import CommandLine, Ended

pytestmark = pytest.mark.once
POLICY = """\
apiVersion: portieris.cloud.ibm.com/v1
kind: ClusterImagePolicy
metadata: {{name: {}}}
spec: {{repositories: [{}]}}
"""
CHECKED = "{{name: '{}', policy: {{trust: {{enabled: true}}}}}}"


class Desk:
    """Two folders with policies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._imgsec = CommandLine(folder)
        for side in ("before", "after"):
            (folder / side).mkdir()

    def write(self, side: str, *rules: str) -> None:
        (self.folder / side / "policy.yaml").write_text(POLICY.format("p", ", ".join(rules)))

    def __call__(self, *words: str | Path) -> Ended:
        sides = (self.folder / "before", self.folder / "after")
        return self._imgsec("policy", "diff", *sides, *words)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_two_sides_without_a_policy_are_a_mistake(desk: Desk) -> None:
    done = desk().expect(2, "no-policy")
    assert "Name files or folders" in done.json["reasons"][0]["hint"]


def test_a_side_without_a_policy_is_compared(desk: Desk) -> None:
    desk.write("after", "{name: icr.io/ns/app}")
    changes = desk().expect(0).json["imageChanges"]
    assert {one["before"]["rule"] for one in changes} == {None}
    assert {one["direction"] for one in changes} == {"looser"}


def test_manifests_that_run_nothing_are_a_mistake(desk: Desk) -> None:
    desk.write("before", "{name: icr.io/ns/app}")
    desk.write("after", "{name: icr.io/ns/app}")
    path = desk.folder / "manifests"
    path.mkdir()
    desk("--workload", path, "--offline").expect(3, "nothing-checked")


def test_what_another_engine_takes_for_its_host_is_told(desk: Desk) -> None:
    for side in ("before", "after"):
        desk.write(side, "{name: '*.icr.io/ns/*'}")
    words = ("--engine", "0.14.1", "--engine-after", "0.14.3", "--exit-code")
    done = desk(*words).expect(1, "policy-differs")
    assert "evil.example/any.icr.io/ns/any:1" in [one["image"] for one in done.json["imageChanges"]]


def test_what_nobody_could_compare_is_no_pass(desk: Desk) -> None:
    one = CHECKED.format(f"icr.io/{'*q' * 60}*")
    other = f"{{name: 'icr.io/{'*w' * 60}*'}}"
    desk.write("before", one, other)
    desk.write("after", other, one)
    desk("--exit-code").expect(3, "diff-incomplete")
    assert "diff-incomplete" in [one["code"] for one in desk().expect(0).json["notes"]]


WORKLOAD = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {replicas: 1, template: {spec: {containers: [{name: a, image: 'docker.io/ns/app:1'}]}}}
"""
SIGNED = "{{name: '{}', policy: {{simple: {{requirements: [{{type: signedBy, keySecret: {}}}]}}}}}}"


@pytest.fixture
def manifest(desk: Desk) -> Path:
    path = desk.folder / "web.yaml"
    path.write_text(WORKLOAD)
    return path


def notes(done: Ended) -> dict[str, str]:
    return {one["code"]: one["text"] for one in done.json["notes"]}


def test_a_workload_that_the_same_rules_decide_is_no_open_question(
    desk: Desk, manifest: Path
) -> None:
    desk.write("before", CHECKED.format("docker.io/ns/*"))
    desk.write("after", CHECKED.format("docker.io/ns/*"))
    done = desk("--workload", manifest, "--offline", "--exit-code").expect(0)
    assert "diff-undecided" not in notes(done)


def test_a_workload_that_nobody_could_judge_is_no_pass(desk: Desk, manifest: Path) -> None:
    for side in ("before", "after"):
        desk.write(side, CHECKED.format("docker.io/ns/*"))
    words = ("--workload", manifest, "--offline", "--engine", "0.14.1", "--engine-after", "0.14.2")
    assert "diff-undecided" in notes(desk(*words).expect(0))
    desk(*words, "--exit-code").expect(3, "diff-undecided")
    desk.write("after", CHECKED.format("docker.io/ns/app*"))
    words = ("--image", "docker.io/ns/app:1", "--exit-code")
    desk("--workload", manifest, "--offline", *words).expect(3, "diff-undecided")


KEYS = Path(__file__).parents[1] / "corpus" / "cases"
STORED = (
    "{{name: 'docker.io/ns/*', policy: {{simple: {{storeURL: 'https://s.example', {}"
    " requirements: [{{type: signedBy, keySecret: k}}]}}}}}}"
)
JUDGED = ("--offline", "--exit-code", "--workload")


@pytest.fixture
def keys() -> tuple[str, str]:
    """Two armoured public keys."""
    names = "accept-and-signed", "key-with-rsa-subkey"
    first, second = ((KEYS / name / "key.asc").read_text() for name in names)
    return first, second


def hold(desk: Desk, side: str, name: str, **data: str) -> None:
    """A Secret beside the policy."""
    metadata = {"name": name, "namespace": "default"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
    (desk.folder / side / f"{name}.json").write_text(json.dumps(secret))


def test_another_key_in_the_same_secret_is_told(desk: Desk, keys: tuple[str, str]) -> None:
    for side, key in zip(("before", "after"), keys, strict=True):
        desk.write(side, SIGNED.format("docker.io/ns/*", "k"))
        hold(desk, side, "k", key=key)
        hold(desk, side, "unnamed", key=key)
    for words in ((), ("--image", "docker.io/ns/app:1"), ("--namespace", "default")):
        done = desk(*words, "--exit-code").expect(0)
        text = "the Secret 'default/k', which rules name, holds something else"
        assert [one["text"] for one in done.json["notes"] if "secret" in one["code"]] == [text]
    for words in (("--image", "quay.io/ns/app:1"), ("--namespace", "stage")):
        assert "secret-differs" not in notes(desk(*words).expect(0))
    hold(desk, "after", "k", key=f"of the release team\n{keys[0]}{keys[1]}")
    assert "secret-differs" not in notes(desk().expect(0))  # the first block alone counts


def test_a_workload_under_another_key_is_no_pass(
    desk: Desk, manifest: Path, keys: tuple[str, str]
) -> None:
    for side, key in zip(("before", "after"), keys, strict=True):
        desk.write(side, SIGNED.format("docker.io/ns/*", "k"), SIGNED.format("quay.io/*", "l"))
        hold(desk, side, "k", key=keys[0])
        hold(desk, side, "l", key=key)
    desk(*JUDGED, manifest).expect(0)
    hold(desk, "after", "k", key=keys[1])
    desk(*JUDGED, manifest).expect(3, "diff-undecided")


def test_a_workload_under_another_password_of_the_store_is_no_pass(
    desk: Desk, manifest: Path, keys: tuple[str, str]
) -> None:
    for side in ("before", "after"):
        desk.write(side, STORED.format("storeSecret: s,"))
        hold(desk, side, "k", key=keys[0])
        hold(desk, side, "s", username="u", password=side)
    done = desk(*JUDGED, manifest).expect(3, "diff-undecided")
    assert "'default/s'" in notes(done)["secret-differs"]
    for side in ("before", "after"):
        desk.write(side, STORED.format(""))
    desk(*JUDGED, manifest).expect(0)


def test_an_upgrade_that_denies_pods_is_a_change(desk: Desk) -> None:
    for side in ("before", "after"):
        desk.write(side, SIGNED.format("icr.io/ns/app:1", "k"))
    words = ("--engine", "0.14.1", "--engine-after", "0.14.3")
    told = notes(desk(*words, "--image", "icr.io/ns/app:1").expect(0))
    assert "whether pods of controllers are checked" in told["engines-differ"]
    assert told["pods-differ"].startswith("pods of 'icr.io/ns/app:1' get an image such as")
    assert told["pods-differ"].endswith("which is denied: no rule names it")
    desk(*words, "--image", "icr.io/ns/app:1", "--exit-code").expect(1, "policy-differs")
    desk("--engine", "0.14.3", "--exit-code").expect(0)


def test_what_an_upgrade_checks_without_replicas_is_told(desk: Desk, manifest: Path) -> None:
    for side in ("before", "after"):
        desk.write(side, "{name: 'quay.io/*'}")
    words = ("--engine", "0.13.38", "--engine-after", "0.14.1", "--exit-code")
    told = notes(desk(*words).expect(0))
    assert told["engines-differ"].endswith("whether what wants no replicas is checked")
    manifest.write_text(WORKLOAD.replace("replicas: 1", "replicas: 0"))
    done = desk(*words, "--workload", manifest).expect(1, "policy-differs")
    assert done.json["workloadChanges"][0]["lockedOut"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--image", "icr.io/ns/App"), "invalid-option"),
        (("--image", "icr.io/ns/app:1", "--image", ""), "invalid-option"),
        (("--image", "icr.io/ns/*"), "invalid-option"),
        (("--namespace", "No_Such"), "invalid-name"),
        (("--namespace", ""), "invalid-name"),
    ],
)
def test_what_no_workload_could_say_is_a_mistake(
    desk: Desk, words: tuple[str, ...], reason: str
) -> None:
    desk.write("before", "{name: icr.io/ns/app}")
    desk.write("after", "{name: icr.io/ns/other}")
    desk(*words, "--exit-code").expect(2, reason)


def test_a_rewritten_pod_of_another_rule_is_a_change(desk: Desk) -> None:
    for side in ("before", "after"):
        desk.write(side, SIGNED.format("icr.io/ns/*-prod", "k"))
    words = ("--engine", "0.14.2", "--engine-after", "0.14.3", "--exit-code")
    told = notes(desk(*words).expect(1, "policy-differs"))
    assert told["pods-differ"].endswith("which is denied: no rule names it")
