# SPDX-License-Identifier: Apache-2.0
"""A registry's images with the advisor's words, as users see them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from typing import Any

import jsonschema
import pytest

from tests.conftest import Bench
from tests.support import ROOT, image_layout

SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas" / "report.schema.json").read_text())
ACCOUNT_STATUS, IMAGE_STATUS = "/report/account/status", "/report/image/status/"


@pytest.fixture
def namespace(bench: Bench) -> str:
    """One that no other test uses."""
    return bench.repository().replace("/", "-")


def listing(bench: Bench, *words: str, code: int = 0, reasons: tuple[str, ...] = ()) -> Any:
    done = bench.imgsec("images", *words).expect(code, *reasons)
    jsonschema.validate(done.json, SCHEMA)
    return done.json.get("listing")


def statuses(found: Any) -> dict[str, str]:
    return {
        row["repository"].rpartition("/")[2]: row["securityStatus"]["words"]
        for row in found["images"]
    }


def push_untagged(bench: Bench, repository: str) -> str:
    layout = bench.folder / f"untagged-{repository.replace('/', '-')}"
    digest = image_layout(layout)
    name = f"{bench.sandbox.registry}/{repository}@{digest}"
    bench.skopeo(
        *("copy", "--preserve-digests", "--insecure-policy", f"oci:{layout}:it", f"docker://{name}")
    )
    return digest


@pytest.mark.once
def test_every_status_has_its_words(bench: Bench, namespace: str) -> None:
    names = ["app", "endless", "slow", "late", "strange", "unsupported"]
    names += ["vulnerable", "vulnerable-one", "vulnerable-exempt"]
    registry = bench.sandbox.registry
    for name in names:
        bench.push(f"{namespace}/{name}")
    for name, issue in (("one", 1), ("exempt", 1), ("exempt", 2)):
        bench.exempt(f"{namespace}/vulnerable-{name}", f"CVE-2026-9000{issue}")
    found = listing(bench, f"{registry}/{namespace}")
    expected = {
        "app": "No Issues",
        "endless": "Scanning",
        "late": "Not assessed",
        "slow": "Scanning",
        "strange": "QUARANTINED",
        "unsupported": "Unsupported",
        "vulnerable": "2 Issues",
        "vulnerable-exempt": "No Issues (2 exempt)",
        "vulnerable-one": "1 Issue",
    }
    assert statuses(found) == expected
    text = bench.imgsec.plain("images", f"{registry}/{namespace}")
    assert text.code == 0
    lines = text.stdout.splitlines()
    assert lines[0].split()[-2:] == ["SECURITY", "STATUS"]
    assert [line[lines[0].index("SECURITY") :] for line in lines[1:-1]] == list(expected.values())
    by_namespace = listing(bench, registry, "--by", "namespace")["groups"]
    (group,) = [one for one in by_namespace if one["name"] == f"{registry}/{namespace}"]
    assert (group["images"], group["policyStatus"]) == (9, "Deployment Blocked")
    assert group["counts"]["issues"] == 2
    by_repository = listing(bench, f"{registry}/{namespace}", "--by", "repository")["groups"]
    policies = {one["name"].rpartition("/")[2]: one["policyStatus"] for one in by_repository}
    assert policies["app"] == policies["vulnerable-exempt"] == "OK to Deploy"
    assert policies["slow"] == policies["strange"] == "Not assessed"
    assert policies["vulnerable"] == "Deployment Blocked"


def test_row_says_what_the_registry_and_the_advisor_say(bench: Bench, namespace: str) -> None:
    name, digest = bench.push(f"{namespace}/app", "1.0", platforms=("amd64", "arm64"))
    bench.push(f"{namespace}/app", "0.9")
    bench.push(f"{namespace}/web")
    found = listing(bench, f"{bench.sandbox.registry}/{namespace}/app")
    assert [row["tag"] for row in found["images"]] == ["0.9", "1.0"]
    row = found["images"][1]
    assert (row["image"], row["digest"], row["namespace"]) == (name, digest, namespace)
    assert row["size"] > 0
    assert row["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert row["securityStatus"]["checkedAt"]
    short = bench.imgsec.plain("images", f"{bench.sandbox.registry}/{namespace}").stdout
    assert digest.removeprefix("sha256:")[:12] in short
    assert digest not in short
    whole = bench.imgsec.plain("images", name.rpartition(":")[0], "--no-trunc", "--verbose")
    assert digest in whole.stdout
    assert "MEDIA TYPE" in whole.stdout


def test_one_question_is_enough_where_the_advisor_knows_all(bench: Bench, namespace: str) -> None:
    for name in ("a", "b", "c"):
        bench.push(f"{namespace}/{name}")
    before = len(bench.log("va"))
    listing(bench, f"{bench.sandbox.registry}/{namespace}", "--include-ibm")
    asked = bench.log("va")[before:]
    assert [one["path"].rpartition("/")[2] for one in asked] == ["images", "status"]
    assert all("includeIBM=true" in one["query"] for one in asked)
    assert not any("vulnerabilities" in one["query"] for one in asked)


def test_untagged_digests_are_listed_when_asked_for(bench: Bench, namespace: str) -> None:
    place = f"{bench.sandbox.registry}/{namespace}"
    tagged, _ = bench.push(f"{namespace}/app")
    digest = push_untagged(bench, f"{namespace}/late")
    assert [row["image"] for row in listing(bench, place)["images"]] == [tagged]
    rows = listing(bench, place, "--include-untagged")["images"]
    assert [row["image"] for row in rows] == [tagged, f"{place}/late@{digest}"]
    assert rows[1]["securityStatus"]["words"] == "Not assessed"
    assert listing(bench, f"{place}/late", "--include-untagged")["images"][0]["digest"] == digest


def test_nothing_is_no_pass(bench: Bench, namespace: str) -> None:
    registry = bench.sandbox.registry
    listing(bench, f"{registry}/{namespace}", code=3, reasons=("image-not-found",))
    push_untagged(bench, f"{namespace}/app")
    listing(bench, f"{registry}/{namespace}", code=3, reasons=("nothing-checked",))
    done = bench.imgsec("images", f"{registry}/{namespace}/app")
    assert "--include-untagged" in done.json["reasons"][0]["hint"]


@pytest.mark.once
def test_foreign_registry_takes_no_request_and_no_credential(bench: Bench) -> None:
    nothing: dict[str, str | None] = {"IMGSEC_API_KEY_FILE": None, "IMGSEC_IAM_URL": None}
    done = bench.imgsec("images", "docker.io/library", env=nothing).expect(3, "not-assessed")
    assert "listing" not in done.json


def test_credential_is_needed_for_a_registry_of_ibm(bench: Bench) -> None:
    nothing: dict[str, str | None] = {"IMGSEC_API_KEY_FILE": None}
    bench.imgsec("images", bench.sandbox.registry, env=nothing).expect(2, "missing-credential")


@pytest.mark.once
@pytest.mark.parametrize(
    "words", [(), ("team",), ("us.icr.io/team:1",), ("us.icr.io", "--by", "tag"), ("a.b", "c.d")]
)
def test_wrong_question_is_usage(bench: Bench, words: tuple[str, ...]) -> None:
    bench.imgsec("images", *words).expect(2, "invalid-option")


@pytest.mark.once
def test_another_account_is_told_which_role_it_takes(bench: Bench) -> None:
    file = bench.folder / "foreign"
    file.write_text(bench.sandbox.api_key("foreign"))
    done = bench.imgsec(
        *("images", bench.sandbox.registry), env={"IMGSEC_API_KEY_FILE": str(file)}
    ).expect(3, "permission-denied")
    assert "Reader or Manager" in done.json["reasons"][0]["text"]


@pytest.mark.once
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("500", "service-unreachable"),
        ("html", "answer-malformed"),
        ("malformed", "answer-malformed"),
    ],
)
def test_list_that_cannot_be_had_is_undecided(bench: Bench, kind: str, code: str) -> None:
    bench.fault("va", kind, path="/api/v1/images")
    assert listing(bench, bench.sandbox.registry, code=3, reasons=(code,)) is None


@pytest.mark.once
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("503", "service-unreachable"),
        ("html", "answer-malformed"),
        ("malformed", "answer-malformed"),
    ],
)
def test_list_without_statuses_is_shown_and_undecided(
    bench: Bench, namespace: str, kind: str, code: str
) -> None:
    bench.push(f"{namespace}/app")
    bench.fault("va", kind, path=ACCOUNT_STATUS)
    place = f"{bench.sandbox.registry}/{namespace}"
    found = listing(bench, place, code=3, reasons=(code,))
    assert statuses(found) == {"app": "No answer"}
    assert found["images"][0]["securityStatus"]["reason"] == code


def test_what_is_undecided_is_never_quiet(bench: Bench, namespace: str) -> None:
    bench.push(f"{namespace}/app")
    bench.fault("va", "html", path=ACCOUNT_STATUS)
    done = bench.imgsec.plain("images", f"{bench.sandbox.registry}/{namespace}", "--quiet")
    assert done.code == 3
    assert "No answer" in done.stdout
    assert "answer-malformed" in done.stdout


@pytest.mark.once
def test_status_of_one_image_may_be_missing(bench: Bench, namespace: str) -> None:
    bench.push(f"{namespace}/app")
    bench.push(f"{namespace}/late")
    bench.fault("va", "html", path=IMAGE_STATUS)
    place = f"{bench.sandbox.registry}/{namespace}"
    found = listing(bench, place, code=3, reasons=("answer-malformed",))
    assert statuses(found) == {"app": "No Issues", "late": "No answer"}
    groups = listing(bench, place, "--by", "namespace", code=3, reasons=("answer-malformed",))
    assert groups["groups"][0]["policyStatus"] == "Not assessed"


@pytest.mark.parametrize("kind", ["429", "500", "cut", "refuse", "expired-token"])
def test_passing_trouble_does_not_matter(bench: Bench, namespace: str, kind: str) -> None:
    bench.push(f"{namespace}/app")
    bench.fault("va", kind, count=1, retry_after=0)
    assert statuses(listing(bench, f"{bench.sandbox.registry}/{namespace}"))["app"] == "No Issues"


@pytest.mark.once
def test_digests_are_asked_for_again_although_by_a_post(bench: Bench, namespace: str) -> None:
    bench.push(f"{namespace}/app")
    bench.fault("va", "503", count=1, path="/images/digests")
    place = f"{bench.sandbox.registry}/{namespace}"
    assert len(listing(bench, place, "--include-untagged")["images"]) == 1


@pytest.mark.once
def test_time_limit_keeps_the_list(bench: Bench, namespace: str) -> None:
    for name in ("late-a", "late-b", "late-c", "late-d"):
        bench.push(f"{namespace}/{name}")
    bench.fault("va", "slow", delay=2.0, path=IMAGE_STATUS)
    place = f"{bench.sandbox.registry}/{namespace}"
    found = listing(bench, place, "--timeout", "6", code=3, reasons=("timeout",))
    words = list(statuses(found).values())
    assert words[0] == "Not assessed"
    assert words[-1] == "No answer"


def test_success_is_quiet_when_asked_and_markdown_goes_to_a_file(
    bench: Bench, namespace: str
) -> None:
    bench.push(f"{namespace}/app")
    file = bench.folder / "images.md"
    place = f"{bench.sandbox.registry}/{namespace}"
    done = bench.imgsec.plain("images", place, "-q", "--output", f"markdown={file}")
    assert (done.code, done.stdout, done.stderr) == (0, "", "")
    assert "| No Issues |" in file.read_text()


def test_switches_have_their_variables(bench: Bench, namespace: str) -> None:
    digest = push_untagged(bench, f"{namespace}/app")
    variables = {"IMGSEC_IMAGES_INCLUDE_UNTAGGED": "1", "IMGSEC_IMAGES_NO_TRUNC": "1"}
    place = f"{bench.sandbox.registry}/{namespace}"
    assert digest in bench.imgsec.plain("images", place, env=variables).stdout


@pytest.mark.once
def test_table_fits_the_terminal(bench: Bench, namespace: str) -> None:
    bench.push(f"{namespace}/{'long-name-' * 8}x")
    ours, theirs = pty.openpty()  # a real terminal
    words = bench.imgsec.argv("images", f"{bench.sandbox.registry}/{namespace}")
    variables = bench.imgsec.variables({"COLUMNS": "90"})
    with open(ours, "rb", buffering=0) as shown:  # noqa: PTH123 - a descriptor
        try:
            done = subprocess.run(
                words, env=variables, stdout=theirs, stderr=subprocess.PIPE, check=False, timeout=60
            )
            text = os.read(shown.fileno(), 65536).decode()
        finally:
            os.close(theirs)
    assert done.returncode == 0, done.stderr
    head, row, *_ = text.splitlines()
    assert max(len(head), len(row)) <= 90
    assert "No Issues" in row
