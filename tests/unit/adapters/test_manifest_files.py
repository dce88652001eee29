# SPDX-License-Identifier: Apache-2.0
"""Manifests as they are read: strictly, with their lines, and without falling over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from imgsec.adapters import manifest_files
from imgsec.adapters.manifest_files import (
    DEPTH_MAX,
    MANIFEST_MAX_BYTES,
    ManifestDocument,
    parse_documents,
    read_all,
    read_documents,
)
from imgsec.errors import ImgsecError
from tests.unit.refusals import refused

POD = b"kind: Pod\nmetadata:\n  name: a\n"
NAMED_LATER = "apiVersion: a.example/v1\nkind: AllowList\nmetadata: {generateName: a-}\nspec: {}"


def parsed(content: bytes | str) -> list[ManifestDocument]:
    whole = content.encode() if isinstance(content, str) else content
    return list(parse_documents(whole, "file.yaml"))


def contents(content: bytes | str) -> list[dict[str, Any]]:
    return [document.content for document in parsed(content)]


def value(text: str) -> Any:
    """What a scalar is read as."""
    return contents(f"kind: x\na: {text}\n")[0]["a"]


def why_not(content: bytes | str) -> str:
    with refused("input-malformed") as reasons:
        parsed(content)
    return reasons[0].text


# --- Documents --------------------------------------------------------------------------------


def test_every_document_is_read_in_its_order() -> None:
    assert contents("kind: A\n---\nkind: B\n...\n---\nkind: C") == [
        {"kind": "A"},
        {"kind": "B"},
        {"kind": "C"},
    ]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n",
        "# nothing\n",
        "---\n---\n",
        "---\n...\n",
        "image: nginx\n",  # a chart's values
        "kind:\n",
        "kind: ''\n",
        "name: chart\napiVersion: v2\n",  # a chart's head
        "- op: replace\n",  # a patch of kustomize's
        "null\n",
        "\ufeff",
    ],
)
def test_what_has_no_kind_is_passed_over(content: str) -> None:
    assert contents(content) == []
    assert contents(f"{content}\n---\nkind: Pod\n".lstrip("\ufeff")) == [{"kind": "Pod"}]


@pytest.mark.parametrize(
    "content",
    [
        "- kind: Pod\n",
        "text\n",
        "5\n",
        "Kind: Pod\n",
        "APIVersion: v1\n",
        "apiVersion: v1\nspec: {}\n",
        "apiVersion: v1\nmetadata: {name: a}\n",
    ],
)
def test_what_was_meant_to_be_an_object_is_refused(content: str) -> None:
    with refused("input-malformed"):
        contents(content)


def test_document_knows_its_file() -> None:
    assert [document.where for document in parsed(POD)] == ["file.yaml"]


def test_json_is_read_as_well() -> None:
    document = {"kind": "Pod", "a": [1, 2.5, True, None, "x", {"b": '\t"/\\ \u20ac'}], "e": {}}
    for text in (json.dumps(document), json.dumps(document, indent="\t")):
        assert contents(text) == [document]
    assert contents('{"kind": "A"}\n---\n{"kind": "B"}') == [{"kind": "A"}, {"kind": "B"}]


def test_json_may_write_a_character_as_a_pair_of_surrogates() -> None:
    document = {
        "kind": "A",
        "\U0001f600": "a\U0001f600b\U0010ffff",
        "b": "\\\U0001f600 \\ud83d\\ude00",
    }
    text = json.dumps(document)
    assert "\\ud83d" in text
    assert contents(text) == [document]
    why_not('{"kind": "A", "a": "\\ud83d"}')
    why_not('{"kind": "A", "a": "\\ude00\\ud83d"}')
    why_not('kind: A\na: "\\ud83d\\ude00"\n')  # no JSON
    assert value("'\\ud83d\\ude00'") == "\\ud83d\\ude00"
    assert contents("{kind: A, a: '\\ud83d\\ude00'}") == [{"kind": "A", "a": "\\ud83d\\ude00"}]


@pytest.mark.parametrize(
    "content",
    [
        POD,
        b"\xef\xbb\xbf" + POD,
        POD.replace(b"\n", b"\r\n"),
        POD.replace(b"\n", b"\r"),
        b"%YAML 1.1\n---\n" + POD,
        b"---\n" + POD + b"...\n",
        b"# a comment\n" + POD.replace(b"Pod", b"Pod # another"),
        POD.rstrip(),
    ],
)
def test_byte_order_marks_line_ends_and_directives_change_nothing(content: bytes) -> None:
    assert contents(content) == [{"kind": "Pod", "metadata": {"name": "a"}}]


# --- Lists ------------------------------------------------------------------------------------


def test_items_of_a_list_are_read_and_those_of_a_list_in_it() -> None:
    inner = {"kind": "List", "items": [{"kind": "B"}, {"kind": "List", "items": []}]}
    whole = {"apiVersion": "v1", "kind": "List", "items": [{"kind": "A"}, inner, {"kind": "C"}]}
    assert contents(json.dumps(whole)) == [{"kind": "A"}, {"kind": "B"}, {"kind": "C"}]


def test_items_of_a_typed_list_are_what_the_list_says() -> None:
    whole = {
        "apiVersion": "apps/v1",
        "kind": "DeploymentList",
        "items": [{"spec": 1}, {"kind": None, "spec": 2}, {"apiVersion": "v1", "kind": "Pod"}],
    }
    assert contents(json.dumps(whole)) == [
        {"spec": 1, "apiVersion": "apps/v1", "kind": "Deployment"},
        {"kind": "Deployment", "spec": 2, "apiVersion": "apps/v1"},
        {"apiVersion": "v1", "kind": "Pod"},
    ]


def test_whatever_has_a_list_of_items_is_a_list_as_kubectl_has_it() -> None:
    assert contents("kind: Whatever\nitems: [{kind: Pod}]") == [{"kind": "Pod"}]
    assert contents("kind: Whatever\nitems: {}") == [{"kind": "Whatever", "items": {}}]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("kind: List", 1),
        ("apiVersion: v1\nkind: PodList\nitems: {}", 3),
        ("kind: List\nitem: [{kind: Pod}]", 2),
        ("kind: list\nmetadata: {}\nitmes: [{kind: Pod}]", 3),
        ("kind: List\nitems: [{kind: Pod}]\nItems: [{kind: Job}]", 3),
        ("kind: Whatever\nitems: [{kind: Pod}]\nitem: [{kind: Job}]", 3),
        ("kind: List\nitems: []\nobjects: [{kind: Pod}]", 3),
        ("kind: List\nitems: [{apiVersion: v1, kind: PodList, metadata: {}}]", 2),
    ],
)
def test_list_whose_objects_would_be_passed_over_is_refused(content: str, line: int) -> None:
    assert f", line {line}: " in why_not(content)


@pytest.mark.parametrize("kind", ["List", "PodList", "DeploymentList"])
def test_list_of_nothing_is_null_as_go_writes_it(kind: str) -> None:
    assert contents(f"apiVersion: v1\nkind: {kind}\nitems:") == []


@pytest.mark.parametrize("content", ["kind: wishlist\nentries: [a]", NAMED_LATER])
def test_what_is_only_called_a_list_is_none(content: str) -> None:
    assert len(contents(content)) == 1


@pytest.mark.parametrize("kind", ["[Pod]", "{a: b}", "5", "true"])
def test_kind_is_a_text(kind: str) -> None:
    assert "line 2: the kind is no text" in why_not(f"apiVersion: v1\nkind: {kind}\n")
    assert len(contents(f"kind: {kind}\n")) == 1  # a chart's values


@pytest.mark.parametrize(
    "item", ["null", "5", "text", "[]", "{}", "{name: a}", "{apiVersion: v1}", "{kind: ''}"]
)
def test_item_that_is_no_object_is_never_passed_over(item: str) -> None:
    text = why_not(f"kind: List\nitems:\n- kind: Pod\n- {item}\n")
    assert "line 4" in text


def test_typed_list_without_an_api_leaves_its_items_without_one() -> None:
    assert contents("kind: PodList\nitems: [{a: 1}]") == [
        {"a": 1, "apiVersion": None, "kind": "Pod"}
    ]


# --- Values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", True),
        ("Off", False),
        ("true", True),
        ("~", None),
        ("", None),
        ("null", None),
        ("'null'", "null"),
        ("0", 0),
        ("010", 8),
        ("0x1F", 31),
        ("1_000", 1000),
        ("1.5", 1.5),
        (".inf", float("inf")),
        ("1.20", 1.2),
        ("'1.20'", "1.20"),
        ("1.2.3", "1.2.3"),
        ("2020-01-01", "2020-01-01"),
        ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z"),
        ("2020-99-99", "2020-99-99"),
        ("22:22", "22:22"),  # PyYAML counts it by sixties, a cluster does not
        ("1:30.5", "1:30.5"),
        ("=", "="),
        ("*", None),
        ("'*'", "*"),
        ("y", "y"),
        ("nginx:1", "nginx:1"),
        (":", None),
        ("|\n  a\n  b\n", "a\nb\n"),
        (">-\n  a\n  b\n", "a b"),
        ("'a\n\n  b'", "a\nb"),
        (r'"\x41\u00e9\U0001F600\n"', "A\u00e9\U0001f600\n"),
    ],
)
def test_value_is_what_a_cluster_takes_it_for(text: str, expected: Any) -> None:
    if text in {"*", ":"}:
        why_not(f"kind: x\na: {text}\n")
        return
    assert value(text) == expected
    assert type(value(text)) is type(expected)


def test_keys_are_texts() -> None:
    assert contents("kind: x\n1: a\ntrue: b\nnull: c\n1.5: d\n2020-01-01: e\n'': f") == [
        {"kind": "x", "1": "a", "true": "b", "null": "c", "1.5": "d", "2020-01-01": "e", "": "f"}
    ]


# --- What is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "line"),
    [
        # twice
        ("kind: A\nkind: B\n", 2),
        ("kind: A\na:\n  b: 1\n  b: 1\n", 4),
        ("kind: A\na: {b: 1, b: 2}\n", 2),
        ('{"kind": "A",\n"kind": "B"}', 2),
        ("kind: A\n1: a\n'1': b\n", 3),
        ('kind: A\na: 1\n"\\x61": 2\n', 3),
        # anchors, aliases and what merges
        ("kind: A\na: &x 1\n", 2),
        ("kind: A\na: &x [1]\nb: *x\n", 2),
        ("&x kind: A\n", 1),
        ("kind: A\na: *x\n", 2),
        ("kind: A\n<<: {a: 1}\n", 2),
        ("kind: A\na: <<\n", 2),
        # tags
        ("kind: A\na: !!str 1\n", 2),
        ("kind: A\na: !x 1\n", 2),
        ("kind: A\na: !<tag:yaml.org,2002:str> 1\n", 2),
        ("kind: A\na: !!python/object/apply:os.system [ls]\n", 2),
        ("kind: A\na: ! 1\n", 2),
        ("kind: A\na: !!binary aGFsbG8=\n", 2),
        ("%TAG ! tag:x,1:\n---\nkind: A\na: !b 1\n", 4),
        # keys that are no text
        ("kind: A\n? [a]\n: b\n", 2),
        ("kind: A\n? {a: b}\n: c\n", 2),
        ("kind: A\n{a: b}: c\n", 2),
        # other
        ("kind: A\na: [1\n", 3),
        ("kind: A\n  b: c\n", 2),
        ("kind: A\na:\n\tb: c\n", 3),
        ("kind: A\na: 'x\n", 3),
        ("kind: A\na: `x`\n", 2),
        ("kind: A\na: @x\n", 2),
        ("kind: A\na: 0b_\n", 2),
        ("kind: A\na: {{ .Values.image }}\n", 2),
        ("kind: A\n{{- if .Values.x }}\nb: c\n{{- end }}\n", 3),  # where libyaml gives up
        ("kind: A\n---\nkind: B\nb\n", 5),
        ("%YAML 3.0\n---\nkind: A\n", 1),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_with_its_line(content: str, line: int) -> None:
    text = why_not(content)
    assert "'file.yaml' is not plain YAML" in text
    assert f", line {line}: " in text
    assert text.isprintable()


@pytest.mark.parametrize(
    "content",
    [
        b"kind: A\x00\n",
        b"\x00",
        b"kind: A\na: \x07\n",
        b"kind: A\na: \x1b[31m\n",
        b"kind: A\na: \xff\n",
        b"kind: A\na: \xed\xa0\x80\n",
        "kind: A\n".encode("utf-16"),
        "kind: A\n".encode("utf-16-le"),
        "kind: A\n".encode("utf-32"),
        "kind: A\n".encode("latin-1") + b"\xe9",
        b'kind: A\na: "\\ud800"\n',
        b"kind: A\na: " + b"9" * 5000,
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_what_is_no_text_is_refused(content: bytes) -> None:
    why_not(content)


def test_refusal_tells_of_a_template_what_to_do_with_it() -> None:
    with refused("input-malformed") as reasons:
        parsed("kind: A\na: {{ .Values.image }}\n")
    assert "helm template" in reasons[0].hint
    with refused("input-malformed") as reasons:
        parsed("kind: A\na: [\n")
    assert "helm template" not in reasons[0].hint


def test_template_in_quotes_is_a_text_like_any_other() -> None:
    assert value("'{{ .Values.image }}'") == "{{ .Values.image }}"


def test_documents_before_the_broken_one_do_not_make_it_pass() -> None:
    found = parse_documents(b"kind: A\n---\nkind: [\n", "file.yaml")
    with refused("input-malformed"):
        list(found)


# --- Depth ------------------------------------------------------------------------------------


def flow(levels: int) -> bytes:
    return b"kind: A\na: " + b"[" * levels + b"]" * levels


def test_depth_is_bounded() -> None:
    assert parsed(flow(DEPTH_MAX))
    assert "nested too deeply" in why_not(flow(DEPTH_MAX + 1))
    block = "kind: A\n" + "".join(f"{' ' * at}a:\n" for at in range(DEPTH_MAX + 2))
    assert "nested too deeply" in why_not(block)


MANY = 200_000
BOMBS = {
    "sequences": b"- " * MANY,
    "keys": b"? " * MANY,
    "both": b"- ? " * MANY,
    "values": b": " * MANY,
    "behind CR": b"#\r" + b"- " * MANY,
    "behind NEL": b"#\xc2\x85" + b"- " * MANY,
    "behind LS": b"#\xe2\x80\xa8" + b"? " * MANY,
    "behind PS": b"#\xe2\x80\xa9" + b"- ? " * MANY,
    "behind a byte order mark": b"\xef\xbb\xbf" + b"- " * MANY,
    "in UTF-16": ("- " * MANY).encode("utf-16"),
    "in UTF-16 without a mark": ("- " * MANY).encode("utf-16-be"),
    "brackets": b"[" * MANY,
    "braces": b"{a: " * MANY,
    "brackets in UTF-16": ("[" * MANY).encode("utf-16"),
    "lines": b"[\n" * MANY,
    "just below what is looked at": b"[? " * 1000,
    "quoted keys": b'[{"a": ' * 500,
    "steps": b"".join(b" " * at + b"- a:\n" for at in range(0, 398, 2)) + b" " * 398 + b"[" * 999,
    "JSON with a pair of surrogates": b'["\\ud83d\\ude00", ' * MANY,
    "JSON": b'{"kind": "List", "items": [' * MANY,
    "in a later document": b"kind: A\n---\n" + b"- " * MANY,
    "with tabs": b"-\t" * MANY,
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bomb_of_depth_is_refused_and_does_not_end_the_interpreter(
    bomb: str, tmp_path: Path
) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_bytes(BOMBS[bomb])
    code = (
        "import sys\n"
        "from imgsec.adapters.manifest_files import read_documents\n"
        "from imgsec.errors import ImgsecError\n"
        "try:\n"
        "    list(read_documents(sys.argv[1]))\n"
        "except ImgsecError as error:\n"
        "    print(error.reason.code, end='')\n"
    )
    words = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "input-malformed"), done.stderr


def test_wide_file_is_looked_at_and_read() -> None:
    whole = {"kind": "A", "a": [[number] for number in range(2000)], "b": " " * 500, "c": "-" * 500}
    assert contents(json.dumps(whole)) == [whole]
    assert contents(yaml.safe_dump(whole)) == [whole]


# --- Lines ------------------------------------------------------------------------------------

LINED = """\
# a comment
kind: A
spec:
  repositories:
  - name: a
    policy:
      trust: {enabled: true,
        trustServer: x}
  -
    name: b
