"""The words that a document and its parts are made of: names, texts, JSON.

Imported by `definition`, `steps` and `catalog`. Its one rule: a bound that a person may meet stands here.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

import msgspec

Json = Annotated[object, msgspec.Meta(description="any JSON value", extra_json_schema={})]
"""Any JSON value, decoded."""

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]
EntityId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
Title = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=20_000)]
ModelName = Annotated[
    str,
    msgspec.Meta(pattern=r"^[a-z0-9_]+/[^\s\x00]{1,190}$", description="provider/model, as litellm has it"),
]
Line = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
JsonSchema = dict[str, Json]
CallsPerMinute = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
Priority = Annotated[int, msgspec.Meta(ge=0, le=9)]
UnknownOutcome = Literal["ask", "resend", "fail"]
"""What becomes of a tool call that may have happened: a person is asked, it is sent again, the step fails."""

Condition = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=1_000, description="an expression; see docs/workflows.md"),
]

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with its zone."""

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}")
"""`{ticket}` in a prompt stands for the input of that name (CrewAI's own pattern)."""
