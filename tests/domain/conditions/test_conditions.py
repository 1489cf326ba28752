"""Expressions: read as CEL reads them, checked before there are values, worked out on values alone."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.conditions import ANY, check, evaluate, list_of, object_of, parse, type_of_schema
from domain.conditions.types import NUMBER, TEXT, Type
from domain.errors import ConditionError

RISK = type_of_schema(
    {
        "type": "object",
        "properties": {
            "score": {"type": "number"},
            "level": {"type": "string", "enum": ["low", "high"]},
            "reasons": {"type": "array", "items": {"type": "string"}},
            "urgent": {"type": "boolean"},
            "owner": {"$ref": "#/$defs/person"},
        },
        "$defs": {"person": {"type": "object", "properties": {"name": {"type": "string"}}}},
    }
)
NAMES: dict[str, Type] = {
    "risk": RISK,
    "inputs": object_of({"amount": NUMBER, "tags": list_of(TEXT)}),
    "loose": object_of({}, is_open=True),
}
VALUES: dict[str, Any] = {
    "risk": {
        "score": 0.9,
        "level": "high",
        "reasons": ["late", "dear"],
        "urgent": True,
        "owner": {"name": "Ada"},
    },
    "inputs": {"amount": 120, "tags": ["a", "b"]},
    "loose": {"x": {"y": [1, 2]}},
}


def holds(text: str) -> object:
    return evaluate(parse(text), VALUES).value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("risk.score >= 0.8", True),
        ("risk.score >= 0.8 && risk.level == 'low' || inputs.amount > 100", True),
        ("!(risk.urgent && false)", True),
        ('risk.level in ["low", "high"]', True),
        ("'late' in risk.reasons", True),
        ('"name" in risk.owner', True),
        ("size(risk.reasons) == 2 && size('naïve') == 5", True),
        ("risk.reasons[1] == 'dear'", True),
        ('risk["level"] == "high"', True),
        ("risk.owner.name + '!' == 'Ada!'", True),
        ("inputs.amount * 2 - 40 == 200", True),
        ("1 + 2 * 3 == 7 && (1 + 2) * 3 == 9", True),
        ("7 / 2 == 3.5 && 7 % 4 == 3 && -7 % 4 == -3 && 7.5 % 2 == 1.5", True),
        ("1 == 1.0 && 1 != true", True),
        ("[1, [2]] == [1.0, [2.0]]", True),
        ("has(risk.score) && !has(risk.nothing)", True),
        ("risk.score > 1 ? 'a' : 'b'", "b"),
        ("null == null && risk.level != null", True),
        ("'b' > 'a' && 2 > 1.5", True),
        ("loose.x.y[0] == 1", True),
        ("risk.nothing == 1 || true", True),
        ("false && risk.nothing == 1", False),
        ("risk.nothing == 1 && false", False),
        ("1 - 1 - 1 == -1", True),
        (r"'it\'s' == \"it's\"".replace(r"\"", '"'), True),
    ],
)
def test_an_expression_is_worked_out_as_cel_does(text: str, value: object) -> None:
    assert holds(text) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("risk.nothing == 1", "risk.nothing is not there (column 6)"),
        ("risk.reasons[2] == 'x'", "the list has 2 items"),
        ("risk.score / 0 > 1", "divides by zero"),
        ("9223372036854775807 + 1 > 0", "beyond what a number can hold"),
        ("1e308 * 10.0 > 0", "beyond what a number can hold"),
        ("loose.x && true", "is an object; expected true or false"),
        ("loose.x < 3", "compares an object with a number"),
        ("loose.x + 1 == 1", "is an object; expected a number"),
        ("1 in loose.x.y[0]", "expected a list or an object"),
        ("size(loose.x.y[0]) == 1", "a number has no size"),
    ],
)
def test_what_does_not_fit_raises_and_says_where(text: str, says: str) -> None:
    with pytest.raises(ConditionError) as caught:
        holds(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "found the end; expected a value (column 1)"),
        ("risk.score >=", "found the end"),
        ("risk.score >= 0.8 risk", "found 'risk'; expected an operator or the end (column 19)"),
        ("risk.score.conjugate()", "nothing can be called"),
        ("__import__('os')", "nothing can be called"),
        ("[x for x in risk]", "found 'for'"),
        ("risk.score = 1", "can not read '='"),
        ("'open", "can not read"),
        (r"'\x41'", "unknown escape"),
        ("99999999999999999999 > 1", "too large"),
        ("1e999 > 1", "too large"),
        ("has(risk)", "has() asks for a field"),
        ("(" * 60 + "1" + ")" * 60, "nested deeper than 40"),
        ("!" * 200 + "true", "nested deeper than 40"),
        (" + ".join(["1"] * 80), "nested deeper than 40"),
        ("in == 1", "expected a value"),
        ("a ? b", "found the end; expected ':'"),
    ],
)
def test_what_is_no_expression_is_refused_with_its_column(text: str, says: str) -> None:
    with pytest.raises(ConditionError) as caught:
        parse(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("risc.score > 1", "unknown name 'risc'; expected one of: inputs, loose, risk"),
        ("risk.scor > 1", "unknown field 'risk.scor'; expected one of: level, owner"),
        ("risk.owner.nam == 'x'", "unknown field 'risk.owner.nam'; expected one of: name"),
        ('risk["nam"] == 1', "unknown field 'risk[\"nam\"]'"),
        ("risk.score", "gives a number; expected true or false"),
        ("risk.score == 'high'", "compares a number with a text, which are never equal"),
        ("risk.level == 'hihg'", "'hihg' is never the value; expected one of: low, high"),
        ("risk.level in ['low', 'mid']", "'mid' is never the value"),
        ("risk.level > 3", "compares a text with a number"),
        ("risk.urgent + 1 > 2", "is true or false; expected a number"),
        ("risk.score && true", "is a number; expected true or false"),
        ("!risk.level", "is a text; expected true or false"),
        ("size(risk.score) > 1", "a number has no size"),
        ("risk.score.x == 1", "a number has no fields"),
        ("risk.reasons['x'] == 'y'", "is a text; expected a number"),
        ("3 in risk.reasons", "looks for a number in a list of text"),
        ("'a' in risk.score", "expected a list or an object behind in"),
        ("risk.level + 1 == 'x'", "is a number; expected a text"),
        ("(risk.score > 1 ? 1 : 2) > true", "is true or false; expected a number or a text"),
    ],
)
def test_what_can_not_mean_anything_is_found_before_there_are_values(text: str, says: str) -> None:
    assert any(says in fault for fault in check(parse(text), NAMES).faults)


def test_every_fault_is_found() -> None:
    assert len(check(parse("risk.a > 1 && inputs.b > 1 && nobody"), NAMES).faults) == 3


@pytest.mark.parametrize("text", ["loose.a.b > 1", "loose['x'] == 'y'", "has(loose.x)", "risk.owner != null"])
def test_what_nothing_is_known_of_is_let_through(text: str) -> None:
    assert check(parse(text), NAMES).faults == ()


def test_what_was_looked_at_is_remembered_by_path() -> None:
    looked = evaluate(parse("risk.score > 0.5 && 'x' in risk.reasons && inputs.amount > 1"), VALUES)
    assert looked.seen == {"risk.score": 0.9, "risk.reasons": ["late", "dear"]}


def test_of_a_long_value_the_beginning_is_remembered() -> None:
    looked = evaluate(parse("size(loose.x) > 1"), {"loose": {"x": "y" * 100_000}})
    assert len(str(looked.seen["loose.x"])) < 600


texts = st.text("risk.score0159 &|!=<>+-*/%?:,()[]'\"hasizetrun\\\n", max_size=60) | st.text(max_size=40)


@given(texts)
@settings(max_examples=400)
def test_no_text_does_anything_but_give_a_value_or_raise(text: str) -> None:
    with suppress(ConditionError):
        node = parse(text)
        if not check(node, NAMES).faults:
            evaluate(node, VALUES)


scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "b", 0.5, -1.5])
pairs = st.tuples(scalars, st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/"]), scalars)


@given(pairs)
def test_what_passes_the_check_on_literals_is_worked_out(pair: tuple[Any, str, Any]) -> None:
    left, operator, right = pair
    node = parse(f"{written(left)} {operator} {written(right)}")
    if not check(node, NAMES, ANY).faults and (operator, right) not in (("/", 0), ("/", False)):
        assert type(evaluate(node, {}).value) in (bool, int, float, str)


def written(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f"'{value}'"
        case _:
            return f"({value})"
