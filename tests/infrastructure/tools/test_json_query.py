from __future__ import annotations

import json

import pytest

from tests.infrastructure.tools.running import refused, run

DOCUMENT = json.dumps(
    {
        "orders": [
            {"id": 1, "total": 50, "buyer": {"name": "Ada"}},
            {"id": 2, "total": 150.5, "buyer": {"name": "Bo"}},
            {"id": 3, "total": None},
        ],
        "odd name": True,
    }
)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("$.orders[0].id", [1]),
        ("$.orders[-1].id", [3]),
        ("$['odd name']", [True]),
        ("$.orders[*].total", [50, 150.5, None]),
        ("$.orders[1:].id", [2, 3]),
        ("$.orders[?@.total > 100].id", [2]),
        ("$.orders[?@.buyer.name == 'Ada'].total", [50]),
        ("$.orders[?@.total == null].id", [3]),
        ("$.orders[7].id", []),
        ("$.nothing.here", []),
        ("$.orders.id", []),
    ],
)
def test_values_are_picked_by_path(path: str, values: list[object]) -> None:
    assert json.loads(run("json_query", document=DOCUMENT, path=path)) == values


def test_the_whole_document_can_be_asked_for() -> None:
    assert json.loads(run("json_query", document="[1, {}]", path="$")) == [[1, {}]]


@pytest.mark.parametrize("path", ["orders", "$..*", "$.orders[", "$.orders[?@.a]", "$ .a", "$.orders[0,1]"])
def test_a_path_that_is_not_understood_is_refused(path: str) -> None:
    refused("json_query", document="{}", path=path, because="json_query: path")


@pytest.mark.parametrize("document", ["{", "NaN", "[" * 100_000, "1" * 5_000])
def test_what_is_no_json_is_refused(document: str) -> None:
    refused("json_query", document=document, path="$", because="not JSON")


def test_an_answer_has_a_bound() -> None:
    refused("json_query", document=json.dumps([0] * 2_000), path="$[*]", because="at most 1000")
