"""Plain values -> YAML text that the reader of specs reads back as the same values."""

from collections.abc import Mapping
from typing import Any

import yaml

from orchestrator.specs.vocabulary import SPACE_WORDS
from orchestrator.specs.yaml_tree import TEXT_TAG, core_tag


def dump_yaml(tree: Mapping[str, Any]) -> str:
    """Write nested plain values as YAML, in their order, a search space on one line."""
    text: str = yaml.dump(
        tree,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=96,
    )
    return text


class _Dumper(yaml.SafeDumper):
    """Quotes what either version of YAML would read as something else than text."""

    def represent_scalar(
        self, tag: str, value: str, style: str | None = None
    ) -> yaml.ScalarNode:
        """Escape the line ends of Unicode, which would be read back as spaces."""
        is_broken = any(end in value for end in "\x85\u2028\u2029")
        return super().represent_scalar(tag, value, style='"' if is_broken else style)

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 (asked for every value)
        """Write every value in full."""
        return True

    def represent_mapping(  # type: ignore[override]
        self, tag: str, mapping: Mapping[str, object], flow_style: bool | None = None
    ) -> yaml.MappingNode:
        """Put a search space on one line."""
        is_space = any(word in mapping for word in SPACE_WORDS)
        return super().represent_mapping(tag, mapping, flow_style=is_space or flow_style)

    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str:
        """Name the type that a scalar would be read as."""
        theirs = str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]
        if kind is yaml.ScalarNode and implicit[0] and theirs == TEXT_TAG:
            return core_tag(value)
        return theirs
