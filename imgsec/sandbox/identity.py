# SPDX-License-Identifier: Apache-2.0
"""Who a sandbox is: its account, its KMS instance, its ports, its settings.

Chosen once and then kept, because signed image names contain the registry's port. Not here:
credentials and certificates (`seeds`).
"""

from __future__ import annotations

import json
import secrets
import socket
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Self

from imgsec.errors import ImgsecError
from imgsec.reasons import INPUT_MALFORMED, PART_MISSING
from imgsec.sandbox.folder import StateFolder

LOOPBACK = "127.0.0.1"
PORT_RANGE = range(20000, 32768)  # below the usual range for outgoing connections: stays free
SERVICES = (
    "registry",
    "iam",
    "kms",
)  # those that listen on a port; the advisor is behind the first
FAULTY_SERVICES = ("iam", "kms", "va", "registry")


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be chosen when a sandbox starts; kept for its next start."""

    token_lifetime: int = 3600  # seconds; IAM's own value
    restore_wait: int = 30  # seconds between two changes of a key's state; Key Protect's own value
    alias_wait: int = 5  # seconds until an alias that was taken away is free; there up to 300


@dataclass(frozen=True, slots=True)
class Identity:
    """What stays the same over the whole life of a sandbox."""

    id: str
    account: str
    foreign_account: str
    kms_instance: str
    profile_id: str
    region: str
    ports: Mapping[str, int]
    settings: Settings

    @classmethod
    def new(cls) -> Self:
        """Make up a new one; its ports are chosen when they are first bound."""
        return cls(
            id=secrets.token_hex(8),
            account=secrets.token_hex(16),
            foreign_account=secrets.token_hex(16),
            kms_instance=str(uuid.uuid4()),
            profile_id=f"Profile-{uuid.uuid4()}",
            region="us-south",
            ports={},
            settings=Settings(),
        )

    @classmethod
    def load(cls, folder: StateFolder) -> Self:
        """Read it from its folder."""
        try:
            fields = json.loads(folder.marker.read_bytes())
            fields.pop("schemaVersion")
            settings = Settings(**fields.pop("settings"))
            ports = {str(name): int(port) for name, port in fields.pop("ports").items()}
            return cls(ports=ports, settings=settings, **fields)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ImgsecError(
                INPUT_MALFORMED(
                    f"{folder.marker} is not a sandbox's identity.",
                    hint="Remove the sandbox with `imgsec sandbox down --purge`.",
                )
            ) from error

    def save(self, folder: StateFolder) -> None:
        """Write it to its folder."""
        folder.write(folder.marker, json.dumps({"schemaVersion": 1, **asdict(self)}, indent=2))

    def at_ports(self, ports: Mapping[str, int]) -> Self:
        """The same sandbox, at these ports."""
        return replace(self, ports=dict(ports))

    def with_settings(self, changes: Mapping[str, int]) -> Self:
        """The same sandbox, with some settings changed."""
        return replace(self, settings=replace(self.settings, **changes))

    @property
    def second_kms_instance(self) -> str:
        """An instance of the key service beside the first, to bring keys to."""
        return str(uuid.uuid5(uuid.UUID(self.kms_instance), "second"))

    @property
    def registry(self) -> str:
        """Host and port, as image names carry them."""
        return f"{LOOPBACK}:{self.ports['registry']}"

    def url(self, service: str) -> str:
        """Base address of a service."""
        return f"https://{LOOPBACK}:{self.ports[service]}"


def bind_all(identity: Identity) -> dict[str, socket.socket]:
    """Open every port: those that the identity remembers, or new ones if it has none."""
    return {name: _bind(name, identity.ports.get(name)) for name in SERVICES}


def _bind(name: str, port: int | None) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    candidates = [port] if port else [*(secrets.choice(PORT_RANGE) for _ in range(50)), 0]
    for candidate in candidates:
        try:
            listener.bind((LOOPBACK, candidate))
            listener.listen(128)
        except OSError:
            continue
        return listener
    listener.close()
    raise ImgsecError(
        PART_MISSING(
            f"Port {port} of the sandbox's {name} is in use by another program.",
            hint="Free the port, or start with --new-ports: names that were signed with the old "
            "port no longer match then.",
        )
    )
