"""A teacher's answers as targets beside the labels: knowledge distillation (Hinton, Vinyals and Dean 2015)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def join_targets(labels: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """float32 N×2K: the labels int64 N as shares of K classes, and behind them the teacher's probabilities, softened.

    What mixes two images mixes both alike.
    taught  float32 N×K, the logarithms of its probabilities
    """
    return torch.cat([F.one_hot(labels, taught.shape[1]).float(), (taught / temperature).softmax(1)], dim=1)


def sum_taught_loss(logits: Tensor, theirs: Tensor, temperature: float) -> Tensor:
    """The Kullback–Leibler divergence of softened answers from the teacher's, times temperature², over the images.

    The square keeps its gradient as large as that of the labels' loss, whatever the temperature (Hinton et al., 2).
    theirs  float32 N×K, its probabilities at that temperature
    """
    own = (logits / temperature).log_softmax(1)
    return F.kl_div(own, theirs, reduction="sum") * temperature**2
