# SPDX-License-Identifier: Apache-2.0
"""The command line: which commands there are, and in which order their help shows them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any

import typer

from imgsec import __version__
from imgsec.cli import (
    demo,
    keys,
    publish_policy,
    resolve,
    sandbox,
    scan_gate,
    setup_signing_keys,
    sign_image,
    verify_image,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

_STORY = "The story"
_TRY = "Try it here"


def _help(command: Callable[..., Any]) -> str:
    """A docstring as help: one line per paragraph, for the terminal to wrap."""
    paragraphs = re.split(r"\n{2,}", inspect.cleandoc(command.__doc__ or ""))
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)


_KEYS = "Keys"
for _group, _command in (
    (keys.app, keys.keys_list),
    (keys.app, keys.keys_show),
    (keys.app, keys.keys_check),
    (keys.app, keys.keys_copy),
    (keys.app, keys.keys_import),
    (keys.app, keys.keys_export),
):
    _group.command(_command.__name__.partition("_")[2].replace("_", "-"), help=_help(_command))(
        _command
    )

for _panel, _command in (
    (_STORY, setup_signing_keys.setup_signing_keys),
    (_STORY, resolve.resolve),
    (_STORY, scan_gate.scan_gate),
    (_STORY, sign_image.sign_image),
    (_STORY, verify_image.verify_image),
    (_STORY, publish_policy.publish_policy),
    (_TRY, demo.demo),
):
    app.command(_command.__name__.replace("_", "-"), help=_help(_command), rich_help_panel=_panel)(
        _command
    )
app.add_typer(keys.app, name="keys", rich_help_panel=_KEYS)
app.add_typer(sandbox.app, name="sandbox", rich_help_panel=_TRY)


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
    publish the policy that demands the signature.

    Every command ends in 0 (pass), 1 (refused), 2 (usage), 3 (undecided: no answer could be
    reached) or 70 (a bug in imgsec).
    """


app.callback(help=_help(imgsec))(imgsec)


def command_line() -> Callable[..., Any]:
    """The command to run: takes ``args`` and ``standalone_mode``."""
    return typer.main.get_command(app)
