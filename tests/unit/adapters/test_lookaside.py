# SPDX-License-Identifier: Apache-2.0
"""A lookaside store, as containers tools lay it out, and as a lying web server shows it."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from imgsec.adapters import lookaside as module
from imgsec.adapters._http import Http
from imgsec.adapters.lookaside import Lookaside
from imgsec.domain.hosts import SignatureAddress
from imgsec.domain.reference import ImageReference
from imgsec.domain.signature import SIGNATURES_MAX
from tests.unit.adapters.servers import Script, Server, reply
from tests.unit.refusals import refused

HEX = "1a" * 32
IMAGE = ImageReference.parse(f"registry.example.com:5000/team/app:1@sha256:{HEX}")
PATH = f"team/app@sha256={HEX}"


def store(folder: Path) -> Lookaside:
    return Lookaside(Http(), SignatureAddress.parse(str(folder)))


def message(text: str) -> bytes:
    return b"\x90" + text.encode()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / PATH).iterdir())


def test_signatures_are_numbered_without_gaps_and_read_in_order(tmp_path: Path) -> None:
    for number in range(1, 12):
        store(tmp_path).store_signature(IMAGE, message(str(number)))
    assert set(names(tmp_path)) == {f"signature-{number}" for number in range(1, 12)}
    assert store(tmp_path).fetch_signatures(IMAGE) == tuple(message(str(n)) for n in range(1, 12))


def test_what_comes_after_a_gap_is_not_there(tmp_path: Path) -> None:
    for number in (1, 2, 4):
        store(tmp_path).store_signature(IMAGE, message(str(number)))
    (tmp_path / PATH / "signature-2").unlink()
    assert store(tmp_path).fetch_signatures(IMAGE) == (message("1"),)


def test_folders_and_files_can_be_served_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        store(tmp_path).store_signature(IMAGE, message("1"))
    finally:
        os.umask(before)
    modes = [oct(path.stat().st_mode & 0o777) for path in sorted(tmp_path.rglob("*"))]
    assert modes == ["0o755", "0o755", "0o644"]


@pytest.mark.parametrize("has_links", [True, False])
def test_several_at_once_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    def no_link(*_: object, **__: object) -> None:
        raise OSError(errno.ENOTSUP, "not here")

    if not has_links:
        monkeypatch.setattr(module.os, "link", no_link)
    start = threading.Barrier(8)

    def run(number: int) -> None:
        start.wait()
        store(tmp_path).store_signature(IMAGE, message(str(number)))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path) == [f"signature-{number}" for number in range(1, 9)]
    found = store(tmp_path).fetch_signatures(IMAGE)
    assert set(found) == {message(str(number)) for number in range(8)}


def test_signature_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with refused("output-unwritable") as reasons:
        store(tmp_path).store_signature(IMAGE, message("1"))
    assert "No space left" in reasons[0].text
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "answer-malformed"),
        (b"<html>Welcome</html>", "answer-malformed"),
        (b"-----BEGIN PGP MESSAGE-----", "signature-invalid"),
    ],
)
def test_what_is_no_binary_message_is_no_signature(
    tmp_path: Path, content: bytes, code: str
) -> None:
    (tmp_path / PATH).mkdir(parents=True)
    (tmp_path / PATH / "signature-1").write_bytes(content)
    with refused(code):
        store(tmp_path).fetch_signatures(IMAGE)


def test_limits_of_size_and_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(SIGNATURES_MAX + 1):
        store(tmp_path).store_signature(IMAGE, message(str(number)))
        if number == 0:
            with monkeypatch.context() as patch, refused("answer-too-large"):
                patch.setattr(module, "SIGNATURE_MAX_BYTES", 1)
                store(tmp_path).fetch_signatures(IMAGE)
    with refused("too-many-signatures"):
        store(tmp_path).fetch_signatures(IMAGE)


def test_place_that_is_not_there_is_no_empty_one(tmp_path: Path) -> None:
    with refused("signature-store-missing"):
        store(tmp_path / "none").fetch_signatures(IMAGE)
    (tmp_path / "file").touch()
    with refused("signature-store-missing"):
        store(tmp_path / "file").require(writable=False)
    assert store(tmp_path).fetch_signatures(IMAGE) == ()


# --- On the web -----------------------------------------------------------------------------------


def fetch(*scripts: Script) -> tuple[tuple[bytes, ...], list[str]]:
    with Server(list(scripts)) as server:
        found = Lookaside(Http(), SignatureAddress.parse(f"{server.url}/base/"))
        return found.fetch_signatures(IMAGE), [request.path for request in server.requests]


def test_web_is_read_until_the_first_that_is_not_there() -> None:
    found, paths = fetch(reply(200, message("1")), reply(200, message("2")), reply(404, b"none"))
    assert found == (message("1"), message("2"))
    assert paths == [f"/base/{PATH}/signature-{number}" for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (reply(200, b"<!DOCTYPE html>"), "answer-malformed"),
        (reply(200, b""), "answer-malformed"),
        (reply(403, b"no"), "permission-denied"),
        (reply(401, b"no"), "credential-rejected"),
        (reply(410, b"gone"), "answer-malformed"),
    ],
)
def test_web_server_that_does_not_say_so_is_not_believed(script: Script, code: str) -> None:
    with refused(code):
        fetch(script)


def test_store_on_the_web_is_written_by_way_of_a_folder(tmp_path: Path) -> None:
    with Server([reply(200, message("1")), reply(404, b""), reply(404, b"")]) as server:
        web = SignatureAddress.parse(server.url)
        with refused("signature-store-missing"):
            Lookaside(Http(), web).require(writable=True)
        staged = Lookaside(Http(), web, SignatureAddress.parse(str(tmp_path)))
        staged.require(writable=True)
        staged.store_signature(IMAGE, message("2"))
    assert names(tmp_path) == ["signature-2"]
    with Server([reply(200, message("1")), reply(404, b""), reply(404, b"")]) as server:
        web = SignatureAddress.parse(server.url)
        staged = Lookaside(Http(), web, SignatureAddress.parse(str(tmp_path)))
        assert staged.fetch_signatures(IMAGE) == (message("1"), message("2"))
