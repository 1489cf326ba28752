"""given(events).when(command).then(events): sentences about a decider, without any infrastructure."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import pytest

from domain.errors import KasalError
from domain.message import Aggregate, Command, Event

S = TypeVar("S")


class Spec(Generic[S]):
    """Sentences about one aggregate. Immutable: each of `given` and `when` returns a longer sentence."""

    def __init__(
        self,
        aggregate: Aggregate[S, Any, Any],
        events: tuple[Event, ...] = (),
        command: Command | None = None,
    ) -> None:
        self._aggregate = aggregate
        self._events = events
        self._command = command

    def given(self, *events: Event) -> Spec[S]:
        return Spec(self._aggregate, (*self._events, *events), self._command)

    def when(self, command: Command) -> Spec[S]:
        return Spec(self._aggregate, self._events, command)

    def then(self, *expected: Event) -> None:
        assert self.decided() == expected

    def then_nothing(self) -> None:
        self.then()

    def then_refused(self, error: type[KasalError], match: str) -> None:
        with pytest.raises(error, match=match):
            self.decided()

    def state(self) -> S:
        state = self._aggregate.initial
        for event in self._events:
            state = self._aggregate.evolve(state, event)
        return state

    def decided(self) -> tuple[Event, ...]:
        assert self._command is not None
        return tuple(self._aggregate.decide(self.state(), self._command))
