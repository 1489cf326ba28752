"""Ages on the command line: `90d`, `36h`, `30m`, `10s`.

Used by the verbs that clear up. Its one rule: an age always has its unit.
"""

from __future__ import annotations

import re
from datetime import timedelta

import click

UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_AGE = re.compile(r"(\d{1,6})([dhms])")


class Age(click.ParamType[timedelta]):
    """least: the lowest that is allowed."""

    name = "age"

    def __init__(self, least: timedelta = timedelta(0)) -> None:
        self._least = least

    def convert(
        self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = _AGE.fullmatch(value)
        if found is None:
            self.fail(f"{value!r} is no age; expected one such as 90d, 36h, 30m or 10s", param, ctx)
        age = timedelta(**{UNITS[found[2]]: int(found[1])})
        if age < self._least:
            self.fail(f"expected {self._least.days}d or more", param, ctx)
        return age
