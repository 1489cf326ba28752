"""Read models, and the engine that keeps them equal to the log.

`ALL` is what a projector projects. Its one rule: a projection can be asked, and can not send a command.
"""

from __future__ import annotations

from projections.approvals import APPROVALS_PROJECTION
from projections.catalog import CATALOG_PROJECTION
from projections.day_spending import DAY_SPENDING
from projections.due_waits import DUE_WAITS
from projections.execution_detail import EXECUTION_DETAIL
from projections.execution_history import EXECUTION_HISTORY
from projections.execution_list import EXECUTION_LIST
from projections.execution_timeline import EXECUTION_TIMELINE
from projections.open_children import OPEN_CHILDREN
from projections.open_steps import OPEN_STEPS
from projections.projection import Projection
from projections.schedules import SCHEDULES_PROJECTION
from projections.subscriptions import SUBSCRIPTIONS_PROJECTION
from projections.usage import USAGE_PROJECTION
from projections.workflow_detail import WORKFLOW_DETAIL
from projections.workflow_list import WORKFLOW_LIST

ALL: tuple[Projection, ...] = (
    WORKFLOW_LIST,
    WORKFLOW_DETAIL,
    EXECUTION_LIST,
    EXECUTION_DETAIL,
    EXECUTION_HISTORY,
    EXECUTION_TIMELINE,
    USAGE_PROJECTION,
    DAY_SPENDING,
    CATALOG_PROJECTION,
    OPEN_STEPS,
    OPEN_CHILDREN,
    APPROVALS_PROJECTION,
    DUE_WAITS,
    SCHEDULES_PROJECTION,
    SUBSCRIPTIONS_PROJECTION,
)

__all__ = ["ALL", "Projection"]
