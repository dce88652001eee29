# SPDX-License-Identifier: Apache-2.0
"""IAM tokens: from an API key, a trusted profile, a VPC instance's identity, or as they are given.

The authenticators are those of ``ibm-cloud-sdk-core``, nothing else of it: its service base logs
key payloads at DEBUG and repeats creates. What it lacks is added here: token calls are repeated
(it never does), each time with a fresh authenticator, since a failed one makes the next caller wait
a minute; redirects are not followed, for a 307 would repeat the API key to another host; answers
are read against the limits of all others.
"""

from __future__ import annotations

import base64
import io
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgsec.adapters._http import (
    ATTEMPTS,
    CONNECT_SECONDS,
    READ_SECONDS,
    BrokenOff,
    patience,
    read_body,
    unreachable,
    waits,
)
from imgsec.domain.hosts import MetadataUrl, ServiceUrl, is_loopback, may_have_iam_token
from imgsec.domain.keys import SecretBytes
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError
from imgsec.reasons import (
    ANSWER_MALFORMED,
    CREDENTIAL_REJECTED,
    INPUT_UNREADABLE,
    INSECURE_ADDRESS,
    RATE_LIMITED,
    REDIRECT_REFUSED,
    SERVICE_UNREACHABLE,
)

if TYPE_CHECKING:
    import requests

_ANSWER_MAX_BYTES = 256 * 1024  # ours; an answer with two tokens has about 5 KB
_UNREADABLE = (ValueError, OverflowError, RecursionError)  # what hostile JSON and tokens lead to
_MULTIPLE_CHOICES, _BAD_REQUEST, _SERVER_ERROR = 300, 400, 500


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Exchanged at IAM."""

    key: SecretBytes


@dataclass(frozen=True, slots=True)
class TrustedProfile:
    """A pod's: the projected service account token is exchanged at IAM. token_file: None: usual."""

    profile: str
    token_file: str | None = None


