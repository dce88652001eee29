# SPDX-License-Identifier: Apache-2.0
"""``imgsec keys``: which signing keys exist, how long, and who accepts them?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgsec.cli.help import paragraphs
from imgsec.cli.key_changes import keys_renew, keys_revoke, keys_rotate
from imgsec.cli.options import (
    CLUSTER,
    IAM,
    KMS,
    NETWORK,
    PASSPHRASE,
    TOOLS,
    own,
    shared,
    with_options,
)
from imgsec.cli.output import Answer
from imgsec.config import Settings

if TYPE_CHECKING:  # imported where they are used: --help needs none of them
    from imgsec.domain.keys import KeyLocation
    from imgsec.operations.setup_signing_keys import SetUp
    from imgsec.ports import PublishedReader
    from imgsec.wiring import World

app = typer.Typer(
    name="keys",
    help="List the signing keys, check who accepts one, replace, renew, revoke and move them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)

_FINGERPRINT_HELP = "The 40-digit fingerprint that the key must have."
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


FromOpt = Annotated[
    str,
    own(
        "keys-copy",
        "--from",
        metavar="URI",
        help="The key: kms://ALIAS-OR-ID, or kms://HOST/INSTANCE/ALIAS-OR-ID.",
    ),
]
ToOpt = Annotated[
    str,
    own(
        "keys-copy",
        "--to",
        metavar="URI",
        help="Its new place: kms://HOST/INSTANCE/ALIAS, or kms://ALIAS in the same instance.",
    ),
]
ToApiKeyOpt = Annotated[
    str | None,
    own(
        "keys-copy",
        "--to-api-key-file",
        metavar="FILE",
        help="File with the IAM API key for the new place, if it is another account's.",
    ),
]
ToKeyRingOpt = Annotated[
    str | None,
    own(
        "keys-copy",
        "--to-key-ring",
        metavar="NAME",
        help="The key ring in the new place; by default that of --kms-key-ring.",
    ),
]
CopyFingerprintOpt = Annotated[
    str | None,
    own("keys-copy", "--fingerprint", metavar="HEX", help=_FINGERPRINT_HELP),
]
ImportFingerprintOpt = Annotated[
    str | None,
    own("keys-import", "--fingerprint", metavar="HEX", help=_FINGERPRINT_HELP),
]
FileArg = Annotated[str, typer.Argument(metavar="FILE", help="The secret key, armoured or binary.")]
AliasOpt = Annotated[
    str, own("keys-import", "--alias", metavar="NAME", help="The key's alias in the KMS.")
]
PublicOpt = Annotated[
    bool, own("keys-export", "--public", help="The public half; there is no other choice.")
]
FileOpt = Annotated[str, own("keys-export", "--file", metavar="FILE", help="Where to write it.")]
BinaryOpt = Annotated[
    bool, own("keys-export", "--binary", help="Binary, as gpgv takes it, instead of armoured.")
]


@with_options(IAM, KMS, CLUSTER, NETWORK, TOOLS, title="keys list")
def keys_list(
    *, manifests: ManifestsOpt = None, in_cluster: InClusterOpt = False, settings: Settings
) -> Answer:
    """Which signing keys does the KMS have, until when, and where are they published?

    Reads public halves and metadata, never a secret key. Warns from 60 days before a key ends.

    Example: imgsec keys list --manifests policies/
    """
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import passed
    from imgsec.operations import inspect_keys
    from imgsec.wiring import wire

    with wire(settings) as world:
        published = _published(world, manifests, in_cluster=in_cluster)
        found = inspect_keys.list_keys(world.kms, world.keyring, published, now=world.clock.now())
        keys = tuple(found)
        none = () if keys else inspect_keys.no_keys_notes(world.kms)
        notes = [note for key in keys for note in key.verdict.notes]
        verdict = passed(*none, *dict.fromkeys(notes), *world.notes())
    return Answer(Report("keys list", verdict, keys=keys))


@with_options(
    IAM, KMS, CLUSTER, NETWORK, TOOLS, results=("fingerprint", "key-id"), title="keys show"
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

    from imgsec.domain.report import Report
    from imgsec.operations import inspect_keys
    from imgsec.wiring import wire

    with wire(settings) as world:
        published = _published(world, manifests, in_cluster=in_cluster)
        found = inspect_keys.show_key(
            _named(key).name, world.kms, world.keyring, published, now=world.clock.now()
        )
        verdict = replace(found.verdict, notes=(*found.verdict.notes, *world.notes()))
    results = {"key-id": found.key_id}
    if found.public is not None:
        results["fingerprint"] = str(found.public.fingerprint)
    return Answer(Report("keys show", verdict, keys=(found,)), results)


@with_options(IAM, KMS, NETWORK, TOOLS, results=("fingerprint", "verdict"), title="keys check")
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
        content = read_published_key(
            where, world.shelf(where.scheme), world.keyring, expected=wanted
        )
        signer, answers = inspect_keys.check_published(
            content, wanted, world.keyring, now=world.clock.now()
        )
        verdict = inspect_keys.all_accept(answers)
        verdict = replace(verdict, notes=(*verdict.notes, *world.notes()))
    report = Report("keys check", verdict, verifiers=answers)
    return Answer(report, {"fingerprint": str(signer)})


@with_options(
    IAM,
    KMS,
    PASSPHRASE,
    NETWORK,
    TOOLS,
    results=("fingerprint", "key-id", "verdict"),
    title="keys copy",
)
def keys_copy(
    *,
    source: FromOpt,
    to: ToOpt,
    to_api_key_file: ToApiKeyOpt = None,
    to_key_ring: ToKeyRingOpt = None,
    fingerprint: CopyFingerprintOpt = None,
    settings: Settings,
) -> Answer:
    """Bring a signing key to another KMS instance: stored, read back, compared; the first is kept.

    Example: imgsec keys copy --from kms://release --to kms://eu-de.kms.cloud.ibm.com/UUID/release
    """
    from imgsec.domain.keys import Fingerprint, KeyAlias, KeyLocation, KmsPlace
    from imgsec.operations.move_keys import copy_key
    from imgsec.operations.signing_key import KeyShelf
    from imgsec.wiring import wire

    origin, target = KmsPlace.parse(source), KmsPlace.parse(to)
    alias = KeyAlias.parse(target.name)
    expected = Fingerprint.parse(fingerprint) if fingerprint else None
    with wire(settings) as world:
        done = copy_key(
            KeyLocation("kms", origin.name),
            KeyShelf(world.key_files, world.kms_at(origin)),
            world.kms_at(target, to_api_key_file, to_key_ring),
            alias,
            world.keyring,
            expected=expected,
            now=world.clock.now(),
        )
        return _stored("keys copy", done, world)


@with_options(
    IAM,
    KMS,
    PASSPHRASE,
    NETWORK,
    TOOLS,
    results=("fingerprint", "key-id", "verdict"),
    title="keys import",
)
def keys_import(
    file: FileArg,
    *,
    alias: AliasOpt,
    fingerprint: ImportFingerprintOpt = None,
    settings: Settings,
) -> Answer:
    """Store a secret key from a file in the KMS, both halves; a key that is there already is kept.

    Example: imgsec keys import release.key --alias release --fingerprint HEX
    """
    from imgsec.domain.keys import Fingerprint, KeyAlias
    from imgsec.operations.setup_signing_keys import Wanted, store_signing_key
    from imgsec.wiring import wire

    name = KeyAlias.parse(alias)
    expected = Fingerprint.parse(fingerprint) if fingerprint else None
    with wire(settings) as world:
        secret = world.read_secret_key(file)
        wanted = Wanted(name, secret, expected=expected, looks_back=False)
        done = store_signing_key(
            wanted, kms=world.kms, keyring=world.keyring, now=world.clock.now()
        )
        return _stored("keys import", done, world)


@with_options(IAM, KMS, NETWORK, TOOLS, results=("fingerprint", "verdict"), title="keys export")
def keys_export(
    key: NameArg,
    *,
    file: FileOpt,
    public: PublicOpt = False,
    binary: BinaryOpt = False,
    settings: Settings,
) -> Answer:
    """Write a key's public half to a file, armoured. Secret halves never leave the KMS this way.

    Example: imgsec keys export release --public --file release.asc
    """
    from imgsec.domain.report import Change, Report
    from imgsec.domain.verdict import passed
    from imgsec.errors import ImgsecError
    from imgsec.operations.signing_key import load_keys_to_publish
    from imgsec.reasons import INVALID_OPTION
    from imgsec.wiring import wire

    if not public:
        raise ImgsecError(
            INVALID_OPTION(
                "only public halves are exported: say --public",
                hint="To bring a secret half to another KMS, use `imgsec keys copy`.",
            )
        )
    where = _named(key)
    with wire(settings) as world:
        keys = load_keys_to_publish(where, world.kms, world.keyring)
        fingerprints = [key.fingerprint for key in keys]
        content = (
            b"".join(map(world.keyring.export_public_key, fingerprints))
            if binary
            else world.keyring.export_block(fingerprints)
        )
        state = world.key_files.store_public_key(file, content)
        verdict = passed(*world.notes())
    report = Report("keys export", verdict, changes=(Change(file, state),))
    return Answer(report, {"fingerprint": str(fingerprints[0])})


def _stored(command: str, done: SetUp, world: World) -> Answer:
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import Note, passed

    notes = list(world.notes())
    if all(change.state == "unchanged" for change in done.changes):
        notes.insert(0, Note("nothing-to-do", "everything was in place; nothing was changed"))
    report = Report(command, passed(*notes), key=done.summary, changes=done.changes)
    results = {"fingerprint": str(done.summary.fingerprint), "key-id": done.summary.key_id}
    return Answer(report, results)


def _named(key: str) -> KeyLocation:
    """``NAME`` or ``kms://NAME``."""
    from imgsec.domain.keys import KeyLocation

    return KeyLocation.parse(key if key.startswith("kms:") else f"kms://{key}", allowed=("kms",))


def _published(world: World, folder: Path | None, *, in_cluster: bool) -> PublishedReader | None:
    from imgsec.errors import ImgsecError
    from imgsec.reasons import INVALID_OPTION

    if folder is not None and in_cluster:
        raise ImgsecError(INVALID_OPTION("give --manifests or --in-cluster, not both"))
    if folder is not None:
        return world.folder_sink(folder)
    return world.cluster(dry_run=True) if in_cluster else None


for _function in (
    keys_list,
    keys_show,
    keys_check,
    keys_rotate,
    keys_renew,
    keys_revoke,
    keys_copy,
    keys_import,
    keys_export,
):
    app.command(_function.__name__.removeprefix("keys_"), help=paragraphs(_function))(_function)
