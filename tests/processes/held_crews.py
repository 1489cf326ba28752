"""An installation in which many crews are held at once, each at another model call, to be killed there.

Used by `test_crew_kills.py`. The model is scripted, and counts and holds by the name under which it is asked:
every execution has a model of its own. Its one rule: an answer depends on the messages alone, so that what is
undisturbed and what was killed end with the same output.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from application.commands import CommandHandler, Context
from application.ports import EventLog
from domain.catalog import Model, SetEntry
from domain.definition import Definition
from infrastructure.clock import SystemClock
from infrastructure.nats.connection import Connection, connect
from infrastructure.tools.cataloguing import catalog_tools
from projections.database import ReadDatabase, open_read_database
from seeds.planting import Seeds
from tests.infrastructure.crew.crews import OPENAI
from tests.infrastructure.crew.journaled_crews import answer, full, hierarchical, sequential
from tests.model_server import ModelServer, Turn, model_server
from tests.processes.services import Services
from tests.processes.stack import get, post, wait_for_end
from tests.sealing import open_sealed_log
from tests.waiting import eventually

CREWS: dict[str, Callable[[], Definition]] = {
    "sequential": sequential,
    "full": full,
    "hierarchical": hierarchical,
}
RUNNER = {"runner": ("--processes", "1", "--concurrency", "50")}
END_S = 240.0


class Run(msgspec.Struct, frozen=True):
    """An execution at its end. started: what its start was answered; requests: that its model was sent."""

    crew: str
    started: dict[str, Any]
    found: dict[str, Any]
    requests: int

    @property
    def is_first_attempt(self) -> bool:
        """Whether the runner that began it has ended it."""
        return [step["attempt"] for step in self.found["steps"]] == [1]


class HeldModel:
    """Called by the model's server, on its thread."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._hold_at: dict[str, int] = {}
        self._let_go = threading.Event()

    def hold(self, at: dict[str, int]) -> None:
        """The request of each of these models, from 1, that is not answered before `let_go`."""
        self.held, self._hold_at, self._let_go = set(), at, threading.Event()

    def let_go(self) -> None:
        self._let_go.set()

    def requests(self, model: str) -> int:
        return self._counts[model]

    def answer(self, request: dict[str, Any]) -> Turn:
        model = request["model"]
        self._counts[model] += 1
        if self._counts[model] != self._hold_at.get(model):
            return answer(request)
        self.held.add(model)
        return msgspec.structs.replace(answer(request), held=self._let_go)


class House:
    """An installation with a crew runner, its model, and the test's own eyes on it."""

    def __init__(
        self,
        services: Services,
        model: HeldModel,
        log: EventLog,
        connection: Connection,
        read_db: ReadDatabase,
    ) -> None:
        self.services = services
        self.model = model
        self.log = log
        self.connection = connection
        self.read_db = read_db
        self._undisturbed: dict[str, Run] = {}

    async def undisturbed(self) -> dict[str, Run]:
        """Each crew with nobody killed, nor taken for gone on a busy machine; once."""
        self.model.hold({})
        for name in () if self._undisturbed else ("whole", "wholly", "entire"):
            started = {crew: self.start(crew, f"{crew}-{name}") for crew in CREWS}
            runs = {crew: await self.ended(crew, f"{crew}-{name}", each) for crew, each in started.items()}
            if all(run.is_first_attempt for run in runs.values()):
                self._undisturbed = runs
                break
        return self._undisturbed

    async def held_everywhere(self, name: str) -> dict[str, tuple[str, dict[str, Any]]]:
        """As many executions of each crew as it makes model calls, each held at another one: (crew, what its
        start was answered) by the name of its model."""
        whole = await self.undisturbed()
        at = {
            f"{crew}-{name}-{number}": number
            for crew, run in whole.items()
            for number in range(1, run.requests + 1)
        }
        self.model.hold(at)
        started = {}
        for model in at:
            crew = model.partition("-")[0]
            started[model] = crew, self.start(crew, model)
        await eventually(lambda: self.model.held == at.keys(), END_S)
        return started

    def start(self, crew: str, model: str) -> dict[str, Any]:
        body = {"definition": document_of(crew, model), "inputs": {}, "name": model}
        return post(self.services.client, "/v1/executions", body)

    async def ended(self, crew: str, model: str, started: dict[str, Any]) -> Run:
        execution = await asyncio.to_thread(wait_for_end, self.services.client, started["id"], END_S)
        after = execution["position"]
        found = get(self.services.client, f"/v1/executions/{started['id']}?after={after}")
        return Run(crew, started, found, self.model.requests(model))


def document_of(crew: str, model: str) -> dict[str, Any]:
    """With a scripted model of this name for every agent."""
    document = msgspec.json.encode(CREWS[crew]()).decode().replace(OPENAI, f"openai/{model}")
    whole: dict[str, Any] = msgspec.json.decode(document)
    agents = {name: {**agent, "model": f"openai/{model}"} for name, agent in whole["agents"].items()}
    return {**whole, "agents": agents, "limits": {"max_attempts": 10}}


@asynccontextmanager
async def opened(folder: Path, log_url: str, read_url: str) -> AsyncIterator[House]:
    held = HeldModel()
    with model_server(held.answer) as model:
        services = await Services.start_all(
            folder, {"KASAL_LOG_URL": log_url, "KASAL_READ_URL": read_url}, RUNNER, **settings_for(model)
        )
        log, read_db = await open_sealed_log(log_url), await open_read_database(read_url)
        commands = CommandHandler(log, SystemClock())
        await Seeds(commands, catalog_tools()).plant(("tools",))
        entry = SetEntry(kind="models", entry=Model(name=OPENAI, default=True))
        await commands.handle(entry, Context(actor="user:test"))
        connection = await connect(services.nats.url, "test")
        yield House(services, held, log, connection, read_db)
        await connection.close()
        await services.end()
        await read_db.close()
        await log.close()


def settings_for(model: ModelServer) -> dict[str, str]:
    """A lease is longer than what a busy machine keeps a heartbeat waiting."""
    return {"OPENAI_API_BASE": model.url, "OPENAI_API_KEY": "local", "KASAL_LEASE_S": "5"}
