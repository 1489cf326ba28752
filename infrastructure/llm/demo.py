"""The built-in `demo/` provider: answers without a network and without a key, always the same to the same
request.

Installed by the engine; a litellm custom provider, so that a demo goes the way of every other model. It
writes a short text about the task, calls the agent's tools (at most two) before it answers, and gives an
instance of a schema where one is asked for. Its one rule: nothing in an answer depends on time, chance or
earlier requests.

Its price is made up, about that of a small hosted model, so that a demo has costs to show: $0.15 per million
tokens in, $0.60 out. Tokens are counted as four characters each.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import litellm
from litellm.types.utils import GenericStreamingChunk
from litellm.utils import custom_llm_setup

from domain.definition import Json
from infrastructure.llm.demo_prompts import Prompt, understood
from infrastructure.llm.demo_values import instance_of

PROVIDER = "demo"
MAX_PIECES = 60
MAX_TOOL_CALLS = 2
CHARACTERS_PER_TOKEN = 4
PRICES: dict[str, Json] = {
    "litellm_provider": PROVIDER,
    "mode": "chat",
    "input_cost_per_token": 1.5e-7,
    "output_cost_per_token": 6e-7,
    "cache_creation_input_token_cost": 0.0,
    "cache_read_input_token_cost": 0.0,
    "max_input_tokens": 16_000,
    "supports_function_calling": True,
    "supports_response_schema": True,
}


def install(delay_s: float) -> None:
    """Make `demo/<any name>` known to litellm. delay_s: between two pieces of an answer, for a live view."""
    others = [entry for entry in litellm.custom_provider_map if entry["provider"] != PROVIDER]
    litellm.custom_provider_map = [*others, {"provider": PROVIDER, "custom_handler": DemoModel(delay_s)}]
    custom_llm_setup()
    price("small")


def price(model: str) -> None:
    """Every demo model costs the same."""
    if f"{PROVIDER}/{model}" not in litellm.model_cost:
        litellm.register_model({f"{PROVIDER}/{model}": PRICES})


class DemoModel(litellm.CustomLLM):  # type: ignore[misc]
    """litellm's interface to a provider of one's own; only streams, as `sending` asks for nothing else."""

    def __init__(self, delay_s: float) -> None:
        super().__init__()
        self._delay_s = delay_s

    def streaming(
        self, model: str, messages: list[dict[str, Any]], optional_params: dict[str, Any], **_: Any
    ) -> Iterator[GenericStreamingChunk]:
        price(model)
        prompt = understood(messages, optional_params)
        asked = tokens(json.dumps([messages, optional_params], sort_keys=True, default=str))
        if (turn := len(prompt.results)) < min(len(prompt.tools), MAX_TOOL_CALLS):
            yield tool_call(prompt, turn, asked)
            return
        yield from self._pieces(written(prompt), asked)

    def _pieces(self, text: str, asked: int) -> Iterator[GenericStreamingChunk]:
        words = text.split(" ")
        size = max(3, -(-len(words) // MAX_PIECES))
        for start in range(0, len(words), size):
            time.sleep(self._delay_s)
            yield chunk(" ".join(words[start : start + size]) + (" " if start + size < len(words) else ""))
        yield chunk("", finish="stop", usage=usage(asked, tokens(text)))


def tool_call(prompt: Prompt, turn: int, asked: int) -> GenericStreamingChunk:
    """A call of the next tool, its arguments made of the prompt's words."""
    tool = prompt.tools[turn]
    arguments = json.dumps(instance_of(tool["parameters"], prompt))
    name = sha256(f"{turn}:{prompt.text}".encode(errors="replace")).hexdigest()[:12]
    call = {"id": f"call_{name}", "type": "function", "index": 0}
    call["function"] = {"name": tool["name"], "arguments": arguments}
    return chunk("", tool_use=call, finish="tool_calls", usage=usage(asked, tokens(arguments)))


def chunk(text: str, *, tool_use: Any = None, finish: str = "", usage: Any = None) -> GenericStreamingChunk:
    return {
        "text": text,
        "tool_use": tool_use,
        "is_finished": bool(finish),
        "finish_reason": finish,
        "usage": usage,
        "index": 0,
    }


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    total = prompt_tokens + completion_tokens
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}


def tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


OPENINGS = (
    "{subject} begins with {first}: who looks closely finds that {second} follows from it.",
    "Three things stand out about this: {first}, {second} and {third}. Each of them is taken up below.",
    "Seen from the work of {role}, {first} matters most here, and {second} right after it.",
)
POINTS = (
    "**{word}**: what is known is enough to act on, and what is not known is named.",
    "**{word}**: small steps, each of which can be checked, beat one large promise.",
    "**{word}**: the people who work with it every day decide whether it lasts.",
    "**{word}**: the cost of waiting is higher than the cost of a careful start.",
)


def written(prompt: Prompt) -> str:
    """The demo model's whole answer."""
    if prompt.schema is not None:
        return json.dumps(instance_of(prompt.schema, prompt), ensure_ascii=False)
    words = [prompt.keywords[i % len(prompt.keywords)] for i in range(3)]
    opening = OPENINGS[prompt.digest % len(OPENINGS)].format(
        subject=prompt.subject, role=prompt.role, first=words[0], second=words[1], third=words[2]
    )
    points = [
        POINTS[(prompt.digest + i) % len(POINTS)].format(word=word)
        for i, word in enumerate(dict.fromkeys(words))
    ]
    parts = [f"# {prompt.subject}", opening, *sources(prompt), "\n".join(f"- {point}" for point in points)]
    asked = [f"Asked for was: {prompt.expected}"] if prompt.expected else []
    return "\n\n".join([*parts, *asked, f"— {prompt.role}"])


def sources(prompt: Prompt) -> list[str]:
    """What the text rests on: earlier work, and what tools have answered."""
    built = [f"This builds on what came before: “{excerpt(prompt.context, 160)}”"] if prompt.context else []
    return [*built, *(f"The tool {name} answered: {excerpt(text, 200)}" for name, text in prompt.results)]


def excerpt(text: str, length: int) -> str:
    """The beginning of a text on one line, without its headline marks."""
    line = " ".join(text.replace("#", " ").split())
    return line if len(line) <= length else line[:length].rsplit(" ", 1)[0] + " …"
