# SPDX-License-Identifier: Apache-2.0
"""Look at policies and at what lies beside them; gpg is asked only where there are key Secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from imgsec.domain.engines import Engine
from imgsec.domain.lint_secrets import SecretUse, named_secrets, secret_findings
from imgsec.domain.lint_sources import Inventory, Located, take_inventory
from imgsec.domain.policy_lint import Lint, judge_lint, lint_inventory
from imgsec.domain.verdict import Verdict
from imgsec.errors import ImgsecError
from imgsec.reasons import KEY_MALFORMED, Reason

if TYPE_CHECKING:  # most policies come without a Secret
    from imgsec.domain.lint_catalogue import LintFinding
    from imgsec.domain.verifiers import PublishedKeys
    from imgsec.ports import Keyring


@dataclass(frozen=True, slots=True)
class LintRules:
    """What is asked of a lint. strict: warnings refuse, too. secrets: all that are named are there.

    soon: how long before its end a key is told. images: whose rules are to be shown.
    """

    engine: Engine
    strict: bool = False
    secrets: bool = False
    soon: timedelta = timedelta(days=30)
    images: Sequence[str] = ()


def lint_policies(
    documents: Iterable[Located],
    rules: LintRules,
    *,
    open_keyring: Callable[[], Keyring],
    now: datetime,
) -> tuple[Lint, Verdict]:
    """What is found, and the verdict. A key that could not be looked at makes it undecided."""
    inventory = take_inventory(documents, rules.engine)
    found = list(secret_findings(inventory, strict=rules.secrets))
    reader = _KeyReader(open_keyring, now, rules.soon)
    found += reader.findings(inventory)
    lint = lint_inventory(inventory, found, images=rules.images, strict=rules.strict)
    verdict = judge_lint(lint, documents=inventory.documents, unread=reader.unread)
    return lint, verdict


class _KeyReader:
    """Reads the keys of Secrets, each content once."""

    def __init__(self, open_keyring: Callable[[], Keyring], now: datetime, soon: timedelta) -> None:
        self._open, self._now, self._soon = open_keyring, now, soon
        self._read: dict[bytes, PublishedKeys | Reason] = {}
        self.unread: list[Reason] = []

    def findings(self, inventory: Inventory) -> list[LintFinding]:
        if not inventory.secrets:
            return []
        from imgsec.domain.lint_keys import data_findings, key_findings, lacking_data, unreadable

        found: list[LintFinding] = []
        for use, source in named_secrets(inventory):
            if use is not SecretUse.KEY:
                found += lacking_data(use, source)
                continue
            content, flaws = data_findings(source)
            found += flaws
            if not content:
                continue
            keys = self._keys(content)
            if not isinstance(keys, Reason):
                found += key_findings(source, keys, now=self._now, soon=self._soon)
            elif keys.code == KEY_MALFORMED.code:
                found.append(unreadable(source, keys.text))
            elif keys not in self.unread:
                self.unread.append(keys)
        return found

    def _keys(self, content: bytes) -> PublishedKeys | Reason:
        from imgsec.operations.published_keys import read_published

        if content not in self._read:
            try:
                self._read[content] = read_published(content, self._open())
            except ImgsecError as error:
                self._read[content] = error.reason
        return self._read[content]
