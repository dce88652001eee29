# SPDX-License-Identifier: Apache-2.0
"""Intents through the command line: what they become is what real tools enforce."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.conftest import Bench, SigningKey
from tests.support import ROOT, CommandLine, Gpg

SCHEMAS = ROOT / "tests" / "data" / "portieris"
HEAD = "apiVersion: imgsec/v1\nkind: PolicyIntent\n"
CISE_POLICY = """\
apiVersion: securityenforcement.admission.cloud.ibm.com/v1beta1
kind: ClusterImagePolicy
metadata: {name: x}
spec: {repositories: [{name: '*', policy: {va: {enabled: true}}}]}
"""
SIMPLE = HEAD + "rules:\n- {images: [a.io/b/*], unchecked: {reason: r}}\n"


def an_intent(*rules: dict[str, Any], **keys: Any) -> str:
    document = {"apiVersion": "imgsec/v1", "kind": "PolicyIntent", "keys": keys}
    return yaml.safe_dump({**document, "rules": list(rules)})


def published(folder: Path, *words: str) -> Any:
    return CommandLine(folder)("publish-policy", *words)


def test_skopeo_enforces_what_was_rendered(bench: Bench, key: SigningKey) -> None:
    repository = bench.repository()
    signed, _ = bench.push(f"{repository}/app")
    unsigned, _ = bench.push(f"{repository}/app", "2")
    base, _ = bench.push(f"{repository}/base")
    foreign, _ = bench.push(bench.repository())
    bench.imgsec("sign-image", signed, "--key", key.location).expect(0)
    host = signed.partition("/")[0]
    secret = key.folder / "portieris-image-signing-public-key.secret.yaml"
    document = yaml.safe_load(secret.read_text())
    public = base64.b64decode(document["data"]["key"]).decode()
    path = bench.folder / "imgsec-policy.yaml"
    path.write_text(
        an_intent(
            {"images": [f"{host}/{repository}/app"], "signedBy": ["release"]},
            {"exactly": [base], "unchecked": {"reason": "a base"}},
            release={"publicKey": public},
        )
    )
    out = bench.folder / "machine"
    words = ("publish-policy", "--intent", str(path), "--for", "containers", "--render", str(out))
    bench.imgsec(*words).expect(0)
    policy = json.loads((out / "policy.json").read_text())
    taken = {name: bench.skopeo_takes(name, policy) for name in (signed, unsigned, base, foreign)}
    assert taken == {signed: True, unsigned: False, base: True, foreign: False}
    again = bench.imgsec(*words).expect(0)
    assert [one["state"] for one in again.json["changes"]] == ["unchanged"]


def test_objects_keep_the_schema_of_the_cluster(tmp_path: Path) -> None:
    keys = {"release": {"secret": "portieris/release"}}
    identity = {"type": "remapIdentity", "prefix": "a.io", "signedPrefix": "b.io"}
    text = an_intent(
        {
            "images": ["a.io/b/*"],
            "signedBy": [{"key": "release", "identity": identity}],
            "store": {"url": "https://s.example", "secret": "s"},
            "mutateImage": False,
        },
        {"images": ["us.icr.io/b/*"], "advisor": {"account": "a"}},
        {
            "images": ["docker.io/b/*"],
            "trust": {"server": "https://n.example", "signers": ["jane"]},
            "mutateImage": False,
        },
        {"images": ["a.io/evil/*"], "denied": {"reason": "r"}},
        {"images": ["icr.io/ext/*"], "unchecked": {"reason": "r"}},
        **keys,
    )
    (tmp_path / "i.yaml").write_text(f"{text}---\nnamespaces: [shop]\nname: own\n{text}")
    done = published(tmp_path, "--intent", "i.yaml", "--render", "out")
    assert done.code == 0, done.stdout
    objects = [yaml.safe_load(path.read_text()) for path in sorted((tmp_path / "out").iterdir())]
    assert [one["kind"] for one in objects] == ["ClusterImagePolicy", "ImagePolicy"]
    for one in objects:
        schema = json.loads((SCHEMAS / f"{one['kind']}.schema.json").read_text())
        jsonschema.validate(one, schema)


@pytest.mark.parametrize(("algorithm", "code"), [("ed25519", 1), ("rsa2048", 0)])
def test_a_key_that_portieris_cannot_read_is_refused(
    tmp_path: Path, gpg: Gpg, algorithm: str, code: int
) -> None:
    gpg.make_key("release", algorithm)
    block = gpg.public("release", armour=True).decode()
    rule = {"images": ["a.io/b/*"], "signedBy": ["release"]}
    key = {"secret": "p/release", "publicKey": block, "keyPath": "/a"}
    (tmp_path / "i.yaml").write_text(an_intent(rule, release=key))
    done = published(tmp_path, "--intent", "i.yaml", "--render", "out")
    assert done.code == code
    if code:
        assert [one["code"] for one in done.json["reasons"]] == ["key-unreadable"]
        assert not (tmp_path / "out").exists()
    machine = published(
        tmp_path, "--intent", "i.yaml", "--for", "containers", "--render", "machine"
    )
    assert machine.code == 0


def test_a_key_in_the_folder_that_is_written_to_is_looked_at(tmp_path: Path, gpg: Gpg) -> None:
    gpg.make_key("release", "ed25519")
    (tmp_path / "out").mkdir()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "release", "namespace": "p"},
        "stringData": {"key": gpg.public("release", armour=True).decode()},
    }
    (tmp_path / "out" / "s.yaml").write_text(yaml.safe_dump(secret))
    rule = {"images": ["a.io/b/*"], "signedBy": ["release"]}
    (tmp_path / "i.yaml").write_text(an_intent(rule, release={"secret": "p/release"}))
    done = published(tmp_path, "--intent", "i.yaml", "--render", "out")
    assert (done.code, [one["code"] for one in done.json["reasons"]]) == (1, ["key-unreadable"])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), "invalid-option"),
        (("--intent", "i.yaml", "--repository", "a.io/c"), "invalid-option"),
        (("--intent", "i.yaml", "--namespace", "a"), "invalid-option"),
        (("--intent", "i.yaml", "--no-mutate-image"), "invalid-option"),
        (("--intent", "i.yaml", "--trust", "on"), "invalid-option"),
        (("--intent", "i.yaml", "--for", "podman"), "invalid-option"),
        (("--intent", "i.yaml", "--engine", "0.15.0"), "engine-unknown"),
        (("--intent", "i.yaml", "--engine", "cise"), "invalid-option"),
        (("--intent", "i.yaml", "--engine", "0.14.1", "--for", "cise"), "invalid-option"),
        (("--intent", "i.yaml", "--cluster-domain", "a.icp"), "invalid-option"),
        (("--intent", "i.yaml", "--allow-platform", "aks"), "invalid-option"),
        (("--intent", "i.yaml", "--set", "mine"), "invalid-option"),
        (("--allow-platform", "iks"), "invalid-option"),
        (("--policy", "i.yaml"), "invalid-option"),
        (("--policy", "i.yaml", "--trust", "yes"), "invalid-option"),
        (("--policy", "i.yaml", "--trust", "on", "--intent", "i.yaml"), "invalid-option"),
        (("--policy", "i.yaml", "--trust", "on"), "input-malformed"),
        (("--intent", "missing"), "input-unreadable"),
        (("--intent", "empty"), "input-malformed"),
        (("--intent", "odd"), "input-malformed"),
        (("--intent", "anchors"), "input-malformed"),
        (("--intent", "large"), "input-malformed"),
        (("--intent", "pattern"), "invalid-pattern"),
    ],
)
def test_questions_that_are_wrong_write_nothing(
    tmp_path: Path, words: tuple[str, ...], code: str
) -> None:
    (tmp_path / "i.yaml").write_text(SIMPLE)
    (tmp_path / "empty").write_text("")
    (tmp_path / "odd").write_text(SIMPLE + "rulez: []\n")
    (tmp_path / "anchors").write_text(HEAD + "rules: &a [*a]\n")
    (tmp_path / "large").write_text(SIMPLE + "#" * 2**20)
    (tmp_path / "pattern").write_text(SIMPLE.replace("a.io/b/*", "a.io/b*"))
    done = published(tmp_path, *words, "--render", "out")
    assert done.code == 2
    assert [one["code"] for one in done.json["reasons"]] == [code]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("repository", "unchecked", "code"),
    [
        ("us.icr.io/*/app", "us.icr.io/team/*", "intent-contradicts"),
        ("us.icr.io/team/*", "*.icr.io/*", "intent-misread"),
        ("us.icr.io/team/app:1", "us.icr.io/team/app:2", "intent-misread"),
    ],
)
def test_options_are_held_against_the_engine_as_an_intent_is(
    tmp_path: Path, repository: str, unchecked: str, code: str
) -> None:
    words = ("--repository", repository, "--allow-unchecked", unchecked, "--render", "out")
    done = published(tmp_path, *words)
    assert (done.code, [one["code"] for one in done.json["reasons"]]) == (1, [code])
    assert not (tmp_path / "out").exists()


PIPELINE = {
    "IMGSEC_ENGINE": "0.14.2",
    "IMGSEC_KEY_SECRET": "release",
    "IMGSEC_KEY_SECRET_NAMESPACE": "keys",
    "IMGSEC_MUTATE_IMAGE": "false",
    "IMGSEC_POLICY_NAME": "pipeline",
    "IMGSEC_REPOSITORY": "a.io/other/*",
}


def test_variables_that_commands_share_are_passed_over_where_they_do_not_apply(
    tmp_path: Path,
) -> None:
    """A pipeline sets them once, for all its steps."""
    (tmp_path / "i.yaml").write_text(SIMPLE)
    (tmp_path / "cise.yaml").write_text(CISE_POLICY)
    line = CommandLine(tmp_path, PIPELINE)
    runs = [("--policy", "cise.yaml", "--trust", "on")]
    runs += [("--intent", "i.yaml", "--for", name) for name in ("cise", "containers", "config")]
    runs += [("--intent", "i.yaml"), ("--set", "empty", "--repository", "a.io/x/*"), ()]
    for place, words in enumerate(runs):
        line("publish-policy", *words, "--render", f"out{place}").expect(0)
    (mine,) = (tmp_path / "out4").iterdir()
    assert mine.name == "imgsec-signed-images.clusterimagepolicy.yaml"
    assert "a.io/other" not in mine.read_text()
    (described,) = (tmp_path / "out6").iterdir()
    assert described.name == "pipeline.clusterimagepolicy.yaml"
    assert "mutateImage: false" in described.read_text()


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (("--engine", "0.14.1", "--for", "cise"), {}),
        (("--engine", "0.14.1", "--for", "cise"), {"IMGSEC_ENGINE": "0.14.1"}),
        (("--key-secret", "release"), {"IMGSEC_KEY_SECRET": "release"}),
        (("--repository", "a.io/c"), {}),
        (("--no-mutate-image",), {}),
        ((), {"IMGSEC_PUBLISH_POLICY_NAMESPACE": "shop"}),
        ((), {"IMGSEC_PUBLISH_POLICY_TRUST": "on"}),
        (("--apply",), {}),
    ],
)
def test_what_is_written_or_meant_for_this_command_is_not_passed_over(
    tmp_path: Path, words: tuple[str, ...], variables: dict[str, str]
) -> None:
    (tmp_path / "i.yaml").write_text(SIMPLE)
    line = CommandLine(tmp_path, PIPELINE | variables)
    done = line("publish-policy", "--intent", "i.yaml", "--render", "out", *words)
    assert (done.code, done.json["reasons"][0]["code"]) == (2, "invalid-option")


def test_a_folder_that_a_pipeline_names_does_not_stop_apply(tmp_path: Path) -> None:
    (tmp_path / "i.yaml").write_text(SIMPLE)
    line = CommandLine(tmp_path, {"IMGSEC_RENDER": "out"})
    words = ("publish-policy", "--intent", "i.yaml")
    done = line(*words, "--apply", "--kubeconfig", "/dev/null")
    assert (done.code, done.json["reasons"][0]["code"]) == (3, "cluster-unreachable")
    assert not (tmp_path / "out").exists()
    line(*words).expect(0)
    assert (tmp_path / "out").exists()


def test_apply_is_for_portieris_alone(tmp_path: Path) -> None:
    (tmp_path / "i.yaml").write_text(SIMPLE)
    for target in ("cise", "containers", "config"):
        done = published(tmp_path, "--intent", "i.yaml", "--for", target, "--apply")
        assert (done.code, done.json["reasons"][0]["code"]) == (2, "invalid-option")


def test_others_files_are_found_before_anything_is_written(tmp_path: Path) -> None:
    two = SIMPLE + "---\n" + SIMPLE.replace("rules", "name: zz\nrules")
    (tmp_path / "i.yaml").write_text(two)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "zz.clusterimagepolicy.yaml").write_text("kind: ConfigMap\n")
    done = published(tmp_path, "--intent", "i.yaml", "--render", "out")
    assert (done.code, done.json["reasons"][0]["code"]) == (1, "foreign-object")
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_what_is_built_in_is_on_record(tmp_path: Path) -> None:
    words = ("--set", "empty", "--allow-platform", "portieris", "--render", "out")
    notes = published(tmp_path, *words).expect(0).json["notes"]
    assert {"built-in-set", "allowed-platform"} <= {one["code"] for one in notes}


def test_an_imported_intent_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "image-security-enforcement: {clusterImagePolicy: [{name: 'icr.io/a/*', policy: }]}\n"
    )
    words = ("policy", "import", "config.yaml", "--to", "intent", "--render", ".")
    line = CommandLine(tmp_path)
    assert line.plain(*words).code == line.plain(*words).code == 0
    made = tmp_path / "imgsec-policy.yaml"
    made.write_text(made.read_text().replace("which gives no reason", "IBM's own"))
    assert line.plain(*words).code == 1
    assert "IBM's own" in made.read_text()
    assert line.plain("publish-policy", "--intent", str(made), "--render", "out").code == 0


def test_what_left_the_intent_leaves_the_folder_when_asked(tmp_path: Path) -> None:
    words = ("--intent", "i.yaml", "--render", "out")
    (tmp_path / "i.yaml").write_text(SIMPLE + "name: p\nnamespaces: [one, two]\n")
    published(tmp_path, *words)
    old = tmp_path / "out" / "p.two.imagepolicy.yaml"
    (tmp_path / "out" / "theirs.yaml").write_text(
        old.read_text().replace("two", "three").replace("by: imgsec", "by: helm")
    )
    (tmp_path / "out" / "template.yaml").write_text("{{ .Values.x }}")
    (tmp_path / "i.yaml").write_text(SIMPLE + "name: p\nnamespaces: [one]\n")
    done = published(tmp_path, *words)
    assert done.code == 0
    (note,) = (one for one in done.json["notes"] if one["code"] == "left-behind")
    assert "ImagePolicy two/p" in note["text"]
    assert "three" not in note["text"]
    assert old.exists()
    words_and_codes = {"three/p": 1, "one/p": 2, "/p": 2, "": 2, " ": 2, "two/p": 0, " two/p": 0}
    for word, code in words_and_codes.items():
        assert published(tmp_path, *words, "--prune", word).code == code
    assert not old.exists()
    assert {"theirs.yaml", "template.yaml"} <= {one.name for one in (tmp_path / "out").iterdir()}


def test_no_object_is_removed_from_among_others(tmp_path: Path) -> None:
    words = ("--intent", "i.yaml", "--render", "out")
    (tmp_path / "i.yaml").write_text(SIMPLE + "name: p\nnamespaces: [two]\n")
    published(tmp_path, *words)
    old = tmp_path / "out" / "p.two.imagepolicy.yaml"
    old.write_text(old.read_text() + "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\n")
    (tmp_path / "i.yaml").write_text(SIMPLE + "name: p\nnamespaces: [one]\n")
    done = published(tmp_path, *words, "--prune", "*")
    assert (done.code, done.json["reasons"][0]["code"]) == (1, "foreign-object")
    assert [one.name for one in (tmp_path / "out").iterdir()] == [old.name]


def test_a_config_that_we_wrote_is_switched_and_linted(tmp_path: Path) -> None:
    (tmp_path / "i.yaml").write_text(an_intent({"images": ["us.icr.io/b/*"], "advisor": True}))
    published(tmp_path, "--intent", "i.yaml", "--for", "config", "--render", "out")
    flip = ("--policy", "out/config.yaml", "--va", "off", "--render", "flipped")
    for state in ("created", "unchanged"):
        done = published(tmp_path, *flip)
        assert (done.code, done.json["changes"][0]["state"]) == (0, state)
        assert "switched" in [one["code"] for one in done.json["notes"]]
    again = ("--policy", "flipped/config.yaml", "--va", "off", "--render", "flipped")
    before = (tmp_path / "flipped" / "config.yaml").read_bytes()
    done = published(tmp_path, *again)
    assert (done.code, done.json["changes"][0]["state"]) == (0, "unchanged")
    assert "nothing-switched" in [one["code"] for one in done.json["notes"]]
    assert (tmp_path / "flipped" / "config.yaml").read_bytes() == before
    over = ("--policy", "flipped/config.yaml", "--va", "on", "--render", "flipped")
    done = published(tmp_path, *over)
    assert (done.code, done.json["reasons"][0]["code"]) == (2, "invalid-option")
    assert (tmp_path / "flipped" / "config.yaml").read_bytes() == before
    (tmp_path / "bad.yaml").write_text(
        "version: 1\nimage-security-enforcement:\n  clusterImagePolicy:\n"
        "  - {name: 'icr.io/*', policy: }\n  - {name: 'a.io/*', polici: {}}\n"
    )
    lint = CommandLine(tmp_path)("policy", "lint", "bad.yaml", "--engine", "cise")
    assert lint.code == 1
    assert [
        (one["line"], one["id"]) for one in lint.json["lint"]["findings"] if one["level"] == "error"
    ] == [(5, "unknown-field")]


def test_stores_that_left_the_intent_are_told_and_pruned(tmp_path: Path) -> None:
    rule = {"images": ["a.io/b/*"], "signedBy": ["k"]}
    key = {"keyPath": "/a"}
    words = ("--intent", "i.yaml", "--for", "containers", "--render", "out")
    stores = tmp_path / "out" / "registries.d" / "imgsec.yaml"
    (tmp_path / "i.yaml").write_text(an_intent(rule | {"store": {"url": "https://s"}}, k=key))
    assert published(tmp_path, *words).code == 0
    (tmp_path / "i.yaml").write_text(an_intent(rule, k=key))
    (told,) = [one for one in published(tmp_path, *words).json["notes"] if "left" in one["code"]]
    assert "registries.d/imgsec.yaml" in told["text"]
    assert stores.exists()
    done = published(tmp_path, *words, "--prune", "*")
    assert [one["state"] for one in done.json["changes"]] == ["unchanged", "removed"]
    stores.write_text("docker: {}\n")
    done = published(tmp_path, *words, "--prune", "*")
    assert (done.code, stores.exists()) == (0, True)
    assert "left-behind" not in {one["code"] for one in done.json["notes"]}


def test_what_is_not_there_is_not_pruned_and_told(tmp_path: Path) -> None:
    (tmp_path / "i.yaml").write_text(SIMPLE)
    done = published(tmp_path, "--intent", "i.yaml", "--render", "out", "--prune", "none")
    notes = {one["code"]: one["text"] for one in done.json["notes"]}
    assert (done.code, "--prune none: " in notes["nothing-pruned"]) == (0, True)
    for name in "ab":
        text = SIMPLE.replace("rules", f"name: {name}\nrules")
        (tmp_path / f"{name}.yaml").write_text(text)
        published(tmp_path, "--intent", f"{name}.yaml", "--render", "out")
    done = published(tmp_path, "--intent", "i.yaml", "--render", "out")
    (told,) = [one["text"] for one in done.json["notes"] if one["code"] == "left-behind"]
    assert told.endswith("to remove: --prune a --prune b")
