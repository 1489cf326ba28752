"""The asynchronous client. The same calls as `synchronous`; see `interfaces.client`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any, TypeVar

import httpx

from interfaces.client import calls, tries
from interfaces.client.calls import Call, Json, quoted
from interfaces.client.errors import Unreachable, error_of
from interfaces.client.following import Following
from interfaces.client.managing import Managing
from interfaces.client.shapes import Accepted, Event, Execution, Token, document

T = TypeVar("T")

WAIT_S = 0.1
"""How often `wait` looks whether the read models have what the log has."""

TIMEOUT_S = 30.0
SILENT_S = 60.0
"""A stream that gives no sign of life for so long (there is one every 15 seconds) is begun again."""


class AsyncKasal(Managing[Awaitable[Accepted], Awaitable[dict[str, Any]], AsyncIterator[dict[str, Any]]]):
    """A client of one installation. An async context manager."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8700",
        token: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        """token: of the installation, where it has one. http: a client of your own, which stays yours."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._is_ours = http is None
        self._position = 0
        self._http = http or httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout_s)

    async def __aenter__(self) -> AsyncKasal:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._is_ours:
            await self._http.aclose()

    # --- executions

    async def start(
        self,
        workflow: str | Json,
        inputs: Json | None = None,
        *,
        version: int | None = None,
        name: str | None = None,
        wait_s: int | None = None,
        key: str | None = None,
    ) -> Accepted:
        """Start a saved workflow by its id, or a document. key: the same key starts once."""
        call = calls.start(workflow, inputs, version=version, name=name, wait_s=wait_s, key=key)
        return await self.send(call)

    async def execution(self, execution_id: str, *, after: int | None = None) -> Execution:
        """As it is now; after: at least as of this position; else of this client's last command."""
        return await self.send(calls.execution(execution_id, after))

    async def wait(self, execution_id: str, *, timeout_s: float | None = None) -> Execution:
        """The execution when it has ended. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            while True:
                found = await self.execution(execution_id)
                if found.has_ended:
                    return found
                await asyncio.sleep(WAIT_S)

    def executions(self, **filters: object) -> AsyncIterator[dict[str, Any]]:
        """All of them, newest first, page by page; filters as of `GET /v1/executions`."""
        return self.items("/v1/executions", **filters)

    def history(self, execution_id: str, **filters: object) -> AsyncIterator[dict[str, Any]]:
        """Every event of an execution, page by page; filters as of `GET .../history`."""
        return self.items(f"/v1/executions/{quoted(execution_id)}/history", **filters)

    async def timeline(self, execution_id: str) -> dict[str, Any]:
        """Steps, tasks and calls, as they lie within each other."""
        return await self.get(f"/v1/executions/{quoted(execution_id)}/timeline")

    async def cancel(self, execution_id: str, reason: str = "", *, wait_s: int | None = None) -> Accepted:
        """End it; what runs is stopped."""
        return await self.send(calls.on_execution(execution_id, "cancel", {"reason": reason}, wait_s))

    async def pause(self, execution_id: str, reason: str = "", *, wait_s: int | None = None) -> Accepted:
        """Begin no more calls; what was paid for is kept."""
        return await self.send(calls.on_execution(execution_id, "pause", {"reason": reason}, wait_s))

    async def resume(self, execution_id: str, *, wait_s: int | None = None) -> Accepted:
        """Go on where it was paused."""
        return await self.send(calls.on_execution(execution_id, "resume", None, wait_s))

    def approvals(self, **filters: object) -> AsyncIterator[dict[str, Any]]:
        """What waits for a person, and what they said; filters as of `GET /v1/approvals`."""
        return self.items("/v1/approvals", **filters)

    async def approve(
        self,
        execution_id: str,
        approval_id: str,
        digest: str,
        *,
        decision: str = "approve",
        comment: str = "",
        approver: str | None = None,
        edits: Json | None = None,
    ) -> Accepted:
        """Decide what waits: approve, reject or retry. digest: of what was shown, as the approval has it."""
        wish: dict[str, object] = {"decision": decision, "digest": digest, "comment": comment}
        wish |= {"approver": approver, "edits": edits}
        body = {field: value for field, value in wish.items() if value is not None}
        return await self.send(calls.on_execution(execution_id, f"approvals/{quoted(approval_id)}", body))

    async def signal(self, execution_id: str, name: str, payload: object = None) -> Accepted:
        """Tell an execution what it waits for."""
        body = {"payload": payload}
        return await self.send(calls.on_execution(execution_id, f"signals/{quoted(name)}", body))

    async def fork(
        self,
        execution_id: str,
        *,
        at: int | None = None,
        overrides: Json | None = None,
        name: str | None = None,
    ) -> Accepted:
        """A new execution from an entry of another's journal; what lies before is not paid for again."""
        wish = {"at": at, "overrides": overrides, "name": name}
        body = {field: value for field, value in wish.items() if value is not None}
        return await self.send(calls.on_execution(execution_id, "fork", body))

    # --- workflows

    async def create_workflow(
        self, document: Json, *, key: str | None = None, wait_s: int | None = None
    ) -> Accepted:
        """Save a new workflow. key: the same key saves once."""
        return await self.send(calls.command("/v1/workflows", document, key=key, wait_s=wait_s))

    async def revise_workflow(
        self, workflow_id: str, document: Json, *, wait_s: int | None = None
    ) -> Accepted:
        """A new version of a workflow."""
        path = f"/v1/workflows/{quoted(workflow_id)}"
        return await self.send(calls.command(path, document, method="PUT", wait_s=wait_s))

    async def archive_workflow(self, workflow_id: str) -> Accepted:
        return await self.send(calls.command(f"/v1/workflows/{quoted(workflow_id)}/archive"))

    async def workflow(self, workflow_id: str) -> dict[str, Any]:
        """With its document, in its newest version."""
        return await self.get(f"/v1/workflows/{quoted(workflow_id)}")

    def workflows(self, **filters: object) -> AsyncIterator[dict[str, Any]]:
        """All of them, newest first; filters as of `GET /v1/workflows`."""
        return self.items("/v1/workflows", **filters)

    # --- streams

    def follow(self, execution_id: str, *, after: int = 0, types: Sequence[str] = ()) -> AsyncIterator[Event]:
        """An execution's events, from the first to the last, each once, whatever breaks meanwhile."""
        path = f"/v1/executions/{quoted(execution_id)}/stream"
        return self._events(Following(path, after, type=types))

    def follow_with_tokens(self, execution_id: str, *, after: int = 0) -> AsyncIterator[Event | Token]:
        """Also pieces of model answers while they are made; of these some may be missing."""
        path = f"/v1/executions/{quoted(execution_id)}/stream"
        return self._following(Following(path, after, tokens=True))

    def events(
        self,
        *,
        after: int | None = None,
        types: Sequence[str] = (),
        statuses: Sequence[str] = (),
        workflow_id: str | None = None,
    ) -> AsyncIterator[Event]:
        """Everything that is recorded behind a position (None: from now on), without end."""
        following = Following("/v1/events", after, type=types, status=statuses, workflow_id=workflow_id)
        return self._events(following)

    # --- anything else

    async def get(self, path: str, **params: object) -> dict[str, Any]:
        """A query of the API that has no method here."""
        return await self.send(calls.query(path, document, **params))

    async def post(self, path: str, body: object = None, *, wait_s: int | None = None) -> Accepted:
        """A command of the API that has no method here."""
        return await self.send(calls.command(path, body, wait_s=wait_s))

    async def items(self, path: str, **params: object) -> AsyncIterator[dict[str, Any]]:
        """The items of a list, page by page."""
        cursor: str | None = None
        while True:
            found = await self.send(calls.pages(path, cursor, params))
            for item in found.items:
                yield item
            cursor = found.next_cursor
            if cursor is None:
                return

    async def send(self, call: Call[T]) -> T:
        """Send a call, again where that is safe. Raises `ApiError`, `Unreachable`."""
        for number in range(tries.TRIES):
            is_last = number == tries.TRIES - 1 or not tries.may_repeat(call)
            try:
                answer = await self._http.request(
                    call.method, call.path, params=call.params, json=call.body, headers=self._headers(call)
                )
            except httpx.TransportError as error:
                if is_last:
                    raise Unreachable(f"{call.method} {call.path}: {error}") from error
                await asyncio.sleep(tries.pause_s(number, None))
                continue
            if answer.status_code == tries.BUSY and not is_last:
                await asyncio.sleep(tries.pause_s(number, answer.headers.get("Retry-After")))
                continue
            if answer.is_success:
                self._position = max(self._position, tries.position_of(call, answer.headers))
                return call.read(answer.content)
            raise error_of(answer.status_code, answer.content)
        raise AssertionError("the last try returns or raises")

    def _headers(self, call: Call[Any]) -> dict[str, str]:
        """A query sees what this client's own commands did."""
        sees = {"Kasal-After": str(self._position)} if call.method == "GET" and self._position else {}
        return call.headers | sees

    async def _events(self, following: Following) -> AsyncIterator[Event]:
        async for found in self._following(following):
            if isinstance(found, Event):
                yield found

    async def _following(self, following: Following) -> AsyncIterator[Event | Token]:
        while not following.has_ended:
            try:
                async for found in self._connection(following):
                    yield found
            except httpx.TransportError:
                await asyncio.sleep(following.pause_s())

    async def _connection(self, following: Following) -> AsyncIterator[Event | Token]:
        """One response, to its end or a cut."""
        following.begin()
        headers = {"Accept": "text/event-stream"}
        timeout = httpx.Timeout(TIMEOUT_S, read=SILENT_S)
        request = self._http.build_request(
            "GET", following.path, params=following.params, headers=headers, timeout=timeout
        )
        response = await self._http.send(request, stream=True)
        try:
            if response.status_code == httpx.codes.NO_CONTENT:
                following.has_ended = True
                return
            if response.status_code == tries.BUSY:
                raise httpx.ReadError("the API is busy")
            if response.is_error:
                raise error_of(response.status_code, await response.aread())
            async for line in response.aiter_lines():
                if (found := following.take(line)) is not None:
                    yield found
        finally:
            await response.aclose()
        if not following.has_ended:
            raise httpx.ReadError("the stream was cut")