---
{"kind": "List", "items": [
  {"kind": "B",
   "spec": {"x": [1,
     2]}},
  {"kind": "C"}
]}
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 2),
        (("kind",), 2),
        (("spec",), 3),
        (("spec", "repositories"), 4),
        (("spec", "repositories", 0), 5),
        (("spec", "repositories", 0, "policy"), 6),
        (("spec", "repositories", 0, "policy", "trust"), 7),
        (("spec", "repositories", 0, "policy", "trust", "trustServer"), 8),
        (("spec", "repositories", 1), 10),
        (("spec", "repositories", 1, "name"), 10),
        # of its nearest parent
        (("spec", "repositories", 0, "policy", "va", "enabled"), 6),
        (("spec", "repositories", 2, "name"), 4),
        (("spec", "repositories", "name"), 4),
        (("spec", 0), 3),
        (("kind", "more"), 2),
        (("nothing",), 2),
    ],
)
def test_line_of_a_field_is_known(path: tuple[str | int, ...], line: int) -> None:
    assert parsed(LINED)[0].line_of(path) == line


def test_line_of_an_item_is_that_in_its_file() -> None:
    _, first, second = parsed(LINED)
    assert [first.content["kind"], second.content["kind"]] == ["B", "C"]
    assert [first.line_of(()), second.line_of(())] == [13, 16]
    assert first.line_of(("spec", "x", 1)) == 15


