# SPDX-License-Identifier: Apache-2.0
"""What bad input and broken services get: the exit code, the reason, and no harm done.

After each, a run without the fault must reach the state of a clean run, without a second key.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import Bench, SigningKey, traces_in
from tests.support import CommandLine, Ended, Gpg, plain_environment

pytestmark = pytest.mark.once

HEX = "1a" * 32
IMAGE = "127.0.0.1:1/team/app:1"


def no_harm(bench: Bench, done: Ended, key: SigningKey | None = None) -> None:
    """Nothing is left of the run but what it said, and that holds no secret."""
    assert bench.leftovers() == []
    assert bench.processes() == []
    said = (done.stdout + done.stderr).encode()
    assert bench.sandbox.api_key("manager").encode() not in said
    assert b"PRIVATE KEY" not in said
    if key is not None:
        assert not [form for form in key.traces() if form in said]
        assert traces_in(bench.folder, key) == []
        assert traces_in(bench.sandbox.folder.root / "logs", key) == []


# --- Words that are wrong by themselves: nothing is asked of anybody ------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--output", "json=out", "--evidence", "./out"),
            "--output 'json=out' and --evidence './out' name the same file",
        ),
        (
            ("--output", "sarif=out.asc", "--evidence", "out"),
            "--output 'sarif=out.asc' and the signature of --evidence 'out' name the same file",
        ),
        (
            ("--result-verdict-file", "out", "--github-output", "out"),
            "--result-verdict-file 'out' and --github-output 'out' name the same file",
        ),
        (
            ("--exemptions", "held", "--output", "json=held"),
            "--exemptions 'held' and --output 'json=held' name the same file",
        ),
    ],
)
def test_options_that_name_one_file_are_told(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "held").write_text("kept")
    done = CommandLine(tmp_path).plain("scan-gate", *words, IMAGE)
    assert (done.code, f"invalid-option: {said}\n" in done.stdout) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["held"]
    assert (tmp_path / "held").read_text() == "kept"


def test_output_never_replaces_an_argument(tmp_path: Path) -> None:
    (tmp_path / "held").write_text("kept")
    done = CommandLine(tmp_path).plain("exemptions", "lint", "held", "--output", "json=held")
    assert done.code == 2
    assert "LEDGER 'held' and --output 'json=held' name the same file" in done.stdout
    assert (tmp_path / "held").read_text() == "kept"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("sign-image", "--key", "kms://release", "App:1"), "invalid-reference"),
        (("sign-image", "--key", "kms://release", "r.example/a b:1"), "invalid-reference"),
        (("sign-image", "--key", "kms://release", "--", "-r.example/app:1"), "invalid-reference"),
        (("sign-image", "--key", "kms://release", "-r.example/app:1"), "invalid-option"),
        (("sign-image", "--key", "kms://release", "r.example/app"), "tag-required"),
        (("sign-image", "--key", "kms://release", f"r.example/app@sha256:{HEX}"), "tag-required"),
        (("sign-image", "--key", "kms://release", "r.example/app:1@sha256:12"), "invalid-digest"),
        (("sign-image", "--key", "kms://r", IMAGE), "invalid-alias"),
        (("sign-image", "--key", f"file:{'/x' * 3000}", IMAGE), "input-unreadable"),
        (("scan-gate", "--report", "/x" * 3000, IMAGE), "input-unreadable"),
        (("sign-image", "--key", "release", IMAGE), "invalid-key-location"),
        (("sign-image", IMAGE), "invalid-option"),
        (
            ("sign-image", "--key", "kms://release", "--fingerprint", "ABCD1234", IMAGE),
            "invalid-fingerprint",
        ),
        (("verify-image", "--key", "env:KEY", IMAGE), "invalid-key-location"),
        (("verify-image", "--key", "kms://release", "r.example/app"), "tag-required"),
        (("resolve", "--", "--help/app:1"), "invalid-reference"),
        (("resolve", f"r.example/app@sha512:{HEX}{HEX}"), "invalid-digest"),
        (("scan-gate", "r.example/app:1@sha256:../../x"), "invalid-digest"),
        (("publish-policy", "--repository", "reg.example*", "--render", "p"), "invalid-pattern"),
        (("publish-policy", "--repository", "r.example/*"), "invalid-option"),
        (("publish-policy", "--repository", "r.example/*", "--render", ""), "invalid-option"),
        (("policy", "import", "old.yaml", "--render", ""), "invalid-option"),
        (("policy", "import", "old.yaml", "--render", " "), "invalid-option"),
        (("policy", "import", "old.yaml", "--engine", ""), "engine-unknown"),
        (("policy", "import", "old.yaml", "--from", ""), "engine-unknown"),
        (("policy", "import", "old.yaml", "--namespace", ""), "invalid-name"),
        (
            (
                "publish-policy",
                "--repository",
                "r.example/*",
                "--render",
                "p",
                "--policy-name",
                "A",
            ),
            "invalid-name",
        ),
        (
            (*"setup-signing-keys --alias keys --repository r.example/* --render p".split(),),
            "invalid-alias",
        ),
        (
            (
                *"setup-signing-keys --alias release --repository r.example/* --render p".split(),
                "--user-id",
                "imgsec\n%commit",
            ),
            "invalid-option",
        ),
        (
            (
                *"setup-signing-keys --alias release --repository r.example/* --render p".split(),
                *("--key-secret", "one", "--key-reference-secret", "one"),
            ),
            "invalid-option",
        ),
        (("resolve", IMAGE, "--authfile", "/nonexistent"), "input-unreadable"),
        (("resolve", IMAGE, "--ca-file", "/nonexistent"), "input-unreadable"),
        (("scan-gate", IMAGE, "--timeout", "0"), "invalid-option"),
        (("no-such-command",), "invalid-option"),
    ],
)
def test_wrong_words_are_a_usage_error(bench: Bench, words: tuple[str, ...], code: str) -> None:
    requests = {service: len(bench.log(service)) for service in ("iam", "kms", "registry", "va")}
    done = bench.imgsec(*words) if "--" not in words else _before_dashes(bench, words)
    done.expect(2, code)
    assert {name: len(bench.log(name)) for name in requests} == requests
    assert not (bench.imgsec.home / "p").exists()
    no_harm(bench, done)


def _before_dashes(bench: Bench, words: tuple[str, ...]) -> Ended:
    place = words.index("--")
    return bench.imgsec.plain(*words[:place], "--output", "json", *words[place:])


# --- Credentials ----------------------------------------------------------------------------------


def test_missing_credential_is_a_usage_error(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    nobody = {"IMGSEC_API_KEY_FILE": None}
    for words in (
        ("sign-image", name, "--key", key.location),
        ("verify-image", name, "--key", key.location),
        ("scan-gate", name),
    ):
        done = bench.imgsec(*words, env=nobody)
        done.expect(2, "missing-credential")
        no_harm(bench, done, key)
    done = bench.imgsec(
        "sign-image", name, "--key", key.location, env={"IMGSEC_KMS_INSTANCE": None}
    )
    done.expect(2, "missing-credential")
    assert bench.signatures(name, digest) == []


def test_wrong_api_key_is_rejected_and_never_shown(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    secret = "wrong-" + "Kq7" * 13
    wrong = {"IMGSEC_API_KEY_FILE": None, "IBM_CLOUD_APIKEY": secret}
    for words in (("sign-image", name, "--key", key.location), ("scan-gate", name)):
        done = bench.imgsec(*words, env=wrong)
        done.expect(3, "credential-rejected")
        assert secret not in done.stdout + done.stderr
        no_harm(bench, done, key)
    assert bench.signatures(name, digest) == []
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)


@pytest.mark.parametrize("content", ["", "\n", "two words", "caf\u00e9", "x" * 5000])
def test_api_key_file_that_holds_no_key_is_malformed(bench: Bench, content: str) -> None:
    path = bench.folder / "apikey"
    path.write_text(content)
    name, _ = bench.push(bench.repository())
    done = bench.imgsec("scan-gate", name, "--api-key-file", path)
    done.expect(2, "input-malformed")
    assert content.strip() == "" or content.strip() not in done.stdout + done.stderr


def test_trusted_profile_without_its_token_file_is_named(bench: Bench) -> None:
    name, _ = bench.push(bench.repository())
    environment = bench.sandbox.environment
    profile = ("--iam-profile", environment["IMGSEC_SANDBOX_PROFILE_ID"])
    nobody = {"IMGSEC_API_KEY_FILE": None}
    missing = bench.imgsec(
        "scan-gate", name, *profile, "--cr-token-file", "/nonexistent", env=nobody
    )
    missing.expect(2, "input-unreadable")
    token = environment["IMGSEC_SANDBOX_CR_TOKEN_FILE"]
    bench.imgsec("scan-gate", name, *profile, "--cr-token-file", token, env=nobody).expect(0)


def test_role_that_may_not_read_keys_is_rejected(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    for role in ("reader", "nokms", "foreign"):
        only = {"IMGSEC_API_KEY_FILE": None, "IMGSEC_API_KEY": bench.sandbox.api_key(role)}
        done = bench.imgsec("sign-image", name, "--key", key.location, env=only)
        assert (done.code, done.json["outcome"]) == (3, "undecided")
        no_harm(bench, done, key)
    assert bench.signatures(name, digest) == []


def test_registry_without_our_credential_is_rejected(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    wrong = bench.folder / "auth.json"
    wrong.write_text(json.dumps({"auths": {bench.sandbox.registry: {"auth": "bWU6d3Jvbmc="}}}))
    nobody = bench.folder / "empty.json"
    nobody.write_text("{}")
    for authfile, code, reason in (
        (wrong, 3, "credential-rejected"),
        (nobody, 2, "missing-credential"),
    ):
        for command in ("sign-image", "verify-image"):
            done = bench.imgsec(command, name, "--key", key.location, "--authfile", authfile)
            done.expect(code, reason)
            no_harm(bench, done, key)
    assert bench.signatures(name, digest) == []


# --- Keys -----------------------------------------------------------------------------------------


def test_alias_that_is_not_there_is_undecided(bench: Bench) -> None:
    name, digest = bench.push(bench.repository())
    for command in ("sign-image", "verify-image"):
        done = bench.imgsec(command, name, "--key", "kms://no-such-alias")
        done.expect(3, "key-not-found")
        no_harm(bench, done)
    assert bench.signatures(name, digest) == []


def test_key_with_another_fingerprint_signs_nothing(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    other = "AB" * 20
    for command in ("sign-image", "verify-image"):
        done = bench.imgsec(command, name, "--key", key.location, "--fingerprint", other)
        done.expect(1, "key-fingerprint-mismatch")
        no_harm(bench, done, key)
        done = bench.imgsec(
            command, name, "--key", key.location, env={"SIGNATURE_FINGERPRINT": other}
        )
        done.expect(1, "key-fingerprint-mismatch")
    assert bench.signatures(name, digest) == []
    bench.imgsec(
        "sign-image", name, "--key", key.location, "--fingerprint", key.fingerprint
    ).expect(0)


def test_payload_that_is_no_key_signs_nothing(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    bench.fault("kms", "wrong-payload")
    for command in ("sign-image", "verify-image"):
        done = bench.imgsec(command, name, "--key", key.location)
        assert done.code in (1, 3)
        assert set(done.codes) <= {"key-malformed", "key-fingerprint-mismatch"}
        no_harm(bench, done, key)
    assert bench.signatures(name, digest) == []
    bench.clear_faults()
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    assert len(bench.signatures(name, digest)) == 1


def test_key_file_that_cannot_sign_is_refused(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    home = bench.private / "gpg"
    home.mkdir(mode=0o700)
    gpg = Gpg(home)
    cases = {
        "junk": (b"<html>", 3, "key-malformed"),
        "empty": (b"", 3, "key-malformed"),
        "public": (gpg.public(gpg.make_key("only public")), 3, "key-malformed"),
        "short": (gpg.secret(gpg.make_key("short", "rsa1024")), 1, "key-unusable"),
        "edwards": (gpg.secret(gpg.make_key("edwards", "ed25519")), 1, "key-unusable"),
    }
    for word, (content, code, reason) in cases.items():
        path = bench.folder / f"{word}.key"
        path.write_bytes(content)
        bench.imgsec("sign-image", name, "--key", f"file:{path}").expect(code, reason)
    gpg.run("--passphrase", "long", "--quick-generate-key", "guarded", "rsa2048", "sign", "0")
    guarded = bench.folder / "guarded.key"
    guarded.write_bytes(gpg.run("--passphrase", "long", "--export-secret-keys", "guarded"))
    before = len(bench.log("registry"))
    done = bench.imgsec("sign-image", name, "--key", f"file:{guarded}").expect(1, "key-unusable")
    assert "passphrase" in done.json["reasons"][0]["text"]
    assert len(bench.log("registry")) == before
    assert bench.signatures(name, digest) == []
    good = bench.folder / "good.key"
    good.write_bytes(gpg.secret(gpg.make_key("good")))
    done = bench.imgsec("sign-image", name, "--key", f"file:{good}").expect(0)
    assert "fingerprint-not-pinned" in [note["code"] for note in done.json["notes"]]


# --- The registry ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["refuse", "cut", "500"])
def test_registry_that_is_down_is_undecided(bench: Bench, key: SigningKey, kind: str) -> None:
    name, digest = bench.push(bench.repository())
    bench.fault("registry", kind)
    done = bench.imgsec("sign-image", name, "--key", key.location)
    done.expect(3, "service-unreachable")
    assert done.json["reasons"][0]["retryable"]
    no_harm(bench, done, key)
    bench.clear_faults()
    assert bench.signatures(name, digest) == []
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    assert len(bench.signatures(name, digest)) == 1


@pytest.mark.parametrize("kind", ["wrong-bytes", "wrong-digest"])
def test_registry_that_lies_is_refused(bench: Bench, key: SigningKey, kind: str) -> None:
    name, digest = bench.push(bench.repository())
    canonical = f"{name}@{digest}"
    bench.fault("registry", kind)
    for words in (
        ("sign-image", canonical, "--key", key.location),
        ("verify-image", canonical, "--key", key.location),
        ("resolve", canonical),
        ("scan-gate", canonical),
    ):
        done = bench.imgsec(*words)
        done.expect(1, "digest-mismatch")
        no_harm(bench, done, key)
    bench.clear_faults()
    assert bench.signatures(name, digest) == []


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("signatures-403", "permission-denied"),
        ("signatures-500", "service-unreachable"),
        ("html", "answer-malformed"),
        ("malformed", "answer-malformed"),
    ],
)
def test_signatures_that_cannot_be_read_are_not_missing(
    bench: Bench, key: SigningKey, kind: str, code: str
) -> None:
    name, _ = bench.push(bench.repository())
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    path = None if kind.startswith("signatures") else "/signatures/"
    bench.fault("registry", kind, path=path)
    bench.imgsec("verify-image", name, "--key", key.location).expect(3, code)
    bench.clear_faults()
    bench.imgsec("verify-image", name, "--key", key.location).expect(0)


def test_signature_that_cannot_be_stored_is_made_up_for_by_the_next_run(
    bench: Bench, key: SigningKey
) -> None:
    name, digest = bench.push(bench.repository(), platforms=("amd64", "arm64"))
    bench.fault("registry", "signatures-403", method="PUT")
    done = bench.imgsec("sign-image", name, "--key", key.location)
    done.expect(3, "pushed-unsigned")
    no_harm(bench, done, key)
    bench.clear_faults()
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    assert len(bench.signatures(name, digest)) == 1
    bench.imgsec("verify-image", name, "--key", key.location).expect(0)


def test_tag_that_moved_away_from_the_digest_signs_nothing(bench: Bench, key: SigningKey) -> None:
    repository = bench.repository()
    name, first = bench.push(repository)
    _, second = bench.push(repository)
    assert first != second
    done = bench.imgsec("sign-image", f"{name}@{first}", "--key", key.location)
    done.expect(1, "digest-drift")
    no_harm(bench, done, key)
    assert bench.signatures(name, first) == []
    assert bench.signatures(name, second) == []


def test_signature_of_another_image_does_not_count(bench: Bench, key: SigningKey) -> None:
    signed, digest = bench.push(bench.repository())
    bench.imgsec("sign-image", signed, "--key", key.location).expect(0)
    (signature,) = bench.signatures(signed, digest)
    other, other_digest = bench.push(bench.repository())
    bench.plant(other, other_digest, signature)
    bench.imgsec("verify-image", other, "--key", key.location).expect(
        1, "digest-mismatch", "identity-mismatch"
    )
    # Signing does not stop at what lies there already.
    bench.imgsec("sign-image", other, "--key", key.location).expect(0)
    bench.imgsec("verify-image", other, "--key", key.location).expect(0)


def test_junk_beside_a_good_signature_does_not_harm_it(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    home = bench.private / "gpg"
    home.mkdir(mode=0o700)
    gpg = Gpg(home)
    attacker = gpg.make_key("attacker")
    for junk in (
        b"junk",
        b"\x80" * 100,
        gpg.run("--no-armor", "--store", stdin=b"{}"),
        gpg.run("--no-armor", "--detach-sign", stdin=b"{}"),
        gpg.sign(b"{}", attacker),
    ):
        bench.plant(name, digest, junk)
    done = bench.imgsec("verify-image", name, "--key", key.location)
    done.expect(1, "signature-invalid", "signature-untrusted")
    bench.imgsec("sign-image", name, "--key", key.location).expect(0)
    bench.imgsec("verify-image", name, "--key", key.location).expect(0)


@pytest.fixture
def plain_registry(bench: Bench) -> Iterator[str]:
    """Debian's registry as it is, without the signature extension; gives host and port."""
    from tests.unit.adapters.servers import closed_port

    port = closed_port()
    certificate = str(bench.sandbox.folder.server_certificate)
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(bench.folder / "plain")}},
        "http": {
            "addr": f"127.0.0.1:{port}",
            "tls": {"certificate": certificate, "key": certificate},
        },
    }
    path = bench.folder / "registry.yml"
    path.write_text(yaml.safe_dump(config))
    process = subprocess.Popen(
        ["docker-registry", "serve", str(path)],
        env=plain_environment(bench.folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await_listener(process, port)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _await_listener(process: subprocess.Popen[bytes], port: int) -> None:
    import socket
    import time

    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)  # it cannot say when it listens
        else:
            return
    raise AssertionError("docker-registry does not start")


def test_registry_without_a_place_for_signatures_gets_nothing(
    bench: Bench, key: SigningKey, plain_registry: str
) -> None:
    from tests.support import image_layout

    image_layout(bench.folder / "layout")
    name = f"{plain_registry}/team/app:1"
    bench.skopeo("copy", "--insecure-policy", f"oci:{bench.folder}/layout:it", f"docker://{name}")
    stored = bench.folder / "plain"
    before = {path: path.stat().st_mtime_ns for path in stored.rglob("*")}
    done = bench.imgsec("sign-image", name, "--key", key.location)
    done.expect(3, "signature-store-missing")
    no_harm(bench, done, key)
    assert {path: path.stat().st_mtime_ns for path in stored.rglob("*")} == before
    assert not list(bench.folder.rglob("signature-*"))  # skopeo's silent local store
    bench.imgsec("verify-image", name, "--key", key.location).expect(3, "signature-store-missing")


# --- The advisor ----------------------------------------------------------------------------------


def test_unknown_status_word_is_undecided(bench: Bench) -> None:
    name, _ = bench.push("strange-" + bench.repository())
    done = bench.imgsec("scan-gate", name)
    done.expect(3, "scan-status-unknown")
    assert "QUARANTINED" in done.json["reasons"][0]["text"]


@pytest.mark.parametrize(
    ("repository", "code"), [("unsupported-", "not-assessed"), ("endless-", "scan-timeout")]
)
def test_image_that_is_not_assessed_never_passes(bench: Bench, repository: str, code: str) -> None:
    name, _ = bench.push(repository + bench.repository())
    done = bench.imgsec("scan-gate", name, "--timeout", "7")
    done.expect(3, code)


@pytest.mark.parametrize(
    ("kind", "code"), [("html", "answer-malformed"), ("malformed", "answer-malformed")]
)
def test_advisor_that_answers_something_else_is_undecided(
    bench: Bench, kind: str, code: str
) -> None:
    name, _ = bench.push(bench.repository())
    bench.fault("va", kind)
    done = bench.imgsec("scan-gate", name)
    done.expect(3, code)
    bench.clear_faults()
    bench.imgsec("scan-gate", name).expect(0)


@pytest.mark.parametrize("kind", ["429", "500", "503", "refuse", "cut"])
@pytest.mark.parametrize("service", ["va", "kms", "iam", "registry"])
def test_trouble_that_passes_does_not_decide(
    bench: Bench, key: SigningKey, service: str, kind: str
) -> None:
    name, _ = bench.push(bench.repository())
    bench.fault(service, kind, count=2, retry_after=0)
    words = ("scan-gate", name) if service == "va" else ("sign-image", name, "--key", key.location)
    bench.imgsec(*words).expect(0)


# --- Output ---------------------------------------------------------------------------------------


def test_output_that_cannot_be_written_stops_before_the_work(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    link = bench.folder / "link"
    victim = bench.folder / "victim"
    victim.write_text("victim")
    link.symlink_to(victim)
    fifo = bench.folder / "fifo"
    os.mkfifo(fifo)
    sign = ("sign-image", name, "--key", key.location)
    for option in ("--result-digest-file", "--github-output", "--github-step-summary"):
        for path in ("/nonexistent/x", link, fifo, bench.folder):
            done = bench.imgsec.plain(*sign, option, path)
            assert done.code == 3
            assert "output-unwritable" in done.stdout + done.stderr
            assert "Traceback" not in done.stderr
    assert victim.read_text() == "victim"
    assert bench.signatures(name, digest) == []
    done = bench.imgsec.plain(*sign, "--output", "json=/nonexistent/x")
    assert done.code == 3
    assert "output-unwritable" in done.stdout + done.stderr
    bench.imgsec.plain(*sign, "--output", f"json={bench.folder}/report.json")
    assert json.loads((bench.folder / "report.json").read_text())["outcome"] == "pass"


@pytest.mark.parametrize(
    "words",
    [
        ("--output", "json", "--output", "text=/nonexistent/x"),
        ("--output", "json", "--output", "text=/proc/imgsec-test"),
        ("--output", "json", "--github-output", "/nonexistent/x"),
        ("--output", "json", "--result-verdict-file", "/proc/imgsec-test"),
    ],
)
def test_one_run_prints_one_document(bench: Bench, words: tuple[str, ...]) -> None:
    name, _ = bench.push(bench.repository())
    bench.imgsec.plain("resolve", name, *words).expect(3, "output-unwritable")


# --- Set-up ---------------------------------------------------------------------------------------


def set_up(
    bench: Bench, alias: str, *more: str | Path, env: dict[str, str | None] | None = None
) -> Ended:
    return bench.imgsec(
        *("setup-signing-keys", "--alias", alias, "--repository", "us.icr.io/team/*"),
        *("--render", bench.folder / "out", *more),
        env=env,
    )


@pytest.mark.parametrize("kind", ["500-after", "cut"])
def test_create_whose_answer_was_lost_makes_no_second_key(bench: Bench, kind: str) -> None:
    alias = bench.alias()
    bench.fault("kms", kind, method="POST", path="^/api/v2/keys$", count=2)
    set_up(bench, alias).expect(0)
    assert set(bench.keys(alias)) == {alias, f"{alias}-public", f"{alias}-revocation"}
    bench.clear_faults()
    done = set_up(bench, alias).expect(0)
    assert {change["state"] for change in done.json["changes"]} == {"unchanged"}
    assert not [name for name in bench.keys("") if name.startswith("no alias")]


def test_set_up_that_may_not_store_leaves_nothing(bench: Bench) -> None:
    alias = bench.alias()
    only = {"IMGSEC_API_KEY_FILE": None, "IMGSEC_API_KEY": bench.sandbox.api_key("readerplus")}
    done = set_up(bench, alias, env=only)
    done.expect(3, "credential-rejected")
    assert "Writer" in done.json["reasons"][0]["hint"]
    no_harm(bench, done)
    assert bench.keys(alias) == {}
    assert not (bench.folder / "out").exists()
    set_up(bench, alias).expect(0)
    assert set(bench.keys(alias)) == {alias, f"{alias}-public", f"{alias}-revocation"}


def test_kms_that_gives_back_other_bytes_is_not_believed(bench: Bench) -> None:
    alias = bench.alias()
    bench.fault("kms", "wrong-payload")
    done = set_up(bench, alias)
    assert done.code == 3
    assert set(done.codes) <= {"key-store-mismatch", "key-malformed"}
    no_harm(bench, done)
    assert not (bench.folder / "out").exists()
    bench.clear_faults()
    set_up(bench, alias).expect(0)
    assert set(bench.keys(alias)) == {alias, f"{alias}-public", f"{alias}-revocation"}


def test_set_up_that_was_cut_short_is_finished_by_the_next_run(bench: Bench) -> None:
    alias = bench.alias()
    first = set_up(bench, alias).expect(0).json["key"]
    bench.delete_key(first["publicKeyId"])
    while (done := set_up(bench, alias)).code != 0:  # the KMS holds the name back for a second
        done.expect(3, "key-moving")
        time.sleep(0.2)
    second = done.json["key"]
    assert (second["fingerprint"], second["keyId"]) == (first["fingerprint"], first["keyId"])
    assert set(bench.keys(alias)) == {alias, f"{alias}-public", f"{alias}-revocation"}


def test_public_half_without_its_secret_is_never_papered_over(bench: Bench) -> None:
    alias = bench.alias()
    first = set_up(bench, alias).expect(0).json["key"]
    bench.delete_key(first["keyId"])
    set_up(bench, alias).expect(1, "key-conflict")
    assert set(bench.keys(alias)) == {f"{alias}-public", f"{alias}-revocation"}


def test_set_up_that_cannot_write_its_manifests_makes_no_key(bench: Bench) -> None:
    alias = bench.alias()
    (bench.folder / "out").write_text("a file where a folder should be")
    done = set_up(bench, alias)
    done.expect(3, "output-unwritable")
    no_harm(bench, done)
    assert bench.keys(alias) == {}
    (bench.folder / "out").unlink()
    set_up(bench, alias).expect(0)
    assert set(bench.keys(alias)) == {alias, f"{alias}-public", f"{alias}-revocation"}


def test_foreign_manifest_is_never_overwritten(bench: Bench) -> None:
    (bench.folder / "out").mkdir()
    path = bench.folder / "out" / "imgsec-signed-images.clusterimagepolicy.yaml"
    path.write_text("kind: ClusterImagePolicy\nmetadata: {name: by-hand}\n")
    before = path.read_text()
    set_up(bench, bench.alias()).expect(1, "foreign-object")
    assert path.read_text() == before


@pytest.mark.once
@pytest.mark.parametrize("service", ["kms", "va"])
def test_token_that_ended_early_is_replaced(bench: Bench, key: SigningKey, service: str) -> None:
    """A clock that is wrong, or an access group that was changed just now."""
    name, _ = bench.push(bench.repository())
    argv = ["keys", "show", key.alias] if service == "kms" else ["scan-gate", name]
    bench.fault(service, "expired-token", count=1)
    bench.imgsec(*argv).expect(0)
    bench.fault(service, "expired-token")
    bench.imgsec(*argv).expect(3, "credential-rejected")
