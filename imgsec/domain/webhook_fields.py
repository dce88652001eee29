# SPDX-License-Identifier: Apache-2.0
"""What a webhook's registration must be like to say what it seems to say.

Kubernetes's `pkg/apis/admissionregistration/v1/types.go` and `validation.go`. An API server drops
unknown fields and refuses most odd values; resources, groups and versions that nothing is called
it keeps, and they are told as well: nobody means them. What has no say in what is sent (the
certificate, the time limit) may be missing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from imgsec.domain.policy_fields import Anything, Fields, Listed, Path, Text, flaws_of, path_text
from imgsec.domain.reference import shown
from imgsec.domain.workload import READ_GROUPS, READ_RESOURCES

_VALUED, _BARE = ("In", "NotIn"), ("Exists", "DoesNotExist")
_SELECTOR = Fields(
    {
        "matchLabels": Anything(),
        "matchExpressions": Listed(
            Fields(
                {"key": Text(), "operator": Text((*_VALUED, *_BARE)), "values": Listed(Text())},
                required=("key", "operator"),
            )
        ),
    }
)
_RULE = Fields(
    {
        "operations": Listed(Text(("*", "CREATE", "UPDATE", "DELETE", "CONNECT"))),
        "apiGroups": Listed(Text()),
        "apiVersions": Listed(Text()),
        "resources": Listed(Text()),
        "scope": Text(("*", "Namespaced", "Cluster")),
    },
    required=("operations", "apiGroups", "apiVersions", "resources"),
)
_SERVICE = Fields(
    {"namespace": Text(), "name": Text(), "path": Text(), "port": Anything()},
    required=("namespace", "name"),
)
_WEBHOOK = Fields(
    {
        "name": Text(),
        "clientConfig": Fields({"url": Text(), "service": _SERVICE, "caBundle": Text()}),
        "rules": Listed(_RULE),
        "failurePolicy": Text(("Ignore", "Fail")),
        "matchPolicy": Text(("Exact", "Equivalent")),
        "namespaceSelector": _SELECTOR,
        "objectSelector": _SELECTOR,
        "sideEffects": Text(("None", "NoneOnDryRun", "Some", "Unknown")),
        "timeoutSeconds": Anything(),
        "admissionReviewVersions": Listed(Text()),
        "reinvocationPolicy": Text(("Never", "IfNeeded")),
        "matchConditions": Listed(
            Fields({"name": Text(), "expression": Text()}, required=("name", "expression"))
        ),
    },
    required=("name",),
)
_REGISTRATION = Fields(
    {
        "apiVersion": Text(),
        "kind": Text(),
        "metadata": Anything(),
        "webhooks": Listed(_WEBHOOK),
    }
)
_PART = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LOWER_CASE = {
    "apiGroups": re.compile(rf"|\*|{_PART}(\.{_PART})*"),
    "apiVersions": re.compile(rf"\*|(?=[a-z]){_PART}"),
    "resources": re.compile(rf"(\*|{_PART})(/(\*|{_PART}))?"),
}
_KNOWN = {
    "apiGroups": sorted(READ_GROUPS),
    "apiVersions": [],
    "resources": sorted(READ_RESOURCES),
}
_SECONDS = range(1, 31)
_CORE = "core"  # as people call the group that has no name
_NEAR, _COMPARED_MAX_CHARS = 0.85, 64  # pod is near pods; tfjobs and jobsets are not near jobs
_WORD = r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_KEY = re.compile(rf"({_PART}(\.{_PART})*/)?{_WORD}")
_VALUE = re.compile(rf"({_WORD})?")


def require_understood(configuration: Any) -> None:
    """Raises `ValueError`, with the place and what is wrong there."""
    for flaw in flaws_of(configuration, _REGISTRATION):
        raise _odd(flaw.path, flaw.text)
    names: set[str] = set()
    for place, webhook in enumerate(configuration.get("webhooks") or ()):
        path: Path = ("webhooks", place)
        if webhook["name"] in names:
            raise _odd((*path, "name"), f"{shown(webhook['name'])} is there twice")
        names.add(webhook["name"])
        seconds = webhook.get("timeoutSeconds")
        if seconds is not None and (type(seconds) is not int or seconds not in _SECONDS):
            raise _odd((*path, "timeoutSeconds"), "it is no number from 1 to 30")
        for number, rule in enumerate(webhook.get("rules") or ()):
            _require_rule(rule, (*path, "rules", number))
        for selector in ("namespaceSelector", "objectSelector"):
            _require_selector(webhook.get(selector) or {}, (*path, selector))


def _require_rule(rule: Mapping[str, Any], path: Path) -> None:
    for name in _RULE.required:
        values = rule[name]
        if not values:
            raise _odd((*path, name), "it names nothing")
        if "*" in values and len(values) > 1 and name != "resources":
            raise _odd((*path, name), "* stands for all, and so alone")
        for value in values if name in _LOWER_CASE else ():
            if not _LOWER_CASE[name].fullmatch(value):
                raise _odd((*path, name), f"nothing can be called {shown(value)}")
            if (meant := _meant(value.partition("/")[0], name)) is not None:
                raise _odd((*path, name), f"{shown(value)} is unknown; did you mean {meant}?")


def _meant(value: str, name: str) -> str | None:
    if name == "apiGroups" and value == _CORE:
        return '""'
    known = _KNOWN[name]
    if value in known or value == "*":
        return None
    near = difflib.get_close_matches(value[:_COMPARED_MAX_CHARS], known, 1, _NEAR)
    return near[0] if near else None


def _require_selector(selector: Mapping[str, Any], path: Path) -> None:
    labels = selector.get("matchLabels")
    if labels is not None and not isinstance(labels, dict):
        raise _odd((*path, "matchLabels"), "it is not an object")
    for key, value in (labels or {}).items():
        _require_label(key, [value], (*path, "matchLabels"))
    for place, one in enumerate(selector.get("matchExpressions") or ()):
        here = (*path, "matchExpressions", place)
        values = one.get("values") or []
        if bool(values) is not (one["operator"] in _VALUED):
            wanted = "needs values" if one["operator"] in _VALUED else "takes no values"
            raise _odd((*here, "values"), f"{one['operator']} {wanted}")
        _require_label(one["key"], values, here)


def _require_label(key: Any, values: list[Any], path: Path) -> None:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise _odd(path, f"no label has the key {shown(str(key))}")
    for value in values:
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise _odd(path, f"no label has the value {shown(str(value))}")


def _odd(path: Path, why: str) -> ValueError:
    return ValueError(f"{path_text(path)}: {why}" if path else why)
