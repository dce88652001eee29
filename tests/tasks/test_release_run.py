# SPDX-License-Identifier: Apache-2.0
"""The committed Tasks and the Pipeline do their work: real imgsec, real skopeo and gpg, a sandbox.

The steps run as Tekton and Kubernetes would run them, in what bubblewrap makes of a restricted pod.
"""

from __future__ import annotations

import base64
import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from .conftest import Release
from .crd_schemas import schema_errors
from .pod import UID, can_confine
from .project_files import pipelines, tasks
from .step_runner import Outcome, PipelineOutcome, run_pipeline, run_task

pytestmark = pytest.mark.xdist_group("tekton-run")

HOSTILE = [
    "$(touch {marker})",
    "`touch {marker}`",
    "x; touch {marker} #",
    "'\"; touch {marker} #",
    "a\nb\n$(touch {marker})",
    "--help",
    "--key=kms://other",
    "$(params.key)",
    "$(IMGSEC_API_KEY_FILE)",
    "$$(HOME) {{{{ key }}}} %(x)s ${{HOME}}",
    "é\u2028☃",
    "",
]


# Who am I, and where may I write?
_LOOK_AROUND = """
id -u; grep CapEff /proc/self/status
for folder in / /tmp /var/tmp /imgsec /imgsec/api-key /imgsec/home /imgsec/run /dev/shm; do
  if [ -w $folder ]; then echo $folder; fi
done
"""


def released(release: Release, image: str, **more: str) -> PipelineOutcome:
    given: dict[str, str] = {
        **release.connection(),
        "image-url": release.image(image),
        "key": "kms://release",
        "repository": release.image("team/*"),
        "allow-unchecked": "registry.example.com/platform/* registry.k8s.io/*",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }
    pipeline = pipelines()["image-release"]
    return run_pipeline(pipeline, tasks(), given, release.cluster, release.workspaces)


@pytest.fixture(scope="module")
def clean(release: Release) -> PipelineOutcome:
    """A clean image, released once for several tests."""
    release.applied.unlink(missing_ok=True)
    return released(release, "team/app:1.0", verbose="true")


def signatures(release: Release, image: str) -> list[Any]:
    return signatures_of(release, image.partition(":")[0], release.digests[image])


def signatures_of(release: Release, name: str, digest: str) -> list[Any]:
    answer = requests.get(
        f"https://{release.sandbox.registry}/extensions/v2/{name}/signatures/{digest}",
        auth=("iamapikey", release.sandbox.api_key("manager")),
        verify=str(release.sandbox.folder.ca),
        timeout=30,
    )
    return list(answer.json()["signatures"]) if answer.ok else []


def outcomes(outcome: PipelineOutcome) -> dict[str, tuple[int, str]]:
    return {
        name: (stage.exit_code, stage.results.get("verdict", ""))
        for name, stage in outcome.stages.items()
    }


@pytest.mark.skipif(not can_confine(), reason="bubblewrap may not make namespaces here")
def test_a_step_gets_what_a_restricted_pod_has(release: Release) -> None:
    task = copy.deepcopy(tasks()["imgsec-sign-image"])
    (step,) = task["spec"]["steps"]
    step |= {"command": ["sh", "-c", _LOOK_AROUND], "args": []}
    outcome = run_task(task, {"image-url": "x", "key": "x"}, release.cluster)
    assert outcome.log.split() == [
        *(str(UID), "CapEff:", "0000000000000000"),
        *("/imgsec/home", "/imgsec/run", "/dev/shm"),
    ]


def test_set_up_writes_the_manifests_and_tells_the_key(release: Release) -> None:
    assert release.setup is not None
    assert release.setup.exit_code == 0, release.setup.log
    assert re.fullmatch(r"[0-9A-F]{40}", release.setup.results["fingerprint"])
    assert set(release.setup.results) == {"fingerprint", "key-id", "verdict"}
    written = sorted(path.name for path in release.workspaces["manifests"].iterdir())
    assert len(written) == 3, written
    policy = next(name for name in written if name.endswith(".clusterimagepolicy.yaml"))
    document = yaml.safe_load((release.workspaces["manifests"] / policy).read_bytes())
    assert schema_errors(document) == []
    names = {entry["name"] for entry in document["spec"]["repositories"]}
    assert {release.image("team/*"), release.image("other/*")} <= names


