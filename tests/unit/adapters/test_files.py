# SPDX-License-Identifier: Apache-2.0
"""Files that a user names: limits, whole writes, no links."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
import yaml

from imgsec.adapters.files import (
    KeyFiles,
    append_file,
    load_yaml,
    read_file,
    require_writable,
    write_file,
)
from imgsec.domain.keys import PUBLIC_KEY_SCHEMES, SECRET_KEY_SCHEMES, KeyLocation
from tests.unit.refusals import refused


def test_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_file(str(path), max_bytes=5) == b"12345"
    with refused("input-malformed"):
        read_file(str(path), max_bytes=4)


@pytest.mark.parametrize("name", ["missing", "", "a\0b"])
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with refused("input-unreadable"):
        read_file(str(tmp_path / name), max_bytes=5)


def test_endless_device_is_read_up_to_the_limit() -> None:
    with refused("input-malformed"):
        read_file("/dev/zero", max_bytes=1000)


def test_write_replaces_the_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"first, and longer")
    with path.open("rb") as reader:
        write_file(path, b"second")
        assert reader.read() == b"first, and longer"
    assert path.read_bytes() == b"second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_file_in_a_folder_that_may_not_be_looked_into_is_unwritable(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        with refused("output-unwritable"):
            require_writable(str(closed / "out"))
    finally:
        if is_root:
            os.seteuid(0)


UNWRITABLE = ("link", "dangling", "fifo", "folder", "device", "nowhere")


@pytest.fixture(params=[*UNWRITABLE, "kernel"])
def unwritable(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A path that must not be written."""
    path = tmp_path / "out"
    if request.param == "link":
        (tmp_path / "victim").write_text("victim")
        path.symlink_to(tmp_path / "victim")
    elif request.param == "dangling":
        path.symlink_to(tmp_path / "made")
    elif request.param == "fifo":
        os.mkfifo(path)
    elif request.param == "folder":
        path.mkdir()
    return {
        "device": "/dev/full",
        "nowhere": str(tmp_path / "no" / "such"),
        "kernel": "/proc/imgsec-test",
    }.get(request.param, str(path))


def test_unwritable_output_is_refused_and_left_alone(unwritable: str, tmp_path: Path) -> None:
    before = sorted(entry.name for entry in tmp_path.iterdir())
    with refused("output-unwritable"):
        write_file(unwritable, b"x")
    with refused("output-unwritable"):
        append_file(unwritable, b"x")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before
    if (tmp_path / "victim").exists():
        assert (tmp_path / "victim").read_text() == "victim"


@pytest.mark.parametrize("unwritable", UNWRITABLE, indirect=True)
def test_impossible_output_is_refused_before_the_work(unwritable: str) -> None:
    with refused("output-unwritable"):
        require_writable(unwritable)


def test_append_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "github_output"
    append_file(str(path), b"a=1\n")
    append_file(str(path), b"b=2\n")
    assert path.read_bytes() == b"a=1\nb=2\n"


# --- Keys ---------------------------------------------------------------------------------------


def test_key_in_a_variable_is_taken_out_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIGNING_KEY", "key material")
    location = KeyLocation.parse("env:SIGNING_KEY", allowed=SECRET_KEY_SCHEMES)
    assert KeyFiles().read_secret_key(location).reveal() == b"key material"
    assert "SIGNING_KEY" not in os.environ
    with refused("key-not-found"):
        KeyFiles().read_secret_key(location)


def public_key(path: Path, content: object) -> bytes:
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return KeyFiles().read_public_key(
        KeyLocation.parse(f"secret:{path}", allowed=PUBLIC_KEY_SCHEMES)
    )


def test_public_key_is_found_in_a_secret(tmp_path: Path) -> None:
    data = {"kind": "Secret", "data": {"key": base64.b64encode(b"armour").decode()}}
    assert public_key(tmp_path / "s", data) == b"armour"
    text = {"kind": "Secret", "stringData": {"key": "armour"}}
    assert public_key(tmp_path / "s", text) == b"armour"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "text",
        "[]",
        "{}",
        {"kind": "ConfigMap", "data": {"key": "YQ=="}},
        {"kind": "Secret"},
        {"kind": "Secret", "data": None},
        {"kind": "Secret", "data": []},
        {"kind": "Secret", "data": {"key": "no base64!"}},
        {"kind": "Secret", "data": {"key": 1}},
        {"kind": "Secret", "data": {"key": None}},
        {"kind": "Secret", "stringData": []},
        {"kind": "Secret", "stringData": {"other": "x"}},
        {"kind": "Secret", "stringData": {"key": 1}},
        {"kind": "Secret", "stringData": {"key": None}},
    ],
)
def test_what_is_no_such_secret_is_malformed(tmp_path: Path, content: object) -> None:
    with refused("input-malformed"):
        public_key(tmp_path / "s", content)


# --- YAML ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: 1\na: 2", id="key twice"),
        pytest.param("1: a\n'1': b", id="key twice by its text"),
        pytest.param("x: {a: 1, a: 2}", id="key twice inside"),
        pytest.param("a: &x [1]\nb: *x", id="alias"),
        pytest.param("a: &x {b: 1}\nc:\n  <<: *x", id="merge"),
        pytest.param("a: !!python/object/apply:os.system [id]", id="python tag"),
        pytest.param("a: !custom 1", id="custom tag"),
        pytest.param("!!map [a]", id="list as map"),
        pytest.param("!!map text", id="text as map"),
        pytest.param('!!int ""', id="empty int"),
        pytest.param('!!bool "x"', id="odd bool"),
        pytest.param('!!timestamp "x"', id="odd time"),
        pytest.param('!!float "x"', id="odd float"),
        pytest.param("!!binary =", id="odd binary"),
        pytest.param("a: 2026-99-99", id="impossible date"),
        pytest.param("? [a]\n: 1", id="list as key"),
        pytest.param("a: 1\n---\nb: 2", id="two documents"),
        pytest.param("a: [", id="unfinished"),
        pytest.param("\x00", id="control character"),
        pytest.param("[" * 5000, id="deep"),
        pytest.param("[" * 5000 + "]" * 5000, id="deep and closed"),
        pytest.param("- " * 5000, id="deep dashes"),
        pytest.param("0b_", id="number without digits"),
    ],
)
def test_yaml_that_two_readers_could_read_differently_is_refused(text: str) -> None:
    with refused("input-malformed") as reasons:
        load_yaml(text.encode(), "file.yaml")
    assert "\n" not in reasons[0].text


def test_yaml_that_is_not_utf8_is_refused() -> None:
    with refused("input-malformed"):
        load_yaml(b"a: \xff\xfe", "file.yaml")


def test_plain_yaml_is_read() -> None:
    document = {"kind": "Secret", "metadata": {"labels": {"a": "b"}}, "spec": [1, "1", None, True]}
    assert load_yaml(yaml.safe_dump(document).encode(), "p") == document


# --- Manifests ----------------------------------------------------------------------------------
