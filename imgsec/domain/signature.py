# SPDX-License-Identifier: Apache-2.0
"""Simple signing: the payload that is signed, and whether it speaks of a given image.

Format: containers-signature(5), "JSON Data Format of atomic container signature". The parser is
as strict as containers/image (`signature/simple.go`): no unknown or repeated member in
``critical``, exact types.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from imgsec.domain import strict_json
from imgsec.domain.identity import USUAL_RULE, IdentityRule
from imgsec.domain.keys import Fingerprint
from imgsec.domain.reference import Digest, ImageReference, shown
from imgsec.errors import ImgsecError, UnrecognisedSignature
from imgsec.reasons import (
    ANSWER_MALFORMED,
    DIGEST_MISMATCH,
    IDENTITY_MISMATCH,
    PAYLOAD_MALFORMED,
    SIGNATURE_INVALID,
    Reason,
)

_INT64 = 2**63
PAYLOAD_TYPE = "atomic container signature"
PAYLOAD_MAX_BYTES = 64 * 1024  # ours; a payload that skopeo writes has about 300 bytes
SIGNATURE_MAX_BYTES = 4 * 2**20  # containers/image, internal/iolimits: MaxSignatureBodySize
SIGNATURES_MAX = 128  # containers/image: the most that a lookaside read takes


@dataclass(frozen=True, slots=True)
class SimpleSigningPayload:
    """The claim: this manifest digest goes by this name.

    identity is kept as written; comparing it is the verifier's business. creator and timestamp
    (seconds since the epoch) are optional and decide nothing.
    """

    identity: str
    digest: Digest
    creator: str | None = None
    timestamp: int | None = None

    def serialize(self) -> bytes:
        """The bytes to sign: no member that a verifier could stumble over, in skopeo's order."""
        import json

        said = {"creator": self.creator, "timestamp": self.timestamp}
        critical = {
            "identity": {"docker-reference": self.identity},
            "image": {"docker-manifest-digest": str(self.digest)},
            "type": PAYLOAD_TYPE,
        }
        optional = {name: value for name, value in said.items() if value is not None}
        document = {"critical": critical, "optional": optional}
        return json.dumps(document, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Raises `ImgsecError` (payload-malformed)."""
        if len(content) > PAYLOAD_MAX_BYTES:
            raise _malformed(f"it has {len(content)} bytes")
        try:
            # As Go reads it, which fills no structure here and replaces what is no UTF-8.
            text = content.decode("utf-8", "replace")
            document = strict_json.parse(text, folds_case=False)
        except (ValueError, RecursionError) as error:
            raise _malformed("it is not strict JSON") from error
        top = _members(document, "the payload", {"critical", "optional"})
        critical = _members(top["critical"], "critical", {"type", "image", "identity"})
        image = _members(critical["image"], "image", {"docker-manifest-digest"})
        identity = _members(critical["identity"], "identity", {"docker-reference"})
        optional = top["optional"]
        if critical["type"] != PAYLOAD_TYPE:
            raise _malformed("its type is another")
        if not isinstance(optional, dict):
            raise _malformed("optional is not an object")
        creator, timestamp = optional.get("creator"), optional.get("timestamp")
        if creator is not None and not isinstance(creator, str):
            raise _malformed("creator is not a text")
        if isinstance(timestamp, float) and timestamp.is_integer():
            timestamp = int(timestamp)  # Go's JSON knows one kind of number
        if timestamp is not None and (
            isinstance(timestamp, bool)
            or not isinstance(timestamp, int)
            or not -_INT64 <= timestamp < _INT64
        ):
            raise _malformed("timestamp is not a whole number")
        try:
            digest = Digest.parse(_text(image["docker-manifest-digest"]))
        except ImgsecError as error:
            raise _malformed("its digest is not a sha256 digest") from error
        return cls(_text(identity["docker-reference"]), digest, creator, timestamp)

    def flaws(
        self,
        image: ImageReference,
        rule: IdentityRule = USUAL_RULE,
        *,
        pulled: ImageReference | None = None,
    ) -> tuple[Reason, ...]:
        """Why the claim is not about this canonical image; empty if it is.

        The usual rule is the default of containers tools and of Portieris: the exact
        ``repository:tag`` for an image with a tag, else the same repository. pulled: what the
        image is pulled as, if that is another digest, of the index that lists it.
        """
        found = []
        if self.digest != image.digest:
            found.append(DIGEST_MISMATCH(f"a signature speaks of {self.digest}"))
        if not rule.accepts(pulled or image, self.identity):
            wanted = "" if rule == USUAL_RULE else f", and the policy wants {rule}"
            found.append(IDENTITY_MISMATCH(f"a signature is for {shown(self.identity)}{wanted}"))
        return tuple(found)


# The first bytes by which readers of stores know OpenPGP: one-pass, compressed, signature packets.
_OPENPGP_BEGINS = frozenset(
    (*range(0x90, 0x93), *range(0xA0, 0xA4), *range(0x88, 0x8C), 0xC4, 0xC8, 0xC2)
)
_NAMED_FORMAT = re.compile(rb"\x00([a-z-]+)\n")


def stored_signature(content: bytes, where: str, place: str = "") -> bytes | None:
    """What lies in a file of a store or of an image's folder; None for one of another format.

    As every reader of such files does it (containers/image, `internal/signature.FromBlob`), which
    refuses the image for anything else. place: the file's address or path. Raises
    `UnrecognisedSignature`: (signature-invalid) for an armoured one; (answer-malformed) for what is
    no signature at all, such as the page that a web server shows for everything that is not there.
    """
    if content.startswith(b"-----BEGIN PGP "):
        reason = SIGNATURE_INVALID(f"{where} is armoured, and stores hold binary ones")
        raise UnrecognisedSignature(reason, place=place, first_byte=content[0])
    if named := _NAMED_FORMAT.match(content):
        return content[named.end() :] if named[1] == b"simple-signing" else None
    if not content or content[0] not in _OPENPGP_BEGINS:
        reason = ANSWER_MALFORMED(f"{where} is no signature")
        first = content[0] if content else None
        raise UnrecognisedSignature(reason, place=place, first_byte=first)
    return content


class MessageForm(StrEnum):
    """How an OpenPGP signature holds what it signs."""

    ONE_PASS = "one-pass"  # noqa: S105 - binary, as gpg --sign and GPGME make it
    SIGNATURE_FIRST = "signature-first"  # binary, the older order of packets
    ARMOURED = "armoured"  # as text, or clear-signed
    FOLLOWED = "followed"  # one-pass, with further bytes behind it


@dataclass(frozen=True, slots=True)
class OpenPGPMessage:
    """What gpg says of one signature that fits its content, of whatever key and age.

    signer: the primary key's fingerprint; made_by: that of the key that made it, a subkey perhaps.
    signed_at is in UTC, and the signer's own claim. digest_algorithm: as gpg names it, ``SHA256``.
    is_binary: over a binary document, not over a text. unknown_to_go: it has a part that Go's
    library does not know, and that is marked as critical. Whether it counts is the verifier's
    business (`imgsec.domain.verifiers`).
    """

    content: bytes
    signer: Fingerprint
    signed_at: datetime
    made_by: Fingerprint
    digest_algorithm: str = "SHA256"
    form: MessageForm = MessageForm.ONE_PASS
    is_binary: bool = True
    has_expired: bool = False
    key_has_ended: bool = False
    key_is_revoked: bool = False
    unknown_to_go: bool = False


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _malformed("a member that must be a text is none")
    return value


def _members(value: object, where: str, names: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _malformed(f"{where} is not an object")
    if set(value) != names:
        odd = sorted(set(value) ^ names)
        raise _malformed(f"{where} has missing or unknown members: {shown(', '.join(odd))}")
    return value


def _malformed(why: str) -> ImgsecError:
    return ImgsecError(PAYLOAD_MALFORMED(f"what was signed is not a signing payload: {why}"))
