# SPDX-License-Identifier: Apache-2.0
"""What a program must find in its environment to meet the sandbox instead of the real services."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping

from imgsec.errors import ImgsecError
from imgsec.reasons import INVALID_OPTION
from imgsec.sandbox.folder import StateFolder
from imgsec.sandbox.identity import Identity

_NO_PROXY = ("127.0.0.1", "localhost")
# They name a credential, a key or a service of somewhere else, and would be used in the sandbox; or
# they take what is thrown away here to the user's cluster. imgsec takes an empty one for one that
# is not set. A test holds this against the options of all commands.
_ELSEWHERE = (
    *("IMGSEC_API_KEY", "IBM_CLOUD_APIKEY", "IMGSEC_IAM_TOKEN_FILE"),
    *("IMGSEC_IAM_PROFILE", "IMGSEC_CR_TOKEN_FILE"),
    *("IMGSEC_VPC_INSTANCE", "IMGSEC_VPC_METADATA_URL"),
    *("IMGSEC_KMS_KEY_RING", "IMGSEC_PASSPHRASE_FILE", "IMGSEC_PASSPHRASE_FD"),
    *("VAULT_KEY_ID", "IMGSEC_SIGN_IMAGE_KEY", "IMGSEC_VERIFY_IMAGE_KEY", "IMGSEC_DOCTOR_KEY"),
    *("SIGNATURE_FINGERPRINT", "IMGSEC_SIGN_IMAGE_FINGERPRINT", "IMGSEC_VERIFY_IMAGE_FINGERPRINT"),
    *("IMGSEC_SETUP_SIGNING_KEYS_FINGERPRINT", "IMGSEC_SETUP_SIGNING_KEYS_IMPORT_KEY"),
    *("IMGSEC_SETUP_SIGNING_KEYS_ADOPT_KEY", "IMGSEC_KEYS_IMPORT_FINGERPRINT"),
    *("IMGSEC_KEYS_CHECK_KEY", "IMGSEC_KEYS_CHECK_FINGERPRINT", "IMGSEC_KEYS_COPY_FINGERPRINT"),
    *("IMGSEC_KEYS_COPY_FROM", "IMGSEC_KEYS_COPY_TO", "IMGSEC_KEYS_COPY_TO_API_KEY_FILE"),
    "IMGSEC_KEYS_COPY_TO_KEY_RING",
    *("IMGSEC_SETUP_SIGNING_KEYS_APPLY", "IMGSEC_SETUP_SIGNING_KEYS_ENFORCE"),
    *("IMGSEC_SETUP_SIGNING_KEYS_DRY_RUN", "IMGSEC_PUBLISH_POLICY_APPLY"),
    *("IMGSEC_PUBLISH_POLICY_DRY_RUN", "IMGSEC_IN_CLUSTER"),
    *("IMGSEC_KEYS_ROTATE_FINGERPRINT", "IMGSEC_KEYS_ROTATE_APPLY", "IMGSEC_KEYS_RENEW_APPLY"),
    *("IMGSEC_KEYS_REVOKE_FINGERPRINT", "IMGSEC_KEYS_REVOKE_APPLY"),
    *("IMGSEC_SIGN_IMAGE_EXPECT_DIGEST", "IMGSEC_SIGN_IMAGE_SIGN_IDENTITY"),
    *("IMGSEC_SIGN_IMAGE_BOTH_HOSTS", "IMGSEC_LOOKASIDE", "IMGSEC_LOOKASIDE_STAGING"),
    *("IMGSEC_SIGN_IMAGE_TO", "IMGSEC_SIGN_IMAGE_REMOVE_SIGNATURES"),
    *("IMGSEC_SIGN_IMAGE_FROM_STORAGE", "IMGSEC_SIGN_IMAGE_STORAGE_DRIVER"),
    "IMGSEC_VERIFY_IMAGE_POLICY",
    *("IMGSEC_REPORT", "IMGSEC_SCANNER", "IMGSEC_SCANNER_SHA256", "IMGSEC_SCANNER_CACHE"),
    *("IMGSEC_SCAN_GATE_EVIDENCE_KEY", "IMGSEC_RELEASE_IMAGE_KEY"),
    *("IMGSEC_RELEASE_IMAGE_KEY_REFERENCE", "IMGSEC_RELEASE_IMAGE_FINGERPRINT"),
    *("IMGSEC_RELEASE_IMAGE_EXPECT_DIGEST", "IMGSEC_RELEASE_IMAGE_SIGN_IDENTITY"),
    *("IMGSEC_RELEASE_IMAGE_BOTH_HOSTS", "IMGSEC_RELEASE_IMAGE_TO"),
    "IMGSEC_RELEASE_IMAGE_REMOVE_SIGNATURES",
    *("IMGSEC_EXEMPTIONS_LIST_HOST", "IMGSEC_EXEMPTIONS_TYPES_HOST"),
    *("IMGSEC_EXEMPTIONS_SYNC_HOST", "IMGSEC_EXEMPTIONS_SYNC_APPLY"),
    *("IMGSEC_EXEMPTIONS_ADD_FROM", "IMGSEC_EXEMPTIONS_SYNC_STATE"),
    *("IMGSEC_SCAN_GATE_FINGERPRINT", "IMGSEC_ADMIT_LIVE", "IMGSEC_POLICY_ROLLBACK_DRY_RUN"),
)


def sandbox_environment(
    folder: StateFolder, identity: Identity, inherited: Mapping[str, str]
) -> dict[str, str]:
    """The variables to set, over whatever is set; empty ones are there to switch that off.

    inherited: only read for the proxy exceptions that it lists.
    """
    ca = str(folder.ca)
    exceptions = inherited.get("no_proxy") or inherited.get("NO_PROXY") or ""
    listed = [item.strip() for item in exceptions.split(",") if item.strip()]
    no_proxy = ",".join([*listed, *(host for host in _NO_PROXY if host not in listed)])
    return {
        "IMGSEC_SANDBOX_DIR": str(folder.root),
        "IMGSEC_SANDBOX_REGISTRY": identity.registry,
        "IMGSEC_SANDBOX_CR_TOKEN_FILE": str(folder.cr_token),
        "IMGSEC_SANDBOX_PROFILE_ID": identity.profile_id,
        "IMGSEC_SANDBOX_SECOND_KMS_INSTANCE": identity.second_kms_instance,
        "IMGSEC_IAM_URL": identity.url("iam"),
        "IMGSEC_KMS_URL": identity.url("kms"),
        "IMGSEC_KMS_INSTANCE": identity.kms_instance,
        "IMGSEC_ACCOUNT": identity.account,
        "IMGSEC_API_KEY_FILE": str(folder.api_key),
        "IMGSEC_AUTHFILE": str(folder.auth_file),
        "REGISTRY_AUTH_FILE": str(folder.auth_file),
        "IMGSEC_CA_FILE": ca,
        "SSL_CERT_FILE": ca,
        # These win over SSL_CERT_FILE in curl and in Python's requests, so they must agree.
        "CURL_CA_BUNDLE": ca,
        "REQUESTS_CA_BUNDLE": ca,
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        **dict.fromkeys(_ELSEWHERE, ""),
    }


def render_shell(values: Mapping[str, str]) -> str:
    """For ``eval``.

    >>> print(render_shell({"A": "it's"}))
    export A='it'"'"'s'
    """
    return "\n".join(f"export {name}={_quoted(value)}" for name, value in values.items())


def render_json(values: Mapping[str, str]) -> str:
    """One object."""
    return json.dumps(dict(values), indent=2)


def render_dotenv(values: Mapping[str, str]) -> str:
    """For ``--env-file`` of container tools: names and values without any quoting.

    >>> print(render_dotenv({"A": "it's"}))
    A=it's
    """
    return "\n".join(f"{name}={value}" for name, value in values.items())


FORMATS: dict[str, Callable[[Mapping[str, str]], str]] = {
    "shell": render_shell,
    "json": render_json,
    "dotenv": render_dotenv,
}


def render(values: Mapping[str, str], form: str) -> str:
    """The variables in one of `FORMATS`."""
    if form not in FORMATS:
        raise ImgsecError(INVALID_OPTION(f"--format is one of {', '.join(FORMATS)}."))
    return FORMATS[form](values)


def _quoted(value: str) -> str:
    quoted = shlex.quote(value)
    return quoted if quoted.startswith("'") else f"'{quoted}'"
