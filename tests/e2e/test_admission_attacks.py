# SPDX-License-Identifier: Apache-2.0
"""Workloads that mean harm: huge ones, texts for terminals and logs, tricks of YAML."""

from __future__ import annotations

import json
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import CommandLine, Ended

pytestmark = pytest.mark.once
API = "portieris.cloud.ibm.com/v1"
ODD = "icr.io/a\n::error::x\x1b[31m\u202e##[x]\r\x9b2J\u2028"
SECONDS = 30  # of a slow machine; each takes one or two


class Admit:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._imgsec = CommandLine(folder)
        document = {
            **{"apiVersion": API, "kind": "ClusterImagePolicy", "metadata": {"name": "p"}},
            "spec": {"repositories": [{"name": "icr.io/*"}]},
        }
        (folder / "policy.yaml").write_text(yaml.safe_dump(document))

    def __call__(self, content: Any, *words: str) -> Ended:
        text = content if isinstance(content, str) else json.dumps(content)
        path = self.folder / "it.yaml"
        path.write_text(text)
        began = time.monotonic()
        done = self._imgsec.plain(
            *("admit", str(path), "--policies", str(self.folder / "policy.yaml"), *words)
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert done.code != 70
        assert time.monotonic() - began < SECONDS
        return done


@pytest.fixture
def admit(tmp_path: Path) -> Admit:
    return Admit(tmp_path)


def pod(*images: Any, name: str = "web", container: str = "c", **more: Any) -> dict[str, Any]:
    containers = [{"name": container, "image": image} for image in images]
    return {
        **{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}},
        "spec": {"containers": containers},
        **more,
    }


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda at: f"icr.io/a/b{at}:1", 0),
        (lambda at: f"quay.io/a/b{at}:1", 1),
        (lambda _: "icr.io/a/b:1", 0),
        (lambda _: "BAD NAME", 1),
        (lambda at: f"icr.io/a/b@sha256:{at:064x}", 0),
    ],
)
def test_ten_thousand_containers(admit: Admit, make: Any, code: int) -> None:
    done = admit(pod(*map(make, range(10_000))), "--output", "json")
    assert done.code == code
    assert len(done.json["containers"]) == 10_000


@pytest.mark.parametrize(
    "image",
    [
        "a" * 5_000_000,
        "a/" * 1_000_000,
        "a-" * 100_000 + "!",
        "x.y/" + "a__" * 100_000 + "!",
        "x.y/" + "a" * 300_000 + "@",
        ("a" * 30 + ".") * 20_000 + "/b",
        "[" + ":" * 300_000 + "]/a",
        "@sha256:" * 200_000,
        "icr.io/" + "*" * 100_000,
    ],
    ids=range(9),
)
def test_huge_name_is_denied_in_time(admit: Admit, image: str) -> None:
    assert admit(pod(image)).code == 1


def test_no_output_commands_a_terminal_or_a_log(admit: Admit) -> None:
    objects = [
        pod(ODD, name=ODD, container=ODD),
        pod("quay.io/a", kind=f"Pod{ODD}", spec={"template": pod("quay.io/a", container=ODD)}),
    ]
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    for words in (
        (),
        ("-v",),
        ("--output", "json"),
        ("--output", "markdown"),
        ("--output", "junit"),
    ):
        done = admit(listed, *words)
        assert done.code == 1
        for text in (done.stdout, done.stderr):
            assert not set(text) & set("\x1b\x9b\r\u202e\u2028\0"), repr(text)
            assert not any(line.startswith("::") for line in text.splitlines())
            assert "##[" not in text
        if "json" in words:
            assert done.json["containers"][0]["image"] == ODD
        if "junit" in words:
            assert ET.fromstring(done.stdout).tag == "testsuites"


POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (POD + "  - {name: c, image: on}\n", 2),
        (POD + "  - {name: c, image: 1.10}\n", 2),
        (POD + "  - {name: c, image: 2020-01-01}\n", 1),
        (POD + "  - {name: c, image: ~}\n", 0),
        (POD + "  - {name: c, image: icr.io/a, image: quay.io/b}\n", 2),
        (POD + "  - &c {name: c, image: icr.io/a}\n  - *c\n", 2),
        (POD + "  - {name: c, image: !!binary aWNyLmlvL2E=}\n", 2),
        (POD + "  - {<<: {image: quay.io/a}, name: c, image: icr.io/a}\n", 2),
        (POD + '  - {name: c, "im\\x61ge": quay.io/a}\n', 1),
        (POD + "  - {name: c, image: icr.io/a}\n  - []\n", 2),
        (POD.replace("kind: Pod", "Kind: Pod") + "  - {name: c, image: icr.io/a}\n", 2),
        (POD.replace("kind: Pod", "kind: pod") + "  - {name: c, image: icr.io/a}\n", 2),
        (POD.replace("kind: Pod\n", "") + "  - {name: c, image: icr.io/a}\n", 2),
        (POD + "  - {name: c, imagee: icr.io/a}\n", 2),
        (POD + "  - {name: c, image: icr.io/a}\n  initContainer: [{image: quay.io/a}]\n", 2),
        (POD + "  - {name: c, image: icr.io/a}\n  initContainers: {}\n", 2),
        (POD + "  - {name: c, image: icr.io/a}\n  initContainers: false\n", 2),
        (POD + "  - {name: c, image: icr.io/a}\n  initContainers: ~\n", 0),
        (POD + "  - {name: c, image: icr.io/a}\n  imagePullSecrets: ''\n", 2),
        (POD + "  - {name: c, image: icr.io/a}\n  volumes: 0\n", 2),
        (POD.replace("{name: web}", "[]") + "  - {name: c, image: icr.io/a}\n", 2),
        (POD.replace("{name: web}", "{name: 0}") + "  - {name: c, image: icr.io/a}\n", 2),
        (POD.replace("{name: web}", "{name: w, namespace: 'a '}") + "  - {image: icr.io/a}\n", 2),
        (POD.replace("{name: web}", "{name: w, nameSpace: a}") + "  - {image: icr.io/a}\n", 2),
        ("hello\n---\n" + POD + "  - {name: c, image: icr.io/a}\n", 2),
        ("- apiVersion: v1\n  kind: Pod\n---\n" + POD + "  - {name: c, image: icr.io/a}\n", 2),
        ("- op: add\n---\n" + POD + "  - {name: c, image: icr.io/a}\n", 0),
        (POD + "  - {name: c, image: icr.io/a}\n  initContainers: {image: quay.io/a}\n", 2),
        ("kind: PodList\napiVersion: v1\nitems:\n- spec: {containers: [{image: quay.io/a}]}\n", 1),
        ("kind: List\napiVersion: v1\nitems: [5]\n", 2),
        ("", 3),
        ("\ufeff" + POD + "  - {name: c, image: quay.io/a}\n", 1),
        ("# only\n---\n---\n" + POD + "  - {name: c, image: quay.io/a}\n...\n", 1),
        (POD + "  - {name: c, image: 'icr.io/a\n\n    b'}\n", 1),
        ("{{ if }}\n" + POD, 2),
        ("[" * 100_000, 2),
    ],
)
def test_tricks_of_yaml(admit: Admit, text: str, code: int) -> None:
    done = admit(text)
    assert done.code == code, done.stdout + done.stderr


@pytest.mark.parametrize(
    "account",
    [
        {"imagePullSecrets": [{"name": "web"}], "secrets": [{"name": "web"}]},
        {"imagePullSecrets": [{}]},
        {"imagePullSecrets": [None, "x"]},
        {"imagePullSecrets": {}},
    ],
)
def test_service_accounts_that_lead_nowhere(admit: Admit, account: dict[str, Any]) -> None:
    document = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    path = admit.folder / "account.json"
    path.write_text(json.dumps({**document, **account}))
    assert admit(pod("quay.io/a"), "--policies", str(path)).code == 1
