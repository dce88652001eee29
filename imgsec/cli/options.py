# SPDX-License-Identifier: Apache-2.0
"""The options that commands share, named once, with their environment twins.

An option that several commands share is read from ``IMGSEC_<OPTION>`` too, one that only one
command has from ``IMGSEC_<COMMAND>_<OPTION>``; the names that older scripts and pipelines use come
last. Options that loosen a check have no twin: whoever loosens it says so where it can be seen.
"""

from __future__ import annotations

import inspect
import os
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgsec.cli.output import DEFAULT_FORMATS, Outputs, finish
from imgsec.config import (
    DEFAULT_IAM_URL,
    DEFAULT_KMS_URL,
    DEFAULT_METADATA_URL,
    DEFAULT_TIMEOUT_SECONDS,
    Settings,
)

if TYPE_CHECKING:
    from imgsec.domain.verdict import Note

_CONNECTION = "Connection"
_KEY = "Key"
_OUTPUT = "Output"
_TIME = "Limits"


def shared(name: str, *more: str, help: str, panel: str = _CONNECTION, **rest: Any) -> Any:
    """An option that several commands have. more: further environment names, in order."""
    twin = "IMGSEC_" + name.removeprefix("--").replace("-", "_").upper()
    return typer.Option(name, envvar=[twin, *more], help=help, rich_help_panel=panel, **rest)


def own(command: str, name: str, *more: str, help: str, **rest: Any) -> Any:
    """An option of one command."""
    words = f"{command}_{name.partition('/')[0].removeprefix('--')}"
    twin = "IMGSEC_" + words.replace("-", "_").upper()
    return typer.Option(name, envvar=[twin, *more], help=help, **rest)


def loosening(name: str, *, help: str, panel: str = _CONNECTION, **rest: Any) -> Any:
    """An option that loosens a check: no environment twin, and every verdict records it."""
    return typer.Option(name, help=help, rich_help_panel=panel, **rest)


def from_shared_variables(context: typer.Context, command: str) -> frozenset[str]:
    """The options that only a variable says, and one that other commands read, too.

    A pipeline sets those once for all its steps: where one does not apply, nobody asked for it.
    """
    mine = f"IMGSEC_{command.replace('-', '_').upper()}_"
    found: set[str] = set()
    for one in context.command.params:
        source = context.get_parameter_source(one.name) if one.name else None
        if source is not None and source.name == "ENVIRONMENT":
            twins = [one.envvar] if isinstance(one.envvar, str) else one.envvar or ()
            if not any(twin.startswith(mine) for twin in twins):
                found |= {*one.opts, *one.secondary_opts}
    return frozenset(found)


Option = tuple[Any, Any]  # the annotated type, and the default


@dataclass(frozen=True, slots=True)
class OptionGroup:
    """Options that a command gets as one value. kind: made of them; name: of its parameter."""

    kind: type
    name: str
    options: dict[str, Option]


IAM: dict[str, Option] = {
    "api_key_file": (
        Annotated[
            str | None,
            shared(
                "--api-key-file",
                metavar="FILE",
                help="File with the IAM API key.",
            ),
        ],
        None,
    ),
    "iam_profile": (
        Annotated[
            str | None,
            shared(
                "--iam-profile",
                metavar="ID-OR-NAME",
                help="Trusted profile to use instead of an API key.",
            ),
        ],
        None,
    ),
    "cr_token_file": (
        Annotated[
            str | None,
            shared(
                "--cr-token-file",
                metavar="FILE",
                help="Projected service account token for the trusted profile.",
            ),
        ],
        None,
    ),
    "iam_token_file": (
        Annotated[
            str | None,
            shared(
                "--iam-token-file",
                metavar="FILE",
                help="File with an IAM token that another step obtained.",
            ),
        ],
        None,
    ),
    "vpc_instance": (
        Annotated[
            bool,
            shared(
                "--vpc-instance",
                help="Use the identity of this VPC virtual server; --iam-profile names a profile.",
            ),
        ],
        False,
    ),
    "vpc_metadata_url": (
        Annotated[str, shared("--vpc-metadata-url", metavar="URL", help="Its metadata service.")],
        DEFAULT_METADATA_URL,
    ),
    "iam_url": (
        Annotated[str, shared("--iam-url", metavar="URL", help="IAM, public or private.")],
        DEFAULT_IAM_URL,
    ),
    "trust_hosts": (
        Annotated[
            list[str] | None,
            loosening(
                "--trust-host",
                metavar="HOST",
                help="A further host that may be sent the IAM token. Repeatable, recorded.",
            ),
        ],
        None,
    ),
}

