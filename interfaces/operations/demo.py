"""`kasal demo`: the main job end to end, shown live, by nothing but the HTTP API.

Starts the embedded stack where none runs on the data folder yet, creates the "Blog production" workflow, runs
it, draws what its event stream says, prints the result. Exit code 0 when it completed, 1 otherwise.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.panel import Panel

from domain.errors import Unavailable
from infrastructure.settings import Settings, load_settings, variable
from infrastructure.wiring import blog_production
from interfaces.client import Kasal, KasalClientError, Token
from interfaces.live import Screen

START_TIMEOUT_S = 60
LOG_NAME = "up.log"


@click.command()
@click.option("--model", default="demo/small", show_default=True, help="provider/model, as litellm has it.")
@click.option("--industry", default="specialty coffee", show_default=True, help="What the post is about.")
@click.option("--tone", default="friendly and factual", show_default=True, help="How it should sound.")
@click.option(
    "--data", "data_dir", type=click.Path(file_okay=False, path_type=Path), help="Folder of everything."
)
def demo(model: str, industry: str, tone: str, data_dir: Path | None) -> None:
    """Run the "Blog production" workflow end to end and show it live."""
    settings = load_settings(data_dir=data_dir)
    console = Console(highlight=False)
    with stack(settings, console) as url, Kasal(url, settings.api_token or None) as kasal:
        execution_id = start(kasal, model, {"industry": industry, "tone": tone})
        console.print(f"Execution {execution_id}\n", style="dim")
        with Screen(console) as screen:
            follow(kasal, execution_id, screen)
        show_end(console, screen, execution_id, settings)
    sys.exit(0 if screen.picture.status == "COMPLETED" else 1)


@contextmanager
def stack(settings: Settings, console: Console) -> Iterator[str]:
    """The URL of the stack on the data folder; one is started, and stopped again, where none runs."""
    if running := running_url(settings.data_dir):
        console.print(f"Using the stack that runs at {running}", style="dim")
        yield running
        return
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    log_path = settings.data_dir / LOG_NAME
    command = [sys.executable, "-m", "interfaces.cli", "up", "--data", str(settings.data_dir), "--port", "0"]
    with log_path.open("ab") as log:
        up = subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, variable("seed"): "true"},
        )
    try:
        with console.status("Starting the embedded stack (SQLite, NATS, API, projector, runner)"):
            url = wait_for_start(up, settings.data_dir, log_path)
        console.print(f"The embedded stack is up at {url}", style="dim")
        yield url
    finally:
        up.terminate()
        up.wait(timeout=60)


def running_url(data_dir: Path) -> str | None:
    """Where the `kasal up` that holds a data folder listens; None when none does."""
    try:
        with (data_dir / "up.json").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
    except FileNotFoundError:
        return None
    except BlockingIOError:
        text = (data_dir / "up.json").read_text(encoding="utf-8")
        return str(json.loads(text)["url"]) if text else None


def wait_for_start(up: subprocess.Popen[bytes], data_dir: Path, log_path: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if up.poll() is not None:
            tail = "\n".join(log_path.read_text(encoding="utf-8").splitlines()[-5:])
            raise Unavailable(f"the embedded stack did not start; its last words ({log_path}):\n{tail}")
        if url := running_url(data_dir):
            return url
        time.sleep(0.05)
    raise Unavailable(f"the embedded stack was not up after {START_TIMEOUT_S} s; see {log_path}")


def auth(settings: Settings) -> dict[str, str]:
    return {"Authorization": f"Bearer {settings.api_token}"} if settings.api_token else {}


def start(kasal: Kasal, model: str, inputs: dict[str, str]) -> str:
    """Create the workflow (once for each model: the key is the document's digest) and run it."""
    document = blog_production()
    for agent in document["agents"].values():
        agent["model"] = model
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    try:
        workflow = kasal.create_workflow(document, key=f"demo-{digest}")
        return kasal.start(workflow.id, inputs).id
    except KasalClientError as error:
        raise click.ClickException(str(error)) from error


def follow(kasal: Kasal, execution_id: str, screen: Screen) -> None:
    """Show the stream to its end."""
    for found in kasal.follow_with_tokens(execution_id):
        if isinstance(found, Token):
            screen.token(found.text)
        else:
            screen.add(found.cloudevent)


def show_end(console: Console, screen: Screen, execution_id: str, settings: Settings) -> None:
    picture = screen.picture
    if picture.output:
        console.print(Panel(Markdown(picture.output), title="Result", border_style="green"))
    if picture.failure:
        console.print(f"[red]failed:[/] {escape(picture.failure)}")
    count = picture.events
    console.print(
        f"\n{count} events tell the whole story. `kasal up --data {settings.data_dir}` shows it again at"
    )
    for view in ("history", "timeline"):
        console.print(
            f"  http://{settings.host}:{settings.port}/v1/executions/{execution_id}/{view}", soft_wrap=True
        )
