"""Running one tool as a runner does: arguments checked against its schema, then run."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrastructure.tools import ToolContext, ToolError, ToolSettings, ToolSpec, discover

TOOLS = discover()


def run(
    tool: str | ToolSpec,
    /,
    *,
    files_dir: Path | None = None,
    http_allow: tuple[str, ...] = (),
    http_post_allow: tuple[str, ...] = (),
    **arguments: object,
) -> str:
    """The tool's answer. Raises `ToolError`."""
    spec = TOOLS[tool] if isinstance(tool, str) else tool
    settings = ToolSettings(files_dir, http_allow, http_post_allow)
    return spec(arguments, ToolContext(settings, call="t:tool:0:1", idempotency_key="key-1"))


def refused(tool: str | ToolSpec, /, *, because: str, **options: object) -> None:
    """The tool refuses, and says why to the agent."""
    with pytest.raises(ToolError) as raised:
        run(tool, **options)  # type: ignore[arg-type]
    assert because in str(raised.value)
