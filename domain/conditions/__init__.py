"""A small, safe, typed expression language: a subset of CEL (Common Expression Language).

Used by `domain.flow_checks` when a document is saved and by the execution while it runs. Its one rule:
nothing can be called, and nothing but the given values can be reached; a bounded text does bounded work.

    inputs.amount > 100 && risk.risk_level in ["medium", "high"]
"""

from domain.conditions.checking import Checked, check
from domain.conditions.evaluating import Evaluation, evaluate
from domain.conditions.syntax import parse
from domain.conditions.types import ANY, Type, list_of, object_of, type_of_schema

__all__ = [
    "ANY",
    "Checked",
    "Evaluation",
    "Type",
    "check",
    "evaluate",
    "list_of",
    "object_of",
    "parse",
    "type_of_schema",
]
