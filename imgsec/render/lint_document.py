# SPDX-License-Identifier: Apache-2.0
"""A lint as the JSON document that programs read."""

from __future__ import annotations

from typing import Any

from imgsec.domain.policy_lint import Lint, RulePlace

Document = dict[str, Any]


def lint_document(lint: Lint) -> Document:
    """What was found, and which rule decides about the images that were named."""
    return {
        "engine": lint.engine.name,
        "files": list(lint.files),
        "policies": lint.policies,
        "rules": lint.rules,
        "findings": [
            {
                "id": one.kind.code,
                "level": one.level.value,
                "file": one.where,
                "line": one.line,
                "object": one.about,
                "text": one.text,
                "hint": one.hint,
                "image": one.image or None,
            }
            for one in lint.findings
        ],
        "decisions": [
            {
                "image": one.image,
                "namespace": one.namespace,
                "valid": one.is_image,
                "rule": _rule_place(one.rule) if one.rule else None,
                "others": [_rule_place(other) for other in one.others],
            }
            for one in lint.decisions
        ],
    }


def _rule_place(rule: RulePlace) -> Document:
    return {
        "repository": rule.repository,
        "object": rule.owner,
        "file": rule.where,
        "line": rule.line,
    }
