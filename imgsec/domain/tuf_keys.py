# SPDX-License-Identifier: Apache-2.0
"""Keys of Docker Content Trust: how one is named, and which signatures it accepts.

A key's id is the SHA-256 of its canonical JSON, type and public bytes. A key that came as a
certificate keeps that form, so the same key with and without one has two ids (Notary 0.7,
`tuf/data/keys.go`, `tuf/utils/x509.go`, `tuf/signed/verifiers.go`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from imgsec.domain.canonical_json import canonical
from imgsec.domain.engine_name import Panic
from imgsec.domain.engine_texts import NO_VALID_PUBLIC_KEY, quoted

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

RSA_MIN_BITS = 2048
_CERTIFICATE, _PUBLIC_KEY = "CERTIFICATE", "PUBLIC KEY"
_PEM_LINE_CHARS = 64
_LEEWAY = timedelta(days=1)  # for a certificate that is not valid yet
_CURVES = ("secp224r1", "secp256r1", "secp384r1", "secp521r1")  # those that Go has
_OF_RSA, _OF_EC = ("rsa", "rsa-x509"), ("ecdsa", "ecdsa-x509")
_PSS_SALT_BYTES = 32


class KeyRefused(ValueError):
    """The engine cannot use this key; the text is its own."""


@dataclass(frozen=True, slots=True)
class TrustKey:
    """A public key. algorithm: as Notary writes it. public: DER, PEM of certificates, or raw."""

    algorithm: str
    public: bytes

    @classmethod
    def of_pem(cls, content: bytes, now: datetime) -> Self:
        """The first block, as the engine reads a signer's key.

        Raises `KeyRefused` with the engine's words, `Panic` where its handler breaks, `ValueError`
        where its words are not known.
        """
        kind, block = next(pem_blocks(content), ("", b""))
        if not kind:
            raise KeyRefused(NO_VALID_PUBLIC_KEY)
        if kind == _CERTIFICATE:
            return cls._of_certificate(_certificate(block), now)
        if kind != _PUBLIC_KEY:
            text = f"unsupported PEM block type {quoted(kind)}, expected CERTIFICATE or PUBLIC KEY"
            raise KeyRefused(text)
        algorithm = _algorithm_of(_public_key(block))
        if algorithm is None:
            raise KeyRefused("unknown public key format")
        return cls(algorithm, block)

    @classmethod
    def _of_certificate(cls, certificate: Certificate, now: datetime) -> Self:
        if complaint := complaint_about(certificate, now):
            raise KeyRefused(f"invalid certificate: {complaint}")
        key = cls.of_chain([certificate])
        if key is None:
            raise Panic("a signer's certificate has a key that is neither RSA nor ECDSA")
        return key

    @classmethod
    def of_chain(cls, chain: list[Certificate]) -> Self | None:
        """By the first certificate's kind of key; None for one that Notary does not take."""
        algorithm = _algorithm_of(chain[0].public_key())
        if algorithm is None:
            return None
        return cls(f"{algorithm}-x509", b"".join(_pem(each) for each in chain))

    @property
    def id(self) -> str:
        return _key_id(self.algorithm, self.public)

    @property
    def bare_id(self) -> str:
        """The id without the certificate, which is what the docker command prints.

        Raises `ValueError`.
        """
        if not self.algorithm.endswith("-x509"):
            return self.id
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        key = first_certificate(self.public).public_key()
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return _key_id(self.algorithm.removesuffix("-x509"), der)

    def accepts(self, method: str, signature: bytes, message: bytes) -> bool:
        """Whether this is a signature by the key. method: as Notary calls it."""
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

        try:
            return _CHECKS[method](self, signature, message)
        except (KeyError, ValueError, InvalidSignature, UnsupportedAlgorithm):
            return False


def _key_id(algorithm: str, public: bytes) -> str:
    value = {"private": None, "public": base64.b64encode(public).decode("ascii")}
    return hashlib.sha256(canonical({"keytype": algorithm, "keyval": value})).hexdigest()


