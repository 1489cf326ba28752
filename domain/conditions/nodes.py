"""The tree of an expression.

Made by `syntax`. Its one rule: every node knows the column (1..) that a message about it names.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from domain.terms import Json


class Literal(msgspec.Struct, frozen=True):
    """null, true, false, a number or a text."""

    value: Json
    column: int


class Name(msgspec.Struct, frozen=True):
    """`inputs`, `steps`, or a step's own name."""

    name: str
    column: int


class Items(msgspec.Struct, frozen=True):
    """`[a, b]`."""

    items: tuple[Node, ...]
    column: int


class Field(msgspec.Struct, frozen=True):
    """`of.name`."""

    of: Node
    name: str
    column: int


class Index(msgspec.Struct, frozen=True):
    """`of[index]`: an item of a list, a field of an object."""

    of: Node
    index: Node
    column: int


class Has(msgspec.Struct, frozen=True):
    """`has(of.name)`: the field is there."""

    field: Field
    column: int


class Size(msgspec.Struct, frozen=True):
    """`size(of)`: characters of a text, items of a list, fields of an object."""

    of: Node
    column: int


class Unary(msgspec.Struct, frozen=True):
    """`!of` or `-of`."""

    operator: str
    of: Node
    column: int


class Binary(msgspec.Struct, frozen=True):
    """`left operator right`."""

    operator: str
    left: Node
    right: Node
    column: int


class Choice(msgspec.Struct, frozen=True):
    """`test ? yes : no`."""

    test: Node
    yes: Node
    no: Node
    column: int


Node: TypeAlias = Literal | Name | Items | Field | Index | Has | Size | Unary | Binary | Choice


def path_of(node: Node) -> str | None:
    """`risk.reasons[0]` as it is written, for a name with fields and literal indexes behind it; else None."""
    match node:
        case Name(name=name):
            return name
        case Field(of=of, name=name):
            return f"{before}.{name}" if (before := path_of(of)) else None
        case Index(of=of, index=Literal(value=value)):
            shown = f'"{value}"' if isinstance(value, str) else str(value)
            return f"{before}[{shown}]" if (before := path_of(of)) else None
        case _:
            return None
