"""The runner's world for tests: CrewAI imported once, in its own folder; a scripted model; a reporter in
memory.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from infrastructure.llm.environment import prepare
from infrastructure.tools import ToolSettings
from tests.infrastructure.crew.crews import RETRY_DELAY_S
from tests.model_server import ModelServer, model_server

if TYPE_CHECKING:
    from infrastructure.crew.engine import CrewAIEngine


@pytest.fixture(scope="session")
def runner_home() -> Iterator[Path]:
    """The folder that CrewAI and litellm were imported in; the rest of the session keeps its own."""
    environment, folder = dict(os.environ), Path.cwd()
    with tempfile.TemporaryDirectory(prefix="kasal-runner-") as home:
        prepare(Path(home))
        import infrastructure.crew.engine  # noqa: F401 - takes five seconds, and its switches from the environment

        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        yield Path(home)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The folder that the tool read_file may read."""
    return tmp_path


@pytest.fixture
def engine(runner_home: Path, files: Path) -> CrewAIEngine:
    """An engine whose demo model does not dawdle."""
    from infrastructure.crew.engine import CrewAIEngine

    return CrewAIEngine(ToolSettings(files_dir=files), demo_delay_s=0, retry_delay_s=RETRY_DELAY_S)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """A scripted model that litellm's `openai/` provider reaches."""
    with model_server() as server:
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", SECRET)
        yield server


SECRET = "sk-a-key-that-must-not-be-seen"
