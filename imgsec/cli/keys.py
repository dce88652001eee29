# SPDX-License-Identifier: Apache-2.0
"""``imgsec keys``: which signing keys exist, how long, and who accepts them?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgsec.cli.options import (
    CLUSTER,
    IAM,
    KMS,
    NETWORK,
    TOOLS,
    own,
    shared,
    with_options,
)
from imgsec.cli.output import Answer
from imgsec.config import Settings

if TYPE_CHECKING:  # imported where they are used: --help needs none of them
    from imgsec.ports import PublishedReader
    from imgsec.wiring import World

app = typer.Typer(
    name="keys",
    help="List the signing keys, show one, and check who accepts it. Public halves only.",
    no_args_is_help=True,
)

_PUBLISHED = "Where it is published"
ManifestsOpt = Annotated[
    Path | None,
    shared(
        "--manifests",
        metavar="DIR",
        panel=_PUBLISHED,
        help="Look for Secrets and policies in this folder of manifests.",
    ),
]
InClusterOpt = Annotated[
    bool,
    shared(
        "--in-cluster",
        panel=_PUBLISHED,
        help="Look for Secrets and policies in the cluster, with kubectl.",
    ),
]
NameArg = Annotated[str, typer.Argument(metavar="KEY", help="The key's alias or id in the KMS.")]
KeyOpt = Annotated[
    str,
    own(
        "keys-check",
        "--key",
        metavar="LOCATION",
        help="The published key: secret:MANIFEST, file:FILE, https://... or kms://ALIAS-OR-ID.",
    ),
]
FingerprintOpt = Annotated[
    str | None,
    own(
        "keys-check",
        "--fingerprint",
        metavar="HEX",
        help="The 40-digit fingerprint of the key that signs, of several.",
    ),
]


@with_options(IAM, KMS, CLUSTER, NETWORK, TOOLS, name="keys list")
def keys_list(
    *, manifests: ManifestsOpt = None, in_cluster: InClusterOpt = False, settings: Settings
) -> Answer:
    """Which signing keys does the KMS have, until when, and where are they published?

    Reads public halves and metadata, never a secret key. Warns from 60 days before a key ends.

    Example: imgsec keys list --manifests policies/
    """
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import Note, passed
    from imgsec.operations import inspect_keys
    from imgsec.wiring import wire

    with wire(settings) as world:
        published = _published(world, manifests, in_cluster=in_cluster)
        found = inspect_keys.list_keys(world.kms, world.keyring, published, now=world.clock.now())
        keys = tuple(found)
        none = () if keys else (Note("no-signing-key", "the KMS has no signing key"),)
        notes = [note for key in keys for note in key.verdict.notes]
        verdict = passed(*none, *dict.fromkeys(notes), *world.notes())
    return Answer(Report("keys list", verdict, keys=keys))


@with_options(
    IAM, KMS, CLUSTER, NETWORK, TOOLS, results=("fingerprint", "key-id"), name="keys show"
)
def keys_show(
    key: NameArg,
    *,
    manifests: ManifestsOpt = None,
    in_cluster: InClusterOpt = False,
    settings: Settings,
) -> Answer:
    """May this key sign, until when, and where is it published? Refused if it may not.

    Example: imgsec keys show release --in-cluster
    """
    from dataclasses import replace

    from imgsec.domain.keys import KeyLocation
    from imgsec.domain.report import Report
    from imgsec.operations import inspect_keys
    from imgsec.wiring import wire

    name = KeyLocation.parse(key if key.startswith("kms:") else f"kms://{key}", allowed=("kms",))
    with wire(settings) as world:
        published = _published(world, manifests, in_cluster=in_cluster)
        found = inspect_keys.show_key(
            name.name, world.kms, world.keyring, published, now=world.clock.now()
        )
        verdict = replace(found.verdict, notes=(*found.verdict.notes, *world.notes()))
    results = {"key-id": found.key_id}
    if found.public is not None:
        results["fingerprint"] = str(found.public.fingerprint)
    return Answer(Report("keys show", verdict, keys=(found,)), results)


@with_options(IAM, KMS, NETWORK, TOOLS, results=("fingerprint", "verdict"), name="keys check")
def keys_check(*, key: KeyOpt, fingerprint: FingerprintOpt = None, settings: Settings) -> Answer:
    """Would each verifier accept this key as it is published? Portieris and Podman differ.

    Example: imgsec keys check --key secret:policies/portieris-image-signing-public-key.secret.yaml
    """
    from dataclasses import replace

    from imgsec.domain.keys import PUBLIC_KEY_SCHEMES, Fingerprint, KeyLocation
    from imgsec.domain.report import Report
    from imgsec.operations import inspect_keys
    from imgsec.operations.signing_key import read_published_key
    from imgsec.wiring import wire

    where = KeyLocation.parse(key, allowed=PUBLIC_KEY_SCHEMES)
    wanted = Fingerprint.parse(fingerprint) if fingerprint else None
    with wire(settings) as world:
        content = read_published_key(where, world.shelf(where.scheme), world.keyring)
        signer, answers = inspect_keys.check_published(
            content, wanted, world.keyring, now=world.clock.now()
        )
        verdict = inspect_keys.all_accept(answers)
        verdict = replace(verdict, notes=(*verdict.notes, *world.notes()))
    report = Report("keys check", verdict, verifiers=answers)
    return Answer(report, {"fingerprint": str(signer)})


def _published(world: World, folder: Path | None, *, in_cluster: bool) -> PublishedReader | None:
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    if folder is not None and in_cluster:
        raise ImgsecError(INVALID_OPTION("give --manifests or --in-cluster, not both"))
    if folder is not None:
        return world.folder_sink(folder)
    return world.cluster(dry_run=True) if in_cluster else None
