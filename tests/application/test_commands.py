"""`handle`: what is decided is true of the log, whoever else is writing."""

from __future__ import annotations

import asyncio

import pytest

from application.commands import CommandHandler, Context, Idempotency
from application.ports import EventLog
from application.requests import create_workflow, revise_workflow, run_definition, run_workflow
from domain.catalog import Model, PlantEntry
from domain.errors import Invalid, KeyReused, NotFound, PreconditionFailed, Rejected
from domain.execution import CancelExecution, Execution, SendSignal
from domain.registry import event_of
from domain.workflow import ArchiveWorkflow
from infrastructure.clock import FixedClock, SystemClock
from infrastructure.event_log.memory import MemoryEventLog

ME = Context(actor="user:me")
DOCUMENT = {
    "name": "Greeting",
    "inputs": {"who": {"type": "string"}},
    "agents": {"host": {"role": "Host", "goal": "Greet", "backstory": "Kind", "model": "demo/small"}},
    "tasks": {"greet": {"description": "Greet {who}", "expected_output": "a greeting", "agent": "host"}},
}


@pytest.fixture
def log() -> EventLog:
    return MemoryEventLog()


async def started(log: EventLog) -> CommandHandler:
    """A handler with a model in the catalogue and the workflow `greeting`."""
    commands = CommandHandler(log, SystemClock())
    await commands.handle(PlantEntry(kind="models", entry=Model(name="demo/small")), ME)
    await commands.handle(create_workflow("greeting", DOCUMENT), ME)
    return commands


async def test_an_answer_names_version_and_position(log: EventLog) -> None:
    commands = await started(log)
    outcome = await commands.handle(run_workflow("x", "greeting", {"who": "Ann"}), ME)
    assert (outcome.entity_id, outcome.version, outcome.position) == ("x", 2, 4)
    assert [event_of(recorded) for recorded in await log.read_stream("execution-x")] == list(outcome.events)


async def test_events_carry_who_when_and_why(log: EventLog) -> None:
    commands = CommandHandler(log, FixedClock())
    context = Context(actor="user:me", tenant="t", correlation_id="c", causation_id="e", traceparent="00-1")
    await commands.handle(PlantEntry(kind="models", entry=Model(name="demo/small")), context)
    metadata = (await log.read_all(0, 1))[0].metadata
    assert (metadata.actor, metadata.tenant, metadata.correlation_id, metadata.causation_id) == (
        "user:me",
        "t",
        "c",
        "e",
    )
    assert metadata.at == FixedClock().now()


async def test_an_execution_runs_the_newest_version_although_another_process_saved_it(log: EventLog) -> None:
    here = await started(log)
    await here.handle(run_workflow("warm", "greeting", {"who": "Ann"}), ME)
    elsewhere = CommandHandler(log, SystemClock())
    revised = await elsewhere.handle(revise_workflow("greeting", {**DOCUMENT, "name": "Hello"}), ME)
    outcome = await here.handle(run_workflow("x", "greeting", {"who": "Ann"}), ME)
    assert isinstance(outcome.state, Execution)
    assert outcome.state.request is not None
    assert outcome.state.request.workflow_version == revised.version
    assert outcome.state.definition.name == "Hello"


async def test_what_another_process_archived_is_not_run(log: EventLog) -> None:
    here = await started(log)
    await here.handle(run_workflow("warm", "greeting", {"who": "Ann"}), ME)
    await CommandHandler(log, SystemClock()).handle(ArchiveWorkflow(workflow_id="greeting"), ME)
    with pytest.raises(Rejected, match="archived"):
        await here.handle(run_workflow("x", "greeting", {"who": "Ann"}), ME)


async def test_a_refusal_on_a_remembered_state_is_looked_up_again(log: EventLog) -> None:
    here = await started(log)
    document = {**DOCUMENT, "agents": {"host": {**DOCUMENT["agents"]["host"], "model": "acme/x"}}}  # type: ignore[index]
    with pytest.raises(Invalid):
        await here.handle(create_workflow("acme", document), ME)
    planting = PlantEntry(kind="models", entry=Model(name="acme/x"))
    await CommandHandler(log, SystemClock()).handle(planting, ME)
    assert (await here.handle(create_workflow("acme", document), ME)).version == 1


