"""This release's tools, as the catalogue lists them. Called by the composition root and by the seeds."""

from __future__ import annotations

from domain.catalog import Tool
from infrastructure.tools import discover


def catalog_tools() -> list[Tool]:
    """This release's tools, as the catalogue lists them."""
    return [
        Tool(
            name=tool.name,
            description=tool.description,
            parameters=tool.parameters,
            idempotent=tool.idempotent,
        )
        for tool in discover().values()
    ]
