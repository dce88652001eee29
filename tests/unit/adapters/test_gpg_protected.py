# SPDX-License-Identifier: Apache-2.0
"""A secret key that asks for a passphrase is told apart when it is imported, not when it signs."""

from __future__ import annotations

import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from imgsec.adapters._process import Tools
from imgsec.adapters.gpg import gpg_keyring
from imgsec.adapters.private_dir import PrivateDir
from imgsec.domain.keys import KeyRequest, PublicKey, SecretBytes
from tests.support import Gpg
from tests.unit.refusals import refused

PASSPHRASE = "p\u00e4ss phrase with %s and 'quotes'"


def protected_key(folder: Path, passphrase: str) -> SecretBytes:
    home = folder / "h"
    home.mkdir(mode=0o700)
    gpg, words = Gpg(home), ("--passphrase", passphrase)
    gpg.run(*words, "--quick-generate-key", "a key", "rsa2048", "sign", "0")
    return SecretBytes(gpg.run(*words, "--export-secret-keys", "a key"))


def imported(folder: Path, content: SecretBytes, passphrase: str | None) -> PublicKey:
    given = SecretBytes(passphrase.encode()) if passphrase is not None else None
    with (
        tempfile.TemporaryDirectory(dir=folder) as name,
        gpg_keyring(Tools(), PrivateDir(Path(name), in_memory=True), passphrase=given) as keyring,
    ):
        return keyring.import_secret_key(content)


def test_protected_key_is_unusable_without_its_passphrase(short: Path) -> None:
    content = protected_key(short, PASSPHRASE)
    for wrong in (None, "something else", PASSPHRASE + " ", PASSPHRASE[:-1]):
        with refused("key-unusable") as reasons:
            imported(short, content, wrong)
        assert "passphrase" in reasons[0].text
        assert "--passphrase-file" in reasons[0].hint


def test_protected_key_is_usable_with_its_passphrase(short: Path) -> None:
    assert imported(short, protected_key(short, PASSPHRASE), PASSPHRASE).can_sign


def test_passphrase_for_a_key_that_needs_none_is_not_used(short: Path) -> None:
    assert imported(short, protected_key(short, ""), PASSPHRASE).can_sign


def test_key_is_made_with_the_passphrase_and_leaves_with_it(short: Path) -> None:
    given = SecretBytes(PASSPHRASE.encode())
    with gpg_keyring(Tools(), PrivateDir(short, in_memory=True), passphrase=given) as keyring:
        made = keyring.generate_key(KeyRequest("imgsec image signing", algorithm="rsa3072"))
        content = keyring.export_secret_key(made.fingerprint)
    with refused("key-unusable"):
        imported(short, content, None)
    assert imported(short, content, PASSPHRASE).fingerprint == made.fingerprint
    packets = Gpg(short / "gpg").run("--list-packets", stdin=content.reveal()).decode()
    counts = re.findall(r"protect count: (\d+)", packets)
    assert counts
    assert min(map(int, counts)) > 65536  # gpg's own, by the machine's speed


def test_protected_key_gets_a_later_end(short: Path) -> None:
    content = protected_key(short, PASSPHRASE)
    given = SecretBytes(PASSPHRASE.encode())
    until = datetime(2099, 1, 31, tzinfo=UTC)
    with gpg_keyring(Tools(), PrivateDir(short, in_memory=True), passphrase=given) as keyring:
        key = keyring.import_secret_key(content)
        assert keyring.extend_key(key.fingerprint, until).expires == until
        content = keyring.export_secret_key(key.fingerprint)
    assert imported(short, content, PASSPHRASE).expires == until
