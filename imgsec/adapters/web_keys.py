# SPDX-License-Identifier: Apache-2.0
"""Public keys at an HTTPS address: any web store will do, since the fingerprint is pinned."""

from __future__ import annotations

from imgsec.adapters._http import Http
from imgsec.adapters.files import KEY_FILE_MAX_BYTES
from imgsec.domain.keys import KeyLocation, SecretBytes
from imgsec.domain.reference import shown
from imgsec.errors import ImgsecError, KeyNotFound
from imgsec.reasons import INVALID_KEY_LOCATION, KEY_NOT_FOUND

_OK = 200
_ABSENT = (404, 410)


class WebKeys:
    """Fetches public keys, without any credential; see `imgsec.ports.SecretSource`."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def read_secret_key(self, location: KeyLocation) -> SecretBytes:
        """Refused: a secret key has no place on the web. Raises (invalid-key-location)."""
        raise ImgsecError(INVALID_KEY_LOCATION(f"{location} cannot hold a secret key"))

    def read_public_key(self, location: KeyLocation) -> bytes:
        """The content; a redirect is followed over TLS. Raises `KeyNotFound` and what HTTP does."""
        answer = self._http.request(
            "GET", str(location), max_bytes=KEY_FILE_MAX_BYTES, follow_abroad=True
        )
        if answer.status in _ABSENT:
            raise KeyNotFound(
                KEY_NOT_FOUND(
                    f"{shown(str(location))} does not exist",
                    hint="Check the address; a store that wants a login may hide it.",
                )
            )
        if answer.status != _OK:
            raise ImgsecError(answer.failure())
        return answer.body
