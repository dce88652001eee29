# SPDX-License-Identifier: Apache-2.0
"""A Notary server (v1), asked as an engine asks it; what it sends is trusted by its signatures.

``<server>/v2/<name>/_trust/tuf/<file>.json``, where all but root and timestamp are asked for by
their hash. A first attempt that fails is followed by one with the root read anew, since somebody
may be publishing just then (Notary 0.7, `client/tufclient.go`, `storage/httpstore.go`; Portieris
`pkg/notary`, `helpers/oauth`). Nothing is kept: a root is believed on first use, each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from imgsec.adapters._http import Answer, Http
from imgsec.adapters.registry_auth import Challenge
from imgsec.domain import engine_texts as texts
from imgsec.domain.content_trust import (
    NO_CREDENTIAL,
    Stop,
    TrustAnswer,
    TrustedTarget,
    TrustStop,
)
from imgsec.domain.engine_name import EngineName
from imgsec.domain.hosts import ServiceUrl
from imgsec.domain.pull_secrets import PullCredential
from imgsec.domain.tuf import Collection, RootRotated
from imgsec.domain.tuf_files import (
    NO_META,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    FileMeta,
    RolePassedOver,
    TrustDenied,
)
from imgsec.errors import ImgsecError
from imgsec.reasons import ANSWER_MALFORMED, ANSWER_TOO_LARGE, REDIRECT_REFUSED, TIMEOUT

if TYPE_CHECKING:
    from imgsec.ports import Clock

FILE_MAX_BYTES = 16 * 2**20  # ours; Notary takes 100 MiB, tens of thousands of tags have ten
TIMESTAMP_MAX_BYTES = 1 * 2**20  # Notary, const.go: MaxTimestampSize
TOKEN_MAX_BYTES = 1 * 2**20
COLLECTION_MAX_BYTES = 64 * 2**20  # ours; of all files that one answer hangs on
COLLECTION_SECONDS = 120.0  # ours; the engine has ten for all that it asks
DELEGATIONS_MAX = 200  # ours; each is a request
SHA256_BYTES = 32
_OK, _NOT_FOUND, _UNAUTHORIZED, _BAD_REQUEST, _NO_METHOD = 200, 404, 401, 400, 405
_NEITHER = (_NOT_FOUND, _NO_METHOD)


class NotaryClient:
    """Reads what is signed on trust servers. realms: further hosts of token services."""

    def __init__(self, http: Http, clock: Clock, *, realms: tuple[str, ...] = ()) -> None:
        self._http = http
        self._clock = clock
        self._realms = realms

    def fetch_trusted(
        self, server: str, image: EngineName, credentials: Sequence[PullCredential]
    ) -> TrustAnswer:
        """See `imgsec.ports.TrustReader`."""
        ServiceUrl.parse(server, strip="")
        authority = urlsplit(server).netloc
        shelf = _Shelf(self._http, f"{server}/v2/{image.repository}/_trust/tuf/")
        first = shelf.get(ROOT, FILE_MAX_BYTES)
        if first.status != _UNAUTHORIZED:
            return self._tried(shelf, authority, image, first)
        challenge = Challenge.parse(first.headers.get("www-authenticate", ""))
        if not (challenge.realm and challenge.service and challenge.scope):
            stop = TrustStop(Stop.AUTH_ENDPOINT, texts.NO_AUTH_ENDPOINT)
            return TrustAnswer(image.tag, stop=stop)
        realm = challenge.require_realm(authority, self._realms)
        for credential in credentials:
            token = self._exchanged(realm, challenge, credential)
            if token is None:
                continue
            with_token = _Shelf(self._http, shelf.base, token)
            root = with_token.get(ROOT, FILE_MAX_BYTES)
            answer = self._tried(with_token, authority, image, root)
            if answer.stop is None or not answer.stop.is_passed_on:
                return answer
        return TrustAnswer(image.tag, stop=NO_CREDENTIAL)

    def _tried(self, shelf: _Shelf, authority: str, image: EngineName, root: Answer) -> TrustAnswer:
        """What the collection has for the tag, by what this one token may read."""
        try:
            collection = self._read(shelf, authority, image.repository, root)
            targets = tuple(
                TrustedTarget(each.role.name, frozenset(each.role.keys), _hex(each.sha256))
                for each in collection.signed_tags(image.tag)
            )
        except _Unavailable as error:
            return TrustAnswer(image.tag, stop=TrustStop(Stop.UNAVAILABLE, str(error)))
        except TrustDenied as error:
            stop = TrustStop(Stop.READING, str(error), error.others)
            return TrustAnswer(image.tag, stop=stop)
        except RootRotated as error:
            text = f"{authority} changed the root of {image.repository} meanwhile: {error}"
            raise ImgsecError(ANSWER_MALFORMED(text)) from error
        except (ValueError, TypeError, RecursionError) as error:
            text = f"{authority} has no trust data for {image.repository} that can be read: {error}"
            raise ImgsecError(ANSWER_MALFORMED(text)) from error
        notes = tuple(collection.passed_over)
        if not targets:
            stop = TrustStop(Stop.READING, texts.no_trusted_tag(image.tag))
            return TrustAnswer(image.tag, stop=stop, notes=notes)
        return TrustAnswer(image.tag, targets, notes=notes)

    def _read(self, shelf: _Shelf, authority: str, name: str, root: Answer) -> Collection:
        """Raises `TrustDenied` and its like, `ValueError` and its like, `ImgsecError`."""
        now = self._clock.now()
        unknown = TrustDenied(texts.no_collection(authority, name))
        try:
            content = _content(ROOT, root)
        except _Missing as error:
            raise unknown from error
        first = Collection.of_root(name, content, now)
        until = self._clock.monotonic() + COLLECTION_SECONDS
        budget = _Budget(self._clock, until, DELEGATIONS_MAX, COLLECTION_MAX_BYTES)
        try:
            _update(first, shelf, budget)
        except _Unavailable:
            raise
        except TrustDenied:
            meta = first.root_meta or NO_META
            try:
                if meta.sha256 != _sha256(content):
                    content = shelf.fetch(ROOT, meta)
                second = Collection.of_root(name, content, now, first)
                _update(second, shelf, budget)
            except _Missing as error:
                raise unknown if ROOT in error.file else error from None
            for role, version in first.versions.items():
                if second.versions.get(role, version) < version:
                    raise RootRotated(f"its {role} went back to an older version") from None
            return second
        return first

    def _exchanged(
        self, realm: str, challenge: Challenge, credential: PullCredential
    ) -> str | None:
        """A token for a user; None where the token service gives none. As the engine asks for it.

        It looks for ``token`` alone, and tries none where a service has another name for it. A
        service that fails is no refusal: raises `ImgsecError`.
        """
        username, _, password = credential.pair.reveal().partition(b":")
        if not username and not password:
            return ""
        asked = {"service": challenge.service, "scope": challenge.scope}
        form = {"grant_type": "password", "client_id": "imgsec"} | asked
        body = urlencode(form | {"username": username, "password": password}).encode()
        answer = self._http.request(
            "POST",
            realm,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=body,
            max_bytes=TOKEN_MAX_BYTES,
        )
        if answer.status in _NEITHER:
            answer = self._http.get(f"{realm}?{urlencode(asked)}", max_bytes=TOKEN_MAX_BYTES)
        if _BAD_REQUEST <= answer.status < 500 and answer.status != 429:
            return None
        if answer.status // 100 != 2:
            raise ImgsecError(answer.failure())
        token = answer.json()
        text = token.get("token") if isinstance(token, dict) else None
        if not isinstance(text, str | None) or not (text or "").isascii():
            raise ImgsecError(answer.malformed("no token"))
        if text and not text.isprintable():
            raise ImgsecError(answer.malformed("no token"))
        return text or ""


class _Missing(TrustDenied):
    """There is no such file."""

    def __init__(self, file: str) -> None:
        super().__init__(texts.no_trust_file(file))
        self.file = file


class _Unavailable(TrustDenied):
    """The server answers with another status."""


@dataclass(frozen=True, slots=True)
class _Shelf:
    """The files of one collection, as one token reads them. base: their address, with a slash."""

    http: Http
    base: str
    token: str = ""

    def get(self, file: str, max_bytes: int) -> Answer:
        """Raises `ImgsecError`, also for a redirect, which the engine does not follow."""
        url = f"{self.base}{file}.json"
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else None
        answer = self.http.get(url, headers=headers, max_bytes=max_bytes)
        if answer.url != url:
            raise ImgsecError(REDIRECT_REFUSED(f"{url} redirects to {answer.url}"))
        return answer

    def fetch(self, role: str, meta: FileMeta | None = None) -> bytes:
        """A role's file, by its hash where that is known.

        Raises `_Missing`, `_Unavailable`, `ImgsecError`.
        """
        file, size = role, TIMESTAMP_MAX_BYTES if role == TIMESTAMP else FILE_MAX_BYTES
        if meta is not None and meta.is_known:
            file = f"{role}.{meta.sha256.hex()}" if meta.sha256 else role
            if not 0 <= meta.length <= FILE_MAX_BYTES:
                text = f"{self.base}{file}.json is said to have {meta.length} bytes"
                raise ImgsecError(ANSWER_TOO_LARGE(text))
            size = meta.length
        return _content(file, self.get(file, size))


def _content(file: str, answer: Answer) -> bytes:
    """Raises `_Missing`, `_Unavailable`, `ImgsecError`."""
    if answer.status == _OK:
        return answer.body
    if answer.status == _NOT_FOUND:
        raise _Missing(file)
    if answer.status == _BAD_REQUEST:  # its words are in the answer, in a form of their own
        raise ImgsecError(answer.failure())
    if answer.status == _UNAUTHORIZED:
        raise _Unavailable(texts.TRUST_UNAUTHORIZED)
    raise _Unavailable(texts.trust_server_unavailable(answer.status))


@dataclass(slots=True)
class _Budget:
    """What reading one collection may cost. until: by the monotonic clock."""

    clock: Clock
    until: float
    files: int
    size: int

    def spend(self, content: bytes) -> bytes:
        """Raises `ImgsecError` (answer-too-large, timeout) when it is used up."""
        self.files -= 1
        self.size -= len(content)
        if self.files < 0 or self.size < 0:
            text = f"a trust collection has more than {DELEGATIONS_MAX} files, or too large ones"
            raise ImgsecError(ANSWER_TOO_LARGE(text))
        if self.clock.monotonic() > self.until:
            raise ImgsecError(TIMEOUT("a trust collection could not be read in time"))
        return content


def _update(collection: Collection, shelf: _Shelf, budget: _Budget) -> None:
    """Read all that hangs on the root. Raises `TrustDenied` and its like, `ImgsecError`."""
    collection.believe_timestamp(shelf.fetch(TIMESTAMP))
    collection.believe_snapshot(shelf.fetch(SNAPSHOT, collection.snapshot))
    waiting = [TARGETS]
    while waiting:
        role = waiting.pop(0)
        meta = collection.files.get(role, NO_META)
        if not meta.is_known:
            collection.passed_over.append(f"{role} is delegated to, and has signed nothing")
            continue
        try:
            content = budget.spend(shelf.fetch(role, meta))
            children = collection.believe_targets(role, content)
        except RolePassedOver as error:
            if role == TARGETS:
                raise
            collection.passed_over.append(f"{role} is passed over: {error}")
        else:
            waiting = [*children, *waiting]


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _hex(content: bytes) -> str:
    """Raises `ValueError` for what is neither a SHA-256 nor nothing."""
    if len(content) not in (0, SHA256_BYTES):
        raise ValueError("a tag's sha256 is none")
    return content.hex()
