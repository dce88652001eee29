# SPDX-License-Identifier: Apache-2.0
"""Manifests in a folder: made, left alone, updated, and never somebody else's."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from imgsec.adapters.manifest_files import MANIFEST_MAX_BYTES, ManifestDocument, parse_documents
from imgsec.adapters.manifest_folder import FolderSink
from imgsec.ports import ObjectId, object_id
from tests.unit.refusals import refused

POLICY: dict[str, Any] = {
    "apiVersion": "portieris.cloud.ibm.com/v1",
    "kind": "ClusterImagePolicy",
    "metadata": {"name": "signed", "labels": {"app.kubernetes.io/managed-by": "imgsec"}},
    "spec": {"repositories": [{"name": "r.example/*", "policy": {}}]},
}


def test_manifest_is_created_then_unchanged_then_updated(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    sink = FolderSink(folder)
    first = sink.publish(POLICY)
    path = folder / "signed.clusterimagepolicy.yaml"
    assert (first.state, first.target) == ("created", str(path))
    inode = path.stat().st_ino
    assert sink.publish(POLICY).state == "unchanged"
    assert path.stat().st_ino == inode
    changed = {**POLICY, "spec": {"repositories": []}}
    assert sink.publish(changed).state == "updated"
    assert yaml.safe_load(path.read_text()) == changed


def test_manifest_whose_data_share_a_part_is_read_back(tmp_path: Path) -> None:
    part: dict[str, object] = {"simple": {"requirements": []}}
    shared = {**POLICY, "spec": {"one": part, "two": part}}
    sink = FolderSink(tmp_path)
    sink.publish(shared)
    assert sink.publish(shared).state == "unchanged"
    assert sink.publish(POLICY).state == "updated"


@pytest.mark.parametrize(
    "foreign",
    ["", "kind: Pod", "metadata: text", "metadata: {labels: [x]}", "[]", "# by hand\n"],
)
def test_file_that_imgsec_did_not_make_is_never_overwritten(tmp_path: Path, foreign: str) -> None:
    path = tmp_path / "signed.clusterimagepolicy.yaml"
    path.write_text(foreign)
    with refused("foreign-object"):
        FolderSink(tmp_path).publish(POLICY)
    assert path.read_text() == foreign


def namespaced(kind: str, name: str, namespace: str) -> dict[str, object]:
    metadata = {**POLICY["metadata"], "name": name, "namespace": namespace}  # type: ignore[dict-item]
    return {**POLICY, "kind": kind, "metadata": metadata}


def test_policies_of_two_namespaces_stand_side_by_side(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    for namespace in ("dev", "prod"):
        assert sink.publish(namespaced("ImagePolicy", "signed", namespace)).state == "created"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "signed.dev.imagepolicy.yaml",
        "signed.prod.imagepolicy.yaml",
    ]


@pytest.mark.parametrize(
    "held",
    [
        namespaced("Secret", "key", "portieris"),
        namespaced("Secret", "other", "default"),
        namespaced("ConfigMap", "key", "default"),
    ],
)
def test_file_that_holds_another_object_of_ours_is_never_overwritten(
    tmp_path: Path, held: dict[str, object]
) -> None:
    path = tmp_path / "key.secret.yaml"
    path.write_text(yaml.safe_dump(held))
    with refused("foreign-object"):
        FolderSink(tmp_path).publish(namespaced("Secret", "key", "default"))
    assert yaml.safe_load(path.read_text()) == held


def test_file_that_cannot_be_understood_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "signed.clusterimagepolicy.yaml"
    path.write_text("a: [")
    with refused("input-malformed"):
        FolderSink(tmp_path).publish(POLICY)
    assert path.read_text() == "a: ["


def test_a_pipe_in_the_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    sink = FolderSink(tmp_path)
    assert sink.publish(POLICY).state == "created"
    assert [one["metadata"]["name"] for one in sink.list_made_policies()] == ["signed"]
    for read in (sink.list_key_secrets, lambda: sink.list_policies("ClusterImagePolicy")):
        with refused("input-unreadable"):
            read()


def test_a_manifest_in_the_folder_that_is_too_large_is_malformed(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_bytes(b"#" * (MANIFEST_MAX_BYTES + 1))
    with refused("input-malformed"):
        FolderSink(tmp_path).list_key_secrets()


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("file", "file/below", "dangling"):
        with refused("output-unwritable"):
            FolderSink(tmp_path / name).require_ready()
        with refused("output-unwritable"):
            FolderSink(tmp_path / name).publish(POLICY)


def test_folder_that_may_not_be_written_is_noticed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FolderSink(tmp_path / "a" / "b").require_ready()
    assert list(tmp_path.iterdir()) == []
    # Root may write anywhere, whatever the mode says.
    monkeypatch.setattr(os, "access", lambda *_: False)
    with refused("output-unwritable"):
        FolderSink(tmp_path / "a" / "b").require_ready()


OBJECT = ObjectId("ClusterImagePolicy", "signed")


def test_folder_is_ready_for_what_it_can_take(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "to" / "be" / "made"):
        FolderSink(folder).require_ready(OBJECT)
    assert list(tmp_path.iterdir()) == []
    FolderSink(tmp_path).publish(POLICY)
    FolderSink(tmp_path).require_ready(OBJECT)


def test_what_could_not_be_published_is_noticed_beforehand(tmp_path: Path) -> None:
    path = tmp_path / "signed.clusterimagepolicy.yaml"
    path.write_text("kind: Pod")
    with refused("foreign-object"):
        FolderSink(tmp_path).require_ready(OBJECT)
    path.unlink()
    path.mkdir()
    with refused("output-unwritable"):
        FolderSink(tmp_path).require_ready(OBJECT)


def test_full_disk_is_noticed_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with refused("output-unwritable") as reasons:
        FolderSink(tmp_path).require_ready()
    assert "No space left" in reasons[0].text


KEY_SECRET = {**namespaced("Secret", "key", "portieris"), "data": {"key": "eA=="}}


def test_object_that_was_put_into_another_file_is_found_and_changed_there(tmp_path: Path) -> None:
    """Renamed by hand, or moved aside since two Secrets of one name would share a file."""
    path, sink = tmp_path / "10-keys.yaml", FolderSink(tmp_path)
    path.write_text(yaml.safe_dump(KEY_SECRET))
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "folder.yaml").mkdir()
    assert sink.fetch("Secret", "key", "portieris") == KEY_SECRET
    changed = {**KEY_SECRET, "data": {"key": "eQ=="}}
    assert sink.publish(changed).target == str(path)
    assert yaml.safe_load(path.read_text()) == changed
    assert not (tmp_path / "key.secret.yaml").exists()


def test_object_that_somebody_else_keeps_in_another_file_is_not_made_twice(tmp_path: Path) -> None:
    foreign = {**KEY_SECRET, "metadata": {"name": "key", "namespace": "portieris"}}
    (tmp_path / "10-keys.yaml").write_text(yaml.safe_dump(foreign))
    sink = FolderSink(tmp_path)
    with refused("foreign-object"):
        sink.publish(KEY_SECRET)
    assert (sink.list_key_secrets(), sink.list_foreign_key_secrets()) == ((), (foreign,))


def test_secret_that_stands_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("key.secret.yaml", "copy.yaml"):
        (tmp_path / name).write_text(yaml.safe_dump(KEY_SECRET))
    with refused("input-malformed") as reasons:
        FolderSink(tmp_path).list_key_secrets()
    assert "copy.yaml" in reasons[0].text


@pytest.mark.parametrize("form", ["yml", "json", "stream", "list"])
def test_whatever_kubectl_would_apply_is_seen(tmp_path: Path, form: str) -> None:
    other = {**KEY_SECRET, "metadata": {**KEY_SECRET["metadata"], "name": "other"}}
    text = {
        "yml": yaml.safe_dump(KEY_SECRET),
        "json": json.dumps(KEY_SECRET),
        "stream": yaml.safe_dump_all([other, KEY_SECRET]),
        "list": json.dumps({"kind": "List", "items": [other, KEY_SECRET]}, indent=1),
    }[form]
    path = tmp_path / f"all.{form if form in ('yml', 'json') else 'yaml'}"
    path.write_text(text)
    sink = FolderSink(tmp_path)
    assert KEY_SECRET in sink.list_key_secrets()
    assert sink.fetch("Secret", "key", "portieris") == KEY_SECRET
    if form in ("stream", "list"):
        with refused("foreign-object") as reasons:
            sink.publish(KEY_SECRET)
        assert "a file of its own" in (reasons[0].hint or "")
        assert path.read_text() == text
    else:
        assert sink.publish({**KEY_SECRET, "data": {"key": "eQ=="}}).state == "updated"
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_object_that_stands_in_two_files_is_not_changed_in_one_of_them(tmp_path: Path) -> None:
    for name in ("signed.clusterimagepolicy.yaml", "copy.yml"):
        (tmp_path / name).write_text(yaml.safe_dump(POLICY))
    with refused("input-malformed"):
        FolderSink(tmp_path).publish({**POLICY, "spec": {}})


def test_labels_and_annotations_of_others_stay(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    path = Path(sink.publish(KEY_SECRET).target)
    held = yaml.safe_load(path.read_text())
    held["metadata"]["annotations"] = {"team": "a"}
    held["metadata"]["labels"]["stage"] = "prod"
    path.write_text(yaml.safe_dump(held))
    sink.publish({**KEY_SECRET, "data": {"key": "eQ=="}})
    after = yaml.safe_load(path.read_text())
    assert after["metadata"] == held["metadata"]
    assert after["data"] == {"key": "eQ=="}


def test_key_that_was_written_by_hand_is_seen(tmp_path: Path) -> None:
    secret = {"kind": "Secret", "metadata": {"name": "theirs"}, "stringData": {"key": "text"}}
    (tmp_path / "theirs.yaml").write_text(yaml.safe_dump(secret))
    assert FolderSink(tmp_path).list_foreign_key_secrets() == (secret,)


def a_policy(name: str, rules: int) -> dict[str, Any]:
    repositories = [{"name": f"r.example/{one:0>200}", "policy": {}} for one in range(rules)]
    labels = {"app.kubernetes.io/managed-by": "imgsec"}
    return {
        **{"apiVersion": "portieris.cloud.ibm.com/v1", "kind": "ClusterImagePolicy"},
        "metadata": {"name": name, "labels": labels},
        "spec": {"repositories": repositories},
    }


def test_what_was_written_is_read_again_however_large(tmp_path: Path) -> None:
    large = a_policy("large", 6000)
    assert FolderSink(tmp_path).publish(large).state == "created"
    assert next(tmp_path.iterdir()).stat().st_size > 2**20
    assert FolderSink(tmp_path).publish(large).state == "unchanged"


def test_what_no_cluster_takes_is_not_written(tmp_path: Path) -> None:
    huge = a_policy("huge", 8000)
    for write in (FolderSink(tmp_path).rehearse, FolderSink(tmp_path / "new").publish):
        with refused("output-unwritable"):
            write(huge)
    assert not list(tmp_path.glob("**/*.yaml"))


def test_each_file_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [a_policy(f"p{one}", 1) for one in range(5)]
    for document in documents:
        FolderSink(tmp_path).publish(document)
    parsed: list[str] = []

    def count(content: bytes, where: str) -> Iterator[ManifestDocument]:
        parsed.append(where)
        return parse_documents(content, where)

    monkeypatch.setattr("imgsec.adapters.manifest_folder.parse_documents", count)
    sink = FolderSink(tmp_path)
    sink.require_ready(*map(object_id, documents))
    for document in documents:
        assert sink.publish(document).state == "unchanged"
    assert len(parsed) == len(set(parsed)) == 5


@pytest.mark.parametrize(
    "name",
    [
        *(
            "1e3",
            "12e4",
            "1",
            "0o7",
            "07",
            "0x1f",
            "0b1",
            "1_000",
            "1.5",
            "1.",
            ".5",
            "12:30",
            "1E-3",
            "1e3_",
            "1e_3",
            "1_e+3_",
            "._5",
            "+_1",
            "0_x1f",
            "0o_7",
            "1_2:3_0",
        ),
        *("y", "n", "Y", "on", "off", "yes", "no", "true", "null", "2026-01-01", "2026-1-2"),
    ],
)
def test_a_name_that_looks_like_something_else_is_quoted(tmp_path: Path, name: str) -> None:
    """kubectl reads other numbers than PyYAML does."""
    document = {**POLICY, "metadata": {**POLICY["metadata"], "name": name}}
    change = FolderSink(tmp_path).publish(document)
    assert f"\n  name: '{name}'\n" in Path(change.target).read_text()
    assert FolderSink(tmp_path).publish(document).state == "unchanged"


@pytest.mark.parametrize(
    "name", ["signed", "e3", "1a", "v1.2", "2.example", "1e", "0xg", "yy", "_1", "y_", "1e_x"]
)
def test_a_name_that_is_one_to_everybody_is_not(tmp_path: Path, name: str) -> None:
    document = {**POLICY, "metadata": {**POLICY["metadata"], "name": name}}
    assert f"name: {name}\n" in Path(FolderSink(tmp_path).publish(document).target).read_text()


def test_a_policy_of_the_other_api_is_not_replaced_silently(tmp_path: Path) -> None:
    older = {**POLICY, "apiVersion": "securityenforcement.admission.cloud.ibm.com/v1beta1"}
    sink = FolderSink(tmp_path)
    sink.publish(older)
    for write in (sink.rehearse, sink.publish):
        with refused("foreign-object"):
            write(POLICY)
    assert sink.publish(older).state == "unchanged"
    assert sink.publish(POLICY, adopt=True).state == "updated"
