# SPDX-License-Identifier: Apache-2.0
"""``.grype.yaml``: the ignore rules of Grype.

Source: anchore/grype, `grype/match/ignore.go`. A rule has no end, and can be narrowed in ways that
the ledger does not know; only the vulnerability and the package's name are taken over. That name is
a regular expression there, for the whole name. Each rule hides the match in one package.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from imgsec.adapters.exemption_files import (
    MAKER,
    ExemptionFormat,
    ends,
    reason,
    require_fields,
    scope,
    single_issue,
)
from imgsec.domain.exemption import Exemption, IssueType
from imgsec.domain.exemption_exchange import Defaults, Export, Exported, Imported

_KNOWN = frozenset(("vulnerability", "reason", "package"))
_PATTERN = re.compile(r"[][*?+(){}|^$\\]")
_IDS = (IssueType.CVE, IssueType.NOTICE)


def _read(document: Any, defaults: Defaults) -> Imported:
    rules = document.get("ignore") if isinstance(document, dict) else None
    if not isinstance(rules, list):
        raise ValueError("it has no list of ignore rules")
    entries, skipped = [], []
    for number, rule in enumerate(rules, start=1):
        try:
            entries.append(_entry(rule, defaults))
        except ValueError as error:
            named = rule.get("vulnerability") if isinstance(rule, dict) else rule
            skipped.append(f"rule {number} ({str(named)[:100]}): {error}")
    return Imported(tuple(entries), tuple(skipped))


def _entry(rule: Any, defaults: Defaults) -> Exemption:
    if not isinstance(rule, dict):
        raise ValueError("it is not a mapping")
    require_fields(rule, _KNOWN)
    package = {} if rule.get("package") is None else rule["package"]
    if not isinstance(package, dict):
        raise ValueError("package is not a mapping")
    require_fields(package, frozenset(("name",)))
    has_name = package.get("name") not in (None, "")
    if not rule.get("vulnerability"):
        raise ValueError("it is about every vulnerability")
    document = {
        "id": single_issue(rule["vulnerability"]),
        "scope": scope(defaults),
        **({"packages": [_literal(package["name"])]} if has_name else {}),
        "owner": defaults.owner,
        "reason": reason(rule.get("reason"), defaults),
        "expires": ends(None, defaults).isoformat(),
    }
    return Exemption.parse(document)


def _literal(pattern: object) -> str:
    """The one name that is meant; a point may be one. Raises `ValueError`."""
    name = re.sub(r"\\([.+])", r"\1", pattern) if isinstance(pattern, str) else ""
    if not name or _PATTERN.search(re.sub(r"\\[.+]", "", str(pattern))):
        raise ValueError("its package is a pattern, which the ledger cannot say")
    return name


def _write(export: Export) -> Exported:
    import yaml

    exported = export.sayable(_cannot_say)
    rules: list[dict[str, Any]] = []
    for entry in exported.entries:
        why = f"{entry.reason} (until {entry.expires}, {entry.owner})"
        rule: dict[str, Any] = {"vulnerability": entry.issue, "reason": why}
        named = [{**rule, "package": {"name": _quoted(name)}} for name in entry.packages]
        rules += named or [rule]
    head = (
        f"# For {export.subject.image.canonical_name}, made by `{MAKER}`.\n"
        f"# Grype knows no end dates: the first of these ends on"
        f" {min((one.expires for one in exported.entries), default='-')}.\n"
    )
    text = head + yaml.safe_dump({"ignore": rules}, sort_keys=False, allow_unicode=True)
    return replace(exported, text=text)


def _quoted(name: str) -> str:
    return re.sub(r"[.+]", r"\\\g<0>", name)


def _cannot_say(entry: Exemption) -> str | None:
    if entry.type not in _IDS:
        return "Grype looks for no configuration issues"
    if entry.names_kinds:
        return "Grype names packages without their kind"
    return None


FORMAT = ExemptionFormat(
    _read,
    _write,
    "Grype applies the file to every image that it is run with, and knows no end: export it anew"
    " before an entry ends",
)
