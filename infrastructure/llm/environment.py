"""The environment to import crewai and litellm in: no telemetry, no tracing, no downloads, own files.

`prepare` is called by a runner process first of all, before anything imports crewai or litellm: most of these
switches are read when the packages are imported, and cost a network call, a signal handler or a file
otherwise.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

SWITCHES = {
    # Telemetry would look telemetry.crewai.com up at every kickoff and install signal handlers.
    # OTEL_SDK_DISABLED
    # would stop it too, and our own traces with it.
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    # Tracing is another thing: its consent prompt and first-run collection do not ask the telemetry switches.
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_TESTING": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    # An imported litellm loads .env and fetches its price map and more from the network unless told not to.
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS": "True",
    "LITELLM_LOCAL_POLICY_TEMPLATES": "True",
    # numpy, which only chromadb's import asks for, would start threads, and none survives a fork.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}

FIRST_USED = (
    "httpcore",
    "openai.resources",
    "openai.resources.chat",
    "litellm._service_logger",
    "litellm.llms.openai.chat.gpt_audio_transformation",
    "litellm.responses.mcp.chat_completions_handler",
)
"""What litellm imports at its first call only, which takes a second."""


def warm() -> None:
    """Import what calls need: once in the process that forks runners, in place of once in each of them."""
    for name in FIRST_USED:
        importlib.import_module(name)


def prepare(home: Path) -> None:
    """Set the switches, and let everything that the packages write land in `home`.

    home  a folder of this runner alone (a temporary one will do: nothing in it is needed again). It becomes
          HOME, and an empty folder in it the working directory, because crewai loads a .env that it finds
          there.
    """
    work = home / "work"
    for folder in (home, work):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ.update(SWITCHES)
    os.environ.update(
        HOME=str(home),
        XDG_DATA_HOME=str(home / ".local" / "share"),
        XDG_CONFIG_HOME=str(home / ".config"),
        XDG_CACHE_HOME=str(home / ".cache"),
        CREWAI_STORAGE_DIR="kasal",
    )
    os.chdir(work)
