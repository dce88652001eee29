# SPDX-License-Identifier: Apache-2.0
"""The registry front: login, the signature store, and who answers which path.

``/v2/`` goes to docker-registry and ``/va/``, ``/api/v1/`` to the advisor, both behind unix
sockets; ``/extensions/v2/`` is answered here.
"""

from __future__ import annotations

import base64
import contextlib
import json
import sys

import aiohttp

from imgsec.sandbox.asgi import (
    App,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    answer,
    answer_json,
    header,
    read_body,
)
from imgsec.sandbox.front import oauth
from imgsec.sandbox.front.names import MANIFEST_PATH, REPOSITORY_MAX, SIGNATURES_PATH
from imgsec.sandbox.front.signatures import (
    LIST_MAX,
    ListFull,
    NameTaken,
    SignatureStore,
    StoredSignature,
    render,
)
from imgsec.sandbox.front.upstream import ClientGone, Upstream, lie_about_bytes, lie_about_digest
from imgsec.sandbox.seeds import REGISTRY_USER
from imgsec.sandbox.service import NOTES, ConnectionDropped, hang_up
from imgsec.sandbox.tokens import KeyRing, Principal, TokenMint

SUPPORTS: Headers = [
    (b"x-registry-supports-signatures", b"1"),
    (b"docker-distribution-api-version", b"registry/2.0"),
]
_BASIC = 'Basic realm="imgsec sandbox"'
_MANIFEST_TYPES = ",".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    )
)
_BEARER_USER = "iambearer"  # icr.io's user name for "the password is an access token"
_READS = frozenset({"GET", "HEAD"})
_ADVISOR_PREFIXES = ("/va/", "/api/v1/")
_LIES = {"wrong-digest": lie_about_digest, "wrong-bytes": lie_about_bytes}


class Door:
    """Sends each request to the registry or to the advisor, which share one address.

    The advisor checks its own tokens, writes its own log and has its own faults.
    """

    def __init__(self, registry: App, advisor: Upstream) -> None:
        self._registry = registry
        self._advisor = advisor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if not scope["path"].startswith(_ADVISOR_PREFIXES):
            await self._registry(scope, receive, send)
            return
        try:
            await self._advisor.forward(scope, receive, send, keep_authorization=True)
        except ClientGone:
            pass
        except (aiohttp.ClientError, OSError):  # what broke off there breaks off here
            with contextlib.suppress(ConnectionDropped):
                await hang_up(scope, receive)


