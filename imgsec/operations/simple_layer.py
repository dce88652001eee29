# SPDX-License-Identifier: Apache-2.0
"""What Portieris's simple signing answers for one image, word for word.

Set-up first (keys, identities, the store), then the manifest, anonymously and with each pull
secret, then the signatures, requirement by requirement (Portieris `pkg/verifier/simple`,
containers/image `signature/policy_eval*.go`). Signatures are opened by gpg, and judged as the
engine's own library does it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from imgsec.domain import engine_texts as texts
from imgsec.domain.admission import LayerOutcome, LayerTrace
from imgsec.domain.engine_keys import SetUpError, identity_rule, public_block
from imgsec.domain.engines import Layer
from imgsec.domain.hosts import without_login
from imgsec.domain.identity import ClaimedName, IdentityRule
from imgsec.domain.keys import PublicKey, SecretBytes
from imgsec.domain.kubernetes import secret_value
from imgsec.domain.openpgp import claims_of
from imgsec.domain.payload_in_go import payload_flaw
from imgsec.domain.policy_rules import Requirement, SimpleDemand
from imgsec.domain.pull_secrets import PullCredential
from imgsec.domain.reference import Digest, ImageReference
from imgsec.domain.signature import OpenPGPMessage, SimpleSigningPayload
from imgsec.domain.verifiers import PublishedKeys, Verifier, key_flaws, message_flaws
from imgsec.errors import ImgsecError, UnrecognisedSignature
from imgsec.operations.image_evidence import (
    DEFINITE,
    UNAUTHORISED,
    Deployed,
    RememberedImages,
)
from imgsec.ports import AdmissionState, Keyring, StoreAddress
from imgsec.reasons import (
    ADMISSION_OPEN,
    INSECURE_ADDRESS,
    INVALID_OPTION,
    KEY_MALFORMED,
    KEY_REVOKED,
    KEY_UNREADABLE,
    PERMISSION_DENIED,
    Outcome,
    Reason,
)

_NAME = "simple"
_ED25519_TYPE = 22
_ADDRESS_HINT = "Let the policy name https://host[:port]/path, without a user or a query."


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys of one Secret. readable: those that the engine's library takes in."""

    keyring: Keyring
    every: tuple[PublicKey, ...]
    readable: tuple[PublicKey, ...]


@dataclass(frozen=True, slots=True)
class _SignedBy:
    """block: the armoured public keys."""

    block: bytes
    rule: IdentityRule


@dataclass(frozen=True, slots=True)
class _Rejection:
    """Why a signature, or the image, is not accepted. is_denial: else it is the engine's error."""

    text: str
    is_denial: bool = True


_Loaded = _SignedBy | str  # or the type of a requirement that looks at no signature
_SetUp = tuple[list[_Loaded], StoreAddress | None]


