# SPDX-License-Identifier: Apache-2.0
"""Who may ask: seeded API keys with their roles, and the access tokens minted for them.

Tokens are three-part JWTs with integer times, because IBM's SDK decodes them; they are signed
with HS256 by a key of the sandbox (the real service uses RS256 and publishes its keys). Not here:
the token endpoint (`iam`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from imgsec.sandbox.folder import StateFolder

ISSUER = "https://iam.cloud.ibm.com/identity"


@dataclass(frozen=True, slots=True)
class Role:
    """What a seeded API key may do. KMS roles are Key Protect's own words."""

    name: str
    kms: str | None
    pushes: bool
    manages: bool  # advisor exemptions; a right of its own on the real service
    foreign: bool = False


ROLES = {
    role.name: role
    for role in (
        Role("manager", "Manager", pushes=True, manages=True),
        Role("writer", "Writer", pushes=True, manages=False),
        Role("readerplus", "ReaderPlus", pushes=False, manages=False),
        Role("reader", "Reader", pushes=False, manages=False),
        Role("nokms", None, pushes=True, manages=True),
        Role("foreign", "Manager", pushes=False, manages=True, foreign=True),
    )
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody whom the token service knows."""

    iam_id: str
    account: str
    role: Role


class KeyRing:
    """The seeded API keys; answers to whom a key belongs, in constant time per key."""

    def __init__(self, by_role: Mapping[str, Mapping[str, str]]) -> None:
        self._by_role = by_role

    @classmethod
    def load(cls, folder: StateFolder) -> Self:
        """Read the keys that were seeded in FOLDER."""
        return cls(json.loads(folder.api_keys.read_bytes()))

    def find(self, api_key: str) -> Principal | None:
        """Whose key is this?"""
        found = None
        for role, entry in self._by_role.items():
            if hmac.compare_digest(entry["apikey"].encode(), api_key.encode()):
                found = self.principal(role)
        return found

    def principal(self, role: str) -> Principal:
        """The holder of the key that was seeded for ROLE."""
        entry = self._by_role[role]
        return Principal(entry["iam_id"], entry["account"], ROLES[role])


class TokenMint:
    """Makes and checks tokens with the sandbox's own key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def load(cls, folder: StateFolder) -> Self:
        """Use the key that was seeded in FOLDER."""
        return cls(folder.token_key.read_bytes())

    def access_token(self, who: Principal, grant: str, issued: int, expires: int) -> str:
        """An access token as IAM mints them, with the members that clients look at."""
        subject = who.iam_id.removeprefix("iam-")
        return self.sign(
            {
                "iam_id": who.iam_id,
                "id": who.iam_id,
                "realmid": "iam",
                "jti": secrets.token_hex(8),
                "identifier": subject,
                "sub": subject,
                "sub_type": "ServiceId",
                "account": {"valid": True, "bss": who.account},
                "iat": issued,
                "exp": expires,
                "iss": ISSUER,
                "grant_type": grant,
                "scope": "ibm openid",
                "client_id": "default",
                "acr": 1,
                "amr": ["pwd"],
                "sandbox_role": who.role.name,
            }
        )

    def sign(self, claims: Mapping[str, Any]) -> str:
        """A JWT over CLAIMS."""
        head = _encode(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "sandbox-1"}).encode())
        body = _encode(json.dumps(claims, separators=(",", ":")).encode())
        return f"{head}.{body}.{self._signature(f'{head}.{body}')}"

    def read(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that this sandbox signed and that is in force; else None."""
        try:
            head, body, signature = token.split(".")
            if not hmac.compare_digest(self._signature(f"{head}.{body}"), signature):
                return None
            claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
            return claims if time.time() < claims["exp"] else None
        except (ValueError, TypeError, KeyError):
            return None

    def bearer(self, authorization: str | None) -> Principal | None:
        """Whose access token an Authorization header carries; a registry's own is none."""
        scheme, _, token = (authorization or "").partition(" ")
        claims = self.read(token.strip()) if scheme.lower() == "bearer" else None
        role = ROLES.get(str(claims.get("sandbox_role"))) if claims else None
        if claims is None or role is None or "access" in claims:
            return None
        return Principal(claims["iam_id"], claims["account"]["bss"], role)

    def _signature(self, text: str) -> str:
        return _encode(hmac.new(self._key, text.encode(), hashlib.sha256).digest())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
