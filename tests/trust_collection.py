# SPDX-License-Identifier: Apache-2.0
"""Trust collections as Notary's client publishes them, made from its documentation alone.

Nothing of the reader is used here. Each step can be bent: what is signed, by whom, what is changed
after signing, and what the server hands out in the end.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

GUN = "docker.io/library/app"
Change = Callable[[dict[str, Any]], None]


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def digest_of(tag: str) -> str:
    """The hash that tests sign for a tag, in hex."""
    return hashlib.sha256(tag.encode()).hexdigest()


def certificate(
    key: Any,
    name: str,
    *,
    days: tuple[int, int] = (-1, 30),
    is_authority: bool = False,
) -> bytes:
    """A self-signed one in PEM, valid between the two days from now."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    )
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM)


@dataclass(frozen=True)
class Key:
    """A private key in the form in which a collection lists it. kind: Notary's word."""

    kind: str
    private: Any = field(repr=False)
    public: bytes = field(repr=False)
    pss: bool = True

    @classmethod
    def ecdsa(cls, curve: ec.EllipticCurve | None = None) -> Key:
        private = ec.generate_private_key(curve or ec.SECP256R1())
        return cls("ecdsa", private, _der(private))

    @classmethod
    def rsa(cls, bits: int = 2048, *, pss: bool = True) -> Key:
        private = rsa.generate_private_key(65537, bits)
        return cls("rsa", private, _der(private), pss)

    @classmethod
    def ed25519(cls) -> Key:
        private = ed25519.Ed25519PrivateKey.generate()
        raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return cls("ed25519", private, raw)

    def certified(self, name: str, more: bytes = b"", **options: Any) -> Key:
        """The same key, as a certificate."""
        public = certificate(self.private, name, **options) + more
        return Key(f"{self.kind}-x509", self.private, public, self.pss)

    @property
    def pem(self) -> bytes:
        """As a signer's Secret holds it."""
        if self.kind.endswith("-x509"):
            return self.public
        return self.private.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def entry(self) -> dict[str, Any]:
        return {"keytype": self.kind, "keyval": {"private": None, "public": b64(self.public)}}

    @property
    def id(self) -> str:
        return hashlib.sha256(canonical(self.entry)).hexdigest()

    def sign(self, message: bytes) -> dict[str, str]:
        if self.kind == "ed25519":
            method, content = "eddsa", self.private.sign(message)
        elif self.kind.startswith("ecdsa"):
            method = "ecdsa"
            der = self.private.sign(message, ec.ECDSA(hashes.SHA256()))
            size = (self.private.curve.key_size + 7) // 8
            content = b"".join(n.to_bytes(size) for n in utils.decode_dss_signature(der))
        else:
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
            scheme = pss if self.pss else padding.PKCS1v15()
            method = "rsapss" if self.pss else "rsapkcs1v15"
            content = self.private.sign(message, scheme, hashes.SHA256())
        return {"keyid": self.id, "method": method, "sig": b64(content)}


def _der(private: Any) -> bytes:
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@dataclass
class Delegation:
    """A role below another one. signers: who signs its file; its keys, where that is None."""

    name: str
    keys: Sequence[Key]
    tags: Mapping[str, str] = field(default_factory=dict)
    paths: Sequence[str] = ("",)
    threshold: int = 1
    signers: Sequence[Key] | None = None
    in_snapshot: bool = True

    @property
    def parent(self) -> str:
        return self.name.rpartition("/")[0]


