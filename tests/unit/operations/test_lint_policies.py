# SPDX-License-Identifier: Apache-2.0
"""Keys in a lint of policies: read once, and never said to be good where nobody could look."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from imgsec.adapters.manifest_files import parse_documents
from imgsec.domain.engines import NEWEST
from imgsec.domain.policy_lint import Lint
from imgsec.domain.verdict import Verdict
from imgsec.errors import ImgsecError
from imgsec.operations.lint_policies import LintRules, lint_policies
from imgsec.reasons import TOOL_MISSING
from tests.unit.operations.fakes import NOW, OTHER_SIGNER, SIGNER, FakeKeyring, public_key


def policy(*names: str) -> dict[str, Any]:
    rules = [
        {
            "name": f"icr.io/ns/{name}",
            "policy": {
                "simple": {
                    "requirements": [
                        {"type": "signedBy", "keySecret": name, "keySecretNamespace": "p"}
                    ]
                }
            },
        }
        for name in names
    ]
    return {
        "apiVersion": NEWEST.api,
        "kind": "ClusterImagePolicy",
        "metadata": {"name": "default"},
        "spec": {"repositories": rules},
    }


def secret(name: str, content: bytes) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "p"},
        "data": {"key": base64.b64encode(content).decode()},
    }


def lint(open_keyring: Callable[[], Any], *documents: dict[str, Any]) -> tuple[Lint, Verdict]:
    text = "\n---\n".join(map(json.dumps, documents)).encode()
    found = parse_documents(text, "a.yaml")
    return lint_policies(found, LintRules(NEWEST), open_keyring=open_keyring, now=NOW)


def codes(keyring: FakeKeyring, content: bytes) -> list[str]:
    found, _ = lint(lambda: keyring, policy("k"), secret("k", content))
    return [one.kind.code for one in found.findings]


def block(*keys: Any, **changes: Any) -> tuple[FakeKeyring, bytes]:
    """Keys as they are published, and a keyring that reads them."""
    keyring = FakeKeyring(flawed=changes)
    for key in keys:
        keyring.held[key.fingerprint] = key
    return keyring, keyring.export_block([key.fingerprint for key in keys])


def test_a_good_key_is_not_told() -> None:
    assert codes(*block(public_key())) == []


def test_keys_that_portieris_cannot_read_are_errors() -> None:
    assert "key-unreadable" in codes(*block(public_key(), algorithm="ed25519"))


def test_revoked_short_and_ended_keys_are_told() -> None:
    for changes in (
        {"is_revoked": True},
        {"expires": NOW - timedelta(days=1)},
    ):
        assert codes(*block(public_key(**changes))) == ["key-spent"], changes
    assert "key-spent" in codes(*block(public_key(), algorithm="rsa1024"))


def test_a_key_that_ends_soon_is_a_note() -> None:
    assert codes(*block(public_key(expires=NOW + timedelta(days=10)))) == ["key-expiring"]


def test_a_second_block_is_not_read() -> None:
    keyring, first = block(public_key(SIGNER))
    _, second = block(public_key(OTHER_SIGNER))
    assert codes(keyring, first + second) == ["key-unreadable"]


def test_without_gpg_the_answer_is_open() -> None:
    def missing() -> Any:
        raise ImgsecError(TOOL_MISSING("gpg is not installed"))

    _, content = block(public_key())
    found, verdict = lint(missing, policy("k", "l"), secret("k", content), secret("l", content))
    assert found.findings == ()
    assert (verdict.outcome.word, [one.code for one in verdict.reasons]) == (
        "undecided",
        ["tool-missing"],
    )


def test_gpg_is_not_started_for_secrets_that_no_rule_names() -> None:
    def forbidden() -> Any:
        raise AssertionError("nobody asked for a key")

    _, content = block(public_key())
    lint(forbidden, policy("k"), secret("other", content))
    lint(forbidden, policy("k"), secret("k", b"-----BEGIN PGP PRIVATE KEY BLOCK-----"))


def test_one_content_is_read_once() -> None:
    keyring, content = block(public_key())
    opened: list[int] = []

    def counting() -> FakeKeyring:
        opened.append(1)
        return keyring

    names = [f"k{number}" for number in range(20)]
    lint(counting, policy(*names), *(secret(name, content) for name in names))
    assert opened == [1]
