"""A length of time as an option: 30m, 12h or 2d."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import click

_AGE = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Age(click.ParamType):  # type: ignore[type-arg]  # click is generic only from 8.4 on
    """A length of time such as 30m, 12h or 2d; click has no type of this kind."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        match = _AGE.fullmatch(str(value))
        if match is None:
            self.fail("give a number and s, m, h or d, such as 2d", param, ctx)
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
