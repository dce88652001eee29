# SPDX-License-Identifier: Apache-2.0
"""Asks a service whether it answers, over TLS, as a client would; faults do not touch this."""

from __future__ import annotations

import http.client
import ssl

from imgsec.sandbox.folder import StateFolder
from imgsec.sandbox.identity import LOOPBACK, Identity

HEALTH_PATH = "/.sandbox/health"


def answers(folder: StateFolder, identity: Identity, service: str, *, seconds: float) -> bool:
    """True when the port answers, and answers as this very sandbox."""
    try:
        trust = ssl.create_default_context(cafile=str(folder.ca))
        connection = http.client.HTTPSConnection(
            LOOPBACK, identity.ports[service], timeout=seconds, context=trust
        )
        try:
            connection.request("GET", HEALTH_PATH)
            return connection.getresponse().read(100) == identity.id.encode()
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, KeyError):
        return False
