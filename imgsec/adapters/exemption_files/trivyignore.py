# SPDX-License-Identifier: Apache-2.0
"""``.trivyignore.yaml``: Trivy's ignore file.

Source: aquasecurity/trivy, `pkg/result/ignore.go`. ``expired_at`` is the moment from which on an
entry does not hold, so that the last whole day, in UTC, is the one before.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
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
from imgsec.domain.package_url import SCHEME, parse_package_url

_DAY = timedelta(days=1)
_KNOWN = frozenset(("id", "statement", "expired_at", "purls"))
_LISTS = {"vulnerabilities": None, "misconfigurations": IssueType.CONFIGURATION}
_OTHERS = ("secrets", "licenses")


def _read(document: Any, defaults: Defaults) -> Imported:
    if not isinstance(document, dict) or not set(document) <= {*_LISTS, *_OTHERS}:
        raise ValueError("it is no .trivyignore.yaml")
    entries, skipped = [], []
    for member in (*_LISTS, *_OTHERS):
        items = document.get(member) or []
        if not isinstance(items, list):
            raise ValueError(f"{member} is not a list")
        for number, item in enumerate(items, start=1):
            try:
                if member in _OTHERS:
                    raise ValueError("the ledger is about vulnerabilities and configuration issues")
                entries.append(_entry(item, _LISTS[member], defaults))
            except ValueError as error:
                named = item.get("id") if isinstance(item, dict) else item
                skipped.append(f"{member} {number} ({str(named)[:100]}): {error}")
    return Imported(tuple(entries), tuple(skipped))


def _entry(item: Any, kind: IssueType | None, defaults: Defaults) -> Exemption:
    if not isinstance(item, dict):
        raise ValueError("it is not a mapping")
    require_fields(item, _KNOWN)
    purls = [] if item.get("purls") is None else item["purls"]
    if not isinstance(purls, list):
        raise ValueError("purls is not a list")
    document = {
        "id": item.get("id") if kind else single_issue(item.get("id")),
        **({"type": str(kind)} if kind else {}),
        "scope": scope(defaults),
        **({"packages": list(dict.fromkeys(map(parse_package_url, purls)))} if purls else {}),
        "owner": defaults.owner,
        "reason": reason(item.get("statement"), defaults),
        "expires": ends(_last_day(item.get("expired_at")), defaults).isoformat(),
    }
    return Exemption.parse(document)


def _last_day(text: Any) -> date | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(str(text))
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return moment.date() - _DAY
    except (ValueError, OverflowError):
        raise ValueError(f"expired_at {str(text)[:40]!r} is no date") from None


def _write(export: Export) -> Exported:
    import yaml

    exported = export.sayable(_cannot_say)
    lists: dict[str, list[dict[str, Any]]] = {}
    for entry in exported.entries:
        issue = entry.type is IssueType.CONFIGURATION
        lists.setdefault("misconfigurations" if issue else "vulnerabilities", []).append(
            {
                "id": entry.issue,
                "expired_at": min(entry.expires, date.max - _DAY) + _DAY,
                "statement": f"{entry.reason} ({entry.owner})",
                **({"purls": list(entry.packages)} if entry.packages else {}),
            }
        )
    image = export.subject.image
    head = f"# For {image.canonical_name}, made by `{MAKER}`.\n"
    text = head + yaml.safe_dump(lists, sort_keys=False, allow_unicode=True)
    return replace(exported, text=text)


def _cannot_say(entry: Exemption) -> str | None:
    if not all(name.startswith(SCHEME) for name in entry.packages):
        return "Trivy names packages by their package URL, and the entry does not"
    if entry.type is IssueType.NOTICE and not entry.issue.startswith("GHSA-"):
        return "Trivy ignores vulnerabilities, and not the notices about them"
    return None


FORMAT = ExemptionFormat(
    _read, _write, "Trivy applies the file to every image that it scans with it, and not to one"
)
