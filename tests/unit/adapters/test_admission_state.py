# SPDX-License-Identifier: Apache-2.0
"""What of manifests decides about admissions, and what is another product's."""

from __future__ import annotations

from typing import Any

import pytest

from imgsec.adapters.admission_state import FileState, LiveState
from imgsec.errors import ImgsecError
from tests.unit.refusals import refused

API = "portieris.cloud.ibm.com/v1"


def thing(kind: str, name: Any = "it", api: str = "v1", **rest: Any) -> dict[str, Any]:
    metadata = {"name": name, **rest.pop("metadata", {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


def state(*documents: dict[str, Any], namespace: str = "shop") -> FileState:
    placed = ((one, f"f.yaml:{at}") for at, one in enumerate(documents, 1))
    return FileState(placed, namespace=namespace)


@pytest.mark.parametrize("own", [None, "", "shop"])
def test_namespace_of_the_run_is_that_of_objects_that_name_none(own: str | None) -> None:
    metadata = {} if own is None else {"namespace": own}
    found = state(
        thing("Secret", metadata=metadata),
        thing("ServiceAccount", metadata=metadata),
        thing("ImagePolicy", api=API, metadata=metadata),
    )
    assert found.find_secret("shop", "it") is not None
    assert found.find_secret("default", "it") is None
    assert found.find_service_account("shop", "it") is not None
    assert found.list_policies()[0].id.namespace == "shop"


def test_objects_of_the_whole_cluster_have_no_namespace() -> None:
    found = state(
        thing("Namespace", metadata={"namespace": "odd"}),
        thing("ClusterImagePolicy", api=API, metadata={"namespace": "odd"}),
        registration("image-admission-config"),
    )
    assert found.find_namespace("it") is not None
    assert found.list_policies()[0].id.namespace == ""
    assert len(found.list_webhooks() or ()) == 1


WEBHOOK_GROUP = "admissionregistration.k8s.io"


def registration(name: str, **rest: Any) -> dict[str, Any]:
    api = f"{WEBHOOK_GROUP}/v1"
    return thing("MutatingWebhookConfiguration", api=api, metadata={"name": name}, **rest)


@pytest.mark.parametrize(
    "odd",
    [
        {"webhoks": []},
        {"webhooks": [{"name": "x", "rules": [{"resorces": ["pods"]}]}]},
        {"webhooks": [{"name": "x", "failurePolicy": "fail"}]},
    ],
)
def test_registration_that_no_cluster_keeps_is_refused_with_its_place(odd: dict[str, Any]) -> None:
    with refused("input-malformed") as why:
        state(thing("ConfigMap"), registration("image-admission-config", **odd))
    assert why[0].text.startswith("f.yaml:2: the webhook's registration: webho")
    assert state(registration("istio", **odd)).list_webhooks() is None


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        ("MutatingWebhookconfiguration", "v1"),
        ("MutatingWebhookConfigurations", "v1"),
        ("MutatingWebhookConfiguration", "v2"),
        ("MutatingWebhookConfiguration", ""),
    ],
)
def test_kind_that_is_almost_a_registrations_is_refused(kind: str, version: str) -> None:
    with refused("input-malformed"):
        state(thing(kind, api=f"{WEBHOOK_GROUP}/{version}"))


@pytest.mark.parametrize(
    "kind",
    ["ValidatingWebhookConfiguration", "MutatingAdmissionPolicy", "ValidatingAdmissionPolicy"],
)
def test_other_kinds_of_admission_are_passed_over(kind: str) -> None:
    assert state(thing(kind, api=f"{WEBHOOK_GROUP}/v1")).list_webhooks() is None


class Webhooks:
    """A cluster that has these registrations."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def list_webhooks(self) -> tuple[dict[str, Any], ...]:
        return tuple(registration(name, webhooks=[{"name": "held"}]) for name in self._names)


def over(cluster: Webhooks, *documents: dict[str, Any]) -> dict[str, str]:
    """The registrations there are, with the first webhook of each."""
    live = LiveState(cluster, state(*documents))  # type: ignore[arg-type]
    return {one["metadata"]["name"]: one["webhooks"][0]["name"] for one in live.list_webhooks()}


def test_registration_of_a_file_comes_over_the_clusters() -> None:
    new = registration("image-admission-config", webhooks=[{"name": "new"}])
    cluster = Webhooks("istio", "image-admission-config")
    assert over(cluster) == {"istio": "held", "image-admission-config": "held"}
    assert over(cluster, new) == {"istio": "held", "image-admission-config": "new"}
    assert over(Webhooks(), new) == {"image-admission-config": "new"}
    other = registration("istio", webhooks=[{"name": "new"}])
    assert over(cluster, other) == {"istio": "new", "image-admission-config": "held"}


def test_webhooks_of_other_products_say_nothing_about_the_engines() -> None:
    assert state(registration("istio")).list_webhooks() is None
    both = state(registration("istio"), registration("image-admission-config"))
    assert len(both.list_webhooks() or ()) == 2


def test_kinds_of_the_same_name_are_other_products() -> None:
    found = state(
        thing("Secret", api="vault.example/v1"),
        thing("ServiceAccount", api="cloud.example/v1"),
        thing("Namespace", api="tenancy.example/v1"),
        thing("MutatingWebhookConfiguration", api="v1"),
        thing("ConfigMap"),
    )
    assert found.find_secret("shop", "it") is None
    assert found.find_service_account("shop", "it") is None
    assert found.find_namespace("it") is None
    assert found.list_webhooks() is None


@pytest.mark.parametrize("kind", ["Secret", "ServiceAccount", "Namespace"])
@pytest.mark.parametrize("name", [None, 5, ["x"]])
def test_object_without_a_name_is_malformed(kind: str, name: Any) -> None:
    with pytest.raises(ImgsecError) as caught:
        state(thing(kind, name))
    assert caught.value.reason.code == "input-malformed"


@pytest.mark.parametrize(
    ("kind", "api"), [("Secret", "v1"), ("ClusterImagePolicy", API), ("ImagePolicy", API)]
)
def test_object_that_stands_twice_is_refused_without_its_content(kind: str, api: str) -> None:
    one = thing(kind, api=api)
    other = one | ({"data": {"key": "Y2FuYXJ5"}} if kind == "Secret" else {})
    with pytest.raises(ImgsecError) as caught:
        state(one, other)
    assert caught.value.reason.code == "input-malformed"
    assert "Y2FuYXJ5" not in str(caught.value.reason)


@pytest.mark.parametrize("kind", ["Secret", "ServiceAccount", "Namespace", "ImagePolicy"])
@pytest.mark.parametrize("name", ["Namespace", "namespce", "nmae", "lables", "label", "Name"])
def test_metadata_that_is_almost_another_is_refused(kind: str, name: str) -> None:
    is_policy = kind == "ImagePolicy"
    with refused("policy-malformed" if is_policy else "input-malformed") as reasons:
        state(thing(kind, api=API if is_policy else "v1", metadata={name: "other"}))
    assert "did you mean name" in reasons[0].text or "did you mean labels" in reasons[0].text


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("Secret", "Data"), ("Secret", "stringdata"), ("Secret", "dta")),
        *(("ServiceAccount", "imagePullSecret"), ("Namespace", "metadta")),
    ],
)
def test_field_that_is_almost_another_is_refused(kind: str, name: str) -> None:
    with refused("input-malformed"):
        state(thing(kind, **{name: {}}))


@pytest.mark.parametrize("kind", ["Secret", "ServiceAccount", "ImagePolicy"])
@pytest.mark.parametrize("namespace", [5, 0, False, [], ["shop"], {}])
def test_namespace_that_is_no_text_is_refused(kind: str, namespace: Any) -> None:
    is_policy = kind == "ImagePolicy"
    with refused("policy-malformed" if is_policy else "input-malformed"):
        state(thing(kind, api=API if is_policy else "v1", metadata={"namespace": namespace}))


@pytest.mark.parametrize("kind", ["Secret", "ServiceAccount"])
@pytest.mark.parametrize("namespace", ["Shop", "shop ", "${NAMESPACE}"])
def test_object_in_no_namespace_is_nowhere(kind: str, namespace: str) -> None:
    found = state(thing(kind, metadata={"namespace": namespace}))
    look_up = found.find_secret if kind == "Secret" else found.find_service_account
    assert look_up("shop", "it") is None
    assert found.told_places("it") == ((namespace,) if kind == "Secret" else ())


@pytest.mark.parametrize("namespace", ["Shop", "shop ", "${NAMESPACE}"])
def test_policy_in_no_namespace_is_refused(namespace: str) -> None:
    with refused("policy-malformed"):
        state(thing("ImagePolicy", api=API, metadata={"namespace": namespace}))


POLICY = thing("ImagePolicy", api=API, spec={"repositories": []})
GENERATED = {"apiVersion": API, "kind": "ImagePolicy", "name": "it", "data": {"spec": {}}}


@pytest.mark.parametrize(
    "document",
    [
        thing("Template", api="template.openshift.io/v1", objects=[POLICY]),
        thing("ClusterPolicy", api="kyverno.io/v1", spec={"generate": GENERATED}),
        thing("Whatever", api="x.example/v1", objects=[POLICY]),
        thing("ManifestWork", api="work.example/v1", spec={"manifests": [{"a": [POLICY]}]}),
        thing("Lsit", item=[POLICY]),
    ],
)
def test_object_that_others_make_policies_of_is_refused(document: dict[str, Any]) -> None:
    with refused("input-malformed"):
        state(document)


def test_object_that_only_names_a_policy_is_another_products() -> None:
    named = {"apiVersion": API, "kind": "ImagePolicy", "name": "it"}
    found = state(
        thing("Kustomization", api="toolkit.example/v1", spec={"healthChecks": [named]}),
        thing("Template", api="template.openshift.io/v1", objects=[thing("Service")]),
        thing("Other", api="x.example/v1", spec=thing("ImagePolicy", api="other.example/v1")),
    )
    assert not found.has_policies


def test_namespace_with_an_empty_policy_is_judged_by_it() -> None:
    found = state(thing("ImagePolicy", api=API))
    (policy,) = found.list_policies()
    assert policy.rules == ()


@pytest.mark.parametrize("kind", ["Imagepolicy", "imagepolicy", "ImagePolicies", "Policy"])
def test_kind_that_is_almost_a_policys_is_refused(kind: str) -> None:
    with refused("policy-malformed"):
        state(thing(kind, api=API))


@pytest.mark.parametrize(
    "data",
    [{"data": {"key": "!!!"}}, {"data": ["x"]}, {"data": {"key": 5}}, {"stringData": {"key": 5}}],
)
def test_secret_that_no_cluster_keeps_is_refused_where_it_is_named(data: dict[str, Any]) -> None:
    found = state(thing("Secret", **data), thing("Secret", "other", stringData={"key": "x"}))
    assert found.find_secret("shop", "other") is not None
    with refused("input-malformed") as reasons:
        found.find_secret("shop", "it")
    assert reasons[0].text.startswith("f.yaml:1: Secret 'it'")


@pytest.mark.parametrize("data", [{"data": {"key": "ENC[AES]"}}, {"stringData": {"key": "ENC[]"}}])
def test_encrypted_secret_is_told_for_one(data: dict[str, Any]) -> None:
    found = state(thing("Secret", sops={"version": "3.9.0"}, **data))
    with refused("input-malformed") as reasons:
        found.find_secret("shop", "it")
    assert "is encrypted by SOPS" in reasons[0].text
    assert "ENC[" not in reasons[0].text


def test_secret_without_data_is_one() -> None:
    found = state(thing("Secret", data=None, stringData={"key": None}))
    assert found.find_secret("shop", "it") is not None