@dataclass(frozen=True, slots=True)
class VpcInstance:
    """A virtual server's: its metadata service gives the token. profile: None for its default."""

    url: MetadataUrl
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A token that somebody else asked for; it ends when it ends."""

    token: SecretBytes


IamCredential = ApiKey | TrustedProfile | VpcInstance | BearerToken


class IamTokens:
    """Gives bearer tokens, asked for once and renewed by the authenticator when they age.

    url: of IAM. trusted: hosts besides IBM's own that may have a token, named by the operator.
    """

    def __init__(
        self,
        credential: IamCredential,
        *,
        url: ServiceUrl,
        ca_file: str | None,
        trusted: tuple[str, ...],
    ) -> None:
        self._credential = credential
        self._service = credential.url if isinstance(credential, VpcInstance) else url
        self._ca_file = ca_file
        self._trusted = trusted
        self._authenticator: Any = None
        self._was_forgotten = False

    def authorization(self, authority: str) -> dict[str, str]:
        """The header for a request to ``host[:port]``.

        Raises `ImgsecError` (insecure-address) for a host that an IAM token does not belong to,
        and (missing-credential, credential-rejected, service-unreachable, rate-limited).
        """
        if not may_have_iam_token(authority, self._trusted):
            raise ImgsecError(INSECURE_ADDRESS(f"an IAM token does not belong to {authority}"))
        return {"Authorization": f"Bearer {self._token()}"}

    def forget(self) -> bool:
        """Let the next token be a new one, since a service refused this one; whether it will be.

        Once only: a service says the same, 401, to whom it does not let do something.
        """
        if self._was_forgotten or isinstance(self._credential, BearerToken):
            return False
        self._was_forgotten, self._authenticator = True, None
        return True

    def account(self) -> str | None:
        """The account that the token speaks for, from its ``account.bss`` claim; None if absent."""
        try:
            part = self._token().split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
            account = claims["account"]["bss"]
        except (IndexError, KeyError, TypeError, ValueError, RecursionError):
            return None
        is_one = isinstance(account, str) and re.fullmatch(r"[0-9A-Za-z-]{1,64}", account)
        return account if is_one else None

    def _token(self) -> str:
        credential, authority = self._credential, self._service.authority
        if isinstance(credential, BearerToken):
            return credential.token.reveal().decode("ascii")
        sends = not isinstance(credential, VpcInstance)
        if sends and not may_have_iam_token(authority, self._trusted):
            raise ImgsecError(INSECURE_ADDRESS(f"the credential does not belong to {authority}"))
        if self._authenticator is None:
            self._authenticator = self._first_token()
        token = self._ask(self._authenticator)
        if token is None:
            self._authenticator = self._first_token()
            token = self._ask(self._authenticator)
        if token is None:
            raise ImgsecError(SERVICE_UNREACHABLE(f"{self._service} could not renew the token"))
        return token

    def _first_token(self) -> Any:
        """An authenticator that holds a token, after as many attempts as it takes."""
        make = self._maker()
        for attempt, wait in enumerate(waits(), start=1):
            authenticator = make()
            authenticator.token_manager.http_config = self._http_config()
            if self._ask(authenticator, wait=None if attempt == ATTEMPTS else wait) is not None:
                return authenticator
        raise AssertionError("waits() has no end")

    def _ask(self, authenticator: Any, *, wait: float | None = 0) -> str | None:
        """The token, or None where asking again can help, after the wait or the one asked for.

        wait: seconds; None to raise instead.
        """
        import jwt
        import requests
        from ibm_cloud_sdk_core import ApiException

        try:
            token = authenticator.token_manager.get_token()
        except ApiException as error:
            reason = _reason(self._service, error)
            if wait is None or not reason.retryable:
                raise ImgsecError(reason) from None  # the cause holds the request
            time.sleep(patience(wait, error.http_response.headers))
            return None
        except requests.exceptions.JSONDecodeError:
            raise ImgsecError(ANSWER_MALFORMED(f"{self._service} answered with no JSON")) from None
        except requests.RequestException as error:
            if wait is None or isinstance(error, requests.exceptions.SSLError):
                reason = unreachable(f"{self._service} gave no token", error)
                raise ImgsecError(reason) from None  # the cause holds the request
            time.sleep(wait)
            return None
        except BrokenOff as error:
            if wait is None:
                raise ImgsecError(error.reason) from None  # likewise
            time.sleep(wait)
            return None
        except (jwt.PyJWTError, KeyError, TypeError, AttributeError, *_UNREADABLE):
            raise ImgsecError(ANSWER_MALFORMED(f"{self._service} gave no usable token")) from None
        except Exception as error:
            if type(error) is not Exception:
                raise
            # The authenticator's own way to say that it found no service account token.
            file = getattr(self._credential, "token_file", None)
            where = f"in {file}" if file else "in its usual places"
            raise ImgsecError(
                INPUT_UNREADABLE(f"no service account token could be read {where}")
            ) from None
        if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise ImgsecError(ANSWER_MALFORMED(f"{self._service} gave no usable token"))
        return token

    def _maker(self) -> Callable[[], Any]:
        from ibm_cloud_sdk_core.authenticators import (
            ContainerAuthenticator,
            IAMAuthenticator,
            VPCInstanceAuthenticator,
        )

        credential, url = self._credential, str(self._service)
        if isinstance(credential, ApiKey):
            api_key = credential.key.reveal().decode("utf-8")
            return lambda: IAMAuthenticator(api_key, url=url)
        if isinstance(credential, VpcInstance):
            named = _profile(credential.profile) if credential.profile else {}
            return lambda: VPCInstanceAuthenticator(url=url, **named)
        if isinstance(credential, TrustedProfile):
            named = _profile(credential.profile)
            return lambda: ContainerAuthenticator(
                cr_token_filename=credential.token_file, url=url, **named
            )
        raise AssertionError(f"{type(credential).__name__} needs no authenticator")

    def _http_config(self) -> dict[str, Any]:
        from requests.utils import DEFAULT_CA_BUNDLE_PATH

        config: dict[str, Any] = {
            "timeout": (CONNECT_SECONDS, READ_SECONDS),
            "allow_redirects": False,
            "hooks": {"response": _read_within_limits},
        }
        # Named even where it is the usual one, or the environment could replace it.
        config["verify"] = self._ca_file or DEFAULT_CA_BUNDLE_PATH
        at_home = isinstance(self._credential, VpcInstance)
        if at_home or is_loopback(self._service.authority):
            config["proxies"] = {"http": None, "https": None, "all": None}
        return config


def _read_within_limits(response: requests.Response, **_: Any) -> None:
    """Read the body before requests does, which has no limit, and leave it in its place.

    Raises `ImgsecError` (answer-too-large, timeout, service-unreachable).
    """
    with response:
        body = read_body(response, _ANSWER_MAX_BYTES)
    response.raw = io.BytesIO(body)


def _profile(name: str) -> dict[str, str]:
    """A trusted profile by its id, else by its name."""
    return {"iam_profile_id" if name.startswith("Profile-") else "iam_profile_name": name}


def _reason(url: object, error: Any) -> Any:
    """The reason for an unsuccessful status; IAM says in errorCode what was wrong."""
    try:
        body = error.http_response.json()
        said = shown(f"{body['errorCode']}: {body['errorMessage']}")
    except (KeyError, TypeError, *_UNREADABLE):
        said = "no reason given"
    text = f"{url} answered {error.status_code} ({said})"
    if error.status_code == 429:
        return RATE_LIMITED(text)
    if error.status_code >= _SERVER_ERROR:
        return SERVICE_UNREACHABLE(text)
    if error.status_code < _BAD_REQUEST:
        where = "with a redirect" if error.status_code >= _MULTIPLE_CHOICES else "without a token"
        return REDIRECT_REFUSED(f"{url} answered {where}")
    return CREDENTIAL_REJECTED(text)
