# SPDX-License-Identifier: Apache-2.0
"""The committed Tekton files, and the script that renders them, as a module."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "render-tasks"


@cache
def render_tasks() -> ModuleType:
    """The script; it has no .py ending, so it is loaded by its path."""
    loader = importlib.machinery.SourceFileLoader("render_tasks", str(SCRIPT))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


def documents(pattern: str) -> dict[str, dict[str, Any]]:
    """The committed documents in files that fit, by path; several in one file get a number."""
    found = {}
    for path in sorted(ROOT.glob(pattern)):
        for number, document in enumerate(yaml.safe_load_all(path.read_bytes())):
            name = str(path.relative_to(ROOT))
            found[f"{name}#{number}" if number else name] = document
    return found


@cache
def tasks() -> dict[str, dict[str, Any]]:
    """The committed Tasks, by name."""
    return {item["metadata"]["name"]: item for item in documents("tasks/*/*.yaml").values()}


@cache
def pipelines() -> dict[str, dict[str, Any]]:
    """The committed Pipelines, by name."""
    return {item["metadata"]["name"]: item for item in documents("pipelines/*/*.yaml").values()}


@cache
def runs() -> dict[str, dict[str, Any]]:
    """The committed samples, by path."""
    return documents("*/*/samples/*-run.yaml")
