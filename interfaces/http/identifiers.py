"""Ids as they come in paths: what could not be an id of ours is not there."""

from __future__ import annotations

import re

from domain.errors import NotFound

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


_ANSWER = re.compile(r"[A-Za-z0-9_~.:-]{1,500}")


def checked_answer_id(kind: str, asked: str) -> str:
    """The id of a call or a review. Raises `NotFound` for a text that none has ever had."""
    if not _ANSWER.fullmatch(asked):
        raise NotFound(f"there is no {kind} {asked[:80]!r}")
    return asked


def checked_id(kind: str, entity_id: str) -> str:
    """The id. Raises `NotFound` for a text that no `kind` has ever had as its id."""
    if not _ID.fullmatch(entity_id):
        raise NotFound(f"there is no {kind} {entity_id[:80]!r}")
    return entity_id
