"""Subjects: tokens that any text fits in, and the shape of an event's subject."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.nats.subjects import event_subject, text_of, token
from tests.contracts.event_feed_contract import an_event


@given(st.text())
def test_any_text_becomes_one_token_and_comes_back(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_=-]+", token(text))
    assert text_of(token(text)) == text


@given(st.text(), st.text())
def test_two_texts_never_share_a_token(one: str, other: str) -> None:
    assert (token(one) == token(other)) == (one == other)


@pytest.mark.parametrize(
    ("tag", "event"),
    [("execution.cancelled", "cancelled"), ("execution.cancelled.v2", "cancelled_v2"), ("plain", "plain")],
)
def test_an_event_has_its_place_in_the_subject(tag: str, event: str) -> None:
    recorded = msgspec.structs.replace(an_event(1, stream="execution-a.b"), tag=tag)
    assert event_subject(recorded) == f"kasal.events.acme.execution.a=2Eb.{event}"
