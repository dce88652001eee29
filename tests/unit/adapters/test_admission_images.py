# SPDX-License-Identifier: Apache-2.0
"""Images of a folder in place of registries, and to whom a pull secret's credential goes."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from imgsec.adapters._http import Http
from imgsec.adapters.admission_images import FolderEvidence, PodCredential, RegistryEvidence
from imgsec.adapters.lookaside import Lookaside
from imgsec.domain.hosts import SignatureAddress
from imgsec.domain.keys import SecretBytes
from imgsec.domain.pull_secrets import PullCredential
from imgsec.domain.reference import Digest, ImageReference
from imgsec.ports import ImageReader, StoreAddress
from tests.unit.refusals import refused

MANIFEST = b'{"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {}}'
DIGEST = Digest.of(MANIFEST)
OTHER = f"sha256:{'0' * 64}"
SIGNATURE = b"\x90 a signature"


def copy(folder: Path, name: str, *signatures: bytes) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    (place / "manifest.json").write_bytes(MANIFEST)
    for number, one in enumerate(signatures, 1):
        (place / f"signature-{number}").write_bytes(one)
    return place


def evidence(folder: Path | str) -> ImageReader:
    store = Lookaside(Http(), SignatureAddress.parse(str(folder)))
    return FolderEvidence(Path(folder), store).reader(None, None)


def parsed(text: str) -> ImageReference:
    return ImageReference.parse(text)


def test_copy_is_found_by_its_tag_and_by_its_digest(tmp_path: Path) -> None:
    copy(tmp_path, "r.example/team/app:1", SIGNATURE)
    copy(tmp_path, "r.example/team/application:1")
    reader = evidence(tmp_path)
    assert reader.fetch_manifest(parsed("r.example/team/app:1")).digest == DIGEST
    by_digest = parsed(f"r.example/team/app@{DIGEST}")
    assert reader.fetch_manifest(by_digest).content == MANIFEST
    assert reader.fetch_signatures(by_digest) == (SIGNATURE,)
    assert reader.fetch_signatures(parsed(f"r.example/team/app:1@{DIGEST}")) == (SIGNATURE,)


def test_signatures_of_another_digest_or_repository_do_not_count(tmp_path: Path) -> None:
    copy(tmp_path, "r.example/team/app:1", SIGNATURE)
    reader = evidence(tmp_path)
    assert reader.fetch_signatures(parsed(f"r.example/team/app@{OTHER}")) == ()
    assert reader.fetch_signatures(parsed(f"r.example/team/other@{DIGEST}")) == ()


def test_tag_that_was_not_copied_is_open(tmp_path: Path) -> None:
    copy(tmp_path, "r.example/team/app:1")
    with refused("admission-open"):
        evidence(tmp_path).fetch_manifest(parsed("r.example/team/app:2"))


def test_copy_that_is_broken_is_an_error(tmp_path: Path) -> None:
    place = copy(tmp_path, "r.example/team/app:1")
    (place / "manifest.json").write_bytes(b"[]")
    with refused("answer-malformed"):
        evidence(tmp_path).fetch_manifest(parsed("r.example/team/app:1"))


def test_folder_may_be_named_from_where_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copy(tmp_path / "images", "r.example/team/app:1", SIGNATURE)
    reader = evidence("images")
    assert reader.fetch_manifest(parsed("r.example/team/app:1")).digest == DIGEST
    assert reader.fetch_signatures(parsed(f"r.example/team/x@{OTHER}")) == ()


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", Path(os.devnull)):
        with refused("input-unreadable"):
            FolderEvidence(path, Lookaside(Http(), SignatureAddress.parse(str(tmp_path))))


def test_credential_is_for_its_host_alone() -> None:
    credential = PodCredential(PullCredential("s", "r.example", SecretBytes(b"user:pass")))
    for name in ("r.example/app:1", "r.example:5000/app:1"):
        found = credential.credential_for(parsed(name))
        assert found is not None
        assert found.basic.reveal() == base64.b64encode(b"user:pass")
    for name in ("xr.example/app:1", "r.example.evil.org/app:1", "www.r.example/app:1"):
        assert credential.credential_for(parsed(name)) is None


@pytest.mark.parametrize("url", ["http://store.example/sigs", "http://127.0.0.1.evil.org/s"])
def test_stores_credential_goes_nowhere_without_tls(url: str) -> None:
    made: list[object] = []
    registries = RegistryEvidence(
        lambda *_: made.append("registry"),  # type: ignore[arg-type, func-returns-value]
        lambda *_: made.append("store"),  # type: ignore[arg-type, func-returns-value]
    )
    with refused("insecure-address"):
        registries.reader(None, StoreAddress(url, SecretBytes(b"user:pass")))
    assert made == []
