# SPDX-License-Identifier: Apache-2.0
"""The door to HTTP: TLS, retries, time limits, bounded answers, and no credential to a stranger.

requests does the work and urllib3's `Retry` the repeating. What is set here and why:

* ``trust_env`` is off: no ``.netrc``, and ``REQUESTS_CA_BUNDLE`` cannot replace the CA that was
  named. Proxies are taken from the environment for foreign hosts only, never for loopback.
* GET, HEAD, PUT and DELETE are repeated on 429, 5xx and broken connections, with growing waits
  and jitter, and Retry-After is honoured. POST is not, unless its caller knows better: else that
  must look first whether it was done.
* A redirect is followed within one origin only.
* An answer is read in pieces, against a limit of size and one of time: a server that trickles
  bytes does not hold a pipeline.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.exceptions import HTTPError, InvalidHeader
from urllib3.util.retry import Retry

from imgsec.domain.hosts import ServiceUrl, is_loopback
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import (
    ANSWER_MALFORMED,
    ANSWER_TOO_LARGE,
    CREDENTIAL_REJECTED,
    PERMISSION_DENIED,
    RATE_LIMITED,
    REDIRECT_REFUSED,
    SERVICE_UNREACHABLE,
    TIMEOUT,
    Reason,
)

CONNECT_SECONDS = 10.0
READ_SECONDS = 20.0  # between two pieces of an answer
BODY_SECONDS = 60.0  # for one whole body
ATTEMPTS = 6
READ_ATTEMPTS = 3  # of a server that takes the request and then says nothing, or half
RETRY_AFTER_MAX_SECONDS = 30
BODY_MAX_BYTES = 8 * 2**20
_REPEATED_STATUS = (429, 500, 502, 503, 504)
_REDIRECTS = (301, 302, 303, 307, 308)
_REDIRECTS_MAX = 3
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. url: where it came from, without a query."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """The body as JSON. Raises `ImgsecError` (answer-malformed)."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise ImgsecError(self.malformed("not JSON")) from error

    def malformed(self, what: str) -> Reason:
        """The reason (answer-malformed) that shows what came instead."""
        start = shown(self.body[:60].decode("utf-8", "replace"))
        kind = self.media_type or "no type"
        return ANSWER_MALFORMED(f"{self.url} answered {self.status} with {what} ({kind}: {start})")

    def failure(self, said: str = "", *, needs: str = "") -> Reason:
        """The reason that fits an unsuccessful status; said: the service's own words.

        needs: what the credential must be allowed to do for an answer, in words.
        """
        text = f"{self.url} answered {self.status}" + (f": {said}" if said else "")
        if self.status == 401:
            return CREDENTIAL_REJECTED(text)
        if self.status == 403:
            return PERMISSION_DENIED(text + (f"; it needs {needs}" if needs else ""))
        if self.status == 429:
            return RATE_LIMITED(text)
        if self.status in _REDIRECTS:
            return REDIRECT_REFUSED(f"{text}, to {_place(self.headers.get('location', ''))}")
        if self.status >= 500:
            return SERVICE_UNREACHABLE(text)
        return ANSWER_MALFORMED(text)


class Http:
    """A pool of connections. ca_file: the CA bundle to trust instead of the usual one."""

    def __init__(self, *, ca_file: str | None = None) -> None:
        self._verify: str | bool = ca_file or True
        self._repeating = _session(_RETRY)
        self._single = _session(Retry(0, redirect=False, raise_on_status=False))

    def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = BODY_MAX_BYTES,
    ) -> Answer:
        """A GET; see `request`."""
        return self.request("GET", url, headers=headers, max_bytes=max_bytes)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        max_bytes: int = BODY_MAX_BYTES,
        follow_abroad: bool = False,
        repeats: bool | None = None,
        needs_tls: bool = True,
    ) -> Answer:
        """One request and its answer, whatever its status.

        follow_abroad: follow a redirect to another origin too, over TLS and without any header of
        this request. repeats: whether it may be repeated; by default all but a POST. needs_tls:
        except on loopback; False for a request that tells no secret. Raises `ImgsecError`
        (insecure-address, service-unreachable, timeout, answer-too-large, redirect-refused).
        """
        repeats = method != "POST" if repeats is None else repeats
        sent = dict(headers or {})
        for _ in range(_REDIRECTS_MAX + 1):
            request = requests.Request(method, url, headers=sent, data=body)
            ServiceUrl.parse(_origin(url), needs_tls=needs_tls)
            answer = self._follow_through(request, repeats, max_bytes)
            if answer.status not in _REDIRECTS or method not in ("GET", "HEAD"):
                return answer
            url, at_home = _redirected(url, answer, needs_tls=needs_tls)
            if not at_home:
                if not follow_abroad:
                    raise ImgsecError(answer.failure())
                sent = {}
        raise ImgsecError(REDIRECT_REFUSED(f"{_bare(url)} redirects in a circle"))

    def _follow_through(
        self, request: requests.Request, repeatable: bool, max_bytes: int
    ) -> Answer:
        """Send, and send again when the answer breaks off in its middle and repeating is safe."""
        for wait in itertools.islice(waits(), READ_ATTEMPTS - 1 if repeatable else 0):
            try:
                return self._send(request, repeatable, max_bytes)
            except BrokenOff:
                time.sleep(wait)
        return self._send(request, repeatable, max_bytes)

    def _send(self, request: requests.Request, repeatable: bool, max_bytes: int) -> Answer:
        url = request.url
        session = self._repeating if repeatable else self._single
        where = _bare(url)
        try:
            response = session.send(
                session.prepare_request(request),
                stream=True,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                verify=self._verify,
                proxies=_proxies(url),
                allow_redirects=False,
            )
        except requests.exceptions.Timeout as error:
            raise ImgsecError(TIMEOUT(f"{where} did not answer in time")) from error
        except (requests.RequestException, HTTPError, OSError) as error:
            raise ImgsecError(unreachable(where, error)) from error
        with response:
            return Answer(
                response.status_code, response.headers, read_body(response, max_bytes), where
            )


