# SPDX-License-Identifier: Apache-2.0
"""Whatever goes wrong in whichever world, nothing is admitted that nobody could judge."""

from __future__ import annotations

import base64
import copy
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgsec.domain.admission import Admission
from imgsec.domain.admission_review import BadReview, ReviewAnswer, ReviewRequest
from imgsec.domain.engine_name import EngineName, Panic
from imgsec.domain.engines import ENGINES, Engine
from imgsec.domain.keys import Fingerprint, PublicKey
from imgsec.domain.object_lists import list_flaw
from imgsec.domain.policy_rules import Policy
from imgsec.domain.pull_secrets import read_pull_secret
from imgsec.domain.signature import OpenPGPMessage
from imgsec.domain.webhook import Webhook
from imgsec.domain.workload import read_workload
from imgsec.errors import ImgsecError
from imgsec.reasons import (
    ANSWER_MALFORMED,
    CREDENTIAL_REJECTED,
    DIGEST_MISMATCH,
    IMAGE_NOT_FOUND,
    INSECURE_ADDRESS,
    KEY_MALFORMED,
    MISSING_CREDENTIAL,
    NOT_ASSESSED,
    PERMISSION_DENIED,
    RATE_LIMITED,
    REDIRECT_REFUSED,
    SERVICE_UNREACHABLE,
    SIGNATURE_INVALID,
    SIGNATURE_STORE_MISSING,
    SIGNATURE_UNTRUSTED,
    TIMEOUT,
    TOO_MANY_SIGNATURES,
    TOOL_FAILED,
    TOOL_MISSING,
    Reason,
)
from tests.unit.operations.admission_town import (
    CISE_API,
    NAMESPACE,
    SIGNED_BY,
    Images,
    Town,
    deployment,
    digest_of,
    payload,
    pod,
    policy,
    rule,
    signed,
)
from tests.unit.operations.fakes import NOW, SIGNER, public_key
from tests.unit.refusals import refused

BLOCK = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"
LOGIN = {"imagePullSecrets": [{"name": "regcred"}]}
PORTIERIS = [engine for engine in ENGINES if not engine.is_cise]
KINDS = (
    *(ANSWER_MALFORMED, CREDENTIAL_REJECTED, DIGEST_MISMATCH, IMAGE_NOT_FOUND, INSECURE_ADDRESS),
    *(MISSING_CREDENTIAL, NOT_ASSESSED, PERMISSION_DENIED, RATE_LIMITED, REDIRECT_REFUSED),
    *(SERVICE_UNREACHABLE, SIGNATURE_STORE_MISSING, TIMEOUT, TOO_MANY_SIGNATURES, TOOL_FAILED),
    *(TOOL_MISSING, SIGNATURE_INVALID, KEY_MALFORMED),
)
errors = st.sampled_from(KINDS).map(lambda kind: ImgsecError(kind("it went wrong")))
SIGNATURE = b"\x90 signed: "


@dataclass
class Keyring:
    """Believes every signature, or fails. fails: the name of the method, and with what."""

    fails: dict[str, ImgsecError | Reason] = field(default_factory=dict)

    def inspect_public_keys(self, _: bytes) -> tuple[PublicKey, ...]:
        self._fail("inspect")
        return (public_key(SIGNER),)

    def import_public_keys(self, content: bytes) -> tuple[PublicKey, ...]:
        self._fail("import")
        return self.inspect_public_keys(content)

    def open_message(self, message: bytes, _: list[Fingerprint]) -> OpenPGPMessage | Reason:
        found = self.fails.get("open")
        if isinstance(found, Reason):
            return found
        self._fail("open")
        return OpenPGPMessage(message.removeprefix(SIGNATURE), SIGNER, NOW, SIGNER)

    def _fail(self, method: str) -> None:
        error = self.fails.get(method)
        if isinstance(error, ImgsecError):
            raise error


