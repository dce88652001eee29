# SPDX-License-Identifier: Apache-2.0
"""Keys with a passphrase: made, used and refused, and the passphrase is seen by nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Bench

pytestmark = pytest.mark.once

PASSPHRASE = "correct horse, battery 'staple' \u00e9"


@pytest.fixture
def file(bench: Bench) -> Path:
    path = bench.folder / "passphrase"
    path.write_text(PASSPHRASE + "\n")
    return path


def test_key_with_a_passphrase_goes_through_the_story(bench: Bench, file: Path) -> None:
    alias, name = bench.alias(), bench.push(bench.repository(), platforms=("amd64", "arm64"))[0]
    words = ("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*")
    words = (*words, "--render", str(bench.folder / "out"))
    made = bench.imgsec(*words, "--passphrase-file", file).expect(0)
    again = bench.imgsec(*words, "--passphrase-file", file).expect(0)
    assert "nothing-to-do" in [note["code"] for note in again.json["notes"]]
    assert again.json["key"] == made.json["key"]
    bench.imgsec(*words).expect(1, "key-unusable")

    sign = ("sign-image", name, "--key", f"kms://{alias}")
    bench.imgsec(*sign).expect(1, "key-unusable")
    wrong = bench.folder / "wrong"
    wrong.write_text("wrong")
    bench.imgsec(*sign, "--passphrase-file", wrong).expect(1, "key-unusable")
    bench.imgsec("verify-image", name, "--key", f"kms://{alias}").expect(1, "signature-missing")

    signed = bench.imgsec(*sign, env={"IMGSEC_PASSPHRASE_FILE": str(file)}).expect(0)
    assert signed.json["images"][0]["signature"]["new"] is True
    bench.imgsec("verify-image", name, "--key", f"kms://{alias}").expect(0)
    assert PASSPHRASE not in signed.stdout + signed.stderr + made.stdout + made.stderr
    assert bench.leftovers() == []


def test_passphrase_comes_through_a_descriptor(bench: Bench, file: Path) -> None:
    alias, name = bench.alias(), bench.push(bench.repository())[0]
    words = ("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*")
    words = (*words, "--render", str(bench.folder / "out"))
    bench.imgsec(*words, "--passphrase-fd", "0", stdin=PASSPHRASE).expect(0)
    reading, writing = os.pipe()
    os.write(writing, PASSPHRASE.encode())
    os.close(writing)
    run = bench.imgsec.start(
        *("sign-image", name, "--key", f"kms://{alias}", "--passphrase-fd", str(reading)),
        pass_fds=(reading,),
    )
    os.close(reading)
    stdout, stderr = run.communicate(timeout=60)
    assert run.returncode == 0, stdout + stderr
    both = ("--passphrase-file", file, "--passphrase-fd", "0")
    bench.imgsec("sign-image", name, "--key", f"kms://{alias}", *both).expect(2, "invalid-option")


@pytest.mark.parametrize("content", ["", "\n", " x", "x ", "two\nlines", "a\0b", "x" * 2000])
def test_what_is_no_passphrase_is_refused(bench: Bench, content: str) -> None:
    file = bench.folder / "passphrase"
    file.write_text(content)
    words = ("sign-image", "us.icr.io/team/app:1", "--key", "kms://release")
    bench.imgsec(*words, "--passphrase-file", file).expect(2, "input-malformed")
    bench.imgsec(*words, "--passphrase-file", "/nowhere").expect(2, "input-unreadable")