class SimpleLayer:
    """new_keyring: an empty one for each key Secret, since copies of a key may differ."""

    def __init__(
        self,
        state: AdmissionState,
        images: RememberedImages | None,
        new_keyring: Callable[[], Keyring],
        now: datetime,
    ) -> None:
        self._state = state
        self._images = images
        self._new_keyring = new_keyring
        self._now = now
        self._keys: dict[bytes, _Keys] = {}
        self._set_ups: dict[tuple[str, SimpleDemand], _SetUp | SetUpError] = {}

    def check(self, deployed: Deployed, demand: SimpleDemand, offline: Reason) -> LayerTrace:
        """What the engine says. offline: why nothing is asked, where nothing may be."""
        try:
            requirements, store = self._set_up(demand, deployed.namespace)
        except SetUpError as error:
            return _failed(str(error))
        except ImgsecError as error:
            if error.reason.code != PERMISSION_DENIED.code:
                raise
            return LayerTrace(Layer.SIMPLE, LayerOutcome.OPEN, why=as_open(error.reason))
        try:
            _require_one_version(deployed)
        except SetUpError as error:
            return _failed(texts.failed(_NAME, str(error)))
        if self._images is None:
            return LayerTrace(Layer.SIMPLE, LayerOutcome.OPEN, why=offline)
        return self._judge(deployed, requirements, store, self._images)

    def _set_up(self, demand: SimpleDemand, namespace: str) -> _SetUp:
        """What a rule asks for in a namespace. Raises `SetUpError`."""
        key = (namespace, demand)
        if key not in self._set_ups:
            try:
                requirements = [self._load(one, namespace) for one in demand.requirements]
                self._set_ups[key] = (requirements, self._store(demand, namespace))
            except SetUpError as error:
                self._set_ups[key] = error
        found = self._set_ups[key]
        if isinstance(found, SetUpError):
            raise found
        return found

    def _judge(
        self,
        deployed: Deployed,
        requirements: list[_Loaded],
        store: StoreAddress | None,
        images: RememberedImages,
    ) -> LayerTrace:
        found = read_manifest(deployed, images, store)
        if isinstance(found, Unread):
            message = texts.failed(_NAME, found.message)
            return _failed(message) if found.why is None else _open(message, found.why)
        canonical = found.image.at(found.digest)
        for requirement in requirements:
            try:
                rejection = self._reject(requirement, deployed, canonical, found, store, images)
            except UnrecognisedSignature as error:
                return _failed(texts.failed(_NAME, _unrecognised(error)))
            except ImgsecError as error:
                return _unread_signatures(error.reason)
            if rejection is not None:
                if rejection.is_denial:
                    text = texts.denied(_NAME, rejection.text)
                    return LayerTrace(Layer.SIMPLE, LayerOutcome.DENIED, text)
                return _failed(texts.failed(_NAME, rejection.text))
        if not found.is_seen and not any(isinstance(one, _SignedBy) for one in requirements):
            text = f"whether {found.image} is there is not known: only its name was looked at"
            return LayerTrace(Layer.SIMPLE, LayerOutcome.OPEN, why=ADMISSION_OPEN(text))
        return LayerTrace(Layer.SIMPLE, LayerOutcome.PASSED, digest=found.digest.hex)

    def _reject(
        self,
        requirement: _Loaded,
        deployed: Deployed,
        canonical: ImageReference,
        found: ReadManifest,
        store: StoreAddress | None,
        images: RememberedImages,
    ) -> _Rejection | None:
        """Why one requirement is not met. Raises `ImgsecError` as reading signatures does."""
        if requirement == "insecureAcceptAnything":
            return None
        if not isinstance(requirement, _SignedBy):
            return _Rejection(texts.rejected(_familiar(deployed)))
        try:
            signatures = images.signatures(canonical, found.credential, store)
        except ImgsecError as error:
            if error.reason.code != "signature-store-missing":
                raise
            signatures = ()
        rejections = []
        for signature in signatures:
            rejection = self._flaw(signature, requirement, deployed, canonical)
            if rejection is None:
                return None
            rejections.append(rejection)
        if not rejections:
            return _Rejection(texts.NO_SIGNATURE)
        if len(rejections) == 1:
            return rejections[0]
        return _Rejection(texts.none_accepted([one.text for one in rejections]))

    def _flaw(
        self, signature: bytes, wanted: _SignedBy, deployed: Deployed, canonical: ImageReference
    ) -> _Rejection | None:
        """Why one signature does not count; None if it does."""
        keys = self._read(wanted.block)
        if not keys.every:
            return _Rejection("No public keys imported")
        if not keys.readable and not any(key.is_revoked for key in keys.every):
            return _Rejection(texts.unsupported_key(_ED25519_TYPE), is_denial=False)
        message = self._opened(signature, keys)
        if isinstance(message, _Rejection):
            return message
        if (flaw := payload_flaw(message.content)) is not None:
            return _Rejection(flaw, is_denial=False)
        try:
            payload = SimpleSigningPayload.parse(message.content)
        except ImgsecError as error:  # where we are stricter
            return _Rejection(error.reason.text, is_denial=False)
        if payload.digest != canonical.digest:
            return _Rejection(texts.digest_does_not_match(str(payload.digest)))
        if not wanted.rule.accepts_name(_pulled(deployed), payload.identity):
            return _Rejection(texts.identity_not_accepted(payload.identity))
        return None

    def _opened(self, signature: bytes, keys: _Keys) -> OpenPGPMessage | _Rejection:
        """What was signed, or why the engine's library takes it for nothing."""
        claims = claims_of(signature)
        not_found = texts.key_not_found(claims.key_id if claims else 0)
        signers = [key.fingerprint for key in keys.readable]
        if not signers:  # revoked ones, which the library keeps and never finds
            return _Rejection(not_found, is_denial=False)
        message = keys.keyring.open_message(signature, signers)
        if isinstance(message, Reason):
            if message.code == "signature-untrusted":
                return _Rejection(not_found, is_denial=False)
            text = "signature error: openpgp: invalid signature: hash tag doesn't match"
            return _Rejection(text, is_denial=False)
        if message.key_is_revoked:
            return _Rejection(not_found, is_denial=False)
        if message.has_expired:
            ended = claims.ends if claims is not None and claims.ends is not None else 0
            when = f"{datetime.fromtimestamp(ended, UTC):%Y-%m-%d %H:%M:%S} +0000 UTC"
            return _Rejection(texts.signature_expired(when), is_denial=False)
        for flaw in message_flaws(Verifier.PORTIERIS, message):
            return _Rejection(f"openpgp: {flaw.text}", is_denial=False)
        return message

    def _load(self, requirement: Requirement, namespace: str) -> _Loaded:
        """Raises `SetUpError`."""
        if requirement.kind in ("insecureAcceptAnything", "reject"):
            return requirement.kind
        if requirement.kind != "signedBy":
            raise SetUpError(texts.invalid_requirement_type(requirement.kind))
        if not requirement.key_secret:
            raise SetUpError(texts.KEY_SECRET_MISSING)
        where = requirement.key_namespace or namespace
        document = self._state.find_secret(where, requirement.key_secret)
        if document is None:
            raise SetUpError(texts.secret_not_found(requirement.key_secret))
        content = secret_value(document, "key")
        if content is None:
            raise SetUpError(texts.no_key_attribute(requirement.key_secret, where))
        block = public_block(content)
        return _SignedBy(block, identity_rule(requirement.identity))

    def _read(self, block: bytes) -> _Keys:
        """The keys in a block, as the engine's library takes them in.

        Raises `ImgsecError` as gpg does.
        """
        if block not in self._keys:
            self._keys[block] = self._imported(block)
        return self._keys[block]

    def _imported(self, block: bytes) -> _Keys:
        keyring = self._new_keyring()
        try:
            every = keyring.inspect_public_keys(block)
        except ImgsecError as error:
            if error.reason.code != KEY_MALFORMED.code:
                raise
            return _Keys(keyring, (), ())
        published = PublishedKeys(1, every, every)
        lost = (KEY_UNREADABLE.code, KEY_REVOKED.code)
        readable = tuple(
            key
            for key in every
            if not any(
                flaw.code in lost
                for flaw in key_flaws(Verifier.PORTIERIS, key.fingerprint, published, self._now)
            )
        )
        if readable:
            keyring.import_public_keys(block)
        return _Keys(keyring, every, readable)

    def _store(self, demand: SimpleDemand, namespace: str) -> StoreAddress | None:
        """Raises `SetUpError`."""
        pair = None
        if demand.store_secret:
            document = self._state.find_secret(namespace, demand.store_secret)
            if document is None:
                raise SetUpError(texts.secret_not_found(demand.store_secret))
            username = secret_value(document, "username")
            password = secret_value(document, "password")
            if username is None:
                raise SetUpError(texts.no_username(demand.store_secret))
            if password is None:
                raise SetUpError(texts.no_password(demand.store_secret))
            pair = SecretBytes(username + b":" + password) if username else None
        if not demand.store_url:
            return None
        if not demand.store_url.startswith(("http://", "https://")):
            raise SetUpError(texts.no_web_address(without_login(demand.store_url)))
        return StoreAddress(demand.store_url, pair)


