# SPDX-License-Identifier: Apache-2.0
"""Policies and intents in files: all documents of all files, and nothing passed over unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgsec.adapters.intent_files import intent_bytes, read_intents
from imgsec.adapters.policy_sources import read_policy_sources
from tests.unit.domain.intents import an_intent, signed, unchecked
from tests.unit.refusals import refused

LIST = "kind: List\nitems:\n- {kind: ImagePolicy, metadata: {name: a}}\n- {kind: Secret}\n"


def test_a_folder_gives_every_file_of_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yaml").write_text(LIST)
    (tmp_path / "config.yaml").write_text("image-security-enforcement: {}\n")
    (tmp_path / "sub" / "b.yml").write_text("kind: A\n---\nkind: B\n")
    (tmp_path / "readme.md").write_text("no YAML: at: all")
    found = [one.content.get("kind", "") for one in read_policy_sources(str(tmp_path))]
    assert found == ["ImagePolicy", "Secret", "", "A", "B"]


def test_what_is_no_mapping_is_nothing(tmp_path: Path) -> None:
    for text in ("", "[]"):
        (tmp_path / "x.yaml").write_text(text)
        assert list(read_policy_sources(str(tmp_path / "x.yaml"))) == []
    for text in ("5", "a: &x [*x]"):
        (tmp_path / "x.yaml").write_text(text)
        with refused("input-malformed"):
            list(read_policy_sources(str(tmp_path / "x.yaml")))
    with refused("input-unreadable"):
        list(read_policy_sources(str(tmp_path / "missing")))


def test_intents_are_written_as_they_are_read(tmp_path: Path) -> None:
    intents = (
        an_intent(signed("a.io/b/*"), unchecked("a.io/b/c", until="2027-01-01")),
        an_intent(signed("a.io/b/*"), namespaces=["shop"]),
    )
    path = tmp_path / "imgsec-policy.yaml"
    path.write_bytes(intent_bytes(intents))
    assert read_intents(str(path)) == intents


def test_each_document_is_an_intent_or_the_file_is_none(tmp_path: Path) -> None:
    path = tmp_path / "imgsec-policy.yaml"
    whole = intent_bytes([an_intent(signed("a.io/b/*"))])
    for more in (b"---\nkind: Secret\n", b"---\n- a\n", b"---\n{}\n"):
        path.write_bytes(whole + more)
        with refused("input-malformed") as reasons:
            read_intents(str(path))
        assert "document 2" in reasons[0].text


@pytest.mark.parametrize("before", [b"", b"---\n# a licence\n---\n", b"---\n---\nnull\n"])
@pytest.mark.parametrize("after", [b"", b"---\n", b"---\n# the end\n---\n"])
def test_empty_documents_are_passed_over(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "imgsec-policy.yaml"
    intents = (an_intent(signed("a.io/b/*")),)
    path.write_bytes(before + intent_bytes(intents) + after)
    assert read_intents(str(path)) == intents
    config = b"---\nimage-security-enforcement: {clusterImagePolicy: []}\n"
    (tmp_path / "config.yaml").write_bytes(before + config + after)
    (found,) = read_policy_sources(str(tmp_path / "config.yaml"))
    assert set(found.content) == {"image-security-enforcement"}


def test_empty_documents_alone_are_no_intent_and_count_in_the_place(tmp_path: Path) -> None:
    path = tmp_path / "imgsec-policy.yaml"
    for text, said in ((b"---\n---\n", "is empty"), (b"---\n---\n- a\n", "document 2")):
        path.write_bytes(text)
        with refused("input-malformed") as reasons:
            read_intents(str(path))
        assert said in reasons[0].text
