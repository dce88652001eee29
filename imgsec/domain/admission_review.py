# SPDX-License-Identifier: Apache-2.0
"""An AdmissionReview: the request that an API server sends to a webhook, and the answer to it.

``admission.k8s.io/v1``; Portieris reads v1beta1 as well (`pkg/webhook/webhook.go`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from imgsec.domain import engine_texts as texts
from imgsec.domain.admission import Admission, Patch
from imgsec.domain.policy import is_namespace
from imgsec.domain.policy_fields import (
    Anything,
    Fields,
    Flag,
    Listed,
    Named,
    Text,
    flaws_of,
    path_text,
    pruned,
)
from imgsec.domain.reference import shown
from imgsec.domain.workload import is_read_by_engines

DELETION = "DELETE"
_API_GROUP = "admission.k8s.io"
_VERSIONS = (f"{_API_GROUP}/v1", f"{_API_GROUP}/v1beta1")
_KIND = Fields({"group": Text(), "version": Text(), "kind": Text()})
_RESOURCE = Fields({"group": Text(), "version": Text(), "resource": Text()})
_OBJECT = Named(Anything())
# AdmissionRequest, `k8s.io/api/admission/v1`; a field that is none of these is dropped as it is
# read.
_REQUEST = Fields(
    {
        "uid": Text(),
        "kind": _KIND,
        "resource": _RESOURCE,
        "subResource": Text(),
        "requestKind": _KIND,
        "requestResource": _RESOURCE,
        "requestSubResource": Text(),
        "name": Text(),
        "namespace": Text(),
        "operation": Text(),
        "userInfo": Fields(
            {
                "username": Text(),
                "uid": Text(),
                "groups": Listed(Text()),
                "extra": Named(Listed(Text())),
            }
        ),
        "object": _OBJECT,
        "oldObject": _OBJECT,
        "dryRun": Flag(),
        "options": _OBJECT,
    }
)


class BadReview(Exception):
    """What is no review, as the engine says it."""


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    """What is asked. api: group and version of the resource. object: None for a deletion only.

    namespace: empty for a resource that no engine reads, and that may be in none.
    """

    version: str
    uid: str
    operation: str
    namespace: str
    api: str
    resource: str
    object: Mapping[str, Any] | None

    @classmethod
    def parse(cls, document: Any) -> Self:
        """Raises `BadReview`."""
        if not isinstance(document, dict):
            raise BadReview(texts.undecodable(f"{shown(str(document))} is no AdmissionReview"))
        api, kind = document.get("apiVersion"), document.get("kind")
        if api not in _VERSIONS or kind != "AdmissionReview":
            said = shown(f"{api}, {kind}")
            raise BadReview(texts.undecodable(f"{said} is no AdmissionReview"))
        request = document.get("request")
        if request is None:
            raise BadReview(texts.NO_REQUEST)
        _require_types(request)
        resource = request.get("resource")
        if resource is None:
            raise BadReview(texts.undecodable("the request names no resource"))
        group, version = resource.get("group") or "", resource.get("version") or ""
        api, plural = f"{group}/{version}" if group else version, resource.get("resource") or ""
        object_, operation = request.get("object"), request.get("operation") or "CREATE"
        if object_ is None and operation != DELETION:
            raise BadReview(texts.undecodable(f"{shown(operation)} comes without an object"))
        namespace = request.get("namespace") or ""
        if namespace and not is_namespace(namespace):
            said = f"{shown(namespace)} is not a Kubernetes namespace"
            raise BadReview(texts.undecodable(said))
        if not namespace and is_read_by_engines(api, plural):  # all that they read is in one
            raise BadReview(texts.undecodable("the request names no namespace"))
        uid = request.get("uid") or ""
        return cls(document["apiVersion"], uid, operation, namespace, api, plural, object_)


def _require_types(request: Any) -> None:
    """Raises `BadReview` for a value of another type than the API has there."""
    for flaw in flaws_of(pruned(request, _REQUEST), _REQUEST):
        where = path_text(("request", *flaw.path))
        raise BadReview(texts.undecodable(f"{shown(where)}: {flaw.text}"))


def _asked_in(document: Any) -> tuple[str, str]:
    """The version and the uid of a review, as far as there is one: whatever else is wrong."""
    if not isinstance(document, dict):
        return _VERSIONS[0], ""
    api, request = document.get("apiVersion"), document.get("request")
    uid = request.get("uid") if isinstance(request, dict) else None
    return api if api in _VERSIONS else _VERSIONS[0], uid if isinstance(uid, str) else ""


@dataclass(frozen=True, slots=True)
class ReviewAnswer:
    """The answer as the webhook gives it. message: of a denial; patches: of an admission."""

    version: str
    uid: str
    allowed: bool
    message: str = ""
    patches: tuple[Patch, ...] = ()

    @classmethod
    def of(cls, request: ReviewRequest, admission: Admission) -> Self:
        """What is open is denied, with the reasons why it is not known."""
        if admission.verdict.passed:
            return cls(request.version, request.uid, True, patches=admission.patches)
        said = list(admission.messages) or [one.text for one in admission.verdict.reasons]
        return cls(request.version, request.uid, False, texts.response(said))

    @classmethod
    def denied(cls, document: Any, why: Sequence[str]) -> Self:
        """document: the review, as it was read; None for one that could not be."""
        version, uid = _asked_in(document)
        return cls(version, uid, False, texts.response(list(why)))

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        response: dict[str, Any] = {"uid": self.uid, "allowed": self.allowed}
        if self.message:
            response["status"] = {"metadata": {}, "message": self.message}
        if self.patches:
            operations = [
                {"op": "replace", "path": one.path, "value": one.value} for one in self.patches
            ]
            content = json.dumps(operations, separators=(",", ":")).encode()
            response["patch"] = base64.b64encode(content).decode("ascii")
            response["patchType"] = "JSONPatch"
        return {"kind": "AdmissionReview", "apiVersion": self.version, "response": response}
