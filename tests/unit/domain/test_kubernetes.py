# SPDX-License-Identifier: Apache-2.0
"""Policies and Secrets as data: what Portieris and the older pipelines will read."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from imgsec.domain.kubernetes import (
    is_ours,
    key_reference_document,
    key_secret_document,
    policy_document,
)
from imgsec.domain.policy import (
    ImagePolicy,
    KeyReference,
    KeySecret,
    Namespace,
    ObjectName,
    PolicyKind,
)
from imgsec.domain.reference import RepositoryPattern
from tests.unit.refusals import refused

SECRET = KeySecret(ObjectName("portieris-image-signing-public-key"), Namespace("portieris"))


def policy(*signed: str, unchecked: tuple[str, ...] = (), **rest: Any) -> ImagePolicy:
    return ImagePolicy(
        name=ObjectName("signed"),
        kind=rest.pop("kind", PolicyKind.CLUSTER),
        signed=tuple(map(RepositoryPattern.parse, signed)),
        unchecked=tuple(map(RepositoryPattern.parse, unchecked)),
        key_secret=SECRET,
        **rest,
    )


def test_cluster_policy_as_portieris_reads_it() -> None:
    assert policy_document(policy("us.icr.io/team/*", unchecked=("icr.io/ibm/*",))) == {
        "apiVersion": "portieris.cloud.ibm.com/v1",
        "kind": "ClusterImagePolicy",
        "metadata": {"name": "signed", "labels": {"app.kubernetes.io/managed-by": "imgsec"}},
        "spec": {
            "repositories": [
                {
                    "name": "us.icr.io/team/*",
                    "policy": {
                        "simple": {
                            "requirements": [
                                {
                                    "type": "signedBy",
                                    "keySecret": "portieris-image-signing-public-key",
                                    "keySecretNamespace": "portieris",
                                }
                            ]
                        }
                    },
                },
                {"name": "icr.io/ibm/*", "policy": {}},
            ]
        },
    }


def test_policy_without_mutation_says_so() -> None:
    document = policy_document(policy("us.icr.io/team/*", mutate_image=False))
    assert document["spec"]["repositories"][0]["policy"]["mutateImage"] is False


def test_closed_pattern_gets_a_rule_for_its_digests() -> None:
    document = policy_document(policy("us.icr.io/team/app"))
    names = [rule["name"] for rule in document["spec"]["repositories"]]
    assert names == ["us.icr.io/team/app", "us.icr.io/team/app@*"]


@pytest.mark.parametrize("name", ["us.icr.io/team/app:debug", "r.example:5000/team/app:*-debug"])
def test_what_is_let_through_by_its_tag_gets_no_rule_for_digests(name: str) -> None:
    whole = "r.example:5000/team/base"
    found = policy(f"{name}-x", unchecked=(name, whole))
    names = [rule["name"] for rule in policy_document(found)["spec"]["repositories"]]
    assert names == [f"{name}-x", f"{name}-x@*", name, whole, f"{whole}@*"]
    assert list(map(str, found.unchecked_tags)) == [name]


def test_namespaced_policy_lies_in_its_namespace() -> None:
    document = policy_document(
        policy("us.icr.io/*", kind=PolicyKind.NAMESPACED, namespace=Namespace("prod"))
    )
    assert document["kind"] == "ImagePolicy"
    assert document["metadata"]["namespace"] == "prod"


def test_kind_and_namespace_belong_together() -> None:
    with pytest.raises(ValueError, match="namespace"):
        policy("us.icr.io/*", kind=PolicyKind.NAMESPACED)
    with pytest.raises(ValueError, match="namespace"):
        policy("us.icr.io/*", namespace=Namespace("prod"))


def test_policy_for_nothing_is_refused() -> None:
    with refused("invalid-option"):
        policy(unchecked=("icr.io/*",))


def test_one_pattern_cannot_be_signed_and_unchecked() -> None:
    with refused("invalid-option"):
        policy("us.icr.io/*", "us.icr.io/a/*", unchecked=("us.icr.io/a/*",))


def test_secrets_have_the_names_that_older_pipelines_read() -> None:
    said = KeyReference("https://kms.example", "id", "key", "AB" * 20)
    public = key_secret_document(SECRET, b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
    assert (public["kind"], public["type"]) == ("Secret", "Opaque")
    assert base64.b64decode(public["data"]["key"]) == b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"
    name = KeySecret(ObjectName("portieris-keys"), SECRET.namespace)
    reference = key_reference_document(name, said)
    assert reference["metadata"]["name"] == "portieris-keys"
    assert reference["metadata"]["namespace"] == "portieris"
    assert {
        name: base64.b64decode(value).decode() for name, value in reference["data"].items()
    } == {
        "vault-url": "https://kms.example",
        "vault-instance-id": "id",
        "vault-key-id": "key",
        "portieris-signature-fingerprint": "AB" * 20,
    }
    assert is_ours(public)
    assert is_ours(reference)


@pytest.mark.parametrize(
    "document",
    [
        None,
        "text",
        [],
        {},
        {"metadata": None},
        {"metadata": "text"},
        {"metadata": []},
        {"metadata": {"labels": None}},
        {"metadata": {"labels": "app.kubernetes.io/managed-by"}},
        {"metadata": {"labels": ["imgsec"]}},
        {"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}},
    ],
)
def test_what_lacks_the_label_is_foreign(document: object) -> None:
    assert not is_ours(document)


@pytest.mark.parametrize(
    "text", ["", "Upper", "-a", "a-", ".a", "a.", "a..b", "a.-b", "a-.b", "a b", "a/b", "a\n"]
)
def test_name_that_kubernetes_refuses_is_refused_here(text: str) -> None:
    with refused("invalid-name"):
        ObjectName.parse(text)
    with refused("invalid-name"):
        Namespace.parse(text)


def test_names_have_their_longest_length() -> None:
    assert ObjectName.parse("a" * 253)
    assert Namespace.parse("a" * 63)
    with refused("invalid-name"):
        ObjectName.parse("a" * 254)
    with refused("invalid-name"):
        Namespace.parse("a" * 64)
    with refused("invalid-name"):
        Namespace.parse("a.b")