@dataclass(frozen=True, slots=True)
class ReadManifest:
    """A manifest's digest, and the credential that it was read with.

    is_seen: whether there is a manifest, and not a name alone that says so.
    """

    image: ImageReference
    digest: Digest
    credential: PullCredential | None
    is_seen: bool = True


@dataclass(frozen=True, slots=True)
class Unread:
    """message: the engine's, if it gets the same answers. why: it may get others; None: it will.

    last: the last answer, whatever it is.
    """

    message: str
    why: Reason | None
    last: Reason


def read_manifest(
    deployed: Deployed, images: RememberedImages, store: StoreAddress | None
) -> ReadManifest | Unread:
    """The manifest as the engine reads it: anonymously first, then with each credential."""
    name = deployed.name
    try:
        image = deployed.image
    except ImgsecError as error:  # a name that the engine takes and we do not
        return Unread(texts.no_pull_secret(name.text, 0), error.reason, error.reason)
    reasons = []
    for credential in (None, *deployed.credentials):
        try:
            manifest = images.manifest(image, credential, store)
        except ImgsecError as error:
            reasons.append(error.reason)
            continue
        return ReadManifest(image, manifest.digest, credential, bool(manifest.content))
    why = next((one for one in reasons if not _is_definite(one)), deployed.closed)
    if not deployed.credentials:
        return Unread(texts.no_pull_secret(name.text, 0), why, reasons[-1])
    return Unread(_last_error(deployed, reasons[-1]), why, reasons[-1])


