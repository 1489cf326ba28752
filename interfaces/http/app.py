"""The HTTP application: routes by resource, over the parts that the composition root gives.

Called by `kasal api` and `kasal up`. Its one rule: the path of a request is short; no middleware, no
injection, bodies and answers are bytes that we decode and encode ourselves (tests/benchmarks/http.py).
"""

from __future__ import annotations

from litestar import Litestar
from litestar.datastructures import State
from litestar.exceptions import HTTPException

from interfaces.http import executions, health, workflows
from interfaces.http.admission import Admission
from interfaces.http.bodies import MAX_BODY_BYTES
from interfaces.http.errors import on_error
from interfaces.http.parts import Parts
from interfaces.http.request import ApiRequest

ROUTES = (
    health.livez,
    health.readyz,
    workflows.create,
    workflows.revise,
    workflows.archive,
    executions.start,
    executions.generate_name,
    executions.cancel,
)


def create_app(parts: Parts) -> Litestar:
    """The application; whoever runs it owns the parts and closes them afterwards."""
    return Litestar(
        route_handlers=ROUTES,
        before_request=Admission(parts.settings).admit,
        exception_handlers={Exception: on_error, HTTPException: on_error},
        request_class=ApiRequest,
        request_max_body_size=MAX_BODY_BYTES,
        state=State({"parts": parts}),
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
