# SPDX-License-Identifier: Apache-2.0
"""Key Protect API v2 over HTTP: routes, headers, roles.

The order of checks is the service's: first the instance header, then the token, then the role.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from imgsec.sandbox.asgi import App, Headers, Scope
from imgsec.sandbox.identity import Identity
from imgsec.sandbox.kms.errors import ERROR_TYPE, KmsError, envelope
from imgsec.sandbox.kms.requests import (
    KEY_TYPE,
    KeyQuery,
    NewKey,
    check_alias,
    check_ring,
    is_uuid,
    page,
    parse_object,
)
from imgsec.sandbox.kms.store import DEFAULT_RING, Key, KeyStore
from imgsec.sandbox.service import EXPIRED, NOTES
from imgsec.sandbox.tokens import Principal, TokenMint

BODY_MAX = 2**20  # bytes
_POLICY_TYPE = "application/vnd.ibm.kms.policy+json"
_ALIAS_TYPE = "application/vnd.ibm.kms.alias+json"
_RING_TYPE = "application/vnd.ibm.kms.key_ring+json"

_READERS = frozenset({"Reader", "ReaderPlus", "Writer", "Manager"})
_PAYLOAD_READERS = _READERS - {"Reader"}
_WRITERS = frozenset({"Writer", "Manager"})
_MANAGERS = frozenset({"Manager"})

Handler = Callable[[Request, Principal], Awaitable[Response]]


class KeyProtect:
    """The service. Its routes are in `app`. stores: the keys of each instance, by its UUID."""

    def __init__(self, identity: Identity, stores: Mapping[str, KeyStore], mint: TokenMint) -> None:
        self._identity = identity
        self._stores = stores
        self._mint = mint
        key = "/api/v2/keys/{key}"
        ring = "/api/v2/key_rings/{ring}"
        table: list[tuple[str, str, frozenset[str], str, Handler]] = [
            ("HEAD", "/api/v2/keys", _READERS, "Keys could not be counted", self._count),
            ("GET", "/api/v2/keys", _READERS, "Keys could not be listed", self._list),
            ("POST", "/api/v2/keys", _WRITERS, "Key could not be created", self._create),
            (
                "POST",
                "/api/v2/keys_with_policy_overrides",
                _WRITERS,
                "Key could not be created",
                self._create,
            ),
            ("GET", key, _READERS, "Key could not be retrieved", self._get),
            ("GET", f"{key}/metadata", _READERS, "Key could not be retrieved", self._metadata),
            ("PATCH", key, _MANAGERS, "Key could not be updated", self._patch),
            ("DELETE", key, _MANAGERS, "Key could not be deleted", self._delete),
            ("POST", f"{key}/restore", _MANAGERS, "Key could not be restored", self._restore),
            ("GET", f"{key}/policies", _READERS, "Policies could not be read", self._policies),
            (
                "POST",
                f"{key}/actions/{{action}}",
                _WRITERS,
                "Action could not be performed",
                self._action,
            ),
            (
                "POST",
                f"{key}/aliases/{{alias}}",
                _WRITERS,
                "Alias could not be created",
                self._add_alias,
            ),
            (
                "DELETE",
                f"{key}/aliases/{{alias}}",
                _WRITERS,
                "Alias could not be deleted",
                self._remove_alias,
            ),
            ("GET", "/api/v2/key_rings", _READERS, "Key rings could not be listed", self._rings),
            ("POST", ring, _WRITERS, "Key ring could not be created", self._add_ring),
            ("DELETE", ring, _MANAGERS, "Key ring could not be deleted", self._remove_ring),
        ]
        routes = [
            Route(path, self._guard(roles, what, handler), methods=[method])
            for method, path, roles, what, handler in table
        ]
        rest = self._guard(_READERS, "Request could not be served", self._unknown)
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        routes.append(Route("/{rest:path}", rest, methods=methods))
        self.app: App = Router(routes, redirect_slashes=False)

    def _guard(
        self, roles: frozenset[str], what: str, handler: Handler
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                who = self._admit(request.scope, roles, what)
                response = await handler(request, who)
            except KmsError as error:
                response = _json(error.body(), ERROR_TYPE, error.status)
            _echo(request, response)
            return response

        return endpoint

    def _admit(self, scope: Scope, roles: frozenset[str], what: str) -> Principal:
        headers = {bytes(name): bytes(value).decode("latin-1") for name, value in scope["headers"]}
        instance = headers.get(b"bluemix-instance")
        if instance is None or not is_uuid(instance):
            raise KmsError("a Bluemix-Instance header holding a valid UUID is needed")
        who = self._mint.bearer(headers.get(b"authorization"))
        if who is not None:
            scope[NOTES].update(role=who.role.name, iam_id=who.iam_id)
        if (
            who is None
            or scope.get(EXPIRED)
            or who.account != self._identity.account
            or instance not in self._stores
            or who.role.kms is None
        ):
            raise KmsError("no access to this resource", status=401)
        if who.role.kms not in roles:
            raise KmsError(what, "UNAUTHORIZED_ERR")
        scope["store"] = self._stores[instance]
        return who

    def _store(self, request: Request) -> KeyStore:
        """The keys of the instance that the request is for, which `_admit` has checked."""
        store: KeyStore = request.scope["store"]
        return store

    async def _unknown(self, _request: Request, _who: Principal) -> Response:
        raise KmsError("no such path", status=404)

    # --- Keys ---------------------------------------------------------------------------------

    async def _count(self, request: Request, _who: Principal) -> Response:
        query = replace(KeyQuery.parse(request.query_params), offset=0, limit=sys.maxsize)
        keys = self._store(request).select(query, _ring(request))
        return Response(headers={"key-total": str(len(keys))})

    async def _list(self, request: Request, _who: Principal) -> Response:
        keys = self._store(request).select(KeyQuery.parse(request.query_params), _ring(request))
        return _collection([key.to_json(payload=False) for key in keys], KEY_TYPE)

    async def _create(self, request: Request, who: Principal) -> Response:
        new = NewKey.parse(await _body(request, "Key could not be created"))
        key = self._store(request).create(new, ring=_ring(request) or DEFAULT_RING, by=who.iam_id)
        return _collection([key.to_json(payload=not _wants_minimal(request))], KEY_TYPE, 201)

    async def _get(self, request: Request, who: Principal) -> Response:
        key = self._key(request, "Key could not be retrieved")
        value = key.to_json(payload=who.role.kms in _PAYLOAD_READERS)
        if request.scope.get("wrong-payload") and "payload" in value:
            value["payload"] = _altered(value["payload"])
        if "payload" in value:
            request.scope[NOTES]["payload"] = True
        return _collection([value], KEY_TYPE)

    async def _metadata(self, request: Request, _who: Principal) -> Response:
        key = self._key(request, "Key could not be retrieved")
        return _collection([key.to_json(payload=False)], KEY_TYPE)

    async def _patch(self, request: Request, _who: Principal) -> Response:
        what = "Key could not be updated"
        key = self._key(request, what)
        ring = parse_object(await _body(request, what), what).get("keyRingID")
        if not isinstance(ring, str):
            raise KmsError(what, "BAD_BODY_ERR", "Only keyRingID can be changed")
        return _collection([self._store(request).move(key, ring).to_json(payload=False)], KEY_TYPE)

    async def _delete(self, request: Request, who: Principal) -> Response:
        key = self._store(request).delete(
            self._key(request, "Key could not be deleted"), who.iam_id
        )
        if request.headers.get("prefer", "").strip() == "return=minimal":
            return Response(status_code=204)
        return _collection([key.to_json(payload=False)], KEY_TYPE)

    async def _restore(self, request: Request, _who: Principal) -> Response:
        key = self._store(request).restore(self._key(request, "Key could not be restored"))
        return _collection([key.to_json(payload=not _wants_minimal(request))], KEY_TYPE, 201)

    async def _policies(self, request: Request, _who: Principal) -> Response:
        key = self._key(request, "Policies could not be read")
        if not key.fields["dualAuthDelete"]["enabled"]:
            return _collection([], _POLICY_TYPE)
        created = {name: key.fields[name] for name in ("createdBy", "creationDate")}
        policy = {"type": _POLICY_TYPE, "dualAuthDelete": {"enabled": True}, **created}
        return _collection([policy], _POLICY_TYPE)

    async def _action(self, request: Request, _who: Principal) -> Response:
        key = self._key(request, "Action could not be performed")
        if key.extractable:
            raise KmsError("Action could not be performed", "KEY_ROOT_REQ_ERR")
        raise KmsError("the sandbox does nothing with root keys", status=501)

    def _key(self, request: Request, what: str) -> Key:
        return self._store(request).find(request.path_params["key"], _ring(request), what)

    # --- Aliases and rings --------------------------------------------------------------------

    async def _add_alias(self, request: Request, who: Principal) -> Response:
        what = "Alias could not be created"
        key, alias = self._key(request, what), request.path_params["alias"]
        check_alias(alias, what)
        return _collection(
            [self._store(request).add_alias(key, alias, who.iam_id)], _ALIAS_TYPE, 201
        )

    async def _remove_alias(self, request: Request, _who: Principal) -> Response:
        key = self._key(request, "Alias could not be deleted")
        self._store(request).remove_alias(key, request.path_params["alias"])
        return Response(status_code=204)

    async def _rings(self, request: Request, _who: Principal) -> Response:
        limit, offset = page(request.query_params)
        rings = self._store(request).rings()
        total = len(rings) if request.query_params.get("totalCount") == "true" else None
        return _collection(rings[offset : offset + limit], _RING_TYPE, total=total)

    async def _add_ring(self, request: Request, who: Principal) -> Response:
        ring = request.path_params["ring"]
        check_ring(ring, "Key ring could not be created")
        self._store(request).add_ring(ring, who.iam_id)
        return Response(status_code=201)

    async def _remove_ring(self, request: Request, _who: Principal) -> Response:
        force = request.query_params.get("force") == "true"
        self._store(request).remove_ring(request.path_params["ring"], force=force)
        return Response(status_code=204)


def error_body(_scope: Scope, status: int) -> tuple[bytes, Headers]:
    """What the service says when a fault is asked for: no reasons, as its gateway."""
    words = {429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}
    body = json.dumps(envelope(words.get(status, "Error"))).encode()
    return body, [(b"content-type", ERROR_TYPE.encode())]


async def _body(request: Request, what: str) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_MAX:
            raise KmsError(what, "BAD_BODY_ERR", "Body is larger than 1 MiB")
    return bytes(body)


def _ring(request: Request) -> str | None:
    return request.headers.get("x-kms-key-ring") or None


def _wants_minimal(request: Request) -> bool:
    """The default of the real service is not documented; here it is the short answer."""
    return request.headers.get("prefer", "return=minimal").strip() == "return=minimal"


def _collection(
    resources: list[dict[str, Any]], kind: str, status: int = 200, *, total: int | None = None
) -> Response:
    metadata: dict[str, Any] = {"collectionType": kind, "collectionTotal": len(resources)}
    if total is not None:
        metadata["totalCount"] = total
    value: dict[str, Any] = {"metadata": metadata}
    if resources:
        value["resources"] = resources
    return _json(value, kind, status)


def _json(value: object, kind: str, status: int) -> Response:
    return Response(json.dumps(value).encode(), status, headers={"content-type": kind})


def _echo(request: Request, response: Response) -> None:
    if correlation := request.headers.get("correlation-id"):
        response.headers["correlation-id"] = correlation[:200]


def _altered(payload: str) -> str:
    data = bytearray(base64.b64decode(payload))
    data[-1] ^= 1
    return base64.b64encode(data).decode()
