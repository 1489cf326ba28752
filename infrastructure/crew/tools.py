"""Our tools as CrewAI's: every call of one is reported, with its arguments and what it answered.

Made by `building`, one for each tool of a task. Its one rule: a tool's failure is an answer to the agent,
never the end of the step.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

from crewai.tools import BaseTool
from crewai.utilities.pydantic_schema_utils import create_model_from_schema
from pydantic import BaseModel, PrivateAttr

from application.contents import MAX_CONTENT_BYTES
from domain.definition import Json
from domain.execution import Failure, ToolCallCompleted, ToolCallFailed, ToolCallStarted
from infrastructure.crew.contents import clean_text, content_of, json_content, too_large
from infrastructure.crew.lanes import CallFailed, Lane, Unclear
from infrastructure.tools import (
    OutcomeUnknown,
    ToolContext,
    ToolError,
    ToolSettings,
    ToolSpec,
    UnknownOutcome,
    discover,
)

MAX_MESSAGE_CHARACTERS = 2_000


class ReportedTool(BaseTool):  # type: ignore[misc]
    """CrewAI's interface to a tool, for one lane."""

    _spec: ToolSpec = PrivateAttr()
    _lane: Lane = PrivateAttr()
    _settings: ToolSettings = PrivateAttr()
    _if_unknown: UnknownOutcome = PrivateAttr(default="ask")

    @classmethod
    def of(
        cls, spec: ToolSpec, lane: Lane, settings: ToolSettings, if_unknown: UnknownOutcome
    ) -> ReportedTool:
        arguments = args_schema(spec.name)
        tool: ReportedTool = cls(name=spec.name, description=spec.description, args_schema=arguments)
        tool._spec, tool._lane, tool._settings, tool._if_unknown = spec, lane, settings, if_unknown
        return tool

    def _validate_kwargs(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The tool checks its arguments itself, against its own JSON Schema, within its report."""
        return kwargs

    def _run(self, **arguments: Any) -> str:
        try:
            return self._call({name: value for name, value in arguments.items() if value is not None})
        except CallFailed as error:
            return f"Error: {error.failure.message}"

    def _call(self, arguments: dict[str, Json]) -> str:
        lane, name = self._lane, self._spec.name
        at = {**lane.at, "tool": name}
        given = json_content(arguments)
        return lane.call(
            "tool",
            {"tool": name, "arguments": arguments},
            recall=lambda known: cast("ToolCallCompleted", known).result.text,
            started=lambda call: ToolCallStarted(**at, call=call, arguments=given, agent=lane.agent),
            act=lambda call: self._act(call, arguments),
            completed=lambda call, text, ms: ToolCallCompleted(
                **at, call=call, result=content_of(text), duration_ms=ms
            ),
            failed=lambda call, failure, ms: ToolCallFailed(**at, call=call, failure=failure, duration_ms=ms),
            if_unknown=self._if_unknown,
        )

    def _act(self, call: str, arguments: dict[str, Json]) -> str:
        try:
            result = clean_text(self._spec(arguments, self._context(call)))
        except OutcomeUnknown as error:
            if self._if_unknown != "resend":
                raise Unclear from error
            raise CallFailed(Failure("tool_failed", said(error), self._lane.task)) from error
        except ToolError as error:
            raise CallFailed(Failure("tool_failed", said(error), self._lane.task)) from error
        except Exception as error:
            message = f"{self._spec.name} raised {type(error).__name__}"
            raise CallFailed(Failure("tool_broken", message, self._lane.task)) from error
        if too_large(result):
            message = f"{self._spec.name} answered more than {MAX_CONTENT_BYTES} bytes"
            raise CallFailed(Failure("result_too_large", message, self._lane.task))
        return result

    def _context(self, call: str) -> ToolContext:
        return ToolContext(self._settings, call, self._lane.run.questions.key(call))


def said(error: ToolError) -> str:
    return clean_text(str(error))[:MAX_MESSAGE_CHARACTERS]


@cache
def args_schema(tool: str) -> type[BaseModel]:
    """The arguments as CrewAI describes them to models that can not call tools natively."""
    return create_model_from_schema(dict(discover()[tool].parameters), model_name=f"{tool}_arguments")  # type: ignore[no-any-return]
