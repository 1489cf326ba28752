"""Ended executions: which there are, written to files with their proof, and dropped from the read tables.

Called by `kasal retention archive` and `kasal cleanup`. Its one rule: the log is asked, not the lists,
whether an execution is archived already, and its files are on the disk before the log says that they are. So
a crash leaves at most files that nobody speaks of, which the next run writes again under the same names.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec

from application.audit.bundles import BundleHead, verify_bundle
from application.audit.ports import Forged
from domain.errors import Conflict, KasalError, Rejected
from domain.execution import ArchivedFile, ExecutionArchived, Status
from domain.message import Recorded
from domain.registry import event_of
from infrastructure.wiring import auditing, from_cloudevent
from interfaces.operations.talking import ask, check, lines
from interfaces.operations.whole_files import WholeFile, whole_file

PAGE = 200
PATIENCE_S = 60
LOCK = ".kasal-archive.lock"
ENDED = ",".join(status for status in Status if status.is_terminal)

Listed = dict[str, Any]
"""An item of the list of executions."""


class Unproved(KasalError):
    """The proof does not fit the events: nothing is archived before somebody has looked."""


class Skipped(Exception):
    """The execution is not for this run; the message says why."""


def ended(client: httpx.Client, before: datetime, *, archived: bool = False) -> Iterator[Listed]:
    """Executions that ended before a moment, page by page; what is dropped meanwhile disturbs nothing."""
    moment, cursor = before.isoformat(), None
    filters = {"status": ENDED, "ended_before": moment, "created_before": moment, "limit": PAGE}
    while True:
        page = ask(client, "/v1/executions", **filters, archived=str(archived).lower(), cursor=cursor)
        yield from page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return


def drop(client: httpx.Client, execution_id: str) -> None:
    """Out of the read tables. Raises `Skipped` when it goes on by now."""
    try:
        tell(client, execution_id, {})
    except Rejected as error:
        raise Skipped(str(error)) from error


class Archiver:
    """Writes to one folder. Two files an execution: its events with their large texts, and the proof."""

    def __init__(self, client: httpx.Client, folder: Path) -> None:
        self._client = client
        self._folder = folder.absolute()

    @contextmanager
    def alone(self) -> Iterator[Archiver]:
        """Itself, while nobody else writes to the folder; what a killed run has left half written is removed.

        Raises `Conflict` when somebody does.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / LOCK).open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(
                    f"another archive run writes to {self._folder}; expected one at a time"
                ) from None
            for part in self._folder.glob("*/.*.part"):
                part.unlink(missing_ok=True)
            yield self

    def archive(self, execution: Listed) -> int:
        """How many bytes were written. Raises `Skipped`, `Unproved`, and what the API refuses."""
        execution_id, month = execution["id"], execution["ended_at"][:7]
        names = (f"{month}/{execution_id}.ndjson", f"{month}/{execution_id}.audit.ndjson")
        (self._folder / month).mkdir(exist_ok=True)
        with whole_file(self._folder / names[0]) as events, whole_file(self._folder / names[1]) as proof:
            last = self._write_events(events, execution_id)
            check_not_written(last)
            self._write_proof(proof, execution_id, last.version)
        files = [
            ArchivedFile(name, file.sha256, file.size_bytes)
            for name, file in zip(names, (events, proof), strict=True)
        ]
        try:
            tell(self._client, execution_id, {"place": str(self._folder), "files": files}, at=last.version)
        except (Conflict, Rejected) as error:
            for name in names:
                (self._folder / name).unlink()
            raise Skipped(f"something happened to it meanwhile: {error}") from error
        return events.size_bytes + proof.size_bytes

    def _write_events(self, file: WholeFile, execution_id: str) -> Recorded:
        """The last event of those written."""
        last = b""
        with lines(self._client, f"/v1/executions/{execution_id}/history/export") as chunks:
            for line in whole_lines(chunks):
                file.write(line)
                last = line
        return from_cloudevent(last)

    def _write_proof(self, file: WholeFile, execution_id: str, version: int) -> None:
        route = f"/v1/executions/{execution_id}/audit-bundle"
        with lines(self._client, route, patience_s=PATIENCE_S) as chunks:
            for chunk in chunks:
                file.write(chunk)
        file.flush()
        check_proof(file.part, execution_id, version)


def check_not_written(last: Recorded) -> None:
    """Raises `Skipped` where the log says that the execution is in files already."""
    event = event_of(last)
    if isinstance(event, ExecutionArchived) and event.files:
        raise Skipped(f"it is archived already, in {event.place}")


def check_proof(path: Path, execution_id: str, version: int) -> None:
    """Whoever keeps it needs to trust the key; here it must only fit. Raises `Unproved`, `Skipped`."""
    with path.open("rb") as file:
        head = msgspec.json.decode(file.readline(), type=BundleHead)
        if head.events != version:
            raise Skipped("something happened to it meanwhile")
        if not head.key:
            return
        file.seek(0)
        try:
            found = verify_bundle(file, auditing.verifier([head.key]))
        except Forged as error:
            raise Unproved(
                f"the proof of execution {execution_id!r} is not signed as it says: {error}"
            ) from error
    if not found.is_sound:
        raise Unproved(f"the proof of execution {execution_id!r} does not hold: {found.findings[0]}")


def tell(client: httpx.Client, execution_id: str, body: object, *, at: int | None = None) -> None:
    """The command. at: the version that the execution must have."""
    headers = {"Content-Type": "application/json"} | ({} if at is None else {"If-Match": f'"v{at}"'})
    path = f"/v1/executions/{execution_id}/archive"
    check(client.post(path, content=msgspec.json.encode(body), headers=headers))


def whole_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Each with its end."""
    rest = b""
    for chunk in chunks:
        *found, rest = (rest + chunk).split(b"\n")
        for line in found:
            yield line + b"\n"
    if rest:
        raise KasalError("the export broke off in the middle of a line")
