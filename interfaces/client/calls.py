"""Every call of the API as a value: what is sent and how the answer is read. No I/O.

Called by both clients. Its one rule: a command has an idempotency key, made here when the caller gave none,
so that it can be sent again.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from interfaces.client import shapes
from interfaces.client.shapes import Accepted, Execution, Page

T = TypeVar("T")
Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """One request. read: makes the answer of the body."""

    method: str
    path: str
    read: Callable[[bytes], T]
    params: dict[str, str] = field(default_factory=dict)
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)


def query(path: str, read: Callable[[bytes], T], **params: object) -> Call[T]:
    """None is left out, several values come with commas."""
    return Call(method="GET", path=path, read=read, params=parameters(params))


def command(
    path: str, body: object = None, *, method: str = "POST", wait_s: int | None = None, key: str | None = None
) -> Call[Accepted]:
    """wait_s: answer when the queries have it, or after so long. key: of the caller's choice."""
    headers = {"Idempotency-Key": key or str(uuid.uuid4())}
    if wait_s is not None:
        headers["Prefer"] = f"wait={wait_s}"
    return Call(method=method, path=path, read=shapes.accepted, body=body or {}, headers=headers)


def start(
    workflow: str | Json,
    inputs: Json | None,
    *,
    version: int | None,
    name: str | None,
    wait_s: int | None,
    key: str | None,
) -> Call[Accepted]:
    """workflow: the id of a saved one, or a document."""
    what = {"workflow_id": workflow} if isinstance(workflow, str) else {"definition": workflow}
    more = {"workflow_version": version, "name": name}
    body = what | {"inputs": inputs or {}} | {key: each for key, each in more.items() if each is not None}
    return command("/v1/executions", body, wait_s=wait_s, key=key)


def on_execution(
    execution_id: str, verb: str, body: object = None, wait_s: int | None = None
) -> Call[Accepted]:
    return command(f"/v1/executions/{quoted(execution_id)}/{verb}", body, wait_s=wait_s)


def execution(execution_id: str, after: int | None) -> Call[Execution]:
    return query(f"/v1/executions/{quoted(execution_id)}", shapes.execution, after=after)


def pages(path: str, cursor: str | None, params: Mapping[str, object]) -> Call[Page]:
    return query(path, shapes.page, **{**params, "cursor": cursor})


def given(**fields: object) -> dict[str, object]:
    """A body without what was left out."""
    return {name: value for name, value in fields.items() if value is not None}


def parameters(params: Mapping[str, object]) -> dict[str, str]:
    return {name: text_of(value) for name, value in params.items() if value is not None and value != ()}


def text_of(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)


def quoted(part: str) -> str:
    """A path segment."""
    return quote(part, safe="")
