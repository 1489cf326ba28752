"""`kasal whatif`: past executions with another model or prompt, compared with what they were.

By nothing but the HTTP API. Its one rule: no tool is run; what a tool answered then is what it answers now.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import httpx
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from domain.errors import NotFound, Unavailable
from infrastructure.settings import load_settings
from interfaces.operations.talking import api, ask, tell

POLL_EVERY_S = 0.5
OPEN = ("PENDING", "RUNNING")
COLUMNS = ("execution", "what if", "ended", "first divergence", "calls", "tokens", "cost", "output")


class Asked(msgspec.Struct):
    """One what-if, and how it compares once it has ended."""

    execution_id: str
    what_if_id: str
    status: str = "PENDING"
    failure: str | None = None
    diff: dict[str, Any] = {}


def pair(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """`name=text` or `name=@file`, several times."""
    found = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not name or not equals or not text:
            raise click.BadParameter(f"{value!r}: expected NAME=VALUE")
        found[name] = Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
    return found


@click.command()
@click.argument("execution_ids", nargs=-1)
@click.option("--model", help="For all agents: provider/model, as litellm has it.")
@click.option("--agent", "agents", multiple=True, callback=pair, help="NAME=MODEL: for one agent.")
@click.option("--prompt", "prompts", multiple=True, callback=pair, help="TASK=TEXT or TASK=@FILE.")
@click.option("--cohort", help="A workflow's id: its newest completed executions.")
@click.option("--limit", type=click.IntRange(1, 200), default=10, show_default=True, help="Of the cohort.")
@click.option("--timeout", type=click.FloatRange(min=1), default=600, show_default=True, help="Seconds.")
@click.option("--json", "as_json", is_flag=True, help="A JSON line for each, with the whole comparison.")
def whatif(
    execution_ids: tuple[str, ...],
    model: str | None,
    agents: dict[str, str],
    prompts: dict[str, str],
    cohort: str | None,
    limit: int,
    timeout: float,
    as_json: bool,
) -> None:
    """Run past executions again with other models or prompts; tools are answered from the past, never run.

    Exit code 1 when one of them did not complete.
    """
    if bool(execution_ids) == (cohort is not None):
        raise click.UsageError("expected either ids of executions, or --cohort")
    overrides = {
        "model": model,
        "agents": {name: {"model": of} for name, of in agents.items()},
        "tasks": {name: {"description": text} for name, text in prompts.items()},
    }
    with api(load_settings()) as client:
        chosen = execution_ids or tuple(members(client, str(cohort), limit))
        asked = [begin(client, execution_id, overrides) for execution_id in chosen]
        follow(client, asked, timeout)
    if as_json:
        for one in asked:
            click.echo(msgspec.json.encode(one))
    else:
        show(asked)
    sys.exit(0 if all(one.status == "COMPLETED" for one in asked) else 1)


def members(client: httpx.Client, workflow_id: str, limit: int) -> Iterator[str]:
    """The newest completed executions of a workflow that are no what-ifs. Raises `NotFound`."""
    cursor, found = None, 0
    while found < limit:
        page = ask(
            client, "/v1/executions", workflow_id=workflow_id, status="COMPLETED", limit=200, cursor=cursor
        )
        for item in page["items"]:
            if found < limit and not (item.get("forked_from") or {}).get("is_what_if"):
                found += 1
                yield item["id"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    if not found:
        raise NotFound(f"workflow {workflow_id!r} has no completed execution")


def begin(client: httpx.Client, execution_id: str, overrides: dict[str, Any]) -> Asked:
    body = {"overrides": {name: value for name, value in overrides.items() if value}}
    answer = tell(client, f"/v1/executions/{execution_id}/what-if", body)
    return Asked(execution_id, answer["id"])


def follow(client: httpx.Client, asked: Sequence[Asked], timeout_s: float) -> None:
    """Until each has ended, or waits, and is compared. Raises `Unavailable` after the timeout."""
    deadline = time.monotonic() + timeout_s
    left = list(asked)
    while left:
        for one in list(left):
            try:
                now = ask(client, f"/v1/executions/{one.what_if_id}")
            except NotFound:
                continue
            one.status = now["status"]
            if one.status not in OPEN:
                left.remove(one)
                one.failure = (now.get("failure") or {}).get("message")
                path = f"/v1/executions/{one.execution_id}/diff"
                compared = {"with": one.what_if_id, "limit": 200, "after": now["position"]}
                one.diff = ask(client, path, **compared)
        if left and time.monotonic() > deadline:
            raise Unavailable(f"{len(left)} what-ifs had not ended after {timeout_s:g} s; they go on")
        if left:
            time.sleep(POLL_EVERY_S)


def show(asked: Sequence[Asked]) -> None:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for one in asked:
        table.add_row(*map(Text, row_of(one)))
    console.print(table)
    for one in asked:
        if one.failure:
            console.print(Text(f"{one.what_if_id}: {one.failure}", style="red"))
    before = sum(full_cost(one.diff["left"]) for one in asked)
    after = sum(one.diff["right"]["spent"]["cost_usd"] for one in asked)
    console.print(f"\n{len(asked)} executions: ${before:.6f} then, ${after:.6f} now")


def row_of(one: Asked) -> tuple[str, ...]:
    left, right = one.diff["left"], one.diff["right"]
    first = one.diff["first_divergence"]
    place = (
        "none" if first is None else f"{first['task']} {first['kind'].replace('_', ' ')} {first['number']}"
    )
    return (
        one.execution_id,
        one.what_if_id,
        one.status.lower(),
        place,
        f"{one.diff['equal_calls']} equal, {one.diff['differing_calls']} not",
        f"{tokens(left)} → {tokens(right)}",
        f"${full_cost(left):.6f} → ${right['spent']['cost_usd']:.6f}",
        "the same" if left["output"] == right["output"] else "another",
    )


def tokens(side: dict[str, Any]) -> int:
    spent: dict[str, int] = side["spent"]
    return spent["prompt_tokens"] + spent["completion_tokens"]


def full_cost(side: dict[str, Any]) -> float:
    """What it would have cost by itself: a fork has saved what its past had paid."""
    spent: dict[str, float] = side["spent"]
    return spent["cost_usd"] + spent["saved_usd"]
