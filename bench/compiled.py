"""Whether a compiled training step pays on this machine's processor: its time beside a plain one's, and its start.

    python bench/compiled.py                      # some three minutes on two cores
    python bench/compiled.py --nets resnet50      # others

Plain and compiled steps take turns; medians of 15 each. "pays after" is the training from which on the start is won
back; "never" where a compiled step is no faster.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
import torch.nn.functional as F

import striate
from striate.engines.torch import build_network
from striate.fitting.ranks import keep_pages
from striate.fitting.watch import format_clock

NETS = {
    "striate_s": ((1, 28, 28), 250),
    "striate_m": ((1, 28, 28), 250),
    "resnet18": ((3, 64, 64), 64),
    "efficientnet_lite0": ((3, 64, 64), 64),
}
OTHERS = (3, 64, 64), 64
"""Input and batch of nets that are not in the list."""


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measured(name: str, rounds: int = 15) -> tuple[float, float, float]:
    """Seconds of a plain step, of a compiled one, and of the compiled one's start."""
    shape, batch = NETS.get(name, OTHERS)
    network = build_network(getattr(striate.nets, name)(classes=10, input=shape))
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    x, y = torch.randn(batch, *shape).to(memory_format=torch.channels_last), torch.randint(0, 10, (batch,))
    compiled = torch.compile(network)

    def step(forward: Callable) -> None:
        network.zero_grad()
        F.cross_entropy(forward(x), y).backward()

    step(network)
    start = timed(lambda: step(compiled)) + timed(lambda: step(compiled))
    times = [(timed(lambda: step(network)), timed(lambda: step(compiled))) for _ in range(rounds)]
    plain, made = (statistics.median(column) for column in zip(*times, strict=True))
    return plain, made, start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="*", default=list(NETS))
    given = parser.parse_args()
    keep_pages()
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}\n")
    print("| net | plain, ms | compiled, ms | ratio | start, s | pays after |")
    print("|---|---:|---:|---:|---:|---|")
    for name in given.nets:
        plain, made, start = measured(name)
        after = format_clock(start / (1 - made / plain)) if made < 0.99 * plain else "never"
        print(f"| {name} | {1e3 * plain:.0f} | {1e3 * made:.0f} | {made / plain:.2f} | {start:.0f} | {after} |")


if __name__ == "__main__":
    main()
