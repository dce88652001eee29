# SPDX-License-Identifier: Apache-2.0
"""Key Protect v2 (and Hyper Protect Crypto Services), as far as signing keys need it.

A signing key is a standard key (``extractable``): alias NAME holds the secret half, alias
NAME-public the public half. The alias is the only uniqueness guard that the service has, so every
create names one, and a create whose answer was lost is looked up before it is repeated.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import quote

from imgsec.adapters._http import ATTEMPTS, Answer, Http, patience, waits
from imgsec.adapters.iam import IamTokens
from imgsec.domain.hosts import ServiceUrl
from imgsec.domain.keys import SecretBytes, is_uuid
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError, KeyDeleted, KeyExists, KeyNotFound
from imgsec.ports import StoredKey
from imgsec.reasons import (
    ANSWER_TOO_LARGE,
    CREDENTIAL_REJECTED,
    KEY_CONFLICT,
    KEY_MALFORMED,
    KEY_NOT_FOUND,
    KEY_TOO_LARGE,
    PERMISSION_DENIED,
    REQUEST_REFUSED,
    Reason,
)

PAYLOAD_MAX_BYTES = 7500  # Key Protect: material of a standard key, before base64
_KEY_TYPE = "application/vnd.ibm.kms.key+json"
_OK, _CREATED, _NO_CONTENT = 200, 201, 204
_BAD_REQUEST, _UNAUTHORIZED, _NOT_FOUND, _CONFLICT, _GONE = 400, 401, 404, 409, 410
_PAGE, _PAGES_MAX = 200, 500  # Key Protect: 200 by default, 5,000 at most
_DESTROYED = 5
# Key Protect (NIST SP 800-57, 7): a standard key is only ever active or destroyed.
_STATES = {0: "pre-active", 1: "active", 2: "suspended", 3: "deactivated", 5: "destroyed"}
_ALIAS_TAKEN, _TOO_MANY_ALIASES = "KEY_ALIAS_NOT_UNIQUE_ERR", "KEY_ALIAS_QUOTA_ERR"


_Made = TypeVar("_Made")


class Kms:
    """One instance of the key service. instance: its UUID."""

    def __init__(
        self,
        http: Http,
        tokens: IamTokens,
        *,
        url: ServiceUrl,
        instance: str,
        key_ring: str | None = None,
    ) -> None:
        self._http = http
        self._tokens = tokens
        self._url = url
        self._instance = instance
        self._key_ring = key_ring

    @property
    def address(self) -> tuple[str, str]:
        return str(self._url), self._instance

    def find_key(self, name: str) -> StoredKey:
        """See `imgsec.ports.KeyReader`. Asks for metadata, which never holds a payload."""
        return _stored(self._resource(name, "/metadata"))

    def fetch_key(self, name: str) -> tuple[StoredKey, SecretBytes]:
        """See `imgsec.ports.KeyReader`."""
        resource = self._resource(name, "")
        payload = resource.get("payload")
        if payload is None or payload == "":
            raise ImgsecError(
                PERMISSION_DENIED(
                    f"the KMS gives no payload for {shown(name)}",
                    hint="Reading needs the role ReaderPlus or Writer, and a standard key.",
                )
            )
        try:
            content = base64.b64decode(payload, validate=True)
        except (TypeError, ValueError):  # binascii.Error is one
            raise ImgsecError(KEY_MALFORMED(f"the payload of {shown(name)} is no base64")) from None
        return _stored(resource), SecretBytes(content)

    def list_keys(self) -> Iterator[StoredKey]:
        """See `imgsec.ports.KeyReader`. The page that is not full is the last one."""
        for number in range(_PAGES_MAX):
            query = f"extractable=true&sort=creationDate&limit={_PAGE}&offset={number * _PAGE}"
            answer = self._ask("GET", f"/api/v2/keys?{query}")
            if answer.status != _OK:
                raise ImgsecError(_failure(answer, "list the keys", "Reader"))
            resources = _resources(answer)
            if len(resources) != _total(answer):  # it must never look emptier than it is
                raise ImgsecError(answer.malformed("half a list of keys"))
            yield from map(_stored, resources)
            if len(resources) < _PAGE:
                return
        raise ImgsecError(ANSWER_TOO_LARGE(f"the KMS lists more than {_PAGES_MAX * _PAGE} keys"))

    def store_key(
        self, alias: str, content: SecretBytes, *, name: str, description: str
    ) -> StoredKey:
        """See `imgsec.ports.KeyWriter`."""
        size = len(content.reveal())
        if size > PAYLOAD_MAX_BYTES:
            raise ImgsecError(
                KEY_TOO_LARGE(f"the key has {size} bytes, the KMS holds {PAYLOAD_MAX_BYTES}")
            )
        body = json.dumps(
            {
                "metadata": {"collectionType": _KEY_TYPE, "collectionTotal": 1},
                "resources": [
                    {
                        "type": _KEY_TYPE,
                        "name": name,
                        "description": description,
                        "aliases": [alias],
                        "extractable": True,
                        "payload": base64.b64encode(content.reveal()).decode(),
                    }
                ],
            }
        ).encode()
        return self._make(
            "/api/v2/keys",
            body,
            f"store a key as {alias}",
            statuses=(_CREATED,),
            made=lambda answer: _stored(_first_resource(answer)),
            look_up=lambda: self._look_up(alias),
        )

    def add_alias(self, key_id: str, alias: str) -> None:
        """See `imgsec.ports.KeyWriter`."""

        def look_up() -> bool | None:
            held = self._look_up(alias)
            return True if held and held.id == key_id else None

        try:
            self._make(
                f"/api/v2/keys/{quote(key_id, safe='')}/aliases/{quote(alias, safe='')}",
                b"",
                f"give the alias {alias} to the key {key_id}",
                statuses=(_OK, _CREATED),
                made=lambda _: True,
                look_up=look_up,
            )
        except KeyExists:
            if look_up() is None:
                raise

    def remove_alias(self, key_id: str, alias: str) -> None:
        """See `imgsec.ports.AliasMover`."""
        path = f"/api/v2/keys/{quote(key_id, safe='')}/aliases/{quote(alias, safe='')}"
        answer = self._ask("DELETE", path)
        if answer.status not in (_OK, _NO_CONTENT, _NOT_FOUND, _GONE):
            raise ImgsecError(_failure(answer, f"take the alias {alias} away", "Writer"))

    def _make(
        self,
        path: str,
        body: bytes,
        attempted: str,
        *,
        statuses: tuple[int, ...],
        made: Callable[[Answer], _Made],
        look_up: Callable[[], _Made | None],
    ) -> _Made:
        """A POST that is never repeated blindly: before each repetition, look whether it was done.

        Raises `KeyExists` where the alias is another key's.
        """
        for attempt, own_wait in enumerate(islice(waits(), ATTEMPTS), start=1):
            wait = own_wait
            try:
                answer = self._ask("POST", path, body=body)
            except ImgsecError as error:
                failure = error
            else:
                if answer.status in statuses:
                    return made(answer)
                failure = ImgsecError(_failure(answer, attempted, "Writer"))
                wait = patience(own_wait, answer.headers)
                if 400 <= answer.status < 500 and _ALIAS_TAKEN in _codes(answer):
                    raise KeyExists(KEY_CONFLICT(failure.reason.text)) from None
            if not failure.reason.retryable:
                raise failure
            # It may have been done, and only the answer lost: look before trying again.
            if (done := look_up()) is not None:
                return done
            if attempt < ATTEMPTS:
                time.sleep(wait)
        raise failure

    def _look_up(self, alias: str) -> StoredKey | None:
        try:
            return self.find_key(alias)
        except KeyNotFound:
            return None

    def _resource(self, name: str, suffix: str) -> Mapping[str, Any]:
        answer = self._ask("GET", f"/api/v2/keys/{quote(name, safe='')}{suffix}")
        if answer.status in (_NOT_FOUND, _GONE):
            raise KeyNotFound(KEY_NOT_FOUND(f"the KMS has no key {shown(name)}"))
        if answer.status != _OK:
            raise ImgsecError(_failure(answer, f"read the key {shown(name)}", "ReaderPlus"))
        resource = _first_resource(answer)
        if resource.get("state") == _DESTROYED or resource.get("deleted") is True:
            raise KeyDeleted(
                KEY_NOT_FOUND(
                    f"the key {shown(name)} was deleted in the KMS, and keeps its alias",
                    hint="Restore it in the KMS within 30 days, or delete its alias there.",
                )
            )
        return resource

    def _ask(self, method: str, path: str, *, body: bytes | None = None) -> Answer:
        answer = self._ask_once(method, path, body)
        if answer.status == _UNAUTHORIZED and self._tokens.forget():
            return self._ask_once(method, path, body)
        return answer

    def _ask_once(self, method: str, path: str, body: bytes | None) -> Answer:
        headers = {
            **self._tokens.authorization(self._url.authority),
            "bluemix-instance": self._instance,
            "accept": _KEY_TYPE,
        }
        if self._key_ring is not None:
            headers["x-kms-key-ring"] = self._key_ring
        if body is not None:
            headers |= {"content-type": _KEY_TYPE, "prefer": "return=minimal"}
        return self._http.request(method, f"{self._url}{path}", headers=headers, body=body)


def _first_resource(answer: Answer) -> Mapping[str, Any]:
    resources = _resources(answer)
    if not resources:
        raise ImgsecError(answer.malformed("no key object"))
    return resources[0]


def _resources(answer: Answer) -> list[Mapping[str, Any]]:
    """The key objects of an answer; a collection without any has no such member."""
    document = answer.json()
    try:
        resources = document.get("resources", [])
        if not all(is_uuid(resource["id"]) for resource in resources):
            raise ValueError
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise ImgsecError(answer.malformed("no key object")) from None
    return resources  # type: ignore[no-any-return]


def _total(answer: Answer) -> object:
    try:
        return answer.json()["metadata"]["collectionTotal"]
    except (KeyError, TypeError):
        return None


def _stored(resource: Mapping[str, Any]) -> StoredKey:
    aliases, state = resource.get("aliases") or [], resource.get("state")
    try:
        created = datetime.fromisoformat(str(resource.get("creationDate")))
    except ValueError:
        created = None
    return StoredKey(
        id=str(resource["id"]),
        aliases=tuple(str(alias) for alias in aliases),
        name=str(resource.get("name", "")),
        description=str(resource.get("description", "")),
        created=created,
        key_ring=str(resource.get("keyRingID", "")),
        state=_STATES.get(state, "") if isinstance(state, int) else "",
    )


def _codes(answer: Answer) -> list[str]:
    """The reason codes of an unsuccessful answer; none where it is not the KMS's own."""
    try:
        reasons = answer.json()["resources"][0]["reasons"]
        return [str(reason["code"]) for reason in reasons]
    except (ImgsecError, KeyError, IndexError, TypeError, AttributeError):
        return []


def _failure(answer: Answer, attempt: str, role: str) -> Reason:
    """The reason for an unsuccessful answer: status and reason code decide, texts only explain."""
    codes = _codes(answer)
    try:
        words = str(answer.json()["resources"][0]["errorMsg"])
    except (ImgsecError, KeyError, IndexError, TypeError, AttributeError):
        words = ""
    said = " ".join([*codes, words]).strip() or "no reason given"
    if answer.status == _UNAUTHORIZED:  # both a bad token and a missing role
        return CREDENTIAL_REJECTED(
            f"the KMS did not let us {attempt}: {shown(said)}",
            hint=f"Check credential and instance; this needs the role {role} or a higher one.",
        )
    text = f"could not {attempt}: {shown(said)}"
    if _TOO_MANY_ALIASES in codes:
        hint = "A key has five aliases at most: take one away in the KMS, one of your own."
        return REQUEST_REFUSED(text, hint=hint)
    needs = f"the role {role}"
    if answer.status == _CONFLICT:
        return PERMISSION_DENIED(f"{text}; it needs {needs}")
    if answer.status in (_BAD_REQUEST, _NOT_FOUND) and codes:
        return REQUEST_REFUSED(text)
    return answer.failure(text, needs=needs)
