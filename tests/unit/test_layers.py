# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: arrows run down only, and imports for types count as the others do.

Above all, the domain is pure, operations know ports and no adapter, and wiring alone knows both
sides.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ANYWHERE = {"domain", "errors", "reasons"}
# Layer -> the others that it may import; a layer is a package or module right below imgsec.
MAY_IMPORT: dict[str, set[str]] = {
    "reasons": set(),
    "errors": {"reasons"},
    "domain": {"errors", "reasons"},
    "config": ANYWHERE,
    "ports": ANYWHERE,
    "render": ANYWHERE,
    "operations": {*ANYWHERE, "ports"},
    "adapters": {*ANYWHERE, "ports"},
    "wiring": {*ANYWHERE, "ports", "config", "operations", "adapters"},
    "cli": {*ANYWHERE, "ports", "config", "operations", "render", "wiring"},
    "sandbox": {"errors", "reasons"},  # a reading of its own of what the adapters speak
    "demo": {*ANYWHERE, "adapters", "sandbox"},  # a play about imgsec, which runs it as a program
    "__main__": {"cli"},
}
# Module and layer -> why it may, all the same. One that is not needed any more is an error here.
EXCEPTIONS = {
    ("cli.sandbox", "sandbox"): "the command that it is",
    ("cli.demo", "demo"): "the command that it is",
    ("cli.output", "adapters"): "answers go to files also where nothing could be wired",
    ("cli.judging", "adapters"): "worker processes, which are no service and need no settings",
    ("cli.gating", "adapters"): "reads the gate file and the ledger, and keeps the record",
    ("cli.release_image", "adapters"): "reads the mounted Secret before anything can be wired",
}
# What reaches outside, or is different each time.
IMPURE = set(
    "os io sys pathlib shutil tempfile glob fcntl stat subprocess multiprocessing threading signal"
    " asyncio selectors select socket ssl http urllib.request ftplib smtplib time random secrets"
    " logging getpass platform sqlite3 requests urllib3 aiohttp typer sh gnupg jinja2 yaml"
    " ibm_cloud_sdk_core".split()
)
IMPURE_CALLS = {"open", "input", "print", "datetime.now", "datetime.utcnow", "date.today"}


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere in it, and with it the names that are taken of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which layer is meant"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def crossed(module: str, imported: Iterable[str]) -> set[tuple[str, str]]:
    """The layers that a module imports and may not. module: without imgsec in front."""
    layer = module.partition(".")[0]
    others = {name.split(".")[1] for name in imported if name.startswith("imgsec.")}
    return {(module, other) for other in (others & set(MAY_IMPORT)) - MAY_IMPORT[layer] - {layer}}


def impure(tree: ast.AST) -> set[str]:
    """What a part of the domain would use, and may not."""
    names = {prefix for name in imports_of(tree) for prefix in (name, *_prefixes(name))}
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return (names & IMPURE) | (calls & IMPURE_CALLS)


def _prefixes(name: str) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        yield name


@cache
def modules() -> dict[str, ast.AST]:
    """All of imgsec but its own first file, by name, without imgsec in front."""
    found = {}
    for path in sorted((ROOT / "imgsec").rglob("*.py")):
        parts = path.relative_to(ROOT / "imgsec").with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name:
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def test_arrows_run_down_only() -> None:
    found = {
        crossing for name, tree in modules().items() for crossing in crossed(name, imports_of(tree))
    }
    assert found - set(EXCEPTIONS) == set(), "imported from a layer that it must not know"
    assert set(EXCEPTIONS) - found == set(), "no exception any more: take it out"


def test_every_layer_has_its_place() -> None:
    assert {name.partition(".")[0] for name in modules()} == set(MAY_IMPORT)


def test_domain_is_pure() -> None:
    found = {
        name: uses
        for name, tree in modules().items()
        if name.partition(".")[0] == "domain" and (uses := impure(tree))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("module", "line", "other"),
    [
        ("domain.x", "from imgsec.config import Settings", "config"),
        ("domain.x", "import imgsec.adapters.files", "adapters"),
        ("operations.x", "from imgsec import wiring", "wiring"),
        ("operations.x", "def f():\n    from imgsec.adapters.clock import SystemClock", "adapters"),
        (
            "adapters.x",
            "if TYPE_CHECKING:\n    from imgsec.operations import scan_gate",
            "operations",
        ),
        ("render.x", "from imgsec.wiring import wire", "wiring"),
        ("cli.x", "from imgsec.adapters import files", "adapters"),
        ("cli.x", "from imgsec.sandbox import folder", "sandbox"),
        ("wiring", "from imgsec.cli.output import Answer", "cli"),
    ],
)
def test_crossing_is_seen_wherever_it_stands(module: str, line: str, other: str) -> None:
    assert crossed(module, imports_of(ast.parse(line))) == {(module, other)}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("import os.path", "os"),
        ("from pathlib import Path", "pathlib"),
        ("from urllib.request import urlopen", "urllib.request"),
        ("from urllib import request", "urllib.request"),
        ("def f():\n    return datetime.now(UTC)", "datetime.now"),
        ("text = open('x').read()", "open"),
    ],
)
def test_what_is_not_pure_is_seen(line: str, what: str) -> None:
    assert impure(ast.parse(line)) == {what}
    assert impure(ast.parse("from urllib.parse import quote\nimport re")) == set()