KMS: dict[str, Option] = {
    "kms_url": (
        Annotated[
            str,
            shared(
                "--kms-url",
                "VAULT_URL",
                metavar="URL",
                help="Key Protect or Hyper Protect Crypto Services, public or private.",
            ),
        ],
        DEFAULT_KMS_URL,
    ),
    "kms_instance": (
        Annotated[
            str | None,
            shared(
                "--kms-instance",
                "VAULT_INSTANCE_ID",
                metavar="UUID-OR-CRN",
                help="The KMS instance.",
            ),
        ],
        None,
    ),
    "kms_key_ring": (
        Annotated[
            str | None, shared("--kms-key-ring", metavar="RING", help="The key ring of the key.")
        ],
        None,
    ),
}

PASSPHRASE: dict[str, Option] = {
    "passphrase_file": (
        Annotated[
            str | None,
            shared(
                "--passphrase-file",
                metavar="FILE",
                panel=_KEY,
                help="File with the secret key's passphrase, if it has one.",
            ),
        ],
        None,
    ),
    "passphrase_fd": (
        Annotated[
            int | None,
            shared(
                "--passphrase-fd",
                metavar="NUMBER",
                min=0,
                panel=_KEY,
                help="Open descriptor to read the passphrase from, instead of a file.",
            ),
        ],
        None,
    ),
}

NETWORK: dict[str, Option] = {
    "ca_file": (
        Annotated[
            str | None,
            shared(
                "--ca-file",
                "SSL_CERT_FILE",
                metavar="FILE",
                help="CA certificates to trust instead of the usual ones (PEM).",
            ),
        ],
        None,
    ),
}

REGISTRY: dict[str, Option] = {
    "authfile": (
        Annotated[
            str | None,
            shared(
                "--authfile",
                "REGISTRY_AUTH_FILE",
                metavar="FILE",
                help="Registry credentials (auth.json, or Docker's config.json).",
            ),
        ],
        None,
    ),
    "auth_realms": (
        Annotated[
            list[str] | None,
            loosening(
                "--auth-realm",
                metavar="HOST",
                help="A further host that may be sent registry credentials. Repeatable, recorded.",
            ),
        ],
        None,
    ),
}

SIGNATURES: dict[str, Option] = {
    "lookaside": (
        Annotated[
            str | None,
            shared(
                "--lookaside",
                metavar="DIR|URL",
                help="Signatures of registries that keep none: a folder, or where it is published.",
            ),
        ],
        None,
    ),
    "lookaside_staging": (
        Annotated[
            str | None,
            shared(
                "--lookaside-staging",
                metavar="DIR",
                help="With --lookaside URL: the folder of new signatures, to be published there.",
            ),
        ],
        None,
    ),
}

ADVISOR: dict[str, Option] = {
    "account": (
        Annotated[
            str | None,
            shared(
                "--account",
                metavar="ID",
                help="Account to ask for; by default the one that the token speaks for.",
            ),
        ],
        None,
    ),
}

ToolsDirOpt = Annotated[
    str | None,
    shared(
        "--tools-dir",
        metavar="DIR",
        help="Where gpg, kubectl, skopeo and others are looked for first; PATH is never searched.",
    ),
]
TOOLS: dict[str, Option] = {"tools_dir": (ToolsDirOpt, None)}

CLUSTER: dict[str, Option] = {
    "kubeconfig": (
        Annotated[
            str | None,
            shared("--kubeconfig", "KUBECONFIG", metavar="FILE", help="kubectl's configuration."),
        ],
        None,
    ),
    "context": (
        Annotated[str | None, shared("--context", metavar="NAME", help="kubectl's context.")],
        None,
    ),
}

TIMEOUT: dict[str, Option] = {
    "timeout": (
        Annotated[
            int,
            shared(
                "--timeout",
                metavar="SECONDS",
                min=1,
                max=86_400,
                panel=_TIME,
                help="Time limit for the whole command, in seconds.",
            ),
        ],
        DEFAULT_TIMEOUT_SECONDS,
    ),
}

