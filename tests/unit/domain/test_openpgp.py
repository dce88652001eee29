# SPDX-License-Identifier: Apache-2.0
"""The shapes of messages, with real ones taken apart and put together wrongly."""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Iterator

import pytest

from imgsec.domain.openpgp import shape_of
from imgsec.domain.signature import PAYLOAD_MAX_BYTES, MessageForm
from tests.support import Gpg, short_folder


@pytest.fixture(scope="module")
def message() -> Iterator[bytes]:
    """A signed message, uncompressed."""
    with short_folder() as folder:
        gpg = Gpg(folder)
        gpg.make_key("a key")
        yield gpg.sign(b"content", "a key", options=("--compress-algo", "none"))


def parts(message: bytes) -> tuple[bytes, bytes, bytes]:
    """One-pass, literal and signature packets; gpg writes the first and last in the old format."""
    literal_at = 2 + message[1]
    signature_at = literal_at + 2 + message[literal_at + 1]
    return message[:literal_at], message[literal_at:signature_at], message[signature_at:]


def packed(kind: int, content: bytes) -> bytes:
    """A compressed packet to the end of the message, as gpg writes it."""
    deflated = zlib.compressobj(wbits=-15)
    forms = {
        0: content,
        1: deflated.compress(content) + deflated.flush(),
        2: zlib.compress(content),
        3: bz2.compress(content),
    }
    return b"\xa3" + bytes([kind]) + forms.get(kind, content)


def form(message: bytes) -> MessageForm | None:
    shape = shape_of(message)
    return shape.form if shape else None


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_message_is_known_however_it_is_packed(message: bytes, kind: int) -> None:
    assert form(message) is MessageForm.ONE_PASS
    assert form(packed(kind, message)) is MessageForm.ONE_PASS
    assert form(packed(kind, packed(kind, message))) is None


def test_order_of_packets_is_told(message: bytes) -> None:
    one_pass, literal, signature = parts(message)
    assert form(signature + literal) is MessageForm.SIGNATURE_FIRST
    for odd in (literal, signature, one_pass + literal, literal + signature, signature + signature):
        assert form(odd) is None
    assert form(one_pass + one_pass + literal + signature + signature) is None


@pytest.mark.parametrize("more", [b"\n", b"\0", b"\xff", b"hello", b"\xca\x03PGP", b"\x90"])
def test_what_stands_behind_a_message_is_told(message: bytes, more: bytes) -> None:
    assert form(message + more) is MessageForm.FOLLOWED
    assert form(message + message) is MessageForm.FOLLOWED
    assert form(packed(2, message + more)) is None
    assert form(packed(2, message) + more) is None


def test_every_cut_is_no_message(message: bytes) -> None:
    for end in range(len(message)):
        assert form(message[:end]) is None
    whole = packed(2, message)
    for end in range(len(whole)):
        assert form(whole[:end]) is None


def test_what_unpacks_to_more_than_a_signature_is_none(message: bytes) -> None:
    for kind in (1, 2, 3):
        assert form(packed(kind, message + bytes(4 * PAYLOAD_MAX_BYTES))) is None


def test_text_forms_are_told() -> None:
    assert form(b"-----BEGIN PGP MESSAGE-----\n") is MessageForm.ARMOURED
    assert form(b"-----BEGIN PGP SIGNED MESSAGE-----\n") is MessageForm.ARMOURED
    for junk in (b"", b"\0", b"-----BEGIN PGP SIGNATURE-----", b"junk", bytes.fromhex("a3019b70")):
        assert form(junk) is None


def test_literal_in_parts_is_read_whole(message: bytes) -> None:
    one_pass, literal, signature = parts(message)
    body = literal[2:].ljust(600, b"x")
    assert form(one_pass + b"\xcb\xe9" + body[:512] + bytes([88]) + body[512:] + signature) is (
        MessageForm.ONE_PASS
    )
    assert form(one_pass + b"\xcb\xe9" + body[:512]) is None
    assert form(one_pass + b"\xcb\xe9" + body[:512] + bytes([88]) + body[512:]) is None
