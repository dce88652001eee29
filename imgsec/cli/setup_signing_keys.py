# SPDX-License-Identifier: Apache-2.0
"""``imgsec setup-signing-keys``: is there a signing key, and does the cluster know its half?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

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
    DEFAULT_KEY_SECRET,
    DEFAULT_POLICY_NAME,
    AdoptOpt,
    KeyNamespaceOpt,
    KeySecretOpt,
    MutateOpt,
    PolicyNameOpt,
    ReferenceNamespaceOpt,
    ReferenceOpt,
    RepositoryOpt,
    UncheckedOpt,
    policy_of,
    reference_of,
)
from imgsec.config import Settings
from imgsec.domain.algorithms import DEFAULT_ALGORITHM, KEY_ALGORITHMS

_COMMAND = "setup-signing-keys"
_DEFAULT_USER_ID = "imgsec image signing"
_DEFAULT_DAYS = 730
AliasOpt = Annotated[
    str, own(_COMMAND, "--alias", metavar="NAME", help="The key's alias in the KMS.")
]
UserIdOpt = Annotated[
    str,
    own(_COMMAND, "--user-id", metavar="TEXT", help="The OpenPGP user id; NAME or NAME <MAIL>."),
]
DaysOpt = Annotated[
    int,
    own(_COMMAND, "--valid-days", metavar="DAYS", min=1, max=3650, help="How long the key lasts."),
]
AlgorithmOpt = Annotated[
    str,
    own(
        _COMMAND,
        "--algorithm",
        metavar="NAME",
        help=f"Of a new key: {', '.join(KEY_ALGORITHMS)}. Portieris reads no other.",
    ),
]
FingerprintOpt = Annotated[
    str | None,
    own(
        _COMMAND,
        "--fingerprint",
        metavar="HEX",
        help="The 40-digit fingerprint that a key must have which exists already.",
    ),
]
ImportOpt = Annotated[
    str | None,
    own(
        _COMMAND,
        "--import-key",
        metavar="FILE",
        help="Store this secret key, armoured or binary, instead of making one.",
    ),
]
AdoptKeyOpt = Annotated[
    str | None,
    own(_COMMAND, "--adopt-key", metavar="ID", help="With --adopt: the KMS key, of several."),
]
ApplyOpt = Annotated[
    bool,
    own(_COMMAND, "--apply", help="Apply the two Secrets with kubectl, instead of --render."),
]
EnforceOpt = Annotated[
    bool,
    own(
        _COMMAND,
        "--enforce",
        help="With --apply: the policy too, unless an image that runs now would be refused.",
    ),
]
DryRunOpt = Annotated[
    bool,
    own(
        _COMMAND,
        "--dry-run",
        help="With --apply: rehearse it; the cluster checks the objects, and nothing is kept.",
    ),
]
LockoutOpt = Annotated[
    bool,
    loosening(
        "--accept-lockout",
        help="With --enforce: apply the policy even if images that run now are refused. Recorded.",
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
    results=("fingerprint", "key-id", "verdict"),
)
def setup_signing_keys(
    *,
    alias: AliasOpt,
    repository: RepositoryOpt,
    render: RenderOpt = None,
    apply: ApplyOpt = False,
    enforce: EnforceOpt = False,
    dry_run: DryRunOpt = False,
    accept_lockout: LockoutOpt = False,
    allow_unchecked: UncheckedOpt = None,
    user_id: UserIdOpt = _DEFAULT_USER_ID,
    algorithm: AlgorithmOpt = DEFAULT_ALGORITHM,
    valid_days: DaysOpt = _DEFAULT_DAYS,
    policy_name: PolicyNameOpt = DEFAULT_POLICY_NAME,
    key_secret: KeySecretOpt = DEFAULT_KEY_SECRET,
    key_secret_namespace: KeyNamespaceOpt = DEFAULT_KEY_NAMESPACE,
    key_reference_secret: ReferenceOpt = DEFAULT_KEY_REFERENCE,
    key_reference_namespace: ReferenceNamespaceOpt = None,
    mutate_image: MutateOpt = True,
    fingerprint: FingerprintOpt = None,
    import_key: ImportOpt = None,
    adopt: AdoptOpt = False,
    adopt_key: AdoptKeyOpt = None,
    settings: Settings,
    outputs: Outputs,
) -> Answer:
    """Make a signing key once: RSA 4096, sign-only, its secret half in the KMS and nowhere else.

    Writes the Secret with the public key, the Secret that names the key to pipelines, and a
    ClusterImagePolicy to the --render folder; or applies the Secrets to the cluster, and the policy
    with --enforce. A second run changes nothing and says so. A key of an older set-up is found, and
    taken over with --adopt.

    Example: imgsec setup-signing-keys --alias release --repository 'us.icr.io/team/*' --render out/
    """
    from imgsec.domain.engines import NEWEST
    from imgsec.domain.keys import Fingerprint, KeyAlias, KeyRequest, is_uuid
    from imgsec.domain.policy import ANY_DIGEST, any_digest_text
    from imgsec.domain.report import Report, RunningImage
    from imgsec.domain.verdict import Note, passed
    from imgsec.errors import ImgsecError
    from imgsec.operations import preview_policy
    from imgsec.operations import setup_signing_keys as operation
    from imgsec.operations.rehearsal import RehearsedKms
    from imgsec.ports import ObjectId
    from imgsec.reasons import INVALID_OPTION
    from imgsec.wiring import wire

    for wrong, text in (
        ((render is None) is not apply, "give either --render DIR or --apply"),
        ((enforce or dry_run) and not apply, "--enforce and --dry-run need --apply"),
        (accept_lockout and not enforce, "--accept-lockout needs --enforce"),
        (adopt_key is not None and not adopt, "--adopt-key needs --adopt"),
        (key_secret == key_reference_secret, "the two Secrets need names of their own"),
        (adopt_key is not None and not is_uuid(adopt_key or ""), "--adopt-key takes a UUID"),
    ):
        if wrong:
            raise ImgsecError(INVALID_OPTION(text))
    policy = policy_of(
        repository=repository,
        allow_unchecked=allow_unchecked,
        policy_name=policy_name,
        key_secret=key_secret,
        key_secret_namespace=key_secret_namespace,
        mutate_image=mutate_image,
    )
    reference = reference_of(key_reference_secret, key_reference_namespace, key_secret_namespace)
    request = KeyRequest(user_id, algorithm=algorithm, valid_days=valid_days)
    name = KeyAlias.parse(alias)
    expected = Fingerprint.parse(fingerprint) if fingerprint else None
    with wire(settings) as world:
        cluster = world.cluster(dry_run=dry_run) if apply else None
        if render is not None:
            world.keep_alone_in(render, progress(outputs))
        sink = cluster or world.folder_sink(render or Path())
        if enforce:  # before there is a key; the Secrets are looked at with it
            sink.require_ready(ObjectId(str(policy.kind), str(policy.name)), adopt=adopt)
        done = operation.setup_signing_keys(
            operation.Wanted(
                name,
                source=world.read_secret_key(import_key) if import_key else request,
                expected=expected,
                adopt=adopt,
                key_id=adopt_key.lower() if adopt_key else None,
            ),
            kms=RehearsedKms(world.kms, world.kms.address) if dry_run else world.kms,
            keyring=world.keyring,
            sink=sink,
            names=operation.ClusterNames(policy.key_secret, reference, None if apply else policy),
            now=world.clock.now(),
        )
        changes, verdict = done.changes, passed()
        running: tuple[RunningImage, ...] = ()
        if cluster and enforce:
            enforced = preview_policy.enforce_policy(
                policy,
                done.key,
                cluster=cluster,
                sink=sink,
                registry=world.registry,
                keyring=world.keyring,
                now=world.clock.now(),
                accept_lockout=accept_lockout,
                adopt=adopt,
            )
            running, verdict = enforced.running, enforced.verdict
            changes = (*changes, *enforced.changes)
        notes = [*operation.warnings(policy.key_secret, cluster)]
        for one in policy.unchecked_tags if enforce or not apply else ():
            notes.append(Note(ANY_DIGEST, any_digest_text(one.text, NEWEST)))
        if algorithm not in (DEFAULT_ALGORITHM, done.key.algorithm):
            text = f"{done.key.fingerprint} was made before, and stays {done.key.algorithm}"
            notes.append(Note("of-a-new-key-only", f"{text}; keys rotate makes one of {algorithm}"))
        if dry_run:
            notes.append(Note("dry-run", "nothing was kept; a new key will be another one"))
        elif all(change.state == "unchanged" for change in changes):
            notes.append(Note("nothing-to-do", "everything was in place; nothing was changed"))
        verdict = replace(verdict, notes=(*verdict.notes, *notes, *world.notes()))
    report = Report(_COMMAND, verdict, key=done.summary, changes=changes, running=running)
    results = {"fingerprint": str(done.summary.fingerprint), "key-id": done.summary.key_id}
    return Answer(report, {} if dry_run else results)
