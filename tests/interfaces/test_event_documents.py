"""The AsyncAPI document and the event catalogue say what is really sent."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest
import yaml
from litestar.routes import WebSocketRoute

from domain.message import Metadata, Recorded
from domain.registry import EVENT_TYPES
from infrastructure.nats.cloudevents import to_cloudevent
from infrastructure.nats.subjects import event_subject
from interfaces.event_catalogue import page
from interfaces.http.asyncapi import document
from tests.interfaces.sse import stream
from tests.interfaces.stack import Stack

DOCUMENT = document(needs_token=False)
SCHEMA = Path(__file__).with_name("asyncapi") / "3.0.0.json.gz"


def recorded(tag: str, body: bytes) -> Recorded:
    metadata = Metadata(
        event_id="e1",
        at=datetime(2026, 3, 3, 14, 3, tzinfo=UTC),
        tenant="default",
        actor="user:a",
        command_id="c1",
        correlation_id="c1",
        causation_id="c0",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )
    category = tag.partition(".")[0]
    return Recorded(position=7, stream=f"{category}-a.b", version=1, tag=tag, body=body, metadata=metadata)


def instance_of(schema: dict[str, Any], *, whole: bool) -> Any:
    """The smallest value that a schema allows, or one with every field; made from the schema alone."""
    schema = resolved(schema)
    match schema:
        case {"const": value} | {"enum": [value, *_]}:
            return value
        case {"anyOf": options}:
            return instance_of(options[-1 if whole else 0], whole=whole)
        case {"properties": properties}:
            names = properties if whole else schema.get("required", ())
            return {name: instance_of(properties[name], whole=whole) for name in names}
        case {"type": "object"}:
            inner = schema.get("additionalProperties")
            is_filled = whole or schema.get("minProperties", 0)
            return {"a": instance_of(inner, whole=False)} if is_filled and isinstance(inner, dict) else {}
        case {"type": "array"}:
            is_filled = "items" in schema and (whole or schema.get("minItems", 0))
            return [instance_of(schema["items"], whole=False)] if is_filled else []
        case {"type": "string"}:
            return "2026-03-03T14:03:00Z" if "format" in schema else text_for(schema)
        case {"type": "integer" | "number"}:
            return max(1, schema.get("minimum", 1))
        case {"type": "boolean"}:
            return True
    return None


def text_for(schema: dict[str, Any]) -> str:
    """A text that the pattern allows, of those that names and digests have."""
    pattern = schema.get("pattern", "")
    tried = ("a", "openai/gpt-4o-mini", "0" * 64, "a" * max(1, schema.get("minLength", 1)))
    least = schema.get("minLength", 0)
    return next(text for text in tried if re.search(pattern, text) and len(text) >= least)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found


def validator(tag: str) -> jsonschema.Draft202012Validator:
    payload = DOCUMENT["components"]["messages"][tag]["payload"]
    return jsonschema.Draft202012Validator({**payload, "components": DOCUMENT["components"]})


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("tag", sorted(EVENT_TYPES))
def test_what_is_sent_of_every_event_fits_its_schema(tag: str, whole: bool) -> None:
    event_type = EVENT_TYPES[tag]
    value = instance_of({"$ref": event_type.__name__}, whole=whole)
    event = msgspec.json.decode(json.dumps(value), type=event_type)
    sent = json.loads(to_cloudevent(recorded(tag, msgspec.json.encode(event))))
    validator(tag).validate(sent)
    for broken in ({**sent, "type": "io.kasal.other"}, {**sent, "sequence": 7}, without(sent, "id")):
        assert not validator(tag).is_valid(broken)


def without(value: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: each for key, each in value.items() if key != name}


async def test_what_a_stack_sends_fits_the_served_document(stack: Stack) -> None:
    served = (await stack.client.get("/schema/asyncapi.json")).json()
    assert served == json.loads(json.dumps(DOCUMENT))
    head = await stack.log.head()
    started = await stack.execution()
    await stack.client.post(f"/v1/executions/{started['id']}/cancel")
    async with stream(stack.client, "/v1/events", after=head) as reader:
        for event in await reader.take(4):
            validator(event.data["type"].removeprefix("io.kasal.")).validate(event.data)


async def test_the_document_is_the_same_in_yaml(client: httpx.AsyncClient) -> None:
    answer = await client.get("/schema/asyncapi.yaml")
    assert answer.headers["content-type"] == "application/yaml"
    assert yaml.safe_load(answer.text) == json.loads(json.dumps(DOCUMENT))


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_the_document_is_asyncapi_3() -> None:
    """References that lead somewhere, and what the published schema can not say."""
    assert DOCUMENT["asyncapi"] == "3.0.0"
    for reference in references(DOCUMENT):
        found: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    for name, channel in DOCUMENT["channels"].items():
        parameters = set(re.findall(r"{(\w+)}", channel["address"] or ""))
        assert parameters == set(channel.get("parameters", {})), name
        assert set(DOCUMENT["operations"][name]) == {"action", "channel", "summary", "messages"}
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for found in nested(DOCUMENT["components"]["schemas"], "discriminator"):
        assert isinstance(found, str)


@pytest.mark.parametrize("needs_token", [False, True])
def test_the_published_schema_of_asyncapi_accepts_the_document(needs_token: bool) -> None:
    published = json.loads(gzip.decompress(SCHEMA.read_bytes()))
    schema = jsonschema.Draft7Validator(published)
    found = json.loads(json.dumps(document(needs_token=needs_token)))
    assert [error.message for error in schema.iter_errors(found)] == []
    found["channels"]["feed"]["adress"] = "kasal.events"
    assert not schema.is_valid(found)


def nested(value: object, name: str) -> Iterator[object]:
    if isinstance(value, dict):
        if name in value and "anyOf" in value:
            yield value[name]
        for each in value.values():
            yield from nested(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from nested(each, name)


async def test_every_socket_and_stream_is_in_the_document(stack: Stack) -> None:
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    sockets = {route.path_format for route in stack.app.routes if isinstance(route, WebSocketRoute)}
    assert sockets | {"/v1/events", "/v1/executions/{execution_id}/stream"} <= addresses


@pytest.mark.parametrize("tag", sorted(EVENT_TYPES))
def test_subjects_are_as_documented(tag: str) -> None:
    parts = event_subject(recorded(tag, b"{}")).split(".")
    assert len(parts) == len(DOCUMENT["channels"]["feed"]["address"].split("."))
    assert parts[:4] == ["kasal", "events", "default", tag.partition(".")[0]]
    assert all(re.fullmatch("[A-Za-z0-9_=-]+", part) for part in parts)


def test_the_catalogue_names_every_event() -> None:
    headings = set(re.findall(r"^### (\w+\..+)$", page(), re.MULTILINE))
    assert headings == set(EVENT_TYPES)
