from __future__ import annotations

import json

import pytest

from tests.infrastructure.tools.running import refused, run

TEXT = "Order 17 arrived.\nThe order is LATE.\nNothing else."


def test_words_are_found_whatever_their_case() -> None:
    found = json.loads(run("text_query", text=TEXT, pattern="order"))
    assert [(match["line"], match["text"]) for match in found["matches"]] == [
        (1, "Order 17 arrived."),
        (2, "The order is LATE."),
    ]
    assert not found["more"]


def test_words_are_no_regular_expression() -> None:
    assert json.loads(run("text_query", text="a+b", pattern="a+"))["matches"][0]["match"] == "a+"


def test_a_regular_expression_is_searched_by_lines() -> None:
    found = json.loads(run("text_query", text=TEXT, pattern=r"^\w+ \d+", regex=True))
    assert [match["match"] for match in found["matches"]] == ["Order 17"]


def test_more_matches_than_asked_for_are_mentioned() -> None:
    found = json.loads(run("text_query", text="a" * 10, pattern="a", limit=3))
    assert len(found["matches"]) == 3
    assert found["more"]


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|aa)+$", r"(?:a{1,100}){1,100}$"])
def test_a_catastrophic_pattern_is_given_up(pattern: str) -> None:
    refused("text_query", text="a" * 50_000 + "!", pattern=pattern, regex=True, because="took longer than")


@pytest.mark.parametrize(
    "pattern", [r"((a{1000}){1000}){1000}", "a{999999999}", "a{,999999999}", "a{0}((b{1000}){1000})"]
)
def test_a_pattern_that_unrolls_into_memory_is_refused(pattern: str) -> None:
    refused("text_query", text="a", pattern=pattern, regex=True, because="repeats more than")


def test_what_is_no_regular_expression_says_so() -> None:
    refused("text_query", text="a", pattern="(", regex=True, because="not a regular expression")
