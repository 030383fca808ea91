"""What the zoo's functions share in reading their options: a choice by name, and filters scaled by `width`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from ...errors import NetError, suggest_name
from ...language import say

Value = TypeVar("Value")


def pick_option(option: str, value: str, choices: Mapping[str, Value]) -> Value:
    """`choices[value]`. Raises NetError naming the option where there is no such choice.

    >>> pick_option("pool", "max", {"max": 1, "avg": 2})
    1
    """
    if value not in choices:
        rule = say("{option} is one of {choices}", option=option, choices=", ".join(choices))
        raise NetError(
            option, say("this net has no such choice"), got=repr(value), rule=rule, hint=suggest_name(value, choices)
        )
    return choices[value]


def scale_filters(filters: int, width: float, multiple: int = 1) -> int:
    """`filters` times `width`, rounded to a multiple of `multiple`, and at least that.

    >>> scale_filters(64, 1.0), scale_filters(6, 0.5), scale_filters(128, 0.3, multiple=32)
    (64, 3, 32)
    """
    if not isinstance(width, int | float) or isinstance(width, bool) or not 0 < width < 1e6:
        raise NetError(
            "width", say("width must be a number above 0"), got=repr(width), hint=say("width=0.5 halves every layer")
        )
    return max(multiple, round(filters * width / multiple) * multiple)
