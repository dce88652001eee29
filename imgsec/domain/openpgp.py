# SPDX-License-Identifier: Apache-2.0
"""The packets of an OpenPGP message: enough to say who could read it, and nothing about its truth.

Verifiers that agree about every honest signature differ about odd ones: gpgv stops behind the first
message, GPGME reads on and fails, Go's library wants the packets in one order. RFC 4880, sections 4
and 5. Whether a signature fits its content is gpg's business alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from imgsec.domain.signature import PAYLOAD_MAX_BYTES, MessageForm

_SIGNATURE, _ONE_PASS, _COMPRESSED, _LITERAL = 2, 4, 8, 11
_UNPACKED_MAX_BYTES = 2 * PAYLOAD_MAX_BYTES
_ARMOURED = (b"-----BEGIN PGP MESSAGE-----", b"-----BEGIN PGP SIGNED MESSAGE-----")
# Of the hashed parts of a signature, those that golang.org/x/crypto knows
# (`openpgp/packet/signature.go`); it refuses any other that is marked as critical.
_KNOWN_TO_GO = frozenset((2, 3, 9, 11, 16, 21, 22, 25, 27, 29, 30, 32))
_CRITICAL = 0x80
_CREATED, _LIFETIME, _ISSUER = 2, 3, 16  # parts of a signature
_VERSION = 4


@dataclass(frozen=True, slots=True)
class MessageShape:
    """How a message is built. unknown_to_go: a critical part that Go's library does not know."""

    form: MessageForm
    unknown_to_go: bool = False


def shape_of(message: bytes) -> MessageShape | None:
    """The shape of a message with one signature over one document, and nothing else in it.

    None for everything else: further packets, packets that are cut, compression that does not
    unpack. Only what stands behind a whole message is told, since Go does not look at it.
    """
    if message.startswith(_ARMOURED):
        return MessageShape(MessageForm.ARMOURED)
    try:
        if (more := _behind_first_message(message)) is not None:
            return more
        packets = list(_packets(message))
        if [tag for tag, _ in packets] == [_COMPRESSED]:
            packets = list(_packets(_unpacked(packets[0][1])))
        tags = [tag for tag, _ in packets]
        bodies = [body for tag, body in packets if tag == _SIGNATURE]
        if tags == [_ONE_PASS, _LITERAL, _SIGNATURE]:
            return MessageShape(MessageForm.ONE_PASS, _is_unknown_to_go(bodies[0]))
        if tags == [_SIGNATURE, _LITERAL]:
            return MessageShape(MessageForm.SIGNATURE_FIRST, _is_unknown_to_go(bodies[0]))
    except (ValueError, IndexError, OSError, EOFError, zlib.error):
        pass
    return None


@dataclass(frozen=True, slots=True)
class SignatureClaims:
    """What a signature says of itself, unverified. key_id: of the key that made it, 64 bits.

    ends: seconds since 1970, None for no end.
    """

    key_id: int
    ends: int | None


def claims_of(message: bytes) -> SignatureClaims | None:
    """The claims of a binary message with one signature; None for anything else."""
    try:
        packets = list(_packets(message))
        if [tag for tag, _ in packets] == [_COMPRESSED]:
            packets = list(_packets(_unpacked(packets[0][1])))
        bodies = [body for tag, body in packets if tag == _SIGNATURE]
        if not bodies or bodies[0][0] != _VERSION:
            return None
        parts = dict(_subpackets(bodies[0]))
        ids = [body[4:12] for tag, body in packets if tag == _ONE_PASS]
        key_id = ids[0] if ids else parts.get(_ISSUER, b"")
        made = int.from_bytes(parts.get(_CREATED, b""), "big")
        lasts = int.from_bytes(parts.get(_LIFETIME, b""), "big")
        return SignatureClaims(int.from_bytes(key_id, "big"), made + lasts if lasts else None)
    except (ValueError, IndexError, OSError, EOFError, zlib.error):
        return None


