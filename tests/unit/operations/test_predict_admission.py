# SPDX-License-Identifier: Apache-2.0
"""The engine's own order and its odd ways, as predictions have them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from imgsec.domain import engine_texts as texts
from imgsec.domain.admission import Admission, ContainerTrace, LayerOutcome, LayerTrace
from imgsec.domain.engines import CISE, ENGINES, NEWEST, Engine, Layer
from imgsec.domain.keys import SecretBytes
from imgsec.domain.pull_secrets import PullCredential
from imgsec.domain.workload import OWNER_KINDS, read_workload
from imgsec.errors import ImgsecError
from imgsec.operations.image_evidence import Deployed
from imgsec.reasons import CHILD_DENIED, SERVICE_UNREACHABLE, WEBHOOK_FAILS, Outcome
from tests.support import Gpg, short_folder
from tests.unit.operations.admission_town import (
    CISE_API,
    NAMESPACE,
    SIGNED_BY,
    Town,
    deployment,
    open_town,
    payload,
    pod,
    pod_spec,
    policy,
    rule,
    signed,
)

REPOSITORY = "us.icr.io/team/app"
IMAGE = f"{REPOSITORY}:1"
OLDEST, OLD, SPLITS = (Engine.parse(text) for text in ("0.13.38", "0.14.1", "0.14.2"))
UNSIGNED = texts.denied("simple", texts.NO_SIGNATURE)
ACCEPTS = signed({"type": "insecureAcceptAnything"})
REJECTS = signed({"type": "reject"})
VA = {"ICCRVA": {"enabled": True}}
HOOK = "trust.hooks.securityenforcement.admission.cloud.ibm.com"


class Signer:
    def __init__(self, gpg: Gpg) -> None:
        self._gpg = gpg
        self.key = gpg.make_key("good key")
        self.public = gpg.public("good key", armour=True)

    def push(self, town: Town, name: str, claims: str | None = None) -> str:
        """A signed image; gives its digest."""
        digest = town.images.push(name)
        town.images.push(name, self._gpg.sign(payload(claims or name, digest), self.key))
        return str(digest)


@pytest.fixture(scope="module")
def signer() -> Iterator[Signer]:
    with short_folder() as folder:
        home = folder / "h"
        home.mkdir(mode=0o700)
        yield Signer(Gpg(home))


@pytest.fixture
def town(signer: Signer) -> Iterator[Town]:
    with short_folder() as folder, open_town(folder) as opened:
        opened.secret("key", key=signer.public)
        yield opened


def outcomes(trace: ContainerTrace) -> dict[Layer, LayerOutcome]:
    return {one.layer: one.outcome for one in trace.layers}


def notes(admission: Admission) -> set[str]:
    return {note.code for note in admission.unchecked}


def is_denied(admission: Admission) -> bool:
    assert admission.verdict.outcome is not Outcome.UNDECIDED, admission.verdict
    return admission.verdict.outcome is Outcome.REFUSED


# --- How denials are filed ----------------------------------------------------------------------


def test_denial_is_forgotten_for_a_later_container_of_the_same_name(town: Town) -> None:
    town.policies = [policy(rule("docker.io/*"))]
    short, full = "nginx", "docker.io/library/nginx:latest"
    forgiven = town.predict(pod(short, full))
    assert forgiven.verdict.passed
    assert [one.is_forgotten for one in forgiven.containers] == [True, False]
    assert "denial-forgotten" in notes(forgiven)
    assert is_denied(town.predict(pod(full, short)))


def test_denial_of_another_type_is_not_forgotten(town: Town) -> None:
    town.policies = [policy(rule("docker.io/*"))]
    assert is_denied(town.predict(pod("docker.io/library/nginx:latest", init=["nginx"])))


def test_advisors_denial_of_an_image_by_digest_is_forgotten_once_it_is_signed(
    town: Town, signer: Signer
) -> None:
    town.policies = [policy(rule("*", simple=signed(), vulnerability=VA))]
    digest = signer.push(town, IMAGE)
    town.pull_secret("regcred", "us.icr.io", "iamapikey:right")
    town.advisor.says = "FAIL"
    login = {"imagePullSecrets": [{"name": "regcred"}]}
    assert is_denied(town.predict(pod(IMAGE, **login)))
    by_digest = town.predict(pod(f"{REPOSITORY}@{digest}", **login))
    assert by_digest.verdict.passed
    assert by_digest.containers[0].is_forgotten
    assert "denial-forgotten" in notes(by_digest)


def test_that_denial_is_open_while_nobody_knows_whether_it_is_signed(town: Town) -> None:
    town.policies = [policy(rule("*", simple=signed(), vulnerability=VA))]
    by_digest, by_tag = pod(f"quay.io/a/b@sha256:{'0' * 64}"), pod("quay.io/a/b:1")
    assert town.predict(by_digest, offline=True).verdict.outcome is Outcome.UNDECIDED
    assert town.predict(by_tag, offline=True).verdict.outcome is Outcome.REFUSED


def test_of_several_invalid_names_the_last_is_told(town: Town) -> None:
    town.policies = [policy(rule("*"))]
    admission = town.predict(pod("A B", "C D", init=["E F"]))
    assert admission.messages == (texts.invalid_image("E F"), texts.invalid_image("C D"))


def test_error_stops_the_containers_of_its_type_only(town: Town) -> None:
    town.policies = [policy(rule("*", simple=signed({"type": "signedBy"})))]
    admission = town.predict(pod(IMAGE, IMAGE, init=[IMAGE, IMAGE]))
    assert admission.messages == (texts.KEY_SECRET_MISSING,) * 2
    assert [one.is_reached for one in admission.containers] == [True, False, True, False]


def test_denials_before_an_error_are_told_with_it(town: Town) -> None:
    wants = rule("us.icr.io/*", simple=signed({"type": "signedBy"}))
    town.policies = [policy(wants)]
    admission = town.predict(pod("quay.io/a/b", IMAGE, "quay.io/a/c"))
    missing = texts.no_cluster_rule("quay.io/a/b", NAMESPACE)
    assert admission.messages == (missing, texts.KEY_SECRET_MISSING)


def test_denial_does_not_stop_the_next_container(town: Town) -> None:
    town.policies = [policy(rule("*", simple=signed()))]
    town.images.push(IMAGE)
    town.images.push(f"{REPOSITORY}:2")
    assert town.predict(pod(IMAGE, f"{REPOSITORY}:2")).messages == (UNSIGNED, UNSIGNED)


@pytest.mark.parametrize("image", ["", "  ", "\t\n", "\xa0"])
def test_blank_image_is_passed_over_and_told(town: Town, image: str) -> None:
    admission = town.predict(pod(image))
    assert admission.verdict.passed
    assert "blank-image" in notes(admission)


def test_what_go_takes_for_no_blank_is_an_invalid_name(town: Town) -> None:
    assert is_denied(town.predict(pod("\x1c")))


def test_init_containers_come_first_and_are_patched_where_they_are(town: Town) -> None:
    town.policies = [policy(rule("*", simple=ACCEPTS))]
    one, two = (town.images.push(f"{REPOSITORY}:{tag}") for tag in "12")
    admission = town.predict(pod(f"{REPOSITORY}:2", init=[IMAGE]))
    assert [(patch.path, patch.value) for patch in admission.patches] == [
        ("/spec/initContainers/0/image", f"{REPOSITORY}@{one}"),
        ("/spec/containers/0/image", f"{REPOSITORY}@{two}"),
    ]


def test_advisors_denial_is_recorded_while_signing_goes_on(town: Town) -> None:
    town.policies = [policy(rule("*", simple=signed(), vulnerability=VA))]
    town.images.push("quay.io/a/b:1")
    admission = town.predict(pod("quay.io/a/b:1"))
    assert admission.messages == (texts.advisor_foreign("quay.io/a/b:1"), UNSIGNED)


def test_one_denial_takes_all_patches_back(town: Town) -> None:
    town.policies = [policy(rule("us.icr.io/*", simple=ACCEPTS))]
    town.images.push(IMAGE)
    admission = town.predict(pod(IMAGE, "quay.io/a/b"))
    assert admission.patches == ()
    assert all(one.patch is None for one in admission.containers)


def test_mutate_image_false_checks_and_does_not_patch(town: Town) -> None:
    town.policies = [policy(rule("*", simple=ACCEPTS, mutateImage=False))]
    town.images.push(IMAGE)
    admission = town.predict(pod(IMAGE))
    assert admission.verdict.passed
    assert admission.patches == ()
    town.policies = [policy(rule("*", simple=REJECTS, mutateImage=False))]
    assert is_denied(town.predict(pod(IMAGE)))


def test_short_name_is_patched_with_its_full_repository(town: Town) -> None:
    town.policies = [policy(rule("nginx*", simple=ACCEPTS))]
    digest = town.images.push("docker.io/library/nginx:1")
    (patch,) = town.predict(pod("nginx:1")).patches
    assert patch.value == f"docker.io/library/nginx@{digest}"


def test_other_algorithms_break_the_webhook_unless_there_is_a_tag(town: Town) -> None:
    town.policies = [policy(rule("*"))]
    other = f"@sha512:{'0' * 128}"
    broken = town.predict(pod(f"{REPOSITORY}{other}"))
    assert [reason.code for reason in broken.verdict.reasons] == [WEBHOOK_FAILS.code]
    assert broken.messages == ()
    assert town.predict(pod(f"{REPOSITORY}:1{other}")).verdict.passed


@pytest.mark.parametrize(
    ("requirements", "is_met"),
    [
        (({"type": "insecureAcceptAnything"}, {"type": "reject"}), False),
        (({"type": "insecureAcceptAnything"}, SIGNED_BY), True),
        ((SIGNED_BY, SIGNED_BY), True),
        ((SIGNED_BY, {**SIGNED_BY, "signedIdentity": {"type": "matchExact"}}), False),
    ],
)
def test_every_requirement_must_be_met(
    town: Town, signer: Signer, requirements: Any, is_met: bool
) -> None:
    town.policies = [policy(rule("*", simple=signed(*requirements)))]
    digest = signer.push(town, IMAGE)
    assert is_denied(town.predict(pod(f"{REPOSITORY}@{digest}"))) is not is_met


def test_no_requirements_ask_for_nothing(town: Town) -> None:
    town.policies = [policy(rule("*", simple={"requirements": [], "storeURL": "odd"}))]
    admission = town.predict(pod(IMAGE))
    assert admission.verdict.passed
    assert {"image-unchecked", "added-later"} <= notes(admission)
    assert town.images.asked == []


# --- What is looked at at all -------------------------------------------------------------------

_APPS = ("apps/v1", "apps/v1beta2", "extensions/v1beta1")
READ = {
    "ReplicationController": ("v1",),
    "Deployment": (*_APPS, "apps/v1beta1"),
    "ReplicaSet": _APPS,
    "DaemonSet": _APPS,
    "StatefulSet": ("apps/v1", "apps/v1beta1", "apps/v1beta2"),
    "Job": ("batch/v1",),
}
APIS = ("v1", *_APPS, "apps/v1beta1", "batch/v1", "batch/v1beta1", "batch/v2alpha1", "x.dev/v1")


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("kind", READ)
def test_kinds_are_read_in_their_groups_and_versions_only(town: Town, kind: str, api: str) -> None:
    town.policies = [policy(rule("*", simple=ACCEPTS))]
    digest = town.images.push(IMAGE)
    admission = town.predict(deployment(IMAGE, kind=kind, api=api))
    group, _, version = api.rpartition("/")
    if api in READ[kind]:
        (patch,) = admission.patches
        assert patch.path == "/spec/template/spec/containers/0/image"
        assert patch.value == f"{REPOSITORY}@{digest}"
    else:
        said = texts.unsupported_resource(f"{group}/{version}/{kind.lower()}s")
        assert admission.messages == (said,)


@pytest.mark.parametrize("api", ["batch/v1", "batch/v1beta1", "batch/v2alpha1"])
def test_cronjobs_have_their_pod_further_down(town: Town, api: str) -> None:
    town.policies = [policy(rule("*", simple=ACCEPTS))]
    town.images.push(IMAGE)
    template = {"spec": {"template": {"spec": pod_spec(IMAGE)}}}
    document = {
        **{"apiVersion": api, "kind": "CronJob", "metadata": {"name": "nightly"}},
        "spec": {"schedule": "@daily", "jobTemplate": template},
    }
    admission = town.predict(document)
    if api == "batch/v2alpha1":
        assert is_denied(admission)
    else:
        path = "/spec/jobTemplate/spec/template/spec/containers/0/image"
        assert [patch.path for patch in admission.patches] == [path]


@pytest.mark.parametrize(
    ("kind", "api"),
    [("DeploymentConfig", "apps.openshift.io/v1"), ("Rollout", "argoproj.io/v1alpha1")],
)
def test_other_templates_are_judged_by_their_pods(town: Town, kind: str, api: str) -> None:
    admission = town.predict(deployment(IMAGE, kind=kind, api=api))
    assert admission.child is not None
    assert admission.child.messages == (texts.no_policies(IMAGE),)
    assert [reason.code for reason in admission.verdict.reasons] == [CHILD_DENIED.code]
    assert "kind-not-intercepted" in notes(admission)


@pytest.mark.parametrize("kind", sorted(OWNER_KINDS))
@pytest.mark.parametrize("engine", ENGINES, ids=str)
def test_owners_of_known_kinds_are_believed_up_to_0_14_2(
    town: Town, engine: Engine, kind: str
) -> None:
    document = pod(IMAGE)
    document["metadata"]["ownerReferences"] = [{"kind": kind, "name": "x"}]
    admission = town.predict(document, engine)
    assert is_denied(admission) is (engine in (NEWEST, CISE))
    assert ("owner-skipped" in notes(admission)) is (engine not in (NEWEST, CISE))


def test_owners_of_other_kinds_change_nothing(town: Town) -> None:
    document = pod(IMAGE)
    document["metadata"]["ownerReferences"] = [{"kind": "Widget", "name": "x"}]
    assert is_denied(town.predict(document, OLD))


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"])
def test_nothing_without_replicas_is_checked_up_to_0_13(town: Town, kind: str) -> None:
    asleep = deployment(IMAGE, kind=kind, replicas=0)
    skips = kind != "DaemonSet"
    admission = town.predict(asleep, OLDEST)
    assert is_denied(admission) is not skips
    assert ("no-replicas" in notes(admission)) is skips
    assert is_denied(town.predict(asleep, OLD))
    assert is_denied(town.predict(deployment(IMAGE, kind=kind), OLDEST))


@pytest.mark.parametrize("replicas", [None, 3])
def test_scaling_is_told_as_unchecked(town: Town, replicas: int | None) -> None:
    town.policies = [policy(rule("*"))]
    assert "scale" in notes(town.predict(deployment(IMAGE, replicas=replicas)))


def test_replicas_of_other_kinds_are_their_own_business(town: Town) -> None:
    town.policies = [policy(rule("*"))]
    odd = deployment(IMAGE, kind="Fleet", api="x.dev/v1", replicas={"min": 1})
    assert town.predict(odd).verdict.passed


def test_what_no_engine_looks_at_is_told(town: Town) -> None:
    town.policies = [policy(rule("us.icr.io/*"))]
    more = {
        "ephemeralContainers": [{"name": "d", "image": "quay.io/evil/one"}],
        "volumes": [{"name": "v", "image": {"reference": "quay.io/evil/two"}}, {"name": "w"}],
    }
    admission = town.predict(pod(IMAGE, **more))
    assert admission.verdict.passed
    said = " ".join(note.text for note in admission.unchecked if note.code == "image-unseen")
    assert "quay.io/evil/one" in said
    assert "quay.io/evil/two" in said


@pytest.mark.parametrize(
    "document",
    [
        pod(),
        deployment(),
        {**pod(IMAGE), "spec": None},
        {**pod(IMAGE), "spec": {"containers": None}},
        {**pod(IMAGE), "spec": {"containers": [IMAGE]}},
        {**pod(IMAGE), "spec": {"containers": [{"image": 1}]}},
        {**pod(IMAGE), "metadata": {"labels": ["a"]}},
        deployment(IMAGE, replicas="0"),
    ],
)
def test_what_no_cluster_takes_is_no_workload(town: Town, document: dict[str, Any]) -> None:
    town.policies = [policy(rule("*"))]
    with pytest.raises(ImgsecError) as caught:
        town.predict(document)
    assert caught.value.reason.code == "workload-malformed"


# --- Children -----------------------------------------------------------------------------------


def test_match_exact_refuses_the_mutated_child_from_0_14_3_on(town: Town, signer: Signer) -> None:
    exact = signed({**SIGNED_BY, "signedIdentity": {"type": "matchExact"}})
    town.policies = [policy(rule(f"{REPOSITORY}*", simple=exact))]
    signer.push(town, IMAGE)
    assert town.predict(deployment(IMAGE), SPLITS).verdict.passed
    admission = town.predict(deployment(IMAGE), NEWEST)
    assert [reason.code for reason in admission.verdict.reasons] == [CHILD_DENIED.code]
    assert admission.patches != ()
    assert admission.child is not None
    assert "is not accepted" in admission.child.messages[0]


def test_rule_for_a_tag_does_not_name_the_mutated_child(town: Town) -> None:
    town.policies = [policy(rule(f"{REPOSITORY}:*", simple=ACCEPTS))]
    town.images.push(IMAGE)
    admission = town.predict(deployment(IMAGE))
    assert admission.child is not None
    assert "no matching repositories" in admission.child.messages[0]
    assert town.predict(deployment(IMAGE), OLD).verdict.passed


# --- CISE ---------------------------------------------------------------------------------------


@dataclass
class Notary:
    """Stands in for Docker Content Trust: one image is signed, and the others are not."""

    signed: str

    def check(self, deployed: Deployed, *_: object) -> LayerTrace:
        if deployed.name.text == self.signed:
            digest = "a" * 64
            return LayerTrace(Layer.TRUST, LayerOutcome.PASSED, digest=digest)
        said = texts.cise_no_trust_data(f"No valid trust data for {deployed.name.tag}")
        return LayerTrace(Layer.TRUST, LayerOutcome.DENIED, said)


SIGNED, FOREIGN = "us.icr.io/team/signed:1", "quay.io/a/b:1"
NO_TRUST = "Deny, failed to get content trust information: No valid trust data for 1"


@pytest.mark.parametrize(
    ("trust", "va", "image", "says"),
    [
        (False, False, IMAGE, ""),
        (False, False, FOREIGN, ""),
        (False, True, IMAGE, texts.CISE_ADVISOR_DENIED),
        (False, True, SIGNED, texts.CISE_ADVISOR_DENIED),
        (False, True, FOREIGN, texts.CISE_ADVISOR_FOREIGN),
        (True, False, IMAGE, NO_TRUST),
        (True, False, SIGNED, ""),
        (True, True, IMAGE, NO_TRUST),
        (True, True, SIGNED, texts.CISE_ADVISOR_DENIED),
    ],
)
def test_four_combinations_of_cise(
    town: Town, trust: bool, va: bool, image: str, says: str
) -> None:
    """Every image has issues; one is signed. With both, trust is asked first."""
    asked = rule("*", trust={"enabled": trust}, va={"enabled": va})
    town.policies = [policy(asked, api=CISE_API)]
    town.trust = Notary(SIGNED)
    town.images.push(IMAGE)
    town.images.push(SIGNED)
    town.advisor.says = "FAIL"
    admission = town.predict(pod(image), CISE)
    assert admission.messages == ((says,) if says else ())
    assert is_denied(admission) is bool(says)
    is_reached = va and says != NO_TRUST and image != FOREIGN
    assert bool(town.advisor.asked) is is_reached


@pytest.mark.parametrize("va", [False, True])
def test_cise_judges_trust_first_and_does_not_reach_the_second(town: Town, va: bool) -> None:
    asked = rule("*", trust={"enabled": True}, va={"enabled": va})
    town.policies = [policy(asked, api=CISE_API)]
    town.images.push("quay.io/a/b:1")
    admission = town.predict(pod("quay.io/a/b:1"), CISE)
    assert admission.messages == (texts.CISE_TRUST_FOREIGN,)
    expected = LayerOutcome.NOT_REACHED if va else LayerOutcome.NOT_ASKED
    assert outcomes(admission.containers[0])[Layer.ADVISOR] is expected
    assert town.advisor.asked == []


def test_cise_knows_no_advisor_for_foreign_registries(town: Town) -> None:
    town.policies = [policy(rule("*", va={"enabled": True}), api=CISE_API)]
    assert town.predict(pod("quay.io/a/b"), CISE).messages == (texts.CISE_ADVISOR_FOREIGN,)


def test_cise_admits_the_deployment_and_denies_its_pods(town: Town) -> None:
    town.policies = []
    admission = town.predict(deployment(IMAGE), CISE)
    assert [reason.code for reason in admission.verdict.reasons] == [CHILD_DENIED.code]
    assert admission.child is not None
    assert admission.child.messages == (texts.cise_no_rule(IMAGE),)


# --- Pull secrets -------------------------------------------------------------------------------

LOGIN = {"imagePullSecrets": [{"name": "regcred"}]}
TAKEN = b"user:right"


def wants_login(town: Town, repository: str = REPOSITORY) -> str:
    """A private image, which may run once it can be read; gives its name."""
    town.policies = [policy(rule("*", simple=ACCEPTS))]
    town.images.push(f"{repository}:1")
    town.images.needs[repository] = TAKEN
    return f"{repository}:1"


def config(**entry: Any) -> str:
    return json.dumps({"auths": {"us.icr.io": entry}})


AUTH = base64.b64encode(TAKEN).decode()
OLDER = json.dumps({"us.icr.io": {"auth": AUTH}})


@pytest.mark.parametrize(
    ("data", "is_read"),
    [
        ({"_dockerconfigjson": config(auth=AUTH)}, True),
        ({"_dockerconfigjson": config(auth=AUTH.rstrip("="))}, True),
        ({"_dockerconfigjson": config(auth=f"{AUTH[:4]}\n{AUTH[4:]}")}, True),
        ({"_dockerconfigjson": config(username="user", password="right")}, True),
        ({"_dockerconfigjson": config(username="user", password="x", auth=AUTH)}, True),
        ({"_dockerconfigjson": config(username="user", password="right", auth="!!")}, True),
        ({"_dockerconfigjson": config(username="user", password="right", auth="bm8=")}, True),
        ({"_dockercfg": OLDER}, True),
        ({"_dockerconfigjson": config(auth=AUTH), "_dockercfg": "x"}, True),
        (
            {"_dockerconfigjson": "x", "_dockercfg": json.dumps({"us.icr.io": {"auth": AUTH}})},
            False,
        ),
        ({"_dockerconfigjson": OLDER}, False),
        ({"_dockerconfigjson": config(auth=AUTH, username=1)}, False),
        (
            {"_dockerconfigjson": json.dumps({"auths": {"us.icr.io": {"auth": AUTH}, "x": "y"}})},
            False,
        ),
        ({"_dockerconfigjson": "null"}, False),
        ({"_dockerconfigjson": '{"auths": []}'}, False),
        ({"_dockerconfigjson": json.dumps({"auths": {"us.icr.io": None}})}, False),
        ({"password": "right"}, False),
    ],
)
def test_pull_secret_is_read_as_the_engine_reads_it(
    town: Town, data: dict[str, str], is_read: bool
) -> None:
    name = wants_login(town)
    town.secret("regcred", **data)
    assert is_denied(town.predict(pod(name, **LOGIN))) is not is_read


@pytest.mark.parametrize(
    ("key", "image"),
    [
        ("us.icr.io:443", REPOSITORY),
        ("https://us.icr.io", REPOSITORY),
        ("us.icr.io/team", REPOSITORY),
        ("https://index.docker.io/v1/", "docker.io/library/nginx"),
        ("reg.example:5000", "reg.example:5000/app"),
    ],
)
def test_keys_that_are_no_bare_host_are_not_found(town: Town, key: str, image: str) -> None:
    name = wants_login(town, image)
    town.pull_secret("regcred", key, "user:right")
    admission = town.predict(pod(name, **LOGIN))
    assert admission.messages == (texts.failed("simple", texts.no_pull_secret(name, 0)),)
    (note,) = [note for note in admission.hygiene if note.code == "pull-secret-unusable"]
    assert key in note.text or image.startswith("docker.io")
    town.pull_secret("regcred", image.partition("/")[0].partition(":")[0], "user:right")
    assert town.predict(pod(name, **LOGIN)).verdict.passed


def test_key_of_a_pull_secret_is_shown_without_a_login_in_it(town: Town) -> None:
    name = wants_login(town)
    town.pull_secret("regcred", "https://user:canary@us.icr.io/v1?token=canary", "user:right")
    hygiene = town.predict(pod(name, **LOGIN)).hygiene
    (note,) = [note for note in hygiene if note.code == "pull-secret-unusable"]
    assert "us.icr.io" in note.text
    assert "canary" not in note.text


def test_each_pull_secret_is_tried_in_turn(town: Town) -> None:
    name = wants_login(town)
    town.pull_secret("wrong", "us.icr.io", "user:wrong")
    town.pull_secret("right", "us.icr.io", "user:right")
    names = [{"name": one} for one in ("missing", "wrong", "right")]
    assert town.predict(pod(name, imagePullSecrets=names)).verdict.passed
    said = town.predict(pod(name, imagePullSecrets=names[:2])).messages
    assert said == (f"simple: reading manifest 1 in {REPOSITORY}: unauthorized",)


@pytest.mark.parametrize("make", [pod, deployment])
def test_service_account_stands_in_where_the_pod_names_no_secret(town: Town, make: Any) -> None:
    name = wants_login(town)
    town.pull_secret("regcred", "us.icr.io", "user:right")
    town.account("default", "regcred")
    assert town.predict(make(name)).verdict.passed
    other = {"serviceAccountName": "builder", "imagePullSecrets": []}
    document = make(name)
    inner = document["spec"] if make is pod else document["spec"]["template"]["spec"]
    inner |= other
    assert is_denied(town.predict(document))
    town.account("builder", "regcred")
    assert town.predict(document).verdict.passed
    inner |= {"imagePullSecrets": [{"name": "absent"}]}
    assert is_denied(town.predict(document))


def test_pod_of_a_request_has_its_secrets_already(town: Town) -> None:
    name = wants_login(town)
    town.pull_secret("regcred", "us.icr.io", "user:right")
    town.account("default", "regcred")
    assert is_denied(town.predict(pod(name), request=("v1", "pods")))
    asked = ("apps/v1", "deployments")
    assert town.predict(deployment(name), request=asked).verdict.passed


@pytest.mark.parametrize("listed", [5, "regcred", {"name": "regcred"}])
def test_odd_service_account_is_an_error_and_no_crash(town: Town, listed: Any) -> None:
    name = wants_login(town)
    town.objects["ServiceAccount", NAMESPACE, "default"] = {"imagePullSecrets": listed}
    with pytest.raises(ImgsecError):
        town.predict(pod(name))


def test_pull_secret_of_another_namespace_is_not_found(town: Town) -> None:
    name = wants_login(town)
    town.pull_secret("regcred", "us.icr.io", "user:right", namespace="default")
    assert is_denied(town.predict(pod(name, **LOGIN)))


def test_assumed_credential_stands_in(town: Town) -> None:
    name = wants_login(town)
    admission = town.predict(
        pod(name), assume=lambda _: PullCredential("own", "us.icr.io", SecretBytes(TAKEN))
    )
    assert admission.verdict.passed


def test_assumed_credential_does_not_mend_a_secret_that_was_given(town: Town) -> None:
    name = wants_login(town)

    def assume(_: object) -> PullCredential:
        return PullCredential("own", "us.icr.io", SecretBytes(TAKEN))

    absent = pod(name, **LOGIN)
    assert town.predict(absent, assume=assume).verdict.passed
    town.pull_secret("regcred", "us.icr.io:443", "user:right")
    assert is_denied(town.predict(absent, assume=assume))
    town.account("default")
    assert is_denied(town.predict(pod(name), assume=assume))


def test_stores_of_one_address_are_told_apart_by_who_asks(town: Town, signer: Signer) -> None:
    """One look-up is not shared with a user who may not be given it."""
    digest = town.images.push(IMAGE)
    town.images.stores["https://s.example"] = {str(digest): []}
    first = signed(storeURL="https://s.example", storeSecret="one")
    second = signed(storeURL="https://s.example", storeSecret="two")
    town.policies = [policy(rule(IMAGE, simple=first), rule(f"{REPOSITORY}:2", simple=second))]
    town.images.manifests[f"{REPOSITORY}:2"] = digest
    town.secret("one", username="a", password="b")
    town.secret("two", username="c", password="d")
    town.predict(pod(IMAGE, f"{REPOSITORY}:2"))
    assert len([one for one in town.images.asked if one.startswith("signatures")]) == 2


# --- The registration ---------------------------------------------------------------------------


def webhook(**changes: Any) -> dict[str, Any]:
    every = {"operations": ["CREATE", "UPDATE"], "apiGroups": ["*"], "apiVersions": ["*"]}
    one = {
        **{"name": HOOK, "failurePolicy": "Fail", "clientConfig": {}},
        "rules": [{**every, "resources": ["pods", "deployments"]}],
        **changes,
    }
    return {"metadata": {"name": "image-admission-config"}, "webhooks": [one]}


def namespace(town: Town, **labels: str) -> None:
    town.objects["Namespace", "", NAMESPACE] = {"metadata": {"labels": labels}}


NOT_SKIPPED = {"matchExpressions": [{"key": "skip", "operator": "NotIn", "values": ["yes"]}]}


def test_namespace_selector_leaves_out_what_it_says(town: Town) -> None:
    town.webhooks = [webhook(namespaceSelector=NOT_SKIPPED)]
    namespace(town, skip="yes")
    admission = town.predict(pod(IMAGE))
    assert admission.verdict.passed
    assert "namespace-skipped" in notes(admission)
    namespace(town)
    assert is_denied(town.predict(pod(IMAGE)))


def test_namespace_that_nobody_told_of_is_taken_for_sent(town: Town) -> None:
    town.webhooks = [webhook(namespaceSelector={"matchLabels": {"enforce": "yes"}})]
    assert is_denied(town.predict(pod(IMAGE)))
    own = {"matchLabels": {"kubernetes.io/metadata.name": "other"}}
    town.webhooks = [webhook(namespaceSelector=own)]
    assert town.predict(pod(IMAGE)).verdict.passed


def test_object_selector_looks_at_each_object_by_itself(town: Town) -> None:
    town.webhooks = [webhook(objectSelector=NOT_SKIPPED)]
    skipped = {"labels": {"skip": "yes"}}
    assert town.predict({**pod(IMAGE), "metadata": skipped}).verdict.passed
    outer = town.predict(deployment(IMAGE, metadata=skipped))
    assert [reason.code for reason in outer.verdict.reasons] == [CHILD_DENIED.code]
    both = town.predict(deployment(IMAGE, metadata=skipped, template_metadata=skipped))
    assert both.verdict.passed
    assert "object-skipped" in notes(both)


def test_what_is_not_registered_is_judged_by_its_pods(town: Town) -> None:
    town.webhooks = [webhook()]
    admission = town.predict(deployment(IMAGE, kind="DaemonSet"))
    assert [reason.code for reason in admission.verdict.reasons] == [CHILD_DENIED.code]
    assert "kind-not-registered" in notes(admission)


@pytest.mark.parametrize("resources", [["*"], ["*/*"], ["pods"]])
def test_resources_may_be_all(town: Town, resources: list[str]) -> None:
    hook = webhook()
    hook["webhooks"][0]["rules"][0]["resources"] = resources
    town.webhooks = [hook]
    assert is_denied(town.predict(pod(IMAGE)))


def test_other_versions_are_converted_unless_the_match_is_exact(town: Town) -> None:
    hook = webhook()
    hook["webhooks"][0]["rules"][0] |= {"apiGroups": ["apps"], "apiVersions": ["v1"]}
    town.webhooks = [hook]
    old = deployment(IMAGE, api="apps/v1beta1")
    assert is_denied(town.predict(old))
    hook["webhooks"][0]["matchPolicy"] = "Exact"
    assert "kind-not-registered" in notes(town.predict(old))


def test_failure_policy_and_conditions_are_told(town: Town) -> None:
    town.policies = [policy(rule("*"))]
    town.webhooks = [webhook(failurePolicy="Ignore", matchConditions=[{"name": "x"}])]
    assert {"failure-policy-ignore", "match-conditions"} <= notes(town.predict(pod(IMAGE)))
    broken = town.predict(pod(f"{REPOSITORY}@sha512:{'0' * 128}"))
    assert "admitted unseen" in broken.verdict.reasons[0].text
    assert not broken.verdict.passed


def test_updates_that_are_not_sent_are_told(town: Town) -> None:
    town.policies = [policy(rule("*"))]
    hook = webhook()
    hook["webhooks"][0]["rules"][0]["operations"] = ["CREATE"]
    town.webhooks = [hook]
    assert "updates-unseen" in notes(town.predict(pod(IMAGE)))


def test_request_was_sent_whatever_the_registration_says(town: Town) -> None:
    town.webhooks = [webhook(objectSelector={"matchLabels": {"never": "there"}})]
    assert is_denied(town.predict(pod(IMAGE), request=("v1", "pods")))


@pytest.mark.parametrize(
    "odd",
    [
        {"metadata": {"name": "image-admission-config"}, "webhooks": 1},
        webhook(rules=3),
        webhook(rules=[{"resources": "pods"}]),
        webhook(objectSelector={"matchExpressions": {"key": "a"}}),
        webhook(objectSelector={"matchExpressions": [{"key": "a", "operator": "Likes"}]}),
        webhook(clientConfig="x"),
    ],
)
def test_odd_registration_is_not_guessed_at(town: Town, odd: dict[str, Any]) -> None:
    town.webhooks = [odd]
    with pytest.raises(ValueError, match=r"registration|operator"):
        town.predict(pod(IMAGE))


def test_reserved_namespace_is_not_judged_and_told(town: Town) -> None:
    admission = town.predict(pod(IMAGE), reserved=frozenset([NAMESPACE]))
    assert admission.verdict.passed
    assert "namespace-reserved" in notes(admission)
    assert not admission.containers[0].is_reached


# --- What cannot be told ------------------------------------------------------------------------


def test_offline_judges_what_needs_nobody_and_leaves_the_rest_open(town: Town) -> None:
    town.policies = [policy(rule("us.icr.io/*", simple=signed()))]
    assert town.predict(pod(IMAGE), offline=True).verdict.outcome is Outcome.UNDECIDED
    assert is_denied(town.predict(pod("quay.io/a/b"), offline=True))
    town.objects.clear()
    assert is_denied(town.predict(pod(IMAGE), offline=True))
    assert town.images.asked == []


def test_gpg_that_fails_is_no_answer(town: Town, signer: Signer) -> None:
    town.policies = [policy(rule("*", simple=signed()))]
    signer.push(town, IMAGE)
    make = town.new_keyring

    def broken() -> Any:
        keyring = make()

        def fail(*_: object) -> Any:
            raise ImgsecError(SERVICE_UNREACHABLE("gpg ended in 2"))

        keyring.inspect_public_keys = fail  # type: ignore[method-assign]
        return keyring

    town.new_keyring = broken
    assert town.predict(pod(IMAGE)).verdict.outcome is Outcome.UNDECIDED


def test_look_ups_are_shared_by_digest(town: Town, signer: Signer) -> None:
    town.policies = [policy(rule("*", simple=signed()))]
    names = [f"us.icr.io/team/app{at}:1" for at in range(5)]
    for name in names:
        signer.push(town, name)
    predictor = town.predictor()
    for _ in range(8):
        workload = read_workload(deployment(*names), namespace=NAMESPACE)
        assert workload is not None
        assert predictor.predict(workload).verdict.passed
    asked = town.images.asked
    assert len([one for one in asked if one.startswith("signatures")]) == 5
    assert len(asked) == len(set(asked))
