"""What an answer has to pass: checks that need no model, and a rule in words that a model judges.

Called by `ReportedTask`, on a worker thread. Its one rule: the same answer is judged the same way whenever
the crew runs again: the checks depend on nothing but the text, the model's verdict is a journaled call.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from domain.definition import Guardrail, JsonSchema
from infrastructure.crew.schemas import faults_of, instance_in, output_model
from infrastructure.llm.reported import ReportedModel
from infrastructure.tools.spec import ToolError
from infrastructure.tools.text_query import refuse_large_repeats, regex_spans

VERDICT = output_model(
    "Verdict",
    {
        "type": "object",
        "properties": {"valid": {"type": "boolean"}, "feedback": {"type": "string"}},
        "required": ["valid"],
    },
)


def objection(guardrail: Guardrail, schema: JsonSchema | None, text: str, judge: ReportedModel) -> str:
    """What is wrong with an answer, for the agent that gave it; "" when nothing is.

    schema  that the guardrail names. The model is asked only when all else is right.
    """
    found = "; ".join(plain_objections(guardrail, schema, text))
    return found or (verdict(guardrail.description, text, judge) if guardrail.description else "")


def plain_objections(guardrail: Guardrail, schema: JsonSchema | None, text: str) -> Iterator[str]:
    words = len(text.split())
    if guardrail.min_words and words < guardrail.min_words:
        yield f"it has {words} words; expected at least {guardrail.min_words}"
    if guardrail.max_words and words > guardrail.max_words:
        yield f"it has {words} words; expected at most {guardrail.max_words}"
    if guardrail.matches and (fault := mismatch(text, guardrail.matches)):
        yield fault
    if schema is not None:
        try:
            instance_in(text, output_model(str(guardrail.schema), schema))
        except ValueError as error:
            yield f"it is not JSON that is valid under {guardrail.schema}: {faults_of(error)[:1_000]}"


def mismatch(text: str, pattern: str) -> str:
    try:
        refuse_large_repeats(pattern)
        is_found = next(regex_spans(text, pattern), None) is not None
    except ToolError as error:
        return f"the pattern {pattern!r} can not be searched for: {error}"
    return "" if is_found else f"it does not match the pattern {pattern}"


def verdict(rule: str, text: str, judge: ReportedModel) -> str:
    answer: Any = judge.call(question(rule, text), response_model=VERDICT)
    if answer.valid:
        return ""
    return getattr(answer, "feedback", "") or f"it does not comply with: {rule}"


def question(rule: str, text: str) -> list[dict[str, Any]]:
    schema = json.dumps(VERDICT.model_json_schema())
    ask = (
        "Judge whether the result of a task complies with a rule. Say what is wrong if it does not, and "
        f"by how much; propose no correction.\n\nRule:\n{rule}\n\nResult of the task:\n{text}\n\n"
        f"Answer with one JSON document that is valid under this JSON Schema: {schema}"
    )
    return [{"role": "user", "content": ask}]
