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
from imgsec.ports import ImageReader, Manifest, StoreAddress
from tests.unit.adapters.servers import Server, reply
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


class Registry:
    """One that keeps signatures itself, or none."""

    def __init__(self, *, keeps: bool) -> None:
        self._keeps = keeps

    def has_extension(self, _: ImageReference) -> bool:
        return self._keeps

    def fetch_manifest(self, image: ImageReference) -> Manifest:
        return Manifest(MANIFEST, "", image.digest or DIGEST)

    def fetch_signatures(self, _: ImageReference) -> tuple[bytes, ...]:
        assert self._keeps
        return ()


IMAGE = parsed(f"r.example/team/app@{DIGEST}")
PASSWORD = "c4n4ry"


def beside(url: str, *, pair: bool = False, keeps: bool = False) -> ImageReader:
    """The reader of a registry with a store beside it. pair: with a storeSecret."""
    evidence = RegistryEvidence(
        lambda _: Registry(keeps=keeps),  # type: ignore[arg-type, return-value]
        lambda address, header: Lookaside(Http(), address, authorization=header, needs_tls=False),
    )
    secret = SecretBytes(f"user:{PASSWORD}".encode()) if pair else None
    return evidence.reader(None, StoreAddress(url, secret))


ODD = (
    ("http://store.example/sigs", True, "without TLS", "https"),
    ("http://127.0.0.1.evil.org/s", True, "without TLS", "https"),
    (f"https://user:{PASSWORD}@store.example/s", False, "a user or a password", "storeSecret"),
    (f"http://user:{PASSWORD}@127.0.0.1/s", False, "a user or a password", "storeSecret"),
    (f"https://user:{PASSWORD}/x@store.example/s", False, "a user or a password", "storeSecret"),
    (f"https://store.example/s?token={PASSWORD}", False, "query", "without ?"),
    (f"https://store.example/s#{PASSWORD}", False, "query", "without ?"),
    ("https://", False, "no address", "https://host"),
    ("https://a b/s", True, "no address", "https://host"),
    ("https://store.example:0/s", False, "no address", "https://host"),
)


@pytest.mark.parametrize(("url", "pair", "says", "helps"), ODD)
def test_store_that_is_not_asked_from_here_says_why_and_shows_no_password(
    url: str, pair: bool, says: str, helps: str
) -> None:
    reader = beside(url, pair=pair)
    with refused("admission-open") as reasons:
        reader.fetch_signatures(IMAGE)
    assert says in reasons[0].text
    assert helps in reasons[0].hint
    assert PASSWORD not in reasons[0].text + reasons[0].hint


@pytest.mark.parametrize("url", [*(one[0] for one in ODD), "https://store.example/s"])
@pytest.mark.parametrize("pair", [False, True])
def test_store_is_not_looked_at_where_nobody_needs_it(url: str, pair: bool) -> None:
    assert beside(url, pair=pair).fetch_manifest(IMAGE).digest == DIGEST
    beside(url, pair=pair).require_signature_store(IMAGE)
    assert beside(url, pair=pair, keeps=True).fetch_signatures(IMAGE) == ()


def test_store_without_tls_is_read_as_the_engine_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By an address that is no loopback to us, and leads there."""
    monkeypatch.setenv("NO_PROXY", "*")
    with Server([reply(200, SIGNATURE), reply(404)]) as server:
        reader = beside(f"{server.url.replace('127.0.0.1', '127.1')}/sigs")
        assert reader.fetch_signatures(IMAGE) == (SIGNATURE,)
    sent = [{name.lower() for name in one.headers} for one in server.requests]
    assert len(sent) == 2
    assert not any("authorization" in names for names in sent)


def test_header_is_sent_to_no_store_without_tls() -> None:
    """Whoever makes the store."""
    address = SignatureAddress("http://store.example/s")
    store = Lookaside(Http(), address, authorization="Basic x", needs_tls=False)
    with refused("insecure-address"):
        store.fetch_signatures(IMAGE)
