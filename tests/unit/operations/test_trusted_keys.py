# SPDX-License-Identifier: Apache-2.0
"""Keys as somebody published them, and nothing of what another one did."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from imgsec.domain.keys import KeyLocation, SecretBytes
from imgsec.domain.reference import ImageReference
from imgsec.domain.trust_policy import TrustPolicy
from imgsec.domain.verifiers import Verifier, key_flaws
from imgsec.errors import ImgsecError
from imgsec.operations.signing_key import KeyShelf
from imgsec.operations.trusted_keys import TrustedKeys, load_requirements, load_trusted_keys
from tests.unit.operations.fakes import NOW, OTHER_SIGNER, SIGNER, FakeKeyring, public_key

ENDED = NOW - timedelta(days=1)


def block(**changes: Any) -> bytes:
    """A key file with one key."""
    keyring = FakeKeyring()
    keyring._hold(public_key(SIGNER, **changes))
    return keyring.export_block([SIGNER])


def signed_by(*paths: str) -> dict[str, Any]:
    return {"type": "signedBy", "keyType": "GPGKeys", "keyPaths": list(paths)}


def load(document: dict[str, Any], files: dict[str, bytes], *images: str) -> list[Any]:
    found = load_requirements(
        TrustPolicy.parse(json.dumps(document).encode()),
        map(ImageReference.parse, images),
        files.__getitem__,
        FakeKeyring,
    )
    return list(found.values())


def test_copy_of_another_scope_says_nothing_about_a_key() -> None:
    files = {"good.asc": block(), "revoked.asc": block(is_revoked=True)}
    document = {
        "default": [signed_by("good.asc")],
        "transports": {"docker": {"r.example/b": [signed_by("revoked.asc")]}},
    }
    (here,), (there,) = load(document, files, "r.example/a:1", "r.example/b:1")
    assert [here.keys[0].is_revoked, there.keys[0].is_revoked] == [False, True]
    assert here.keyring is not there.keyring


def test_two_copies_of_a_key_count_together() -> None:
    files = {"old.asc": block(expires=ENDED), "new.asc": block()}
    for paths in (("old.asc", "new.asc"), ("new.asc", "old.asc")):
        ((wanted,),) = load({"default": [signed_by(*paths)]}, files, "r.example/a:1")
        assert wanted.signers == (SIGNER,)
        assert key_flaws(Verifier.GPGME, SIGNER, wanted.published, NOW) == ()


def test_one_scope_that_cannot_be_judged_leaves_the_others() -> None:
    files = {"good.asc": block(), "junk.asc": b"junk"}
    scopes = {
        "r.example/b": [{"type": "sigstoreSigned"}],
        "r.example/c": [signed_by("junk.asc")],
    }
    document = {"default": [signed_by("good.asc")], "transports": {"docker": scopes}}
    images = [f"r.example/{name}:1" for name in "abc"]
    first, second, third = load(document, files, *images)
    assert isinstance(first[0], TrustedKeys)
    for found, code in ((second, "requirement-unsupported"), (third, "key-malformed")):
        assert isinstance(found, ImgsecError)
        assert found.reason.code == code


class Files:
    """One key file, whatever is asked for."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read_public_key(self, _: KeyLocation) -> bytes:
        return self._content

    def read_secret_key(self, _: KeyLocation) -> SecretBytes:
        raise AssertionError("nobody asks for a secret key")


def portieris_reads(location: str, content: bytes) -> bool:
    where = KeyLocation.parse(location, allowed=("file", "secret"))
    wanted = load_trusted_keys(where, KeyShelf(Files(content)), FakeKeyring(), expected=None)
    assert wanted.signers == (SIGNER,)
    return not key_flaws(Verifier.PORTIERIS, SIGNER, wanted.published, NOW)


def test_secret_is_read_as_the_cluster_reads_it() -> None:
    import base64

    armoured = block()
    binary = FakeKeyring().export_public_key(SIGNER)
    assert portieris_reads("secret:x", armoured)
    assert portieris_reads("file:x", binary)  # as it would be published
    assert not portieris_reads("secret:x", binary)
    assert not portieris_reads("secret:x", base64.b64encode(armoured))
    assert SIGNER != OTHER_SIGNER
