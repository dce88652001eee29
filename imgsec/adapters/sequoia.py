# SPDX-License-Identifier: Apache-2.0
"""Signing in this process, by Sequoia (``pysequoia``), in a fraction of what gpg's processes take.

An option, for many images. gpg stays the reference: it holds the key until a run has proven it
fit, and what is signed here is read back and checked by gpgv like every other signature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imgsec.adapters.gpg import GpgKeyring
from imgsec.domain.keys import Fingerprint, SecretBytes
from imgsec.domain.reference import shown
from imgsec.domain.signature import OpenPGPMessage
from imgsec.errors import ImgsecError
from imgsec.reasons import KEY_UNUSABLE, TOOL_MISSING, Reason

if TYPE_CHECKING:
    from pysequoia import PySigner


class SequoiaKeyring:
    """One key of a gpg keyring, to sign with here; a process that is forked has it, too.

    passphrase: the key's, if it has one. Raises `ImgsecError` (tool-missing, key-unusable).
    """

    def __init__(
        self, keyring: GpgKeyring, signer: Fingerprint, *, passphrase: SecretBytes | None
    ) -> None:
        self._keyring = keyring
        self._fingerprint = signer
        _ = keyring.export_public_key(signer)  # for gpgv, before any process is forked
        self._signer = _signer(keyring.export_secret_key(signer), signer, passphrase)

    def sign_message(self, content: bytes, signer: Fingerprint) -> bytes:
        """See `imgsec.ports.MessageKeyring`."""
        import pysequoia

        if signer != self._fingerprint:
            raise ValueError(f"{signer} is not the key that is held here")
        try:
            return bytes(
                pysequoia.sign(
                    self._signer, content, mode=pysequoia.SignatureMode.INLINE, armor=False
                )
            )
        except RuntimeError as error:
            raise ImgsecError(_unusable(signer, error)) from None

    def open_message(
        self, message: bytes, signers: Sequence[Fingerprint]
    ) -> OpenPGPMessage | Reason:
        """See `imgsec.ports.MessageKeyring`."""
        return self._keyring.open_message(message, signers)


def _signer(
    secret: SecretBytes, fingerprint: Fingerprint, passphrase: SecretBytes | None
) -> PySigner:
    try:
        import pysequoia
    except ImportError:
        raise ImgsecError(
            TOOL_MISSING("pysequoia is not installed", hint="Install it: pip install pysequoia.")
        ) from None
    try:
        key = pysequoia.Tsk.from_bytes(secret.reveal())
        if key.extract_certificate().fingerprint.upper() != str(fingerprint):
            raise ImgsecError(KEY_UNUSABLE(f"Sequoia reads another key than {fingerprint}"))
        try:
            return key.signer()
        except RuntimeError:
            if passphrase is None:
                raise
            return key.signer(passphrase.reveal().decode("utf-8"))
    except (RuntimeError, UnicodeDecodeError) as error:
        raise ImgsecError(_unusable(fingerprint, error)) from None


def _unusable(fingerprint: Fingerprint, error: Exception) -> Reason:
    """The first line alone: the rest is a trace of the library's own."""
    said = shown(str(error).partition("\n")[0])
    if isinstance(error, UnicodeDecodeError):  # which would show a part of the passphrase
        said = "its passphrase is not UTF-8"
    return KEY_UNUSABLE(f"Sequoia could not sign with {fingerprint}: {said}")
