# SPDX-License-Identifier: Apache-2.0
"""The front's process. Started by the supervisor, never by hand."""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path

import aiohttp

from imgsec.sandbox.folder import StateFolder
from imgsec.sandbox.front.app import Door, RegistryFront, error_body
from imgsec.sandbox.front.signatures import SignatureStore
from imgsec.sandbox.front.upstream import Upstream
from imgsec.sandbox.identity import Identity
from imgsec.sandbox.service import Service
from imgsec.sandbox.serving import Listener, serve, wait_for_go
from imgsec.sandbox.tokens import KeyRing, TokenMint

_REGISTRY_START = 15.0  # seconds; it takes about 0.1


async def _main(folder: StateFolder, runtime: Path, descriptor: int) -> None:
    registry, advisor = Upstream(runtime / "registry.sock"), Upstream(runtime / "advisor.sock")
    signatures = SignatureStore(folder.database("signatures"))
    app = RegistryFront(registry, signatures, KeyRing.load(folder), TokenMint.load(folder))
    service = Service("registry", app, folder, error_body, Identity.load(folder).id)
    door = Door(service, advisor)
    try:
        await _wait_for(registry)
        await serve([Listener(descriptor, door, folder.server_certificate)])
    finally:
        await registry.close()
        await advisor.close()
        signatures.close()


async def _wait_for(registry: Upstream) -> None:
    deadline = time.monotonic() + _REGISTRY_START
    while True:
        try:
            if await registry.status("GET", "/v2/", {}) == 200:
                return
        except (aiohttp.ClientError, OSError):
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.01)


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--runtime", type=Path, required=True)
    parser.add_argument("--registry", type=int, required=True, metavar="FD")
    options = parser.parse_args()
    folder = StateFolder(options.dir)
    wait_for_go(folder)
    asyncio.run(_main(folder, options.runtime, options.registry))


if __name__ == "__main__":
    main()
