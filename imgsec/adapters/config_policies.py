# SPDX-License-Identifier: Apache-2.0
"""The list of rules in a `config.yaml`, as the policy that an installer makes of it.

The fields keep the places that they have in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from imgsec.domain.intent_rendering.cise import CONFIG_CHART, CONFIG_LIST
from imgsec.domain.intent_rendering.rendered import Findings
from imgsec.domain.policy_import.source import config_documents

_MAPPING, _TEXT = "tag:yaml.org,2002:map", "tag:yaml.org,2002:str"


def config_policy(
    content: Mapping[str, Any], where: str, node: yaml.Node
) -> tuple[dict[str, Any], yaml.Node] | None:
    """The policy, and its node; None for what has no such list.

    Raises `ImgsecError` (input-malformed).
    """
    chart = content.get(CONFIG_CHART)
    if not isinstance(chart, Mapping) or CONFIG_LIST not in chart:
        return None
    (document,) = config_documents(content, where, Findings())
    for name in (CONFIG_CHART, CONFIG_LIST):
        key, node = next((key, value) for key, value in node.value if key.value == name)
    return document, _below(key, "spec", _below(key, "repositories", node))


def _below(at: yaml.Node, name: str, value: yaml.Node) -> yaml.Node:
    """A mapping of one field, where another begins."""
    key = yaml.ScalarNode(_TEXT, name, at.start_mark, at.end_mark)
    return yaml.MappingNode(_MAPPING, [(key, value)], at.start_mark, value.end_mark)
