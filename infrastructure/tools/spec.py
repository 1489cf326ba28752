"""What a tool is: a name, a description, a JSON Schema of its arguments, and a function that runs it.

Imported by every tool, by the seeds (which list tools in the catalogue) and by the adapter that hands tools
to CrewAI. Its one rule: nothing here or in a tool imports crewai or litellm, so that the control plane can
list tools.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import msgspec
from jsonschema import Draft202012Validator, ValidationError

from domain.definition import Json, JsonSchema
from domain.terms import UnknownOutcome

Arguments: TypeAlias = dict[str, Json]

MESSAGE_CHARACTERS = 300
"""A fault quotes what was sent; more of it than this helps nobody."""


class ToolError(Exception):
    """The tool can not do what was asked; the message is for the agent, which goes on with it."""


class OutcomeUnknown(ToolError):
    """The tool can not tell whether what was asked has happened: the answer was lost on its way."""


class ToolSettings(msgspec.Struct, frozen=True):
    """Where tools may reach.

    files_dir   the folder that `read_file` shows; None: it refuses every path
    http_allow  hosts that `http_get` may ask: `api.example.com`, `*.example.com`, `example.com:8443`, or `*`
                for every public one; () refuses every address
    http_post_allow  the same for `http_post`
    """

    files_dir: Path | None = None
    http_allow: tuple[str, ...] = ()
    http_post_allow: tuple[str, ...] = ()


class ToolContext(msgspec.Struct, frozen=True):
    """Told to a tool besides its arguments.

    call             the id of this call within its execution
    idempotency_key  of this call among all; the same when it is sent again
    """

    settings: ToolSettings
    call: str
    idempotency_key: str = ""


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One tool.

    parameters  JSON Schema (2020-12) of an object; null is never a value, it means "not given"
    idempotent  the same call twice does no more than once; the tool is given a key to see to that
    unknown_outcome  what becomes of a call that is not idempotent and may have happened
    run         returns text for the agent, or raises `ToolError`
    """

    name: str
    description: str
    parameters: JsonSchema
    run: Callable[[Arguments, ToolContext], str]
    idempotent: bool = True
    unknown_outcome: UnknownOutcome = "ask"

    def __call__(self, arguments: Arguments, context: ToolContext) -> str:
        """Check the arguments, then run. Raises `ToolError` naming the argument that is wrong."""
        given = {name: value for name, value in arguments.items() if value is not None}
        if faults := list(Draft202012Validator(self.parameters).iter_errors(given)):
            raise ToolError(f"{self.name}: " + "; ".join(map(fault_text, faults)))
        return self.run(given, context)


def fault_text(fault: ValidationError) -> str:
    """`expression: 7 is not of type 'string'`: the argument and what was expected of it."""
    message = fault.message
    if len(message) > MESSAGE_CHARACTERS:
        message = message[:MESSAGE_CHARACTERS] + "…"
    return f"{'.'.join(map(str, fault.absolute_path)) or 'arguments'}: {message}"
