# SPDX-License-Identifier: Apache-2.0
"""What Sequoia signs, read by gpgv; and why it would not sign."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count

import pytest

from imgsec.adapters._process import Tools
from imgsec.adapters.gpg import GpgKeyring, gpg_keyring
from imgsec.adapters.private_dir import PrivateDir
from imgsec.adapters.sequoia import SequoiaKeyring
from imgsec.domain.keys import Fingerprint, SecretBytes
from imgsec.domain.openpgp import shape_of
from imgsec.domain.signature import OpenPGPMessage
from tests.support import Gpg, short_folder
from tests.unit.refusals import refused

WORD = SecretBytes("corréct horse".encode())
_NUMBERS = count()


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    with short_folder() as home:
        yield Gpg(home)


@pytest.fixture
def keyring() -> Iterator[GpgKeyring]:
    with (
        short_folder() as folder,
        gpg_keyring(Tools(), PrivateDir(folder, in_memory=True)) as found,
    ):
        yield found


def imported(keyring: GpgKeyring, gpg: Gpg, algorithm: str = "rsa2048") -> Fingerprint:
    fingerprint = gpg.make_key(f"{algorithm} {next(_NUMBERS)} for Sequoia", algorithm)
    return keyring.import_secret_key(SecretBytes(gpg.secret(fingerprint))).fingerprint


@pytest.mark.parametrize("algorithm", ["rsa2048", "nistp256"])
def test_what_is_signed_here_is_what_gpg_would_have_signed(
    keyring: GpgKeyring, gpg: Gpg, algorithm: str
) -> None:
    signer = imported(keyring, gpg, algorithm)
    message = SequoiaKeyring(keyring, signer, passphrase=None).sign_message(b"{}", signer)
    shape = shape_of(message)
    assert shape == shape_of(keyring.sign_message(b"{}", signer))
    found = keyring.open_message(message, [signer])
    assert isinstance(found, OpenPGPMessage)
    assert (found.content, found.signer) == (b"{}", signer)
    assert not found.unknown_to_go


def test_protected_key_is_opened_by_its_passphrase(gpg: Gpg) -> None:
    words = ("--passphrase", WORD.reveal().decode())
    gpg.run(*words, "--quick-generate-key", "protected for Sequoia", "rsa2048", "sign", "0")
    secret = SecretBytes(gpg.run(*words, "--export-secret-keys", "protected for Sequoia"))
    with (
        short_folder() as folder,
        gpg_keyring(Tools(), PrivateDir(folder, in_memory=True), passphrase=WORD) as keyring,
    ):
        signer = keyring.import_secret_key(secret).fingerprint
        message = SequoiaKeyring(keyring, signer, passphrase=WORD).sign_message(b"{}", signer)
        assert isinstance(keyring.open_message(message, [signer]), OpenPGPMessage)
        for wrong in (None, SecretBytes(b"another"), SecretBytes(b"\xff")):
            with refused("key-unusable") as reasons:
                SequoiaKeyring(keyring, signer, passphrase=wrong)
            assert "\n" not in reasons[0].text


def test_passphrase_of_a_key_that_has_none_is_not_used(keyring: GpgKeyring, gpg: Gpg) -> None:
    signer = imported(keyring, gpg, "rsa3072")
    assert SequoiaKeyring(keyring, signer, passphrase=WORD).sign_message(b"{}", signer)


def test_another_key_is_not_taken_for_the_one_that_was_asked_for(
    keyring: GpgKeyring, gpg: Gpg
) -> None:
    signer = imported(keyring, gpg, "rsa2048")
    other = imported(keyring, gpg, "nistp256")
    here = SequoiaKeyring(keyring, signer, passphrase=None)
    with pytest.raises(ValueError, match=str(other)):
        here.sign_message(b"{}", other)


def test_library_that_is_missing_is_named(
    keyring: GpgKeyring, gpg: Gpg, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = imported(keyring, gpg)
    monkeypatch.setitem(sys.modules, "pysequoia", None)
    with refused("tool-missing") as reasons:
        SequoiaKeyring(keyring, signer, passphrase=None)
    assert "pip install" in reasons[0].hint
