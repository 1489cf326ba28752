from __future__ import annotations

import subprocess
import sys

import msgspec
from jsonschema import Draft202012Validator

from domain.catalog import Tool
from infrastructure.tools import discover
from tests.infrastructure.tools.running import refused


def test_the_first_tools_are_there() -> None:
    assert set(discover()) == {"calculator", "text_query", "json_query", "read_file", "http_get", "http_post"}


def test_listing_tools_loads_neither_crewai_nor_litellm_nor_what_comes_with_them() -> None:
    program = (
        "import sys; from infrastructure.tools import discover; discover(); "
        "print(sorted({'crewai', 'litellm', 'regex', 'pydantic', 'openai'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_every_tool_can_be_planted_in_the_catalogue() -> None:
    for tool in discover().values():
        Draft202012Validator.check_schema(tool.parameters)
        entry = {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
            "kind": "tools",
        }
        msgspec.convert(entry, Tool)


def test_a_wrong_argument_is_named() -> None:
    refused("calculator", expression=7, because="expression: 7 is not of type 'string'")
    refused("calculator", because="'expression' is a required property")
    refused("calculator", expression="1", precision=3, because="'precision' was unexpected")
    refused(
        "text_query", text="a", pattern="a", limit=1000, because="limit: 1000 is greater than the maximum"
    )


def test_what_a_wrong_argument_quotes_is_short() -> None:
    refused("calculator", expression="1+" * 5000, because="…")
