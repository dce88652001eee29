# SPDX-License-Identifier: Apache-2.0
"""A secret key that asks for a passphrase is told apart when it is imported, not when it signs."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgsec.adapters._process import Tools
from imgsec.adapters.gpg import gpg_keyring
from imgsec.adapters.private_dir import PrivateDir
from imgsec.domain.keys import SecretBytes
from tests.support import Gpg
from tests.unit.refusals import refused


@pytest.mark.parametrize("passphrase", ["long enough", ""])
def test_key_with_a_passphrase_is_unusable(short: Path, passphrase: str) -> None:
    home = short / "h"
    home.mkdir(mode=0o700)
    gpg, words = Gpg(home), ("--passphrase", passphrase)
    gpg.run(*words, "--quick-generate-key", "a key", "rsa2048", "sign", "0")
    content = SecretBytes(gpg.run(*words, "--export-secret-keys", "a key"))
    with gpg_keyring(Tools(), PrivateDir(short, in_memory=True)) as keyring:
        if not passphrase:
            assert keyring.import_secret_key(content).can_sign
            return
        with refused("key-unusable") as reasons:
            keyring.import_secret_key(content)
    assert "passphrase" in reasons[0].text
    assert "passphrase" in reasons[0].hint
