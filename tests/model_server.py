"""A scripted model behind OpenAI's chat API, on loopback: for tests and benchmarks of whatever calls models.

`with model_server() as server` runs it on a thread of its own; `python -m tests.model_server --delay 0.2` as
a process that prints its URL. litellm's real `openai/` provider reaches it by OPENAI_API_BASE. Its one rule:
it counts every request that it read, answered or not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

PARENT_WATCH_S = 0.5
HELD_WATCH_S = 0.02


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What one request is answered.

    text, tools   the answer: words, or calls as (name, arguments as JSON)
    status, code  an error instead, with OpenAI's code for it
    delay_s       before anything is sent; hangs: nothing is ever sent
    held          nothing is sent before it is set
    counts        whether usage is told
    """

    text: str = "An answer of the model."
    tools: tuple[tuple[str, str], ...] = ()
    status: int = 200
    code: str = ""
    message: str = "scripted"
    retry_after: str = ""
    delay_s: float = 0.0
    hangs: bool = False
    held: threading.Event | None = None
    counts: bool = True
    prompt_tokens: int = 7
    completion_tokens: int = 5


class ModelServer:
    """requests: the body of each, in the order they came. answer: for what the script does not cover."""

    def __init__(self, answer: Callable[[dict[str, Any]], Turn]) -> None:
        self.url = ""
        self.requests: list[dict[str, Any]] = []
        self.answer = answer
        self._script: deque[Turn] = deque()

    def script(self, *turns: Turn) -> None:
        """The next requests are answered so, in this order."""
        self._script.extend(turns)

    def prompts(self) -> list[str]:
        """The last message of each request."""
        return [str(request["messages"][-1]["content"]) for request in self.requests]

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while (request := await read_request(reader)) is not None:
                self.requests.append(request)
                turn = self._script.popleft() if self._script else self.answer(request)
                if turn.hangs:
                    await reader.read()
                    break
                while turn.held and not turn.held.is_set():  # noqa: ASYNC110 - set by another thread
                    await asyncio.sleep(HELD_WATCH_S)
                await asyncio.sleep(turn.delay_s)
                writer.write(reply(turn, request))
                await writer.drain()
        writer.close()


async def read_request(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The JSON body of the next request on a connection; None at its end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lines = [line.partition(b":") for line in head.lower().split(b"\r\n")]
    length = next(int(value) for name, _, value in lines if name == b"content-length")
    body: dict[str, Any] = msgspec.json.decode(await reader.readexactly(length))
    return body


def reply(turn: Turn, request: dict[str, Any]) -> bytes:
    """A whole HTTP answer: an error, a stream of events, or one document."""
    if turn.status != 200:
        error = {"message": turn.message, "type": "error", "code": turn.code or None, "param": None}
        extra = [f"Retry-After: {turn.retry_after}"] if turn.retry_after else []
        return http(turn.status, "application/json", msgspec.json.encode({"error": error}), *extra)
    if not request.get("stream"):
        return http(200, "application/json", msgspec.json.encode(document(turn, request)))
    events = [b"data: " + msgspec.json.encode(event) + b"\n\n" for event in stream(turn, request)]
    return http(200, "text/event-stream", b"".join(events) + b"data: [DONE]\n\n")


def http(status: int, kind: str, body: bytes, *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status} Scripted", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def document(turn: Turn, request: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None if turn.tools else turn.text}
    if turn.tools:
        message |= {"tool_calls": [called(index, *tool) for index, tool in enumerate(turn.tools)]}
    choice = {"index": 0, "message": message, "finish_reason": finish(turn)}
    return shell(request, "chat.completion") | {"choices": [choice], "usage": usage(turn)}


def stream(turn: Turn, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The chunks of an answer: some words each, then why it ended, then the usage where it was asked for."""
    head = shell(request, "chat.completion.chunk")
    deltas: list[dict[str, Any]] = [{"content": piece} for piece in pieces(turn.text)]
    if turn.tools:
        deltas = [{"tool_calls": [called(index, *tool)]} for index, tool in enumerate(turn.tools)]
    for delta in [{"role": "assistant"}, *deltas]:
        yield head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield head | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish(turn)}]}
    if turn.counts and (request.get("stream_options") or {}).get("include_usage"):
        yield head | {"choices": [], "usage": usage(turn)}


def pieces(text: str) -> list[str]:
    third = max(1, -(-len(text) // 3))
    return [text[start : start + third] for start in range(0, len(text), third)]


def called(index: int, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": f"call_{index}", "type": "function", "function": function}


def finish(turn: Turn) -> str:
    return "tool_calls" if turn.tools else "stop"


def usage(turn: Turn) -> dict[str, int]:
    total = turn.prompt_tokens + turn.completion_tokens
    return {
        "prompt_tokens": turn.prompt_tokens,
        "completion_tokens": turn.completion_tokens,
        "total_tokens": total,
    }


def shell(request: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1_700_000_000, "model": request["model"]}


@contextmanager
def model_server(answer: Callable[[dict[str, Any]], Turn] = lambda _: Turn()) -> Iterator[ModelServer]:
    """Runs until the block ends, on a thread of its own."""
    server, ready, loops = ModelServer(answer), threading.Event(), list[asyncio.AbstractEventLoop]()
    stop = asyncio.Event()

    async def serve() -> None:
        await server.start()
        loops.append(asyncio.get_running_loop())
        ready.set()
        await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(10)


async def serve_process(delay_s: float) -> None:
    """Until it is terminated, or the process that started it is gone."""
    server, parent = ModelServer(lambda _: Turn(delay_s=delay_s)), os.getppid()
    await server.start()
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    while os.getppid() == parent:  # noqa: ASYNC110 - no event tells that a parent has ended
        await asyncio.sleep(PARENT_WATCH_S)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    asyncio.run(serve_process(parser.parse_args().delay))
