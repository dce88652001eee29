# SPDX-License-Identifier: Apache-2.0
"""A registration that no cluster keeps, or that is about nothing, is not read as sending less."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from imgsec.domain.webhook import Webhook, is_registration

RULE = {
    **{"operations": ["CREATE", "UPDATE"], "apiGroups": ["*"], "apiVersions": ["*"]},
    **{"resources": ["pods", "deployments", "deploymentconfigs", "tfjobs"], "scope": "*"},
}
HOOK = {
    "name": "trust.hooks.securityenforcement.admission.cloud.ibm.com",
    "clientConfig": {
        "service": {"namespace": "portieris", "name": "portieris", "path": "/admit", "port": 443},
        "caBundle": "LS0t",
    },
    "rules": [RULE],
    **{"failurePolicy": "Fail", "matchPolicy": "Equivalent", "sideEffects": "None"},
    **{"timeoutSeconds": 10, "admissionReviewVersions": ["v1"], "reinvocationPolicy": "Never"},
    "namespaceSelector": {
        "matchLabels": {"example.com/team": "a_b", "empty": ""},
        "matchExpressions": [
            {"key": "skip", "operator": "NotIn", "values": ["yes"]},
            {"key": "other", "operator": "DoesNotExist"},
        ],
    },
    **{"objectSelector": {}, "matchConditions": [{"name": "a", "expression": "true"}]},
}


def registration(change: Callable[[dict[str, Any]], object] = lambda _: None) -> dict[str, Any]:
    """change: of the webhook."""
    hook = copy.deepcopy(HOOK)
    change(hook)
    return {
        **{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"},
        **{"metadata": {"name": "image-admission-config"}, "webhooks": [hook]},
    }


def expression(**one: Any) -> dict[str, Any]:
    return {"objectSelector": {"matchExpressions": [one]}}


def test_registration_as_a_cluster_has_it_is_read() -> None:
    webhook = Webhook.find([registration()])
    assert webhook is not None
    assert webhook.namespaces.keys == {"example.com/team", "empty", "skip", "other"}
    assert webhook.service == ("portieris", "portieris")


def test_what_has_no_say_in_what_is_sent_may_be_missing() -> None:
    only = {"name": HOOK["name"], "rules": None, "objectSelector": None}
    webhook = Webhook.find([{"metadata": {"name": "image-admission-config"}, "webhooks": [only]}])
    assert webhook is not None
    assert webhook.rules == ()


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"resorces": ["pods"]}, "resorces"),
        ({"Resources": ["pods"]}, "Resources"),
        ({"resources": ["Pods"]}, "resources"),
        ({"resources": ["pod"]}, "did you mean pods"),
        ({"resources": ["deployment"]}, "did you mean deployments"),
        ({"resources": ["deploymets/*"]}, "did you mean deployments"),
        ({"resources": ["pods "]}, "resources"),
        ({"resources": [""]}, "resources"),
        ({"resources": ["v1/pods/x"]}, "resources"),
        ({"resources": [7]}, "resources"),
        ({"resources": []}, "resources"),
        ({"resources": None}, "resources"),
        ({"resources": "pods"}, "resources"),
        ({"operations": ["create"]}, "operations"),
        ({"operations": ["CREATE", "CHANGE"]}, "operations"),
        ({"operations": ["*", "CREATE"]}, "stands for all"),
        ({"operations": []}, "operations"),
        ({"operations": None}, "operations"),
        ({"apiGroups": ["Apps"]}, "apiGroups"),
        ({"apiGroups": ["core"]}, 'did you mean ""'),
        ({"apiGroups": ["app"]}, "did you mean apps"),
        ({"apiGroups": ["apps/v1"]}, "apiGroups"),
        ({"apiGroups": None}, "apiGroups"),
        ({"apiVersions": ["V1"]}, "apiVersions"),
        ({"apiVersions": ["apps/v1"]}, "apiVersions"),
        ({"apiVersions": [1]}, "apiVersions"),
        ({"apiVersions": ["*", "v1"]}, "stands for all"),
        ({"apiVersions": None}, "apiVersions"),
        ({"scope": "cluster"}, "scope"),
    ],
)
def test_odd_rule_is_not_read(change: dict[str, Any], place: str) -> None:
    odd = registration(lambda hook: hook["rules"][0].update(change))
    with pytest.raises(ValueError, match=r"^webhooks\[0\]\.rules\[0\]\.") as caught:
        Webhook.find([odd])
    assert place in str(caught.value)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"name": None}, "name"),
        ({"rule": []}, "rule"),
        ({"rules": {}}, "rules"),
        ({"rules": [None]}, "rules[0]"),
        ({"failurePolicy": "fail"}, "failurePolicy"),
        ({"failurePolicy": True}, "failurePolicy"),
        ({"matchPolicy": "exact"}, "matchPolicy"),
        ({"matchCondition": []}, "matchCondition"),
        ({"timeoutSeconds": "10"}, "timeoutSeconds"),
        ({"timeoutSeconds": 31}, "timeoutSeconds"),
        ({"timeoutSeconds": True}, "timeoutSeconds"),
        ({"matchConditions": [{"name": "x"}]}, "expression"),
        ({"clientConfig": "x"}, "clientConfig"),
        ({"clientConfig": {"service": {"name": "portieris"}}}, "namespace"),
        ({"namespaceselector": {}}, "namespaceselector"),
        ({"objectSelector": []}, "objectSelector"),
        ({"objectSelector": {"matchLabel": {"a": "b"}}}, "matchLabel"),
        ({"objectSelector": {"matchLabels": ["a"]}}, "matchLabels"),
        ({"objectSelector": {"matchLabels": {"a": True}}}, "matchLabels"),
        ({"objectSelector": {"matchLabels": {True: "a"}}}, "matchLabels"),
        ({"objectSelector": {"matchLabels": {"a": None}}}, "matchLabels"),
        ({"objectSelector": {"matchLabels": {"a": "x y"}}}, "matchLabels"),
        ({"objectSelector": {"matchLabels": {"a b": "x"}}}, "matchLabels"),
        ({"objectSelector": {"matchExpressions": {"key": "a"}}}, "matchExpressions"),
        (expression(key="team", operator="In", value=["shop"]), "value"),
        (expression(key="team", operator="In"), "In needs values"),
        (expression(key="team", operator="NotIn", values=[]), "NotIn needs values"),
        (expression(key="team", operator="Exists", values=["a"]), "takes no values"),
        (expression(key="team", operator="in", values=["shop"]), "operator"),
        (expression(key="team", operator="Likes", values=["shop"]), "operator"),
        (expression(key="team", operator="In", values=[True]), "values"),
        (expression(operator="Exists"), "key"),
        (expression(key="", operator="Exists"), "key"),
        (expression(key="team"), "operator"),
    ],
)
def test_odd_webhook_is_not_read(change: dict[str, Any], place: str) -> None:
    with pytest.raises(ValueError, match=r"^webhooks\[0\]\.") as caught:
        Webhook.find([registration(lambda hook: hook.update(change))])
    assert place in str(caught.value)


@pytest.mark.parametrize("odd", [{"webhooks": 1}, {"webhoks": []}, {"webhooks": ["x"]}])
def test_odd_configuration_is_not_read(odd: dict[str, Any]) -> None:
    metadata = {"metadata": {"name": "image-admission-config"}}
    with pytest.raises(ValueError, match="webho"):
        Webhook.find([metadata | odd])


def test_webhook_that_is_there_twice_is_not_read() -> None:
    one = registration()
    with pytest.raises(ValueError, match="twice"):
        Webhook.find([one | {"webhooks": one["webhooks"] * 2}])


def test_which_of_several_is_the_engines_is_not_guessed() -> None:
    other = registration() | {"metadata": {"name": "other"}}
    with pytest.raises(ValueError, match="2 webhooks"):
        Webhook.find([registration(), other])
    nameless = registration(lambda hook: hook.update(name="a"))
    nameless["webhooks"].append({"name": "b"})
    with pytest.raises(ValueError, match="2 webhooks"):
        Webhook.find([nameless])


def test_other_products_may_be_as_they_like() -> None:
    other = {"metadata": {"name": "other"}, "webhooks": [{"name": "other", "rules": 3}]}
    assert not is_registration(other)
    assert Webhook.find([other]) is None
    assert Webhook.find([other, registration()]) is not None
