# SPDX-License-Identifier: Apache-2.0
"""The process of the token service, the KMS and the advisor. Started by the supervisor."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from imgsec.sandbox import iam
from imgsec.sandbox.advisor import app as advisor
from imgsec.sandbox.advisor.catalogue import Catalogue
from imgsec.sandbox.advisor.exemptions import ExemptionStore
from imgsec.sandbox.advisor.scenario import ScenarioFile
from imgsec.sandbox.asgi import App
from imgsec.sandbox.folder import StateFolder
from imgsec.sandbox.identity import Identity
from imgsec.sandbox.kms import app as kms
from imgsec.sandbox.kms.store import KeyStore
from imgsec.sandbox.service import ErrorBody, Service
from imgsec.sandbox.serving import Listener, serve, wait_for_go
from imgsec.sandbox.tokens import KeyRing, TokenMint


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--runtime", type=Path, required=True)
    for name in ("iam", "kms", "advisor"):
        parser.add_argument(f"--{name}", type=int, required=True, metavar="FD")
    options = parser.parse_args()
    folder = StateFolder(options.dir)
    wait_for_go(folder)
    identity = Identity.load(folder)
    keys, mint = KeyRing.load(folder), TokenMint.load(folder)
    exemptions = ExemptionStore(folder.database("advisor"))

    def store(name: str, instance: str) -> KeyStore:
        def crn(key_id: str) -> str:
            where = f"{identity.region}:a/{identity.account}:{instance}"
            return f"crn:v1:bluemix:public:kms:{where}:key:{key_id}"

        settings = identity.settings
        return KeyStore(
            folder.database(name),
            crn,
            restore_wait=settings.restore_wait,
            alias_wait=settings.alias_wait,
        )

    instances = {"kms": identity.kms_instance, "kms-second": identity.second_kms_instance}
    stores = {instance: store(name, instance) for name, instance in instances.items()}

    def service(name: str, app: App, error_body: ErrorBody) -> Service:
        return Service(name, app, folder, error_body, identity.id)

    certificate = folder.server_certificate
    catalogue = Catalogue(options.runtime / "registry.sock", folder.registry_data)
    scenario = ScenarioFile(folder.scenario)
    va = advisor.Advisor(
        identity, keys, mint, catalogue=catalogue, scenario=scenario, exemptions=exemptions
    )
    listeners = [
        Listener(
            options.iam,
            service("iam", iam.TokenService(identity, keys, mint), iam.error_body),
            certificate,
        ),
        Listener(
            options.kms,
            service("kms", kms.KeyProtect(identity, stores, mint).app, kms.error_body),
            certificate,
        ),
        Listener(options.advisor, service("va", va, advisor.error_body), None),
    ]
    try:
        asyncio.run(serve(listeners))
    finally:
        for opened in stores.values():
            opened.close()
        exemptions.close()


if __name__ == "__main__":
    main()
