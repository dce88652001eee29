# SPDX-License-Identifier: Apache-2.0
"""PyYAML's safe loader and dumper, made stricter: no anchor, no tag, no key twice in a mapping."""

from __future__ import annotations

from typing import Any

import yaml


class PlainDumper(yaml.SafeDumper):
    """Writes out what stands twice in the data twice: our own loader refuses aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


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
