# SPDX-License-Identifier: Apache-2.0
"""`imgsec sandbox`: a registry, a KMS, a token service and an advisor on this machine only."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from imgsec.sandbox.folder import StateFolder

app = typer.Typer(
    name="sandbox",
    help="Run a registry, a KMS, a token service and a vulnerability advisor on this machine, "
    "to try and to test imgsec. Loopback only; never for real keys.",
    no_args_is_help=True,
    add_completion=False,
)
faults_app = typer.Typer(
    name="faults", help="Let a service of the sandbox go wrong.", no_args_is_help=True
)
app.add_typer(faults_app)

# Listed here too, so that help needs nothing of the sandbox; a test compares.
_KINDS = (
    "429, 500, 503, 500-after, slow, hang, cut, refuse, malformed, html; iam, kms, va: "
    "expired-token; kms: wrong-payload; registry: wrong-digest, wrong-bytes, no-extension, bearer, "
    "signatures-403, signatures-500. docs/sandbox.md tells what each does."
)

DirOpt = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        envvar="IMGSEC_SANDBOX_DIR",
        metavar="DIR",
        help="Folder of the sandbox's state. Default: imgsec/sandbox in $XDG_STATE_HOME.",
    ),
]
ScenarioOpt = Annotated[
    Path | None,
    typer.Option(
        "--scenario",
        envvar="IMGSEC_SANDBOX_SCENARIO",
        metavar="FILE",
        help="YAML file that says what the advisor finds in which image.",
    ),
]
LifetimeOpt = Annotated[
    int | None,
    typer.Option(
        "--token-lifetime",
        envvar="IMGSEC_SANDBOX_TOKEN_LIFETIME",
        metavar="SECONDS",
        min=1,
        help="Seconds that an access token is good for. Default: 3600.",
    ),
]
RestoreOpt = Annotated[
    int | None,
    typer.Option(
        "--restore-wait",
        envvar="IMGSEC_SANDBOX_RESTORE_WAIT",
        metavar="SECONDS",
        min=0,
        help="Seconds before a deleted key can be restored. Default: 30.",
    ),
]
AliasWaitOpt = Annotated[
    int | None,
    typer.Option(
        "--alias-wait",
        envvar="IMGSEC_SANDBOX_ALIAS_WAIT",
        metavar="SECONDS",
        min=0,
        help="Seconds before an alias that was taken from a key is free. Default: 5.",
    ),
]


@app.command("up")
def up(
    directory: DirOpt = None,
    scenario: ScenarioOpt = None,
    token_lifetime: LifetimeOpt = None,
    restore_wait: RestoreOpt = None,
    alias_wait: AliasWaitOpt = None,
    new_ports: Annotated[
        bool,
        typer.Option(
            "--new-ports",
            envvar="IMGSEC_SANDBOX_NEW_PORTS",
            help="Choose other ports than before.",
        ),
    ] = False,
) -> None:
    """Start the sandbox and come back when every service answers.

    Example: imgsec sandbox up && eval "$(imgsec sandbox env)"
    """
    from imgsec.sandbox import lifecycle
    from imgsec.sandbox.folder import default_directory

    options = lifecycle.Options(
        scenario,
        _settings(token_lifetime=token_lifetime, restore_wait=restore_wait, alias_wait=alias_wait),
        new_ports,
    )
    sandbox, started = lifecycle.up(directory or default_directory(), options)
    word = "ready" if started else "running already"
    typer.echo(
        f"sandbox {word}: registry {sandbox.registry}, state in {sandbox.folder.root}", err=True
    )


@app.command("down")
def down(
    directory: DirOpt = None,
    purge: Annotated[
        bool, typer.Option("--purge", help="Remove the state too: images, keys, signatures.")
    ] = False,
) -> None:
    """End the sandbox. Its data stays for the next `up`, unless --purge is given."""
    from imgsec.sandbox import lifecycle
    from imgsec.sandbox.folder import default_directory

    directory = directory or default_directory()
    was_running = lifecycle.down(directory, purge=purge)
    word = "stopped" if was_running else "was not running"
    removed = purge and not directory.exists()
    typer.echo(f"sandbox {word}{', state removed' if removed else ''}", err=True)


@app.command("status")
def status(
    directory: DirOpt = None,
    output: Annotated[
        str,
        typer.Option(
            "--output", envvar="IMGSEC_SANDBOX_OUTPUT", metavar="FORMAT", help="text or json."
        ),
    ] = "text",
) -> None:
    """Say whether the sandbox runs: exit 0 if every service answers, else 3."""
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION
    from imgsec.sandbox import lifecycle
    from imgsec.sandbox.folder import default_directory

    if output not in ("text", "json"):
        raise ImgsecError(INVALID_OPTION("--output is text or json."))
    found = lifecycle.status(directory or default_directory())
    if output == "json":
        typer.echo(json.dumps(found.to_json(), indent=2))
    else:
        typer.echo(f"{found.state}: {found.directory}")
        for service in found.services:
            typer.echo(f"  {service['name']:<9}{service['url']}")
        for name, pid in found.processes.items():
            typer.echo(f"  {name:<16}pid {pid}")
        if found.reason:
            typer.echo(f"  {found.reason}")
    if found.state != "running":
        raise typer.Exit(3)


@app.command("env")
def env(
    directory: DirOpt = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            envvar="IMGSEC_SANDBOX_FORMAT",
            metavar="FORMAT",
            help="shell, json or dotenv.",
        ),
    ] = "shell",
) -> None:
    """Print the environment that makes imgsec and skopeo use the sandbox.

    Example: eval "$(imgsec sandbox env)"
    """
    from imgsec.sandbox import environment, lifecycle
    from imgsec.sandbox.folder import default_directory

    sandbox = lifecycle.find(directory or default_directory())
    typer.echo(environment.render(sandbox.environment, form))


@app.command(
    "run", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False}
)
def run(
    command: Annotated[list[str], typer.Argument(metavar="-- CMD...", help="What to run.")],
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            envvar="IMGSEC_SANDBOX_RUN_DIR",
            metavar="DIR",
            help="Keep the state in this folder. Default: a temporary one.",
        ),
    ] = None,
    scenario: ScenarioOpt = None,
    token_lifetime: LifetimeOpt = None,
    restore_wait: RestoreOpt = None,
    alias_wait: AliasWaitOpt = None,
) -> None:
    """Run CMD in a sandbox of its own, and end with CMD's exit code.

    Example: imgsec sandbox run -- sh -c 'skopeo inspect docker://$IMGSEC_SANDBOX_REGISTRY/app:1'
    """
    from imgsec.sandbox.lifecycle import Options
    from imgsec.sandbox.running import run_inside

    options = Options(
        scenario,
        _settings(token_lifetime=token_lifetime, restore_wait=restore_wait, alias_wait=alias_wait),
    )
    sys.stdout.flush()
    raise typer.Exit(run_inside(command, directory, options))


@faults_app.command("set")
def set_fault(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="iam, kms, va or registry.")],
    kind: Annotated[str, typer.Argument(metavar="KIND", help=_KINDS)],
    directory: DirOpt = None,
    count: Annotated[
        int | None, typer.Option("--count", min=1, metavar="N", help="So many times, then no more.")
    ] = None,
    every: Annotated[
        int, typer.Option("--every", min=1, metavar="N", help="Only each n-th request.")
    ] = 1,
    path: Annotated[
        str | None,
        typer.Option(
            "--path", metavar="REGEX", help="Only paths that this regular expression finds."
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option("--method", metavar="METHOD", help="Only this HTTP method.")
    ] = None,
    retry_after: Annotated[
        int, typer.Option("--retry-after", min=0, metavar="SECONDS", help="Seconds, for 429.")
    ] = 1,
    delay: Annotated[
        float, typer.Option("--delay", min=0, metavar="SECONDS", help="Seconds, for slow.")
    ] = 2.0,
) -> None:
    """Let requests to SERVICE go wrong from now on. Also before `up`.

    Example: imgsec sandbox faults set kms 429 --count 2
    """
    from imgsec.sandbox.faults import set_rule

    given = {
        "kind": kind,
        "count": count,
        "every": every,
        "path": path,
        "method": method,
        "retry_after": retry_after,
        "delay": delay,
    }
    set_rule(_folder(directory), service, given)


@faults_app.command("clear")
def clear_faults(
    service: Annotated[
        str | None, typer.Argument(metavar="[SERVICE]", help="Default: all services.")
    ] = None,
    directory: DirOpt = None,
) -> None:
    """Let SERVICE, or all of them, work again."""
    from imgsec.sandbox.faults import clear_rules

    clear_rules(_folder(directory), service)


@faults_app.command("list")
def list_faults(directory: DirOpt = None) -> None:
    """Print the faults that are set, as JSON."""
    from imgsec.sandbox.faults import load_rules

    rules = load_rules(_folder(directory))
    value = {name: [rule.to_json() for rule in items] for name, items in rules.items()}
    typer.echo(json.dumps(value, indent=2))


def _folder(directory: Path | None) -> StateFolder:
    from imgsec.sandbox.folder import StateFolder, default_directory

    folder = StateFolder((directory or default_directory()).resolve())
    folder.open()
    return folder


def _settings(**given: int | None) -> dict[str, int]:
    return {name: value for name, value in given.items() if value is not None}
