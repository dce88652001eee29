# SPDX-License-Identifier: Apache-2.0
"""Every option of every command has its environment twin, by one rule."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from imgsec.cli.app import command_line

# They loosen a check: whoever does that says so where it can be seen.
LOOSENING = {
    *("--trust-host", "--auth-realm", "--allow-unchecked", "--adopt", "--accept-lockout"),
    *("--accept-laxer", "publish-policy --prune"),
    *("--set", "--allow-platform"),
    *("verify-image --as", "verify-image --platform", "verify-image --image-dir"),
    # Whatever can loosen the gate.
    *("--gate", "--fail-on", "--unknown-severity", "--only-fixed", "--grace", "--baseline"),
    *("--unsupported", "--end-of-life", "--max-age", "--mode", "--exemptions", "--ledger-only"),
    *("--effective-time", "--allow-past-effective-time", "--no-advisor"),
    "--allow-unpinned-scanner",
    # Whatever can loosen a prediction.
    *("--signatures", "--reserved-namespace", "--assume-pull-secrets"),
}
# They do no work.
ABOUT = {"--help", "--version", "--install-completion", "--show-completion"}
# The names that older scripts and pipelines use.
OLDER = {
    "VAULT_URL",
    "VAULT_INSTANCE_ID",
    "SIGNATURE_FINGERPRINT",
    "VAULT_KEY_ID",
    "REGISTRY_AUTH_FILE",
    "SSL_CERT_FILE",
    "KUBECONFIG",
    "GITHUB_OUTPUT",
    "GITHUB_STEP_SUMMARY",
}
STORY = (
    *("setup-signing-keys", "resolve", "scan-gate", "sign-image", "verify-image"),
    *("publish-policy", "admit", "images"),
)


@cache
def commands() -> dict[str, Any]:
    found: Any = command_line()
    return dict(found.commands)


def options(command: str) -> Iterator[tuple[str, list[str]]]:
    """The long name of each option, with the variables that it is read from."""
    for parameter in commands()[command].params:
        long = [name for name in parameter.opts if name.startswith("--")]
        if not long or long[0] in ABOUT:
            continue
        named = parameter.envvar or []
        yield long[0], [named] if isinstance(named, str) else list(named)


def owners(option: str) -> list[str]:
    return [command for command in STORY if option in dict(options(command))]


@pytest.mark.parametrize("command", STORY)
def test_every_option_has_the_twin_that_its_name_gives(command: str) -> None:
    for option, named in options(command):
        if LOOSENING & {option, f"{command} {option}"}:
            assert named == [], option
            continue
        word = option.removeprefix("--").replace("-", "_").upper()
        shared = f"IMGSEC_{word}"
        own = f"IMGSEC_{command.replace('-', '_').upper()}_{word}"
        assert named, f"{command} {option} has no twin"
        assert named[0] in (shared, own), option
        assert set(named[1:]) <= OLDER, option


def test_one_variable_never_means_two_options() -> None:
    seen: dict[str, str] = {}
    for command in STORY:
        for option, named in options(command):
            for name in named:
                assert seen.setdefault(name, option) == option, name


def test_option_with_a_shared_twin_means_the_same_everywhere() -> None:
    for command in STORY:
        for option, named in options(command):
            own = f"IMGSEC_{command.replace('-', '_').upper()}_"
            if not named or named[0].startswith(own):
                continue
            for other in owners(option):
                assert dict(options(other))[option] == named, (option, other)


def test_older_names_are_all_read() -> None:
    read = {name for command in STORY for _, named in options(command) for name in named}
    assert read >= OLDER
