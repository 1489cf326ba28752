"""CloudEvents: lossless, and as the specification has them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.message import Metadata, Recorded
from infrastructure.nats.cloudevents import from_cloudevent, to_cloudevent

TEXT = st.text(max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
METADATA = st.builds(
    Metadata,
    event_id=TEXT,
    at=st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    tenant=TEXT,
    actor=TEXT,
    command_id=TEXT,
    correlation_id=TEXT,
    causation_id=st.none() | TEXT,
    traceparent=st.none() | TEXT,
)
RECORDED = st.builds(
    Recorded,
    position=st.integers(1, 10**18),
    stream=st.builds("{}-{}".format, st.sampled_from(["execution", "workflow"]), TEXT),
    version=st.integers(1, 10**9),
    tag=st.sampled_from(["execution.started", "workflow.revised.v2"]),
    body=JSON.map(msgspec.json.encode),
    metadata=METADATA,
)

STARTED = Recorded(
    position=1234,
    stream="execution-0190-ab",
    version=7,
    tag="execution.step_started",
    body=b'{"step": "write",  "n":1.50}',
    metadata=Metadata(
        event_id="e1",
        at=datetime(2026, 1, 2, 3, 4, 5, 678900, tzinfo=UTC),
        tenant="a/b",
        actor="user:ann",
        command_id="c1",
        correlation_id="c0",
        traceparent="00-1-2-01",
    ),
)


@given(RECORDED)
def test_what_was_recorded_comes_back_equal(recorded: Recorded) -> None:
    again = from_cloudevent(to_cloudevent(recorded))
    assert again == recorded
    assert again.body == recorded.body


@given(RECORDED)
def test_attributes_are_as_the_specification_has_them(recorded: Recorded) -> None:
    attributes: dict[str, Any] = msgspec.json.decode(to_cloudevent(recorded))
    del attributes["data"]
    assert all(re.fullmatch(r"[a-z0-9]{1,20}", name) for name in attributes)
    assert all(value is not None for value in attributes.values())
    assert attributes["specversion"] == "1.0"
    assert all(attributes[name] for name in ("id", "source", "type"))
    assert attributes.get("subject", "x")
    assert attributes["partitionkey"]
    assert re.fullmatch(r"(%[0-9A-F]{2}|[A-Za-z0-9_.~/-])+", attributes["source"])
    assert datetime.fromisoformat(attributes["time"]) - recorded.metadata.at == timedelta(0)


def test_an_event_reads_like_this() -> None:
    assert to_cloudevent(STARTED).decode() == (
        '{"specversion":"1.0","id":"execution-0190-ab:7","source":"/tenants/a%2Fb/execution",'
        '"type":"io.kasal.execution.step_started","subject":"0190-ab","time":"2026-01-02T03:04:05.678900Z",'
        '"datacontenttype":"application/json","sequence":"00000000000000001234","partitionkey":"0190-ab",'
        '"tenantid":"a/b","actor":"user:ann","eventid":"e1","commandid":"c1","correlationid":"c0",'
        '"traceparent":"00-1-2-01","kasalversion":7,"data":{"step": "write",  "n":1.50}}'
    )


@pytest.mark.parametrize("body", [b"", b"{}", b"no json", b"[1]", to_cloudevent(STARTED)[:-1]])
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        from_cloudevent(body)
