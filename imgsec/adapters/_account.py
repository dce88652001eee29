# SPDX-License-Identifier: Apache-2.0
"""What IBM's services at a registry's host share: the token, the account's header, the errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from imgsec.adapters._http import Answer
from imgsec.adapters.iam import IamTokens
from imgsec.domain.hosts import may_have_iam_token
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import NOT_ASSESSED

_UNAUTHORIZED, _NOT_FOUND = 401, 404


class AccountApi:
    """Asks in the name of an account. account: its id, or None to take it from the token.

    tokens: made when they are needed, as no credential is for a registry that it does not serve.
    """

    def __init__(
        self,
        tokens: Callable[[], IamTokens],
        *,
        account: str | None = None,
        trusted: tuple[str, ...] = (),
    ) -> None:
        self._tokens = tokens
        self._account = account
        self._trusted = trusted

    def require_served(self, registry: str) -> None:
        """Raises `ImgsecError` (not-assessed) for a host that no token may go to."""
        if not may_have_iam_token(registry, self._trusted):
            hint = (
                "Add a source, --report FILE or --scanner trivy; or name a registry of IBM Cloud."
            )
            text = f"{registry} is not served by Vulnerability Advisor"
            raise ImgsecError(NOT_ASSESSED(text, hint=hint))

    @property
    def account(self) -> str | None:
        """Its id; None where neither the caller nor the token says it. May ask for a token."""
        return self._account or self._tokens().account()

    def ask(self, registry: str, send: Callable[[Mapping[str, str]], Answer]) -> Answer:
        """The answer to a request of this host; a token that it refuses is replaced once.

        send: makes the request with these headers.
        """
        self.require_served(registry)
        answer = send(self._headers(registry))
        if answer.status == _UNAUTHORIZED and self._tokens().forget():
            answer = send(self._headers(registry))
        return answer

    def _headers(self, registry: str) -> dict[str, str]:
        tokens = self._tokens()
        headers = {**tokens.authorization(registry), "Accept": "application/json"}
        if (account := self.account) is not None:
            headers["Account"] = account
        return headers


def said(answer: Answer) -> str:
    """The service's own words for an error."""
    try:
        body = answer.json()
        return shown(f"{body['code']} {body['message']}")
    except (ImgsecError, KeyError, TypeError):
        return "no reason given"


def is_plain_no(answer: Answer) -> bool:
    """The service itself says that there is no such thing, and no page in front of it."""
    return answer.status == _NOT_FOUND and isinstance(answer.json(), dict)


def moment(value: object) -> datetime | None:
    """A time in Unix seconds; None for 0, which they write for no time, and for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
