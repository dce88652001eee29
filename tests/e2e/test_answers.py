# SPDX-License-Identifier: Apache-2.0
"""What a run leaves behind as its answer: whole, its own, and with everything that was loosened."""

from __future__ import annotations

import base64
import json
import signal
from pathlib import Path

import pytest
import yaml

from tests.conftest import Bench, SigningKey


@pytest.mark.once
def test_time_limit_keeps_what_was_judged(bench: Bench, key: SigningKey) -> None:
    """Images before the one that hangs keep their verdicts, and a refusal stays one."""
    unsigned, hanging, later = (bench.push(bench.repository())[0] for _ in range(3))
    path = hanging.partition("/")[2].partition(":")[0]
    bench.fault("registry", "hang", path=path)
    done = bench.imgsec(
        *("verify-image", unsigned, hanging, later, "--key", key.location),
        *("--timeout", "6", "--workers", "1"),
    )
    done.expect(1, "signature-missing", "timeout")
    outcomes = [(image["image"], image["outcome"]) for image in done.json["images"]]
    assert outcomes == [
        (unsigned, "refused"),
        (hanging, "undecided"),
        (later, "undecided"),
    ]


def test_killed_run_leaves_no_verdict_of_an_earlier_one(bench: Bench, key: SigningKey) -> None:
    name, _ = bench.push(bench.repository())
    report, verdict = bench.folder / "report.json", bench.folder / "verdict"
    words = ("verify-image", name, "--key", key.location, "--output", f"json={report}")
    words = (*words, "--result-verdict-file", str(verdict))
    bench.imgsec.plain(*words)
    assert verdict.read_text() == "refused"
    assert json.loads(report.read_text())["outcome"] == "refused"
    bench.fault("registry", "hang")
    run = bench.imgsec.start(*words)
    while verdict.exists() or report.exists():
        assert run.poll() is None
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=60)
    assert run.returncode == 143
    assert not verdict.exists()
    assert not report.exists()


def test_usage_error_is_written_where_the_report_was_asked_for(
    bench: Bench, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    report.write_text('{"outcome": "pass"}')
    done = bench.imgsec.plain("resolve", "a.b/c:1", "--nonsense", f"--output=json={report}")
    assert done.code == 2
    assert json.loads(report.read_text())["outcome"] == "usage"


@pytest.mark.once
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("resolve", "127.0.0.1:1/a/b:1", "--auth-realm", "h.example"), "trusted-auth-realm"),
        (("scan-gate", "a.example/b:1", "--trust-host", "h.example", "--output", "x"),
         "trusted-host"),
        (("publish-policy", "--repository", "a.b/c", "--allow-unchecked", "a.b/d", "--apply",
          "--render", "x"), "allowed-unchecked"),
    ],
)  # fmt: skip
def test_loosened_check_is_on_record_however_the_run_ends(
    bench: Bench, words: tuple[str, ...], code: str
) -> None:
    done = bench.imgsec(*words)
    assert done.code in (2, 3)
    assert [note["code"] for note in done.json["notes"]] == [code]


def test_resolve_hands_on_media_type_and_platforms(bench: Bench) -> None:
    name, digest = bench.push(bench.repository(), platforms=("amd64", "arm64"))
    found = {}
    words = []
    for result in ("digest", "image", "media-type", "platforms", "verdict"):
        found[result] = bench.folder / result
        words += [f"--result-{result}-file", str(found[result])]
    bench.imgsec("resolve", name, *words).expect(0)
    assert {result: path.read_text() for result, path in found.items()} == {
        "digest": digest,
        "image": f"{name}@{digest}",
        "media-type": "application/vnd.oci.image.index.v1+json",
        "platforms": "linux/amd64,linux/arm64",
        "verdict": "pass",
    }


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_is_no_bug(bench: Bench, shell: str) -> None:
    done = bench.imgsec.plain("--show-completion", shell)
    assert (done.code, done.stderr) == (0, "")
    assert "_IMGSEC_COMPLETE" in done.stdout
    variables = {"_IMGSEC_COMPLETE": "complete_bash", "COMP_WORDS": "imgsec sc", "COMP_CWORD": "1"}
    done = bench.imgsec.plain(env=variables)
    assert (done.code, done.stdout.split()) == (0, ["scan-gate"])


def test_older_names_of_the_key_still_work(bench: Bench, key: SigningKey) -> None:
    """VAULT_KEY_ID is a bare id, as the Secret portieris-keys holds it for older pipelines."""
    name, digest = bench.push(bench.repository())
    secret = yaml.safe_load((key.folder / "portieris-keys.secret.yaml").read_text())["data"]
    values = {field: base64.b64decode(text).decode() for field, text in secret.items()}
    names: dict[str, str | None] = {
        "VAULT_KEY_ID": values["vault-key-id"],
        "VAULT_URL": values["vault-url"],
        "VAULT_INSTANCE_ID": values["vault-instance-id"],
        "SIGNATURE_FINGERPRINT": values["portieris-signature-fingerprint"],
        "IBM_CLOUD_APIKEY": bench.sandbox.api_key("manager"),
        **dict.fromkeys(("IMGSEC_KMS_URL", "IMGSEC_KMS_INSTANCE", "IMGSEC_API_KEY_FILE")),
    }
    bench.imgsec("sign-image", name, env=names).expect(0)
    bench.imgsec("verify-image", f"{name}@{digest}", env=names).expect(0)
    wrong = {**names, "SIGNATURE_FINGERPRINT": "0" * 40}
    bench.imgsec("sign-image", name, env=wrong).expect(1, "key-fingerprint-mismatch")