def _subpackets(signature: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of the parts of a signature, those that are hashed before the others."""
    rest = signature[4:]
    for _ in ("hashed", "not hashed"):
        size = int.from_bytes(rest[:2], "big")
        area, rest = _cut(rest[2:], size)
        while area:
            length, octets = _length(area)
            part, area = _cut(area[octets:], length)
            yield part[0] & ~_CRITICAL, part[1:]


def _behind_first_message(message: bytes) -> MessageShape | None:
    """The shape of a message that is whole, and has more behind it; None where that is not so."""
    packets = _packets(message)
    first = [packet for _, packet in zip(range(3), packets, strict=False)]
    whole = [tag for tag, _ in first] == [_ONE_PASS, _LITERAL, _SIGNATURE]
    if not whole:
        return None
    try:
        is_more = next(packets, None) is not None
    except (ValueError, IndexError):
        is_more = True
    shape = MessageShape(MessageForm.FOLLOWED, _is_unknown_to_go(first[2][1]))
    return shape if is_more else None


def _packets(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and body of each packet. Raises `ValueError`, `IndexError` for what is none."""
    while content:
        first = content[0]
        if first < 0x80:
            raise ValueError("no packet begins so")
        if first & 0x40:
            tag, (body, content) = first & 0x3F, _new_format(content[1:])
        else:
            tag, (body, content) = (first >> 2) & 0x0F, _old_format(first & 0x03, content[1:])
        yield tag, body


def _old_format(kind: int, rest: bytes) -> tuple[bytes, bytes]:
    if kind == 3:  # to the end of the message
        return rest, b""
    octets = 1 << kind
    length = int.from_bytes(rest[:octets], "big")
    return _cut(rest[octets:], length)


def _new_format(rest: bytes) -> tuple[bytes, bytes]:
    """In one piece, or in parts of which the last one has an ordinary length."""
    body = b""
    while 224 <= rest[0] < 255:
        part, rest = _cut(rest[1:], 1 << (rest[0] & 0x1F))
        body += part
    length, octets = _length(rest)
    last, rest = _cut(rest[octets:], length)
    return body + last, rest


def _length(rest: bytes) -> tuple[int, int]:
    """A length, and how many octets say it."""
    if rest[0] < 192:
        return rest[0], 1
    if rest[0] < 224:
        return ((rest[0] - 192) << 8) + rest[1] + 192, 2
    return int.from_bytes(rest[1:5], "big"), 5


def _cut(content: bytes, length: int) -> tuple[bytes, bytes]:
    if length > len(content):
        raise ValueError("a packet is cut")
    return content[:length], content[length:]


def _unpacked(body: bytes) -> bytes:
    """What a compressed packet holds, if it is no more than a signature may be."""
    kind, packed = body[0], body[1:]
    if kind == 0:
        return packed
    if kind in (1, 2):
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS if kind == 1 else zlib.MAX_WBITS)
        content = unpacker.decompress(packed, _UNPACKED_MAX_BYTES)
        if not unpacker.eof or unpacker.unused_data:
            raise ValueError("it does not end where it should")
        return content
    if kind == 3:
        import bz2

        block = bz2.BZ2Decompressor()
        content = block.decompress(packed, _UNPACKED_MAX_BYTES)
        if not block.eof or block.unused_data:
            raise ValueError("it does not end where it should")
        return content
    raise ValueError("no known compression")


def _is_unknown_to_go(signature: bytes) -> bool:
    if signature[0] != _VERSION:
        return False
    hashed = signature[6 : 6 + int.from_bytes(signature[4:6], "big")]
    while hashed:
        length, octets = _length(hashed)
        part, hashed = _cut(hashed[octets:], length)
        if part[0] & _CRITICAL and part[0] & ~_CRITICAL not in _KNOWN_TO_GO:
            return True
    return False