class BrokenOff(ImgsecError):
    """The connection ended in the middle of an answer."""


class _Patience(Retry):
    """Takes a Retry-After that nobody can read for none, instead of giving up."""

    def parse_retry_after(self, retry_after: str) -> float:
        try:
            return super().parse_retry_after(retry_after)
        except InvalidHeader:
            return 0


class _Session(requests.Session):
    """One that is ours alone: nothing from the environment, no cookies, no look at redirects."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self.headers["User-Agent"] = "imgsec"

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: `Http.request` decides about them."""


_RETRY = _Patience(
    total=ATTEMPTS - 1,
    read=READ_ATTEMPTS - 1,
    status_forcelist=_REPEATED_STATUS,
    allowed_methods=None,
    backoff_factor=0.3,
    backoff_jitter=0.3,
    backoff_max=10,
    retry_after_max=RETRY_AFTER_MAX_SECONDS,
    raise_on_status=False,
    redirect=False,
)


def _session(retry: Retry) -> requests.Session:
    session = _Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=16, max_retries=retry))
    return session


def _proxies(url: str) -> dict[str, str]:
    return {} if is_loopback(urlsplit(url).netloc) else dict(get_environ_proxies(url))


def waits(first: float = 0.5, largest: float = 15.0) -> Iterator[float]:
    """Growing waits in seconds, with jitter, without end."""
    wait = first
    while True:
        yield wait * random.uniform(0.7, 1.3)  # noqa: S311 - jitter, not a secret
        wait = min(wait * 2, largest)


def patience(wait: float, headers: Mapping[str, str]) -> float:
    """The seconds that a service asks for by Retry-After, within our limit; else our own wait."""
    asked = headers.get("retry-after", "").strip()
    if not re.fullmatch(r"[0-9]{1,9}", asked):
        return wait
    return float(min(int(asked), RETRY_AFTER_MAX_SECONDS))


def read_body(response: requests.Response, max_bytes: int) -> bytes:
    """The body, against the limits of size and time. Raises `ImgsecError`.

    By `read1`, which gives what has come; `read` would wait until a piece is full.
    """
    where = _bare(response.url)
    deadline = time.monotonic() + BODY_SECONDS
    content = bytearray()
    try:
        while piece := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            content += piece
            if len(content) > max_bytes:
                raise ImgsecError(ANSWER_TOO_LARGE(f"{where} sends more than {max_bytes} bytes"))
            if time.monotonic() > deadline:
                raise ImgsecError(TIMEOUT(f"{where} did not end its answer in time"))
    except (requests.RequestException, HTTPError, OSError) as error:
        raise BrokenOff(SERVICE_UNREACHABLE(f"{where} broke off its answer")) from error
    return bytes(content)


def _redirected(url: str, answer: Answer, *, needs_tls: bool) -> tuple[str, bool]:
    """Where a redirect leads, and whether that is the same origin. Raises (redirect-refused)."""
    try:
        target = urljoin(url, answer.headers.get("location", ""))
        ServiceUrl.parse(_origin(target), needs_tls=needs_tls)
    except (ValueError, ImgsecError):
        raise ImgsecError(answer.failure()) from None
    return target, _origin(target) == _origin(url)


def _place(location: str) -> str:
    """The origin of a redirect's target, as it may be shown."""
    try:
        return shown(_origin(location))
    except ValueError:
        return "no address"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _bare(url: str) -> str:
    """The address without its query: queries can hold what nobody should read."""
    return url.partition("?")[0]


def unreachable(where: str, error: BaseException) -> Reason:
    """The reason (service-unreachable) for a request that had no answer."""
    hint = None
    if isinstance(error, requests.exceptions.SSLError):
        hint = "Name the CA bundle that the server's certificate belongs to with --ca-file."
    return SERVICE_UNREACHABLE(f"{where}: {_cause(error)}", hint=hint)


def _cause(error: BaseException) -> str:
    """The innermost cause in one line: requests wraps it three times."""
    seen: BaseException = error
    while True:
        inner = getattr(seen, "reason", None) or next(
            (part for part in seen.args if isinstance(part, BaseException)), None
        )
        if not isinstance(inner, BaseException):
            break
        seen = inner
    text = re.sub(r"^(?:<[^>]*>|\w+\([^)]*\)): ", "", str(seen))  # urllib3's connection object
    text = re.sub(r"//[^/]*@", "//", text)  # a proxy's address may hold its password
    return re.sub(r"[^\x20-\x7e]", "?", text)[:200] or type(seen).__name__
