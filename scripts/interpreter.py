# SPDX-License-Identifier: Apache-2.0
"""Which Python a script of the project runs with: one that has the packages it needs."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"


def require_packages(*names: str) -> None:
    """Go on only with these packages: start again with .venv's Python, or end in 2 without it."""
    missing = [name for name in names if find_spec(name) is None]
    if not missing:
        return
    inside = VENV / "bin" / "python"
    if inside.exists() and Path(sys.prefix) != VENV:
        os.execv(inside, [str(inside), *sys.argv])  # noqa: S606 - the project's own interpreter
    sys.stderr.write(
        f"{Path(sys.argv[0]).name}: no Python package {', '.join(missing)}; ./scripts/test makes a"
        " .venv that has all of them\n"
    )
    sys.exit(2)
