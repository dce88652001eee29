# SPDX-License-Identifier: Apache-2.0
"""Signing, complete: every name, the platforms that are wanted, the digest that was meant."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import Bench, SigningKey
from tests.support import Gpg

pytestmark = pytest.mark.once


def skopeo_accepts(
    bench: Bench, key: SigningKey, name: str, identity: str, store: str | None = None
) -> bool:
    """What skopeo says to a policy that wants exactly this name. store: a lookaside base."""
    words: list[str] = []
    if store is not None:
        places = bench.folder / "registries.d"
        places.mkdir(exist_ok=True)
        (places / "default.yaml").write_text(json.dumps({"default-docker": {"lookaside": store}}))
        words = ["--registries.d", str(places)]
    secret = key.folder / "portieris-image-signing-public-key.secret.yaml"
    public = bench.folder / "public.asc"
    public.write_bytes(base64.b64decode(yaml.safe_load(secret.read_text())["data"]["key"]))
    rule = {
        **{"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(public)},
        "signedIdentity": {"type": "exactReference", "dockerReference": identity},
    }
    return bench.skopeo_takes(name, {"default": [rule]}, *words)


def test_image_is_signed_under_every_name_that_it_is_pulled_by(
    bench: Bench, key: SigningKey
) -> None:
    name, digest = bench.push(bench.repository())
    public = "us.icr.io/team/app:1.0"
    run = ("sign-image", name, "--key", key.location, "--sign-identity", public, "--both-hosts")
    bench.imgsec(*run).expect(2, "invalid-option")  # the registry of its own name has no other host
    assert bench.signatures(name, digest) == []
    run = run[:-1]
    signed = bench.imgsec(*run).expect(0).json["images"][0]["signature"]
    assert signed["identities"] == [name, public]
    assert len(bench.signatures(name, digest)) == 2
    for identity in (name, public):
        assert skopeo_accepts(bench, key, name, identity)
    assert not skopeo_accepts(bench, key, name, "us.icr.io/team/app:2.0")
    again = bench.imgsec(*run).expect(0).json["images"][0]["signature"]
    assert (again["new"], len(bench.signatures(name, digest))) == (False, 2)


def test_digest_gets_the_names_that_are_given_with_both_hosts_of_icr(
    bench: Bench, key: SigningKey
) -> None:
    name, digest = bench.push(bench.repository())
    by_digest = f"{name.rpartition(':')[0]}@{digest}"
    bench.imgsec("sign-image", by_digest, "--key", key.location).expect(2, "tag-required")
    run = ("sign-image", by_digest, "--key", key.location, "--both-hosts")
    done = bench.imgsec(*run, "--sign-identity", "private.us.icr.io/team/app:1").expect(0)
    assert done.json["images"][0]["signature"]["identities"] == [
        "private.us.icr.io/team/app:1",
        "us.icr.io/team/app:1",
    ]
    assert skopeo_accepts(bench, key, name, "us.icr.io/team/app:1")


def test_only_the_digest_that_was_meant_is_signed(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    run = ("sign-image", name, "--key", key.location, "--expect-digest")
    other = "sha256:" + "1a" * 32
    bench.imgsec(*run, other).expect(1, "digest-drift")
    assert bench.signatures(name, digest) == []
    bench.imgsec(*run, digest).expect(0)
    bench.imgsec("sign-image", f"{name}@{digest}", *run[2:], other).expect(2, "invalid-option")
    bench.imgsec("sign-image", f"{name}2", *run[1:], digest).expect(2, "invalid-option")


def test_platforms_of_an_index_can_be_chosen(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository(), platforms=("amd64", "arm64"))
    run = ("sign-image", name, "--key", key.location, "--platform")
    bench.imgsec(*run, "linux/s390x").expect(1, "platform-missing")
    assert bench.signatures(name, digest) == []
    signed = bench.imgsec(*run, "linux/arm64").expect(0).json["images"][0]["signature"]
    assert len(signed["digests"]) == 2
    every = bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    assert every.json["images"][0]["signature"]["new"] is True
    assert len(every.json["images"][0]["signature"]["digests"]) == 3
    assert len(bench.signatures(name, digest)) == 1


# --- A registry that keeps no signatures ----------------------------------------------------------


@pytest.fixture
def plain(bench: Bench) -> Bench:
    """Its registry is one without the extension, as most are."""
    bench.fault("registry", "no-extension")
    return bench


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the web server that publishes it."""
    folder = tmp_path / "published"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_registry_without_signatures_is_refused_by_name(plain: Bench, key: SigningKey) -> None:
    name, _ = plain.push(plain.repository())
    done = plain.imgsec("sign-image", name, "--key", key.location)
    done.expect(3, "signature-store-missing")
    assert name.partition("/")[0] in done.json["reasons"][0]["text"]
    assert "--lookaside" in done.json["reasons"][0]["hint"]