def test_line_is_the_same_with_other_line_ends() -> None:
    ended = LINED.replace("\n", "\r\n")
    assert parsed(ended)[0].line_of(("spec", "repositories", 1, "name")) == 10


# --- Files and folders ------------------------------------------------------------------------


def kinds(*paths: Path | str) -> list[str]:
    return [document.content["kind"] for document in read_all(map(str, paths))]


def test_folder_is_read_with_its_folders_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "z/c.json", "m/d.yaml", "m/n/e.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{{"kind": "{path.stem}"}}')
    assert kinds(tmp_path) == ["a", "b", "d", "e", "c"]
    found = list(read_documents(str(tmp_path)))
    assert found[0].where == str(tmp_path / "a.yml")


def test_what_is_hidden_or_no_manifest_is_left_out(tmp_path: Path) -> None:
    for name in (".hidden.yaml", ".git/a.yaml", "README.md", "a.yaml.bak", "a.YAML.txt", "yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("kind: [broken")
    (tmp_path / "seen.yaml").write_text("kind: Seen")
    assert kinds(tmp_path) == ["Seen"]


def test_file_that_is_named_is_read_whatever_its_name(tmp_path: Path) -> None:
    hidden = tmp_path / ".policy"
    hidden.write_text("kind: Hidden")
    assert kinds(hidden, hidden) == ["Hidden", "Hidden"]


def test_links_to_files_are_followed_and_those_to_folders_are_not(tmp_path: Path) -> None:
    # As a ConfigMap is mounted.
    held = tmp_path / "folder" / "..2026"
    held.mkdir(parents=True)
    (held / "a.yaml").write_text("kind: A")
    (tmp_path / "folder" / "..data").symlink_to("..2026")
    (tmp_path / "folder" / "a.yaml").symlink_to("..data/a.yaml")
    (tmp_path / "folder" / "round").symlink_to(tmp_path)
    assert kinds(tmp_path / "folder") == ["A"]


def test_link_that_leads_nowhere_is_never_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("nothing.yaml")
    with refused("input-unreadable"):
        kinds(tmp_path)


def test_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    with refused("input-unreadable"):
        kinds(tmp_path)


def test_pipe_that_is_named_is_read() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, POD)
        os.close(writing)
        assert kinds(f"/dev/fd/{reading}") == ["Pod"]
    finally:
        os.close(reading)


def test_broken_file_of_a_folder_stops_it_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: A")
    (tmp_path / "b.yaml").write_text("kind: A\nkind: B")
    with refused("input-malformed") as reasons:
        kinds(tmp_path)
    assert "b.yaml" in reasons[0].text


def test_folder_of_nothing_gives_nothing(tmp_path: Path) -> None:
    assert kinds(tmp_path) == []


@pytest.mark.parametrize("name", ["missing.yaml", "missing/a.yaml", "a\0b", ""])
def test_file_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    with refused("input-unreadable"):
        kinds(f"{tmp_path}/x{name}" if name else "")


def test_folder_that_may_not_be_looked_into_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "a.yaml").write_text("kind: A")
    closed.chmod(0)
    is_root = os.geteuid() == 0
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    if is_root:
        os.seteuid(65534)
    try:
        with refused("input-unreadable"):
            kinds(tmp_path)
    finally:
        if is_root:
            os.seteuid(0)
        closed.chmod(0o755)


