# SPDX-License-Identifier: Apache-2.0
"""What a new sandbox is born with: certificates, API keys, a service account token, registry login.

Each file is written once and then kept; what is missing is made again.
"""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from pathlib import Path

from imgsec.sandbox.folder import StateFolder
from imgsec.sandbox.identity import LOOPBACK, Identity
from imgsec.sandbox.tokens import ROLES, TokenMint

DEFAULT_SCENARIO = Path(__file__).parent / "advisor" / "default_scenario.yaml"
REGISTRY_USER = "iamapikey"  # icr.io's user name for "the password is an API key"
CR_TOKEN_EXPIRES = 4102444800  # 2100-01-01; a real one lives an hour at most


def plant(folder: StateFolder, identity: Identity) -> None:
    """Make every seed that FOLDER lacks."""
    if not folder.token_key.exists():
        folder.write(folder.token_key, secrets.token_bytes(32))
    if not folder.api_keys.exists():
        folder.write(folder.api_keys, json.dumps(_api_keys(identity), indent=2))
    manager = json.loads(folder.api_keys.read_bytes())["manager"]["apikey"]
    folder.write(folder.api_key, manager)  # no line end: some readers send it as it is
    login = base64.b64encode(f"{REGISTRY_USER}:{manager}".encode()).decode()
    hosts = (identity.registry, f"localhost:{identity.ports['registry']}")
    folder.write(
        folder.auth_file, json.dumps({"auths": {host: {"auth": login} for host in hosts}}, indent=2)
    )
    if not folder.cr_token.exists():
        folder.write(folder.cr_token, TokenMint.load(folder).sign(_service_account_claims()))
    if not folder.scenario.exists():
        folder.write(folder.scenario, DEFAULT_SCENARIO.read_bytes())
    if not (folder.ca.exists() and folder.server_certificate.exists()):
        _make_certificates(folder)


def _api_keys(identity: Identity) -> dict[str, dict[str, str]]:
    return {
        role.name: {
            "apikey": secrets.token_urlsafe(33),  # 44 characters, as IAM's
            "iam_id": f"iam-ServiceId-{uuid.uuid4()}",
            "account": identity.foreign_account if role.foreign else identity.account,
        }
        for role in ROLES.values()
    }


def _service_account_claims() -> dict[str, object]:
    return {
        "aud": ["iam"],
        "iss": "https://kubernetes.default.svc",
        "sub": "system:serviceaccount:imgsec:pipeline",
        "iat": 1767225600,
        "exp": CR_TOKEN_EXPIRES,
        "kubernetes.io": {"namespace": "imgsec", "serviceaccount": {"name": "pipeline"}},
    }


def _make_certificates(folder: StateFolder) -> None:
    import trustme

    ca = trustme.CA(organization_name="imgsec sandbox, trust nothing")
    server = ca.issue_cert(LOOPBACK, "localhost")
    chain = b"".join(blob.bytes() for blob in server.cert_chain_pems)
    folder.write(folder.server_certificate, server.private_key_pem.bytes() + chain)
    folder.write(folder.ca, ca.cert_pem.bytes())