@dataclass
class TrustCollection:
    """One collection, and how it is bent.

    edits: what is changed before it is signed, by role. tampers: after, in the whole file.
    served: changes to bytes, by the file's name without ``.json``, or by role for every name of it;
    None takes it away.
    """

    gun: str = GUN
    root: Key = field(default_factory=lambda: Key.ecdsa().certified(GUN))
    targets: Key = field(default_factory=Key.ecdsa)
    snapshot: Key = field(default_factory=Key.ecdsa)
    timestamp: Key = field(default_factory=Key.ed25519)
    tags: dict[str, str] = field(default_factory=lambda: {"v1": digest_of("v1")})
    delegations: list[Delegation] = field(default_factory=list)
    signers: dict[str, Sequence[Key]] = field(default_factory=dict)
    edits: dict[str, Change] = field(default_factory=dict)
    tampers: dict[str, Change] = field(default_factory=dict)
    served: dict[str, Callable[[bytes], bytes] | None] = field(default_factory=dict)

    def paths(self) -> dict[str, bytes]:
        """All files by their path on a trust server, which also answers the client's ping."""
        base = f"/v2/{self.gun}/_trust/tuf/"
        return {"/v2/": b"{}"} | {f"{base}{name}.json": body for name, body in self.files().items()}

    def files(self) -> dict[str, bytes]:
        """All files by name, with the names by hash that the client asks for."""
        base = {name: getattr(self, name) for name in ("root", "snapshot", "targets", "timestamp")}
        root = {
            "consistent_snapshot": False,
            "keys": {key.id: key.entry for key in base.values()},
            "roles": {name: {"keyids": [key.id], "threshold": 1} for name, key in base.items()},
        }
        content = {"root": self._signed("root", "Root", root, [self.root])}
        for role in ("targets", *(each.name for each in self.delegations if each.in_snapshot)):
            content[role] = self._targets(role)
        meta = {"meta": {role: _meta(body) for role, body in content.items()}}
        content["snapshot"] = self._signed("snapshot", "Snapshot", meta, [self.snapshot])
        meta = {"meta": {"snapshot": _meta(content["snapshot"])}}
        content["timestamp"] = self._signed("timestamp", "Timestamp", meta, [self.timestamp])
        named = dict(content)
        named |= {
            f"{role}.{hashlib.sha256(body).hexdigest()}": body for role, body in content.items()
        }
        return self._bent(named)

    def _bent(self, named: dict[str, bytes]) -> dict[str, bytes]:
        found = {}
        for name, body in named.items():
            key = name if name in self.served else name.partition(".")[0]
            change = self.served.get(key, lambda whole: whole)
            if change is not None:
                found[name] = change(body)
        return found

    def _targets(self, role: str) -> bytes:
        own = next((each for each in self.delegations if each.name == role), None)
        tags = own.tags if own else self.tags
        children = [each for each in self.delegations if each.parent == role]
        listed = [
            {
                "keyids": [key.id for key in each.keys],
                "name": each.name,
                "paths": list(each.paths),
                "threshold": each.threshold,
            }
            for each in children
        ]
        keys = {key.id: key.entry for each in children for key in each.keys}
        signed = {
            "delegations": {"keys": keys, "roles": listed},
            "targets": {
                tag: {"hashes": {"sha256": b64(bytes.fromhex(value))}, "length": 100}
                for tag, value in tags.items()
            },
        }
        by = [self.targets] if own is None else own.keys if own.signers is None else own.signers
        return self._signed(role, "Targets", signed, by)

    def _signed(self, role: str, kind: str, fields: dict[str, Any], keys: Sequence[Key]) -> bytes:
        expires = (datetime.now(UTC) + timedelta(days=10)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
        signed = copy.deepcopy({"_type": kind, "expires": expires, "version": 1} | fields)
        self.edits.get(role, lambda _: None)(signed)
        message = canonical(signed)
        signatures = [key.sign(message) for key in self.signers.get(role, keys)]
        document = {"signed": signed, "signatures": signatures}
        self.tampers.get(role, lambda _: None)(document)
        return canonical(document)


def _meta(body: bytes) -> dict[str, Any]:
    digests = {"sha256": b64(hashlib.sha256(body).digest())}
    return {"hashes": digests | {"sha512": b64(hashlib.sha512(body).digest())}, "length": len(body)}
