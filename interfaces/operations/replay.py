"""`kasal replay`: plays an execution in the terminal from its stored history, by nothing but the HTTP API.

Its one rule: what is shown is what was recorded, at the times at which it was; nothing is run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import httpx
import msgspec
from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.panel import Panel
from rich.text import Text

from application.audit.importing import events_in
from domain.errors import Invalid
from infrastructure.settings import load_settings
from infrastructure.wiring import from_cloudevent
from interfaces.live import Picture, Screen
from interfaces.operations.talking import api, ask
from projections.execution_history import entry_of

PAGE = 200
LONGEST_PAUSE_S = 5.0
SHOWN_CHARACTERS = 2_000
TEXTS = {"request": "asked", "arguments": "asked", "response": "answered", "result": "answered"}

Entry = dict[str, Any]


Place = int | str | datetime
"""Where to stop: a version, an event type, or a time."""


def place(ctx: click.Context, param: click.Parameter, value: str | None) -> Place | None:
    """12, 2026-03-03T14:03:00Z, or execution.task_completed."""
    if value is None or (value.isascii() and value.isdecimal()):
        return value and int(value)
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return value
    if at.tzinfo is None:
        raise click.BadParameter(f"{value!r} has no zone; expected a time as in 2026-03-03T14:03:00Z")
    return at


@click.command()
@click.argument("execution_id")
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), help="Times as fast as it happened.")
@click.option("--step", is_flag=True, help="Wait for Enter after each event, and show what was said.")
@click.option("--until", callback=place, help="Stop after this version, at this time, or at this event type.")
@click.option("--json", "as_json", is_flag=True, help="A JSON line for each event.")
def replay(execution_id: str, speed: float | None, step: bool, until: Place | None, as_json: bool) -> None:
    """Play an execution: at once, at a speed (long pauses are cut to 5 s), or step by step.

    In place of an id: a FILE that holds one, as `kasal history export ID` and archives have it.
    """
    if step and (speed or as_json):
        raise click.UsageError("--step: expected without --speed and --json")
    console = Console(highlight=False)
    with ExitStack() as stack:
        if Path(execution_id).is_file():
            found = written(stack.enter_context(Path(execution_id).open("rb")))
        else:
            found = history(stack.enter_context(api(load_settings())), execution_id)
        entries = paced(limited(found, until), speed)
        if as_json:
            for entry in entries:
                click.echo(msgspec.json.encode(entry))
            return
        picture = stepped(console, entries) if step else played(console, entries, live=speed is not None)
    show_end(console, picture)


def written(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Every event of an export of one execution. Raises `Invalid` for any other file."""
    stream = ""
    for recorded, _, number in events_in(lines, from_cloudevent):
        stream = stream or recorded.stream
        if recorded.category != "execution" or recorded.stream != stream:
            raise Invalid(f"line {number}: expected an event of {stream or 'an execution'}")
        yield msgspec.json.decode(msgspec.json.encode(entry_of(recorded)))


def history(client: httpx.Client, execution_id: str) -> Iterator[Entry]:
    """Every event, a page at a time. Raises `NotFound`."""
    cursor = None
    while True:
        page = ask(client, f"/v1/executions/{execution_id}/history", limit=PAGE, cursor=cursor)
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def limited(entries: Iterator[Entry], until: Place | None) -> Iterator[Entry]:
    """Up to where to stop; an event of the type that was named is the last one."""
    for entry in entries:
        if isinstance(until, datetime) and datetime.fromisoformat(entry["at"]) > until:
            return
        yield entry
        if until in (entry["version"], entry["type"]):
            return


def paced(
    entries: Iterator[Entry], speed: float | None, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Entry]:
    """With the pauses that there were, divided by the speed; without a speed at once."""
    before: datetime | None = None
    for entry in entries:
        at = datetime.fromisoformat(entry["at"])
        if speed and before is not None and at > before:
            sleep(min((at - before).total_seconds() / speed, LONGEST_PAUSE_S))
        before = at
        yield entry


class Playing:
    """The clock of what is played: it stands at the event that was played last."""

    def __init__(self) -> None:
        self._at = 0.0

    def now(self) -> float:
        return self._at

    def move(self, entry: Entry) -> None:
        self._at = datetime.fromisoformat(entry["at"]).timestamp()


def played(console: Console, entries: Iterator[Entry], *, live: bool) -> Picture:
    """The picture that changes, on a terminal and at a speed; otherwise a line an event."""
    clock = Playing()
    first = next(entries, None)
    if first is None:
        return Picture()
    clock.move(first)
    if live and console.is_terminal:
        with Screen(console, clock.now) as screen:
            for entry in chained(first, entries):
                clock.move(entry)
                screen.add(event_of(entry))
        return screen.picture
    picture = Picture(now=clock.now)
    for entry in chained(first, entries):
        clock.move(entry)
        say(console, picture, entry)
    return picture


def stepped(console: Console, entries: Iterator[Entry]) -> Picture:
    """A line an event with the texts in it; the next when Enter is pressed, none after the input's end."""
    clock = Playing()
    picture: Picture | None = None
    for entry in entries:
        clock.move(entry)
        picture = picture or Picture(now=clock.now)
        say(console, picture, entry)
        show_texts(console, entry)
        try:
            input()
        except EOFError:
            break
    return picture or Picture()


def chained(first: Entry, rest: Iterator[Entry]) -> Iterator[Entry]:
    yield first
    yield from rest


def say(console: Console, picture: Picture, entry: Entry) -> None:
    line = picture.add(event_of(entry)) or entry["type"].removeprefix("execution.").replace("_", " ")
    console.print(Text(f"{entry['version']:>5}  {entry['at'][11:23]}  {line}"), soft_wrap=True)


def event_of(entry: Entry) -> dict[str, Any]:
    """As the picture folds it: a CloudEvent's type and data."""
    return {"type": f"io.kasal.{entry['type']}", "data": entry["data"]}


def show_texts(console: Console, entry: Entry) -> None:
    """What was asked and answered, as far as the event has it."""
    for name, title in TEXTS.items():
        content = entry["data"].get(name)
        if isinstance(content, dict) and "text" in content:
            text = content["text"][:SHOWN_CHARACTERS]
            cut = len(text) < len(content["text"]) or content.get("is_truncated")
            more = f" (of {content['size_bytes']} bytes, {content['digest'][:12]}…)" if cut else ""
            console.print(Panel(Text(text), title=f"{title}{more}", border_style="dim", title_align="left"))


def show_end(console: Console, picture: Picture) -> None:
    """Where it stands: the table of tasks, and the result."""
    console.print()
    console.print(picture.draw())
    if picture.output:
        console.print(Panel(Markdown(picture.output), title="Result", border_style="green"))
    if picture.failure:
        console.print(f"[red]failed:[/] {escape(picture.failure)}")