def test_a_clean_image_goes_through_all_stages(release: Release, clean: PipelineOutcome) -> None:
    assert clean.passed, "".join(stage.log for stage in clean.stages.values())
    stages = ["resolve", "scan-gate", "sign-image", "verify-image", "publish-policy"]
    assert outcomes(clean) == dict.fromkeys(stages, (0, "pass"))
    digest = release.digests["team/app:1.0"]
    assert release.setup is not None
    assert clean.results == {
        "image-url": f"{release.image('team/app:1.0')}@{digest}",
        "image-digest": digest,
        "scan-status": "OK",
        "fingerprint": release.setup.results["fingerprint"],
    }
    assert len(signatures(release, "team/app:1.0")) == 1
    applied = json.loads(release.applied.read_bytes())
    assert schema_errors(applied) == []
    assert applied["kind"] == "ClusterImagePolicy"


def test_every_stage_judges_the_digest_and_not_the_tag(
    release: Release, clean: PipelineOutcome
) -> None:
    canonical = f"{release.image('team/app:1.0')}@{release.digests['team/app:1.0']}"
    for name in ("scan-gate", "sign-image", "verify-image"):
        assert clean.stages[name].argv[-2:] == ["--", canonical]


def test_a_refused_image_stops_at_the_gate_and_stays_unsigned(release: Release) -> None:
    release.applied.unlink(missing_ok=True)
    outcome = released(release, "team/vulnerable-app:1.0")
    assert outcomes(outcome) == {"resolve": (0, "pass"), "scan-gate": (1, "refused")}
    assert outcome.stages["scan-gate"].results["scan-status"] == "FAIL"
    assert outcome.results == {}
    assert signatures(release, "team/vulnerable-app:1.0") == []
    assert not release.applied.exists()


def test_an_undecided_gate_stops_the_release_too(release: Release) -> None:
    release.applied.unlink(missing_ok=True)
    outcome = released(release, "team/strange-app:1.0")
    assert outcomes(outcome) == {"resolve": (0, "pass"), "scan-gate": (3, "undecided")}
    assert outcome.results == {}
    assert signatures(release, "team/strange-app:1.0") == []
    assert not release.applied.exists()


def test_no_repository_publishes_no_policy(release: Release) -> None:
    release.applied.unlink(missing_ok=True)
    pipeline = copy.deepcopy(pipelines()["image-release"])
    last = {**pipeline["spec"]["tasks"][-1], "runAfter": []}
    pipeline["spec"] |= {"tasks": [last], "results": []}
    given: dict[str, str] = {"image-url": "x", "key": "x", "repository": ""}
    outcome = run_pipeline(pipeline, tasks(), given, release.cluster)
    assert outcome.skipped == ["publish-policy"]
    assert not release.applied.exists()


def test_only_what_was_pushed_has_the_results_of_a_push(release: Release) -> None:
    image, target = release.image("team/app:1.0"), release.image("prod/app:1.0")
    hints = {"IMAGE_URL", "IMAGE_DIGEST"}
    signed = release.run("imgsec-sign-image", image_url=image, key="kms://release")
    assert signed.exit_code == 0, signed.log
    assert not hints & signed.results.keys()
    for pushed in (True, False):
        copied = release.run("imgsec-sign-image", image_url=image, key="kms://release", to=target)
        assert copied.exit_code == 0, copied.log
        assert (hints <= copied.results.keys()) is pushed
        assert copied.results["image-url"] == f"{target}@{copied.results['image-digest']}"
        if pushed:
            assert copied.results["IMAGE_URL"] == target
            assert copied.results["IMAGE_DIGEST"] == release.digests["team/app:1.0"]