def test_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MANIFEST_MAX_BYTES == 8 * 1024 * 1024
    monkeypatch.setattr(manifest_files, "MANIFEST_MAX_BYTES", len(POD))
    path = tmp_path / "a.yaml"
    path.write_bytes(POD)
    assert kinds(path, tmp_path) == ["Pod", "Pod"]
    path.write_bytes(POD + b"#")
    with refused("input-malformed"):
        kinds(path)
    with refused("input-malformed"):
        kinds(tmp_path)


def run_with_input(content: bytes) -> tuple[int, bytes]:
    code = (
        "from imgsec.adapters.manifest_files import read_documents\n"
        "print([(one.where, one.content) for one in read_documents('-')])\n"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, input=content, capture_output=True, check=False, timeout=60)
    return done.returncode, done.stdout.strip()


def test_standard_input_is_read_to_its_end() -> None:
    assert run_with_input(b"kind: A\n---\nkind: B\n") == (
        0,
        b"[('-', {'kind': 'A'}), ('-', {'kind': 'B'})]",
    )
    assert run_with_input(b"") == (0, b"[]")
    assert run_with_input(b"kind: [")[0] != 0
    assert run_with_input(b"#" * (MANIFEST_MAX_BYTES + 1))[0] != 0


# --- Against PyYAML ---------------------------------------------------------------------------