@dataclass(frozen=True)
class World:
    """Pods of signed images, and the place where something goes wrong."""

    engine: Engine
    images: tuple[str, ...]
    init: tuple[str, ...]
    by_digest: bool
    is_template: bool
    asks_advisor: bool
    mutates: bool

    def town(self, keyring: Keyring) -> Town:
        town = Town(lambda: keyring)  # type: ignore[arg-type, return-value]
        more: dict[str, Any] = {"mutateImage": self.mutates}
        if self.asks_advisor:
            more["vulnerability"] = {"ICCRVA": {"enabled": True}}
        town.policies = [policy(rule("*", simple=signed(), **more))]
        town.secret("key", key=BLOCK)
        town.pull_secret("regcred", "us.icr.io", "iamapikey:key")
        for name in {*self.images, *self.init}:
            town.images.push(name, SIGNATURE + payload(name, digest_of(name)))
        return town

    def workload(self) -> dict[str, Any]:
        def written(name: str) -> str:
            return f"{name.rpartition(':')[0]}@{digest_of(name)}" if self.by_digest else name

        images, init = map(written, self.images), list(map(written, self.init))
        if self.is_template:
            document: dict[str, Any] = deployment(*images, pod=LOGIN)
            document["spec"]["template"]["spec"] |= pod(init=init, **LOGIN)["spec"] | {
                "containers": document["spec"]["template"]["spec"]["containers"]
            }
            return document
        return pod(*images, init=init, **LOGIN)


names = st.sampled_from([f"us.icr.io/team/app{at}:1" for at in range(4)])
worlds = st.builds(
    World,
    engine=st.sampled_from(PORTIERIS),
    images=st.lists(names, min_size=1, max_size=4).map(tuple),
    init=st.lists(names, max_size=2).map(tuple),
    by_digest=st.booleans(),
    is_template=st.booleans(),
    asks_advisor=st.booleans(),
    mutates=st.booleans(),
)


def is_allowed(admission: Admission) -> bool:
    request = ReviewRequest("admission.k8s.io/v1", "u", "CREATE", NAMESPACE, "v1", "pods", {})
    answer = ReviewAnswer.of(request, admission).document()["response"]
    assert answer["allowed"] is admission.verdict.passed
    assert answer["allowed"] or "patch" not in answer
    return bool(answer["allowed"])


@given(worlds)
def test_sound_world_admits(world: World) -> None:
    """Else what follows would prove nothing."""
    assert is_allowed(world.town(Keyring()).predict(world.workload(), world.engine))


@given(worlds, errors, st.sampled_from(["manifest", "signatures"]), st.data())
def test_registrys_error_admits_nothing(
    world: World, error: ImgsecError, where: str, data: st.DataObject
) -> None:
    town = world.town(Keyring())
    name = data.draw(st.sampled_from((*world.images, *world.init)))
    _break(town.images, name, error, where)
    assert not is_allowed(town.predict(world.workload(), world.engine))


def _break(images: Images, name: str, error: ImgsecError, where: str) -> None:
    digest = digest_of(name)
    if where == "signatures":
        images.signatures[str(digest)] = error
        return
    images.manifests[name] = error
    images.manifests[f"{name.rpartition(':')[0]}@{digest}"] = error


@given(worlds, errors, st.sampled_from(["inspect", "import", "open"]))
def test_gpg_that_fails_admits_nothing(world: World, error: ImgsecError, method: str) -> None:
    town = world.town(Keyring({method: error}))
    assert not is_allowed(town.predict(world.workload(), world.engine))


@given(worlds, st.sampled_from([SIGNATURE_INVALID, SIGNATURE_UNTRUSTED]))
def test_signature_that_gpg_refuses_admits_nothing(world: World, kind: Any) -> None:
    town = world.town(Keyring({"open": kind("no")}))
    assert not is_allowed(town.predict(world.workload(), world.engine))


@given(worlds, st.booleans())
def test_missing_key_secret_admits_nothing(world: World, is_emptied: bool) -> None:
    town = world.town(Keyring())
    if is_emptied:
        town.secret("key")
    else:
        del town.objects["Secret", NAMESPACE, "key"]
    assert not is_allowed(town.predict(world.workload(), world.engine))


@given(worlds, errors)
def test_advisors_error_admits_nothing(world: World, error: ImgsecError) -> None:
    town = world.town(Keyring())
    town.policies = [
        policy(rule("*", simple=signed(), vulnerability={"ICCRVA": {"enabled": True}}))
    ]
    town.advisor.says = error
    assert not is_allowed(town.predict(world.workload(), world.engine))