def key_secret(release: Release) -> dict[str, bytes]:
    """The Secret that set-up wrote about the signing key."""
    path = release.workspaces["manifests"] / "portieris-keys.secret.yaml"
    data = yaml.safe_load(path.read_bytes())["data"]
    return {name: base64.b64decode(value) for name, value in data.items()}


def test_an_older_release_task_s_params_and_secrets_release_an_image(release: Release) -> None:
    api_key = release.sandbox.folder.api_key.read_bytes()
    older = release.with_secrets(
        {"ibmcloud-apikey": {"APIKEY": api_key}, "portieris-keys": key_secret(release)}
    )
    target = release.image("prod/older:1.0")
    connection = release.connection("iam-url", "account", "ca-file")
    document = tasks()["imgsec-image-release"]
    bound = {name: release.workspaces[name] for name in ("dockerconfig", "ca")}
    for image, code, verdict in (
        ("team/vulnerable-app:1.0", 1, "refused"),
        ("team/app:1.0", 0, "pass"),
    ):
        given = {**connection, "image-from": release.image(image), "image-to": target}
        outcome = run_task(document, given, older.cluster, bound)
        assert (outcome.exit_code, outcome.results["verdict"]) == (code, verdict), outcome.log
    digest = release.digests["team/app:1.0"]
    assert outcome.results["image-url"] == target
    assert outcome.results["image-reference"] == f"{target}@{digest}"
    assert (outcome.results["IMAGE_URL"], outcome.results["IMAGE_DIGEST"]) == (target, digest)
    again = run_task(document, given, older.cluster, bound)
    kept = {name: outcome.results[name] for name in ("image-url", "image-digest", "verdict")}
    assert {name: again.results.get(name) for name in kept} == kept
    assert "IMAGE_URL" not in again.results
    assert signatures_of(release, "prod/older", digest)  # and those that came along


def test_gate_file_and_ledger_come_from_their_workspace(release: Release, tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text("version: 1\nmode: warn\n")
    given = {"image_url": release.image("team/vulnerable-app:1.0")}
    gated = release.with_workspace("gate", tmp_path)
    assert gated.run("imgsec-scan-gate", **given).exit_code == 1
    outcome = gated.run("imgsec-scan-gate", gate="/imgsec/gate/gate.yaml", **given)
    assert outcome.exit_code == 0, outcome.log
    assert "Deploy with Caution" in outcome.log


def test_a_wrong_fingerprint_refuses_the_key(release: Release) -> None:
    image = release.image("team/vulnerable-app:1.0")
    outcome = release.run(
        "imgsec-sign-image", image_url=image, key="kms://release", fingerprint="AB" * 20
    )
    assert (outcome.exit_code, outcome.results["verdict"]) == (1, "refused")
    assert signatures(release, "team/vulnerable-app:1.0") == []


def test_a_trusted_profile_wins_over_an_api_key(release: Release) -> None:
    given = {
        "image_url": release.image("team/app:1.0"),
        "iam_profile": release.sandbox.identity.profile_id,
    }
    revoked = {"ibmcloud-apikey": {"APIKEY": b"a key that IAM does not know"}}
    for secrets in ({}, revoked):
        outcome = release.with_secrets(secrets).run("imgsec-scan-gate", **given)
        assert outcome.exit_code == 0, outcome.log


@pytest.mark.parametrize("name", ["config.json", ".dockerconfigjson"])
def test_a_secret_of_either_form_is_the_dockerconfig_workspace(
    release: Release, tmp_path: Path, name: str
) -> None:
    image = release.image("team/app:1.0")
    anonymous = release.with_workspace("dockerconfig", tmp_path)
    assert anonymous.run("imgsec-resolve", image_url=image).exit_code != 0
    (tmp_path / "..2026").mkdir()  # as the kubelet writes a Secret: every file is a link
    shutil.copy(release.sandbox.folder.auth_file, tmp_path / "..2026" / name)
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / name).symlink_to(f"..data/{name}")
    outcome = anonymous.run("imgsec-resolve", image_url=image)
    assert outcome.exit_code == 0, outcome.log
    assert outcome.results["image-digest"] == release.digests["team/app:1.0"]


