"""One request to a model, sent through litellm, and its answer put together from the stream.

Called by `ReportedModel`, on a worker thread. Its one rule: litellm tries once; trying again is a new call
with its own record, and is decided above.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Any

import httpx
import litellm
import msgspec
import openai
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
from openai.types.chat import ChatCompletionChunk

from domain.catalog import Model
from domain.definition import Json
from domain.execution import Failure
from infrastructure.crew.contents import clean_text
from infrastructure.crew.lanes import CallFailed
from infrastructure.llm.capabilities import cost_usd
from infrastructure.llm.failures import call_failed

# litellm would print advice to standard output at every error, and run an event loop for every chunk, for
# callbacks that nobody has.
litellm.suppress_debug_info = True
litellm.disable_streaming_logging = True
if hasattr(CustomStreamWrapper, "__del__"):
    # It sets context variables, for ids in log lines that are off. Python 3.11 collects garbage within
    # `ContextVar.set`, which does not survive that another sets one meanwhile: the process ends by SIGSEGV.
    del CustomStreamWrapper.__del__

MAX_TOOL_CALLS = 100
"""Of one answer; what a provider counts beyond is left out."""

CHARACTERS_PER_TOKEN = 4
"""A fair guess where neither the provider nor litellm counts."""


class Request(msgspec.Struct, frozen=True):
    """What a model is asked; its JSON is what the call's digest rests on."""

    model: str
    messages: list[dict[str, Json]]
    tools: list[dict[str, Json]] = []
    response_format: dict[str, Json] | None = None
    stop: list[str] = []
    temperature: float | None = None
    max_tokens: int | None = None

    def as_json(self) -> dict[str, Json]:
        return {name: getattr(self, name) for name in self.__struct_fields__ if getattr(self, name)}


class ToolCall(msgspec.Struct):
    """A tool call of an answer. arguments: JSON, as the model wrote it."""

    id: str = ""
    name: str = ""
    arguments: str = ""

    def as_openai(self) -> dict[str, Json]:
        function: dict[str, Json] = {"name": self.name, "arguments": self.arguments or "{}"}
        return {"id": self.id, "type": "function", "function": function}


class Answer(msgspec.Struct):
    """What came back. model: the one that answered; finish: why it stopped, in the provider's word."""

    model: str
    text: str = ""
    tool_calls: list[ToolCall] = []
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    finish: str = ""


def send(entry: Model, request: Request, on_text: Callable[[str], None]) -> Answer:
    """The whole answer; its text also piece by piece. Raises `CallFailed`."""
    deadline = time.monotonic() + entry.timeout_s
    try:
        chunks = litellm.completion(
            **request.as_json(),
            stream=True,
            stream_options={"include_usage": True},
            timeout=entry.timeout_s,
            drop_params=True,
            num_retries=0,
            max_retries=0,
        )
        raw = RawUsage(chunks)
        answer, usage = assembled(request.model, before(deadline, entry, chunks), raw, on_text)
    except openai.OpenAIError as error:
        raise call_failed(request.model, error) from error
    return counted(entry, request, answer, usage)


def before(deadline: float, entry: Model, chunks: Iterable[Any]) -> Iterable[Any]:
    """The stream's chunks until the deadline: a provider that drips has timed out too."""
    for chunk in chunks:
        yield chunk
        if time.monotonic() > deadline:
            message = f"{entry.name}: no whole answer within {entry.timeout_s} s"
            raise CallFailed(Failure("timeout", message))


class RawUsage:
    """What an OpenAI-like provider counts, read off its raw chunks.

    litellm itself tells the usage behind the end, when it has put all chunks together and copied the whole
    twice: a third of the time of a short call.
    """

    def __init__(self, chunks: Any) -> None:
        self._usage: litellm.Usage | None = None
        self._raw: Iterable[Any] = ()
        if isinstance(chunks.completion_stream, openai.Stream):
            self._raw = chunks.completion_stream = self._passing(chunks.completion_stream)

    def at_the_end(self) -> litellm.Usage | None:
        """The usage, once the answer has finished; None where it is left to litellm."""
        with suppress(openai.OpenAIError, httpx.HTTPError):  # the answer is whole, whatever happens behind it
            deque(self._raw, maxlen=0)
        return self._usage

    def _passing(self, raw: Iterable[Any]) -> Iterator[Any]:
        for chunk in raw:
            if isinstance(chunk, ChatCompletionChunk) and chunk.usage:
                self._usage = litellm.Usage(**chunk.usage.model_dump())
            yield chunk


def assembled(
    model: str, chunks: Iterable[Any], raw: RawUsage, on_text: Callable[[str], None]
) -> tuple[Answer, Any]:
    """The answer that a stream of chunks amounts to, and the usage that the provider counted, if it did."""
    answer, usage, pieces = Answer(model), None, list[str]()
    for chunk in chunks:
        usage = getattr(chunk, "usage", None) or usage
        answer.model = named(model, chunk.model)
        for choice in chunk.choices[:1]:
            answer.finish = choice.finish_reason or answer.finish
            if choice.delta.content:
                pieces.append(choice.delta.content)
                on_text(choice.delta.content)
            add_tool_calls(answer.tool_calls, choice.delta.tool_calls or ())
        if answer.finish and (usage := usage or raw.at_the_end()):
            break
    answer.text = clean_text("".join(pieces))
    return answer, usage


def named(asked: str, answered: str | None) -> str:
    """The model that answered, with its provider."""
    provider = asked.partition("/")[0]
    if not answered:
        return asked
    return answered if answered.startswith(f"{provider}/") else f"{provider}/{answered}"


def add_tool_calls(calls: list[ToolCall], deltas: Iterable[Any]) -> None:
    for delta in deltas:
        if delta.index >= MAX_TOOL_CALLS:
            continue
        while len(calls) <= delta.index:
            calls.append(ToolCall())
        call = calls[delta.index]
        call.id = call.id or delta.id or ""
        call.name += delta.function.name or ""
        call.arguments += clean_text(delta.function.arguments or "")


def counted(entry: Model, request: Request, answer: Answer, usage: Any) -> Answer:
    """The answer with ids for its tool calls, tokens and cost."""
    for index, call in enumerate(answer.tool_calls):
        # CrewAI would make the id of an object's address, and the next request would differ from run to run.
        call.id = (
            call.id or f"call_{sha256(f'{index}:{call.name}:{call.arguments}'.encode()).hexdigest()[:16]}"
        )
    if usage:
        answer.prompt_tokens, answer.completion_tokens = usage.prompt_tokens, usage.completion_tokens
    else:
        answer.prompt_tokens = len(json.dumps(request.as_json())) // CHARACTERS_PER_TOKEN
        answer.completion_tokens = len(json.dumps(msgspec.to_builtins(answer))) // CHARACTERS_PER_TOKEN
    answer.cost_usd = cost_usd(entry, answer.prompt_tokens, answer.completion_tokens, usage)
    return answer
