"""The seeds of a release: whole, plantable, and gentle on what people changed."""

from __future__ import annotations

import pytest

from application.commands import CommandHandler, Context
from application.ports import EventLog
from domain.catalog import CATALOG, Model, RemoveEntry, SetEntry, Tool
from domain.errors import Invalid
from domain.workflow import WORKFLOW, ArchiveWorkflow
from infrastructure.clock import SystemClock
from seeds.planting import ORDER, Seeds

ADMIN = Context(actor="user:admin")
TOOLS = tuple(
    Tool(name=name, description=name, parameters={"type": "object"})
    for name in ("calculator", "json_query", "text_query", "read_file", "http_get", "http_post")
)


async def test_every_seeder_plants_and_plants_nothing_again(event_log: EventLog) -> None:
    seeds = Seeds(CommandHandler(event_log, SystemClock()), TOOLS)
    planted = await seeds.plant()
    assert [row.seeder for row in planted] == list(ORDER)
    assert all(row.total == row.appended > 0 for row in planted)
    head = await event_log.head()
    assert sum(row.appended for row in await seeds.plant()) == 0
    assert await event_log.head() == head


async def test_one_seeder_can_run_alone(event_log: EventLog) -> None:
    seeds = Seeds(CommandHandler(event_log, SystemClock()), TOOLS)
    assert [row.seeder for row in await seeds.plant(["schemas"])] == ["schemas"]


async def test_what_an_administrator_changed_is_left_alone(event_log: EventLog) -> None:
    commands = CommandHandler(event_log, SystemClock())
    seeds = Seeds(commands, TOOLS)
    await seeds.plant()
    warm = Model(name="openai/gpt-4o-mini", temperature=1.5)
    await commands.handle(SetEntry(kind="models", entry=warm), ADMIN)
    await commands.handle(RemoveEntry(kind="models", name="deepseek/deepseek-chat"), ADMIN)
    await commands.handle(ArchiveWorkflow(workflow_id="data-report"), ADMIN)
    assert sum(row.appended for row in await seeds.plant()) == 0
    shelf = await commands.state_of(CATALOG, "models")
    assert shelf.entries["openai/gpt-4o-mini"] == warm
    assert "deepseek/deepseek-chat" not in shelf.entries
    assert (await commands.state_of(WORKFLOW, "data-report")).is_archived


async def test_every_provider_of_the_house_has_a_model(event_log: EventLog) -> None:
    commands = CommandHandler(event_log, SystemClock())
    await Seeds(commands, TOOLS).plant(["models"])
    shelf = await commands.state_of(CATALOG, "models")
    providers = {name.partition("/")[0] for name in shelf.entries}
    assert providers >= {"openai", "anthropic", "deepseek", "ollama", "databricks", "demo"}


async def test_an_unknown_seeder_is_named(event_log: EventLog) -> None:
    with pytest.raises(Invalid, match="'planets'; expected one of: models"):
        await Seeds(CommandHandler(event_log, SystemClock()), TOOLS).plant(["planets"])
