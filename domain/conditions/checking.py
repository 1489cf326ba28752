"""Whether an expression can mean anything: names, fields and types, before there are values.

Called when a document is saved. Its one rule: it finds every fault; what depends on `ANY` is left to
`evaluating`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import assert_never

import msgspec

from domain.conditions.facts import NOTHING, Facts, facts_of
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
from domain.conditions.types import ANY, BOOL, NULL, NUMBER, TEXT, Type, list_of, one_of
from domain.errors import ConditionError


class Checked(msgspec.Struct, frozen=True):
    """type: of what the expression gives; faults: each with its column."""

    type: Type
    faults: tuple[str, ...]


def check(node: Node, names: Mapping[str, Type], expected: Type = BOOL) -> Checked:
    """names: what can be spoken of, and its type. expected: the kind that the whole has to give."""
    checker = Checker(names)
    found = checker.given(node, checker.type_of(node))
    if not fits(found, expected):
        checker.fault(node, f"gives {found}; expected {expected}")
    return Checked(found, tuple(checker.faults))


def fits(found: Type, expected: Type) -> bool:
    return "any" in (found.kind, expected.kind) or found.kind == expected.kind


class Checker:
    """Collects the faults of one expression, each once."""

    def __init__(self, names: Mapping[str, Type]) -> None:
        self._names = names
        self._facts: Facts = NOTHING
        self.faults: list[str] = []

    def fault(self, node: Node, message: str) -> Type:
        if (fault := str(ConditionError(message, node.column))) not in self.faults:
            self.faults.append(fault)
        return ANY

    def given(self, node: Node, found: Type) -> Type:
        """What a value is where null will not do."""
        if not found.is_nullable:
            return found
        ask = f"; ask {path} != null first" if (path := path_of(node)) else ""
        return self.fault(node, f"{path or 'a value'} may be null{ask}")

    @contextmanager
    def _where(self, node: Node, *, holds: bool) -> Iterator[None]:
        """Around a part that is worked out only where a condition holds, or does not."""
        before, self._facts = self._facts, self._facts | facts_of(node, when=holds)
        yield
        self._facts = before

    def type_of(self, node: Node) -> Type:
        match node:
            case Literal(value=value):
                return type_of_value(value)
            case Name(name=name):
                return self._names.get(name) or self.unknown(node, "name", name, self._names)
            case Items(items=items):
                return self._items([self.type_of(item) for item in items])
            case Field(of=of, name=name):
                return self._there(node, self._field(node, self.given(of, self.type_of(of)), name))
            case Index():
                return self._there(node, self._index(node))
            case Has(field=field):
                self._field(field, self.type_of(field.of), field.name)
                return BOOL
            case Size(of=of):
                return self._size(node, self.given(of, self.type_of(of)))
            case Unary(operator=operator, of=of):
                wanted = BOOL if operator == "!" else NUMBER
                self._expect(of, self.type_of(of), wanted)
                return wanted
            case Binary(operator="&&" | "||"):
                return self._logic(node)
            case Binary():
                return self._binary(node, self.type_of(node.left), self.type_of(node.right))
            case Choice(test=test, yes=yes, no=no):
                self._expect(test, self.type_of(test), BOOL)
                with self._where(test, holds=True):
                    found = self.type_of(yes)
                with self._where(test, holds=False):
                    return self._items([found, self.type_of(no)]).item or ANY
            case _:
                assert_never(node)

    def unknown(self, node: Node, kind: str, name: str, known: Mapping[str, Type]) -> Type:
        return self.fault(
            node, f"unknown {kind} {name!r}; expected one of: {', '.join(sorted(known)) or 'none'}"
        )

    def _there(self, node: Node, found: Type) -> Type:
        """What a field is where it is read, after what was asked of it."""
        path = path_of(node)
        if found.is_optional and ("there", path) not in self._facts:
            self.fault(node, f"{path or 'a field'} may be missing; ask has({path or 'it'}) first")
        is_nullable = found.is_nullable and ("not null", path) not in self._facts
        return msgspec.structs.replace(found, is_optional=False, is_nullable=is_nullable)

    def _logic(self, node: Binary) -> Type:
        """Each side is worked out where the other does not decide: as in CEL, its fault is forgiven there."""
        for side, other in ((node.left, node.right), (node.right, node.left)):
            with self._where(other, holds=node.operator == "&&"):
                self._expect(side, self.type_of(side), BOOL)
        return BOOL

    def _expect(self, node: Node, found: Type, wanted: Type) -> None:
        found = self.given(node, found)
        if not fits(found, wanted):
            self.fault(node, f"is {found}; expected {wanted}")

    def _items(self, types: list[Type]) -> Type:
        """A list of these: of one kind, or of any."""
        plain = [Type(type.kind, is_open=True, is_nullable=type.is_nullable) for type in types]
        return list_of(one_of(plain) if plain else ANY)

    def _field(self, node: Node, of: Type, name: str) -> Type:
        if of.kind == "any":
            return ANY
        if of.kind != "object":
            return self.fault(node, f"{path_of(node) or name!r}: {of} has no fields")
        if name in of.fields:
            return of.fields[name]
        return ANY if of.is_open else self.unknown(node, "field", path_of(node) or name, of.fields)

    def _index(self, node: Index) -> Type:
        of, index = self.given(node.of, self.type_of(node.of)), self.type_of(node.index)
        match of.kind:
            case "any":
                return ANY
            case "list":
                self._expect(node.index, index, NUMBER)
                return of.item or ANY
            case "object":
                self._expect(node.index, index, TEXT)
                name = node.index.value if isinstance(node.index, Literal) else None
                return self._field(node, of, name) if isinstance(name, str) else ANY
            case _:
                return self.fault(node, f"{of} has no items")

    def _size(self, node: Node, of: Type) -> Type:
        if of.kind not in ("any", "text", "list", "object"):
            self.fault(node, f"{of} has no size; expected a text, a list or an object")
        return NUMBER

    def _binary(self, node: Binary, left: Type, right: Type) -> Type:
        match node.operator:
            case "==" | "!=":
                self._comparable(node, left, right)
                return BOOL
            case "in":
                return self._in(node, left, right)
            case "+" if "text" in (left.kind, right.kind):
                self._expect(node.left, left, TEXT)
                self._expect(node.right, right, TEXT)
                return TEXT
            case "+" if "any" in (left.kind, right.kind):
                return ANY
            case "<" | "<=" | ">" | ">=":
                self._ordered(node, left, right)
                return BOOL
            case _:
                self._expect(node.left, left, NUMBER)
                self._expect(node.right, right, NUMBER)
                return NUMBER

    def _ordered(self, node: Binary, left: Type, right: Type) -> None:
        left, right = self.given(node.left, left), self.given(node.right, right)
        for side, found in ((node.left, left), (node.right, right)):
            if found.kind not in ("any", "number", "text"):
                self.fault(side, f"is {found}; expected a number or a text beside {node.operator}")
                return
        if not fits(left, right):
            self.fault(node, f"compares {left} with {right}; expected two of a kind")

    def _comparable(self, node: Binary, left: Type, right: Type) -> None:
        if NULL.kind not in (left.kind, right.kind) and not fits(left, right):
            self.fault(node, f"compares {left} with {right}, which are never equal")
        self._among(node.left, right)
        self._among(node.right, left)

    def _among(self, side: Node, other: Type) -> None:
        """A text written out must be one of those that the other side can be."""
        value = side.value if isinstance(side, Literal) else None
        if isinstance(value, str) and other.values is not None and value not in other.values:
            known = ", ".join(other.values)
            self.fault(side, f"{value!r} is never the value; expected one of: {known}")

    def _in(self, node: Binary, left: Type, right: Type) -> Type:
        right = self.given(node.right, right)
        if right.kind == "list":
            if right.item is not None and not fits(left, right.item) and left.kind != "null":
                self.fault(node, f"looks for {left} in a list of {right.item.kind}, where it never is")
            for item in node.right.items if isinstance(node.right, Items) else ():
                self._among(item, left)
        elif right.kind == "object":
            self._expect(node.left, left, TEXT)
        elif right.kind != "any":
            self.fault(node.right, f"is {right}; expected a list or an object behind in")
        return BOOL


def type_of_value(value: object) -> Type:
    match value:
        case bool():
            return BOOL
        case None:
            return NULL
        case str():
            return TEXT
        case _:
            return NUMBER
