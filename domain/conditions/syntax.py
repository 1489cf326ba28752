"""From text to tree: CEL's grammar and precedences, without calls, maps, bytes and comprehensions.

Called with a route's `when` and a map's `over`. Its one rule: what is no expression raises, with the column.
Recursive descent; a text is at most 1,000 characters and a tree at most `MAX_DEPTH` deep.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from domain.conditions.nodes import Binary, Choice, Field, Has, Index, Items, Literal, Name, Node, Size, Unary
from domain.errors import ConditionError

MAX_DEPTH = 40
MAX_INT = 2**63

TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.\d+|\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<text>\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[-<>!+*/%?:.,()\[\]])"
    r"|(?P<end>$))"
)
WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"'}
RESERVED = frozenset({*WORDS, "in", "has", "size"})
"""Names that stand for something else; a step called so is reached as `steps.size`."""

LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"||"}),
    frozenset({"&&"}),
    frozenset({"==", "!=", "<", "<=", ">", ">=", "in"}),
    frozenset({"+", "-"}),
    frozenset({"*", "/", "%"}),
)
"""Binary operators, the loosest first; each binds to the left."""


def parse(text: str) -> Node:
    """The tree of an expression. Raises `ConditionError`."""
    return Parser(text).whole()


class Parser:
    """One text on its way; `_kind`, `_lexeme`, `_column` are of the lexeme that comes next."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._end = 0
        self._depth = 0
        self._advance()

    def whole(self) -> Node:
        node = self._choice()
        if self._kind != "end":
            raise self._unexpected("an operator or the end")
        check_depth(node)
        return node

    def _advance(self) -> None:
        match = TOKEN.match(self._text, self._end)
        if match is None:
            start = self._end + len(self._text[self._end :]) - len(self._text[self._end :].lstrip())
            raise ConditionError(f"can not read {self._text[start]!r}", start + 1)
        self._kind = str(match.lastgroup)
        self._lexeme = match[self._kind]
        self._column = match.start(self._kind) + 1
        self._end = match.end()

    def _take(self) -> tuple[str, int]:
        taken = self._lexeme, self._column
        self._advance()
        return taken

    def _expect(self, sign: str) -> None:
        if self._lexeme != sign or self._kind != "sign":
            raise self._unexpected(repr(sign))
        self._advance()

    def _unexpected(self, expected: str) -> ConditionError:
        found = repr(self._lexeme) if self._kind != "end" else "the end"
        return ConditionError(f"found {found}; expected {expected}", self._column)

    def _deeper(self, inner: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise too_deep(self._column)
        node = inner()
        self._depth -= 1
        return node

    def _choice(self) -> Node:
        test = self._binary(0)
        if self._lexeme != "?" or self._kind != "sign":
            return test
        _, column = self._take()
        yes = self._deeper(self._choice)
        self._expect(":")
        return Choice(test, yes, self._deeper(self._choice), column)

    def _binary(self, level: int) -> Node:
        if level == len(LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while self._kind in ("sign", "name") and self._lexeme in LEVELS[level]:
            operator, column = self._take()
            left = Binary(operator, left, self._binary(level + 1), column)
        return left

    def _unary(self) -> Node:
        if self._kind != "sign" or self._lexeme not in ("!", "-"):
            return self._member()
        operator, column = self._take()
        of = self._deeper(self._unary)
        is_number = isinstance(of, Literal) and type(of.value) in (int, float)
        if operator == "-" and isinstance(of, Literal) and is_number:
            return Literal(-of.value, column)  # type: ignore[operator]
        return Unary(operator, of, column)

    def _member(self) -> Node:
        node = self._primary()
        while self._kind == "sign" and self._lexeme in (".", "["):
            sign, column = self._take()
            if sign == ".":
                if self._kind != "name":
                    raise self._unexpected("the name of a field")
                node = Field(node, self._take()[0], column + 1)
            else:
                node = Index(node, self._deeper(self._choice), column)
                self._expect("]")
        if self._kind == "sign" and self._lexeme == "(":
            raise ConditionError("nothing can be called but has() and size()", self._column)
        return node

    def _primary(self) -> Node:
        lexeme, column = self._lexeme, self._column
        match self._kind:
            case "number":
                return Literal(number_of(*self._take()), column)
            case "text":
                return Literal(text_of(*self._take()), column)
            case "name":
                return self._named(*self._take())
        if lexeme == "(":
            self._advance()
            node = self._deeper(self._choice)
            self._expect(")")
            return node
        if lexeme == "[":
            self._advance()
            return Items(self._items(), column)
        raise self._unexpected("a value")

    def _items(self) -> tuple[Node, ...]:
        items: list[Node] = []
        while self._lexeme != "]" or self._kind != "sign":
            items.append(self._deeper(self._choice))
            if self._lexeme != "]" or self._kind != "sign":
                self._expect(",")
        self._advance()
        return tuple(items)

    def _named(self, name: str, column: int) -> Node:
        if name in WORDS:
            return Literal(WORDS[name], column)
        if name not in ("has", "size"):
            if name in RESERVED:
                raise ConditionError(f"found {name!r}; expected a value", column)
            return Name(name, column)
        self._expect("(")
        of = self._deeper(self._choice)
        self._expect(")")
        if name == "size":
            return Size(of, column)
        if not isinstance(of, Field):
            raise ConditionError("has() asks for a field, as in has(step.field)", column)
        return Has(of, column)


def number_of(text: str, column: int) -> int | float:
    value = int(text) if text.isdecimal() else float(text)
    if value == float("inf") or (isinstance(value, int) and value >= MAX_INT):
        raise ConditionError(f"the number {text[:40]} is too large", column)
    return value


def text_of(quoted: str, column: int) -> str:
    def unescaped(match: re.Match[str]) -> str:
        if match[1] in ESCAPES:
            return ESCAPES[match[1]]
        raise ConditionError(
            f"unknown escape \\{match[1]}; expected one of: \\n \\t \\r \\\\ \\' \\\"", column
        )

    return re.sub(r"\\(.)", unescaped, quoted[1:-1])


def too_deep(column: int) -> ConditionError:
    return ConditionError(f"is nested deeper than {MAX_DEPTH} levels; expected less", column)


def check_depth(root: Node) -> None:
    """Long chains make deep trees too: `a + b + c` is two deep."""
    level, depth = [root], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise too_deep(level[0].column)
        level = [child for node in level for child in children(node)]


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case Literal() | Name():
            return ()
        case Items(items=items):
            return items
        case Field(of=of) | Size(of=of) | Unary(of=of):
            return (of,)
        case Has(field=field):
            return (field,)
        case Index(of=of, index=index):
            return (of, index)
        case Binary(left=left, right=right):
            return (left, right)
        case Choice(test=test, yes=yes, no=no):
            return (test, yes, no)
