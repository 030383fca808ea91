"""The learning rate over a run, as a share of its peak."""

from __future__ import annotations

from math import cos, pi


def compute_rate_factor(schedule: str, step: int, steps: int, warmup: float) -> float:
    """The share of the peak rate at `step` (0 to steps − 1) of `steps`.

    It rises in a straight line over the first `warmup` of the steps, reaching 1 at their end, then:
    constant stays, triangular falls in a straight line towards 0, cosine by half a cosine (Loshchilov and Hutter
    2016, without restarts), step to a tenth after half of the steps and to a hundredth after three quarters.

    >>> [round(compute_rate_factor("triangular", step, 10, 0.2), 2) for step in range(10)]
    [0.5, 1.0, 0.89, 0.78, 0.67, 0.56, 0.44, 0.33, 0.22, 0.11]
    """
    rise = round(warmup * steps)
    if step < rise:
        return (step + 1) / rise
    done = (step - rise + 1) / (steps - rise + 1)
    if schedule == "triangular":
        return 1 - done if rise else 1 - (step / steps)
    if schedule == "cosine":
        return (1 + cos(pi * done)) / 2
    if schedule == "step":
        return 0.01 if step >= 0.75 * steps else 0.1 if step >= 0.5 * steps else 1.0
    return 1.0


def cool_down(factor: float, step: int, began: int, steps: int) -> float:
    """The share of the peak rate at `step`, of those from `began` to `steps` over which it falls from `factor` to 0.

    >>> [round(cool_down(0.8, step, 10, 13), 2) for step in (10, 11, 12)]
    [0.6, 0.4, 0.2]
    """
    return factor * (1 - (step - began + 1) / (steps - began + 1))