def pem_blocks(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Label and bytes of each block that can be decoded; other text is passed over."""
    label, lines = "", list[bytes]()
    for line in content.split(b"\n"):
        text = line.rstrip(b" \t\r")
        if text.startswith(b"-----BEGIN ") and text.endswith(b"-----"):
            label, lines = text[11:-5].decode("utf-8", "replace"), []
        elif label and text == b"-----END " + label.encode() + b"-----":
            block = _decoded(lines)
            if block is not None:
                yield label, block
            label = ""
        elif label:
            lines.append(text)


def _decoded(lines: list[bytes]) -> bytes | None:
    """The bytes of a block, without its headers; None if it is none."""
    body = b"".join(each for each in lines if b":" not in each)
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        return None


def certificates(content: bytes) -> list[Certificate]:
    """All certificates of a root key. Raises `ValueError` if there is anything else."""
    blocks = list(pem_blocks(content))
    if not blocks or any(label != _CERTIFICATE for label, _ in blocks):
        raise ValueError("no certificates, or not certificates alone")
    return [_certificate(block) for _, block in blocks]


def first_certificate(content: bytes) -> Certificate:
    """Raises `ValueError`."""
    for label, block in pem_blocks(content):
        if label == _CERTIFICATE:
            return _certificate(block)
    raise ValueError("no certificate")


def complaint_about(certificate: Certificate, now: datetime | None) -> str | None:
    """Why Notary refuses a certificate, in its words; None: it does not. now: None for any time."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    name = common_name(certificate)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if begins > ends:
        return "certificate validity window is invalid"
    if certificate.signature_algorithm_oid.dotted_string in _SHA1_SIGNATURES:
        return f"certificate with CN {name} uses invalid SHA1 signature algorithm"
    key = certificate.public_key()
    if isinstance(key, RSAPublicKey) and key.key_size < RSA_MIN_BITS:
        return "RSA bit length is too short"
    if now is not None and (now + _LEEWAY < begins or now > ends):
        return f"certificate with CN {name} is expired"
    return None


# RSA, DSA and ECDSA, each with SHA-1 (RFC 3279).
_SHA1_SIGNATURES = ("1.2.840.113549.1.1.5", "1.2.840.10040.4.3", "1.2.840.10045.4.1")


def common_name(certificate: Certificate) -> str:
    """The last one, as Go takes it; empty for none."""
    from cryptography.x509.oid import NameOID

    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[-1].value) if names else ""


def is_authority(certificate: Certificate) -> bool:
    """Whether the certificate may sign others."""
    from cryptography.x509 import BasicConstraints, ExtensionNotFound

    try:
        return certificate.extensions.get_extension_for_class(BasicConstraints).value.ca
    except ExtensionNotFound:
        return False


def _certificate(der: bytes) -> Certificate:
    """Raises `ValueError`, also for what would only be found out when it is asked for.

    What the library raises for a strange certificate has no base in common.
    """
    from cryptography.x509 import load_der_x509_certificate

    try:
        certificate = load_der_x509_certificate(der)
        complaint_about(certificate, None)
        is_authority(certificate)
    except Exception as error:
        raise ValueError(f"the certificate cannot be read: {error}") from error
    return certificate


def _public_key(der: bytes) -> Any:
    """Raises `ValueError`."""
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        return load_der_public_key(der)
    except Exception as error:
        raise ValueError(f"the key cannot be read: {error}") from error


def _pem(certificate: Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _algorithm_of(key: object) -> str | None:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if isinstance(key, EllipticCurvePublicKey):
        return "ecdsa"
    return "rsa" if isinstance(key, RSAPublicKey) else None


def _loaded(key: TrustKey) -> Any:
    """The key for a signature. A certificate's block counts whatever its label says."""
    if not key.algorithm.endswith("-x509"):
        return _public_key(key.public)
    _, block = next(pem_blocks(key.public), ("", b""))
    return _certificate(block).public_key()


def _checks_ecdsa(key: TrustKey, signature: bytes, message: bytes) -> bool:
    from cryptography.hazmat.primitives.asymmetric import ec, utils
    from cryptography.hazmat.primitives.hashes import SHA256

    public = _loaded(key) if key.algorithm in _OF_EC else None
    if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name not in _CURVES:
        return False
    size = (public.curve.key_size + 7) // 8
    if len(signature) != 2 * size:
        return False
    pair = (int.from_bytes(signature[:size]), int.from_bytes(signature[size:]))
    public.verify(utils.encode_dss_signature(*pair), message, ec.ECDSA(SHA256()))
    return True


def _checks_rsa(key: TrustKey, signature: bytes, message: bytes, *, is_pss: bool) -> bool:
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    public = _loaded(key) if key.algorithm in _OF_RSA else None
    if not isinstance(public, rsa.RSAPublicKey) or public.key_size < RSA_MIN_BITS:
        return False
    scheme = padding.PSS(padding.MGF1(SHA256()), _PSS_SALT_BYTES) if is_pss else padding.PKCS1v15()
    public.verify(signature, message, scheme, SHA256())
    return True


def _checks_ed25519(key: TrustKey, signature: bytes, message: bytes) -> bool:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if key.algorithm != "ed25519":
        return False
    Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message)
    return True


_CHECKS = {
    "ecdsa": _checks_ecdsa,
    "eddsa": _checks_ed25519,
    "rsapss": lambda *given: _checks_rsa(*given, is_pss=True),
    "rsapkcs1v15": lambda *given: _checks_rsa(*given, is_pss=False),
}
