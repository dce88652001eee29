# SPDX-License-Identifier: Apache-2.0
"""OpenPGP by the real gpg and gpgv: which keys are taken, and which signatures count."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imgsec.adapters import gpg
from imgsec.adapters._process import Tools
from imgsec.adapters.gpg import GpgKeyring, gpg_keyring, judge_status
from imgsec.adapters.private_dir import PrivateDir
from imgsec.domain.keys import Fingerprint, KeyRequest, SecretBytes, Subkey
from imgsec.domain.signature import PAYLOAD_MAX_BYTES, SIGNATURE_MAX_BYTES, OpenPGPMessage
from imgsec.domain.verifiers import Verifier, armoured_blocks, message_flaws
from imgsec.operations.verify_digest import open_signature
from imgsec.reasons import Reason
from tests.support import Gpg, plain_environment, short_folder
from tests.unit.refusals import refused

CONTENT = b'{"critical": "the signed bytes"}\n'
LONG_AGO = ("--faked-system-time", "20200102T000000")
FAKE_STATUS = "[GNUPG:] GOODSIG 0123456789ABCDEF Somebody Else"


class Cast:
    """The keys that play: made once, since that takes the longest."""

    def __init__(self, home: Path) -> None:
        self.gpg = Gpg(home)
        self.good = self.gpg.make_key("good key")
        self.other = self.gpg.make_key("other key")
        self.gpg.run(*LONG_AGO, "--quick-generate-key", "ended key", "rsa2048", "sign", "1y")
        self.ended = self.gpg.fingerprint("ended key")
        self.gpg.run(*LONG_AGO, "--quick-generate-key", "old key", "rsa2048", "sign", "0")
        self.old = self.gpg.fingerprint("old key")
        self.revoked = self.gpg.make_key("revoked key")
        self.by_revoked = self.gpg.sign(CONTENT, self.revoked)
        note = (home / "openpgp-revocs.d" / f"{self.revoked}.rev").read_text()
        self.gpg.run("--import", stdin=note.replace(":-----BEGIN", "-----BEGIN").encode())
        self.with_subkey = self.gpg.make_key("subkey owner", usage="cert")
        self.gpg.run("--quick-add-key", self.with_subkey, "rsa2048", "sign")
        self.encrypts = self.gpg.make_key("older script's owner")
        self.gpg.run("--quick-add-key", self.encrypts, "rsa2048", "encr")
        self.unreadable = self.gpg.make_key("modern owner")
        self.gpg.run("--quick-add-key", self.unreadable, "cv25519", "encr")
        self.p256 = self.gpg.make_key("curve key", "nistp256")
        self.ed25519 = self.gpg.make_key("edwards key", "ed25519")


@pytest.fixture(scope="module")
def cast() -> Iterator[Cast]:
    with short_folder() as folder:
        home = folder / "h"
        home.mkdir(mode=0o700)
        yield Cast(home)


@pytest.fixture
def keyring(short: Path) -> Iterator[GpgKeyring]:
    with gpg_keyring(Tools(), PrivateDir(short, in_memory=True)) as opened:
        yield opened


def opened(keyring: GpgKeyring, cast: Cast, message: bytes, signer: str) -> str | bytes:
    """The reason code, or the content that counts."""
    key = keyring.import_public_keys(cast.gpg.public(signer))[0]
    found = open_signature(message, keyring, [key.fingerprint])
    return found.code if isinstance(found, Reason) else found.content


def test_good_signature_gives_content_signer_and_time(keyring: GpgKeyring, cast: Cast) -> None:
    key = keyring.import_public_keys(cast.gpg.public(cast.good))[0]
    message = cast.gpg.sign(CONTENT, cast.good)
    found = keyring.open_message(message, [key.fingerprint])
    assert isinstance(found, OpenPGPMessage)
    assert found.content == CONTENT
    assert str(found.signer) == cast.good
    assert abs((datetime.now(UTC) - found.signed_at).total_seconds()) < 3600


def test_signature_of_a_subkey_is_told_and_counts_not_everywhere(
    keyring: GpgKeyring, cast: Cast
) -> None:
    message = cast.gpg.sign(CONTENT, cast.with_subkey)
    key = keyring.import_public_keys(cast.gpg.public(cast.with_subkey))[0]
    found = keyring.open_message(message, [key.fingerprint])
    assert isinstance(found, OpenPGPMessage)
    assert (found.signer == key.fingerprint, found.made_by == key.fingerprint) == (True, False)
    assert message_flaws(Verifier.PORTIERIS, found) == ()
    assert [one.code for one in message_flaws(Verifier.GPGME, found)] == ["signature-untrusted"]


@pytest.mark.parametrize("name", ["p256", "ed25519"])
def test_other_kinds_of_keys_count_too(keyring: GpgKeyring, cast: Cast, name: str) -> None:
    signer = getattr(cast, name)
    assert opened(keyring, cast, cast.gpg.sign(CONTENT, signer), signer) == CONTENT


@pytest.mark.parametrize("compression", ["0", "1", "2", "3"])
def test_compression_does_not_matter(keyring: GpgKeyring, cast: Cast, compression: str) -> None:
    message = cast.gpg.sign(CONTENT, cast.good, options=("--compress-algo", compression))
    assert opened(keyring, cast, message, cast.good) == CONTENT


def test_key_that_has_ended_does_not_count_whenever_it_signed(
    keyring: GpgKeyring, cast: Cast
) -> None:
    message = cast.gpg.sign(CONTENT, cast.ended, options=LONG_AGO)
    assert opened(keyring, cast, message, cast.ended) == "key-expired"


def test_key_that_was_revoked_does_not_count(keyring: GpgKeyring, cast: Cast) -> None:
    assert opened(keyring, cast, cast.by_revoked, cast.revoked) == "key-revoked"


def test_signature_past_its_end_does_not_count(keyring: GpgKeyring, cast: Cast) -> None:
    options = (*LONG_AGO, "--default-sig-expire", "1d")
    message = cast.gpg.sign(CONTENT, cast.old, options=options)
    assert opened(keyring, cast, message, cast.old) == "signature-expired"


def test_another_key_is_untrusted(keyring: GpgKeyring, cast: Cast) -> None:
    message = cast.gpg.sign(CONTENT, cast.other)
    assert opened(keyring, cast, message, cast.good) == "signature-untrusted"


def test_another_key_in_the_keyring_is_untrusted_all_the_same(
    keyring: GpgKeyring, cast: Cast
) -> None:
    keyring.import_public_keys(cast.gpg.public(cast.other))[0]
    message = cast.gpg.sign(CONTENT, cast.other)
    assert opened(keyring, cast, message, cast.good) == "signature-untrusted"


def test_key_with_the_same_user_id_is_untrusted(keyring: GpgKeyring, cast: Cast) -> None:
    with short_folder() as folder:
        attacker = Gpg(folder)
        theirs = attacker.make_key("good key")
        message = attacker.sign(CONTENT, theirs)
    assert opened(keyring, cast, message, cast.good) == "signature-untrusted"


@pytest.mark.parametrize("order", [("good", "other"), ("other", "good")])
def test_two_signers_in_one_message_do_not_count(
    keyring: GpgKeyring, cast: Cast, order: tuple[str, str]
) -> None:
    message = cast.gpg.sign(CONTENT, *(getattr(cast, name) for name in order))
    assert opened(keyring, cast, message, cast.good) in ("signature-invalid", "signature-untrusted")


def test_signed_twice_by_one_key_does_not_count(keyring: GpgKeyring, cast: Cast) -> None:
    keyring.import_public_keys(cast.gpg.public(cast.good))[0]
    once = cast.gpg.sign(CONTENT, cast.good, options=("--compress-algo", "0"))
    nested = cast.gpg.sign(once, cast.good)
    assert opened(keyring, cast, nested, cast.good) != CONTENT
    both = once + cast.gpg.sign(b"something else", cast.good)
    assert opened(keyring, cast, both, cast.good) == "signature-invalid"


@pytest.mark.parametrize(
    "words", [("--armor", "--sign"), ("--clear-sign",), ("--armor", "--store")]
)
def test_text_forms_do_not_count(keyring: GpgKeyring, cast: Cast, words: tuple[str, ...]) -> None:
    message = cast.gpg.run("--local-user", cast.good, *words, stdin=CONTENT)
    assert opened(keyring, cast, message, cast.good) == "signature-invalid"


@pytest.mark.parametrize(
    "words",
    [
        ("--no-armor", "--store"),
        ("--no-armor", "--detach-sign"),
        ("--no-armor", "--passphrase", "x", "--symmetric"),
    ],
)
def test_packet_without_an_embedded_signature_does_not_count(
    keyring: GpgKeyring, cast: Cast, words: tuple[str, ...]
) -> None:
    message = cast.gpg.run("--local-user", cast.good, *words, stdin=CONTENT)
    assert message[0] >= 0x80
    assert opened(keyring, cast, message, cast.good) == "signature-invalid"


def test_weak_digest_does_not_count(keyring: GpgKeyring, cast: Cast) -> None:
    message = cast.gpg.sign(CONTENT, cast.good, options=("--digest-algo", "SHA1"))
    assert opened(keyring, cast, message, cast.good) == "signature-weak"


def test_text_signature_does_not_count(keyring: GpgKeyring, cast: Cast) -> None:
    message = cast.gpg.sign(CONTENT, cast.good, options=("--textmode",))
    assert opened(keyring, cast, message, cast.good) == "signature-invalid"


def test_changed_content_does_not_count(keyring: GpgKeyring, cast: Cast) -> None:
    message = cast.gpg.sign(CONTENT, cast.good, options=("--compress-algo", "0"))
    changed = message.replace(b"the signed bytes", b"the forged bytes")
    assert changed != message
    assert opened(keyring, cast, changed, cast.good) == "signature-invalid"


@pytest.mark.parametrize(
    "message",
    [b"", b"\x00", b"\xff", b"\x90\r\x03\x00", b"\xcb\x00", b"\x80" * 1000, b"\xa3" * 70_000],
)
def test_junk_does_not_count(keyring: GpgKeyring, cast: Cast, message: bytes) -> None:
    assert opened(keyring, cast, message, cast.good) == "signature-invalid"


def test_cut_message_does_not_count(keyring: GpgKeyring, cast: Cast) -> None:
    message = cast.gpg.sign(CONTENT, cast.good, options=("--compress-algo", "0"))
    assert opened(keyring, cast, message[:-10], cast.good) == "signature-invalid"


def test_more_bytes_than_a_signature_has_do_not_count(keyring: GpgKeyring, cast: Cast) -> None:
    message = b"\x90" * (SIGNATURE_MAX_BYTES + 1)
    assert opened(keyring, cast, message, cast.good) == "signature-invalid"


def test_more_content_than_a_payload_has_does_not_count(keyring: GpgKeyring, cast: Cast) -> None:
    message = cast.gpg.sign(b"0" * 5_000_000, cast.good)
    assert len(message) < 2 * PAYLOAD_MAX_BYTES  # it is packed
    assert opened(keyring, cast, message, cast.good) == "signature-invalid"


def test_user_id_that_spells_a_status_line_is_no_status_line(keyring: GpgKeyring) -> None:
    with short_folder() as folder:
        attacker = Gpg(folder)
        name = f"x\n{FAKE_STATUS}\n[GNUPG:] VALIDSIG x"
        attacker.run("--allow-freeform-uid", "--quick-generate-key", name, "rsa2048", "sign", "0")
        theirs = attacker.fingerprint("=" + name)
        message = attacker.sign(CONTENT, theirs, options=("--compress-algo", "0"))
        key = keyring.import_public_keys(attacker.public(theirs))[0]
        found = keyring.open_message(message, [key.fingerprint])
        assert isinstance(found, OpenPGPMessage)  # one good signature, and no second one
        wrong = keyring.open_message(message.replace(b"signed", b"forged"), [key.fingerprint])
        assert isinstance(wrong, Reason)


# --- Status lines, read by themselves -------------------------------------------------------------

SIGNER = Fingerprint("AB" * 20)
VALID = f"VALIDSIG {SIGNER} 2026-01-01 1767225600 0 4 0 1 8 00 {SIGNER}"
GOOD = ("NEWSIG", f"GOODSIG {'AB' * 8} name", VALID, "PLAINTEXT 62 1767225600 ")


def judged(*lines: str) -> str:
    status = "".join(f"[GNUPG:] {line}\n" for line in lines).encode()
    found = judge_status(status, CONTENT, [SIGNER])
    if isinstance(found, Reason):
        return found.code
    flaws = message_flaws(Verifier.STRICT, found)
    return flaws[0].code if flaws else "counts"


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        (GOOD, "counts"),
        (GOOD[1:], "signature-invalid"),
        ((GOOD[0], *GOOD[2:]), "signature-invalid"),
        ((*GOOD[:2], GOOD[3]), "signature-invalid"),
        (GOOD[:3], "signature-invalid"),
        ((), "signature-invalid"),
        ((*GOOD, "NEWSIG"), "signature-invalid"),
        ((*GOOD, GOOD[1]), "signature-invalid"),
        ((*GOOD, VALID), "signature-invalid"),
        ((*GOOD, GOOD[3]), "signature-invalid"),
        ((*GOOD, "ERRSIG x 1 8 00 1 9 -"), "signature-invalid"),
        ((*GOOD, "BADSIG x name"), "signature-invalid"),
        ((GOOD[0], "REVKEYSIG x name", *GOOD[2:]), "key-revoked"),
        ((GOOD[0], "EXPKEYSIG x name", *GOOD[2:]), "key-expired"),
        ((GOOD[0], "EXPSIG x name", *GOOD[2:]), "signature-expired"),
        ((*GOOD, "REVKEYSIG x name"), "signature-invalid"),
        ((*GOOD, "EXPKEYSIG x name"), "signature-invalid"),
        ((*GOOD, "EXPSIG x name"), "signature-invalid"),
        ((*GOOD, "NO_PUBKEY x"), "signature-untrusted"),
        ((*GOOD[:2], VALID.replace(f" {SIGNER}", f" {'CD' * 20}"), GOOD[3]), "signature-untrusted"),
        ((*GOOD[:2], VALID.rpartition(" ")[0], GOOD[3]), "signature-invalid"),
        ((*GOOD[:2], VALID.replace(" 8 00 ", " 2 00 "), GOOD[3]), "signature-weak"),
        ((*GOOD[:2], VALID.replace(" 8 00 ", " 1 00 "), GOOD[3]), "signature-weak"),
        ((*GOOD[:2], VALID.replace(" 8 00 ", " 3 00 "), GOOD[3]), "signature-weak"),
        ((*GOOD[:2], VALID.replace(" 8 00 ", " 8 01 "), GOOD[3]), "signature-invalid"),
    ],
)
def test_every_status_word_has_its_verdict(lines: tuple[str, ...], verdict: str) -> None:
    assert judged(*lines) == verdict


def test_status_words_inside_other_lines_are_no_status() -> None:
    text = "gpgv: " + " ".join(f"[GNUPG:] {line}" for line in GOOD)
    assert isinstance(judge_status(text.encode(), CONTENT, [SIGNER]), Reason)


# --- Keys -----------------------------------------------------------------------------------------


def test_made_key_is_as_asked_for_and_nothing_else_is_in_it(keyring: GpgKeyring) -> None:
    key = keyring.generate_key(
        KeyRequest("imgsec image signing", algorithm="rsa3072", valid_days=10)
    )
    assert key.algorithm == "rsa3072"
    assert key.flaws(datetime.now(UTC)) == ()
    assert key.expires is not None
    assert (key.expires - key.created).days == 10
    (row,) = keyring._gpg.list_keys()
    assert row["uids"] == ["imgsec image signing"]  # no login, no host name
    assert row["subkeys"] == []


def test_made_key_carries_the_mail_that_was_asked_for(keyring: GpgKeyring) -> None:
    keyring.generate_key(KeyRequest("Release Signing <release@example.com>", algorithm="rsa3072"))
    (row,) = keyring._gpg.list_keys()
    assert row["uids"] == ["Release Signing <release@example.com>"]


@pytest.mark.parametrize("armour", [False, True])
def test_secret_key_goes_out_and_comes_in_the_same(
    keyring: GpgKeyring, cast: Cast, armour: bool
) -> None:
    content = cast.gpg.secret(cast.good, armour=armour)
    key = keyring.import_secret_key(SecretBytes(content))
    assert str(key.fingerprint) == cast.good
    assert keyring.export_secret_key(key.fingerprint).reveal() == cast.gpg.secret(cast.good)
    assert keyring.export_public_key(key.fingerprint) == cast.gpg.public(cast.good)


def test_state_of_a_key_is_read_from_the_key(keyring: GpgKeyring, cast: Cast) -> None:
    now = datetime.now(UTC)

    def flaws(signer: str) -> list[str]:
        key = keyring.inspect_public_key(cast.gpg.public(signer))
        return [flaw.code for flaw in key.flaws(now)]

    assert flaws(cast.good) == []
    assert flaws(cast.ended) == ["key-expired"]
    assert flaws(cast.revoked) == ["key-revoked"]
    assert flaws(cast.p256) == []
    assert flaws(cast.ed25519) == ["key-unusable"]
    assert set(flaws(cast.with_subkey)) == {"key-unusable"}
    assert flaws(cast.encrypts) == []
    assert flaws(cast.unreadable) == ["key-unusable"]


def test_subkeys_of_a_secret_key_are_seen(keyring: GpgKeyring, cast: Cast) -> None:
    key = keyring.import_secret_key(SecretBytes(cast.gpg.secret(cast.encrypts)))
    assert key.subkeys == (Subkey("rsa2048", can_sign=False),)
    key = keyring.import_secret_key(SecretBytes(cast.gpg.secret(cast.with_subkey)))
    assert key.subkeys == (Subkey("rsa2048", can_sign=True),)


@pytest.mark.parametrize("content", [b"", b"\x95\x00", b"\xff" * 100, b"<html></html>"])
def test_junk_is_no_key(keyring: GpgKeyring, content: bytes) -> None:
    with refused("key-malformed"):
        keyring.import_secret_key(SecretBytes(content))
    with refused("key-malformed"):
        keyring.import_public_keys(content)
    with refused("key-malformed"):
        keyring.inspect_public_key(content)


def test_two_keys_are_not_one(keyring: GpgKeyring, cast: Cast) -> None:
    secret = cast.gpg.secret(cast.good) + cast.gpg.secret(cast.other)
    with refused("key-malformed"):
        keyring.import_secret_key(SecretBytes(secret))
    public = cast.gpg.public(cast.good) + cast.gpg.public(cast.other)
    with refused("key-malformed"):
        keyring.inspect_public_key(public)


def test_several_public_keys_leave_in_one_block(keyring: GpgKeyring, cast: Cast) -> None:
    keyring.import_public_keys(cast.gpg.public(cast.other))
    keys = keyring.import_public_keys(cast.gpg.public(cast.good) + cast.gpg.public(cast.p256))
    assert [str(key.fingerprint) for key in keys] == [cast.good, cast.p256]
    block = keyring.export_block([key.fingerprint for key in keys])
    assert len(armoured_blocks(block)) == 1
    assert keyring.inspect_public_keys(block) == keys
    for signer in (cast.good, cast.p256):
        message = cast.gpg.sign(CONTENT, signer)
        assert not isinstance(keyring.open_message(message, [Fingerprint(signer)]), Reason)


def test_key_that_has_ended_counts_again_with_a_later_end(
    keyring: GpgKeyring, cast: Cast, tmp_path: Path
) -> None:
    """What it signed in its life, for gpgv and for skopeo, which is built with GPGME."""
    message = cast.gpg.sign(payload(), cast.ended, options=LONG_AGO)
    key = keyring.import_secret_key(SecretBytes(cast.gpg.secret(cast.ended)))
    found = open_signature(message, keyring, [key.fingerprint])
    assert isinstance(found, Reason)
    assert found.code == "key-expired"
    assert not skopeo_accepts(keyring, cast.ended, message, tmp_path)
    until = datetime(2099, 1, 31, tzinfo=UTC)
    assert keyring.extend_key(key.fingerprint, until).expires == until
    assert isinstance(keyring.open_message(message, [key.fingerprint]), OpenPGPMessage)
    assert skopeo_accepts(keyring, cast.ended, message, tmp_path)
    (public,) = keyring.inspect_public_keys(keyring.export_block([key.fingerprint]))
    assert public.expires == until
    with short_folder() as folder:
        secret = keyring.export_secret_key(key.fingerprint)
        with gpg_keyring(Tools(), PrivateDir(folder, in_memory=True)) as another:
            another.import_public_keys(cast.gpg.public(cast.ended))  # the earlier end is not kept
            assert another.import_secret_key(secret).expires == until


def skopeo_accepts(keyring: GpgKeyring, signer: str, message: bytes, folder: Path) -> bool:
    manifest, signature = folder / "manifest", folder / "signature"
    manifest.write_text("{}")
    signature.write_bytes(message)
    done = subprocess.run(
        ["skopeo", "standalone-verify", manifest, "r.example/app:1", signer, signature],
        env=plain_environment(folder, GNUPGHOME=str(keyring.home)),
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode == 0


def payload() -> bytes:
    """A claim about the manifest ``{}``."""
    digest = "sha256:" + hashlib.sha256(b"{}").hexdigest()
    image = {"docker-manifest-digest": digest}
    identity = {"docker-reference": "r.example/app:1"}
    critical = {"type": "atomic container signature", "image": image, "identity": identity}
    return json.dumps({"critical": critical, "optional": {}}).encode()


def test_certificate_revokes_the_key_that_it_is_for(keyring: GpgKeyring, cast: Cast) -> None:
    key = keyring.import_secret_key(SecretBytes(cast.gpg.secret(cast.good)))
    other = keyring.import_secret_key(SecretBytes(cast.gpg.secret(cast.p256)))
    certificate = keyring.make_revocation(key.fingerprint)
    message = cast.gpg.sign(CONTENT, cast.good)
    assert isinstance(keyring.open_message(message, [key.fingerprint]), OpenPGPMessage)
    for wrong in (b"", b"junk", keyring.make_revocation(other.fingerprint)):
        with refused("key-malformed"):
            keyring.revoke_key(key.fingerprint, wrong)
    assert keyring.revoke_key(key.fingerprint, certificate).is_revoked
    found = open_signature(message, keyring, [key.fingerprint])
    assert isinstance(found, Reason)
    assert found.code == "key-revoked"
    (public,) = keyring.inspect_public_keys(keyring.export_block([key.fingerprint]))
    assert public.is_revoked


def test_public_key_is_no_secret_key(keyring: GpgKeyring, cast: Cast) -> None:
    with refused("key-malformed"):
        keyring.import_secret_key(SecretBytes(cast.gpg.public(cast.good)))


def disguised(secret: bytes) -> bytes:
    """A secret key in armour that says public."""
    return secret.replace(b"PRIVATE KEY BLOCK", b"PUBLIC KEY BLOCK")


def test_secret_key_never_enters_where_a_public_one_is_expected(
    keyring: GpgKeyring, cast: Cast
) -> None:
    binary = cast.gpg.secret(cast.good)
    armoured = cast.gpg.secret(cast.good, armour=True)
    marker = b"\xca\x03PGP"  # a packet that every reader skips
    for content in (binary, armoured, disguised(armoured), marker + binary):
        with refused("key-malformed"):
            keyring.import_public_keys(content)
        with refused("key-malformed"):
            keyring.inspect_public_key(content)
    assert not list((keyring.home / "private-keys-v1.d").glob("*"))


def test_no_log_level_shows_a_byte_of_a_key(
    keyring: GpgKeyring, cast: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("gnupg").setLevel(logging.DEBUG)
    secret = cast.gpg.secret(cast.good, armour=True)
    keyring.import_secret_key(SecretBytes(secret))
    for line in secret.splitlines()[2:4]:
        assert line.decode()[:12] not in caplog.text
    assert [record.name for record in caplog.records if record.name == "gnupg"] == []


def test_full_disk_is_no_malformed_key(
    keyring: GpgKeyring, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Result:
        sec_read, fingerprints = 1, ()
        stderr = "gpg: error writing keyring: No space left on device\ngpg: secret keys read: 1"

    monkeypatch.setattr(keyring._gpg, "import_keys", lambda *_: Result)
    with refused("storage-unavailable"):
        keyring.import_secret_key(SecretBytes(cast.gpg.secret(cast.good)))


def test_too_long_home_is_refused_before_gpg_fails_on_it(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 80)
    home.mkdir()
    with refused("storage-unavailable"):
        GpgKeyring(Tools(), home)


@pytest.mark.parametrize(("script", "mode"), [("#!/bin/sh\nexit 9\n", 0o755), ("", 0o644)])
def test_gpg_that_does_not_work_is_told(short: Path, script: str, mode: int) -> None:
    tools = short / "tools"
    tools.mkdir()
    (tools / "gpg").write_text(script)
    (tools / "gpg").chmod(mode)
    keyring = gpg_keyring(Tools(tools), PrivateDir(short, in_memory=True))
    with refused("tool-failed"), keyring:
        pass


def test_agent_ends_with_the_keyring(short: Path, cast: Cast) -> None:
    with gpg_keyring(Tools(), PrivateDir(short, in_memory=True)) as keyring:
        keyring.import_secret_key(SecretBytes(cast.gpg.secret(cast.good)))
        assert agents(short)
    assert not agents(short)


def test_agent_that_does_not_listen_ends_too(
    short: Path, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpg, "AGENT_END_SECONDS", 0.2)
    with gpg_keyring(Tools(), PrivateDir(short, in_memory=True)) as keyring:
        keyring.import_secret_key(SecretBytes(cast.gpg.secret(cast.good)))
        for pid in agents(short):
            os.kill(int(pid), signal.SIGSTOP)
    assert not agents(short)


def test_whatever_else_serves_the_home_ends_with_it(short: Path) -> None:
    with (
        gpg_keyring(Tools(), PrivateDir(short, in_memory=True)) as keyring,
        subprocess.Popen(["sleep", "60"], env={"GNUPGHOME": str(keyring.home)}) as helper,
        subprocess.Popen(["sleep", "60"], env={"GNUPGHOME": f"{keyring.home}2"}) as foreign,
    ):
        keyring.end_agent()
        assert helper.wait(timeout=20) == -signal.SIGKILL
        assert foreign.poll() is None
        foreign.kill()


def test_agent_that_cannot_be_ended_is_told(
    short: Path, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpg, "AGENT_END_SECONDS", 0.1)

    def work(error: type[Exception] | None) -> None:
        with gpg_keyring(Tools(), PrivateDir(short, in_memory=True)) as keyring:
            keyring.import_secret_key(SecretBytes(cast.gpg.secret(cast.good)))
            monkeypatch.setattr(os, "kill", lambda *_: None)
            if error:
                raise error

    with refused("tool-failed") as reasons:
        work(None)
    assert "agent" in reasons[0].text
    monkeypatch.undo()
    monkeypatch.setattr(gpg, "AGENT_END_SECONDS", 0.1)
    with pytest.raises(ZeroDivisionError):  # it hides no other failure
        work(ZeroDivisionError)
    monkeypatch.undo()
    for pid in agents(short):
        os.kill(int(pid), signal.SIGKILL)


def test_proc_of_other_processes_is_no_proof_that_the_agent_ended(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        refused("tool-failed") as reasons,
        gpg_keyring(Tools(), PrivateDir(short, in_memory=True)),
    ):
        monkeypatch.setattr(Path, "readlink", lambda _: Path("1"))
    assert "/proc" in reasons[0].text


def agents(folder: Path) -> list[str]:
    """The agents with a home below the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if words[0].endswith("gpg-agent") and any(str(folder) in word for word in words):
            found.append(path.parent.name)
    return found