texts = (
    st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co")), max_size=12)
    | st.sampled_from(
        "yes null ~ 1 0x1 1e3 1.5 = << # !x &a *a % @ ` { [ | > 1:30 .inf é ' \" -".split()
    )
    | st.sampled_from(["", " ", "- a", "a: b", "\n", "a\nb\n", "\u2028", "\U0001f600"])
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda part: st.lists(part, max_size=4) | st.dictionaries(texts, part, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(
    texts.filter(lambda key: key not in {"kind", "items"}), values, max_size=4
)


@given(objects)
def test_dumped_yaml_is_read_as_pyyaml_reads_it(members: dict[str, Any]) -> None:
    document = {"kind": "A", **members}
    for flow_style in (False, True, None):
        text = yaml.safe_dump(document, default_flow_style=flow_style, sort_keys=False)
        assert contents(text) == [yaml.safe_load(text)] == [document]


@given(objects)
def test_dumped_json_is_read_as_it_was_written(members: dict[str, Any]) -> None:
    document = {"kind": "A", **members}
    text = json.dumps(document, ensure_ascii=False).replace("\u2028", "\\u2028")
    if "Infinity" in text:
        return
    assert json.dumps(contents(text)[0]) == json.dumps(yaml.safe_load(text))
    assert contents(json.dumps(document)) == contents(text)


@given(
    st.binary(max_size=60)
    | st.text("ab:-?[]{}&*!|>'\"%@`#, \n\t\r0.=<~", max_size=40).map(str.encode)
)
def test_any_bytes_are_documents_or_malformed(content: bytes) -> None:
    for whole in (content, b"kind: A\na: " + content):
        try:
            found = parsed(whole)
        except ImgsecError as error:
            held = (error.reason.code, error.reason.text.isprintable()) == ("input-malformed", True)
        else:
            held = all(one.content["kind"] and one.line_of(("a", 0)) for one in found)
        assert held
