# SPDX-License-Identifier: Apache-2.0
"""The inventory of keys, and who accepts one: public halves only, as real tools read them."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imgsec.sandbox.lifecycle import Sandbox, running_sandbox
from tests.conftest import Bench, SigningKey
from tests.support import CommandLine, Gpg

pytestmark = pytest.mark.once

SECRET = "portieris-image-signing-public-key.secret.yaml"


def test_keys_are_listed_with_where_they_are_published(bench: Bench, key: SigningKey) -> None:
    before = len(bench.log("kms"))
    done = bench.imgsec("keys", "list", "--manifests", key.folder).expect(0)
    (entry,) = [one for one in done.json["keys"] if one["alias"] == key.alias]
    assert entry["fingerprint"] == key.fingerprint
    assert (entry["algorithm"], entry["canSign"], entry["revoked"]) == ("rsa4096", True, False)
    assert entry["published"] == [
        {
            "secret": "portieris/portieris-image-signing-public-key",
            "trustedBy": ["ClusterImagePolicy imgsec-signed-images"],
        }
    ]
    paths = [request["path"] for request in bench.log("kms")[before:]]
    assert f"/api/v2/keys/{key.alias}" not in paths  # no secret payload
    assert f"/api/v2/keys/{entry['keyId']}" not in paths


def test_one_key_is_shown_by_alias_and_by_id(bench: Bench, key: SigningKey) -> None:
    shown = bench.imgsec("keys", "show", key.alias).expect(0).json["keys"][0]
    assert (shown["fingerprint"], shown["state"]) == (key.fingerprint, "active")
    assert "published" not in shown
    for name in (shown["keyId"], f"kms://{key.alias}"):
        assert bench.imgsec("keys", "show", name).expect(0).json["keys"][0] == shown
    text = bench.imgsec.plain("keys", "show", key.alias, "-v")
    assert f"pass: kms://{key.alias} {key.fingerprint}" in text.stdout
    assert shown["keyId"] in text.stdout
    bench.imgsec("keys", "show", "nothing-here").expect(3, "key-not-found")
    bench.imgsec("keys", "show", "../x").expect(2, "invalid-alias")


def test_key_that_ends_soon_is_warned_of_everywhere(bench: Bench) -> None:
    alias = bench.alias()
    run = ("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*")
    run = (*run, "--render", str(bench.folder / "out"), "--valid-days", "30")
    bench.imgsec(*run).expect(0)
    name, _ = bench.push(bench.repository())
    for words in (
        ("keys", "list"),
        ("keys", "show", alias),
        ("sign-image", name, "--key", f"kms://{alias}"),
        ("verify-image", name, "--key", f"kms://{alias}"),
    ):
        notes = bench.imgsec(*words).expect(0).json["notes"]
        assert "key-expiring" in [note["code"] for note in notes], words


def test_key_without_its_public_half_is_listed_as_such(bench: Bench, gpg: Gpg) -> None:
    out, alias = bench.folder / "out", bench.alias()
    run = ("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*")
    done = bench.imgsec(*run, "--render", out).expect(0)
    bench.delete_key(done.json["key"]["publicKeyId"])
    listed = bench.imgsec("keys", "list").expect(0).json["keys"]
    (entry,) = [one for one in listed if one["alias"] == alias]
    assert [reason["code"] for reason in entry["reasons"]] == ["key-not-found"]
    bench.imgsec("keys", "show", alias).expect(3, "key-not-found")


def answers(
    bench: Bench, location: str, code: int, *reasons: str, signer: str = ""
) -> dict[str, str]:
    more = ("--fingerprint", signer) if signer else ()
    done = bench.imgsec("keys", "check", "--key", location, *more).expect(code, *reasons)
    return {one["verifier"]: one["outcome"] for one in done.json["verifiers"]}


def test_key_that_set_up_publishes_is_accepted_by_all(bench: Bench, key: SigningKey) -> None:
    for location in (f"secret:{key.folder / SECRET}", key.location):
        found = answers(bench, location, 0)
        assert found == {"portieris": "pass", "podman": "pass"}


def test_verifiers_that_differ_are_told_apart(bench: Bench, gpg: Gpg) -> None:
    rsa = gpg.make_key("rsa")
    modern = gpg.make_key("modern", "ed25519")
    file = bench.folder / "public"
    location = f"file:{file}"

    file.write_bytes(gpg.public(modern, armour=True))
    assert answers(bench, location, 1, "key-unreadable") == {
        "portieris": "refused",
        "podman": "pass",
    }
    file.write_bytes(gpg.public(rsa))  # binary
    assert answers(bench, location, 1, "key-unreadable")["podman"] == "pass"
    file.write_bytes(gpg.public(modern, armour=True) + gpg.public(rsa, armour=True))
    assert answers(bench, location, 1, "key-unreadable", signer=rsa)["portieris"] == "refused"
    file.write_bytes(gpg.run("--armor", "--export", modern, rsa))  # in the order of the keyring
    found = answers(bench, location, 1, "key-unreadable", signer=rsa)
    assert found == {"portieris": "refused", "podman": "pass"}
    bench.imgsec("keys", "check", "--key", location).expect(3, "key-malformed")  # which one?
    file.write_bytes(b"no key")
    bench.imgsec("keys", "check", "--key", location).expect(3, "key-malformed")
    public, secret = gpg.public(rsa, armour=True), gpg.secret(rsa, armour=True)
    indented = b"".join(b"  " + line for line in public.splitlines(keepends=True))
    for content in (
        *(secret, secret + public, public + secret),  # whoever reads it can sign
        *(base64.b64encode(public), base64.b64encode(gpg.public(rsa)), indented),
    ):
        file.write_bytes(content)
        bench.imgsec("keys", "check", "--key", location).expect(3, "key-malformed")
    detached = b"-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n"
    file.write_bytes(detached + public)  # the first block is none with keys
    assert answers(bench, location, 1, "key-unreadable") == {
        "portieris": "refused",
        "podman": "pass",
    }


def test_answer_for_podman_is_what_real_skopeo_does(bench: Bench, gpg: Gpg) -> None:
    long_ago = ("--faked-system-time", "20200102T000000")
    gpg.run(*long_ago, "--quick-generate-key", "ended", "rsa2048", "sign", "1y")
    signers = {"pass": gpg.make_key("good"), "refused": gpg.fingerprint("ended")}
    signers |= {"pass, modern": gpg.make_key("modern", "ed25519")}
    manifest = bench.folder / "manifest"
    manifest.write_text("{}")
    digest = subprocess.run(
        ["skopeo", "manifest-digest", str(manifest)], capture_output=True, text=True, check=True
    ).stdout.strip()
    payload = json.dumps(
        {
            "critical": {
                "type": "atomic container signature",
                "image": {"docker-manifest-digest": digest},
                "identity": {"docker-reference": "r.example/app:1"},
            },
            "optional": {},
        }
    ).encode()
    for word, signer in signers.items():
        times = () if word.startswith("pass") else ("--faked-system-time", "20200103T000000")
        signature = bench.folder / f"signature-{signer}"
        signature.write_bytes(gpg.sign(payload, signer, options=times))
        real = subprocess.run(
            ["skopeo", "standalone-verify", manifest, "r.example/app:1", signer, signature],
            env={**bench.environment, "GNUPGHOME": str(gpg.home)},
            capture_output=True,
            check=False,
        )
        assert (real.returncode == 0) is word.startswith("pass"), real.stderr
        file = bench.folder / "public"
        file.write_bytes(gpg.public(signer, armour=True))
        done = bench.imgsec("keys", "check", "--key", f"file:{file}")
        found = {one["verifier"]: one["outcome"] for one in done.json["verifiers"]}
        assert found["podman"] == word.partition(",")[0]


def test_secret_whose_content_is_none_is_malformed(bench: Bench) -> None:
    file = bench.folder / "secret.yaml"
    document = {"kind": "Secret", "metadata": {"name": "x"}, "data": {"key": "no base64!"}}
    file.write_text(json.dumps(document))
    bench.imgsec("keys", "check", "--key", f"secret:{file}").expect(2, "input-malformed")
    document["data"] = {"key": base64.b64encode(b"junk").decode()}
    file.write_text(json.dumps(document))
    bench.imgsec("keys", "check", "--key", f"secret:{file}").expect(3, "key-malformed")


def test_places_to_look_in_exclude_each_other(bench: Bench, key: SigningKey) -> None:
    both = ("--manifests", key.folder, "--in-cluster")
    bench.imgsec("keys", "list", *both).expect(2, "invalid-option")
    bench.imgsec("keys", "list", "--manifests", Path("/nowhere")).expect(2, "input-unreadable")


@pytest.mark.parametrize("passphrase", [None, "a pass phrase"])
def test_certificate_that_set_up_stores_revokes_the_key(
    bench: Bench, gpg: Gpg, passphrase: str | None
) -> None:
    alias, file = bench.alias(), bench.folder / "passphrase"
    file.write_text(passphrase or "unused")
    more = ("--passphrase-file", str(file)) if passphrase else ()
    run = ("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*", *more)
    made = bench.imgsec(*run, "--render", bench.folder / "out").expect(0).json["key"]
    stored = bench.keys(alias)
    gpg.run("--import", stdin=stored[f"{alias}-public"])
    listing = ("--with-colons", "--list-keys", made["fingerprint"])
    assert b"\npub:r:" not in b"\n" + gpg.run(*listing)
    gpg.run("--import", stdin=stored[f"{alias}-revocation"])
    assert b"\npub:r:" in b"\n" + gpg.run(*listing)
    again = bench.imgsec(*run, "--render", bench.folder / "out").expect(0)
    assert {change["state"] for change in again.json["changes"]} == {"unchanged"}


# --- From place to place --------------------------------------------------------------------------


@dataclass(frozen=True)
class Other:
    """A second sandbox: another KMS, in another account."""

    sandbox: Sandbox
    ca: Path

    def place(self, alias: str) -> str:
        host = self.sandbox.identity.url("kms").removeprefix("https://")
        return f"kms://{host}/{self.sandbox.identity.kms_instance}/{alias}"


@pytest.fixture
def other(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Other]:
    with running_sandbox(tmp_path_factory.mktemp("other") / "state") as sandbox:
        bundle = bench.folder / "both.pem"
        bundle.write_bytes(bench.sandbox.folder.ca.read_bytes() + sandbox.folder.ca.read_bytes())
        yield Other(sandbox, bundle)


def test_place_that_refuses_the_token_gets_nothing(
    bench: Bench, key: SigningKey, other: Other
) -> None:
    there = CommandLine(bench.folder, {**bench.imgsec.environment, **other.sandbox.environment})
    # It believes the tokens of its own IAM only.
    run = ("keys", "copy", "--from", key.location, "--to", other.place("moved"))
    run = (*run, "--ca-file", str(other.ca))
    bench.imgsec(*run).expect(3, "credential-rejected")
    assert not [one for one in listed(there) if one["alias"] == "moved"]


def listed(imgsec: CommandLine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = imgsec("keys", "list").expect(0).json.get("keys", [])
    return found


def test_key_is_copied_under_another_alias(bench: Bench, key: SigningKey) -> None:
    alias = bench.alias()
    host = bench.sandbox.identity.url("kms").removeprefix("https://")
    place = f"kms://{host}/{bench.sandbox.identity.kms_instance}/{alias}"
    run = ("keys", "copy", "--from", key.location, "--to", place)
    done = bench.imgsec(*run).expect(0)
    assert done.json["key"]["fingerprint"] == key.fingerprint
    assert [one["state"] for one in done.json["changes"]] == ["created"] * 3
    assert bench.keys(alias)[alias] == key.secret
    again = bench.imgsec(*run).expect(0)
    assert [one["state"] for one in again.json["changes"]] == ["unchanged"] * 3
    assert "nothing-to-do" in [note["code"] for note in again.json["notes"]]
    short = ("keys", "copy", "--from", place, "--to", f"kms://{bench.alias()}")
    bench.imgsec(*short, "--fingerprint", key.fingerprint).expect(0)
    wrong = ("keys", "copy", "--from", place, "--to", f"kms://{bench.alias()}")
    bench.imgsec(*wrong, "--fingerprint", "AB" * 20).expect(1, "key-fingerprint-mismatch")


def test_key_is_brought_to_another_instance(bench: Bench, key: SigningKey) -> None:
    host = bench.sandbox.identity.url("kms").removeprefix("https://")
    instance = bench.sandbox.environment["IMGSEC_SANDBOX_SECOND_KMS_INSTANCE"]
    alias = bench.alias()
    run = ("keys", "copy", "--from", key.location, "--to", f"kms://{host}/{instance}/{alias}")
    done = bench.imgsec(*run).expect(0)
    assert [one["state"] for one in done.json["changes"]] == ["created"] * 3
    assert bench.keys(alias) == {}, "the first instance has no such key"
    there = ("--kms-instance", instance)
    shown = bench.imgsec("keys", "show", alias, *there).expect(0).json["keys"][0]
    assert (shown["fingerprint"], shown["keyId"]) == (key.fingerprint, done.json["key"]["keyId"])
    name, _ = bench.push(bench.repository())
    bench.imgsec("sign-image", name, "--key", f"kms://{alias}", *there).expect(0)
    bench.imgsec("verify-image", name, "--key", key.location).expect(0)
    bench.imgsec("sign-image", name, "--key", f"kms://{alias}").expect(3, "key-not-found")
    again = bench.imgsec(*run).expect(0)
    assert [one["state"] for one in again.json["changes"]] == ["unchanged"] * 3
    back = ("keys", "copy", "--from", f"kms://{host}/{instance}/{alias}", "--to", key.location)
    again = bench.imgsec(*back).expect(0)
    assert [one["state"] for one in again.json["changes"]] == ["unchanged"] * 3


def test_new_place_may_have_a_credential_of_its_own(bench: Bench, key: SigningKey) -> None:
    alias, file = bench.alias(), bench.folder / "api-key"
    run = ("keys", "copy", "--from", key.location, "--to", f"kms://{alias}")
    run = (*run, "--to-api-key-file", str(file))
    file.write_text(bench.sandbox.api_key("reader"))
    bench.imgsec(*run).expect(3, "credential-rejected")
    assert bench.keys(alias) == {}
    file.write_text(bench.sandbox.api_key("writer"))
    bench.imgsec(*run).expect(0)
    assert bench.keys(alias)[alias] == key.secret


def test_copy_never_replaces_another_key(bench: Bench, key: SigningKey, gpg: Gpg) -> None:
    file, alias = bench.folder / "key", bench.alias()
    file.write_bytes(gpg.secret(gpg.make_key("another")))
    bench.imgsec("keys", "import", file, "--alias", alias).expect(0)
    before = bench.keys(alias)
    run = ("keys", "copy", "--from", key.location, "--to", f"kms://{alias}")
    bench.imgsec(*run).expect(1, "key-fingerprint-mismatch")
    assert bench.keys(alias) == before


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("release", "invalid-key-location"),
        ("file:x", "invalid-key-location"),
        ("kms://host/no-uuid/release", "invalid-key-location"),
        ("kms://host/0a1b2c3d-1234-4abc-8def-0123456789ab/a/b", "invalid-alias"),
        ("kms://user@host/0a1b2c3d-1234-4abc-8def-0123456789ab/release", "invalid-alias"),
        ("kms://host/0a1b2c3d-1234-4abc-8def-0123456789ab/x", "invalid-alias"),
    ],
)
def test_place_that_is_none_is_refused(bench: Bench, uri: str, code: str) -> None:
    bench.imgsec("keys", "copy", "--from", "kms://release", "--to", uri).expect(2, code)


def test_token_is_not_sent_to_a_foreign_place(bench: Bench, key: SigningKey) -> None:
    place = "kms://kms.evil.example/0a1b2c3d-1234-4abc-8def-0123456789ab/release"
    run = ("keys", "copy", "--from", key.location, "--to", place)
    bench.imgsec(*run).expect(2, "insecure-address")


def test_key_is_imported_once(bench: Bench, gpg: Gpg) -> None:
    fingerprint, file, alias = gpg.make_key("release"), bench.folder / "key", bench.alias()
    file.write_bytes(gpg.secret(fingerprint, armour=True))
    run = ("keys", "import", file, "--alias", alias)
    bench.imgsec(*run, "--fingerprint", "AB" * 20).expect(1, "key-fingerprint-mismatch")
    done = bench.imgsec(*run, "--fingerprint", fingerprint).expect(0)
    assert done.json["key"]["fingerprint"] == fingerprint
    assert set(bench.keys(alias)) == {alias, f"{alias}-public", f"{alias}-revocation"}
    bench.imgsec(*run).expect(0)
    file.write_bytes(gpg.public(fingerprint))
    bench.imgsec(*run).expect(3, "key-malformed")


def test_public_half_is_exported(bench: Bench, key: SigningKey, gpg: Gpg) -> None:
    file = bench.folder / "release.asc"
    run = ("keys", "export", key.alias, "--file", str(file))
    bench.imgsec(*run).expect(2, "invalid-option")
    assert not file.exists()
    states = [
        bench.imgsec(*run, "--public", *more).expect(0).json["changes"][0]["state"]
        for more in ((), (), ("--binary",))
    ]
    assert states == ["created", "unchanged", "updated"]
    assert file.read_bytes()[0] >= 0x80
    bench.imgsec(*run, "--public").expect(0)
    gpg.run("--import", stdin=file.read_bytes())
    assert gpg.fingerprint(key.fingerprint) == key.fingerprint
    found = answers(bench, f"file:{file}", 0)
    assert set(found.values()) == {"pass"}
