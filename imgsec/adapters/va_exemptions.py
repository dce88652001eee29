# SPDX-License-Identifier: Apache-2.0
"""Vulnerability Advisor v4: the exemptions of an account.

Its API takes no body: an exemption is its type, issue and scope, and nothing else. A scope is sent
without the registry's host, as it is documented, and encoded as one segment, as IBM's clients do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from imgsec.adapters._account import AccountApi, said
from imgsec.adapters._http import Answer, Http
from imgsec.adapters.scan_reports import MALFORMED
from imgsec.adapters.scan_reports._parts import as_text, listed, needed
from imgsec.domain.exemption import ExemptionScope, KeptExemption
from imgsec.errors import ImgsecError
from imgsec.ports import ExemptionWriter
from imgsec.reasons import REQUEST_REFUSED

_NOT_FOUND, _BAD_REQUEST = 404, 400
_DONE = (200, 201, 204)
_NO_SEGMENTS = (".", "..")  # of an address: clients take them for steps
_READING = "the role Reader or Manager for Container Registry, for the whole account"
_CHANGING = "the role Manager for Container Registry, for the whole account"


class AdvisorExemptions(ExemptionWriter):
    """See `imgsec.ports.ExemptionWriter`."""

    def __init__(self, http: Http, account: AccountApi) -> None:
        self._http = http
        self._account = account

    def account_at(self, registry: str) -> str | None:
        """The account whose exemptions they are. Raises (not-assessed), and without a token."""
        self._account.require_served(registry)
        return self._account.account

    def list_exemptions(self, registry: str) -> tuple[KeptExemption, ...]:
        """See `imgsec.ports.ExemptionReader`."""
        answer = self._ask("GET", registry, "exemptions/account", _READING)
        try:
            return tuple(_kept(item) for item in listed(answer.json()))
        except MALFORMED:
            raise ImgsecError(answer.malformed("no list of exemptions")) from None

    def list_types(self, registry: str) -> tuple[tuple[str, str], ...]:
        """See `imgsec.ports.ExemptionReader`."""
        answer = self._ask("GET", registry, "exempt/types", _READING)
        try:
            return tuple(
                (needed(item["identifier"]), as_text(item.get("display_name")))
                for item in listed(answer.json())
            )
        except MALFORMED:
            raise ImgsecError(answer.malformed("no list of types")) from None

    def add_exemption(self, registry: str, exemption: KeptExemption) -> None:
        """See `imgsec.ports.ExemptionWriter`. It may be repeated: POST creates or updates."""
        self._ask("POST", registry, _path(exemption), _CHANGING)

    def remove_exemption(self, registry: str, exemption: KeptExemption) -> None:
        """See `imgsec.ports.ExemptionWriter`."""
        self._ask("DELETE", registry, _path(exemption), _CHANGING, gone=(_NOT_FOUND,))

    def _ask(
        self, method: str, registry: str, path: str, needs: str, gone: tuple[int, ...] = ()
    ) -> Answer:
        """gone: statuses that mean that it is done already. Raises `ImgsecError`."""
        url = f"https://{registry}/va/api/v4/{path}"
        answer = self._account.ask(
            registry,
            lambda headers: self._http.request(method, url, headers=headers, repeats=True),
        )
        if answer.status in (*_DONE, *gone):
            if answer.body.strip():
                answer.json()  # a page of something in between is no yes
            return answer
        if answer.status in (_BAD_REQUEST, _NOT_FOUND):
            text = f"{answer.url} answered {answer.status}: {said(answer)}"
            raise ImgsecError(REQUEST_REFUSED(text))
        raise ImgsecError(answer.failure(said(answer), needs=needs))


def _path(exemption: KeptExemption) -> str:
    issue = f"issue/{quote(exemption.type, safe='')}/{quote(exemption.issue, safe='')}"
    if exemption.scope == "*":
        return f"exempt/image/{issue}"
    return f"exempt/image/{quote(exemption.scope, safe='')}/{issue}"


def _kept(item: Mapping[str, Any]) -> KeptExemption:
    """One exemption. Which member of a scope carries a digest is not documented; `tag` is likely.

    Raises `MALFORMED`, also for a kind of scope that nobody knows: what exempts who knows what is
    neither kept nor removed, but looked into. Nor is anything taken that could name another path.
    """
    scope = item["scope"]
    kind = needed(scope["scope_type"])
    parts = [as_text(scope.get(name)) for name in ("namespace", "repository", "tag")]
    count = {"account": 0, "namespace": 1, "repository": 2, "image": 3}[kind]
    if not all(parts[:count]):
        raise ValueError("a scope is not whole")
    path = "/".join(parts[: min(count, 2)])
    at = ""
    if kind == "image":
        digest = as_text(scope.get("digest"))
        at = f"@{parts[2]}" if parts[2].startswith("sha256:") else f":{parts[2]}"
        at = f"@{digest}" if digest else at
    if path:
        ExemptionScope.parse(f"{path}{at}")
    words = needed(item["issue_type"]), needed(item["issue_id"])
    if any(word in _NO_SEGMENTS for word in words):
        raise ValueError("an issue has no name")
    return KeptExemption(*words, f"{path}{at}" or "*")
