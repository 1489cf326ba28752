"""What is known of a model without asking anybody: the catalogue's entry first, then litellm's offline map.

Called by `ReportedModel` and `sending`. Its one rule: a model that nobody knows is taken for an ordinary one
of its provider, and works.
"""

from __future__ import annotations

from typing import Any

import litellm

from domain.catalog import Model

DEFAULT_CONTEXT_WINDOW = 8_192
TEXT_TOOLS_PROVIDERS = frozenset({"ollama", "ollama_chat"})
"""Their unmapped models often can not call tools; CrewAI describes tools to these in the prompt."""


def known_provider(model: str) -> bool:
    """Whether litellm knows whom to ask for a model of this name."""
    return model.partition("/")[0] in litellm.provider_list


def mapped(model: str) -> dict[str, Any]:
    """litellm's entry for a model; {} when it has none."""
    provider, _, name = model.partition("/")
    entry = litellm.model_cost.get(model) or litellm.model_cost.get(name) or {}
    return entry if str(entry.get("litellm_provider", "")).startswith(provider) else {}


def calls_tools(model: str) -> bool:
    """Whether tools are offered to the model natively."""
    if entry := mapped(model):
        return bool(entry.get("supports_function_calling"))
    return model.partition("/")[0] not in TEXT_TOOLS_PROVIDERS


def follows_schema(model: str) -> bool:
    """Whether the provider holds an answer to a JSON Schema; the prompt asks for it in any case."""
    if entry := mapped(model):
        return bool(entry.get("supports_response_schema"))
    return model.partition("/")[0] not in TEXT_TOOLS_PROVIDERS


def context_window(entry: Model) -> int:
    """In tokens, of prompt and answer together."""
    if entry.context_window is not None:
        return entry.context_window
    known = mapped(entry.name)
    return int(known.get("max_input_tokens") or known.get("max_tokens") or DEFAULT_CONTEXT_WINDOW)


def cost_usd(entry: Model, prompt_tokens: int, completion_tokens: int, usage: Any) -> float:
    """By the catalogue's prices where it has them, else by litellm's offline map, else 0."""
    if entry.input_cost_per_token is not None and entry.output_cost_per_token is not None:
        return prompt_tokens * entry.input_cost_per_token + completion_tokens * entry.output_cost_per_token
    if not mapped(entry.name):
        return 0.0
    costs = litellm.cost_per_token(
        model=entry.name, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, usage_object=usage
    )
    return float(sum(costs))
