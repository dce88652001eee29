# SPDX-License-Identifier: Apache-2.0
"""AdmissionReviews as the API has them: what is of another type is no review."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from imgsec.domain.admission_review import BadReview, ReviewAnswer, ReviewRequest

KIND = {"group": "", "version": "v1", "kind": "Pod"}
RESOURCE = {"group": "", "version": "v1", "resource": "pods"}
REVIEW: dict[str, Any] = {
    "apiVersion": "admission.k8s.io/v1",
    "kind": "AdmissionReview",
    "request": {
        "uid": "u-1",
        "kind": KIND,
        "resource": RESOURCE,
        "subResource": "",
        "requestKind": KIND,
        "requestResource": RESOURCE,
        "requestSubResource": "",
        "name": "web",
        "namespace": "shop",
        "operation": "CREATE",
        "userInfo": {
            "username": "me",
            "uid": "1",
            "groups": ["system:masters"],
            "extra": {"a": ["b"]},
        },
        "object": {"metadata": {}},
        "oldObject": {},
        "dryRun": False,
        "options": {},
    },
}


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], type]]:
    """Every place in the request, with the type that stands there."""
    members = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for step, member in members:
        found.append(((*path, step), type(member)))
        if isinstance(member, dict | list):
            found += _places(member, (*path, step))
    return found


PLACES = [one for one in _places(REVIEW["request"]) if one[0] != ("object", "metadata")]


def with_value(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    review = copy.deepcopy(REVIEW)
    at: Any = review["request"]
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return review


def test_request_is_read() -> None:
    request = ReviewRequest.parse(REVIEW)
    assert (request.uid, request.namespace, request.api) == ("u-1", "shop", "v1")
    assert (request.resource, request.operation) == ("pods", "CREATE")
    assert ReviewRequest.parse(with_value(("more",), 5)) == request


@pytest.mark.parametrize(("path", "of"), PLACES)
@pytest.mark.parametrize("value", [5, 0, 1.5, True, [], [[]], {}, {"a": {"b": 1}}, "x"])
def test_value_of_another_type_is_no_request(path: tuple[Any, ...], of: type, value: Any) -> None:
    if type(value) is of and value != [[]]:
        return
    with pytest.raises(BadReview, match="unable to decode"):
        ReviewRequest.parse(with_value(path, value))


@pytest.mark.parametrize("namespace", ["Shop", "shop ", "a/b", "-", "x" * 64, ""])
def test_namespace_is_one_of_kubernetes(namespace: str) -> None:
    with pytest.raises(BadReview, match="amespace"):
        ReviewRequest.parse(with_value(("namespace",), namespace))


@pytest.mark.parametrize("namespace", ["", None, "shop"])
def test_what_no_engine_reads_may_be_in_no_namespace(namespace: str | None) -> None:
    review = with_value(("namespace",), namespace)
    review["request"]["resource"] = {**RESOURCE, "group": "x.example", "resource": "jobs"}
    assert ReviewRequest.parse(review).namespace == (namespace or "")


@pytest.mark.parametrize(
    ("document", "uid"),
    [
        (with_value(("namespace",), 5), "u-1"),
        (with_value(("uid",), {"a": 1}), ""),
        ({**REVIEW, "kind": "Other"}, "u-1"),
        ({"request": {"uid": "u-2"}}, "u-2"),
        ({"request": ["u-2"]}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_denial_has_the_uid_wherever_there_is_one(document: Any, uid: str) -> None:
    with pytest.raises(BadReview):
        ReviewRequest.parse(document)
    answer = ReviewAnswer.denied(document, ["no"]).document()
    assert (answer["response"]["uid"], answer["response"]["allowed"]) == (uid, False)
    assert answer["apiVersion"] == "admission.k8s.io/v1"


def test_denial_is_of_the_version_that_was_asked_in() -> None:
    review = with_value(("namespace",), 5) | {"apiVersion": "admission.k8s.io/v1beta1"}
    assert ReviewAnswer.denied(review, ["no"]).version == "admission.k8s.io/v1beta1"
