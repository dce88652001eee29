# SPDX-License-Identifier: Apache-2.0
"""The options that describe a policy, which set-up and ``publish-policy`` share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from imgsec.cli.options import loosening, shared

if TYPE_CHECKING:  # imported where it is used: --help needs none of it
    from imgsec.domain.policy import ImagePolicy, KeySecret
    from imgsec.domain.reference import RepositoryPattern

DEFAULT_POLICY_NAME = "imgsec-signed-images"
DEFAULT_KEY_SECRET = "portieris-image-signing-public-key"  # noqa: S105 - the name of a Secret
DEFAULT_KEY_NAMESPACE = "portieris"
DEFAULT_KEY_REFERENCE = "portieris-keys"
_PANEL = "Policy"

_REPOSITORY = shared(
    "--repository",
    metavar="PATTERN",
    panel=_PANEL,
    help="Images that must be signed, such as us.icr.io/team/*. Repeatable, or with spaces.",
)
RepositoryOpt = Annotated[list[str], _REPOSITORY]
RepositoriesOpt = Annotated[list[str] | None, _REPOSITORY]
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
ReferenceOpt = Annotated[
    str,
    shared(
        "--key-reference-secret",
        metavar="NAME",
        panel=_PANEL,
        help="Secret that tells pipelines which key signs.",
    ),
]
ReferenceNamespaceOpt = Annotated[
    str | None,
    shared(
        "--key-reference-namespace",
        metavar="NAMESPACE",
        panel=_PANEL,
        help="Its namespace, where pipelines read it. By default --key-secret-namespace.",
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


AdoptOpt = Annotated[
    bool,
    loosening(
        "--adopt",
        help="Take over what imgsec did not make: objects of these names, an older set-up's key."
        " Recorded.",
    ),
]


def reference_of(name: str, namespace: str | None, otherwise: str) -> KeySecret:
    """The Secret that tells pipelines which key signs; otherwise: its namespace by default."""
    from imgsec.domain.policy import KeySecret, Namespace, ObjectName

    return KeySecret(ObjectName.parse(name), Namespace.parse(namespace or otherwise))


def policy_of(
    *,
    repository: list[str],
    allow_unchecked: list[str] | None,
    policy_name: str,
    key_secret: str,
    key_secret_namespace: str,
    mutate_image: bool,
    namespace: str | None = None,
) -> ImagePolicy:
    """The policy that the options describe; one for a namespace is an ImagePolicy."""
    from imgsec.domain.policy import ImagePolicy, KeySecret, Namespace, ObjectName, PolicyKind

    return ImagePolicy(
        name=ObjectName.parse(policy_name),
        kind=PolicyKind.NAMESPACED if namespace else PolicyKind.CLUSTER,
        signed=_patterns(repository),
        unchecked=_patterns(allow_unchecked or []),
        key_secret=KeySecret(ObjectName.parse(key_secret), Namespace.parse(key_secret_namespace)),
        namespace=Namespace.parse(namespace) if namespace else None,
        mutate_image=mutate_image,
    )


def _patterns(values: list[str]) -> tuple[RepositoryPattern, ...]:
    """One value may hold several, with spaces between: a pipeline's parameter is one text."""
    from imgsec.domain.reference import RepositoryPattern

    return tuple(RepositoryPattern.parse(text) for value in values for text in value.split())
