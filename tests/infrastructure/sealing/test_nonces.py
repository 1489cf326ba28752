"""Nonces: unlike each other from any thread and on both sides of a fork."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from infrastructure.sealing.nonces import AT_ONCE, NONCE_BYTES, Nonces


def test_nonces_of_many_threads_are_unlike_each_other() -> None:
    nonces = Nonces()
    with ThreadPoolExecutor(8) as threads:
        found = [
            each
            for some in threads.map(lambda _: [nonces.new() for _ in range(10 * AT_ONCE)], range(8))
            for each in some
        ]
    assert {len(each) for each in found} == {NONCE_BYTES}
    assert len(set(found)) == len(found)


def test_a_fork_does_not_repeat_the_nonces_of_its_parent() -> None:
    nonces = Nonces()
    nonces.new()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, nonces.new())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, NONCE_BYTES) != nonces.new()
