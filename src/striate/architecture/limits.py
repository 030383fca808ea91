"""How large a net may be: bounds far beyond every published one, within which each account takes seconds."""

from __future__ import annotations

from typing import Any

from ..language import say

# Containers inside one another, the net counted as one; the published nets have up to 6.
LEVELS = 64

# Layers and containers of a net; EfficientNet-B7 has 1,083.
MOST_LAYERS = 20_000

# Each whole number of a layer, and channels, rows and columns of every map.
NUMBER = 1_000_000

# Pixels of a receptive field along an axis, and of the distance between its units.
FIELD = 10**15

# Layers of a net for which all changes are computed: each change makes and walks a whole net.
WHAT_IF = 1_200

# The largest kernel for which several of 3×3 are put forward.
FACTORED = 63


def cut_brief(value: Any, length: int = 60) -> str:
    """`value` as Python writes it, cut to `length`; of an endless number only how long it is.

    >>> cut_brief(10**4000), cut_brief([1] * 100, 12)
    ('a number of about 4,001 digits', '[1, 1, 1, 1…')
    """
    if isinstance(value, int) and abs(value) >= 10**length:
        return say("a number of about {digits:,} digits", digits=int(value.bit_length() * 0.30103) + 1)
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested without end, or an endless number within
        text = type(value).__name__
    return text if len(text) <= length else text[: length - 1] + "…"
