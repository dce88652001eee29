# SPDX-License-Identifier: Apache-2.0
"""The command line: which commands there are, and in which order their help shows them.

A command's module is imported when it is asked for: every run would pay for all of them, and there
are more and more.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import typer

from imgsec import __version__
from imgsec.cli.help import paragraphs

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

_STORY = "The story"
_POLICIES = "Policies"
_OVERVIEW = "Overview"
_KEYS = "Keys"
_EXEMPTIONS = "Exemptions"
_TRY = "Try it here"
# Name -> the panel of its help. The module has the name; in it is a function, or a group.
_COMMANDS = {
    "setup-signing-keys": _STORY,
    "resolve": _STORY,
    "scan-gate": _STORY,
    "sign-image": _STORY,
    "verify-image": _STORY,
    "release-image": _STORY,
    "publish-policy": _STORY,
    "admit": _STORY,
    "policy": _POLICIES,
    "images": _OVERVIEW,
    "keys": _KEYS,
    "exemptions": _EXEMPTIONS,
    "doctor": _TRY,
    "demo": _TRY,
    "sandbox": _TRY,
}


class _Commands(Mapping[str, Any]):
    """The commands by name, each made when it is first looked up."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _command(name, _COMMANDS[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


def _command(name: str, panel: str) -> Any:
    """One command, or one group of commands, as the framework runs it."""
    word = name.replace("-", "_")
    module = importlib.import_module(f"imgsec.cli.{word}")
    own = getattr(module, "app", None)
    if own is None:
        own = typer.Typer(add_completion=False, rich_markup_mode="rich")
        function = getattr(module, word)
        own.command(name, help=paragraphs(function))(function)
    command: Any = typer.main.get_command(own)
    command.name, command.rich_help_panel = name, panel
    return command


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"imgsec {__version__}")
        raise typer.Exit


def imgsec(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Scan, sign and enforce container images.

    One digest goes through the whole story: resolve it, gate it on its scan, sign it, verify it,
    predict what the cluster decides, publish the policy that demands the signature.

    Every command ends in 0 (pass), 1 (refused), 2 (usage), 3 (undecided: no answer could be
    reached) or 70 (a bug in imgsec).
    """


app.callback(help=paragraphs(imgsec))(imgsec)


def command_line() -> Callable[..., Any]:
    """The command to run: takes ``args`` and ``standalone_mode``."""
    group: Any = typer.main.get_command(app)
    group.commands = _Commands()
    return group  # type: ignore[no-any-return]
