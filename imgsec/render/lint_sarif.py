# SPDX-License-Identifier: Apache-2.0
"""A lint of policies as SARIF 2.1.0: every finding at its line of the manifest."""

from __future__ import annotations

import json
import posixpath
import re
from urllib.parse import quote

from imgsec.domain.lint_catalogue import Level, LintFinding, LintKind
from imgsec.domain.policy_lint import Lint
from imgsec.domain.report import Report
from imgsec.reasons import POLICY_FLAWED
from imgsec.render.sarif_parts import (
    RESULTS_MAX,
    SCHEMA,
    Document,
    message,
    notification,
    sarif_run,
    short_hash,
)
from imgsec.render.text import clean

_LINE = re.compile(r", line [0-9]+")
_STDIN = "-"


def lint_sarif(report: Report, lint: Lint) -> str:
    """The document: one run, whose category is the same from run to run."""
    numbers: dict[str, int] = {}
    rules: list[Document] = []
    order = sorted(lint.findings, key=lambda one: tuple(Level).index(one.level))
    shown = order[:RESULTS_MAX]
    for one in shown:
        if one.kind.code not in numbers:
            numbers[one.kind.code] = len(rules)
            rules.append(_rule(one.kind))
    seen: dict[str, int] = {}
    results = [_result(one, numbers[one.kind.code], seen) for one in shown]
    open_parts = [
        notification(reason)
        for reason in report.verdict.reasons
        if reason.code != POLICY_FLAWED.code
    ]
    run = sarif_run(f"imgsec/policy-lint/{lint.engine.name}/", rules, open_parts, results)
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}) + "\n"


def _rule(kind: LintKind) -> Document:
    return {
        "id": kind.code,
        "name": "".join(word.capitalize() for word in kind.code.split("-")),
        "shortDescription": {"text": kind.meaning},
        "fullDescription": {"text": kind.meaning},
        "help": {"text": f"{kind.meaning}\n{kind.hint}"},
        "properties": {"tags": ["policy"]},
    }


def _result(one: LintFinding, number: int, seen: dict[str, int]) -> Document:
    image = f" (image {one.image})" if one.image else ""
    # Lines move with what is written above them.
    said = _LINE.sub("", one.text)
    identity = "\0".join([one.kind.code, one.about, one.where, said])
    # Findings that are alike are told apart by their order, as GitHub does it.
    count = seen[identity] = seen.get(identity, 0) + 1
    return {
        "ruleId": one.kind.code,
        "ruleIndex": number,
        "level": one.level.value,
        "message": {"text": message(f"{one.text}{image}. {one.hint}")},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": file_uri(one.where)},
                    "region": {"startLine": one.line},
                },
                "message": {"text": clean(one.about)},
            }
        ],
        "partialFingerprints": {"primaryLocationLineHash": f"{short_hash(identity)}:{count}"},
    }


def file_uri(where: str) -> str:
    """A file as it was named, relative to where imgsec ran unless it was named from the root.

    >>> file_uri("./a b.yaml"), file_uri("/srv/a.yaml")
    ('a%20b.yaml', 'file:///srv/a.yaml')
    """
    if where == _STDIN:
        return "stdin"
    path = quote(posixpath.normpath(where), safe="/", errors="surrogateescape")
    return f"file://{path}" if path.startswith("/") else path
