"""Fields that may be missing, values that may be null: what an expression has to ask before it uses them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.conditions import check, evaluate, object_of, parse, type_of_schema
from domain.conditions.types import BOOL, NUMBER, TEXT, nullable

ORDER = type_of_schema(
    {
        "type": "object",
        "properties": {
            "note": {"type": ["string", "null"]},
            "score": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "level": {"type": "string", "enum": ["low", "high"]},
            "rank": {"type": ["string", "null"], "enum": ["a", "b", None]},
            "buyer": {"oneOf": [{"$ref": "#/$defs/person"}, {"type": "null"}]},
            "tags": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
            "mixed": {"anyOf": [{"type": "string"}, {"type": "number"}]},
        },
        "required": ["note", "score", "buyer", "tags", "mixed"],
        "$defs": {"person": {"type": "object", "properties": {"name": {"type": "string"}}}},
    }
)
NAMES = {"order": ORDER}


@pytest.mark.parametrize(
    "text",
    [
        "order.note == 'x' || order.note == null",
        "order.note != null && order.note < 'm'",
        "order.note == null || order.note < 'm'",
        "!(order.score == null) && order.score > 1",
        "order.score > 1 && order.score != null",
        "order.score == 3 && order.score + 1 > 2",
        "order.score != null ? order.score > 1 : false",
        "order.score == null ? false : order.score > 1",
        "has(order.level) && order.level == 'low'",
        "!has(order.level) || order.level == 'low'",
        "'level' in order && order.level > 'a'",
        "has(order.rank) && order.rank != null && order.rank < 'c'",
        "order.buyer != null && order.buyer.name == 'Ada'",
        "has(order.buyer.name)",
        "order.tags == null || 'a' in order.tags && size(order.tags) < 3",
        "(order.note == null ? 'b' : order.note) < 'c'",
        "order.mixed == 1 || order.mixed == 'a'",
    ],
)
def test_what_is_asked_first_may_be_used(text: str) -> None:
    assert check(parse(text), NAMES).faults == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("order.note < 'm'", "order.note may be null; ask order.note != null first"),
        ("order.score > 1 || order.score != null", "order.score may be null"),
        ("order.score + 1 == 2", "order.score may be null"),
        ("order.note != null && order.score > 1", "order.score may be null"),
        ("order.score != null ? true : order.score > 1", "order.score may be null"),
        ("order.level == 'low'", "order.level may be missing; ask has(order.level) first"),
        ("has(order.level) || order.level == 'low'", "order.level may be missing"),
        ("order.rank != null && order.rank < 'c'", "order.rank may be missing"),
        ("has(order.rank) && order.rank < 'c'", "order.rank may be null"),
        (
            "has(order.level) && order.level == 'hihg'",
            "'hihg' is never the value; expected one of: low, high",
        ),
        ("order.buyer.name == 'Ada'", "order.buyer may be null"),
        ("'a' in order.tags", "order.tags may be null"),
        ("size(order.tags) > 1", "order.tags may be null"),
        ("order.score == 'x'", "compares a number with a text, which are never equal"),
        ("order.buyer != null && order.buyer.nam == 'x'", "unknown field 'order.buyer.nam'"),
        ("(order.note == null ? order.note : 'b') < 'c'", "a value may be null"),
    ],
)
def test_what_may_be_missing_or_null_is_a_fault_where_nothing_asks(text: str, says: str) -> None:
    assert any(says in fault for fault in check(parse(text), NAMES).faults), check(parse(text), NAMES).faults


def test_a_schema_that_requires_nothing_says_nothing_of_what_may_be_missing() -> None:
    loose = {"type": "object", "properties": {"level": {"type": "string"}}}
    names = {"order": type_of_schema(loose)}
    assert check(parse("order.level == 'low'"), names).faults == ()


MAYBE = {
    "a": nullable(NUMBER),
    "b": type_of_schema({"type": "object", "properties": {"x": {"type": "number"}}, "required": []}).fields[
        "x"
    ],
    "c": nullable(TEXT),
    "d": BOOL,
}
USES = (
    "o.a > 1",
    "o.a + 1 == 2",
    "o.b > 1",
    "o.b == 1",
    "o.c < 'm'",
    "o.c + 'x' == 'yx'",
    "o.d",
    "size(o.c) > 1",
)
ASKS = ("o.a != null", "o.a == null", "has(o.b)", "'b' in o", "o.c == null", "o.c == 'y'", "null != o.c")
EXPRESSIONS = st.recursive(
    st.sampled_from((*USES, *ASKS)),
    lambda parts: st.one_of(
        st.builds("({} && {})".format, parts, parts),
        st.builds("({} || {})".format, parts, parts),
        st.builds("!({})".format, parts),
        st.builds("({} ? {} : {})".format, parts, parts, parts),
    ),
    max_leaves=5,
)
OBJECTS = st.fixed_dictionaries(
    {"a": st.sampled_from([None, 1, 3]), "c": st.sampled_from([None, "y", "z"]), "d": st.booleans()},
    optional={"b": st.sampled_from([1, 3])},
)


@given(EXPRESSIONS, st.lists(OBJECTS, min_size=4, max_size=4))
def test_what_passes_the_check_is_worked_out_on_every_value(text: str, values: list[dict[str, Any]]) -> None:
    node = parse(text)
    if not check(node, {"o": object_of(MAYBE)}).faults:
        for value in values:
            assert isinstance(evaluate(node, {"o": value}).value, bool)
