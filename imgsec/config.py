# SPDX-License-Identifier: Apache-2.0
"""What the commands were told about the world around them: read once, frozen.

Command-line flags win over the environment; nothing is read from the working directory, so a
repository under test cannot bring settings of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_IAM_URL = "https://iam.cloud.ibm.com"
DEFAULT_METADATA_URL = "http://169.254.169.254"
DEFAULT_KMS_URL = "https://us-south.kms.cloud.ibm.com"
DEFAULT_TIMEOUT_SECONDS = 600


@dataclass(frozen=True, slots=True)
class GateSettings:
    """The options of the scan gate, as given; texts are parsed where they are used.

    Everything that judges has None for "as the gate file says, or the default".
    """

    reports: tuple[str, ...] = ()
    scanner: str | None = None
    scanner_sha256: str | None = None
    scanner_cache: str | None = None
    allow_unpinned_scanner: bool = False
    no_advisor: bool = False
    gate: str | None = None
    exemptions: str | None = None
    fail_on: str | None = None
    unknown_severity: str | None = None
    only_fixed: bool | None = None
    grace: str | None = None
    ledger_only: bool | None = None
    unsupported: str | None = None
    end_of_life: str | None = None
    max_age: str | None = None
    mode: str | None = None
    baseline: str | None = None
    effective_time: str | None = None
    allow_past_effective_time: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """The options that commands share; texts are parsed where an adapter is made of them.

    timeout: seconds for the whole command. cr_token_file: None for the authenticator's defaults.
    passphrase_file, passphrase_fd: one of them at most, for the secret key.
    trust_hosts, auth_realms: loosen a check, are never read from the environment, and are recorded.
    """

    iam_url: str = DEFAULT_IAM_URL
    kms_url: str = DEFAULT_KMS_URL
    kms_instance: str | None = None
    kms_key_ring: str | None = None
    api_key_file: str | None = None
    iam_profile: str | None = None
    cr_token_file: str | None = None
    iam_token_file: str | None = None
    vpc_instance: bool = False
    vpc_metadata_url: str = DEFAULT_METADATA_URL
    account: str | None = None
    authfile: str | None = None
    lookaside: str | None = None
    lookaside_staging: str | None = None
    ca_file: str | None = None
    passphrase_file: str | None = None
    passphrase_fd: int | None = None
    tools_dir: str | None = None
    kubeconfig: str | None = None
    context: str | None = None
    timeout: int = DEFAULT_TIMEOUT_SECONDS
    trust_hosts: tuple[str, ...] = ()
    auth_realms: tuple[str, ...] = ()
