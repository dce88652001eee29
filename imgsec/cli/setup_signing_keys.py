# SPDX-License-Identifier: Apache-2.0
"""``imgsec setup-signing-keys``: is there a signing key, and does the cluster know its half?"""

from __future__ import annotations

from typing import Annotated

from imgsec.cli.options import IAM, KMS, NETWORK, PASSPHRASE, TOOLS, RenderOpt, own, with_options
from imgsec.cli.output import Answer
from imgsec.cli.policies import (
    DEFAULT_KEY_NAMESPACE,
    DEFAULT_KEY_SECRET,
    DEFAULT_POLICY_NAME,
    KeyNamespaceOpt,
    KeySecretOpt,
    MutateOpt,
    PolicyNameOpt,
    RepositoryOpt,
    UncheckedOpt,
    policy_of,
)
from imgsec.config import Settings

_COMMAND = "setup-signing-keys"
_DEFAULT_USER_ID = "imgsec image signing"
_DEFAULT_DAYS = 730
_DEFAULT_KEY_REFERENCE = "portieris-keys"
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
ReferenceOpt = Annotated[
    str,
    own(
        _COMMAND,
        "--key-reference-secret",
        metavar="NAME",
        help="Secret that tells pipelines which key signs.",
    ),
]


@with_options(IAM, KMS, PASSPHRASE, NETWORK, TOOLS, results=("fingerprint", "key-id", "verdict"))
def setup_signing_keys(
    *,
    alias: AliasOpt,
    repository: RepositoryOpt,
    render: RenderOpt,
    allow_unchecked: UncheckedOpt = None,
    user_id: UserIdOpt = _DEFAULT_USER_ID,
    valid_days: DaysOpt = _DEFAULT_DAYS,
    policy_name: PolicyNameOpt = DEFAULT_POLICY_NAME,
    key_secret: KeySecretOpt = DEFAULT_KEY_SECRET,
    key_secret_namespace: KeyNamespaceOpt = DEFAULT_KEY_NAMESPACE,
    key_reference_secret: ReferenceOpt = _DEFAULT_KEY_REFERENCE,
    mutate_image: MutateOpt = True,
    settings: Settings,
) -> Answer:
    """Make a signing key once: RSA 4096, sign-only, its secret half in the KMS and nowhere else.

    Writes the Secret with the public key, the Secret that names the key to pipelines, and a
    ClusterImagePolicy to the --render folder. A second run changes nothing and says so.

    Example: imgsec setup-signing-keys --alias release --repository 'us.icr.io/team/*' --render out/
    """
    from imgsec.domain.keys import KeyAlias, KeyRequest
    from imgsec.domain.policy import ObjectName
    from imgsec.domain.report import Report
    from imgsec.domain.verdict import Note, passed
    from imgsec.errors import ImgsecError
    from imgsec.operations import setup_signing_keys as operation
    from imgsec.reasons import INVALID_OPTION
    from imgsec.wiring import wire

    if render is None:
        raise ImgsecError(INVALID_OPTION("no folder for the manifests was named: --render DIR"))
    policy = policy_of(
        repository=repository,
        allow_unchecked=allow_unchecked,
        policy_name=policy_name,
        key_secret=key_secret,
        key_secret_namespace=key_secret_namespace,
        mutate_image=mutate_image,
    )
    names = operation.ClusterNames(
        policy.key_secret, ObjectName.parse(key_reference_secret), policy
    )
    request = KeyRequest(user_id, valid_days=valid_days)
    with wire(settings) as world:
        summary, changes = operation.setup_signing_keys(
            KeyAlias.parse(alias),
            request,
            kms=world.kms,
            keyring=world.keyring,
            sink=world.folder_sink(render),
            names=names,
            now=world.clock.now(),
        )
        notes = []
        if all(change.state == "unchanged" for change in changes):
            notes.append(Note("nothing-to-do", "everything was in place; nothing was changed"))
        verdict = passed(*notes, *world.notes())
    results = {"fingerprint": str(summary.fingerprint), "key-id": summary.key_id}
    return Answer(Report(_COMMAND, verdict, key=summary, changes=changes), results)