def as_open(reason: Reason) -> Reason:
    """Why a layer is open; a place that a policy names and we do not ask is no usage error."""
    if reason.outcome is Outcome.UNDECIDED:
        return reason
    is_address = reason.code in (INSECURE_ADDRESS.code, INVALID_OPTION.code)
    return ADMISSION_OPEN(reason.text, hint=_ADDRESS_HINT if is_address else reason.hint)


def _is_definite(reason: Reason) -> bool:
    return reason.code in DEFINITE or reason.outcome is Outcome.REFUSED


def _last_error(deployed: Deployed, reason: Reason) -> str:
    name = deployed.name
    version = f"sha256:{name.digest}" if name.digest else name.tag
    if reason.code == "image-not-found":
        return texts.manifest_unread(version, name.repository, "manifest unknown")
    if reason.code in UNAUTHORISED:
        return texts.manifest_unread(version, name.repository, "unauthorized")
    return texts.registry_unreached(name.domain, f'Get "https://{name.domain}/v2/": {reason.text}')


def _unread_signatures(reason: Reason) -> LayerTrace:
    """The signatures could not be read."""
    message = texts.failed(_NAME, reason.text)
    return _failed(message) if _is_definite(reason) else _open(message, reason)


def _unrecognised(error: UnrecognisedSignature) -> str:
    if error.first_byte is None:
        return f"parsing signature {error.place}: empty signature blob"
    return texts.unrecognized_signature(error.place, error.first_byte)


def _failed(message: str) -> LayerTrace:
    return LayerTrace(Layer.SIMPLE, LayerOutcome.FAILED, message)


def _open(message: str, reason: Reason) -> LayerTrace:
    """message: what the engine says if it is told the same; where nobody was asked, nothing."""
    why = as_open(reason)
    said = "" if why.code == ADMISSION_OPEN.code else message
    return LayerTrace(Layer.SIMPLE, LayerOutcome.OPEN, said, why=why)


_HEX_MIN, _HEX_CHARS = 32, 64


def _require_one_version(deployed: Deployed) -> None:
    """What containers/image says to the image's text as a reference. Raises `SetUpError`."""
    rest = deployed.name.text.partition("@")[2]
    if not rest:
        return
    algorithm, _, digits = rest.partition(":")
    if algorithm == "sha256":
        if len(digits) < _HEX_MIN or not all(one in "0123456789abcdefABCDEF" for one in digits):
            raise SetUpError(texts.INVALID_REFERENCE_FORMAT)
        if len(digits) != _HEX_CHARS:
            raise SetUpError("invalid checksum digest length")
        if digits != digits.lower():
            raise SetUpError("invalid checksum digest format")
    if ":" in deployed.name.text.partition("@")[0].rpartition("/")[2]:
        raise SetUpError(texts.TAG_AND_DIGEST)


def _pulled(deployed: Deployed) -> ClaimedName:
    name = deployed.name
    if name.digest:
        return ClaimedName(name.repository, None, f"sha256:{name.digest}")
    return ClaimedName(name.repository, name.tag, None)


def _familiar(deployed: Deployed) -> str:
    """As people write it, without Docker Hub's defaults (distribution/reference: Familiar...)."""
    name = deployed.name
    short = name.repository.removeprefix("docker.io/")
    if short != name.repository and short.count("/") == 1:
        short = short.removeprefix("library/")
    return f"{short}@sha256:{name.digest}" if name.digest else f"{short}:{name.tag}"
