# SPDX-License-Identifier: Apache-2.0
"""The doctor looks at everything, changes nothing, and gives nothing away."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Bench, SigningKey
from tests.support import Ended


def states(done: Ended) -> dict[str, str]:
    return {check["name"]: check["outcome"] for check in done.json["checks"]}


def test_all_is_well_for_signing_and_gating(bench: Bench, key: SigningKey) -> None:
    name, digest = bench.push(bench.repository())
    before = (bench.log("kms"), bench.log("registry"))
    done = bench.imgsec("doctor", name, "--for", "sign", "--for", "gate", "--key", key.alias)
    done.expect(0)
    assert list(states(done)) == [
        *("gpg", "gpgv", "gpg-agent", "gpg-connect-agent", "private directory"),
        *("credential", "IAM"),
        *("KMS", "signing key", "registry", "advisor"),
    ]
    assert set(states(done).values()) == {"pass"}
    found = {check["name"]: check["found"] for check in done.json["checks"]}
    assert key.fingerprint in found["signing key"]
    assert digest in found["registry"]
    assert str(bench.private) in found["private directory"]
    methods = {
        request["method"]
        for service, seen in zip(("kms", "registry"), before, strict=True)
        for request in bench.log(service)[len(seen) :]
    }
    assert methods <= {"GET", "HEAD"}
    secrets = [bench.sandbox.api_key("manager"), bench.sandbox.api_key("writer"), "eyJ"]
    assert not [one for one in secrets if one in done.stdout + done.stderr]
    text = bench.imgsec.plain("doctor", "--for", "gate")
    assert all(line.startswith("ok: ") for line in text.stdout.splitlines())
    assert bench.leftovers() == []


@pytest.mark.once
@pytest.mark.parametrize(
    ("service", "name"),
    [("iam", "IAM"), ("kms", "KMS"), ("registry", "registry"), ("va", "advisor")],
)
def test_service_that_is_away_is_one_problem_beside_the_rest(
    bench: Bench, service: str, name: str
) -> None:
    image, _ = bench.push(bench.repository())
    bench.fault(service, "500")
    done = bench.imgsec("doctor", image, "--for", "sign", "--for", "gate")
    done.expect(3, "service-unreachable")
    assert states(done)[name] == "undecided"
    assert states(done)["gpg"] == "pass"


@pytest.mark.once
def test_tools_that_copy_and_push_are_looked_for_where_they_are_asked_for(bench: Bench) -> None:
    done = bench.imgsec("doctor", "--for", "copy", "--for", "push").expect(0)
    assert list(states(done)) == ["skopeo", "buildah"]
    tools = bench.folder / "old"
    tools.mkdir()
    (tools / "buildah").write_text("#!/bin/sh\necho 'buildah version 1.22.0 (image-spec 1.0.1)'\n")
    (tools / "buildah").chmod(0o755)
    done = bench.imgsec("doctor", "--for", "push", "--tools-dir", tools)
    done.expect(3, "tool-outdated")


def test_missing_and_outdated_tools_are_named(bench: Bench) -> None:
    tools = bench.folder / "tools"
    tools.mkdir()
    for name, line in (
        ("gpg-agent", "gpg-agent (GnuPG) 2.1.0"),
        ("gpgv", "gpgv (GnuPG) 2.2.40"),
    ):
        (tools / name).write_text(f"#!/bin/sh\necho '{line}'\n")
        (tools / name).chmod(0o755)
    (tools / "gpg").write_text("#!/bin/sh\nexit 4\n")
    (tools / "gpg").chmod(0o755)
    done = bench.imgsec("doctor", "--for", "sign", "--tools-dir", tools)
    done.expect(3, "tool-outdated", "tool-failed")
    found = states(done)
    assert (found["gpg-agent"], found["gpg"], found["gpgv"]) == ("undecided", "undecided", "pass")


@pytest.mark.once
def test_key_that_is_not_there_and_role_that_is_missing_are_problems(
    bench: Bench, key: SigningKey
) -> None:
    done = bench.imgsec("doctor", "--for", "sign", "--key", "nothing-here")
    done.expect(3, "key-not-found")
    file = bench.folder / "api-key"
    file.write_text(bench.sandbox.api_key("reader"))
    environment: dict[str, str | None] = {"IMGSEC_API_KEY_FILE": str(file)}
    done = bench.imgsec("doctor", "--for", "sign", "--key", key.alias, env=environment)
    assert done.code == 3
    assert states(done)["KMS"] == "pass"  # listing takes less
    assert states(done)["signing key"] == "undecided"
    (problem,) = [one for one in done.json["checks"] if one["outcome"] != "pass"]
    assert "ReaderPlus" in problem["reasons"][0]["hint"]


@pytest.mark.once
def test_without_credential_or_cluster_each_says_what_to_do(bench: Bench) -> None:
    environment = {"IMGSEC_API_KEY_FILE": None, "KUBECONFIG": "/nowhere"}
    done = bench.imgsec("doctor", env=environment)
    done.expect(2, "missing-credential", "cluster-unreachable")
    found = states(done)
    assert found["credential"] == "usage"
    assert found["cluster"] == "undecided"
    assert all(check["reasons"][0]["hint"] for check in done.json["checks"] if check["reasons"])


@pytest.mark.once
def test_credential_is_told_by_where_it_came_from(bench: Bench, tmp_path: Path) -> None:
    def credential(env: dict[str, str | None]) -> str:
        done = bench.imgsec("doctor", "--for", "gate", env=env)
        checks = {check["name"]: check["found"] for check in done.json["checks"]}
        return str(checks["credential"])

    given = bench.sandbox.api_key("manager")
    in_environment = {"IMGSEC_API_KEY_FILE": None, "IBM_CLOUD_APIKEY": given}
    assert credential(in_environment) == "API key from the environment"
    (tmp_path / "k").write_text(given)
    assert credential({"IMGSEC_API_KEY_FILE": str(tmp_path / "k")}) == f"API key from {tmp_path}/k"
    assert credential({"IMGSEC_IAM_PROFILE": "release"}) == "trusted profile release"