@given(errors, st.booleans())
def test_error_admits_nothing_by_cise(error: ImgsecError, at_registry: bool) -> None:
    town = Town(Keyring)  # type: ignore[arg-type, return-value]
    town.policies = [policy(rule("*", va={"enabled": True}), api=CISE_API)]
    name = "us.icr.io/team/app:1"
    town.images.push(name)
    if at_registry:
        town.images.manifests[name] = error
    else:
        town.advisor.says = error
    assert not is_allowed(town.predict(pod(name), ENGINES[0]))


@given(worlds)
def test_offline_admits_nothing_that_is_to_be_checked(world: World) -> None:
    predicted = world.town(Keyring()).predict(world.workload(), world.engine, offline=True)
    assert not is_allowed(predicted)


FULL = policy(
    rule(
        "icr.io/*",
        simple=signed(
            {**SIGNED_BY, "signedIdentity": {"type": "matchRepository"}}, storeURL="https://s"
        ),
        trust={"enabled": True, "signerSecrets": [{"name": "s"}]},
        vulnerability={"ICCRVA": {"enabled": True, "account": "a"}},
        mutateImage=True,
    )
)


def _objects_in(value: Any) -> list[dict[str, Any]]:
    found = []
    if isinstance(value, dict):
        found = [value, *(one for member in value.values() for one in _objects_in(member))]
    elif isinstance(value, list):
        found = [one for member in value for one in _objects_in(member)]
    return found


@given(st.data(), st.text(min_size=1, max_size=12), st.none() | st.integers() | st.text(max_size=3))
def test_unknown_field_makes_the_whole_policy_malformed(
    data: st.DataObject, name: str, value: Any
) -> None:
    document = copy.deepcopy(FULL)
    places = [one for one in _objects_in(document) if one is not document["metadata"]]
    place = data.draw(st.sampled_from(places))
    known = {key for one in _objects_in(FULL) for key in one}
    if name in {*known, "status", "dockerReference", "dockerRepository", "prefix", "signedPrefix"}:
        return
    if name in ("storeSecret", "keySecretNamespace", "trustServer"):
        return
    place[name] = value
    with pytest.raises(ImgsecError) as caught:
        Policy.read(document)
    assert caught.value.reason.code == "policy-malformed"


KEYS = (
    *("kind", "apiVersion", "metadata", "name", "namespace", "labels", "ownerReferences", "spec"),
    *("template", "jobTemplate", "containers", "initContainers", "image", "imagePullSecrets"),
    *("serviceAccountName", "volumes", "ephemeralContainers", "replicas", "reference"),
    *("request", "uid", "operation", "resource", "group", "version", "object"),
    *("webhooks", "rules", "resources", "namespaceSelector", "objectSelector", "matchLabels"),
    *("matchExpressions", "key", "operator", "values", "clientConfig", "service"),
    *("auths", "us.icr.io", "auth", "username", "password"),
)
texts = (
    st.sampled_from("Pod Deployment CronJob v1 apps/v1 pods nginx * \x1b[31m In dTpw".split(" "))
    | st.sampled_from(["", "admission.k8s.io/v1", "image-admission-config"])
    | st.text(max_size=6)
)
documents = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=30,
)
objects = st.dictionaries(st.sampled_from(KEYS), documents, max_size=8)


@given(objects, st.none() | st.tuples(texts, texts))
def test_whatever_is_read_as_a_workload_is_one_or_is_refused(
    document: dict[str, Any], request: tuple[str, str] | None
) -> None:
    try:
        workload = read_workload(document, namespace=NAMESPACE, request=request)
    except ImgsecError as error:
        refused = error.reason.code
    else:
        refused = ""
    assert refused in ("", "workload-malformed")
    if refused:
        return
    if workload is not None and workload.is_read:
        assert workload.pod.containers != ()


FIELDS = (
    ("metadata",),
    ("metadata", "namespace"),
    ("metadata", "ownerReferences"),
    ("spec", "template", "spec", "containers"),
    ("spec", "template", "spec", "initContainers"),
    ("spec", "template", "spec", "ephemeralContainers"),
    ("spec", "template", "spec", "imagePullSecrets"),
    ("spec", "template", "spec", "serviceAccountName"),
    ("spec", "template", "spec", "volumes"),
    ("spec", "template", "spec", "containers", 0, "image"),
)
of_no_type = st.booleans() | st.integers() | st.floats() | st.just([[]]) | st.just({"a": ["b"]})


