"""YAML to the values that JSON has, built from the parser's events and nothing else.

Called by `bodies`. Its one rule: no tag makes an object, and no alias, nesting or merge makes more of the
text than its bounds. PyYAML's own loaders are left aside: the C one ends the process on deep nesting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from interfaces.problems import Refused, malformed

MAX_DEPTH = 64
MAX_NODES = 100_000
"""Values of a document, those that aliases repeat counted each time."""

_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TAGS = {None, "!", *(f"tag:yaml.org,2002:{name}" for name in ("str", "map", "seq"))}


def decode_yaml(body: bytes) -> object:
    """The document's value: null, bool, int, float, str, list and dict with text keys (YAML 1.2 core schema).

    Raises `Refused` (400) for what is not YAML, a second document, tags, and what is beyond the bounds.
    """
    try:
        text = body.decode("utf-8")
        return _Builder().value(yaml.parse(text, Loader=_parser()))
    except UnicodeDecodeError as error:
        raise malformed(f"the body is not UTF-8 at byte {error.start}") from error
    except yaml.MarkedYAMLError as error:
        raise malformed(f"the body is not YAML: {_where(error)}") from error
    except yaml.YAMLError as error:
        raise malformed("the body is not YAML: it holds a character that YAML does not allow") from error


def _parser() -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _where(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    at = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{error.problem}{at}"


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being filled; `nodes` counts what it holds, itself included."""

    value: list[Any] | dict[str, Any]
    anchor: str | None
    key: str | None = None
    nodes: int = 1


@dataclass(slots=True)
class _Builder:
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, tuple[object, int]] = field(default_factory=dict)
    nodes: int = 0
    documents: int = 0
    root: object = None

    def value(self, events: Iterator[yaml.Event]) -> object:
        for event in events:
            self._take(event)
        return self.root

    def _take(self, event: yaml.Event) -> None:
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    raise malformed("the body holds more than one YAML document; expected one")
            case yaml.ScalarEvent():
                self._remember(event.anchor, scalar := self._scalar(event), 1)
                self._add(scalar, 1, event)
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._begin(event)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                done = self.stack.pop()
                self._remember(done.anchor, done.value, done.nodes)
                if self.stack:
                    self.stack[-1].nodes += done.nodes

    def _begin(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent) -> None:
        self._check_tag(event)
        if len(self.stack) >= MAX_DEPTH:
            raise _refused(event, f"nests deeper than {MAX_DEPTH} levels")
        opened: list[Any] | dict[str, Any] = [] if isinstance(event, yaml.SequenceStartEvent) else {}
        self._add(opened, 0, event)
        self._count(1, event)
        self.stack.append(_Open(opened, event.anchor))

    def _alias(self, event: yaml.AliasEvent) -> None:
        known = self.anchors.get(event.anchor or "")
        if known is None:
            raise _refused(event, f"alias *{event.anchor} stands for nothing that was complete before it")
        self._add(known[0], known[1], event)

    def _remember(self, anchor: str | None, value: object, nodes: int) -> None:
        if anchor is not None:
            self.anchors[anchor] = (value, nodes)

    def _add(self, value: object, nodes: int, event: yaml.Event) -> None:
        self._count(nodes, event)
        if not self.stack:
            self.root = value
            return
        parent = self.stack[-1]
        parent.nodes += nodes
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif parent.key is None:
            parent.key = self._key(value, event)
        else:
            parent.value[parent.key] = value
            parent.key = None

    def _key(self, value: object, event: yaml.Event) -> str:
        if isinstance(event, yaml.ScalarEvent):
            return str(event.value)
        if isinstance(event, yaml.AliasEvent) and isinstance(value, str):
            return value
        raise _refused(event, "a key is not a text")

    def _count(self, nodes: int, event: yaml.Event) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise _refused(event, f"holds more than {MAX_NODES} values, its aliases written out")

    def _check_tag(self, event: yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent) -> None:
        if event.tag not in _TAGS:
            raise _refused(event, f"tag {event.tag} is not available; expected plain values")

    def _scalar(self, event: yaml.ScalarEvent) -> object:
        self._check_tag(event)
        text: str = event.value
        if not event.implicit[0]:  # quoted, a block, or tagged as text
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if len(text) <= 40 and _INT.fullmatch(text):
            return int(text)
        return float(text) if len(text) <= 40 and _FLOAT.fullmatch(text) else text


def _refused(event: yaml.Event, message: str) -> Refused:
    mark = event.start_mark
    at = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return malformed(f"YAML{at}: {message}")
