"""How much work a JSON Schema makes: known before anything is held against it.

Called by `application.documents`. Its one rule: a few references can stand for more keywords than there
are atoms; what is beyond the bound is refused, never begun.
"""

from __future__ import annotations

from domain.definition import Json, JsonSchema

MAX_WORK = 2_000
"""Keywords of a schema, its references written out."""

MAX_CHECKS = 2_000_000
"""Keywords times values: some seconds at the worst."""


def schema_work(schema: JsonSchema) -> int:
    """The keywords that one value is held against; above `MAX_WORK` for one that refers to itself."""
    try:
        return _Work(schema).of(schema)
    except RecursionError:
        return MAX_WORK + 1


def values_in(value: Json) -> int:
    """The value itself, and all that it holds."""
    count = 0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        count += 1
        if isinstance(item, list | tuple):
            waiting.extend(item)
        elif isinstance(item, dict):
            waiting.extend(item.values())
    return count


class _Work:
    def __init__(self, root: JsonSchema) -> None:
        self._root = root
        self._of_reference: dict[str, int] = {}

    def of(self, node: object) -> int:
        if isinstance(node, list):
            return 1 + self._sum(node)
        if not isinstance(node, dict):
            return 1
        total = 1
        for key, value in node.items():
            if key == "$ref":
                total += self._referred(str(value))
            elif key in ("enum", "required") and isinstance(value, list):
                total += len(value)
            elif key not in ("$defs", "default", "const", "examples"):
                total += self.of(value)
            if total > MAX_WORK:
                break
        return total

    def _sum(self, nodes: list[object]) -> int:
        total = 0
        for node in nodes:
            total += self.of(node)
            if total > MAX_WORK:
                break
        return total

    def _referred(self, reference: str) -> int:
        """A reference that is met again while its target is counted leads in a circle."""
        if reference not in self._of_reference:
            self._of_reference[reference] = MAX_WORK + 1
            self._of_reference[reference] = self.of(self._target(reference))
        return self._of_reference[reference]

    def _target(self, reference: str) -> object:
        node: object = self._root
        for part in reference.removeprefix("#").split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            node = node.get(name) if isinstance(node, dict) else None
        return node
