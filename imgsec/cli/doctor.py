# SPDX-License-Identifier: Apache-2.0
"""``imgsec doctor``: will it work here?"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Annotated

import typer

from imgsec.cli.options import (
    ADVISOR,
    CLUSTER,
    IAM,
    KMS,
    NETWORK,
    REGISTRY,
    SIGNATURES,
    TOOLS,
    own,
    with_options,
)
from imgsec.cli.output import Answer
from imgsec.cli.policies import (
    DEFAULT_KEY_NAMESPACE,
    DEFAULT_KEY_REFERENCE,
    DEFAULT_KEY_SECRET,
    KeyNamespaceOpt,
    KeySecretOpt,
    ReferenceNamespaceOpt,
    ReferenceOpt,
    reference_of,
)
from imgsec.config import Settings

if TYPE_CHECKING:  # imported where they are used: --help needs none of them
    from imgsec.domain.policy import KeySecret
    from imgsec.domain.reference import ImageReference
    from imgsec.operations.examine import Look
    from imgsec.wiring import World


class Purpose(StrEnum):
    """What it is meant to work for."""

    SIGN = "sign"
    GATE = "gate"
    PUBLISH = "publish"
    SCAN = "scan"
    COPY = "copy"
    PUSH = "push"


_TOOLS = {
    Purpose.SIGN: ("gpg", "gpgv", "gpg-agent", "gpg-connect-agent"),
    Purpose.GATE: (),
    Purpose.PUBLISH: ("kubectl",),
    Purpose.SCAN: ("kubectl",),
    Purpose.COPY: ("skopeo",),
    Purpose.PUSH: ("buildah",),
}
_USUAL = (Purpose.SIGN, Purpose.GATE, Purpose.PUBLISH, Purpose.SCAN)
ImageArg = Annotated[
    str | None,
    typer.Argument(metavar="[IMAGE]", help="An image to try registry and advisor with."),
]
ForOpt = Annotated[
    list[Purpose] | None,
    own(
        "doctor",
        "--for",
        help="What it is to work for. Repeatable. By default: sign, gate, publish, scan. copy and"
        " push are for sign-image --to and --from-storage.",
    ),
]
KeyOpt = Annotated[
    str | None,
    own("doctor", "--key", "VAULT_KEY_ID", metavar="KEY", help="The signing key: alias or id."),
]


@with_options(
    IAM, KMS, REGISTRY, SIGNATURES, ADVISOR, CLUSTER, NETWORK, TOOLS, results=("verdict",)
)
def doctor(
    image: ImageArg = None,
    *,
    purpose: ForOpt = None,
    key: KeyOpt = None,
    key_secret: KeySecretOpt = DEFAULT_KEY_SECRET,
    key_secret_namespace: KeyNamespaceOpt = DEFAULT_KEY_NAMESPACE,
    key_reference_secret: ReferenceOpt = DEFAULT_KEY_REFERENCE,
    key_reference_namespace: ReferenceNamespaceOpt = None,
    settings: Settings,
) -> Answer:
    """Will it work here? Looks at tools, storage, credentials, roles, key, registry and cluster.

    Reads only, and prints no secret: its answer can be pasted into a ticket. One line each, ok or
    problem, with the next step.

    Example: imgsec doctor --for sign --key release us.icr.io/team/app:1.0
    """
    from imgsec.domain.keys import KeyLocation
    from imgsec.domain.policy import KeySecret, Namespace, ObjectName
    from imgsec.domain.reference import ImageReference
    from imgsec.domain.report import Report
    from imgsec.errors import ImgsecError
    from imgsec.operations.examine import examine
    from imgsec.reasons import INVALID_OPTION
    from imgsec.wiring import wire

    wanted = tuple(dict.fromkeys(purpose or _USUAL))
    reference = ImageReference.parse(image).require_version() if image else None
    serves = {Purpose.SIGN, Purpose.GATE, Purpose.SCAN} & set(wanted)
    if reference is not None and not serves:
        raise ImgsecError(INVALID_OPTION("an image is tried for sign, gate or scan"))
    name = None
    if key:
        location = key if key.startswith("kms:") else f"kms://{key}"
        name = KeyLocation.parse(location, allowed=("kms",)).name
    secret = KeySecret(ObjectName.parse(key_secret), Namespace.parse(key_secret_namespace))
    with wire(settings) as world:
        looks = [*_looks_at_tools(world, wanted)]
        if serves:
            looks += _looks_at_services(world, wanted, name, reference)
        if {Purpose.PUBLISH, Purpose.SCAN} & set(wanted):
            publishes = secret if Purpose.PUBLISH in wanted else None
            named = reference_of(
                key_reference_secret, key_reference_namespace, key_secret_namespace
            )
            looks += _looks_at_cluster(world, publishes, named, name)
        checks, verdict = examine(looks)
    return Answer(Report("doctor", verdict, checks=checks))


def _looks_at_tools(world: World, wanted: tuple[Purpose, ...]) -> Iterator[tuple[str, Look]]:
    from imgsec.operations.examine import look_at_version

    def version(tool: str) -> str:
        path, printed = world.tool_version(tool)
        return f"{look_at_version(tool, printed)}, {path}"

    for tool in dict.fromkeys(name for purpose in wanted for name in _TOOLS[purpose]):
        yield tool, lambda tool=tool: version(tool)  # type: ignore[misc]
    if Purpose.SIGN in wanted:
        yield "private directory", world.describe_storage


def _looks_at_services(
    world: World,
    wanted: tuple[Purpose, ...],
    key: str | None,
    image: ImageReference | None,
) -> Iterator[tuple[str, Look]]:
    from imgsec.operations import examine

    yield "credential", world.describe_credential
    yield "IAM", world.describe_account
    if Purpose.SIGN in wanted:
        yield (
            "KMS",
            lambda: (
                f"{sum(1 for _ in world.kms.list_keys())} keys, in {world.kms.address[1]}"
                + ("" if key else "; whether one can be read is tried with --key")
            ),
        )
        if key is not None:
            yield (
                "signing key",
                lambda: examine.look_at_key(key, world.kms, world.keyring, world.clock.now()),
            )
    if image is not None:
        yield (
            "registry",
            lambda: examine.look_at_registry(image, world.registry, signs=Purpose.SIGN in wanted),
        )
        if {Purpose.GATE, Purpose.SCAN} & set(wanted):
            yield (
                "advisor",
                lambda: examine.look_at_advisor(image, world.registry, world.advisor),
            )


def _looks_at_cluster(
    world: World, secret: KeySecret | None, reference: KeySecret, key: str | None
) -> Iterator[tuple[str, Look]]:
    from imgsec.operations import examine

    # Made when it is looked at: where it cannot be, that is what each line says.
    cluster = cache(lambda: world.cluster(dry_run=True))
    yield "cluster", lambda: cluster().describe()
    yield "Portieris", lambda: cluster().describe_policies()
    if secret is None:
        return

    def named() -> str:
        """Of the key that was asked about, if one was, or of whatever it names."""
        key_id = world.kms.find_key(key).id if key is not None else None
        return examine.look_at_reference(reference, cluster(), key_id)

    yield "public key", lambda: examine.look_at_key_secret(secret, cluster())
    yield "key reference", named
