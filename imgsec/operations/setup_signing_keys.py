# SPDX-License-Identifier: Apache-2.0
"""Set up a signing key: make it once, store both halves in the KMS, tell the cluster.

The aliases are the state. NAME without NAME-public is a run that was cut short and is finished;
NAME-public without NAME is a loss that nobody may paper over. A second run finds both and changes
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from imgsec.domain.keys import KeyAlias, KeyRequest, PublicKey, SecretBytes, unwrapped
from imgsec.domain.policy import ImagePolicy, KeyNames, KeySecret, ObjectName
from imgsec.domain.report import Change, KeySummary
from imgsec.errors import ImgsecError, KeyExists, KeyNotFound
from imgsec.operations.publish_policy import publish_key, publish_policy
from imgsec.operations.signing_key import describe
from imgsec.ports import Keyring, KeyWriter, ManifestSink, StoredKey
from imgsec.reasons import KEY_CONFLICT, KEY_STORE_MISMATCH

PRIVATE_KEY_NAME = "portieris-image-signing-private-key"  # the older scripts' names; not unique
PUBLIC_KEY_NAME = "portieris-image-signing-public-key"


@dataclass(frozen=True, slots=True)
class ClusterNames:
    """The objects that set-up writes for the cluster."""

    public_key: KeySecret
    key_reference: ObjectName
    policy: ImagePolicy


def setup_signing_keys(
    alias: KeyAlias,
    request: KeyRequest,
    *,
    kms: KeyWriter,
    keyring: Keyring,
    sink: ManifestSink,
    names: ClusterNames,
    now: datetime,
) -> tuple[KeySummary, tuple[Change, ...]]:
    """Bring KMS and manifests to the state in which signing works; whatever is right stays.

    The sink is looked at first: a key that nobody is told of helps nobody. Raises `ImgsecError`
    (key-conflict, key-store-mismatch, key-unusable and its like, and what the ports raise).
    """
    sink.require_ready()
    # In this order: a run at the same time stores NAME first, and would look like a loss otherwise.
    if (orphan := _find(kms, alias.public)) is not None and _find(kms, str(alias)) is None:
        raise ImgsecError(
            KEY_CONFLICT(f"the KMS has {alias.public} ({orphan.id}) and no {alias} beside it")
        )
    secret, key, secret_change = _secret_half(alias, request, kms, keyring)
    if flaws := key.flaws(now):
        raise ImgsecError(flaws[0])
    public, public_change = _public_half(alias, key, kms, keyring)
    url, instance = kms.address
    key_names = KeyNames(
        public_key=names.public_key,
        key_reference=names.key_reference,
        fingerprint=key.fingerprint,
        kms_url=url,
        kms_instance=instance,
        kms_key_id=secret.id,
    )
    armoured = keyring.export_public_key(key.fingerprint, armour=True)
    changes = (
        secret_change,
        public_change,
        *publish_key(key_names, armoured, sink),
        publish_policy(names.policy, sink),
    )
    summary = KeySummary(
        alias=str(alias),
        key_id=secret.id,
        public_key_id=public.id,
        fingerprint=key.fingerprint,
        algorithm=key.algorithm,
        expires=key.expires,
    )
    return summary, changes


def _secret_half(
    alias: KeyAlias, request: KeyRequest, kms: KeyWriter, keyring: Keyring
) -> tuple[StoredKey, PublicKey, Change]:
    """The stored secret half, made now or found; another run may have been faster."""
    target = f"kms://{alias}"
    if _find(kms, str(alias)) is None:
        made = keyring.generate_key(request)
        content = keyring.export_secret_key(made.fingerprint)
        description = describe("secret", made.fingerprint)
        try:
            stored = kms.store_key(
                str(alias), content, name=PRIVATE_KEY_NAME, description=description
            )
        except KeyExists:
            pass
        else:
            _require_equal(kms, str(alias), content)
            return stored, made, Change(target, "created")
    stored, payload = kms.fetch_key(str(alias))
    key = keyring.import_secret_key(SecretBytes(unwrapped(payload.reveal())))
    return stored, key, Change(target, "unchanged")


def _public_half(
    alias: KeyAlias, key: PublicKey, kms: KeyWriter, keyring: Keyring
) -> tuple[StoredKey, Change]:
    """The stored public half, made now or found and held against the secret one."""
    target = f"kms://{alias.public}"
    if _find(kms, alias.public) is None:
        content = SecretBytes(keyring.export_public_key(key.fingerprint, armour=False))
        description = describe("public", key.fingerprint)
        try:
            stored = kms.store_key(
                alias.public, content, name=PUBLIC_KEY_NAME, description=description
            )
        except KeyExists:
            pass
        else:
            _require_equal(kms, alias.public, content)
            return stored, Change(target, "created")
    stored, payload = kms.fetch_key(alias.public)
    half = keyring.inspect_public_key(unwrapped(payload.reveal()))
    if half.fingerprint != key.fingerprint:
        raise ImgsecError(
            KEY_CONFLICT(f"kms://{alias} is {key.fingerprint}, {target} is {half.fingerprint}")
        )
    return stored, Change(target, "unchanged")


def _find(kms: KeyWriter, name: str) -> StoredKey | None:
    try:
        return kms.find_key(name)
    except KeyNotFound:
        return None


def _require_equal(kms: KeyWriter, alias: str, content: SecretBytes) -> None:
    """Read back what was stored. Raises `ImgsecError` (key-store-mismatch)."""
    if kms.fetch_key(alias)[1] != content:
        raise ImgsecError(KEY_STORE_MISMATCH(f"the KMS gives back another key for {alias}"))
