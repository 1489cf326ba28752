"""What every process of Kasal has in common: settings, log lines, signals, a sign of life, a bounded end.

Called by the entry points beside it. On SIGTERM or Ctrl-C the main coroutine is cancelled and has `DRAIN_S`
to finish or hand back what it holds.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import uvloop

from infrastructure.settings import Settings, load_settings

if TYPE_CHECKING:
    from infrastructure.wiring import Installation

log = structlog.get_logger()

DRAIN_S = 25
HEARTBEAT_S = 2

Main = Callable[["Installation"], Awaitable[None]]


def run(name: str, main: Main, **given: Any) -> None:
    """Run one process until it is told to stop. Exits with 1 when it ends by itself. `given`: options."""
    from infrastructure.wiring import Installation  # not in runners, which have no database

    settings = load_settings(**given)
    configure_logging(settings.log_level, name)
    switch_often()

    async def installed() -> None:
        async with Installation(settings) as installation:
            await main(installation)

    uvloop.run(until_stopped(name, installed, settings))


def switch_often() -> None:
    """The event loop waits for a thread that computes a tenth of what Python lets it wait. Not in runners:
    they are threads that compute, and would run an eighth fewer crews."""
    sys.setswitchinterval(0.0005)


async def until_stopped(name: str, main: Callable[[], Awaitable[None]], settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    work = asyncio.ensure_future(main())
    heart = asyncio.create_task(beat(sign_of_life(settings, name)))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
    heart.cancel()
    stopped.cancel()
    await drain(work)
    if not work.cancelled() and (error := work.exception()):
        raise innermost(error)


def innermost(error: BaseException) -> BaseException:
    """What went wrong, out of the groups that hold it alone."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def drain(work: asyncio.Future[None]) -> None:
    """Cancel, and wait for the end within the bound."""
    work.cancel()
    await asyncio.wait({work}, timeout=DRAIN_S)
    if not work.done():
        pending = sorted(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
        log.error("gave up waiting for the end", seconds=DRAIN_S, pending=pending)
        raise SystemExit(1)


def sign_of_life(settings: Settings, name: str) -> Path:
    """The file whose age tells `kasal health` that the process's loop turns."""
    return settings.data_dir / "health" / name


async def beat(path: Path) -> None:
    touch(path)
    try:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            touch(path)
    finally:
        remove(path)


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def configure_logging(level: str, process: str) -> None:
    """JSON lines on stderr; structlog and the standard library alike."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    logging.basicConfig(level=max(number, logging.WARNING), stream=sys.stderr, format="%(name)s: %(message)s")
