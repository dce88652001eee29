# SPDX-License-Identifier: Apache-2.0
"""Tokens of the registry's own: what a request needs, and what a login is given.

Distribution, `spec/auth/token` and `spec/auth/scope`; which actions a request needs is what
`distribution` asks for (`registry/handlers/app.go`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs

from imgsec.sandbox.front.names import REPOSITORY
from imgsec.sandbox.tokens import ROLES, Principal, Role, TokenMint

TOKEN_PATH = "/oauth/token"  # noqa: S105 - a path
SERVICE = "registry"
_SECONDS = 300
_WITHIN = re.compile(
    rf"(?:/v2/(?P<held>{REPOSITORY})/(?:manifests|blobs|tags)/.*"
    rf"|/extensions/v2/(?P<signed>{REPOSITORY})/signatures/.*)"
)
_SCOPE = re.compile(rf"repository:(?P<name>{REPOSITORY}):(?P<actions>[a-z*,]+)")
_READS, _WRITES, _DELETES = ("pull",), ("pull", "push"), ("delete",)
Access = dict[str, tuple[str, ...]]  # repository -> actions


def needed(method: str, path: str, query: str) -> Access:
    """What a token must allow for a request; nothing for one outside of any repository.

    >>> needed("POST", "/v2/b/blobs/uploads/", "mount=sha256:1&from=a")
    {'b': ('pull', 'push'), 'a': ('pull',)}
    """
    found = _WITHIN.fullmatch(path)
    if found is None:
        return {}
    actions = {"GET": _READS, "HEAD": _READS, "DELETE": _DELETES}.get(method, _WRITES)
    needs: Access = {found["held"] or found["signed"]: actions}
    for source in parse_qs(query).get("from", ())[:1]:
        needs.setdefault(source, _READS)
    return needs


def challenge(host: str, needs: Access) -> str:
    """The header of the 401 that asks for such a token."""
    scopes = " ".join(f"repository:{name}:{','.join(actions)}" for name, actions in needs.items())
    said = f'Bearer realm="https://{host}{TOKEN_PATH}",service="{SERVICE}"'
    return f'{said},scope="{scopes}",error="insufficient_scope"' if scopes else said


def mint_token(who: Principal, query: str, mint: TokenMint) -> str:
    """A token for as much of the scopes in a query as the role allows."""
    granted: dict[str, list[str]] = {}
    for scope in " ".join(parse_qs(query).get("scope", ())).split():
        if found := _SCOPE.fullmatch(scope):
            asked = found["actions"].split(",")
            granted.setdefault(found["name"], []).extend(_allowed(asked, who.role))
    claims: Mapping[str, Any] = {
        "iam_id": who.iam_id,
        "account": {"bss": who.account},
        "sandbox_role": who.role.name,
        "exp": int(time.time()) + _SECONDS,
        "access": granted,
    }
    return mint.sign(claims)


def holder(authorization: str | None, needs: Access, mint: TokenMint) -> Principal | None:
    """Who sent a request, if the token with it allows what it needs."""
    scheme, _, token = (authorization or "").partition(" ")
    claims = mint.read(token.strip()) if scheme.lower() == "bearer" else None
    if claims is None or not isinstance(claims.get("access"), dict):
        return None
    for name, actions in needs.items():
        if not set(actions) <= set(claims["access"].get(name, ())):
            return None
    return Principal(claims["iam_id"], claims["account"]["bss"], ROLES[claims["sandbox_role"]])


def _allowed(asked: Iterable[str], role: Role) -> list[str]:
    allowed = [*_READS, *(["push"] if role.pushes else []), *(["delete"] if role.manages else [])]
    return [action for action in asked if action in allowed]
