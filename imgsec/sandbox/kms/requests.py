# SPDX-License-Identifier: Apache-2.0
"""What a client may ask: bodies and queries, read once and strictly into values."""

from __future__ import annotations

import base64
import binascii
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from imgsec.sandbox.kms.errors import KmsError, invalid_field, invalid_query

KEY_TYPE = "application/vnd.ibm.kms.key+json"
PAYLOAD_MAX = 7500  # bytes before base64, standard keys: Key Protect's CLI reference
ROOT_SIZES = (16, 24, 32)  # bytes
ALIASES_MAX = 5
_CREATE = "Key could not be created"
_ALIAS = re.compile(r"[A-Za-z0-9_-]{2,90}")
_RESERVED = frozenset(
    "allowed_ip key keys metadata policy policies registration registrations ring rings rotate "
    "wrap unwrap rewrap version versions".split()
)
_RING = re.compile(r"[A-Za-z0-9-]{2,100}")
_KEY_FIELDS = frozenset(
    "type name extractable payload aliases description tags expirationDate encryptedNonce iv "
    "encryptionAlgorithm dualAuthDelete rotation".split()
)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that is to be made or imported."""

    name: str
    extractable: bool
    payload: str | None
    aliases: tuple[str, ...]
    description: str
    tags: tuple[str, ...]
    expires: str | None
    dual_auth: bool

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a create request. Raises `KmsError`."""
        resource = _single_resource(body)
        if unknown := set(resource) - _KEY_FIELDS:
            raise invalid_field(_CREATE, min(unknown), f"The field `{min(unknown)}` is unknown")
        if resource.get("type", KEY_TYPE) != KEY_TYPE:
            raise invalid_field(_CREATE, "type", f"The field `type` must be {KEY_TYPE}")
        extractable = resource.get("extractable", False)
        if not isinstance(extractable, bool):
            raise invalid_field(_CREATE, "extractable", "The field `extractable` must be a boolean")
        aliases = _texts(resource, "aliases", ALIASES_MAX)
        for alias in aliases:
            check_alias(alias, _CREATE)
        if len(set(aliases)) != len(aliases):
            raise invalid_field(_CREATE, "aliases", "The field `aliases` names one alias twice")
        tags = _texts(resource, "tags", 30)
        if any(not 1 <= len(tag) <= 30 for tag in tags):
            raise invalid_field(_CREATE, "tags", "A tag must have 1 to 30 characters")
        dual = resource.get("dualAuthDelete") or {}
        return cls(
            name=_text(resource, "name", 2, 90),
            extractable=extractable,
            payload=_payload(resource, extractable=extractable),
            aliases=aliases,
            description=_text(resource, "description", 2, 240, optional=True),
            tags=tags,
            expires=_expiration(resource),
            dual_auth=isinstance(dual, Mapping) and dual.get("enabled") is True,
        )


@dataclass(frozen=True, slots=True)
class KeyQuery:
    """Which keys a list is to hold."""

    limit: int
    offset: int
    states: frozenset[int]
    extractable: bool | None
    search: str
    sort: str

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """Read the query of a list. Raises `KmsError`."""
        try:
            states = frozenset(int(word) for word in (query.get("state") or "0,1,2,3").split(","))
        except ValueError:
            states = frozenset({-1})
        if not states <= {0, 1, 2, 3, 5}:
            raise invalid_query("state", "state must be a list of 0, 1, 2, 3, 5")
        extractable = query.get("extractable") or None
        if extractable not in (None, "true", "false"):
            raise invalid_query("extractable", "extractable must be true or false")
        if query.get("filter"):
            raise invalid_query("filter", "the sandbox does not know filter; use search")
        sort = query.get("sort") or "creationDate"
        if sort.removeprefix("-") not in SORTABLE:
            raise invalid_query("sort", f"sort must be one of {', '.join(SORTABLE)}")
        limit, offset = page(query)
        return cls(
            limit=limit,
            offset=offset,
            states=states,
            extractable=None if extractable is None else extractable == "true",
            search=query.get("search", ""),
            sort=sort,
        )


SORTABLE = (
    "id",
    "state",
    "extractable",
    "imported",
    "creationDate",
    "lastUpdateDate",
    "lastRotateDate",
    "deletionDate",
    "expirationDate",
)


