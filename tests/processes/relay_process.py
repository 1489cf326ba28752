"""A relay as a process: `python -m tests.processes.relay_process <log url> <page>`, NATS by environment.

Called by `test_relay_processes.py`, which kills it. Its one rule: nothing but what `kasal relay` does.
"""

from __future__ import annotations

import asyncio
import os
import sys

from application.relay import relay
from infrastructure.event_log.opening import open_event_log
from infrastructure.nats.connection import connect
from infrastructure.nats.feed import JetStreamFeed


async def main(log_url: str, page: int) -> None:
    log = await open_event_log(log_url)
    connection = await connect(os.environ["KASAL_NATS_URL"], "relay")
    await relay(log, JetStreamFeed(connection), page=page)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