_OUTPUT_OPTIONS: dict[str, Option] = {
    "github_output": (
        Annotated[
            str | None,
            shared(
                "--github-output",
                "GITHUB_OUTPUT",
                metavar="FILE",
                panel=_OUTPUT,
                help="Append the results for the next GitHub Actions step.",
            ),
        ],
        None,
    ),
    "github_step_summary": (
        Annotated[
            str | None,
            shared(
                "--github-step-summary",
                "GITHUB_STEP_SUMMARY",
                metavar="FILE",
                panel=_OUTPUT,
                help="Append a summary in Markdown.",
            ),
        ],
        None,
    ),
    "verbose": (
        Annotated[
            bool,
            typer.Option(
                "--verbose",
                "-v",
                envvar=["IMGSEC_VERBOSE"],
                rich_help_panel=_OUTPUT,
                help="Explain each step.",
            ),
        ],
        False,
    ),
    "quiet": (
        Annotated[
            bool,
            typer.Option(
                "--quiet",
                "-q",
                envvar=["IMGSEC_QUIET"],
                rich_help_panel=_OUTPUT,
                help="Print nothing on success.",
            ),
        ],
        False,
    ),
}


def _output_options(formats: tuple[str, ...]) -> dict[str, Option]:
    """The options of every command; formats: what --output gives besides text and JSON."""
    listed = ", ".join([*DEFAULT_FORMATS, *formats][:-1])
    text = (
        f"{listed} or {(*DEFAULT_FORMATS, *formats)[-1]}, to standard output or a file. Repeatable."
    )
    output = Annotated[
        list[str] | None,
        shared("--output", metavar="FORMAT[=FILE]", panel=_OUTPUT, help=text),
    ]
    return {"output": (output, None), **_OUTPUT_OPTIONS}


def _result_option(result: str) -> Option:
    name = f"--result-{result}-file"
    text = f"Write the {result.replace('-', ' ')} to this file, as a Tekton result."
    kind = Annotated[str | None, shared(name, metavar="FILE", panel=_OUTPUT, help=text)]
    return kind, None