def test_message_that_unpacks_to_more_than_a_payload_is_cut_short(
    keyring: GpgKeyring, cast: Cast
) -> None:
    """A few kilobytes of it would fill the memory; the next signature may still be good."""
    bomb = cast.gpg.sign(b"\0" * 2**24, cast.good, options=("--compress-algo", "zlib", "-z", "9"))
    assert len(bomb) < 2**16
    assert opened(keyring, cast, bomb, cast.good) == "signature-invalid"
    assert opened(keyring, cast, cast.gpg.sign(CONTENT, cast.good), cast.good) == CONTENT


@pytest.mark.parametrize("ending", ["kill -9 $$", "exit 9"])
def test_gpgv_that_dies_midway_judges_nothing(short: Path, cast: Cast, ending: str) -> None:
    tools = short / "tools"
    tools.mkdir()
    script = tools / "gpgv"
    script.write_text(f"#!/bin/sh\necho '[GNUPG:] NEWSIG' >&\"$2\"\n{ending}\n")
    script.chmod(0o755)
    with gpg_keyring(Tools(tools), PrivateDir(short, in_memory=True)) as keyring:
        key = keyring.import_public_keys(cast.gpg.public(cast.good))[0]
        with refused("tool-failed"):
            keyring.open_message(cast.gpg.sign(CONTENT, cast.good), [key.fingerprint])


