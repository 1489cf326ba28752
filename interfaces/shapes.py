"""JSON Schemas of our types, described in the same words whatever Python runs.

Called by whoever documents them: OpenAPI, AsyncAPI, the catalogue of events. Its one rule: Python 3.13 takes
the indentation out of docstrings, and earlier ones do not; here it is always taken out.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import msgspec

Json = dict[str, Any]


def schema_components(types: Iterable[Any], ref_template: str) -> tuple[tuple[Json, ...], dict[str, Json]]:
    """As `msgspec.json.schema_components`: a schema for each type, and the shared ones by name."""
    found, components = msgspec.json.schema_components(types, ref_template=ref_template)
    for schema in components.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    return found, components