@given(st.sampled_from(FIELDS), of_no_type)
def test_field_of_another_type_makes_a_workload_malformed(
    path: tuple[Any, ...], value: Any
) -> None:
    document = deployment("us.icr.io/team/app:1")
    at: Any = document
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    if path == ("metadata",) and isinstance(value, dict):
        return  # it has a type, and says nothing
    with refused("workload-malformed"):
        read_workload(document, namespace=NAMESPACE)


@given(st.sampled_from(FIELDS), st.data())
def test_field_that_is_almost_another_makes_a_workload_malformed(
    path: tuple[Any, ...], data: st.DataObject
) -> None:
    document = deployment("us.icr.io/team/app:1")
    at: Any = document
    for step in path[:-1]:
        at = at[step]
    name = path[-1]
    place = data.draw(st.integers(0, len(name) - 1))
    wrong = data.draw(
        st.sampled_from(
            [
                name[:place] + name[place + 1 :] if len(name) > 5 else f"{name}s",
                name[:place] + name[place] + name[place:],
                name.capitalize(),
                name.upper(),
            ]
        )
    )
    at[wrong] = at.get(name, [])  # beside it: what is missing is refused anyway
    with refused("workload-malformed") as reasons:
        read_workload(document, namespace=NAMESPACE)
    assert f"did you mean {name}?" in reasons[0].text


@given(documents)
def test_whatever_is_no_review_is_said_to_be_none(document: Any) -> None:
    try:
        request = ReviewRequest.parse(document)
    except BadReview:
        return
    assert request.object is not None or request.operation == "DELETE"


IN_REQUESTS = (
    *(("uid",), ("operation",), ("namespace",), ("resource",), ("object",), ("name",)),
    *(("resource", "group"), ("resource", "version"), ("resource", "resource")),
)


@given(st.sampled_from(IN_REQUESTS), of_no_type | st.just({}) | st.just([]))
def test_value_of_another_type_makes_a_request_a_bad_one(path: tuple[str, ...], value: Any) -> None:
    resource = {"group": "", "version": "v1", "resource": "pods"}
    request: dict[str, Any] = {
        **{"uid": "u", "operation": "CREATE", "namespace": NAMESPACE, "name": "web"},
        **{"resource": resource, "object": pod("us.icr.io/team/app:1")},
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    ReviewRequest.parse(review)
    at: Any = request
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    if path == ("object",) and isinstance(value, dict):
        return  # whether it is a workload is asked later
    try:
        read = ReviewRequest.parse(review)
    except BadReview:
        return
    assert path == ("resource",)  # one without the names of a Pod's, which is denied
    assert read.resource == ""


@given(
    st.sampled_from(["List", "list", "PolicyList"]),
    st.dictionaries(st.sampled_from(["item", "Items", "itmes", "metadata"]), documents, max_size=3),
    st.none() | documents,
)
def test_list_holds_items_or_is_refused(kind: str, members: dict[str, Any], items: Any) -> None:
    document = {"apiVersion": "v1", "kind": kind, "items": items, **members}
    flaw = list_flaw(document)
    is_one = (items is None or isinstance(items, list)) and members.keys() <= {"metadata"}
    assert (flaw is None) is is_one


@given(objects)
def test_registration_is_read_or_refused(document: dict[str, Any]) -> None:
    with suppress(ValueError):
        Webhook.find([document])


@given(st.text(max_size=60) | st.text(alphabet="aA0/:@.-_ \n\x00sha256", max_size=80))
def test_image_text_is_a_name_or_invalid(text: str) -> None:
    try:
        name = EngineName.parse(text)
    except (ValueError, Panic):
        return
    assert name.text == text
    assert name.repository.startswith(f"{name.domain}/")


@given(documents)
def test_pull_secret_is_read_or_passed_over(document: Any) -> None:
    content = base64.b64encode(json.dumps(document).encode()).decode()
    secret = {"kind": "Secret", "data": {".dockerconfigjson": content}}
    assert read_pull_secret(secret, "regcred", "us.icr.io").secret == "regcred"
