"""A map of 100 and of 1,000 items through the whole house: what an item costs must not grow with the list.

Run by `make bench`. One `kasal up` and two runners with the no-op engine, on SQLite and on PostgreSQL, with
JetStream; 100 items side by side, each an attempt of its own, durable like production.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from tests.benchmarks.end_to_end import Client, Ends, house
from tests.processes.stack import Up, post
from tests.servers import postgres_database, postgres_server

SIZES = (100, 1_000)
ROUNDS = 3
MAX_EVENT_BYTES = 256 * 1024

MAPPED: dict[str, Any] = {
    "name": "Greetings",
    "agents": {"worker": {"role": "Worker", "goal": "Work", "backstory": "Works", "model": "demo/small"}},
    "tasks": {"greet": {"agent": "worker", "description": "Greet {item}", "expected_output": "a greeting"}},
    "inputs": {"names": {"type": "array", "items": {"type": "string"}}},
    "steps": {"each": {"map": {"over": "inputs.names", "tasks": ["greet"], "max_parallel": 100}}},
}


class Result(msgspec.Struct, frozen=True):
    """ms_per_item: from the start to COMPLETED, the best of some rounds; bytes_per_item: of all events."""

    database: str
    items: int
    ms_per_item: float
    bytes_per_item: float
    largest_event: int


async def measure(up: Up, ends: Ends, workflow_id: str, items: int) -> tuple[float, str]:
    """Milliseconds an item, and the execution."""
    names = [f"person {number:06}" for number in range(items)]
    body = msgspec.json.encode({"workflow_id": workflow_id, "inputs": {"names": names}})
    client = await Client.open(up.url)
    begin = time.perf_counter()
    answer = msgspec.json.decode(await client.post("/v1/executions", body))
    await ends.of(answer["id"])
    elapsed = time.perf_counter() - begin
    client.close()
    return elapsed * 1_000 / items, answer["id"]


def event_sizes(up: Up, execution_id: str) -> list[int]:
    """Of the data of each event, as the history gives it."""
    sizes: list[int] = []
    path = f"/v1/executions/{execution_id}/history?limit=200"
    while path:
        answer = up.client.get(path)
        answer.raise_for_status()
        sizes += [len(msgspec.json.encode(item["data"])) for item in answer.json()["items"]]
        path = str(answer.links["next"]["url"]) if "next" in answer.links else ""
    return sizes


async def run(database: str, log_url: str = "", read_url: str = "") -> list[Result]:
    """The sizes in turn, so that a machine that slows down meanwhile slows both."""
    async with house(log_url, read_url, runners=2) as (up, ends, _):
        workflow_id = post(up.client, "/v1/workflows", MAPPED)["id"]
        await measure(up, ends, workflow_id, SIZES[0])
        rounds = [[await measure(up, ends, workflow_id, items) for items in SIZES] for _ in range(ROUNDS)]
        results = []
        for items, measured in zip(SIZES, zip(*rounds, strict=True), strict=True):
            sizes = event_sizes(up, measured[0][1])
            best = min(ms for ms, _ in measured)
            results.append(Result(database, items, best, sum(sizes) / items, max(sizes)))
        return results


async def measure_both() -> list[Result]:
    results = await run("sqlite")
    with postgres_server() as server, postgres_database(server) as url:
        results += await run("postgresql", url, url)
    return results


def main() -> None:
    results = asyncio.run(measure_both())
    print("\na map of no-op items, start to COMPLETED; 100 side by side, two runners")
    for row in results:
        print(
            f"  {row.database:10} {row.items:5} items  {row.ms_per_item:6.2f} ms/item"
            f"  {row.bytes_per_item:6.0f} bytes of events/item"
            f"  largest event {row.largest_event / 1024:5.1f} KiB (limit {MAX_EVENT_BYTES // 1024})"
        )
    for small, large in zip(results[::2], results[1::2], strict=True):
        ratio = large.ms_per_item / small.ms_per_item
        print(f"  {small.database:10} an item of 1,000 costs {ratio:.2f} times what one of 100 does")


if __name__ == "__main__":
    main()