class RegistryFront:
    """Login, signature store and the way to docker-registry."""

    def __init__(
        self, registry: Upstream, signatures: SignatureStore, keys: KeyRing, mint: TokenMint
    ) -> None:
        self._registry = registry
        self._signatures = signatures
        self._keys = keys
        self._mint = mint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]

        async def announcing(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in SUPPORTS}
                own = [pair for pair in message["headers"] if pair[0] not in names]
                offered = () if scope.get("no-extension") else SUPPORTS
                message = {**message, "headers": [*own, *offered]}
            await send(message)

        authorization = header(scope, b"authorization")
        if scope.get("bearer") and path != oauth.TOKEN_PATH:
            needs = oauth.needed(scope["method"], path, scope["query_string"].decode("latin-1"))
            asks = oauth.challenge(header(scope, b"host") or "", needs)
            who = oauth.holder(authorization, needs, self._mint)
        else:
            asks = _BASIC
            who = self._login(authorization)
        if who is None:
            challenge = [(b"www-authenticate", asks.encode("latin-1"))]
            await _error(announcing, 401, "UNAUTHORIZED", "authentication required", challenge)
            return
        scope[NOTES].update(role=who.role.name, iam_id=who.iam_id)
        if scope.get("bearer") and path == oauth.TOKEN_PATH:
            query = scope["query_string"].decode("latin-1")
            await answer_json(send, 200, {"token": oauth.mint_token(who, query, self._mint)}, [])
        elif scope["method"] not in _READS and not who.role.pushes:
            await _error(announcing, 403, "DENIED", "this credential may only read")
        elif path.startswith("/extensions/") and not scope.get("no-extension"):
            await self._extension(scope, receive, announcing)
        elif path.startswith("/v2"):
            await self._pass_on(scope, receive, announcing)
        else:
            await _error(announcing, 404, "NOT_FOUND", "no such path")

    def _login(self, authorization: str | None) -> Principal | None:
        scheme, _, encoded = (authorization or "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, _, secret = (
                base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
            )
        except ValueError:
            return None
        if user == REGISTRY_USER:
            who = self._keys.find(secret)
        elif user == _BEARER_USER:
            who = self._mint.bearer(f"Bearer {secret}")
        else:
            who = None
        return who if who is not None and not who.role.foreign else None

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        manifest = MANIFEST_PATH.fullmatch(scope["path"])
        lies = [lie for word, lie in _LIES.items() if scope.get(word)]
        try:
            status = await self._registry.forward(
                scope,
                receive,
                noting,
                keep_authorization=False,
                rewrite=lies[0] if lies and manifest else None,
            )
        except ClientGone:
            return
        except (aiohttp.ClientError, OSError) as error:
            print(f"{scope['method']} {scope['path']}: {error!r}", file=sys.stderr)
            if started:
                await hang_up(scope, receive)
            await _error(send, 502, "UNKNOWN", "the registry behind the front does not answer")
            return
        if manifest and scope["method"] == "DELETE" and status == 202:
            self._signatures.forget(manifest["repository"], manifest["reference"])

    async def _extension(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = SIGNATURES_PATH.fullmatch(scope["path"])
        if found is None or len(found["repository"]) > REPOSITORY_MAX:
            await _error(send, 404, "NAME_UNKNOWN", "no such path")
            return
        repository, digest = found["repository"], found["digest"]
        if scope["method"] not in ("GET", "PUT"):
            await _error(send, 405, "UNSUPPORTED", "signatures can be read and added only")
            return
        try:
            exists = await self._registry.status(
                "HEAD", f"/v2/{repository}/manifests/{digest}", {"Accept": _MANIFEST_TYPES}
            )
        except (aiohttp.ClientError, OSError):
            await _error(send, 502, "UNKNOWN", "the registry behind the front does not answer")
            return
        if exists != 200:
            await _error(send, 404, "MANIFEST_UNKNOWN", "the repository has no such image")
        elif scope["method"] == "GET":
            body = render(self._signatures.of(repository, digest))
            await answer(send, 200, body, [(b"content-type", b"application/json")])
        else:
            await self._add(repository, digest, receive, send)

    async def _add(self, repository: str, digest: str, receive: Receive, send: Send) -> None:
        body = await read_body(receive, LIST_MAX)
        if body is None:
            await _error(send, 413, "SIGNATURE_INVALID", "the signature is larger than 4 MiB")
            return
        try:
            self._signatures.add(repository, digest, StoredSignature.parse(body, digest))
        except ValueError as error:
            await _error(send, 400, "SIGNATURE_INVALID", str(error))
        except NameTaken:
            await _error(send, 409, "SIGNATURE_EXISTS", "the image has a signature of that name")
        except ListFull:
            await _error(send, 400, "SIGNATURE_INVALID", "the list would be larger than 4 MiB")
        else:
            await answer(send, 201, b"")


def error_body(_scope: Scope, status: int) -> tuple[bytes, Headers]:
    """What the registry says when a fault is asked for."""
    code = {403: "DENIED", 429: "TOOMANYREQUESTS", 503: "UNAVAILABLE"}.get(status, "UNKNOWN")
    body = json.dumps({"errors": [{"code": code, "message": "the sandbox was told to fail"}]})
    return body.encode(), [(b"content-type", b"application/json"), *SUPPORTS]


async def _error(
    send: Send, status: int, code: str, message: str, headers: Headers | None = None
) -> None:
    value = {"errors": [{"code": code, "message": message, "detail": None}]}
    await answer_json(send, status, value, headers or [])
