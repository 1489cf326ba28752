"""What differs between two JSON values, as a list of changes.

Used by the queries that compare states and executions. Its one rule: the paths are RFC 6901 pointers into the
values, so that a client finds again what changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """path: an RFC 6901 pointer. before, after: null where there was, or is, nothing."""

    op: Literal["add", "remove", "replace"]
    path: str
    before: Any = None
    after: Any = None


def differences(before: Any, after: Any, path: str = "") -> Iterator[Change]:
    """In the order of `before`, what was added after it. Lists are compared place by place."""
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _members(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _members(dict(enumerate(before)), dict(enumerate(after)), path)
    elif before != after or type(before) is not type(after):
        yield Change(op="replace", path=path, before=before, after=after)


def _members(before: dict[Any, Any], after: dict[Any, Any], path: str) -> Iterator[Change]:
    for name, value in before.items():
        at = f"{path}/{_escaped(name)}"
        if name in after:
            yield from differences(value, after[name], at)
        else:
            yield Change(op="remove", path=at, before=value)
    for name, value in after.items():
        if name not in before:
            yield Change(op="add", path=f"{path}/{_escaped(name)}", after=value)


def _escaped(name: str | int) -> str:
    return str(name).replace("~", "~0").replace("/", "~1")
