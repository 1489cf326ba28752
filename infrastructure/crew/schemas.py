"""JSON Schema to pydantic: CrewAI wants a model class for a task's structured output.

Called by `building`. Its one rule: the JSON Schema is the judge (jsonschema validates, CrewAI sees it as it
is); pydantic only carries the instance.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from domain.definition import JsonSchema
from infrastructure.tools.spec import fault_text

MAX_FAULTS = 5
DOCUMENT = re.compile(r"\{.*\}", re.DOTALL)


def output_model(name: str, schema: JsonSchema) -> type[BaseModel]:
    """A class whose instances are the objects that are valid under the schema."""
    validator = Draft202012Validator(schema)

    class Output(BaseModel):
        model_config = ConfigDict(extra="allow")

        @model_validator(mode="before")
        @classmethod
        def is_instance(cls, value: Any) -> Any:
            if faults := list(validator.iter_errors(value)):
                raise ValueError("; ".join(fault_text(fault) for fault in faults[:MAX_FAULTS]))
            return value

        @classmethod
        def __get_pydantic_json_schema__(cls, *_: Any) -> dict[str, Any]:
            return dict(schema)

    Output.__name__ = Output.__qualname__ = name
    return Output


def instance_in(text: str, model: type[BaseModel]) -> BaseModel:
    """The instance that a model's answer holds, whatever words stand around it. Raises `ValueError`.

    pydantic's `ValidationError` is one; `faults_of` says what is wrong.
    """
    document = DOCUMENT.search(text)
    try:
        value = json.loads(document[0] if document else text, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("the document is nested too deeply") from error
    return model.model_validate(value)


def refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def faults_of(error: ValueError) -> str:
    """What a person or a model can make of it."""
    known = error.errors(include_url=False, include_input=False) if isinstance(error, ValidationError) else ()
    return "; ".join(fault["msg"] for fault in known) or str(error)


def as_instance(text: str, model: type[BaseModel], error: ValueError) -> list[dict[str, Any]]:
    """The messages that ask for an instance of what a text says."""
    schema = json.dumps(model.model_json_schema(), ensure_ascii=False)
    ask = (
        f"Say the text below as one JSON document that is valid under this JSON Schema: {schema}\n"
        f"Keep its meaning; add nothing. It is not valid as it is: {faults_of(error)[:1_000]}\n\n{text}"
    )
    return [{"role": "user", "content": ask}]
