"""What both clients can do besides running executions: retry, budgets, what-ifs, schedules, subscriptions.

The base of `Kasal` and `AsyncKasal`. Its one rule: a method makes a `Call` and sends it; what comes back is
an answer or an awaitable of one, as the client is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from interfaces.client import calls
from interfaces.client.calls import Call, Json, given, quoted

Done = TypeVar("Done")
Found = TypeVar("Found")
Items = TypeVar("Items")


class Managing(ABC, Generic[Done, Found, Items]):
    """Done: what a command gives. Found: what a query gives. Items: what a list gives."""

    @abstractmethod
    def send(self, call: Call[Any]) -> Any: ...

    @abstractmethod
    def get(self, path: str, **params: object) -> Found: ...

    @abstractmethod
    def items(self, path: str, **params: object) -> Items: ...

    def retry(self, execution_id: str, *, wait_s: int | None = None) -> Done:
        """Go on where it failed or timed out."""
        return self._sent(calls.on_execution(execution_id, "retry", None, wait_s))

    def erase(self, execution_id: str, reason: str = "", *, wait_s: int | None = None) -> Done:
        """Destroy what an execution that has ended said, for good; that it happened stays, with proofs."""
        return self._sent(calls.on_execution(execution_id, "erase", given(reason=reason or None), wait_s))

    def raise_budget(
        self, execution_id: str, limits: Json | None = None, *, wait_s: int | None = None
    ) -> Done:
        """Limits that are higher from now on, such as `{"budget_usd": 5}`; what waits for budget goes on."""
        return self._sent(calls.on_execution(execution_id, "budget", limits, wait_s))

    def what_if(self, execution_id: str, *, overrides: Json | None = None, name: str | None = None) -> Done:
        """Run it again with other models or prompts; tools are answered as they were then."""
        return self._sent(calls.on_execution(execution_id, "what-if", given(overrides=overrides, name=name)))

    # --- schedules

    def create_schedule(self, plan: Json, *, key: str | None = None, wait_s: int | None = None) -> Done:
        """Run a workflow at the times of a cron expression. key: the same key makes one."""
        return self._sent(calls.command("/v1/schedules", plan, key=key, wait_s=wait_s))

    def revise_schedule(self, schedule_id: str, plan: Json, *, wait_s: int | None = None) -> Done:
        """The whole plan; `"enabled": False` switches it off."""
        return self._sent(calls.command(schedule(schedule_id), plan, method="PUT", wait_s=wait_s))

    def delete_schedule(self, schedule_id: str, *, wait_s: int | None = None) -> Done:
        """No further runs; those under way go on."""
        return self._sent(calls.command(schedule(schedule_id), method="DELETE", wait_s=wait_s))

    def schedule(self, schedule_id: str) -> Found:
        """With its next slot and its last run."""
        return self.get(schedule(schedule_id))

    def schedules(self, **filters: object) -> Items:
        """All of them, oldest first; filters as of `GET /v1/schedules`."""
        return self.items("/v1/schedules", **filters)

    # --- subscriptions

    def create_subscription(
        self,
        url: str,
        wanted: Json | None = None,
        *,
        description: str | None = None,
        after: int | None = None,
        key: str | None = None,
        wait_s: int | None = None,
    ) -> Done:
        """Have events sent to an endpoint; the answer has the `secret`, which is shown nowhere else."""
        body = given(url=url, wanted=wanted, description=description, after=after)
        return self._sent(calls.command("/v1/subscriptions", body, key=key, wait_s=wait_s))

    def revise_subscription(
        self,
        subscription_id: str,
        url: str,
        wanted: Json | None = None,
        *,
        description: str | None = None,
        wait_s: int | None = None,
    ) -> Done:
        """Where events go, and which; what is left out is as for a new one."""
        body = given(url=url, wanted=wanted, description=description)
        return self._sent(calls.command(subscription(subscription_id), body, method="PUT", wait_s=wait_s))

    def delete_subscription(self, subscription_id: str, *, wait_s: int | None = None) -> Done:
        """Send nothing more."""
        return self._sent(calls.command(subscription(subscription_id), method="DELETE", wait_s=wait_s))

    def pause_subscription(self, subscription_id: str, *, wait_s: int | None = None) -> Done:
        """Hold deliveries back; nothing is lost."""
        return self._sent(calls.command(subscription(subscription_id, "/pause"), wait_s=wait_s))

    def resume_subscription(
        self, subscription_id: str, *, after: int | None = None, wait_s: int | None = None
    ) -> Done:
        """Go on where it stopped, or behind a position."""
        path = subscription(subscription_id, "/resume")
        return self._sent(calls.command(path, given(after=after), wait_s=wait_s))

    def test_subscription(self, subscription_id: str, *, wait_s: int | None = None) -> Done:
        """Send a test event."""
        return self._sent(calls.command(subscription(subscription_id, "/test"), wait_s=wait_s))

    def rotate_secret(self, subscription_id: str, *, overlap_s: int | None = None) -> Done:
        """Sign with a new `secret`, and for a while (a day) with the one before, too."""
        path = subscription(subscription_id, "/rotate-secret")
        return self._sent(calls.command(path, given(overlap_s=overlap_s)))

    def replay_dead_letters(self, subscription_id: str, positions: Sequence[int] = ()) -> Done:
        """Send again what could not be delivered: these, or all."""
        path = subscription(subscription_id, "/dead-letters/replay")
        return self._sent(calls.command(path, {"positions": list(positions)}))

    def dead_letters(self, subscription_id: str, **filters: object) -> Items:
        """What could not be delivered, in the order of the log."""
        return self.items(subscription(subscription_id, "/dead-letters"), **filters)

    def subscription(self, subscription_id: str) -> Found:
        """As it is now; no secret is shown."""
        return self.get(subscription(subscription_id))

    def subscriptions(self, **filters: object) -> Items:
        """All of them, newest first; filters as of `GET /v1/subscriptions`."""
        return self.items("/v1/subscriptions", **filters)

    def _sent(self, call: Call[Any]) -> Done:
        done: Done = self.send(call)
        return done


def schedule(schedule_id: str) -> str:
    return f"/v1/schedules/{quoted(schedule_id)}"


def subscription(subscription_id: str, rest: str = "") -> str:
    return f"/v1/subscriptions/{quoted(subscription_id)}{rest}"
