"""A running execution to look at: folds its event stream into what a person wants to see, and draws it.

Called by `kasal demo` and `kasal replay`. A terminal gets one picture that changes; anything else gets a line
for each thing that happens. Its one rule: everything shown comes from the stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

MARKS = {"running": "[cyan]●[/]", "done": "[green]✔[/]", "failed": "[red]✘[/]", "waiting": "[dim]·[/]"}
TERMINAL = {
    "execution.completed": "COMPLETED",
    "execution.failed": "FAILED",
    "execution.cancelled": "CANCELLED",
    "execution.timed_out": "TIMED_OUT",
}
TAIL_LENGTH = 400


@dataclass
class TaskRow:
    """One task of the crew, as far as it got."""

    name: str
    agent: str
    step: str = ""
    state: str = "running"
    model_calls: int = 0
    tool_calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    duration_ms: int = 0
    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._begun = self.now()

    @property
    def seconds(self) -> float:
        return self.duration_ms / 1000 if self.duration_ms else self.now() - self._begun


@dataclass
class Picture:
    """What has happened so far. status: as clients see it; output or failure: once there is one.

    now: seconds of the clock that the picture is of: this machine's, or that of what is played again.
    """

    name: str = ""
    status: str = "PENDING"
    runner: str = ""
    tasks: dict[str, TaskRow] = field(default_factory=dict)
    output: str = ""
    failure: str = ""
    speaking: str = ""
    events: int = 0
    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._begun = self.now()

    def add(self, event: dict[str, Any]) -> str:
        """Fold one CloudEvent; a line about it for people, or "" when it is too small to mention."""
        self.events += 1
        tag, data = event["type"].removeprefix("io.kasal."), event["data"]
        match tag:
            case "execution.requested":
                self.name = data["name"]
                return f"requested: {self.name}"
            case "execution.step_started":
                self.status, self.runner = "RUNNING", data["runner"]
                self.tasks = {name: row for name, row in self.tasks.items() if row.step != data["step"]}
                return f"step {data['step']} on {data['runner']}, attempt {data['attempt']}"
            case "execution.step_suspended":
                self.status = "WAITING"
                wait: dict[str, str] = data["wait"]
                return f"step {data['step']} waits: {wait['kind']} {wait.get('message', '')}".rstrip()
            case "execution.paused" | "execution.resumed" | "execution.retried":
                self.status = "PAUSED" if tag == "execution.paused" else "PENDING"
                return f"{self.status.lower()} by {tag}"
            case _ if tag in TERMINAL:
                return self._end(tag, data)
            case "execution.task_started" | "execution.task_completed" | "execution.task_failed":
                return self._task(tag, data)
            case "execution.task_reused":
                name = data["task"]
                self.tasks[name] = TaskRow(name, "", data["step"], "done", now=self.now)
                return f"task {name} taken over as done"
            case _ if tag.startswith(("execution.model_call_", "execution.tool_call_")):
                return self._call(tag, data)
        return ""

    def token(self, text: str) -> None:
        self.speaking = (self.speaking + text)[-TAIL_LENGTH:]

    def _end(self, tag: str, data: dict[str, Any]) -> str:
        self.status, self.speaking = TERMINAL[tag], ""
        self.output = data.get("output", {}).get("text", "")
        self.failure = data.get("failure", {}).get("message", "")
        return f"{self.status.lower()}{': ' + self.failure if self.failure else ''}"

    def _task(self, tag: str, data: dict[str, Any]) -> str:
        name = data["task"]
        if tag == "execution.task_started":
            self.tasks[name] = TaskRow(name, data["agent"], data["step"], now=self.now)
            return f"task {name} begun by {data['agent']}"
        row = self.tasks.setdefault(name, TaskRow(name, "", data["step"], now=self.now))
        row.state = "done" if tag == "execution.task_completed" else "failed"
        row.duration_ms, self.speaking = data["duration_ms"], ""
        return f"task {name} {row.state} after {row.seconds:.1f} s"

    def _call(self, tag: str, data: dict[str, Any]) -> str:
        row = self.tasks.get(data.get("task") or "", TaskRow("", ""))
        if tag == "execution.tool_call_completed":
            row.tool_calls += 1
            return f"  tool {data['tool']}: {data['result']['text'][:80]}"
        if tag == "execution.model_call_completed":
            tokens = data["prompt_tokens"] + data["completion_tokens"]
            row.model_calls, row.tokens = row.model_calls + 1, row.tokens + tokens
            row.cost_usd, self.speaking = row.cost_usd + data["cost_usd"], ""
            seconds = data["duration_ms"] / 1000
            return f"  {data['model']}: {tokens} tokens, ${data['cost_usd']:.6f}, {seconds:.1f} s"
        if tag.endswith("_failed"):
            return f"  call failed: {data['failure']['message']}"
        return ""

    def draw(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for title in ("", "task", "agent", "model calls", "tool calls", "tokens", "cost", "time"):
            table.add_column(title, justify="left" if title in ("", "task", "agent") else "right")
        for row in self.tasks.values():
            table.add_row(MARKS[row.state], escape(row.name), escape(row.agent), *figures(row))
        rows = list(self.tasks.values())
        total = f"{sum(row.tokens for row in rows)} tokens  ${sum(row.cost_usd for row in rows):.6f}"
        head = f"[bold]{escape(self.name)}[/]  {self.status}  {self.now() - self._begun:.1f} s  {total}"
        speaking = Text(self.speaking.replace("\n", " ")[-160:], style="dim italic")
        return Group(Text.from_markup(head), table, speaking)


def figures(row: TaskRow) -> tuple[str, ...]:
    return (
        str(row.model_calls),
        str(row.tool_calls),
        str(row.tokens),
        f"${row.cost_usd:.6f}",
        f"{row.seconds:.1f} s",
    )


class Screen:
    """Shows a picture while it changes: drawn in place on a terminal, line by line elsewhere."""

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self.picture = Picture(now=now)
        self._live = Live(
            console=console, get_renderable=self.picture.draw, refresh_per_second=10, transient=False
        )

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def add(self, event: dict[str, Any]) -> None:
        line = self.picture.add(event)
        if line and not self._console.is_terminal:
            self._console.print(Text(line), soft_wrap=True)

    def token(self, text: str) -> None:
        self.picture.token(text)
