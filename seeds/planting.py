"""The seeders: what a new installation starts with, planted by sending commands.

Called at start-up where set so, and by `kasal seed`. Its one rule: run again it appends nothing, and what an
administrator set, removed, revised or archived is left alone (the aggregates decide that, not this module).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from application.commands import CommandHandler, Context
from application.requests import plant_workflow
from domain.catalog import ENTRY_TYPES, Kind, PlantEntry, Tool
from domain.errors import Invalid

DATA = Path(__file__).parent / "data"

ORDER = ("models", "tools", "schemas", "templates", "workflows")
"""Workflows come last: their documents name the others."""


class Planted(msgspec.Struct, frozen=True):
    """How many entries a seeder has, and how many of them it had to plant or bring up to this release."""

    seeder: str
    total: int
    appended: int


class Seeds:
    """All seeders over one command handler. tools: those that this release's runners have."""

    def __init__(self, commands: CommandHandler, tools: Iterable[Tool]) -> None:
        self._commands = commands
        self._tools = tuple(tools)

    async def plant(self, seeders: Iterable[str] = ORDER) -> list[Planted]:
        """Run the named seeders, in the order that they need. Raises `Invalid` for an unknown one."""
        chosen = set(seeders)
        if unknown := chosen - set(ORDER):
            raise Invalid(f"unknown seeder {min(unknown)!r}; expected one of: {', '.join(ORDER)}")
        return [await self._plant(name) for name in ORDER if name in chosen]

    async def _plant(self, seeder: str) -> Planted:
        match seeder:
            case "tools":
                return await self._plant_entries("tools", self._tools)
            case "models" | "schemas" | "templates":
                return await self._plant_file(seeder)
            case _:
                return await self._plant_workflows()

    async def _plant_file(self, kind: Kind) -> Planted:
        rows = read(DATA / f"{kind}.yaml")
        entries = [msgspec.convert({"kind": kind, **row}, type=ENTRY_TYPES[kind]) for row in rows]
        return await self._plant_entries(kind, entries)

    async def _plant_entries(self, kind: Kind, entries: Iterable[object]) -> Planted:
        commands = [PlantEntry(kind=kind, entry=entry) for entry in entries]  # type: ignore[arg-type]
        outcomes = [await self._commands.handle(command, context(kind)) for command in commands]
        return Planted(kind, len(outcomes), sum(bool(outcome.events) for outcome in outcomes))

    async def _plant_workflows(self) -> Planted:
        total = appended = 0
        for path in sorted((DATA / "workflows").glob("*.yaml")):
            outcome = await self._commands.handle(plant_workflow(path.stem, read(path)), context("workflows"))
            total, appended = total + 1, appended + bool(outcome.events)
        return Planted("workflows", total, appended)


def context(seeder: str) -> Context:
    return Context(actor=f"system:seed-{seeder}")


def blog_production() -> dict[str, Any]:
    """The document of the demo: three agents, three tasks, each with the earlier ones as context."""
    document: dict[str, Any] = read(DATA / "workflows" / "blog-production.yaml")
    return document


def read(path: Path) -> Any:
    """By the parser in C where the package has it: each start reads these."""
    return yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
