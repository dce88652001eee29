# SPDX-License-Identifier: Apache-2.0
"""The page about admissions shows a suite that runs, and says only what is so."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "admission.md").read_text(encoding="utf-8")
SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas" / "report.schema.json").read_text())
KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n"


def run(folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "imgsec", *words, "--output", "json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    report = json.loads(done.stdout)
    jsonschema.validate(report, SCHEMA)
    return done.returncode, report


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A folder with policies/ as the page has them: what the team signs, and nobody else's."""
    folder = tmp_path / "policies"
    folder.mkdir()
    signed = {"type": "signedBy", "keySecret": "key", "keySecretNamespace": "portieris"}
    documents = [
        {
            **{"apiVersion": "portieris.cloud.ibm.com/v1", "kind": "ClusterImagePolicy"},
            "metadata": {"name": "signed"},
            "spec": {
                "repositories": [
                    {
                        "name": "us.icr.io/team/*",
                        "policy": {"simple": {"requirements": [signed]}},
                    },
                    {"name": "registry.k8s.io/*", "policy": {}},
                ]
            },
        },
        {
            **{"apiVersion": "v1", "kind": "Secret", "stringData": {"key": KEY}},
            "metadata": {"name": "key", "namespace": "portieris"},
        },
    ]
    (folder / "policy.yaml").write_text(yaml.safe_dump_all(documents))
    return tmp_path


def test_shown_suite_runs(policies: Path) -> None:
    (block,) = re.findall(r"<!-- suite -->\n```yaml\n(.*?)```", PAGE, re.DOTALL)
    (policies / "tests.yaml").write_text(block)
    code, report = run(policies, "admit", "--suite", "tests.yaml", "--offline")
    assert code == 0, report["reasons"]
    assert len(report["tests"]) == 3


def test_every_kind_of_prediction_keeps_the_published_schema(policies: Path) -> None:
    pod = {
        "initContainers": [{"name": "i", "image": "registry.k8s.io/pause:3"}],
        "containers": [
            {"name": "a", "image": "us.icr.io/team/web:1"},
            {"name": "b", "image": "nginx"},
        ],
    }
    deployment = {
        **{"apiVersion": "apps/v1", "kind": "Deployment"},
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 1, "template": {"spec": pod}},
    }
    (policies / "web.yaml").write_text(yaml.safe_dump(deployment))
    code, report = run(policies, "admit", "web.yaml", "--policies", "policies", "--offline")
    assert code == 1
    assert [one["reached"] for one in report["containers"]] == [True, True, True]
    assert report["containers"][1]["layers"][2]["open"]["code"] == "admission-open"
    other = policies / "other"
    other.mkdir()
    text = (policies / "policies" / "policy.yaml").read_text()
    (other / "policy.yaml").write_text(text.replace("registry.k8s.io/*", "nginx"))
    words = ("policy", "diff", "policies", "other", "--workload", "web.yaml", "--offline")
    code, report = run(policies, *words)
    assert code == 0
    assert {one["direction"] for one in report["imageChanges"]} == {"stricter", "looser"}
    assert report["workloadChanges"][0]["lockedOut"] is False


def test_every_code_of_what_is_not_checked_is_on_the_page() -> None:
    shown = set(re.findall(r"^\| `([a-z-]+)`", PAGE, re.MULTILINE))
    shown |= set(re.findall(r"^\| `[a-z-]+`, `([a-z-]+)`", PAGE, re.MULTILINE))
    told: set[str] = set()
    for module in ("operations/predict_admission.py", "domain/webhook.py"):
        source = (ROOT / "imgsec" / module).read_text(encoding="utf-8")
        told |= set(re.findall(r'Note\(\s*"([a-z-]+)"', source))
    assert told - shown == set()