async def test_an_unknown_workflow_is_not_found(log: EventLog) -> None:
    with pytest.raises(NotFound, match="'nothing'"):
        await (await started(log)).handle(run_workflow("x", "nothing", {}), ME)


async def test_a_version_that_is_not_there_is_not_found(log: EventLog) -> None:
    with pytest.raises(NotFound, match="version 9"):
        await (await started(log)).handle(run_workflow("x", "greeting", {"who": "A"}, version=9), ME)


async def test_a_stale_if_match_is_refused(log: EventLog) -> None:
    commands = await started(log)
    stale = Context(actor="user:me", expected_version=7)
    with pytest.raises(PreconditionFailed) as caught:
        await commands.handle(revise_workflow("greeting", {**DOCUMENT, "name": "Hello"}), stale)
    assert caught.value.actual == 1


def keyed(key: str, request_hash: str) -> Context:
    return Context(actor="user:me", idempotency=Idempotency(key, request_hash))


async def test_a_repeated_key_has_one_effect_and_one_answer(log: EventLog) -> None:
    commands = await started(log)
    first = await commands.handle(run_workflow("a", "greeting", {"who": "Ann"}), keyed("k", "1"))
    again = await commands.handle(run_workflow("b", "greeting", {"who": "Ann"}), keyed("k", "1"))
    assert again.is_replay
    assert (again.entity_id, again.version, again.position) == ("a", first.version, first.position)
    assert not await log.read_stream("execution-b")


async def test_a_key_is_not_reused_for_another_request(log: EventLog) -> None:
    commands = await started(log)
    await commands.handle(run_workflow("a", "greeting", {"who": "Ann"}), keyed("k", "1"))
    with pytest.raises(KeyReused):
        await commands.handle(run_workflow("b", "greeting", {"who": "Bob"}), keyed("k", "2"))


async def test_a_repeat_is_answered_although_the_state_forbids_the_command_by_now(log: EventLog) -> None:
    commands = await started(log)
    first = await commands.handle(revise_workflow("greeting", {**DOCUMENT, "name": "Hello"}), keyed("k", "1"))
    await commands.handle(ArchiveWorkflow(workflow_id="greeting"), ME)
    again = await commands.handle(revise_workflow("greeting", {**DOCUMENT, "name": "Hello"}), keyed("k", "1"))
    assert (again.is_replay, again.version) == (True, first.version)


async def test_of_many_creations_of_one_id_one_is_done(event_log: EventLog) -> None:
    await started(event_log)
    handlers = [CommandHandler(event_log, SystemClock()) for _ in range(20)]
    results = await asyncio.gather(
        *(handler.handle(create_workflow("one", DOCUMENT), ME) for handler in handlers),
        return_exceptions=True,
    )
    assert sum(not isinstance(result, BaseException) for result in results) == 1
    assert sum(isinstance(result, Rejected) for result in results) == 19


async def test_twenty_cancellations_have_one_effect(event_log: EventLog) -> None:
    commands = await started(event_log)
    await commands.handle(run_workflow("x", "greeting", {"who": "Ann"}), ME)
    handlers = [CommandHandler(event_log, SystemClock()) for _ in range(20)]
    results = await asyncio.gather(
        *(handler.handle(CancelExecution(execution_id="x"), ME) for handler in handlers)
    )
    assert sum(bool(result.events) for result in results) == 1
    assert {result.version for result in results} == {3}


async def test_commands_that_come_at_once_on_one_stream_wait_for_each_other(event_log: EventLog) -> None:
    """Deciding all of them on one state would have one succeed and the others come again, and give up."""
    commands = await started(event_log)
    steps = {"first": {"crew": {"tasks": ["greet"]}}, "reply": {"signal": {}, "after": ["first"]}}
    await commands.handle(run_definition("x", {**DOCUMENT, "steps": steps}, {"who": "Ann"}), ME)
    sent = [SendSignal(execution_id="x", name="reply", payload=number, by="me") for number in range(60)]
    outcomes = await asyncio.gather(*(commands.handle(signal, ME) for signal in sent))
    assert [outcome.version for outcome in outcomes] == list(range(3, 63))
