"""Real crews against a scripted model, while one process after the other is killed in the middle of a call.

The model counts every request; a kill happens while the middle one is being answered. Whoever is killed, the
execution ends with the same output and the same usage as if nothing had happened, and no call whose outcome
was recorded is sent again.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
import pytest

from application.commands import CommandHandler, Context
from application.ports import EventLog
from domain.catalog import Model, SetEntry
from domain.definition import Definition
from infrastructure.clock import SystemClock
from infrastructure.event_log.opening import open_event_log
from infrastructure.nats.connection import Connection, connect
from infrastructure.wiring import catalog_tools
from projections.database import ReadDatabase, open_read_database
from seeds.planting import Seeds
from tests.infrastructure.crew.crews import OPENAI
from tests.infrastructure.crew.journaled_crews import answer, full, hierarchical, sequential
from tests.model_server import ModelServer, Turn, model_server
from tests.processes.invariants import assert_all_agree
from tests.processes.services import LOOPS, Services
from tests.processes.stack import get, post, wait_for_end
from tests.waiting import eventually

CREWS: dict[str, Callable[[], Definition]] = {
    "sequential": sequential,
    "full": full,
    "hierarchical": hierarchical,
}
RUNNER = {"runner": ("--processes", "1")}
CHILD = "a process of the runner"
VICTIMS: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in LOOPS},
    "nats, store lost": ("nats",),
    CHILD: (CHILD,),
    "everything": ("nats", *LOOPS, *RUNNER),
}
MOST_IN_FLIGHT = 2
"""Of one crew's calls; a runner's end while they are under way loses their outcomes."""

USAGE = ("model_calls", "tool_calls", "prompt_tokens", "completion_tokens", "cost_usd")


class House:
    """An installation with a crew runner, its model, and the test's own eyes on it."""

    def __init__(
        self,
        services: Services,
        model: ModelServer,
        log: EventLog,
        connection: Connection,
        read_db: ReadDatabase,
    ) -> None:
        self.services = services
        self.model = model
        self.log = log
        self.connection = connection
        self.read_db = read_db
        self.undisturbed: dict[str, tuple[dict[str, Any], int]] = {}

    async def run(
        self,
        crew: str,
        victims: Sequence[str] = (),
        at: int = 0,
        *,
        wipe: bool = False,
        delay_s: float = 0,
        number: int = signal.SIGKILL,
    ) -> tuple[dict[str, Any], int]:
        """The execution at its end, and how many requests it took. The victims die within request `at`,
        whose answer takes `delay_s` longer."""
        before, count, killed = len(self.model.requests), itertools.count(1), threading.Event()
        pids = [self.services.pid_of(name) for name in victims if name != CHILD]
        if CHILD in victims:
            pids += self.services.children_of("runner")

        def disturbed(request: dict[str, Any]) -> Turn:
            if next(count) == at:
                for pid in pids:
                    os.kill(pid, number)
                killed.set()
                return msgspec.structs.replace(answer(request), delay_s=delay_s)
            return answer(request)

        self.model.answer = disturbed
        body = {"definition": document_of(crew), "inputs": {}}
        execution_id = post(self.services.client, "/v1/executions", body)["id"]
        if at:
            await eventually(killed.is_set, 60)
            await self.services.start_again([name for name in victims if name != CHILD], wipe=wipe)
        execution = wait_for_end(self.services.client, execution_id, 90)
        position = execution["position"]
        found = get(self.services.client, f"/v1/executions/{execution_id}?after={position}")
        return found, len(self.model.requests) - before

    async def whole(self, crew: str) -> tuple[dict[str, Any], int]:
        """The same with nobody killed; once."""
        if crew not in self.undisturbed:
            self.undisturbed[crew] = await self.run(crew)
        return self.undisturbed[crew]


def document_of(crew: str) -> dict[str, Any]:
    """With the scripted model for every agent."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(CREWS[crew]()))
    agents = {name: {**agent, "model": OPENAI} for name, agent in document["agents"].items()}
    return {**document, "agents": agents, "limits": {"max_attempts": 10}}


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("crews")
    log_url, read_url = f"sqlite:///{folder / 'log.db'}", f"sqlite:///{folder / 'read.db'}"
    with model_server(answer) as model:
        services = await Services.start_all(
            folder,
            {"KASAL_LOG_URL": log_url, "KASAL_READ_URL": read_url},
            RUNNER,
            OPENAI_API_BASE=model.url,
            OPENAI_API_KEY="local",
        )
        log, read_db = await open_event_log(log_url), await open_read_database(read_url)
        commands = CommandHandler(log, SystemClock())
        await Seeds(commands, catalog_tools()).plant(("tools",))
        entry = SetEntry(kind="models", entry=Model(name=OPENAI, default=True))
        await commands.handle(entry, Context(actor="user:test"))
        connection = await connect(services.nats.url, "test")
        yield House(services, model, log, connection, read_db)
        await connection.close()
        await services.end()
        await read_db.close()
        await log.close()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("crew", CREWS)
@pytest.mark.parametrize("victim", VICTIMS)
async def test_whoever_is_killed_the_crew_ends_the_same_and_pays_once(
    house: House, crew: str, victim: str
) -> None:
    whole, requests = await house.whole(crew)
    assert whole["status"] == "COMPLETED", whole["failure"]
    assert requests >= 3
    victims, wipe = VICTIMS[victim], victim == "nats, store lost"
    found, sent = await house.run(crew, victims, requests // 2 + 1, wipe=wipe)
    assert found["status"] == "COMPLETED", (found, house.services.words())
    assert found["output"] == whole["output"]
    runner_died = CHILD in victims or "runner" in victims
    assert requests <= sent <= requests + (MOST_IN_FLIGHT if runner_died else 0)
    for field in USAGE[1 if runner_died else 0 :]:
        assert found[field] == whole[field], field
    await assert_all_agree(house.log, house.connection, house.read_db)


async def test_a_runner_goes_on_when_the_queue_has_lost_its_work_and_gives_it_again(house: House) -> None:
    """The dispatcher puts the step back within some seconds, in which the model has not answered yet."""
    whole, requests = await house.whole("sequential")
    found, sent = await house.run("sequential", ("nats",), 2, wipe=True, delay_s=5)
    assert (found["output"], sent) == (whole["output"], requests)
    assert [step["attempt"] for step in found["steps"]] == [1]


async def test_a_runner_that_wakes_up_after_its_step_was_taken_over_changes_nothing(house: House) -> None:
    """Two runners have the same step; the second comes while the first is held still in the middle of it."""
    whole, requests = await house.whole("sequential")
    house.services.add_runner("other", "--processes", "1")
    found, sent = await house.run("sequential", (CHILD,), 2, number=signal.SIGSTOP)
    assert (found["output"], [step["attempt"] for step in found["steps"]]) == (whole["output"], [2])
    assert requests <= sent <= requests + MOST_IN_FLIGHT
    for pid in house.services.children_of("runner"):
        os.kill(pid, signal.SIGCONT)
    house.services.processes.pop("other").end()
    again, _ = await house.run("sequential")
    assert (again["output"], again["status"]) == (whole["output"], "COMPLETED")
    later = get(house.services.client, f"/v1/executions/{found['id']}?after={again['position']}")
    assert later["version"] == found["version"]
    await assert_all_agree(house.log, house.connection, house.read_db)