def with_options(
    *groups: dict[str, Option] | OptionGroup,
    results: tuple[str, ...] = (),
    formats: tuple[str, ...] = (),
    title: str | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add shared options to a command, which gets them as ``settings`` (and ``outputs``).

    groups: the connection options that the command needs, and those that it gets as a value of
    their own. results: the names that ``--result-NAME-file`` exists for. formats: what --output
    gives besides text and JSON. title: of the command in reports, if not its function's name.
    The command returns what it found; showing it and ending in
    the right code is done here, for all of them. Typer reads the wrapper's signature.
    """
    values_of = [group for group in groups if isinstance(group, OptionGroup)]
    settings_options = {
        name: option
        for group in groups
        if not isinstance(group, OptionGroup)
        for name, option in group.items()
    }
    settings_options |= TIMEOUT
    result_options = {
        f"result_{result.replace('-', '_')}_file": (result, _result_option(result))
        for result in results
    }

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        added = {
            **{name: option for group in values_of for name, option in group.options.items()},
            **settings_options,
            **_output_options(formats),
            **{name: option for name, (_, option) in result_options.items()},
        }
        hints = typing.get_type_hints(command, include_extras=True)
        wants_outputs = "outputs" in hints
        kept = [
            parameter.replace(annotation=hints[parameter.name], kind=parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(command).parameters.values()
            if parameter.name not in ("settings", "outputs", *(one.name for one in values_of))
        ]

        @wraps(command)
        def wrapper(**values: Any) -> Any:
            settings = Settings(**{name: _frozen(name, values[name]) for name in settings_options})
            files = {
                result: values[name] for name, (result, _) in result_options.items() if values[name]
            }
            outputs = Outputs(
                formats=tuple(values["output"] or ()),
                known=(*DEFAULT_FORMATS, *formats),
                result_files=files,
                github_output=values["github_output"],
                github_summary=values["github_step_summary"],
                inputs=tuple(_files_read(values, wrapper.__annotations__)),
                further=tuple(_files_written(values)),
                verbose=values["verbose"],
                quiet=values["quiet"],
            )
            told = (
                {"settings": settings, "outputs": outputs}
                if wants_outputs
                else {"settings": settings}
            )
            own_values = {parameter.name: values[parameter.name] for parameter in kept}
            own_values |= {
                group.name: group.kind(
                    **{name: _frozen(name, values[name]) for name in group.options}
                )
                for group in values_of
            }
            finish(
                title or command.__name__.replace("_", "-"),
                lambda: command(**own_values, **told),
                outputs=outputs,
                seconds=settings.timeout,
                notes=_loosened(values),
            )

        wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            kept
            + [
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind
                )
                for name, (kind, default) in added.items()
            ]
        )
        wrapper.__annotations__ = {
            **{parameter.name: parameter.annotation for parameter in kept},
            **{name: kind for name, (kind, _) in added.items()},
        }
        return wrapper

    return decorate


_WRITTEN = ("output", "github_output", "github_step_summary", "evidence")


def _files_written(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a command writes besides its report and results: what names it, and the file."""
    from imgsec.domain.reference import shown

    if path := values.get("evidence"):
        option = f"--evidence {shown(path)}"
        yield option, path
        yield f"the signature of {option}", f"{path}.asc"


def _files_read(values: dict[str, Any], kinds: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The files among the values of options: whatever is one, and is not to be written.

    kinds: the annotated types of the parameters.
    """
    from imgsec.domain.reference import shown

    for name, value in values.items():
        if name in _WRITTEN or name.startswith("result_"):
            continue
        for one in value if isinstance(value, list | tuple) else (value,):
            text = one.removeprefix("file:") if isinstance(one, str) else ""
            if os.path.isfile(text):
                yield f"{_known_as(kinds[name])} {shown(one)}", text


def _known_as(kind: Any) -> str:
    """What people know a parameter by: its option, or the word for an argument."""
    (parameter,) = kind.__metadata__
    name = parameter.default  # where Typer keeps the first name of an option until it is asked
    return str(name if isinstance(name, str) else parameter.metavar)


# Options that loosen a check -> the code and the text that every verdict records.
_LOOSENED = {
    "trust_hosts": ("trusted-host", "an IAM token may be sent to {}"),
    "auth_realms": ("trusted-auth-realm", "registry credentials may be sent to {}"),
    "allow_unchecked": ("allowed-unchecked", "{} may run unsigned"),
    "reserved_namespace": (
        "reserved-namespace",
        "what is in {} is taken as not sent to the engine",
    ),
    "allow_platform": ("allowed-platform", "what {} runs by itself may run unsigned"),
    "pruned": ("pruned", "{} may be removed, if imgsec made it and this run does not"),
    "sets": ("built-in-set", "the rules of {} are in it, as they were published"),
}


_LOOSENED_FLAGS = {
    "adopt": ("adopted", "what imgsec did not make may be taken over"),
    "accept_lockout": ("accepted-lockout", "images that run now may be refused"),
    "accept_laxer": ("accepted-laxer", "other rules may let in what these policies check"),
    "no_advisor": ("advisor-off", "Vulnerability Advisor was not asked"),
    "assume_pull_secrets": ("pull-secrets-assumed", "pull Secrets: own credentials stood in"),
    "signatures": ("no-registry-asked", "registries: a folder stood in for them"),
    "prune": ("pruned", "what the ledger does not have may be removed from the advisor"),
    "allow_past_effective_time": ("past-effective-time", "it may be judged for a day in the past"),
}


def _loosened(values: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    named = [
        (code, text.format(word))
        for name, (code, text) in _LOOSENED.items()
        for value in values.get(name) or ()
        for word in value.split()
    ]
    return (*named, *(note for name, note in _LOOSENED_FLAGS.items() if values.get(name)))


def loosened_notes(**values: Any) -> tuple[Note, ...]:
    """What verdicts record of options by their names and values."""
    from imgsec.domain.verdict import Note

    return tuple(Note(code, text) for code, text in _loosened(values))


_LISTS = ("trust_hosts", "auth_realms", "reports", "reserved_namespace")


def _frozen(name: str, value: Any) -> Any:
    return tuple(value or ()) if name in _LISTS else value


ImagesArg = Annotated[
    list[str] | None,
    typer.Argument(metavar="IMAGE...", help="registry/path:tag, with or without @sha256:digest."),
]


def workers_option(command: str) -> Any:
    """The option that says how many images are worked on at once."""
    text = "So many images at once, in processes of their own; else two for each core, up to 4."
    return own(command, "--workers", metavar="N", min=1, max=16, help=text)


def images_file_option(command: str) -> Any:
    """The option that names the images in a file, besides those on the command line."""
    text = "Further images, one on a line; # begins a comment."
    return own(command, "--images-file", metavar="FILE", help=text)


def _folder(text: str) -> Path:
    """Raises `typer.BadParameter` for no name, which is no other word for the folder one is in."""
    if not text.strip():
        raise typer.BadParameter("give the name of a folder; . is this one")
    return Path(text)


RenderOpt = Annotated[
    Path | None,
    shared(
        "--render",
        metavar="DIR",
        panel=_OUTPUT,
        help="Write manifests to this folder.",
        parser=_folder,
    ),
]
