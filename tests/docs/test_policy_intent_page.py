# SPDX-License-Identifier: Apache-2.0
"""The page about intents: its files are read as they stand, and each of its commands is run."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from imgsec.adapters.files import load_yaml, load_yaml_stream
from imgsec.adapters.intent_files import read_intents
from imgsec.domain.intent_file import intent_document
from imgsec.domain.intent_rendering import Target
from imgsec.domain.intent_sets import PLATFORMS, SETS
from tests.support import plain_environment

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "policy-intent.md").read_text(encoding="utf-8")
SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas" / "policy-intent.schema.json").read_text())
IN_A_YEAR = (date.today() + timedelta(days=300)).isoformat()


def files() -> dict[str, str]:
    found = dict(re.findall(r"<!-- file: (\S+) -->\n```yaml\n(.*?)```", PAGE, re.DOTALL))
    found["imgsec-policy.yaml"] = re.sub(
        r"until: \S+", f"until: {IN_A_YEAR}", found["imgsec-policy.yaml"]
    )
    return found


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the page, after all its commands were run beside them in their order."""
    place = tmp_path_factory.mktemp("page")
    for name, text in files().items():
        (place / name).write_text(text, encoding="utf-8")
    for command in commands():
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(command, comments=True)],
            cwd=place,
            env=plain_environment(place),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, command + "\n" + done.stdout + done.stderr
    return place


def test_commands_are_shown() -> None:
    assert len(commands()) > 10
    assert all(command.startswith("imgsec ") for command in commands())


def test_shown_commands_leave_what_they_say(folder: Path) -> None:
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {
        "out/shop.clusterimagepolicy.yaml",
        "out/imgsec-platform-iks.clusterimagepolicy.yaml",
        "machine/policy.json",
        "machine/registries.d/imgsec.yaml",
        "multicloud/config.yaml",
        "cise/ibmcloud-image-policy.ibm-system.imagepolicy.yaml",
        "taken-over/imgsec-policy.yaml",
        "taken-over/image-security-enforcement.clusterimagepolicy.yaml",
    } <= names
    switched = (folder / "switched" / "cise.yaml").read_text()
    before = files()["cise.yaml"]
    assert switched == before.replace("{enabled: false}", "{enabled: true}").replace(
        "enabled: true   #", "enabled: false   #"
    )
    again = read_intents(str(folder / "taken-over" / "imgsec-policy.yaml"))
    assert [str(one.name) for one in again] == ["image-security-enforcement"]


def test_shown_intent_keeps_the_published_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = load_yaml(files()["imgsec-policy.yaml"].encode(), "the page", keeps_dates=True)
    jsonschema.validate(document, SCHEMA)


def test_imported_intents_keep_the_published_schema(folder: Path) -> None:
    path = folder / "taken-over" / "imgsec-policy.yaml"
    for document in load_yaml_stream(path.read_bytes(), str(path), keeps_dates=True):
        jsonschema.validate(document, SCHEMA)
    for intent in read_intents(str(path)):
        jsonschema.validate(intent_document(intent), SCHEMA)


def test_page_names_every_set_platform_and_target() -> None:
    assert all(f"| `{name}` |" in PAGE for name in (*SETS, *PLATFORMS))
    assert all(f"`{name}`" in PAGE for name in Target)