def page(query: Mapping[str, str]) -> tuple[int, int]:
    """Limit and offset of a list. Raises `KmsError`."""
    return _number(query, "limit", 200, 1, 5000), _number(query, "offset", 0, 0, 2**31)


def check_alias(alias: str, what: str) -> None:
    """Raises `KmsError` for a name that no alias may have."""
    if _ALIAS.fullmatch(alias) and alias.lower() not in _RESERVED and not is_uuid(alias):
        return
    raise invalid_field(
        what,
        "alias",
        "An alias has 2 to 90 letters, digits, dashes or underscores; it is neither a UUID nor a "
        "word of the API",
    )


def check_ring(ring: str, what: str) -> None:
    """Raises `KmsError` for a name that no key ring may have."""
    if not _RING.fullmatch(ring):
        raise invalid_field(what, "id", "A key ring's id has 2 to 100 letters, digits or dashes")


def is_uuid(text: str | None) -> bool:
    """True for a UUID in its usual spelling."""
    try:
        return str(uuid.UUID(text or "")) == (text or "").lower()
    except ValueError:
        return False


def parse_object(body: bytes, what: str) -> dict[str, Any]:
    """A JSON object. Raises `KmsError`."""
    if not body:
        raise KmsError(what, "NO_BODY_ERR")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise KmsError(what, "BAD_BODY_ERR") from error
    if not isinstance(value, dict):
        raise KmsError(what, "BAD_BODY_ERR")
    return value


def _single_resource(body: bytes) -> dict[str, Any]:
    value = parse_object(body, _CREATE)
    metadata, resources = value.get("metadata"), value.get("resources")
    if not isinstance(metadata, dict) or not isinstance(resources, list):
        raise KmsError(_CREATE, "BAD_BODY_ERR", "Body needs metadata and resources")
    if metadata.get("collectionType") != KEY_TYPE:
        raise KmsError(_CREATE, "BAD_BODY_ERR", f"metadata.collectionType must be {KEY_TYPE}")
    if metadata.get("collectionTotal") != len(resources):
        raise KmsError(_CREATE, "COLLECTION_TOTAL_MISMATCH_ERR")
    if len(resources) != 1:
        raise KmsError(_CREATE, "NUM_COLLECTION_RESOURCE_ERR")
    if not isinstance(resources[0], dict):
        raise KmsError(_CREATE, "BAD_BODY_ERR")
    return resources[0]


def _text(
    resource: Mapping[str, Any], name: str, least: int, most: int, *, optional: bool = False
) -> str:
    value = resource.get(name)
    if optional and value in (None, ""):
        return ""
    if isinstance(value, str) and least <= len(value) <= most and value.isprintable():
        return value
    raise invalid_field(
        _CREATE, name, f"The field `{name}` must have {least} to {most} printable characters"
    )


def _texts(resource: Mapping[str, Any], name: str, most: int) -> tuple[str, ...]:
    value = resource.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise invalid_field(_CREATE, name, f"The field `{name}` must be a list of texts")
    if len(value) > most:
        raise invalid_field(_CREATE, name, f"The field `{name}` holds {most} entries at most")
    return tuple(value)


def _payload(resource: Mapping[str, Any], *, extractable: bool) -> str | None:
    value = resource.get("payload")
    if value is None:
        return None
    try:
        size = len(base64.b64decode(value.encode("ascii"), validate=True))
    except (AttributeError, UnicodeEncodeError, binascii.Error):
        size = 0
    if extractable and not 1 <= size <= PAYLOAD_MAX:
        message = f"The field `payload` must be base64 and at most {PAYLOAD_MAX} bytes decoded"
        raise invalid_field(_CREATE, "payload", message)
    if not extractable and size not in ROOT_SIZES:
        message = "The field `payload` must be base64 of 16, 24 or 32 bytes"
        raise invalid_field(_CREATE, "payload", message)
    return str(value)


def _expiration(resource: Mapping[str, Any]) -> str | None:
    value = resource.get("expirationDate")
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        if moment > datetime.now(UTC):
            return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (TypeError, ValueError):
        pass
    raise invalid_field(
        _CREATE, "expirationDate", "The field `expirationDate` must be a future RFC 3339 time"
    )


def _number(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = query.get(name) or str(default)
    if text.isascii() and text.isdigit() and least <= int(text[:12]) <= most:
        return int(text)
    raise invalid_query(name, f"{name} must lie between {least} and {most}")
