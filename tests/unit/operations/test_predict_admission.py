# SPDX-License-Identifier: Apache-2.0
"""The engine's own order and its odd ways, as predictions have them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from imgsec.domain import engine_texts as texts
from imgsec.domain.admission import ContainerTrace, LayerOutcome, LayerTrace
from imgsec.domain.engines import CISE, ENGINES, NEWEST, Engine, Layer
from imgsec.domain.verdict import Note
from imgsec.domain.workload import OWNER_KINDS, read_workload
from imgsec.errors import ImgsecError
from imgsec.operations.image_evidence import Deployed
from imgsec.operations.simple_layer import as_open
from imgsec.reasons import (
    ADMISSION_OPEN,
    CHILD_DENIED,
    INPUT_MALFORMED,
    INSECURE_ADDRESS,
    INVALID_OPTION,
    PERMISSION_DENIED,
    SERVICE_UNREACHABLE,
    WEBHOOK_FAILS,
    Outcome,
)
from tests.support import Gpg, short_folder
from tests.unit.operations.admission_town import (
    ACCEPTS,
    CISE_API,
    IMAGE,
    NAMESPACE,
    REPOSITORY,
    SIGNED_BY,
    Town,
    deployment,
    is_denied,
    notes,
    open_town,
    payload,
    pod,
    pod_spec,
    policy,
    rule,
    signed,
)

OLDEST, OLD, SPLITS = (Engine.parse(text) for text in ("0.13.38", "0.14.1", "0.14.2"))
UNSIGNED = texts.denied("simple", texts.NO_SIGNATURE)
REJECTS = signed({"type": "reject"})
VA = {"ICCRVA": {"enabled": True}}


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


TRUST = {"enabled": True, "trustServer": "https://trust.example"}


def outcomes(trace: ContainerTrace) -> dict[Layer, LayerOutcome]:
    return {one.layer: one.outcome for one in trace.layers}


# --- What may not be read from here -------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        rule("*", simple=signed()),
        rule("*", simple=signed({"type": "insecureAcceptAnything"}, SIGNED_BY)),
        rule("*", simple=signed(storeURL="https://store.example", storeSecret="store")),
        rule("*", trust={**TRUST, "signerSecrets": [{"name": "bob"}]}),
    ],
)
@pytest.mark.parametrize("offline", [False, True])
def test_secret_that_may_not_be_read_leaves_the_layer_open(
    town: Town, asked: dict[str, Any], offline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: str) -> None:
        raise ImgsecError(PERMISSION_DENIED("secrets is forbidden"))

    monkeypatch.setattr(town, "find_secret", closed)
    town.policies = [policy(asked)]
    town.images.push(IMAGE)
    admission = town.predict(pod(IMAGE, imagePullSecrets=[{"name": "reg"}]), offline=offline)
    assert admission.verdict.outcome is Outcome.UNDECIDED
    assert "forbidden" in admission.verdict.reasons[-1].text


@pytest.mark.parametrize(("asked", "passes"), [({}, True), ({"simple": ACCEPTS}, False)])
def test_pull_secret_that_nobody_can_read_matters_where_one_is_needed(
    town: Town, asked: dict[str, Any], passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encrypted(*_: str) -> None:
        raise ImgsecError(INPUT_MALFORMED("the Secret is encrypted by SOPS"))

    monkeypatch.setattr(town, "find_secret", encrypted)
    town.policies = [policy(rule("*", **asked))]
    town.images.push(IMAGE)
    town.images.needs[REPOSITORY] = b"user:right"
    admission = town.predict(pod(IMAGE, imagePullSecrets=[{"name": "reg"}]))
    assert admission.verdict.passed is passes
    assert passes or "encrypted" in admission.verdict.reasons[-1].text
    told = [one.code for one in admission.hygiene]
    assert not {"no-pull-secrets", "pull-secret-unusable"} & set(told)


def test_other_trouble_with_a_secret_ends_the_run(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: str) -> None:
        raise ImgsecError(SERVICE_UNREACHABLE("no cluster"))

    monkeypatch.setattr(town, "find_secret", lost)
    town.policies = [policy(rule("*", simple=signed()))]
    with pytest.raises(ImgsecError):
        town.predict(pod(IMAGE))


def test_namespace_that_may_not_be_read_is_taken_for_sent(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_: str) -> None:
        raise ImgsecError(PERMISSION_DENIED("namespaces is forbidden"))

    monkeypatch.setattr(town, "find_namespace", closed)
    skips = {"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]}
    rules = [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]
    hook = {"name": "it", "namespaceSelector": skips, "rules": rules}
    town.webhooks = [{"metadata": {"name": "image-admission-config"}, "webhooks": [hook]}]
    assert is_denied(town.predict(pod("quay.io/a/b:1")))


def test_what_stood_in_is_told_of_images_that_were_asked_for(town: Town, signer: Signer) -> None:
    town.policies = [policy(rule("us.icr.io/*", simple=signed()), rule("quay.io/*"))]
    signer.push(town, IMAGE)
    town.limits = (Note("no-registry-asked", "a folder"),)
    assert "no-registry-asked" in notes(town.predict(pod(IMAGE)))
    assert "no-registry-asked" not in notes(town.predict(pod("quay.io/a/b:1")))
    assert "no-registry-asked" not in notes(town.predict(pod(IMAGE), offline=True))


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


def test_engine_says_nothing_where_nobody_was_asked(town: Town, signer: Signer) -> None:
    """What an engine says, if it is told the same, is known of answers alone."""
    digest = signer.push(town, IMAGE)
    town.policies = [policy(rule("*", simple=signed()))]
    why = ADMISSION_OPEN("the store is not asked", hint="Help it.")
    town.images.signatures[digest] = ImgsecError(why)
    (one,) = town.predict(pod(IMAGE)).containers
    assert (one.messages, one.open_reasons) == ((), (why,))
    town.images.signatures[digest] = ImgsecError(SERVICE_UNREACHABLE("it is away"))
    (one,) = town.predict(pod(IMAGE)).containers
    assert one.messages == ("simple: it is away",)


def test_address_of_a_policy_is_not_mended_by_an_option() -> None:
    for kind in (INSECURE_ADDRESS, INVALID_OPTION):
        why = as_open(kind("the trust server is not https"))
        assert why.code == "admission-open"
        assert "Let the policy name https://" in why.hint


def test_what_is_open_is_mended_as_its_reason_says(town: Town) -> None:
    town.policies = [policy(rule("*", simple=signed({"type": "insecureAcceptAnything"})))]
    town.images.manifests[IMAGE] = ImgsecError(SERVICE_UNREACHABLE("it is away"))
    hints = {one.hint for one in town.predict(pod(IMAGE)).verdict.reasons}
    assert hints == {SERVICE_UNREACHABLE.hint}


@pytest.mark.parametrize(
    "url", ["ftp://me:word@s.example", "me:word@s.example", "HTTPS://me:wo/rd@s.example/x"]
)
def test_password_in_an_odd_store_address_is_not_shown(town: Town, url: str) -> None:
    accepts = signed({"type": "insecureAcceptAnything"}, storeURL=url)
    town.policies = [policy(rule("*", simple=accepts))]
    (message,) = town.predict(pod(IMAGE)).messages
    assert message.startswith("expecting https:// or http:// URL, got: ")
    assert message.endswith(("...@s.example", "...@s.example/x"))


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
