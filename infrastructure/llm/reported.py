"""The model that CrewAI's agents talk to: every call of it is reported, and goes out through litellm.

Made by `infrastructure.crew.building`, one for each task, so that it knows the task's lane. Its one rule:
what a provider is asked and what it answered is in the log before CrewAI goes on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec
from crewai import BaseLLM
from crewai.utilities.exceptions.context_window_exceeding_exception import LLMContextLengthExceededError
from pydantic import BaseModel, PrivateAttr

from application.contents import MAX_CONTENT_BYTES
from domain.catalog import Model
from domain.definition import Json, JsonSchema
from domain.execution import Failure, ModelCallCompleted, ModelCallFailed, ModelCallStarted
from infrastructure.crew.contents import content_of, json_content, too_large
from infrastructure.crew.lanes import CallFailed, GaveUp, Lane
from infrastructure.crew.rates import RateLimit
from infrastructure.crew.schemas import faults_of, instance_in
from infrastructure.llm.capabilities import calls_tools, context_window, follows_schema
from infrastructure.llm.estimates import answer_tokens, estimate_of
from infrastructure.llm.sending import CHARACTERS_PER_TOKEN, Answer, Request, ToolCall, send

ATTEMPTS = 4
"""How often a call is sent while its failures are transient."""

SCHEMA_ATTEMPTS = 3
"""How often an answer that is no instance of its schema is asked for, the fault named each time."""

USABLE_WINDOW = 0.85
"""Of the context window: CrewAI shortens a conversation that is longer, and so leaves room for the answer."""


class ContextWindowExceeded(LLMContextLengthExceededError):  # type: ignore[misc]
    """CrewAI knows what to do: it summarises the conversation and calls again."""

    def __init__(self, failure: Failure) -> None:
        super().__init__("context_length_exceeded")
        self.failure = failure


class ToolsUnsupported(Exception):
    """CrewAI knows what to do: it describes the tools in the prompt and calls again."""

    def __init__(self, failure: Failure) -> None:
        super().__init__("model does not support tools")
        self.failure = failure


class ReportedModel(BaseLLM):  # type: ignore[misc]
    """CrewAI's interface to a model, for one lane."""

    _lane: Lane = PrivateAttr()
    _entry: Model = PrivateAttr()
    _parameters: dict[str, JsonSchema] = PrivateAttr()
    _retry_delay_s: float = PrivateAttr()
    _former: Sequence[Model] = PrivateAttr(default=())
    _rates: tuple[RateLimit, ...] = PrivateAttr(default=())
    _is_bounded: bool = PrivateAttr(default=False)

    @classmethod
    def of(
        cls,
        entry: Model,
        lane: Lane,
        parameters: dict[str, JsonSchema],
        retry_delay_s: float,
        former: Sequence[Model] = (),
        rates: tuple[RateLimit, ...] = (),
        *,
        is_bounded: bool = False,
    ) -> ReportedModel:
        """parameters: of each tool by name; CrewAI's own rendering of them loses half of a JSON Schema.

        former: models whose answers count as this one's, in the past of a fork. rates: that calls keep to.
        is_bounded: a budget has to be held, so that answers are bounded too.
        """
        model: ReportedModel = cls(model=entry.name)
        model._lane, model._entry, model._parameters = lane, entry, parameters
        model._retry_delay_s, model._former, model._rates = retry_delay_s, former, rates
        model._is_bounded = is_bounded
        return model

    def call(
        self,
        messages: str | list[dict[str, Any]],
        tools: list[dict[str, Any]] | None = None,
        callbacks: object = None,
        available_functions: object = None,
        from_task: object = None,
        from_agent: object = None,
        response_model: type[BaseModel] | None = None,
    ) -> object:
        """Text, a list of tool calls (OpenAI's dicts), or an instance of `response_model`."""
        request = self._request(self._format_messages(messages), tools or (), response_model)
        if response_model is not None:
            return self._instance(request, response_model)
        answer = self._answer(request)
        return [call.as_openai() for call in answer.tool_calls] or answer.text

    async def acall(self, *args: Any, **kwargs: Any) -> object:
        """The same on a thread, whatever event loop asks."""
        return await asyncio.to_thread(self.call, *args, **kwargs)

    def _request(
        self, messages: list[dict[str, Any]], tools: Iterable[dict[str, Any]], schema: type[BaseModel] | None
    ) -> Request:
        return Request(
            model=self._entry.name,
            messages=messages,
            tools=[self._offered(tool["function"]) for tool in tools],
            response_format=response_format(schema) if schema and follows_schema(self._entry.name) else None,
            stop=[] if tools else sorted(self.stop_sequences),
            temperature=self._entry.temperature,
            max_tokens=self._answer_tokens(self._entry),
        )

    def _answer_tokens(self, entry: Model) -> int | None:
        """The longest answer that is asked for; None: the provider's own bound."""
        return answer_tokens(entry) if self._is_bounded else entry.max_tokens

    def _asked_of(self, model: Model, request: Request) -> dict[str, Json]:
        """The request as it is when another model is asked."""
        longest = self._answer_tokens(model)
        settings = {"model": model.name, "temperature": model.temperature, "max_tokens": longest}
        return msgspec.structs.replace(request, **settings).as_json()

    def _offered(self, function: dict[str, Any]) -> dict[str, Json]:
        """A tool as the model sees it: our own schema where the tool is ours, and no promise to follow it."""
        parameters = self._parameters.get(function["name"], function["parameters"])
        function = {name: function[name] for name in ("name", "description")}
        return {"type": "function", "function": {**function, "parameters": parameters}}

    def _instance(self, request: Request, model: type[BaseModel]) -> BaseModel:
        """An instance of the schema; one that is wrong is asked for again with its fault."""
        for _ in range(SCHEMA_ATTEMPTS):
            text = self._answer(request).text
            try:
                return instance_in(text, model)
            except ValueError as error:
                request = corrected(request, text, error)
        message = f"{self.model}: no answer was an instance of schema {model.__name__!r}"
        raise GaveUp(Failure("output_invalid", message, self._lane.task))

    def _answer(self, request: Request) -> Answer:
        """The answer to one request, asked for again while failures are transient."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._send(request)
            except CallFailed as error:
                if not error.is_transient or attempt == ATTEMPTS:
                    raise self._final(error.failure) from error
                self._lane.run.pause(max(error.retry_after_s, self._retry_delay_s * 2 ** (attempt - 1)))
            else:
                return self._counted(answer)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _send(self, request: Request) -> Answer:
        """One call, with its reports."""
        lane, name = self._lane, self._entry.name
        at = lane.at
        asked = json_content(request.messages)
        if too_large(asked.text):
            message = f"{name}: the conversation is beyond the bound of {MAX_CONTENT_BYTES} bytes"
            raise GaveUp(Failure("request_too_large", message, lane.task))
        whole = request.as_json()
        return lane.call(
            "model",
            whole,
            recall=lambda known: recalled(cast("ModelCallCompleted", known)),
            started=lambda call: ModelCallStarted(
                **at,
                call=call,
                model=name,
                request=asked,
                agent=lane.agent,
                estimate=estimate_of(self._entry, whole),
            ),
            act=lambda call: self._act(call, request),
            completed=lambda call, answer, ms: ModelCallCompleted(
                **at,
                call=call,
                model=answer.model,
                response=response_content(answer),
                prompt_tokens=answer.prompt_tokens,
                completion_tokens=answer.completion_tokens,
                cost_usd=answer.cost_usd,
                duration_ms=ms,
                asks_for_tools=bool(answer.tool_calls),
            ),
            failed=lambda call, failure, ms: ModelCallFailed(
                **at, call=call, failure=failure, duration_ms=ms
            ),
            former=(self._asked_of(model, request) for model in self._former),
        )

    def _act(self, call: str, request: Request) -> Answer:
        lane = self._lane
        for rate in self._rates:
            rate.take(lane.run.pause)
        answer = send(self._entry, request, lambda text: lane.run.tokens(call, text))
        if too_large(answer.text):
            message = f"{self.model}: the answer is beyond the bound of {MAX_CONTENT_BYTES} bytes"
            raise CallFailed(Failure("answer_too_large", message))
        return answer

    def _counted(self, answer: Answer) -> Answer:
        self._track_token_usage_internal(
            {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
        )
        if not answer.tool_calls and not answer.text.strip():
            reason = f" (finish reason: {answer.finish})" if answer.finish else ""
            raise GaveUp(
                Failure("empty_answer", f"{self.model}: the answer is empty{reason}", self._lane.task)
            )
        return answer

    def _final(self, failure: Failure) -> BaseException:
        """What CrewAI can mend by itself is an Exception; all else ends the step."""
        match failure.code:
            case "context_window":
                return ContextWindowExceeded(failure)
            case "tools_unsupported":
                return ToolsUnsupported(failure)
            case _:
                return GaveUp(msgspec.structs.replace(failure, task=self._lane.task))

    def supports_function_calling(self) -> bool:
        return calls_tools(self._entry.name)

    def supports_stop_words(self) -> bool:
        return True

    def get_context_window_size(self) -> int:
        return int(context_window(self._entry) * USABLE_WINDOW)

    def get_input_tokens_count(self, messages: Any, tools: Any = None, response_model: Any = None) -> int:
        """Four characters a token: CrewAI asks before every call, and a tokenizer would only cost time."""
        return len(json.dumps([messages, tools], ensure_ascii=False, default=str)) // CHARACTERS_PER_TOKEN


def response_format(schema: type[BaseModel]) -> dict[str, Json]:
    described = {"name": schema.__name__, "schema": schema.model_json_schema(), "strict": False}
    return {"type": "json_schema", "json_schema": described}


def corrected(request: Request, text: str, error: ValueError) -> Request:
    """The conversation so far, the answer, and what is wrong with it."""
    ask = (
        f"That is not what the schema asks for: {faults_of(error)[:1_000]}\nAnswer with the whole JSON only."
    )
    said: list[dict[str, Json]] = [
        {"role": "assistant", "content": text or "(nothing)"},
        {"role": "user", "content": ask},
    ]
    return msgspec.structs.replace(request, messages=[*request.messages, *said])


def response_content(answer: Answer) -> Any:
    """The text, or the tool calls as JSON."""
    if not answer.tool_calls:
        return content_of(answer.text)
    return json_content([call.as_openai() for call in answer.tool_calls])


def recalled(known: ModelCallCompleted) -> Answer:
    """The answer of an earlier attempt, from its event."""
    calls = json.loads(known.response.text) if known.asks_for_tools else []
    return Answer(
        model=known.model,
        text="" if known.asks_for_tools else known.response.text,
        tool_calls=[ToolCall(id=call["id"], **call["function"]) for call in calls],
        prompt_tokens=known.prompt_tokens,
        completion_tokens=known.completion_tokens,
        cost_usd=known.cost_usd,
    )
