"""What a child notes of its leases is known to whoever comes after it, whatever ended it."""

from __future__ import annotations

import os
import signal

from interfaces.processes.held import SLOT_BYTES, SLOTS, Held


def in_a_child(held: Held, *, holds: tuple[str, ...] = (), lets_go: tuple[str, ...] = ()) -> None:
    """A process that goes on with `held`, holds, lets go, and is killed in the next moment."""
    if (pid := os.fork()) == 0:
        held.open()
        for lease in holds:
            held.hold(lease)
        for lease in lets_go:
            held.let_go(lease)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def test_the_parent_knows_what_a_killed_child_held() -> None:
    held = Held()
    in_a_child(held, holds=("one", "two", "three"), lets_go=("two",))
    assert held.leases() == ("one", "three")


def test_the_next_child_goes_on_with_what_the_one_before_held() -> None:
    held = Held()
    in_a_child(held, holds=("one", "two"))
    in_a_child(held, holds=("three",), lets_go=("one",))
    assert sorted(held.leases()) == ["three", "two"]


def test_a_slot_is_used_again() -> None:
    held = Held()
    held.open()
    for number in range(3 * SLOTS):
        held.hold(f"a lease with number {number}")
        assert number % 997 or held.leases() == (f"a lease with number {number}",)
        held.let_go(f"a lease with number {number}")
    held.hold("short")
    assert held.leases() == ("short",)


def test_what_finds_no_room_is_not_noted_and_harms_nothing() -> None:
    held = Held()
    held.open()
    held.hold("x" * SLOT_BYTES)
    held.hold("y" * (SLOT_BYTES - 1))
    for number in range(SLOTS):
        held.hold(str(number))
    assert held.leases() == ("y" * (SLOT_BYTES - 1), *map(str, range(SLOTS - 1)))
    held.let_go("x" * SLOT_BYTES)
    held.let_go(str(SLOTS - 1))
    assert len(held.leases()) == SLOTS