def test_the_public_key_in_a_secret_verifies_without_any_credential_for_the_kms(
    release: Release, clean: PipelineOutcome
) -> None:
    name = "portieris-image-signing-public-key"
    manifest = yaml.safe_load(
        (release.workspaces["manifests"] / f"{name}.secret.yaml").read_bytes()
    )
    key = base64.b64decode(manifest["data"]["key"])
    outcome = release.with_secrets({name: {"key": key}}).run(
        "imgsec-verify-image",
        image_url=clean.results["image-url"],
        key="file:/imgsec/public-key/public-key",
    )
    assert outcome.exit_code == 0, outcome.log
    assert outcome.results["fingerprint"] == clean.results["fingerprint"]


def test_without_any_credential_the_gate_says_so(release: Release) -> None:
    image = release.image("team/app:1.0")
    outcome = release.with_secrets({}).run("imgsec-scan-gate", image_url=image)
    assert outcome.exit_code == 2, outcome.log
    assert "api-key" in outcome.log
    assert "Traceback" not in outcome.log


def test_a_report_goes_to_its_workspace(release: Release) -> None:
    outcome = release.run(
        "imgsec-scan-gate",
        image_url=release.image("team/vulnerable-app:1.0"),
        output="text json=/imgsec/reports/gate.json",
    )
    report = json.loads((release.workspaces["reports"] / "gate.json").read_bytes())
    assert outcome.exit_code == 1
    assert report["schemaVersion"] == 1


def words_of(task: str) -> int:
    """How many words the step's command line has, whatever the params say."""
    (step,) = tasks()[task]["spec"]["steps"]
    return len(step["command"]) + len(step["args"])


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_a_value_and_nothing_else(
    release: Release, tmp_path: Path, text: str
) -> None:
    marker = tmp_path / "marker"
    value = text.format(marker=marker)
    resolve = release.run("imgsec-resolve", image_url=value)
    publish = release.run(
        "imgsec-publish-policy", repository=value, namespace=value, allow_unchecked=value
    )
    for outcome in (resolve, publish):
        assert outcome.exit_code == 2, (outcome.argv, outcome.log)
        assert "Traceback" not in outcome.log
    assert len(resolve.argv) == words_of("imgsec-resolve")
    assert len(publish.argv) == words_of("imgsec-publish-policy")
    assert publish.argv[-1].startswith("--allow-unchecked=")
    assert not marker.exists()


@pytest.mark.parametrize(
    "value",
    [
        "icr.io/* --trust-host=evil.example.com",
        "icr.io/*\n--kubeconfig=/imgsec/home/mine",
        "--dry-run",
        "*",
        "icr.io/* $(IMGSEC_KEY_SECRET)",
    ],
)
def test_no_further_option_comes_in_through_the_unchecked_patterns(
    release: Release, value: str
) -> None:
    release.applied.unlink(missing_ok=True)
    outcome = release.run(
        "imgsec-publish-policy", repository=release.image("team/*"), allow_unchecked=value
    )
    assert (outcome.exit_code, outcome.results["verdict"]) == (2, "usage"), outcome.log
    assert len(outcome.argv) == words_of("imgsec-publish-policy")
    assert "invalid-pattern" in outcome.log
    assert not release.applied.exists()


def test_unchecked_patterns_are_separated_by_spaces_and_recorded(
    release: Release, clean: PipelineOutcome
) -> None:
    stage = clean.stages["publish-policy"]
    patterns = "registry.example.com/platform/* registry.k8s.io/*"
    assert stage.argv[-1] == f"--allow-unchecked={patterns}"
    for pattern in patterns.split():
        assert f"{pattern} may run unsigned" in stage.log


def test_no_secret_is_in_an_environment_an_argument_or_a_log(
    release: Release, clean: PipelineOutcome
) -> None:
    ran: list[Outcome] = list(clean.stages.values())
    secret = release.sandbox.folder.api_key.read_text()
    token = release.cluster.token.decode()
    assert len(ran) == 5
    for stage in ran:
        seen = [*stage.argv, *stage.environment.values(), stage.log]
        assert not any(secret in text or token in text for text in seen)
