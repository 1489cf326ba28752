"""Request bodies: bytes to checked values. What a client puts into a body is refused here, or is good.

Called by the routes that take a body. Its one rule: what leaves this module can be stored: UTF-8 without
U+0000, integers of 64 bits, finite numbers, at most 64 levels deep.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any, TypeVar, cast

import jsonschema
import msgspec

from application.documents import faults_of
from domain.checks import pointer
from domain.errors import Fault, Invalid, TooLarge
from interfaces.http.request import ApiRequest
from interfaces.http.yaml_body import MAX_DEPTH, MAX_NODES, decode_yaml
from interfaces.problems import Refused, malformed

MAX_BODY_BYTES = 1024 * 1024
BODY_TIMEOUT_S = 20.0
LARGE_YAML_BYTES = 16 * 1024
"""Parsed beside the event loop from here on."""

JSON_TYPES = frozenset({"application/json"})
YAML_TYPES = frozenset({"application/yaml", "text/yaml", "application/x-yaml", "text/x-yaml"})
LATE = "the body is late"
MAX_INT = 2**63 - 1
MAX_FAULTS = 100

_LONG_NUMBER = re.compile(rb"[0-9]{18}")

T = TypeVar("T", bound=msgspec.Struct)


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a command that takes none."""


async def read_json(request: ApiRequest, of: type[T], *, is_optional: bool = False) -> T:
    """The body as JSON of a type. Raises `Refused` (400, 408, 415), `TooLarge`, `Invalid` (every fault)."""
    body = await read_bytes(request)
    if is_optional and not body:
        return of()
    media_type_of(request, JSON_TYPES)
    try:
        value: T = decoder(of).decode(body)
    except msgspec.ValidationError:
        raise shape_faults(value_of_json(body), of) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(error) from error
    if needs_look(body):
        value_of_json(body)
    return value


async def read_value(request: ApiRequest) -> object:
    """The body as whatever JSON value it is. Raises `Refused` (400, 408, 415) and `TooLarge`."""
    body = await read_bytes(request)
    media_type_of(request, JSON_TYPES)
    return value_of_json(body)


async def read_document(request: ApiRequest) -> object:
    """The body, JSON or YAML, as whatever value it is. Raises `Refused` (400, 408, 415) and `TooLarge`."""
    body = await read_bytes(request)
    if media_type_of(request, JSON_TYPES | YAML_TYPES) in JSON_TYPES:
        return value_of_json(body)
    large = len(body) > LARGE_YAML_BYTES
    value = await asyncio.to_thread(decode_yaml, body) if large else decode_yaml(body)
    check_value(value)
    return value


async def read_nothing(request: ApiRequest) -> None:
    """For commands without content: no body, or an empty JSON object."""
    await read_json(request, Nothing, is_optional=True)


async def read_bytes(request: ApiRequest) -> bytes:
    """The whole body, within its bounds of size and time.

    The time is counted only if there is something to wait for: a timer costs 2 us a request, and
    `asyncio.timeout` 5.
    """
    announced = request.header("content-length") or "0"
    if announced.isdecimal() and int(announced[:20]) > MAX_BODY_BYTES:
        raise TooLarge(f"the body has {announced[:20]} bytes; expected at most {MAX_BODY_BYTES}")
    reading = asyncio.current_task()
    assert reading is not None  # noqa: S101 - a server runs each request in a task
    loop, timers = asyncio.get_running_loop(), list[asyncio.Handle]()
    first_turn = loop.call_soon(lambda: timers.append(loop.call_later(BODY_TIMEOUT_S, reading.cancel, LATE)))
    try:
        return await received(request)
    except asyncio.CancelledError as error:
        if error.args != (LATE,):
            raise
        reading.uncancel()
        detail = f"the body did not arrive within {BODY_TIMEOUT_S:g} seconds"
        raise Refused("body_timeout", detail, headers={"Connection": "close"}) from None
    finally:
        for handle in (first_turn, *timers):
            handle.cancel()


