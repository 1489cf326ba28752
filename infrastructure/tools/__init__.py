"""The tools that agents can use: one tool a file, each with a `TOOL`; dropping a file in adds a tool.

`discover` is called by the seeds, which list tools in the catalogue, and by runners, which run them.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from domain.terms import UnknownOutcome
from infrastructure.tools.spec import (
    OutcomeUnknown,
    ToolContext,
    ToolError,
    ToolSettings,
    ToolSpec,
)

__all__ = [
    "OutcomeUnknown",
    "ToolContext",
    "ToolError",
    "ToolSettings",
    "ToolSpec",
    "UnknownOutcome",
    "discover",
]


def discover() -> dict[str, ToolSpec]:
    """Every tool of this folder, by name."""
    modules = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
    found = [module.TOOL for module in modules if isinstance(getattr(module, "TOOL", None), ToolSpec)]
    return {tool.name: tool for tool in found}
