"""What a model call can come to, before it is made: what a budget reserves for it.

Called by `ReportedModel`. Its one rule: rather too much than too little; what was too much is given back when
the provider has counted.
"""

from __future__ import annotations

import litellm

from domain.catalog import Model
from domain.definition import Json
from domain.execution import Estimate
from infrastructure.crew.contents import canonical
from infrastructure.llm.capabilities import mapped

BYTES_PER_TOKEN = 3
"""Of a request as JSON. Plain English has four or five, what stands closer (digits, other scripts) three."""

ANSWER_TOKENS = 4_096
"""Of an answer at most, where a budget has to be held and the catalogue's entry names no `max_tokens`."""


def answer_tokens(entry: Model) -> int:
    """The longest answer: by the catalogue's entry, else what the model gives, up to `ANSWER_TOKENS`."""
    known = mapped(entry.name).get("max_output_tokens")
    return entry.max_tokens or min(ANSWER_TOKENS, int(known or ANSWER_TOKENS))


def estimate_of(entry: Model, request: dict[str, Json]) -> Estimate:
    """Of a request as it is sent."""
    prompt = len(canonical(request).encode(errors="replace")) // BYTES_PER_TOKEN + 1
    answer = answer_tokens(entry)
    return Estimate(prompt + answer, price(entry, prompt, answer))


def price(entry: Model, prompt_tokens: int, completion_tokens: int) -> float | None:
    """USD; None where neither the catalogue's entry nor litellm's offline map has a price."""
    if entry.input_cost_per_token is not None and entry.output_cost_per_token is not None:
        return prompt_tokens * entry.input_cost_per_token + completion_tokens * entry.output_cost_per_token
    if not mapped(entry.name):
        return None
    costs = litellm.cost_per_token(
        model=entry.name, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens
    )
    return float(sum(costs))
