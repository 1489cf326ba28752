"""Real crews against a scripted model; every process is killed at every one of their entries.

Of each crew as many executions run at once as it makes model calls, each held at another call, so that all
that stands before it in the journal is recorded and nothing behind it. Then one kill hits them all. Whoever
is killed, each ends with the same output and usage as if nothing had happened, and no call whose outcome was
recorded is sent again. (`tests/infrastructure/crew/test_journal.py` kills the engine behind every single
entry, those of tools between two model calls included.)
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator

import pytest
from nats import errors

from domain.errors import Unavailable
from infrastructure.nats.jetstream import Missing, ask
from infrastructure.nats.subjects import WORK
from tests.processes.held_crews import CREWS, RUNNER, House, Run, opened
from tests.processes.invariants import assert_all_agree
from tests.processes.services import LOOPS
from tests.servers import postgres_database
from tests.waiting import eventually

DATABASES = ("sqlite", "postgresql")
CHILD = "a process of the runner"
WIPED = "nats, store lost"
VICTIMS: dict[str, tuple[str, ...]] = {
    "api, relay and dispatcher": ("api", "relay", "dispatcher"),
    "projector": ("projector",),
    WIPED: ("nats",),
    CHILD: (),
    "everything": ("nats", *LOOPS, *RUNNER),
}
MOST_IN_FLIGHT = 2
"""Of one crew's calls; a runner's end while they are under way loses their outcomes."""

USAGE = ("model_calls", "tool_calls", "prompt_tokens", "completion_tokens", "cost_usd")


@pytest.fixture(scope="module", params=DATABASES)
async def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("crews")
    if request.param == "sqlite":
        urls = [f"sqlite:///{folder / name}.db" for name in ("log", "read")]
        async with opened(folder, *urls) as made:
            yield made
        return
    with postgres_database(request.getfixturevalue("postgres_server_url")) as url:
        async with opened(folder, url, url) as made:
            yield made


async def work_is_back(house: House, count: int) -> bool:
    """Whether the queue, made anew, has what it had lost."""
    try:
        return (await ask(house.connection, f"STREAM.INFO.{WORK}")).state.messages >= count
    except (Missing, Unavailable, errors.Error):
        return False


@pytest.mark.timeout(700)
@pytest.mark.parametrize("victim", VICTIMS)
async def test_whoever_is_killed_at_whatever_entry_the_crew_ends_the_same_and_pays_once(
    house: House, victim: str
) -> None:
    whole = await house.undisturbed()
    assert [run.found["status"] for run in whole.values()] == ["COMPLETED"] * len(CREWS)
    name = str(list(VICTIMS).index(victim))
    started = await house.held_everywhere(name)
    assert len(started) >= 20
    services, victims = house.services, VICTIMS[victim]
    pids = [services.pid_of(each) for each in victims]
    for pid in services.children_of("runner") if victim == CHILD else pids:
        os.kill(pid, signal.SIGKILL)
    await services.start_again(victims, wipe=victim == WIPED)
    if victim == WIPED:
        await eventually(lambda: work_is_back(house, len(started)), 60)
    house.model.let_go()
    runs = [await house.ended(crew, model, answer) for model, (crew, answer) in started.items()]
    events = await assert_all_agree(house.log, house.connection, house.read_db)
    assert victim != WIPED or 2 * sum(run.is_first_attempt for run in runs) > len(runs)
    for run in runs:
        last = events[run.started["position"] - 1]
        assert (last.entity_id, last.version) == (run.started["id"], run.started["version"])
        assert_same(run, whole[run.crew])


def assert_same(run: Run, whole: Run) -> None:
    """As the undisturbed run, but for calls that were in flight when an attempt came to its end."""
    found, name = run.found, run.found["name"]
    assert found["status"] == "COMPLETED", (name, found["failure"])
    assert found["output"] == whole.found["output"], name
    (attempts,) = (step["attempt"] for step in found["steps"])
    in_flight = MOST_IN_FLIGHT * (attempts - 1)
    assert whole.requests <= run.requests <= whole.requests + in_flight, name
    for field in USAGE[1 if attempts > 1 else 0 :]:
        assert found[field] == whole.found[field], (name, field, found["steps"], whole.found["steps"])


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
async def test_of_two_runners_with_the_same_steps_the_one_that_was_outdated_changes_nothing(
    house: House,
) -> None:
    """The first is held still at every entry in turn; the second takes over; then the first wakes up."""
    whole = await house.undisturbed()
    services = house.services
    services.add_runner("other", *RUNNER["runner"])
    started = await house.held_everywhere("two")
    still = [pid for name in ("runner", "other") for pid in services.children_of(name)][:1]
    for pid in still:
        os.kill(pid, signal.SIGSTOP)
    house.model.let_go()
    runs = [await house.ended(crew, model, answer) for model, (crew, answer) in started.items()]
    for pid in still:
        os.kill(pid, signal.SIGCONT)
    services.processes.pop("other").end()
    again = await house.ended("sequential", "after", house.start("sequential", "after"))
    assert again.found["output"] == whole["sequential"].found["output"]
    events = await assert_all_agree(house.log, house.connection, house.read_db)
    newest = {event.entity_id: event.version for event in events}
    for run in runs:
        assert_same(run, whole[run.crew])
        assert newest[run.found["id"]] == run.found["version"], run.found["name"]
