# SPDX-License-Identifier: Apache-2.0
"""``imgsec policy``: is this policy what we mean, and what would it change?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from imgsec.cli.help import paragraphs
from imgsec.cli.policy_diff import policy_diff
from imgsec.cli.policy_import import policy_import
from imgsec.cli.policy_lint import policy_lint
from imgsec.cli.policy_rollback import policy_rollback

app = typer.Typer(
    name="policy",
    help="Check, compare and take over the policies of an admission engine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)
_COMMANDS: dict[str, Callable[..., Any]] = {
    "lint": policy_lint,
    "diff": policy_diff,
    "import": policy_import,
    "rollback": policy_rollback,
}

for _name, _command in _COMMANDS.items():
    app.command(_name, help=paragraphs(_command))(_command)
