"""calculator: exact arithmetic on an expression, without ever running code.

The expression is parsed, never evaluated by Python. Its one rule: no number grows beyond `MAX_BITS`, so that
no expression takes noticeable time or memory.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable

from infrastructure.tools.spec import Arguments, ToolContext, ToolError, ToolSpec

Number = int | float

MAX_CHARACTERS = 500
MAX_BITS = 4_096
MAX_DECIMALS = 30

NAMES = {"pi": math.pi, "e": math.e}


def power(base: Number, exponent: Number) -> Number:
    exact = isinstance(base, int) and isinstance(exponent, int) and abs(base) > 1
    if exact and abs(exponent) * int(base).bit_length() > MAX_BITS:
        raise ToolError(f"calculator: expression: a power is beyond {MAX_BITS} bits")
    result = base**exponent
    if isinstance(result, complex):
        raise ToolError("calculator: expression: the result is not a real number")
    return checked(result)


def rounded(number: Number, decimals: Number = 0) -> Number:
    if not isinstance(decimals, int) or abs(decimals) > MAX_DECIMALS:
        raise ToolError(f"calculator: expression: round takes at most {MAX_DECIMALS} decimals")
    return round(number, decimals) if decimals else round(number)


OPERATORS: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: power,
}
SIGNS: dict[type[ast.unaryop], Callable[[Number], Number]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
FUNCTIONS: dict[str, Callable[..., Number]] = {
    "abs": abs,
    "min": min,
    "max": max,
    "round": rounded,
    "sqrt": math.sqrt,
    "floor": math.floor,
    "ceil": math.ceil,
    "exp": math.exp,
    "log": math.log,
    "log10": math.log10,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
}


def calculate(arguments: Arguments, _: ToolContext) -> str:
    expression = str(arguments["expression"]).strip()
    try:
        return str(value_of(ast.parse(expression, mode="eval").body))
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ToolError(f"calculator: expression: {expression!r} is not arithmetic") from error
    except OverflowError as error:
        raise ToolError("calculator: expression: the result is too large") from error
    except (ArithmeticError, ValueError, TypeError) as error:
        raise ToolError(f"calculator: expression: {error}") from error


def value_of(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return checked(number)
        case ast.Name(id=name) if name in NAMES:
            return NAMES[name]
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in SIGNS:
            return SIGNS[type(sign)](value_of(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return checked(OPERATORS[type(op)](value_of(left), value_of(right)))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            return checked(FUNCTIONS[name](*map(value_of, args)))
        case ast.BinOp(op=ast.BitXor()):
            raise ToolError("calculator: expression: a power is written **, not ^")
        case _:
            known = ", ".join([*FUNCTIONS, *NAMES])
            raise ToolError(
                f"calculator: expression: {ast.unparse(node)[:80]!r} is not arithmetic; expected numbers, "
                f"+ - * / // % ** and {known}"
            )


def checked(number: Number) -> Number:
    """The number itself; refuses what is too large, infinite or not a number."""
    if isinstance(number, int) and number.bit_length() > MAX_BITS:
        raise ToolError(f"calculator: expression: a number is beyond {MAX_BITS} bits")
    if isinstance(number, float) and not math.isfinite(number):
        raise ToolError("calculator: expression: the result is not a finite number")
    return number


TOOL = ToolSpec(
    name="calculator",
    description=(
        "Evaluate an arithmetic expression exactly: + - * / // % ** ( ), the constants pi and e, "
        "and the functions " + ", ".join(FUNCTIONS) + "."
    ),
    parameters={
        "type": "object",
        "properties": {
            "expression": {
                "type": "string",
                "minLength": 1,
                "maxLength": MAX_CHARACTERS,
                "examples": ["(19.99 * 3) * 1.2"],
            }
        },
        "required": ["expression"],
        "additionalProperties": False,
    },
    run=calculate,
)
