"""Ids: UUIDv7, unlike each other from any thread and on both sides of a fork."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from infrastructure.clock import SystemClock, uuid7


def test_an_id_is_a_uuid_of_version_7_that_sorts_by_its_time() -> None:
    ids = [uuid7(moment, os.urandom(10)) for moment in (1, 1_000, 1_700_000_000_000, 2**48 - 1)]
    assert ids == sorted(ids)
    assert {(UUID(each).version, UUID(each).variant) for each in ids} == {(7, UUID(ids[0]).variant)}
    assert [str(UUID(each)) for each in ids] == ids


def test_the_system_s_ids_are_of_version_7_too() -> None:
    clock = SystemClock()
    ids = [clock.new_id() for _ in range(1_000)]
    assert {UUID(each).version for each in ids} == {7}
    assert [str(UUID(each)) for each in ids] == ids
    assert [each[:13] for each in ids] == sorted(each[:13] for each in ids)


def test_ids_of_many_threads_are_unlike_each_other() -> None:
    clock = SystemClock()
    with ThreadPoolExecutor(8) as threads:
        found = [
            each
            for ids in threads.map(lambda _: [clock.new_id() for _ in range(2_000)], range(8))
            for each in ids
        ]
    assert len(set(found)) == len(found)


def test_a_fork_does_not_repeat_the_ids_of_its_parent() -> None:
    clock = SystemClock()
    clock.new_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, clock.new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    of_child = os.read(reading, 36).decode()
    assert of_child[14:] != clock.new_id()[14:]
