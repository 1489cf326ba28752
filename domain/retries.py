"""What a document says of failures: which of them are tried again, how often, and after how long.

Part of the workflow document. Its one rule: a code that no step can fail with is refused by name.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

FailureCode: TypeAlias = Literal[
    "answer_too_large",
    "auth",
    "bad_request",
    "content_lost",
    "content_policy",
    "context_window",
    "crew_error",
    "empty_answer",
    "engine_failed",
    "guardrail_failed",
    "model_not_found",
    "no_model",
    "output_invalid",
    "output_too_large",
    "quota_exceeded",
    "rate_limited",
    "request_too_large",
    "result_too_large",
    "task_timeout",
    "timeout",
    "tools_unsupported",
    "unavailable",
    "unknown_provider",
    "unknown_schema",
    "unknown_tool",
]
"""Why a step can fail; what a runner reports beside these is never tried again."""

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A step that failed begins again; what is recorded is not done again.

    max_attempts  how often it may fail before the execution does, 1..20; 1: never begin again
    initial_s     the pause before the second attempt; factor: how much longer each next one is
    max_s         the longest pause
    on            the failures that are tried again
    """

    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=20)] = 2
    initial_s: Seconds = 1.0
    factor: Annotated[float, msgspec.Meta(ge=1, le=10)] = 2.0
    max_s: Seconds = 60.0
    on: Annotated[tuple[FailureCode, ...], msgspec.Meta(max_length=50)] = ("crew_error",)

    def delay_s(self, failures: int) -> float | None:
        """The pause after so many failures; None when there is no further attempt."""
        if failures >= self.max_attempts:
            return None
        return min(self.max_s, self.initial_s * self.factor ** (failures - 1))
