# SPDX-License-Identifier: Apache-2.0
"""docs/access.md: the role that it names is enough, and whoever lacks it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Bench, SigningKey

ROLES = ["nokms", "reader", "readerplus", "writer", "manager"]


def with_role(bench: Bench, role: str) -> dict[str, str | None]:
    file = bench.folder / f"api-key-{role}"
    file.write_text(bench.sandbox.api_key(role))
    return {"IMGSEC_API_KEY_FILE": str(file)}


def commands(bench: Bench, key: SigningKey, folder: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What docs/access.md says: the least role, and a run of the command."""
    name, _ = bench.push(bench.repository())
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    at = ("--key", key.location)
    make = ("--alias", bench.alias(), "--repository", "us.icr.io/*", "--render", str(folder / "m"))
    return {
        "setup-signing-keys": ("writer", ("setup-signing-keys", *make)),
        "sign-image": ("readerplus", ("sign-image", name, *at)),
        "verify-image": ("readerplus", ("verify-image", name, *at)),
        "keys list": ("readerplus", ("keys", "list")),
        "keys show": ("readerplus", ("keys", "show", key.alias)),
        "keys export": (
            "readerplus",
            ("keys", "export", key.alias, "--public", "--file", str(folder / "public")),
        ),
        "keys copy": ("writer", ("keys", "copy", "--from", key.location, "--to", "kms://copied")),
    }


@pytest.mark.once
@pytest.mark.parametrize(
    "command",
    [
        *("setup-signing-keys", "sign-image", "verify-image"),
        *("keys list", "keys show", "keys export", "keys copy"),
    ],
)
def test_least_role_is_enough_and_a_lesser_one_is_told_which(
    bench: Bench, key: SigningKey, command: str
) -> None:
    least, words = commands(bench, key, bench.folder)[command]
    page = (Path(__file__).parents[2] / "docs" / "access.md").read_text()
    (row,) = [line for line in page.splitlines() if _is_row_of(command, line)]
    named = {"readerplus": "ReaderPlus", "writer": "Writer"}[least]
    assert named in row
    lesser = ROLES[ROLES.index(least) - 1]
    done = bench.imgsec(*words, env=with_role(bench, lesser))
    assert done.code == 3, done.stdout
    assert done.codes in (["credential-rejected"], ["permission-denied"])  # no payload is no 401
    assert named in done.json["reasons"][0]["hint"]
    bench.imgsec(*words, env=with_role(bench, least)).expect(0)


@pytest.mark.once
def test_replacing_a_key_needs_a_writer(bench: Bench) -> None:
    alias, out = bench.alias(), bench.folder / "out"
    words = ("--alias", alias, "--repository", "us.icr.io/*", "--render", str(out))
    made = bench.imgsec("setup-signing-keys", *words).expect(0).json["key"]
    at = (alias, "--fingerprint", made["fingerprint"], "--render", str(out))
    for command in (
        ("keys", "rotate", *at),
        ("keys", "renew", alias, "--until", "2099-01-01", "--render", str(out)),
        ("keys", "revoke", *at),
    ):
        done = bench.imgsec(*command, env=with_role(bench, "readerplus"))
        assert done.expect(3, "credential-rejected").json["reasons"][0]["hint"].count("Writer") == 1
    done = bench.imgsec(*("keys", "revoke", *at), env=with_role(bench, "writer")).expect(0)


def _is_row_of(command: str, line: str) -> bool:
    """Whether the row is for this command; one is for several ``keys`` commands."""
    group, _, word = command.partition(" ")
    first = line.removeprefix("| ").partition(" |")[0]
    shared = bool(word) and first.startswith(f"`{group} ") and f"`{word}`" in first
    return line.startswith("|") and (f"`{command}`" in first or shared)
