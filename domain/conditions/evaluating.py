"""An expression worked out on the values at hand, and what it looked at.

Called by the execution's `decide`. Its one rule: no value is converted: what does not fit raises and says
where. Numbers are numbers (1 == 1.0), whole ones of 64 bits; as in CEL, `&&` and `||` forgive a fault on one
side when the other decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import assert_never

import msgspec

from domain.conditions.checking import type_of_value
from domain.conditions.nodes import (
    Binary,
    Choice,
    Field,
    Has,
    Index,
    Items,
    Literal,
    Name,
    Node,
    Size,
    Unary,
    path_of,
)
from domain.conditions.syntax import MAX_INT
from domain.errors import ConditionError
from domain.terms import Json

MAX_TEXT = 64 * 1024
MAX_SEEN_BYTES = 500
"""Of one value, as JSON, that is remembered; of a longer one the beginning."""


class Evaluation(msgspec.Struct, frozen=True):
    """value: what the expression gave. seen: what it looked at, by path."""

    value: Json
    seen: dict[str, Json]


def evaluate(node: Node, names: Mapping[str, Json], seen: dict[str, Json] | None = None) -> Evaluation:
    """Raises `ConditionError`; `seen`, when given, holds what had been looked at by then."""
    worker = Evaluator(names, {} if seen is None else seen)
    return Evaluation(worker.value_of(node), worker.seen)


class Evaluator:
    """Works one expression out."""

    def __init__(self, names: Mapping[str, Json], seen: dict[str, Json]) -> None:
        self._names = names
        self.seen = seen

    def value_of(self, node: Node) -> Json:
        """The value; a path's is remembered as seen."""
        value = self._value(node)
        if (path := path_of(node)) is not None:
            self.seen[path] = shown(value)
        return value

    def _value(self, node: Node) -> Json:
        match node:
            case Literal(value=value):
                return value
            case Name(name=name):
                return self._names[name]
            case Items(items=items):
                return [self.value_of(item) for item in items]
            case Field(of=of, name=name):
                return self._member(node, self._value(of), name)
            case Index(of=of, index=index):
                return self._member(node, self._value(of), self.value_of(index))
            case Has(field=field):
                within = self._value(field.of)
                return isinstance(within, dict) and field.name in within
            case Size(of=of):
                return self._size(node, self.value_of(of))
            case Unary(operator="!", of=of):
                return not self._bool(of)
            case Unary(of=of):
                return self._bounded(node, -self._number(of))
            case Binary():
                return self._binary(node)
            case Choice(test=test, yes=yes, no=no):
                return self.value_of(yes if self._bool(test) else no)
            case _:
                assert_never(node)

    def _member(self, node: Node, of: Json, key: Json) -> Json:
        where = path_of(node) or "a value"
        if isinstance(of, dict) and isinstance(key, str):
            if key not in of:
                raise ConditionError(f"{where} is not there", node.column)
            return of[key]
        if isinstance(of, list | tuple) and type(key) is int:
            if not 0 <= key < len(of):
                raise ConditionError(f"{where}: the list has {len(of)} items", node.column)
            return of[key]
        raise ConditionError(f"{where}: {kind(of)} has no such part", node.column)

    def _size(self, node: Node, of: Json) -> int:
        if not isinstance(of, str | list | tuple | dict):
            raise ConditionError(f"{kind(of)} has no size", node.column)
        return len(of)

    def _bool(self, node: Node) -> bool:
        value = self.value_of(node)
        if not isinstance(value, bool):
            raise ConditionError(f"is {kind(value)}; expected true or false", node.column)
        return value

    def _number(self, node: Node) -> int | float:
        value = self.value_of(node)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConditionError(f"is {kind(value)}; expected a number", node.column)
        return value

    def _binary(self, node: Binary) -> Json:
        match node.operator:
            case "&&" | "||":
                return self._logic(node, decides=node.operator == "||")
            case "==":
                return equal(self.value_of(node.left), self.value_of(node.right))
            case "!=":
                return not equal(self.value_of(node.left), self.value_of(node.right))
            case "in":
                return self._in(node)
            case "<" | "<=" | ">" | ">=":
                return self._ordered(node)
            case _:
                return self._arithmetic(node)

    def _logic(self, node: Binary, *, decides: bool) -> bool:
        """`decides`: the value that settles the matter whatever the other side is."""
        try:
            if self._bool(node.left) is decides:
                return decides
        except ConditionError:
            if self._bool(node.right) is decides:
                return decides
            raise
        return self._bool(node.right)

    def _in(self, node: Binary) -> bool:
        value, within = self.value_of(node.left), self.value_of(node.right)
        if isinstance(within, dict):
            return isinstance(value, str) and value in within
        if not isinstance(within, list | tuple):
            raise ConditionError(f"is {kind(within)}; expected a list or an object", node.right.column)
        return any(equal(value, item) for item in within)

    def _ordered(self, node: Binary) -> bool:
        left, right = self.value_of(node.left), self.value_of(node.right)
        if isinstance(left, str) and isinstance(right, str):
            order = (left > right) - (left < right)
        elif is_number(left) and is_number(right):
            order = (left > right) - (left < right)  # type: ignore[operator]
        else:
            raise ConditionError(f"compares {kind(left)} with {kind(right)}", node.column)
        return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[node.operator]

    def _arithmetic(self, node: Binary) -> Json:
        if node.operator == "+" and isinstance(left := self.value_of(node.left), str):
            right = self.value_of(node.right)
            if not isinstance(right, str):
                raise ConditionError(f"adds {kind(right)} to a text", node.column)
            if len(left) + len(right) > MAX_TEXT:
                raise ConditionError(f"makes a text of more than {MAX_TEXT} characters", node.column)
            return left + right
        a, b = self._number(node.left), self._number(node.right)
        if node.operator in "/%" and b == 0:
            raise ConditionError("divides by zero", node.column)
        try:
            match node.operator:
                case "+":
                    return self._bounded(node, a + b)
                case "-":
                    return self._bounded(node, a - b)
                case "*":
                    return self._bounded(node, a * b)
                case "/":
                    return self._bounded(node, a / b)
                case _:
                    return self._bounded(node, remainder(a, b))
        except OverflowError as error:
            raise ConditionError("is beyond what a number can hold", node.column) from error

    def _bounded(self, node: Node, value: int | float) -> int | float:
        is_bounded = -MAX_INT <= value < MAX_INT if isinstance(value, int) else value - value == 0
        if not is_bounded:
            raise ConditionError("is beyond what a number can hold", node.column)
        return value


def remainder(a: int | float, b: int | float) -> int | float:
    """With the sign of `a`, as in CEL; Python's has that of `b`."""
    if isinstance(a, int) and isinstance(b, int):
        return abs(a) % abs(b) * (1 if a >= 0 else -1)
    return math.fmod(a, b)


def is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def kind(value: Json) -> str:
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list | tuple) else str(type_of_value(value))


def equal(left: Json, right: Json) -> bool:
    """As JSON: true is not 1, but 1.0 is."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(value, right[key]) for key, value in left.items())
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    return isinstance(left, bool) is isinstance(right, bool) and left == right


def shown(value: Json) -> Json:
    """The value as an event can hold it."""
    encoded = msgspec.json.encode(value)
    if len(encoded) <= MAX_SEEN_BYTES:
        return value
    return encoded[:MAX_SEEN_BYTES].decode(errors="ignore") + "…"
