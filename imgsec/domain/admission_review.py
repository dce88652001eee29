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
from imgsec.domain.reference import shown

DELETION = "DELETE"
_API_GROUP = "admission.k8s.io"
_VERSIONS = (f"{_API_GROUP}/v1", f"{_API_GROUP}/v1beta1")


class BadReview(Exception):
    """What is no review, as the engine says it."""


@dataclass(frozen=True, slots=True)
class ReviewRequest:
    """What is asked. api: group and version of the resource. object: None for a deletion only."""

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
        resource = request.get("resource") if isinstance(request, dict) else None
        if not isinstance(resource, dict):
            raise BadReview(texts.undecodable("the request names no resource"))
        group, version = str(resource.get("group") or ""), str(resource.get("version") or "")
        object_, operation = request.get("object"), str(request.get("operation") or "CREATE")
        if object_ is not None and not isinstance(object_, dict):
            raise BadReview(texts.undecodable("the request's object is none"))
        if object_ is None and operation != DELETION:
            raise BadReview(texts.undecodable(f"{shown(operation)} comes without an object"))
        if not request.get("namespace"):  # all that engines read is in one
            raise BadReview(texts.undecodable("the request names no namespace"))
        return cls(
            str(document["apiVersion"]),
            str(request.get("uid") or ""),
            operation,
            str(request.get("namespace") or ""),
            f"{group}/{version}" if group else version,
            str(resource.get("resource") or ""),
            object_,
        )


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
    def denied(cls, request: ReviewRequest | None, why: Sequence[str]) -> Self:
        """request: None for one that could not be read."""
        version, uid = (request.version, request.uid) if request else (_VERSIONS[0], "")
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
