"""What holds where a part of an expression is worked out: fields that are there, values that are not null.

Used by `checking`. Its one rule: a fact is taken only from what the expression itself asks, `has(a.b)`,
`"b" in a`, `a.b != null` or `a.b == "x"`; and it holds where `&&`, `||` and `?:` let it.
"""

from __future__ import annotations

from typing import Literal as OneOf
from typing import TypeAlias

from domain.conditions.nodes import Binary, Has, Literal, Node, Unary, path_of

Fact: TypeAlias = tuple[OneOf["there", "not null"], str]
"""Of the value at a path."""

Facts: TypeAlias = frozenset[Fact]

NOTHING: Facts = frozenset()


def facts_of(node: Node, *, when: bool) -> Facts:
    """What is so when an expression holds, or does not."""
    match node:
        case Has(field=field):
            return fact("there", field) if when else NOTHING
        case Unary(operator="!", of=of):
            return facts_of(of, when=not when)
        case Binary(operator="&&" | "||" as operator, left=left, right=right):
            both = (operator == "&&") is when
            return facts_of(left, when=when) | facts_of(right, when=when) if both else NOTHING
        case Binary(operator="==" | "!=" as operator, left=left, right=right):
            return facts_of_equality(left, right, is_equal=(operator == "==") is when)
        case Binary(operator="in", left=Literal(value=str() as name), right=of):
            return frozenset({("there", f"{before}.{name}")}) if when and (before := path_of(of)) else NOTHING
        case _:
            return NOTHING


def facts_of_equality(left: Node, right: Node, *, is_equal: bool) -> Facts:
    """Not null: of what differs from null, or equals a value that is written out."""
    for side, other in ((left, right), (right, left)):
        if isinstance(other, Literal) and (other.value is None) is not is_equal:
            return fact("not null", side)
    return NOTHING


def fact(kind: OneOf["there", "not null"], node: Node) -> Facts:
    path = path_of(node)
    return NOTHING if path is None else frozenset({(kind, path)})
