"""Bounds on what executions spend, as a document writes them.

Part of `domain.definition`; held by `domain.execution.rules.budgets`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

import msgspec

Usd = Annotated[float, msgspec.Meta(gt=0, le=1_000_000)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000_000)]
Seconds = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]


class Budget(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, dict=True
):
    """What may be spent; null: without bound.

    budget_usd                        on model calls
    max_tokens                        of prompts and answers together
    max_model_calls, max_tool_calls   begun; a call that is tried again is another one
    """

    budget_usd: Usd | None = None
    max_tokens: Count | None = None
    max_model_calls: Count | None = None
    max_tool_calls: Count | None = None

    @property
    def bounds_answers(self) -> bool:
        """Whether the length of a model's answer has to be bounded, so that its cost is."""
        return self.budget_usd is not None or self.max_tokens is not None

    @cached_property
    def is_unbounded(self) -> bool:
        return not any(getattr(self, name) is not None for name in self.__struct_fields__)


class DayBudget(Budget, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all executions of a workflow may spend together on a day (UTC).

    max_running_s  how long they may be RUNNING, added up, in seconds; what they are pending, wait or are
                   paused does not count
    """

    max_running_s: Seconds | None = None
