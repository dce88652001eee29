# SPDX-License-Identifier: Apache-2.0
"""Key Protect's error answers: one envelope, and a table of reason codes with their status.

Codes and statuses as IBM documents them; the texts are ours.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

ERROR_TYPE = "application/vnd.ibm.kms.error+json"
_MORE_INFO = "https://cloud.ibm.com/apidocs/key-protect"

CODES: dict[str, tuple[int, str]] = {
    "BAD_BODY_ERR": (400, "Body is not valid or holds characters that are not allowed"),
    "INVALID_FIELD_ERR": (400, "A field is not valid"),
    "COLLECTION_TOTAL_MISMATCH_ERR": (400, "collectionTotal differs from the number of resources"),
    "NUM_COLLECTION_RESOURCE_ERR": (400, "Exactly one resource is allowed"),
    "INVALID_QUERY_PARAM_ERR": (400, "A query parameter is not valid"),
    "KEY_RESTORE_EXPIRED": (400, "The 30 day restore window is over"),
    "KEY_ROOT_REQ_ERR": (400, "Only a root key can do this"),
    "NO_BODY_ERR": (400, "The request needs a body"),
    "UNAUTHORIZED_ERR": (401, "No access to this resource"),
    "KEY_NOT_FOUND_ERR": (404, "Key does not exist"),
    "KEY_RING_NOT_FOUND_ERR": (404, "Key ring does not exist"),
    "KEY_ALIAS_NOT_UNIQUE_ERR": (409, "Alias is already used in this instance"),
    "KEY_ALIAS_QUOTA_ERR": (409, "Key has five aliases already"),
    "KEY_RING_NOT_EMPTY_ERR": (409, "Key ring still holds keys"),
    "KEY_RING_RESERVED_ERR": (409, "This key ring cannot be made or removed"),
    "REQ_TOO_EARLY_ERR": (409, "Key changed a moment ago"),
    "KEY_ACTION_INVALID_STATE_ERR": (409, "Key is not in a state that allows this"),
    "KEY_DELETED_ERR": (410, "Key was deleted before"),
}


class KmsError(Exception):
    """Ends a request with an error answer. Without a code it carries no reasons, as IBM's do."""

    def __init__(
        self,
        what: str,
        code: str | None = None,
        message: str | None = None,
        *,
        target: tuple[str, str] | None = None,
        status: int = 400,
    ) -> None:
        super().__init__(code or what)
        self.what, self.code, self.target = what, code, target
        self.status = CODES[code][0] if code else status
        self.message = message or (CODES[code][1] if code else what)

    def body(self) -> dict[str, Any]:
        """The envelope."""
        phrase = HTTPStatus(self.status).phrase
        if self.code is None:
            return envelope(f"{phrase}: {self.what}")
        reason: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "status": self.status,
            "moreInfo": _MORE_INFO,
        }
        if self.target:
            reason["target"] = {"type": self.target[0], "name": self.target[1]}
        text = f"{phrase}: {self.what}. Please see `reasons` for more details ({self.code})"
        return envelope(text, [reason])


def envelope(text: str, reasons: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """One error in the collection form that every answer of the service has."""
    resource: dict[str, Any] = {"errorMsg": text}
    if reasons:
        resource["reasons"] = reasons
    return {
        "metadata": {"collectionType": ERROR_TYPE, "collectionTotal": 1},
        "resources": [resource],
    }


def invalid_field(what: str, name: str, message: str) -> KmsError:
    """A field of the body that cannot be kept."""
    return KmsError(what, "INVALID_FIELD_ERR", message, target=("field", name))


def invalid_query(name: str, message: str) -> KmsError:
    """A query parameter that cannot be meant."""
    return KmsError(
        "Keys could not be listed", "INVALID_QUERY_PARAM_ERR", message, target=("query_param", name)
    )