async def received(request: ApiRequest) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise malformed("the connection ended before the body did")
        chunk = cast("bytes", message.get("body", b""))
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise TooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes")
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def media_type_of(request: ApiRequest, expected: frozenset[str]) -> str:
    """The media type without its parameters. Raises `Refused` (415) for any other than those expected."""
    given = request.header("content-type") or ""
    if given in expected:
        return given
    media_type = given.partition(";")[0].strip().lower()
    if media_type not in expected:
        known = ", ".join(sorted(expected))
        found = f"{media_type[:80]!r}" if media_type else "nothing"
        raise Refused("unsupported_media_type", f"Content-Type is {found}; expected one of: {known}")
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", given, re.IGNORECASE)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise Refused("unsupported_media_type", f"charset is {charset[1][:40]!r}; expected utf-8")
    return media_type


def value_of_json(body: bytes) -> object:
    """The value of a JSON text, all bounds checked."""
    try:
        value: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(error) from error
    if needs_look(body):
        check_value(value)
    return value


def unreadable(error: Exception) -> Refused:
    if isinstance(error, RecursionError):
        return malformed(f"the body nests deeper than {MAX_DEPTH} levels")
    if isinstance(error, UnicodeDecodeError):
        return malformed("the body is not UTF-8")
    return malformed(f"the body is not JSON: {error}")


def needs_look(body: bytes) -> bool:
    """Whether a readable JSON text could be beyond a bound: proved from its bytes, without a walk."""
    return (
        body.count(b"[") + body.count(b"{") > MAX_DEPTH
        or b"\\u0000" in body
        or _LONG_NUMBER.search(body) is not None
    )


def check_value(value: object) -> None:
    """Raises `Refused` (400) with the pointer of everything that can not be stored."""
    if not is_storable(value):
        faults = [*islice(value_faults(value), MAX_FAULTS)]
        raise malformed(f"the body can not be stored: {one_line(faults)}", *faults)


def is_storable(value: object) -> bool:
    """No U+0000, no integer beyond 64 bits, no infinite number; neither too much nor too deep."""
    level, depth, seen = [value], 0, 0
    while level:
        depth, seen = depth + 1, seen + len(level)
        if seen > MAX_NODES or depth > MAX_DEPTH + 1:
            return False
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                if any("\x00" in name for name in item):
                    return False
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif not is_plain(item):
                return False
        level = below
    return True


def is_plain(item: object) -> bool:
    match item:
        case str():
            return "\x00" not in item
        case int():
            return -MAX_INT - 1 <= item <= MAX_INT
        case float():
            return item - item == 0
        case _:
            return True


def value_faults(value: object) -> Iterator[Fault]:
    """What `is_storable` found, by its pointers."""
    waiting: list[tuple[object, tuple[str | int, ...]]] = [(value, ())]
    seen = 0
    while waiting:
        item, path = waiting.pop()
        seen += 1 + (len(item) if isinstance(item, list | dict) else 0)
        if seen > 2 * MAX_NODES:
            yield Fault("", f"holds more than {MAX_NODES} values")
            return
        match item:
            case list() | dict() if len(path) > MAX_DEPTH - 1:
                yield Fault(pointer(*path[:8]), f"nests deeper than {MAX_DEPTH} levels")
            case list():
                waiting.extend((each, (*path, index)) for index, each in reversed([*enumerate(item)]))
            case dict():
                for name in item:
                    if "\x00" in name:
                        fault = "holds a name with U+0000; expected text without it"
                        yield Fault(pointer(*path, name.replace("\x00", "\ufffd")), fault)
                waiting.extend((each, (*path, name)) for name, each in reversed([*item.items()]))
            case str() if not is_plain(item):
                yield Fault(pointer(*path), "holds U+0000; expected text without it")
            case int() if not is_plain(item):
                yield Fault(pointer(*path), "is an integer beyond 64 bits; expected a smaller one")
            case float() if not is_plain(item):
                yield Fault(pointer(*path), "is not a finite number")


def shape_faults(value: object, of: Any, *known: Fault) -> Invalid:
    """Every place where a value is not of a type's shape, after the faults that are known already."""
    found = (fault for error in validator(of).iter_errors(value) for fault in faults_of(error))
    faults = [*known, *islice(found, MAX_FAULTS)]
    if not faults:
        try:
            msgspec.convert(value, type=of)
        except msgspec.ValidationError as error:
            faults = [Fault("", str(error))]
    return Invalid(f"the body is not as expected: {one_line(faults)}", tuple(faults))


def one_line(faults: list[Fault]) -> str:
    """The first fault, and how many more there are."""
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{faults[0].pointer or 'it'} {faults[0].message}{more}"


@cache
def decoder(of: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(of)


@cache
def validator(of: Any) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(msgspec.json.schema(of))
