# SPDX-License-Identifier: Apache-2.0
"""``imgsec keys rotate``, ``renew``, ``revoke``: change the signing key of a cluster that runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgsec.cli.options import (
    CLUSTER,
    IAM,
    KMS,
    NETWORK,
    PASSPHRASE,
    REGISTRY,
    SIGNATURES,
    TOOLS,
    RenderOpt,
    loosening,
    own,
    with_options,
)
from imgsec.cli.output import Answer, Outputs, progress
from imgsec.cli.policies import (
    DEFAULT_KEY_NAMESPACE,
    DEFAULT_KEY_REFERENCE,
    KeyNamespaceOpt,
    ReferenceNamespaceOpt,
    ReferenceOpt,
    reference_of,
)
from imgsec.config import Settings
from imgsec.domain.algorithms import DEFAULT_ALGORITHM, KEY_ALGORITHMS

if TYPE_CHECKING:  # imported where they are used: --help needs none of them
    from imgsec.domain.verdict import Verdict
    from imgsec.operations.succession import Site
    from imgsec.wiring import World

_ROTATE, _RENEW, _REVOKE = "keys-rotate", "keys-renew", "keys-revoke"
_IMAGES_HELP = "A file of image names with tag or digest, one on a line."
AliasArg = Annotated[str, typer.Argument(metavar="ALIAS", help="The key's alias in the KMS.")]
NameArg = Annotated[str, typer.Argument(metavar="KEY", help="The key's alias or id in the KMS.")]
ReplacedOpt = Annotated[
    str | None,
    own(_ROTATE, "--fingerprint", metavar="HEX", help="The 40 digits of the key that is to go."),
]
RotateApplyOpt = Annotated[
    bool, own(_ROTATE, "--apply", help="Work on the cluster with kubectl, instead of --render.")
]
StatusOpt = Annotated[
    bool, own(_ROTATE, "--status", help="Show how far the rotation is; change nothing.")
]
CancelOpt = Annotated[
    bool,
    own(
        _ROTATE,
        "--cancel",
        help="Take the new key back: the old one signs, and is published, alone. A renewal, too.",
    ),
]
SwitchOpt = Annotated[
    str | None,
    own(_ROTATE, "--switch", metavar="WHEN", help="Let the new key sign: now, or from a date on."),
]
RetireOpt = Annotated[
    str | None,
    own(_ROTATE, "--retire", metavar="WHEN", help="Publish the old key no more: now, or a date."),
]
ResignOpt = Annotated[
    str | None,
    own(
        _ROTATE,
        "--resign-from",
        metavar="FILE",
        help="Sign with the new key what the old one signed. " + _IMAGES_HELP,
    ),
]
LockoutOpt = Annotated[
    bool,
    loosening(
        "--accept-lockout",
        help="Go on even if images that run or are named would be refused. Recorded.",
    ),
]
UserIdOpt = Annotated[
    str, own(_ROTATE, "--user-id", metavar="TEXT", help="The new key's OpenPGP user id.")
]
AlgorithmOpt = Annotated[
    str,
    own(
        _ROTATE, "--algorithm", metavar="NAME", help=f"Of the new key: {', '.join(KEY_ALGORITHMS)}."
    ),
]
DaysOpt = Annotated[
    int,
    own(_ROTATE, "--valid-days", metavar="DAYS", min=1, max=3650, help="How long it lasts."),
]
UntilOpt = Annotated[
    str, own(_RENEW, "--until", metavar="DATE", help="The day on which the key is to end.")
]
RenewApplyOpt = Annotated[
    bool, own(_RENEW, "--apply", help="Work on the cluster with kubectl, instead of --render.")
]
CheckOpt = Annotated[
    str | None,
    own(
        _RENEW,
        "--check-from",
        metavar="FILE",
        help="Check that what the key signed verifies again. " + _IMAGES_HELP,
    ),
]
RevokedOpt = Annotated[
    str,
    own(_REVOKE, "--fingerprint", metavar="HEX", help="The 40 digits of the key that is revoked."),
]
RevokeApplyOpt = Annotated[
    bool, own(_REVOKE, "--apply", help="Work on the cluster with kubectl, instead of --render.")
]
ImagesOpt = Annotated[
    str | None,
    own(
        _REVOKE,
        "--images-from",
        metavar="FILE",
        help="Say which of these only this key signed. " + _IMAGES_HELP,
    ),
]


@with_options(
    IAM,
    KMS,
    PASSPHRASE,
    REGISTRY,
    SIGNATURES,
    CLUSTER,
    NETWORK,
    TOOLS,
    results=("fingerprint", "key-id", "stage", "verdict"),
    title="keys rotate",
)
def keys_rotate(
    alias: AliasArg,
    *,
    fingerprint: ReplacedOpt = None,
    render: RenderOpt = None,
    apply: RotateApplyOpt = False,
    status: StatusOpt = False,
    cancel: CancelOpt = False,
    switch: SwitchOpt = None,
    resign_from: ResignOpt = None,
    retire: RetireOpt = None,
    accept_lockout: LockoutOpt = False,
    user_id: UserIdOpt = "imgsec image signing",
    algorithm: AlgorithmOpt = DEFAULT_ALGORITHM,
    valid_days: DaysOpt = 730,
    key_secret_namespace: KeyNamespaceOpt = DEFAULT_KEY_NAMESPACE,
    key_reference_secret: ReferenceOpt = DEFAULT_KEY_REFERENCE,
    key_reference_namespace: ReferenceNamespaceOpt = None,
    settings: Settings,
    outputs: Outputs,
) -> Answer:
    """Replace a signing key by a new one, with an overlap in which clusters trust both.

    Each run goes on from where the rotation stands, as far as it may. First it makes the new key
    and publishes both public halves in one block. With --switch the new key signs: the Secret that
    names the signing key changes, and the alias follows. With --resign-from it signs again what the
    old key signed. With --retire the old key is published no more. A date instead of now lets a
    nightly job do the rest; once all is done it does nothing. --cancel goes back to the old key.

    Example: imgsec keys rotate release --fingerprint HEX --render policies/ --switch 2027-02-01
    """
    from imgsec.cli.judging import read_images
    from imgsec.domain.keys import Fingerprint, KeyAlias, KeyRequest
    from imgsec.domain.report import Report
    from imgsec.domain.rotation import When
    from imgsec.domain.verdict import passed
    from imgsec.errors import ImgsecError
    from imgsec.operations.cancel_change import Cancellation, cancel_change
    from imgsec.operations.rotate_key import RotationPlan, rotate_key, show_rotation
    from imgsec.reasons import INVALID_OPTION
    from imgsec.wiring import wire

    name = KeyAlias.parse(alias)
    reference = reference_of(key_reference_secret, key_reference_namespace, key_secret_namespace)
    if status + cancel + bool(switch or retire or resign_from) > 1:
        raise ImgsecError(INVALID_OPTION("--status and --cancel stand alone"))
    if fingerprint is None and not (status or cancel):
        raise ImgsecError(
            INVALID_OPTION(
                "say which key is to go, with --fingerprint",
                hint="imgsec keys show tells it. So a run that is repeated begins no new rotation.",
            )
        )
    replaced = Fingerprint.parse(fingerprint) if fingerprint is not None else None
    request = KeyRequest(user_id, algorithm=algorithm, valid_days=valid_days)
    when = {
        option: When.parse(text, f"--{option}") if text else None
        for option, text in (("switch", switch), ("retire", retire))
    }
    images = read_images(resign_from) if resign_from else ()
    with wire(settings) as world:
        site = _site(world, settings, outputs, render, apply=apply, dry_run=status)
        if status:
            rotation = show_rotation(name, reference, site, replaced)
            report = Report("keys rotate", passed(*world.notes()), rotation=rotation)
        else:
            if cancel or replaced is None:
                wanted = Cancellation(name, reference, replaced, accept_lockout=accept_lockout)
                done = cancel_change(wanted, site)
            else:
                plan = RotationPlan(
                    name,
                    replaced,
                    reference,
                    request,
                    images=images,
                    accept_lockout=accept_lockout,
                    **when,
                )
                done = rotate_key(plan, site)
            rotation = done.rotation
            report = Report(
                "keys rotate",
                _with(done.verdict, world),
                images=done.images,
                changes=done.changes,
                running=done.running,
                rotation=rotation,
            )
    results = {"stage": str(rotation.stage)}
    if (key := rotation.new) is not None:
        results |= {"fingerprint": str(key.fingerprint), "key-id": key.key_id}
    return Answer(report, results)


@with_options(
    IAM,
    KMS,
    PASSPHRASE,
    REGISTRY,
    SIGNATURES,
    CLUSTER,
    NETWORK,
    TOOLS,
    results=("fingerprint", "key-id", "verdict"),
    title="keys renew",
)
def keys_renew(
    alias: AliasArg,
    *,
    until: UntilOpt,
    render: RenderOpt = None,
    apply: RenewApplyOpt = False,
    check_from: CheckOpt = None,
    key_secret_namespace: KeyNamespaceOpt = DEFAULT_KEY_NAMESPACE,
    key_reference_secret: ReferenceOpt = DEFAULT_KEY_REFERENCE,
    key_reference_namespace: ReferenceNamespaceOpt = None,
    settings: Settings,
    outputs: Outputs,
) -> Answer:
    """Let a signing key end on a later date, and publish that everywhere it is published.

    Podman, CRI-O and skopeo refuse all that an ended key ever signed; with the later date they
    accept it again. The fingerprint stays. A key that ends then or later is left alone.

    Example: imgsec keys renew release --until 2029-01-01 --render policies/
    """
    from imgsec.cli.judging import judge_each, read_images
    from imgsec.domain.keys import KeyAlias
    from imgsec.domain.report import Report
    from imgsec.domain.rotation import When
    from imgsec.domain.verdict import passed
    from imgsec.errors import ImgsecError
    from imgsec.operations.renew_key import Renewal, renew_key
    from imgsec.operations.verify_digest import verify_digest
    from imgsec.reasons import INVALID_OPTION
    from imgsec.wiring import wire

    name = KeyAlias.parse(alias)
    reference = reference_of(key_reference_secret, key_reference_namespace, key_secret_namespace)
    moment = When.parse(until, "--until").moment
    images = read_images(check_from) if check_from else ()
    with wire(settings) as world:
        now = world.clock.now()
        if moment is None or moment <= now:
            raise ImgsecError(INVALID_OPTION("--until takes a date that is to come"))
        site = _site(world, settings, outputs, render, apply=apply)
        done = renew_key(Renewal(name, reference, moment), site)
        verdict = _with(passed(*done.notes), world)
        report = Report("keys renew", verdict, key=done.summary, changes=done.changes)
        if images:
            checked = judge_each(
                "keys renew",
                images,
                lambda image: verify_digest(
                    image, [done.key], world.registry, world.keyring, now=now
                ),
                lambda: verdict.notes,
            ).report
            report = Report(
                "keys renew", checked.verdict, checked.images, done.summary, done.changes
            )
    results = {"fingerprint": str(done.key.fingerprint), "key-id": done.summary.key_id}
    return Answer(report, results)


@with_options(
    IAM,
    KMS,
    PASSPHRASE,
    REGISTRY,
    SIGNATURES,
    CLUSTER,
    NETWORK,
    TOOLS,
    results=("fingerprint", "verdict"),
    title="keys revoke",
)
def keys_revoke(
    key: NameArg,
    *,
    fingerprint: RevokedOpt,
    render: RenderOpt = None,
    apply: RevokeApplyOpt = False,
    images_from: ImagesOpt = None,
    accept_lockout: LockoutOpt = False,
    settings: Settings,
    outputs: Outputs,
) -> Answer:
    """Revoke a signing key for good: none of its signatures counts any more, old ones included.

    Publishes the other keys without it, says what only it signed, and marks it in the KMS, so that
    nothing is signed with it. Deleting it in the KMS instead would undo none of its signatures.

    Example: imgsec keys revoke release --fingerprint HEX --render policies/ --images-from live.txt
    """
    from imgsec.cli.judging import read_images
    from imgsec.domain.keys import Fingerprint, KeyLocation
    from imgsec.domain.report import Report
    from imgsec.operations.revoke_key import Revocation, revoke_key
    from imgsec.wiring import wire

    where = KeyLocation.parse(key if key.startswith("kms:") else f"kms://{key}", allowed=("kms",))
    revocation = Revocation(
        where.name,
        Fingerprint.parse(fingerprint),
        images=read_images(images_from) if images_from else (),
        accept_lockout=accept_lockout,
    )
    with wire(settings) as world:
        site = _site(world, settings, outputs, render, apply=apply)
        done = revoke_key(revocation, site)
        report = Report(
            "keys revoke",
            _with(done.verdict, world),
            images=done.images,
            changes=done.changes,
            running=done.running,
        )
    return Answer(report, {"fingerprint": str(revocation.fingerprint)})


def _site(
    world: World,
    settings: Settings,
    outputs: Outputs,
    render: Path | None,
    *,
    apply: bool,
    dry_run: bool = False,
) -> Site:
    """The KMS and the folder or cluster that a key is changed in."""
    from imgsec.errors import ImgsecError
    from imgsec.operations.succession import Site
    from imgsec.reasons import INVALID_OPTION

    if (render is None) is not apply:
        raise ImgsecError(INVALID_OPTION("give either --render DIR or --apply"))
    cluster = world.cluster(dry_run=dry_run) if apply else None
    if render is not None and not dry_run:
        world.keep_alone_in(render, progress(outputs))
    return Site(
        kms=world.kms,
        keyring=world.keyring,
        place=cluster or world.folder_sink(render or Path()),
        clock=world.clock,
        registry=lambda: world.registry,
        progress=progress(outputs),
        wait_seconds=settings.timeout * 0.9,  # the rest is for the steps around it
        cluster=cluster,
    )


def _with(verdict: Verdict, world: World) -> Verdict:
    """The verdict, with what must be on record of this run."""
    return replace(verdict, notes=(*verdict.notes, *world.notes()))
