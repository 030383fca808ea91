"""Numbers and names as people read them."""

from __future__ import annotations


def format_percent(share: float) -> str:
    """A share in percent. Only 1 itself is 100 %, only 0 itself is 0 %.

    >>> format_percent(0.98333), format_percent(0.99999), format_percent(1)
    ('98.33 %', '99.99 %', '100.00 %')
    """
    kept = share if share in (0, 1) else min(max(share, 0.0001), 0.9999)
    return f"{100 * kept:.2f} %"


def format_number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
