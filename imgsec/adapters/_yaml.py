# SPDX-License-Identifier: Apache-2.0
"""PyYAML's safe loader and dumper, made stricter: no anchor, no tag, no key twice in a mapping."""

from __future__ import annotations

import re
from typing import Any

import yaml

# What kubectl's parser (go-yaml, resolve.go) takes for no text, and PyYAML does. It takes all
# underscores out before it looks at a number.
_NUMBER_STARTS = tuple("+-.0123456789")
_NO_TEXT_IN_GO = re.compile(
    r"""[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?
    |[-+]?0(?:[xX][0-9a-fA-F]+|[oO]?[0-7]+|[bB][01]+)
    |[-+]?[0-9]+(?::[0-5]?[0-9])+(?:\.[0-9]*)?
    |[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?
    |[yYnN]""",
    re.VERBOSE,
)


class PlainDumper(yaml.SafeDumper):
    """Writes out what stands twice in the data twice: our own loader refuses aliases.

    A text is quoted where any reader would take it for something else.
    """

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        read = data.replace("_", "") if data.startswith(_NUMBER_STARTS) else data
        style = "'" if _NO_TEXT_IN_GO.fullmatch(read) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


PlainDumper.add_representer(str, PlainDumper.represent_str)


class StrictLoader(yaml.SafeLoader):
    """Refuses what makes a document mean two things to two readers, or a small file a large one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias is not accepted")
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:  # typed by force, as !!int "x" is
            raise yaml.YAMLError("a tag is not accepted")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        if len(names) != len({str(name) for name in names}):
            raise yaml.YAMLError("a key stands twice in one mapping")
        return super().construct_mapping(node, deep)


class UndatedLoader(StrictLoader):
    """Leaves dates as texts: an impossible one is an entry's flaw, and not the whole file's."""


UndatedLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in StrictLoader.yaml_implicit_resolvers.items()
}