# --- Signing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "digest"),  # RFC 4880, 9.4: 8 is SHA-256, 9 SHA-384, 10 SHA-512
    [("rsa3072", "10"), ("nistp256", "8"), ("nistp384", "9"), ("nistp521", "10")],
)
def test_signed_message_is_what_every_verifier_takes(
    keyring: GpgKeyring, tmp_path: Path, algorithm: str, digest: str
) -> None:
    """One binary message, not compressed, SHA-2, by the primary key (skopeo, gpgv, packets)."""
    key = keyring.generate_key(KeyRequest("imgsec signing", algorithm=algorithm))
    content = payload()
    message = keyring.sign_message(content, key.fingerprint)
    found = keyring.open_message(message, [key.fingerprint])
    assert isinstance(found, OpenPGPMessage)
    assert found.content == content
    assert content in message, "it is not compressed"
    packets = subprocess.run(
        ["gpg", "--homedir", str(keyring.home), "--list-packets"],
        input=message, capture_output=True, check=True,
    ).stdout.decode()  # fmt: skip
    assert packets.count(":signature packet:") == 1
    assert packets.count(":onepass_sig packet:") == 1
    assert f"digest algo {digest}," in packets
    assert "compressed packet" not in packets
    assert skopeo_accepts(keyring, str(key.fingerprint), message, tmp_path)


def test_key_that_is_not_here_signs_nothing(keyring: GpgKeyring) -> None:
    with refused("key-unusable"):
        keyring.sign_message(b"{}", Fingerprint("AB" * 20))


def test_ended_key_signs_nothing(keyring: GpgKeyring, cast: Cast) -> None:
    secret = cast.gpg.secret(cast.ended)
    keyring.import_secret_key(SecretBytes(secret))
    with refused("key-unusable"):
        keyring.sign_message(b"{}", Fingerprint.parse(cast.ended))


def test_nothing_is_exported_where_nothing_is_named(keyring: GpgKeyring) -> None:
    """gpg itself would export all that it has."""
    with pytest.raises(ValueError, match="everything"):
        keyring.export_block([])
