"""The HTTP application: routes by resource, over the parts that the composition root gives.

Called by `kasal api` and `kasal up`. Its one rule: the path of a request is short; no middleware, no
injection, bodies and answers are bytes that we decode and encode ourselves (tests/benchmarks/http.py).
"""

from __future__ import annotations

import gc
from typing import cast

from litestar import Litestar
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.middleware import DefineMiddleware
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin

from application.live_events import LiveEvents
from interfaces.http import (
    answering,
    approvals,
    audit,
    budgets,
    catalog,
    contents,
    documentation,
    events,
    execution_queries,
    execution_states,
    executions,
    exports,
    forks,
    health,
    life,
    schedules,
    sockets,
    subscription_queries,
    subscriptions,
    usage,
    workflows,
)
from interfaces.http.admission import Admission
from interfaces.http.bodies import MAX_BODY_BYTES
from interfaces.http.direct import Direct
from interfaces.http.errors import on_error
from interfaces.http.parts import Parts
from interfaces.http.request import ApiRequest

ROUTES = (
    health.livez,
    health.readyz,
    workflows.create,
    workflows.list_all,
    workflows.detail,
    workflows.revise,
    workflows.archive,
    workflows.versions,
    workflows.one_version,
    executions.start,
    executions.generate_name,
    budgets.raise_budget,
    life.cancel,
    life.pause,
    life.resume,
    life.retry,
    life.archive,
    life.erase,
    answering.settle,
    answering.review,
    forks.fork,
    forks.what_if,
    execution_queries.list_all,
    execution_queries.detail,
    execution_queries.history,
    execution_queries.timeline,
    execution_states.state,
    execution_states.diff,
    contents.detail,
    events.stream_execution,
    events.stream_all,
    sockets.all_events,
    sockets.one_execution,
    *audit.ROUTES,
    exports.of_execution,
    exports.of_log,
    *catalog.ROUTES,
    *approvals.ROUTES,
    *schedules.ROUTES,
    *subscriptions.ROUTES,
    *subscription_queries.ROUTES,
    usage.list_all,
    usage.list_days,
    documentation.page,
    documentation.as_json,
    documentation.as_yaml,
    documentation.asyncapi_json,
    documentation.asyncapi_yaml,
    documentation.part,
)


class Application(Litestar):
    """Litestar without what it would load for pydantic and attrs, which are there where crews are installed:
    80 ms of each start. Our bodies are msgspec's."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def create_app(parts: Parts) -> Litestar:
    """The application; whoever runs it owns the parts and closes them afterwards."""
    admission = Admission(parts.settings)
    live = LiveEvents(parts.read_log, parts.feed, limit=parts.settings.max_streams)
    return Application(
        route_handlers=ROUTES,
        middleware=[DefineMiddleware(Direct, parts=parts, admission=admission)],
        before_request=admission.admit,
        exception_handlers={Exception: on_error, HTTPException: on_error},
        request_class=ApiRequest,
        request_max_body_size=MAX_BODY_BYTES,
        state=State({"live": live, "server_sent": events.server_sent(parts.to_cloudevent)}),
        on_shutdown=[live.close],
        openapi_config=None,
        logging_config=None,
        debug=False,
    )


def spare_the_collector() -> None:
    """Called once by a process that serves the application: what is there stays, and what a request makes is
    mostly gone before it is looked at (measured: 15 % of a command's time).

    Not too seldom: all that stays, such as remembered states, is looked at once, and 50,000 take 9 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 100)


async def end_streams(app: Litestar) -> None:
    """Let every open stream come to its end, so that the server can: called before the server is stopped."""
    await cast("LiveEvents", app.state["live"]).close()
