# SPDX-License-Identifier: Apache-2.0
"""The options that describe a policy, which set-up and ``publish-policy`` share."""

from __future__ import annotations

from typing import Annotated

import typer

from imgsec.cli.options import loosening, shared

DEFAULT_POLICY_NAME = "imgsec-signed-images"
DEFAULT_KEY_SECRET = "portieris-image-signing-public-key"  # noqa: S105 - the name of a Secret
DEFAULT_KEY_NAMESPACE = "portieris"
_PANEL = "Policy"

RepositoryOpt = Annotated[
    list[str],
    shared(
        "--repository",
        metavar="PATTERN",
        panel=_PANEL,
        help="Images that must be signed, such as us.icr.io/team/*. Repeatable.",
    ),
]
UncheckedOpt = Annotated[
    list[str] | None,
    loosening(
        "--allow-unchecked",
        metavar="PATTERN",
        panel=_PANEL,
        help="Images that may run unsigned. What no rule names is denied. Repeatable, recorded.",
    ),
]
PolicyNameOpt = Annotated[
    str, shared("--policy-name", metavar="NAME", panel=_PANEL, help="Name of the policy object.")
]
KeySecretOpt = Annotated[
    str,
    shared("--key-secret", metavar="NAME", panel=_PANEL, help="Secret that holds the public key."),
]
KeyNamespaceOpt = Annotated[
    str,
    shared(
        "--key-secret-namespace",
        metavar="NAMESPACE",
        panel=_PANEL,
        help="Its namespace: one that application teams cannot edit.",
    ),
]
MutateOpt = Annotated[
    bool,
    typer.Option(
        "--mutate-image/--no-mutate-image",
        envvar=["IMGSEC_MUTATE_IMAGE"],
        rich_help_panel=_PANEL,
        help="Whether the cluster replaces a tag by the digest that it verified.",
    ),
]
