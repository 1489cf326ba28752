"""The AsyncAPI 3.0 document: every event, and every way to follow events, made from the event types.

Called by `documentation`. Its one rule: a message's schema is made from the very type that the log stores,
and its envelope from the type that writes CloudEvents, so that the document can not differ from what is sent.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import msgspec

from domain.event_filter import TYPE_PREFIX
from domain.message import Event
from domain.registry import EVENT_TYPES
from infrastructure.wiring import CloudEvent
from interfaces.http.streaming import EventsQuery, ExecutionEventsQuery
from interfaces.shapes import schema_components

Json = dict[str, Any]

CONTENT_TYPE = "application/cloudevents+json"
REF = "#/components/schemas/{name}"
DESCRIPTION = """What Kasal records, as CloudEvents 1.0 (structured JSON). The extension `sequence` is the
position in the log: the place to go on from, over every channel. `source` and `id` together name an event."""

EXECUTION_ID = {"execution_id": {"description": "The execution's id."}}
SUBJECT = {
    "tenant": {"description": "The tenant; `default` where there is one."},
    "category": {"description": "What it happened to: `workflow`, `execution`, ..."},
    "id": {"description": "The id of what it happened to; bytes beyond `[A-Za-z0-9_-]` are `=XX`."},
    "event": {"description": "The type without its category: `step_completed`."},
}
SIGNED = {
    "webhook-id": "the same however often the event is sent",
    "webhook-timestamp": "of this attempt, Unix seconds",
    "webhook-signature": "v1,<base64> for each secret that signs; Standard Webhooks 1.0",
}
JETSTREAM = {
    "stream": "KASAL_EVENTS",
    "sequence": "the position in the log",
    "readOnlyAccess": "subscribe to kasal.events.>, ask $JS.API.DIRECT.GET.KASAL_EVENTS",
}


def document(*, needs_token: bool) -> Json:
    """The whole document, ready to be written as JSON."""
    messages = {tag: message(tag, event) for tag, event in sorted(EVENT_TYPES.items())}
    channels = channels_of(messages)
    security: Json = {"security": [{"$ref": "#/components/securitySchemes/token"}]} if needs_token else {}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Kasal events", "version": "1", "description": DESCRIPTION},
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "http": server("http", "127.0.0.1:8700", "Server-sent events.") | security,
            "websocket": server("ws", "127.0.0.1:8700", "WebSocket, subprotocol `cloudevents.json`.")
            | security,
            "nats": server("nats", "127.0.0.1:4222", "JetStream, for subscribers with the read-only user."),
        },
        "channels": channels,
        "operations": {name: operation(name, channel) for name, channel in channels.items()},
        "components": {
            "messages": messages,
            "schemas": schemas(),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "The installation's token."}
            },
        },
    }


def server(protocol: str, host: str, description: str) -> Json:
    return {
        "host": "{host}",
        "protocol": protocol,
        "description": description,
        "variables": {"host": {"default": host, "description": "Host and port."}},
    }


def channels_of(messages: Iterable[str]) -> Json:
    """Each way to follow: its address, its server, the events that can come."""
    every = {tag: {"$ref": f"#/components/messages/{tag}"} for tag in messages}
    of_executions = {tag: each for tag, each in every.items() if tag.startswith("execution.")}

    def channel(address: str | None, title: str, of: Json, server: str | None, **more: object) -> Json:
        servers = {"servers": [{"$ref": f"#/servers/{server}"}]} if server else {}
        return {"address": address, "title": title, "messages": of, **servers, **more}

    one = {"parameters": EXECUTION_ID}
    return {
        "events": channel("/v1/events", "Everything, over SSE", every, "http", **over_http(EventsQuery)),
        "execution": channel(
            "/v1/executions/{execution_id}/stream",
            "One execution, over SSE",
            of_executions,
            "http",
            **one,
            **over_http(ExecutionEventsQuery),
        ),
        "eventsSocket": channel(
            "/v1/events/ws", "Everything, over WebSocket", every, "websocket", **over_ws(EventsQuery)
        ),
        "executionSocket": channel(
            "/v1/executions/{execution_id}/ws",
            "One execution, over WebSocket",
            of_executions,
            "websocket",
            **one,
            **over_ws(ExecutionEventsQuery),
        ),
        "webhook": channel(None, "What a subscription wants, by POST", every, None, **{"x-headers": SIGNED}),
        "feed": channel(
            "kasal.events.{tenant}.{category}.{id}.{event}",
            "Everything, from NATS",
            every,
            "nats",
            parameters=SUBJECT,
            **{"x-jetstream": JETSTREAM},
        ),
    }


def over_http(query: type[msgspec.Struct]) -> Json:
    return {"x-query": parameters(query)}


def over_ws(query: type[msgspec.Struct]) -> Json:
    binding = {"method": "GET", "query": parameters(query), "bindingVersion": "0.1.0"}
    return {"bindings": {"ws": binding}}


def parameters(query: type[msgspec.Struct]) -> Json:
    """The query parameters as one object, with everything they refer to inside."""
    (_,), components = schema_components([query], ref_template=REF)
    properties = components[query.__name__]["properties"]
    return {"type": "object", "properties": {name: plain(each) for name, each in properties.items()}}


def plain(schema: Json) -> Json:
    """A parameter in the words of a query: what is left out is not null, and lists come with commas."""
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    found = options[0] if len(options) == 1 else schema
    kind = "string" if found.get("type") == "array" else found.get("type", "string")
    return {"type": kind, "description": found.get("description", schema.get("description", ""))}


def operation(name: str, channel: Json) -> Json:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": channel["title"],
        "messages": [{"$ref": f"#/channels/{name}/messages/{tag}"} for tag in channel["messages"]],
    }


def message(tag: str, event: type[Event]) -> Json:
    """One event. Its payload is the CloudEvent with this type and with the event as data."""
    described = inspect.cleandoc(event.__doc__ or "")
    payload = {
        "allOf": [
            {"$ref": REF.format(name="CloudEvent")},
            {
                "type": "object",
                "properties": {
                    "type": {"const": TYPE_PREFIX + tag},
                    "data": {"$ref": REF.format(name=event.__name__)},
                },
                "required": ["data"],
            },
        ]
    }
    found: Json = {"name": TYPE_PREFIX + tag, "title": event.__name__, "contentType": CONTENT_TYPE}
    return found | ({"description": described} if described else {}) | {"payload": payload}


def schemas() -> Json:
    """Every event's schema, the envelope's, and what they refer to."""
    types = [CloudEvent, *dict.fromkeys(EVENT_TYPES.values())]
    _, components = schema_components(types, ref_template=REF)
    return {name: with_plain_discriminators(schema) for name, schema in sorted(components.items())}


def with_plain_discriminators(schema: Any) -> Any:
    """OpenAPI's discriminator is an object; AsyncAPI's is the name of the property alone."""
    if isinstance(schema, list):
        return [with_plain_discriminators(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: with_plain_discriminators(each) for name, each in schema.items()}
    if isinstance(found := plain.get("discriminator"), dict) and "propertyName" in found:
        plain["discriminator"] = found["propertyName"]
    return plain
