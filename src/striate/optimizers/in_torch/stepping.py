"""A torch optimizer made of one function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, optim

Move = Callable[[list[Tensor], list[Tensor], list[dict[str, Any]], dict[str, Any]], None]
"""(weights, their gradients, their states, settings of their group): changes weights and states in place."""


class Stepping(optim.Optimizer):
    """Each step hands the weights of every group to `move`; a weight's state is empty at first."""

    def __init__(self, groups: list[dict[str, Any]], move: Move, **settings: Any) -> None:
        super().__init__(groups, {"weight_decay": 0.0, **settings})
        self.move = move

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self.move(weights, [w.grad for w in weights], [self.state[w] for w in weights], group)
