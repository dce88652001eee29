# SPDX-License-Identifier: Apache-2.0
"""The keys that an image's signatures are checked with: of a key location, or of a policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from imgsec.domain.identity import USUAL_RULE, IdentityRule
from imgsec.domain.keys import Fingerprint, KeyLocation, PublicKey, unwrapped
from imgsec.domain.reference import ImageReference
from imgsec.domain.trust_policy import Blanket, Requirement, SignedBy, TrustPolicy
from imgsec.domain.verifiers import PublishedKeys, armoured_blocks
from imgsec.errors import ImgsecError
from imgsec.operations.published_keys import read_published
from imgsec.operations.signing_key import (
    KeyShelf,
    load_public_keys_in_kms,
    malformed_at,
    require_pinned,
)
from imgsec.ports import Keyring
from imgsec.reasons import KEY_FINGERPRINT_MISMATCH


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """A signature by one of these keys is wanted, for a name that the rule accepts.

    keys: those that count, each once, of all its copies. published: what verifiers get to read;
    others may be in it. keyring: holds these keys as they are published here, and no other copies.
    """

    keys: tuple[PublicKey, ...]
    published: PublishedKeys
    keyring: Keyring
    rule: IdentityRule = USUAL_RULE

    @property
    def signers(self) -> tuple[Fingerprint, ...]:
        return tuple(key.fingerprint for key in self.keys)


LoadedRequirement = TrustedKeys | Blanket


def load_trusted_keys(
    location: KeyLocation, shelf: KeyShelf, keyring: Keyring, *, expected: Fingerprint | None
) -> TrustedKeys:
    """Import the public keys whose signatures count; a secret payload is never asked of the KMS.

    Several are published while one key replaces another, in the KMS too; with an expected
    fingerprint it is that one. A key from the web is taken by its fingerprint only. Raises
    `ImgsecError` (invalid-option, key-fingerprint-mismatch, key-malformed, key-moving) and
    `KeyNotFound`.
    """
    require_pinned(location, expected)
    if location.scheme == "kms":
        keys = load_public_keys_in_kms(location, shelf.require_kms(location), keyring)
        published = PublishedKeys(1, keys, keys)  # imgsec publishes them in one block
    else:
        content = shelf.files.read_public_key(location)
        with malformed_at(location):
            is_as_it_is = armoured_blocks(content) or content[:1] >= b"\x80"
            keys, published = _imported(content if is_as_it_is else unwrapped(content), keyring)
        if location.scheme == "secret" and not armoured_blocks(content):
            published = PublishedKeys(0, (), published.every)  # in a cluster it stays as it is
    if expected is None:
        return TrustedKeys(keys, published, keyring)
    if chosen := tuple(key for key in keys if key.fingerprint == expected):
        return TrustedKeys(chosen, published, keyring)
    listed = ", ".join(str(key.fingerprint) for key in keys)
    raise ImgsecError(KEY_FINGERPRINT_MISMATCH(f"{location} holds {listed}, expected {expected}"))


def load_requirements(
    policy: TrustPolicy,
    images: Iterable[ImageReference],
    read_file: Callable[[str], bytes],
    new_keyring: Callable[[], Keyring],
) -> dict[ImageReference, tuple[LoadedRequirement, ...] | ImgsecError]:
    """What the policy wants of each image, with its keys imported; or why that cannot be told.

    new_keyring: an empty one for each requirement, since one scope's copy of a key says nothing
    about another's. The errors are (requirement-unsupported, key-malformed) and what reading a
    file gives.
    """
    loaded: dict[Requirement, LoadedRequirement | ImgsecError] = {}

    def load(requirement: Requirement) -> LoadedRequirement:
        if isinstance(requirement, SignedBy) and requirement not in loaded:
            try:
                loaded[requirement] = _load(requirement, read_file, new_keyring())
            except ImgsecError as error:
                loaded[requirement] = error
        found = loaded.get(requirement, requirement)
        if isinstance(found, ImgsecError):
            raise found
        if not isinstance(found, TrustedKeys | Blanket):
            raise TypeError(f"{requirement} cannot be judged")
        return found

    wanted: dict[ImageReference, tuple[LoadedRequirement, ...] | ImgsecError] = {}
    for image in images:
        try:
            wanted[image] = tuple(map(load, policy.requirements_for(image)))
        except ImgsecError as error:
            wanted[image] = error
    return wanted


def _load(
    requirement: SignedBy, read_file: Callable[[str], bytes], keyring: Keyring
) -> TrustedKeys:
    """Of several files every key counts, as if they were published together."""
    contents = [("keyData", requirement.data)] if requirement.data is not None else []
    contents += [(path, read_file(path)) for path in requirement.paths]
    keys: dict[Fingerprint, PublicKey] = {}  # of a key, what all its copies say together
    first: list[PublicKey] = []
    for name, content in contents:
        with malformed_at(KeyLocation("file", name)):
            imported, published = _imported(content or b"", keyring)
        keys |= {key.fingerprint: key for key in imported}
        first += published.first
    every = tuple(keys.values())
    return TrustedKeys(every, PublishedKeys(1, tuple(first), every), keyring, requirement.rule)


def _imported(content: bytes, keyring: Keyring) -> tuple[tuple[PublicKey, ...], PublishedKeys]:
    """The keys in the keyring; and as they are published, a binary export as one armoured block."""
    published = read_published(content, keyring)
    keys = keyring.import_public_keys(content)
    if not published.blocks:
        return keys, PublishedKeys(1, published.every, keys)
    return keys, replace(published, every=keys)
