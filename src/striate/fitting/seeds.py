"""Chance that only the seed and a place decide: what is drawn for a step never depends on what was drawn before."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(seed: int, *place: object) -> int:
    """A seed for one use at one place, such as ("order", epoch): what a run does there depends on nothing else,

    so that a resumed run needs no generator's state, only the number of its step.
    """
    text = "/".join(map(str, (seed, *place)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def make_generator(seed: int, *place: object) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, *place))


def seed_torch(seed: int) -> None:
    """What `torch.manual_seed` does, for the generators in use alone: it asks each kind of device first, which costs as

    much as a step of a small net.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
