"""Hostile input: nothing that a client can send gives a 5xx, hangs, or gets into the log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest

from interfaces.http.examples import BLOG
from tests.interfaces.stack import Stack

DEEP = 100_000
JSON_BODIES: dict[str, bytes] = {
    "invalid UTF-8": b'{"workflow_id": "\xff\xfe"}',
    "truncated UTF-8": b'{"workflow_id": "\xe2\x82"}',
    "a BOM": b"\xef\xbb\xbf{}",
    "UTF-16": '{"workflow_id": "a"}'.encode("utf-16"),
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep inputs": b'{"workflow_id": "a", "inputs": {"x": ' + b"[" * 900 + b"]" * 900 + b"}}",
    "deep definition": b'{"definition": ' + b'{"inputs":' * 300 + b"1" + b"}" * 300 + b"}",
    "NaN": b'{"workflow_id": "a", "inputs": {"x": NaN}}',
    "Infinity": b'{"workflow_id": "a", "inputs": {"x": -Infinity}}',
    "1e400": b'{"workflow_id": "a", "inputs": {"x": 1e400}}',
    "a huge integer": b'{"workflow_id": "a", "inputs": {"x": ' + b"9" * 5000 + b"}}",
    "an integer of 65 bits": b'{"workflow_id": "a", "inputs": {"x": 18446744073709551616}}',
    "an integer of 64 unsigned bits": b'{"workflow_id": "a", "inputs": {"x": 18446744073709551615}}',
    "NUL": b'{"workflow_id": "a", "inputs": {"x": "a\\u0000b"}}',
    "NUL in a name": b'{"workflow_id": "a", "inputs": {"a\\u0000b": 1}}',
    "raw NUL": b'{"workflow_id": "a\x00b"}',
    "a lone surrogate": b'{"workflow_id": "a", "inputs": {"x": "\\ud800"}}',
    "half a body": b'{"workflow_id": ',
    "two bodies": b"{}{}",
    "a number": b"7",
    "null": b"null",
    "a text": b'"x"',
    "nothing but space": b"   ",
    "many lists": b"[" + b"[]," * 200_000 + b"[]]",
    "a million numbers": b'{"inputs": {"x": [' + b"1," * 400_000 + b"1]}}",
}
YAML_BODIES: dict[str, bytes] = {
    "an alias bomb": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [%b]\n" % (n + 1, n + 1, b",".join([b"*%c" % n] * 9)) for n in range(97, 106)),
    "deep flow": b"[" * DEEP,
    "deep blocks": b"- " * DEEP + b"x",
    "deep mappings": b"".join(b" " * n + b"a:\n" for n in range(1000)),
    "an object": b"!!python/object/apply:os.system ['true']",
    "two documents": b"a: 1\n---\nb: 2\n",
    "a tab": b"a:\n\t- b",
    "a key that is a list": b"? [a]\n: b",
    "itself": b"a: &a\n  b: *a",
    "binary": b"\x00\x01\x02",
    "invalid UTF-8": b"a: \xff",
    "a directive": b"%YAML 9.9\n---\na: 1",
    "a huge number": b"a: " + b"9" * 100_000,
    "nothing": b"",
    "a merge": b"a: &a {b: 1}\n<<: *a",
}


@pytest.fixture(autouse=True)
async def _the_log_stays_as_it_was(stack: Stack) -> AsyncIterator[None]:
    before = await stack.log.head()
    yield
    assert await stack.log.head() == before
    assert (await stack.client.get("/livez")).status_code == 200


@pytest.mark.parametrize("body", JSON_BODIES.values(), ids=JSON_BODIES)
@pytest.mark.parametrize(
    "path",
    ["/v1/executions", "/v1/workflows", "/v1/executions/generate-name", "/v1/executions/a/cancel"],
)
async def test_no_json_body_gives_a_5xx(client: httpx.AsyncClient, path: str, body: bytes) -> None:
    answer = await client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500, answer.text[:500]
    assert answer.json()["code"] in ("malformed", "invalid", "not_found", "too_large")


@pytest.mark.parametrize("body", YAML_BODIES.values(), ids=YAML_BODIES)
async def test_no_yaml_body_gives_a_5xx(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/v1/workflows", content=body, headers={"Content-Type": "application/yaml"})
    assert answer.status_code in (400, 422), answer.text[:500]


async def test_what_can_not_be_stored_is_named_by_its_pointer(client: httpx.AsyncClient) -> None:
    inputs = {"a": {"b/c": ["fine", "a\x00b", 2**63, "fine"]}, "n\x00": 1}
    answer = await client.post("/v1/executions", json={"workflow_id": "x", "inputs": inputs})
    assert answer.status_code == 400
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    assert pointers == ["/inputs/n\ufffd", "/inputs/a/b~1c/1", "/inputs/a/b~1c/2"]


async def test_a_text_that_only_looks_like_nul_is_stored(stack: Stack) -> None:
    answer = await stack.client.post(
        "/v1/executions/generate-name", json={"definition": {**BLOG, "description": "\\u0000 " + "9" * 40}}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/xml", "json", "a" * 5000])
async def test_no_media_type_gives_a_5xx(client: httpx.AsyncClient, media_type: str) -> None:
    answer = await client.post("/v1/workflows", content=b"{}", headers={"Content-Type": media_type})
    assert answer.status_code in (400, 415), answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/v1/workflows/%00",
        "/v1/workflows/%ff%fe",
        "/v1/workflows/..%2f..%2fetc%2fpasswd",
        "/v1/executions/" + "x" * 5000,
        "/v1/executions/%f0%9f%92%a9/history",
        "/v1/executions/a%0d%0aX-Injected:%201",
        "/v1/models/%00/a",
        "/v1/models/" + "a/" * 500,
        "/v1/workflows/a/versions/-1",
        "/v1/workflows/a/versions/1e3",
        "//v1//workflows//none",
        "/v1/executions?" + "&".join(f"p{n}=1" for n in range(1000)),
        "/v1/executions?limit=%00",
        "/v1/executions?" + "%" * 100,
        "/v1/events?after=%F0",
        "/schema/..%2f..%2fapp.py",
        "/schema/__init__.py",
    ],
    ids=lambda path: path[:40],
)
async def test_no_path_gives_a_5xx(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["code"] in ("not_found", "malformed")
    assert "x-injected" not in answer.headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Accept", "*/*;q=0, ,;;"),
        ("Accept", "a" * 8000),
        ("Prefer", "wait=" + "9" * 5000),
        ("traceparent", "ff-" + "0" * 52),
        ("traceparent", "\xff" * 55),
        ("If-None-Match", '"' * 4000),
        ("Kasal-After", "9" * 500),
        ("Kasal-After", "١٢"),
        ("Authorization", "Bearer \xff"),
        ("Cookie", "a=" + "b" * 8000),
        ("Content-Length", "0"),
    ],
)
async def test_no_header_gives_a_5xx(client: httpx.AsyncClient, name: str, value: str) -> None:
    answer = await client.get("/v1/executions/none", headers={name: value.encode("utf-8")})  # type: ignore[arg-type]
    assert 400 <= answer.status_code < 500, answer.text


async def raw(stack: Stack, sent: bytes, *, wait_s: float = 5) -> bytes:
    """What the server answers to these bytes, until it closes or is silent."""
    address = urlsplit(stack.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(sent)
    answer = b""
    try:
        async with asyncio.timeout(wait_s):
            await writer.drain()
            while chunk := await reader.read(65536):
                answer += chunk
                if b"\r\n\r\n" in answer:
                    break
    except (TimeoutError, ConnectionError):
        pass
    writer.close()
    return answer


REQUEST = b"POST /v1/workflows HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


async def test_a_body_that_never_comes_is_given_up(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interfaces.http.bodies.BODY_TIMEOUT_S", 0.2)
    answer = await raw(stack, REQUEST + b'Content-Length: 100\r\n\r\n{"name"')
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_an_announced_body_that_is_too_large_is_not_read(stack: Stack) -> None:
    answer = await raw(stack, REQUEST + b"Content-Length: 999999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_an_endless_body_is_cut(stack: Stack) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    answer = await raw(stack, REQUEST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 20)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_bytes_that_are_no_http_are_refused(stack: Stack) -> None:
    for sent in (
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ):
        answer = await raw(stack, sent)
        assert not answer.startswith(b"HTTP/1.1 5")


async def test_a_client_that_leaves_in_the_middle_harms_nobody(stack: Stack) -> None:
    address = urlsplit(stack.url)
    for _ in range(20):
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(REQUEST + b'Content-Length: 100\r\n\r\n{"name"')
        await writer.drain()
        writer.close()
    assert (await stack.client.get("/v1/workflows")).status_code == 200


async def test_the_largest_body_is_answered_soon(client: httpx.AsyncClient) -> None:
    body = json.dumps({"inputs": {f"k{n}": [n] * 20 for n in range(9_000)}}).encode()[: 1024 * 1024]
    async with asyncio.timeout(10):
        answer = await client.post(
            "/v1/executions", content=body, headers={"Content-Type": "application/json"}
        )
    assert answer.status_code in (400, 422)
