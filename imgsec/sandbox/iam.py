# SPDX-License-Identifier: Apache-2.0
"""The token endpoint: what IBM Cloud IAM answers under ``/identity/token``.

Grants ``apikey`` and ``cr-token``. Codes and shapes as documented for the public service; the
texts are ours.
"""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime
from urllib.parse import parse_qs

from imgsec.sandbox.asgi import Headers, Receive, Scope, Send, answer_json, header, read_body
from imgsec.sandbox.identity import Identity
from imgsec.sandbox.service import EXPIRED, NOTES
from imgsec.sandbox.tokens import KeyRing, Principal, TokenMint

_PREFIX = "urn:ibm:params:oauth:grant-type:"
_BODY_MAX = 64 * 1024
_JSON: Headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]


class _Refusal(Exception):
    def __init__(self, status: int, code: str, message: str, details: str | None = None) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.details = status, code, message, details


class TokenService:
    """The ASGI application."""

    def __init__(self, identity: Identity, keys: KeyRing, mint: TokenMint) -> None:
        self._identity = identity
        self._keys = keys
        self._mint = mint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.time()
        try:
            value = await self._token(scope, receive)
        except _Refusal as refusal:
            body = {"errorCode": refusal.code, "errorMessage": refusal.message}
            if refusal.details:
                body["errorDetails"] = refusal.details
            context = _context(scope, started)
            await answer_json(send, refusal.status, {**body, "context": context}, _JSON[1:])
        else:
            await answer_json(send, 200, value, _JSON[1:])

    async def _token(self, scope: Scope, receive: Receive) -> dict[str, object]:
        if scope["path"] not in ("/identity/token", "/oidc/token"):
            raise _Refusal(404, "BXNIM0106E", "No such path")
        if scope["method"] != "POST":
            raise _Refusal(405, "BXNIM0060E", "Method not allowed")
        body = await read_body(receive, _BODY_MAX)
        if body is None:
            raise _Refusal(400, "BXNIM0109E", "The request is too large")
        form = _form(body) if _is_form(scope) else {}
        grant = _needed(form, "grant_type")
        scope[NOTES]["grant"] = grant[:100]
        grants = {f"{_PREFIX}apikey": self._by_api_key, f"{_PREFIX}cr-token": self._by_cr_token}
        if grant not in grants:
            raise _Refusal(
                400, "BXNIM0109E", "A property has a wrong value", "grant_type is not supported"
            )
        who = grants[grant](form)
        scope[NOTES].update(role=who.role.name, iam_id=who.iam_id)
        now = int(time.time())
        lifetime = self._identity.settings.token_lifetime
        issued = now - lifetime - 3600 if scope.get(EXPIRED) else now
        expires = issued + lifetime
        return {
            "access_token": self._mint.access_token(who, grant, issued, expires),
            "refresh_token": "not_supported",
            "ims_user_id": 1234567,
            "token_type": "Bearer",
            "expires_in": lifetime,
            "expiration": expires,
            "scope": "ibm openid",
        }

    def _by_api_key(self, form: dict[str, str]) -> Principal:
        who = self._keys.find(_needed(form, "apikey"))
        if who is None:
            raise _Refusal(400, "BXNIM0415E", "No such API key")
        return who

    def _by_cr_token(self, form: dict[str, str]) -> Principal:
        token = _needed(form, "cr_token")
        profile = form.get("profile_id") or form.get("profile_name") or form.get("profile_crn")
        if not profile:
            raise _Refusal(
                400,
                "BXNIM0109E",
                "A required property is absent",
                "profile_id, profile_name or profile_crn is needed",
            )
        claims = self._mint.read(token)
        if claims is None or "iam" not in claims.get("aud", ()) or profile not in self._profiles():
            raise _Refusal(
                400, "BXNIM0398E", "This trusted profile cannot be used by the compute resource"
            )
        return self._keys.principal("manager")

    def _profiles(self) -> tuple[str, str, str]:
        account, profile = self._identity.account, self._identity.profile_id
        crn = f"crn:v1:bluemix:public:iam-identity::a/{account}::profile:{profile}"
        return (profile, "imgsec-sandbox", crn)


def error_body(scope: Scope, status: int) -> tuple[bytes, Headers]:
    """What the endpoint says when it fails; the real code is not known."""
    words = {429: "Too many requests", 500: "Internal error", 503: "Service unavailable"}
    value = {
        "errorCode": f"SANDBOX{status}",
        "errorMessage": words.get(status, "Error"),
        "context": _context(scope, time.time()),
    }
    return json.dumps(value).encode(), _JSON


def _is_form(scope: Scope) -> bool:
    kind = (header(scope, b"content-type") or "").partition(";")[0].strip().lower()
    return kind == "application/x-www-form-urlencoded"


def _form(body: bytes) -> dict[str, str]:
    try:
        return {
            name: values[0] for name, values in parse_qs(body.decode(), max_num_fields=50).items()
        }
    except ValueError:
        return {}


def _needed(form: dict[str, str], name: str) -> str:
    if not (value := form.get(name)):
        raise _Refusal(400, "BXNIM0109E", "A required property is absent", f"{name} is needed")
    return value


def _context(scope: Scope, started: float) -> dict[str, str]:
    def words(moment: float) -> str:
        point = datetime.fromtimestamp(moment, UTC)
        return point.strftime("%d.%m.%Y %H:%M:%S:") + f"{point.microsecond // 1000:03d} UTC"

    ended = time.time()
    return {
        "requestId": secrets.token_urlsafe(12),
        "requestType": "incoming.Identity_Token",
        "userAgent": (header(scope, b"user-agent") or "")[:200],
        "url": "https://iam.cloud.ibm.com",
        "instanceId": "iamid-sandbox-0",
        "threadId": "1a2b3",
        "host": "iamid-sandbox-0",
        "startTime": words(started),
        "endTime": words(ended),
        "elapsedTime": str(int((ended - started) * 1000)),
        "locale": "en_US",
        "clusterName": "sandbox",
    }