def test_signatures_go_to_a_folder_where_skopeo_finds_them(plain: Bench, key: SigningKey) -> None:
    name, digest = plain.push(plain.repository(), platforms=("amd64", "arm64"))
    store = plain.folder / "store"
    run = ("sign-image", name, "--key", key.location, "--lookaside", store)
    plain.imgsec(*run).expect(3, "signature-store-missing")
    store.mkdir()
    signed = plain.imgsec(*run, "--sign-identity", "us.icr.io/team/app:1").expect(0)
    assert len(signed.json["images"][0]["signature"]["digests"]) == 3
    repository = name.partition("/")[2].rpartition(":")[0]
    folder = store / f"{repository}@{digest.replace(':', '=')}"
    assert sorted(path.name for path in folder.iterdir()) == ["signature-1", "signature-2"]
    assert {oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {"0o644"}
    plain.imgsec(*run).expect(0)
    assert len(list(folder.iterdir())) == 2
    verify = ("verify-image", name, "--key", key.location)
    plain.imgsec(*verify, "--lookaside", store).expect(0)
    plain.imgsec(*verify, "--lookaside", f"file://{store}").expect(0)
    plain.imgsec(*verify).expect(3, "signature-store-missing")
    for identity in (name, "us.icr.io/team/app:1"):
        assert skopeo_accepts(plain, key, name, identity, f"file://{store}")
    assert not skopeo_accepts(plain, key, name, "us.icr.io/team/app:2", f"file://{store}")


def test_signature_of_somebody_else_in_the_folder_stays(
    plain: Bench, key: SigningKey, gpg: Gpg
) -> None:
    """And ours gets the next number."""
    name, digest = plain.push(plain.repository())
    store = plain.folder / "store"
    folder = store / f"{name.partition('/')[2].rpartition(':')[0]}@{digest.replace(':', '=')}"
    folder.mkdir(parents=True)
    theirs = gpg.sign(b"{}", gpg.make_key("somebody else"))
    (folder / "signature-1").write_bytes(theirs)
    plain.imgsec("sign-image", name, "--key", key.location, "--lookaside", store).expect(0)
    assert sorted(path.name for path in folder.iterdir()) == ["signature-1", "signature-2"]
    assert (folder / "signature-1").read_bytes() == theirs
    assert skopeo_accepts(plain, key, name, name, f"file://{store}")


def test_store_on_the_web_is_written_by_way_of_a_staging_folder(
    plain: Bench, key: SigningKey, web: tuple[Path, str]
) -> None:
    published, url = web
    name, _ = plain.push(plain.repository())
    staging = plain.folder / "staging"
    staging.mkdir()
    run = ("sign-image", name, "--key", key.location, "--lookaside", url)
    refused = plain.imgsec(*run).expect(3, "signature-store-missing")
    assert "--lookaside-staging" in refused.json["reasons"][0]["hint"]
    plain.imgsec(*run, "--lookaside-staging", staging).expect(0)
    verify = ("verify-image", name, "--key", key.location, "--lookaside", url)
    plain.imgsec(*verify).expect(1, "signature-missing")
    for part in staging.rglob("signature-*"):
        target = published / part.relative_to(staging)
        target.parent.mkdir(parents=True)
        part.rename(target)
    plain.imgsec(*verify).expect(0)
    assert skopeo_accepts(plain, key, name, name, url)
    more = ("--lookaside-staging", staging, "--sign-identity", "us.icr.io/team/app:1")
    plain.imgsec(*run, *more).expect(0)
    (part,) = staging.rglob("signature-*")
    assert part.name == "signature-2"  # not over the first one, which a fresh pod has not here


def test_store_that_cannot_be_written_is_told_before_anything_is_signed(
    plain: Bench, key: SigningKey
) -> None:
    name, _ = plain.push(plain.repository())
    store = plain.folder / "store"
    store.mkdir(mode=0o555)
    run = ("sign-image", name, "--key", key.location, "--lookaside")
    if os.geteuid() != 0:
        plain.imgsec(*run, store).expect(3, "output-unwritable")
    plain.imgsec(*run, "s3://bucket/x").expect(2, "invalid-option")
    plain.imgsec(*run, "http://files.example.com/x").expect(2, "insecure-address")


def test_extension_comes_before_the_folder_as_with_containers_tools(
    bench: Bench, key: SigningKey
) -> None:
    name, digest = bench.push(bench.repository())
    store = bench.folder / "store"
    store.mkdir()
    bench.imgsec("sign-image", name, "--key", key.location, "--lookaside", store).expect(0)
    assert len(bench.signatures(name, digest)) == 1
    assert list(store.iterdir()) == []


# --- Many images ----------------------------------------------------------------------------------


def test_images_of_a_file_are_gated_signed_and_verified_each_by_itself(
    bench: Bench, key: SigningKey
) -> None:
    names = [bench.push(bench.repository())[0] for _ in range(3)]
    gone = names[0].rpartition(":")[0] + ":gone"
    listed = bench.folder / "images.txt"
    listed.write_text(f"# of this release\n{names[1]}\n{gone}  # not pushed\n\n{names[2]}\n")
    for run, done in (
        (("scan-gate", names[0]), None),
        (("sign-image", names[0], "--key", key.location), "signed"),
        (("verify-image", names[0], "--key", key.location), "signed"),
    ):
        ended = bench.imgsec(*run, "--images-file", listed).expect(3, "image-not-found")
        outcomes = {one["image"]: one["outcome"] for one in ended.json["images"]}
        assert outcomes == {**dict.fromkeys(names, "pass"), gone: "undecided"}
        assert list(outcomes) == [names[0], names[1], gone, names[2]]
        assert f"undecided: {gone} (" in ended.stderr
        assert "4 images: 3 pass, 1 undecided" in ended.stderr
        assert done is None or "signature" in ended.json["images"][3]
    listed.write_text(f"{names[0]}\n{names[0]}\n")
    twice = bench.imgsec("verify-image", "--key", key.location, "--images-file", listed).expect(0)
    assert len(twice.json["images"]) == 1
    run = ("verify-image", "--key", key.location)
    bench.imgsec(*run).expect(2, "invalid-option")
    listed.write_text("# none\n")
    bench.imgsec(*run, "--images-file", listed).expect(2, "input-malformed")
    bench.imgsec(*run, "--images-file", "/nonexistent").expect(2, "input-unreadable")


@pytest.mark.parametrize("backend", ["gpg", "sequoia"])
@pytest.mark.parametrize("protected", [False, True])
def test_several_workers_sign_each_image_once(
    bench: Bench, key: SigningKey, protected: bool, backend: str
) -> None:
    names = [bench.push(bench.repository()) for _ in range(6)]
    listed = bench.folder / "images.txt"
    listed.write_text("\n".join(name for name, _ in names))
    run: list[str | Path] = ["--key", key.location, "--images-file", listed, "--workers", "3"]
    if protected:
        passphrase, alias = bench.folder / "passphrase", bench.alias()
        passphrase.write_text("open sesame\n")
        bench.imgsec(
            *("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*"),
            *("--passphrase-file", passphrase, "--render", bench.folder / "out"),
        ).expect(0)
        run[1] = f"kms://{alias}"
        run += ["--passphrase-file", passphrase]
    done = bench.imgsec("sign-image", *run, "--backend", backend).expect(0)
    assert [one["image"] for one in done.json["images"]] == [name for name, _ in names]
    assert all(one["signature"]["new"] for one in done.json["images"])
    assert done.stderr.count(" of 6)") == 6
    bench.imgsec("sign-image", *run).expect(0)
    assert [len(bench.signatures(name, digest)) for name, digest in names] == [1] * 6
    if not protected:
        bench.imgsec("verify-image", *run).expect(0)
        assert all(skopeo_accepts(bench, key, name, name) for name, _ in names)
    assert bench.leftovers() == []
    assert bench.processes() == []


def test_sequoia_signs_one_image_where_it_is_or_on_its_way(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository(), platforms=("amd64", "arm64"))
    target = f"{bench.sandbox.registry}/{bench.repository()}:release"
    run = ("sign-image", name, "--key", key.location, "--backend", "sequoia")
    for words, signed in (((), name), (("--to", target), target)):
        done = bench.imgsec(*run, *words).expect(0)
        assert len(done.json["images"][0]["signature"]["digests"]) == 3
        assert skopeo_accepts(bench, key, signed, signed)
    assert len(bench.signatures(target, digest)) == 2
    bench.imgsec(*run[:-1], "openssl").expect(2, "invalid-option")
    bench.imgsec(*run, "--key", "kms://nothing-here").expect(3, "key-not-found")
    assert bench.processes() == []


def test_workers_that_are_ended_leave_nothing_and_what_they_signed(
    bench: Bench, key: SigningKey
) -> None:
    names = [bench.push(bench.repository()) for _ in range(5)]
    listed = bench.folder / "images.txt"
    listed.write_text("\n".join(name for name, _ in names))
    repository = names[3][0].partition("/")[2].rpartition(":")[0]
    bench.fault("registry", "hang", path=f"/v2/{repository}/manifests/")
    run = ("sign-image", "--key", key.location, "--images-file", listed, "--workers", "2")
    done = bench.imgsec(*run, "--timeout", "15").expect(3, "timeout")
    outcomes = [one["outcome"] for one in done.json["images"]]
    assert outcomes == ["pass", "pass", "pass", "undecided", "pass"]
    assert bench.leftovers() == []
    assert bench.processes() == []
    bench.clear_faults()
    bench.imgsec(*run).expect(0)
    assert [len(bench.signatures(name, digest)) for name, digest in names] == [1] * 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_workers_too(bench: Bench, key: SigningKey, number: int) -> None:
    name, _ = bench.push(bench.repository())
    other, _ = bench.push(bench.repository())
    bench.fault("registry", "hang", path="/manifests/")
    process = bench.imgsec.start("sign-image", name, other, "--key", key.location, "--workers", "2")
    deadline = time.monotonic() + 30
    while sum("sign-image" in words for words in bench.processes()) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(timeout=20) == 128 + number
    assert bench.leftovers() == []
    assert bench.processes() == []


def test_workers_share_what_can_be_read_once(bench: Bench, key: SigningKey) -> None:
    """A login from a pipe is there for each of them."""
    names = [bench.push(bench.repository())[0] for _ in range(4)]
    login = Path(bench.environment["REGISTRY_AUTH_FILE"]).read_text()
    run = ("sign-image", *names, "--key", key.location, "--workers", "3")
    bench.imgsec(*run, "--authfile", "/dev/stdin", stdin=login).expect(0)


def test_workers_do_not_store_more_than_there_is_room_for(
    plain: Bench, key: SigningKey, gpg: Gpg
) -> None:
    """Two names of one digest, and room for one signature: a second one would spoil all."""
    name, digest = plain.push(plain.repository())
    store = plain.folder / "store"
    folder = store / f"{name.partition('/')[2].rpartition(':')[0]}@{digest.replace(':', '=')}"
    folder.mkdir(parents=True)
    theirs = gpg.sign(b"{}", gpg.make_key("somebody else"))
    for number in range(1, 128):
        (folder / f"signature-{number}").write_bytes(theirs)
    other = f"{name}b"
    plain.skopeo("copy", f"docker://{name}", f"docker://{other}")
    run = ("--key", key.location, "--lookaside", store, "--workers", "2")
    done = plain.imgsec("sign-image", name, other, *run).expect(3, "too-many-signatures")
    assert sorted(one["outcome"] for one in done.json["images"]) == ["pass", "undecided"]
    assert len(list(folder.iterdir())) == 128
